//! One immutable configuration, compiled: what the shards look things up in. Built by the control thread,
//! shared as `Arc`, never changed.

use core::net::IpAddr;
use std::collections::HashMap;

use smpp_pdu::CommandStatus;
use smpp_pdu::bind::{PASSWORD_LENIENT_MAX, SYSTEM_ID_MAX, SYSTEM_TYPE_MAX};
use smpp_pdu::message::{ADDRESS_MAX, SERVICE_TYPE_MAX};

use crate::addresses::{IpNetwork, SourceAddresses};
use crate::bounds::{
    CUSTOMER_PLACES_MAX, DELIVER_WINDOW_MAX, LINK_WINDOW_MAX, RECEIPTS_AWAITED_MAX, SESSION_WINDOW_MAX,
    VENDOR_BINDS_MAX, VENDOR_PLACES_MAX,
};
use crate::names::{CustomerId, ShardId, VendorId};
use crate::routing::{Patterns, Routes, RoutesBuilder};
use crate::settings::{
    CustomerSettings, GatewaySettings, InboundRouteSettings, RequestReceipts, RuleSettings, Settings, StatusSettings,
    VendorSettings,
};

/// What is wrong with one setting. Its `Display` is a sentence for the operator, without file and line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The table it stands in, such as `vendors`; `gateway` for what stands alone.
    pub table: &'static str,
    /// Which row of the table, from 0.
    pub index: usize,
    /// The key.
    pub key: &'static str,
    /// What is wrong, such as `is 0`.
    pub reason: String,
    /// What to do about it.
    pub cure: String,
}

impl core::fmt::Display for Problem {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}[{}].{} {}; {}", self.table, self.index, self.key, self.reason, self.cure)
    }
}

/// A customer, compiled.
#[derive(Clone, Debug)]
pub struct Customer {
    /// Its place in [`Snapshot::customers`].
    pub id: CustomerId,
    /// No longer configured: the place stays its own, for what is still alive of it, and for the case that it comes back.
    pub is_removed: bool,
    /// The version in which it changed last.
    pub changed_in: u64,
    /// account_id, or the system_id where there is none.
    pub name: String,
    /// As configured.
    pub settings: CustomerSettings,
    /// Networks it may bind from; empty is any.
    pub allowed_ips: Vec<IpNetwork>,
    /// Which sources it may send from.
    pub sources: SourceAddresses,
    /// Unanswered submits per session.
    pub window: u32,
}

impl Customer {
    /// Whether it may be bound and submit.
    #[inline]
    pub fn is_active(&self) -> bool {
        self.settings.active && !self.is_removed
    }

    /// Whether it may bind from that address.
    pub fn allows_ip(&self, address: IpAddr) -> bool {
        self.allowed_ips.is_empty() || self.allowed_ips.iter().any(|network| network.contains(address))
    }
}

/// A vendor, compiled.
#[derive(Clone, Debug)]
pub struct Vendor {
    /// Its place in [`Snapshot::vendors`].
    pub id: VendorId,
    /// No longer configured: the place stays its own, for what is still alive of it, and for the case that it comes back.
    pub is_removed: bool,
    /// The version in which it changed last.
    pub changed_in: u64,
    /// The shard on which all of its links live.
    pub home: ShardId,
    /// As configured, bounds applied.
    pub settings: VendorSettings,
    /// Whether a submit must be encoded anew for this vendor, instead of being copied.
    pub rewrites: bool,
}

impl Vendor {
    /// Whether it is used.
    #[inline]
    pub fn is_active(&self) -> bool {
        self.settings.is_active && !self.is_removed
    }

    /// Whether a bind made for the one does for the other: nothing that a bind depends on differs.
    pub fn has_same_binds(&self, other: &VendorSettings) -> bool {
        let own = &self.settings;
        (&own.host, own.port, &own.username, &own.password, &own.system_type, own.interface_version, own.bind_type)
            == (
                &other.host,
                other.port,
                &other.username,
                &other.password,
                &other.system_type,
                other.interface_version,
                other.bind_type,
            )
            && (own.use_tls, own.tls_verify, &own.tls_ca) == (other.use_tls, other.tls_verify, &other.tls_ca)
    }

    /// Whether receipts are asked for every message.
    pub fn always_receipts(&self) -> bool {
        self.settings.request_receipts == RequestReceipts::Always
    }
}

/// The command_status of each refusal of ours.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Statuses {
    pub source_not_allowed: CommandStatus,
    pub no_route: CommandStatus,
    pub throttled: CommandStatus,
    pub queue_full: CommandStatus,
    pub unavailable: CommandStatus,
    pub unknown_outcome: CommandStatus,
    pub expired: CommandStatus,
    pub schedule: CommandStatus,
}

impl From<&StatusSettings> for Statuses {
    fn from(settings: &StatusSettings) -> Self {
        Self {
            source_not_allowed: CommandStatus(settings.source_not_allowed),
            no_route: CommandStatus(settings.no_route),
            throttled: CommandStatus(settings.throttled),
            queue_full: CommandStatus(settings.queue_full),
            unavailable: CommandStatus(settings.unavailable),
            unknown_outcome: CommandStatus(settings.unknown_outcome),
            expired: CommandStatus(settings.expired),
            schedule: CommandStatus(settings.schedule),
        }
    }
}

/// The compiled configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts up with every change.
    pub version: u64,
    /// What holds for the whole gateway.
    pub gateway: GatewaySettings,
    /// The answers of our own refusals.
    pub statuses: Statuses,
    /// By [`CustomerId`], those that were removed among them.
    pub customers: Vec<Customer>,
    /// By [`VendorId`], those that were removed among them.
    pub vendors: Vec<Vendor>,
    /// For how many shards it was built.
    pub shards: u16,
    /// The routing rules.
    pub routes: Routes,
    inbound: HashMap<Box<[u8]>, CustomerId>,
    /// Those that were removed among them, as below.
    customers_by_system_id: HashMap<Box<[u8]>, CustomerId>,
    vendors_by_name: HashMap<Box<str>, VendorId>,
}

impl Snapshot {
    /// Compiles the first settings of a process of that many shards. Vendors get their homes in turn, from the first
    /// shard on.
    ///
    /// # Errors
    /// Every problem there is, not just the first.
    pub fn build(settings: Settings, shards: u16, version: u64) -> Result<Snapshot, Vec<Problem>> {
        let nothing = Snapshot { version: version.saturating_sub(1), ..Self::nothing(shards) };
        let first = nothing.succeed(settings, &mut Patterns::default())?;
        Ok(Snapshot { version, ..first })
    }

    /// A configuration without customers and vendors, version 0: what the first one succeeds.
    pub fn nothing(shards: u16) -> Snapshot {
        let gateway = GatewaySettings::default();
        Snapshot {
            version: 0,
            statuses: Statuses::from(&gateway.statuses),
            gateway,
            customers: Vec::new(),
            vendors: Vec::new(),
            shards,
            routes: Routes::default(),
            inbound: HashMap::new(),
            customers_by_system_id: HashMap::new(),
            vendors_by_name: HashMap::new(),
        }
    }

    /// Compiles the settings that come after this snapshot's. Whoever has a place keeps it: customers by smpp_system_id,
    /// vendors by instance_name, and vendors their home too. Who is not in the settings any more keeps its place as one that
    /// was removed, for messages, receipts and records may still name it; so places are used up by new names alone, and there
    /// are [`CUSTOMER_PLACES_MAX`] and [`VENDOR_PLACES_MAX`] of them in a process's life.
    ///
    /// # Errors
    /// Every problem there is, not just the first.
    pub fn succeed(&self, settings: Settings, patterns: &mut Patterns) -> Result<Snapshot, Vec<Problem>> {
        let version = self.version + 1;
        let mut problems = Problems::default();
        check_gateway(&settings.gateway, &mut problems);
        patterns.begin();
        let (customers, customers_by_system_id) = self.place_customers(settings.customers, version, &mut problems);
        let (vendors, vendors_by_name) = self.place_vendors(settings.vendors, version, &mut problems);
        let routes = compile_routes(
            settings.routing_rules,
            &vendors,
            |name| vendors_by_name.get(name).copied().filter(|id| !vendors[id.index()].is_removed),
            |name| present(&customers, customers_by_system_id.get(name.as_bytes())),
            RoutesBuilder::new(patterns),
            &mut problems,
        );
        let customer_of = |name: &[u8]| present(&customers, customers_by_system_id.get(name));
        let inbound = compile_inbound(settings.inbound_routes, customer_of, &mut problems);
        if !problems.found.is_empty() {
            return Err(problems.found);
        }
        patterns.end();
        Ok(Snapshot {
            version,
            statuses: Statuses::from(&settings.gateway.statuses),
            gateway: settings.gateway,
            customers,
            vendors,
            shards: self.shards,
            routes,
            inbound,
            customers_by_system_id,
            vendors_by_name,
        })
    }

    fn place_customers(
        &self,
        settings: Vec<CustomerSettings>,
        version: u64,
        problems: &mut Problems,
    ) -> (Vec<Customer>, HashMap<Box<[u8]>, CustomerId>) {
        let mut places = self.customers_by_system_id.clone();
        let mut customers = self.customers.clone();
        let mut is_named = vec![false; customers.len()];
        for (index, settings) in settings.into_iter().enumerate() {
            problems.row("customers", index);
            let next = CustomerId(customers.len() as u32);
            let id = *places.entry(settings.smpp_system_id.as_bytes().into()).or_insert(next);
            if id == next && next.index() >= CUSTOMER_PLACES_MAX {
                problems.add("smpp_system_id", TOO_MANY_NAMES.0, TOO_MANY_NAMES.1);
                places.remove(settings.smpp_system_id.as_bytes());
                continue;
            }
            if is_named.get(id.index()) == Some(&true) {
                problems.add("smpp_system_id", "is there twice", "give every customer its own");
                continue;
            }
            let mut customer = compile_customer(id, settings, problems);
            customer.changed_in = match customers.get(id.index()) {
                Some(before) if !before.is_removed && before.settings == customer.settings => before.changed_in,
                _ => version,
            };
            put(&mut customers, &mut is_named, id.index(), customer);
        }
        for customer in customers.iter_mut().filter(|customer| !is_named[customer.id.index()] && !customer.is_removed) {
            customer.is_removed = true;
            customer.changed_in = version;
        }
        (customers, places)
    }

    fn place_vendors(
        &self,
        settings: Vec<VendorSettings>,
        version: u64,
        problems: &mut Problems,
    ) -> (Vec<Vendor>, HashMap<Box<str>, VendorId>) {
        let mut places = self.vendors_by_name.clone();
        let mut vendors = self.vendors.clone();
        let mut is_named = vec![false; vendors.len()];
        for (index, settings) in settings.into_iter().enumerate() {
            problems.row("vendors", index);
            let next = VendorId(vendors.len() as u32);
            let id = *places.entry(settings.instance_name.as_str().into()).or_insert(next);
            if id == next && next.index() >= VENDOR_PLACES_MAX {
                problems.add("instance_name", TOO_MANY_NAMES.0, TOO_MANY_NAMES.1);
                places.remove(settings.instance_name.as_str());
                continue;
            }
            if is_named.get(id.index()) == Some(&true) {
                problems.add("instance_name", "is there twice", "give every vendor its own");
                continue;
            }
            let home = ShardId((id.index() % usize::from(self.shards.max(1))) as u16);
            let mut vendor = compile_vendor(id, home, settings, problems);
            vendor.changed_in = match vendors.get(id.index()) {
                Some(before) if !before.is_removed && before.settings == vendor.settings => before.changed_in,
                _ => version,
            };
            put(&mut vendors, &mut is_named, id.index(), vendor);
        }
        for vendor in vendors.iter_mut().filter(|vendor| !is_named[vendor.id.index()] && !vendor.is_removed) {
            vendor.is_removed = true;
            vendor.changed_in = version;
        }
        (vendors, places)
    }

    /// The customer of that name; `None` for a name of an older snapshot that is gone.
    #[inline]
    pub fn customer(&self, id: CustomerId) -> Option<&Customer> {
        self.customers.get(id.index())
    }

    /// The vendor of that name; `None` for a name of an older snapshot that is gone.
    #[inline]
    pub fn vendor(&self, id: VendorId) -> Option<&Vendor> {
        self.vendors.get(id.index())
    }

    /// The customer that binds with that system_id; `None` for one that was removed.
    pub fn customer_by_system_id(&self, system_id: &[u8]) -> Option<&Customer> {
        let customer = self.customers_by_system_id.get(system_id).and_then(|id| self.customer(*id))?;
        (!customer.is_removed).then_some(customer)
    }

    /// The vendor of that instance_name; `None` for one that was removed.
    pub fn vendor_by_name(&self, instance_name: &str) -> Option<&Vendor> {
        let vendor = self.vendors_by_name.get(instance_name).and_then(|id| self.vendor(*id))?;
        (!vendor.is_removed).then_some(vendor)
    }

    /// Whose number that is: the customer to whom MO for it go. A leading `+` does not count.
    pub fn inbound_customer(&self, did: &[u8]) -> Option<CustomerId> {
        self.inbound.get(did.strip_prefix(b"+").unwrap_or(did)).copied()
    }
}

/// Why there is no place for another name, and what helps.
const TOO_MANY_NAMES: (&str, &str) = (
    "is one name too many: of those that were removed, too, every one keeps its place until the gateway is restarted",
    "restart the gateway, or use names again",
);

/// Puts a row where it belongs: at its place, or behind all others.
fn put<T>(rows: &mut Vec<T>, is_named: &mut Vec<bool>, index: usize, row: T) {
    if index < rows.len() {
        rows[index] = row;
        is_named[index] = true;
    } else {
        rows.push(row);
        is_named.push(true);
    }
}

fn present(customers: &[Customer], id: Option<&CustomerId>) -> Option<CustomerId> {
    id.copied().filter(|id| !customers[id.index()].is_removed)
}

#[derive(Default)]
struct Problems {
    table: &'static str,
    index: usize,
    found: Vec<Problem>,
}

impl Problems {
    fn row(&mut self, table: &'static str, index: usize) {
        self.table = table;
        self.index = index;
    }

    fn add(&mut self, key: &'static str, reason: impl Into<String>, cure: impl Into<String>) {
        let (table, index) = (self.table, self.index);
        self.found.push(Problem { table, index, key, reason: reason.into(), cure: cure.into() });
    }

    fn length(&mut self, key: &'static str, value: &str, min: usize, max: usize) {
        let length = value.len();
        if length < min && length == 0 {
            self.add(key, "is empty or left out", format!("give {min} to {max} octets"));
        } else if length > max {
            self.add(key, format!("has {length} octets"), format!("give at most {max}"));
        }
        if value.bytes().any(|octet| octet == 0) {
            self.add(key, "holds a NUL octet", "leave it out");
        }
    }
}

fn check_gateway(gateway: &GatewaySettings, problems: &mut Problems) {
    problems.row("gateway", 0);
    problems.length("system_id", &gateway.system_id, 1, SYSTEM_ID_MAX);
    for (key, value, least) in [
        ("bind_timeout_ms", gateway.bind_timeout_ms, 100),
        ("relay_deadline_ms", gateway.relay_deadline_ms, 10),
        ("retry_interval_ms", gateway.retry_interval_ms, 1),
    ] {
        if value < least {
            problems.add(key, format!("is {value}"), format!("give at least {least} milliseconds"));
        }
    }
    let awaited = gateway.receipts_awaited as usize;
    if awaited == 0 || awaited > RECEIPTS_AWAITED_MAX {
        problems.add("receipts_awaited", format!("is {awaited}"), format!("give 1 to {RECEIPTS_AWAITED_MAX}"));
    }
    if gateway.retry_count == 0 {
        problems.add("retry_count", "is 0", "give at least 1, the first try counts");
    }
    if gateway.deliver_window == 0 || gateway.deliver_window > DELIVER_WINDOW_MAX / 2 {
        problems.add(
            "deliver_window",
            format!("is {}", gateway.deliver_window),
            format!("give 1 to {}", DELIVER_WINDOW_MAX / 2),
        );
    }
}

fn compile_customer(id: CustomerId, settings: CustomerSettings, problems: &mut Problems) -> Customer {
    problems.length("smpp_system_id", &settings.smpp_system_id, 1, SYSTEM_ID_MAX);
    match (&settings.smpp_password, &settings.smpp_password_hash) {
        (None, None) => problems.add(
            "smpp_password_hash",
            "is left out, and so is smpp_password",
            "give one of them (`smpp-gateway hash-password` makes a hash)",
        ),
        (Some(_), Some(_)) => {
            problems.add("smpp_password", "stands beside smpp_password_hash", "leave one of them out");
        }
        (Some(password), None) => problems.length("smpp_password", password, 1, PASSWORD_LENIENT_MAX),
        (None, Some(hash)) => {
            if !(hash.starts_with("$2") && hash.len() == 60) {
                problems.add("smpp_password_hash", "is no bcrypt hash", "make one with `smpp-gateway hash-password`");
            }
        }
    }
    let mut allowed_ips = Vec::new();
    for text in &settings.smpp_allowed_ips {
        match IpNetwork::parse(text) {
            Some(network) => allowed_ips.push(network),
            None => problems.add(
                "smpp_allowed_ips",
                format!("holds {text:?}, which is no address or network"),
                "write 192.0.2.7 or 192.0.2.0/24",
            ),
        }
    }
    let sources = SourceAddresses::compile(&settings.allowed_source_addresses).unwrap_or_else(|pattern| {
        problems.add(
            "allowed_source_addresses",
            format!("holds {pattern:?}"),
            "write an address, a prefix with a final *, or * alone",
        );
        SourceAddresses::default()
    });
    if let Some(source) = &settings.force_source_address {
        problems.length("force_source_address", source, 1, ADDRESS_MAX);
    }
    let window = match settings.smpp_window {
        0 => SESSION_WINDOW_MAX,
        window => window.min(SESSION_WINDOW_MAX),
    };
    let name = settings.account_id.clone().unwrap_or_else(|| settings.smpp_system_id.clone());
    Customer { id, is_removed: false, changed_in: 0, name, settings, allowed_ips, sources, window }
}

fn compile_vendor(id: VendorId, home: ShardId, mut settings: VendorSettings, problems: &mut Problems) -> Vendor {
    problems.length("instance_name", &settings.instance_name, 1, 64);
    problems.length("host", &settings.host, 1, 253);
    problems.length("username", &settings.username, 0, SYSTEM_ID_MAX);
    problems.length("password", &settings.password, 0, PASSWORD_LENIENT_MAX);
    problems.length("system_type", &settings.system_type, 0, SYSTEM_TYPE_MAX);
    if let Some(service_type) = &settings.service_type {
        problems.length("service_type", service_type, 0, SERVICE_TYPE_MAX);
    }
    if settings.port == 0 {
        problems.add("port", "is 0 or left out", "give a port from 1 to 65535");
    }
    if settings.binds == 0 || settings.binds > VENDOR_BINDS_MAX {
        let binds = settings.binds;
        problems.add("binds", format!("is {binds}"), format!("give 1 to {VENDOR_BINDS_MAX}"));
    }
    if settings.window_size == 0 || settings.window_size > LINK_WINDOW_MAX / 2 {
        let window = settings.window_size;
        problems.add("window_size", format!("is {window}"), format!("give 1 to {}", LINK_WINDOW_MAX / 2));
    }
    if !matches!(settings.interface_version, 0x33 | 0x34 | 0x50) {
        let version = settings.interface_version;
        problems.add("interface_version", format!("is {version:#x}"), "give 0x33, 0x34 or 0x50");
    }
    for (key, value, least) in
        [("response_timeout_ms", settings.response_timeout_ms, 10), ("bind_timeout_ms", settings.bind_timeout_ms, 10)]
    {
        if value < least {
            problems.add(key, format!("is {value}"), format!("give at least {least} milliseconds"));
        }
    }
    for (key, values) in
        [("temporary_statuses", &settings.temporary_statuses), ("permanent_statuses", &settings.permanent_statuses)]
    {
        if values.contains(&0) {
            problems.add(key, "holds 0, which is ESME_ROK", "leave it out");
        }
    }
    settings.host = settings.host.trim().to_owned();
    let rewrites = settings.default_data_coding.is_some()
        || settings.source_ton.is_some()
        || settings.source_npi.is_some()
        || settings.dest_ton.is_some()
        || settings.dest_npi.is_some()
        || settings.service_type.is_some()
        || settings.long_messages != crate::settings::LongMessages::AsSent
        || settings.interface_version <= 0x33;
    Vendor { id, is_removed: false, changed_in: 0, home, settings, rewrites }
}

fn compile_routes(
    rules: Vec<RuleSettings>,
    vendors: &[Vendor],
    vendor_of: impl Fn(&str) -> Option<VendorId>,
    customer_of: impl Fn(&str) -> Option<CustomerId>,
    mut builder: RoutesBuilder<'_>,
    problems: &mut Problems,
) -> Routes {
    for (index, rule) in rules.into_iter().enumerate() {
        problems.row("routing_rules", index);
        let vendor = vendor_of(&rule.vendor);
        if vendor.is_none() {
            let reason = match rule.vendor.as_str() {
                "" => "is left out".into(),
                name => format!("is {name:?}, and there is no vendor of that instance_name"),
            };
            problems.add("vendor", reason, "name one of the [[vendors]]");
        }
        let customer = rule.customer.as_deref().map(&customer_of);
        if customer == Some(None) {
            let reason = format!("is {:?}, which no customer has", rule.customer.as_deref().unwrap_or_default());
            problems.add("customer", reason, "name a customer's smpp_system_id, or leave it out");
        }
        if rule.weight == 0 {
            problems.add("weight", "is 0", "give 1 or more, or set is_active = false");
        }
        let Some(vendor) = vendor.and_then(|id| vendors.get(id.index())) else { continue };
        if let Err((key, error)) = builder.add(&rule, customer.flatten(), vendor) {
            problems.add(key, format!("does not compile: {error}"), "write a regular expression, such as ^4420");
        }
    }
    builder.build()
}

fn compile_inbound(
    routes: Vec<InboundRouteSettings>,
    customer_of: impl Fn(&[u8]) -> Option<CustomerId>,
    problems: &mut Problems,
) -> HashMap<Box<[u8]>, CustomerId> {
    let mut inbound = HashMap::new();
    for (index, route) in routes.into_iter().enumerate() {
        problems.row("inbound_routes", index);
        problems.length("did", &route.did, 1, ADDRESS_MAX);
        let Some(customer) = customer_of(route.smpp_system_id.as_bytes()) else {
            let reason = format!("is {:?}, which no customer has", route.smpp_system_id);
            problems.add("smpp_system_id", reason, "name one of the [[customers]]");
            continue;
        };
        let did = route.did.strip_prefix('+').unwrap_or(&route.did);
        if route.active && inbound.insert(did.as_bytes().into(), customer).is_some() {
            problems.add("did", format!("{did:?} is there twice"), "keep one route for each number");
        }
    }
    inbound
}
