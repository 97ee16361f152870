//! One immutable configuration, compiled: what the shards look things up in. Built by the control thread,
//! shared as `Arc`, never changed.

mod compile;

use core::net::IpAddr;
use std::collections::HashMap;

use smpp_pdu::message::REGISTERED_RECEIPT_MASK;
use smpp_pdu::{CommandStatus, ShortMessage};

use crate::addresses::{IpNetwork, SourceAddresses};
use crate::bounds::{CUSTOMER_PLACES_MAX, VENDOR_PLACES_MAX};
use crate::names::{CustomerId, ShardId, VendorId};
use crate::routing::{Candidates, Patterns, Routes, RoutesBuilder};
use crate::settings::{CustomerSettings, GatewaySettings, RequestReceipts, Settings, StatusSettings, VendorSettings};

use compile::{Problems, check_gateway, compile_customer, compile_inbound, compile_routes, compile_vendor};

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
    /// SHA-256 of the TLS client certificates with which it may bind.
    pub certificate_fingerprints: Vec<[u8; 32]>,
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

    /// Whether it must present a TLS client certificate to bind.
    pub fn needs_certificate(&self) -> bool {
        !self.certificate_fingerprints.is_empty() || !self.settings.tls_client_certificate_names.is_empty()
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

    /// What this vendor is asked for, of a message whose customer has asked for that (registered_delivery, section 5.2.17).
    #[inline]
    pub(crate) fn registered_delivery(&self, asked: u8) -> u8 {
        // Of failures alone, or of deliveries alone, would not be always.
        if self.always_receipts() { asked & !REGISTERED_RECEIPT_MASK | 1 } else { asked }
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

    /// The vendors for a message of that customer, as [`Routes::candidates`] gives them.
    pub(crate) fn candidates(
        &self,
        customer: CustomerId,
        message: &ShortMessage<'_>,
        draw: impl FnMut() -> u32,
    ) -> Candidates {
        let forced = self.customer(customer).and_then(|known| known.settings.force_source_address.as_deref());
        let source = forced.map_or(message.source.addr, str::as_bytes);
        self.routes.candidates(customer, source, message.dest.addr, draw)
    }

    /// The vendor of that name; `None` for a name of an older snapshot that is gone.
    #[inline]
    pub fn vendor(&self, id: VendorId) -> Option<&Vendor> {
        self.vendors.get(id.index())
    }

    /// The customers without those that were removed.
    pub fn present_customers(&self) -> impl Iterator<Item = &Customer> {
        self.customers.iter().filter(|customer| !customer.is_removed)
    }

    /// The vendors without those that were removed.
    pub fn present_vendors(&self) -> impl Iterator<Item = &Vendor> {
        self.vendors.iter().filter(|vendor| !vendor.is_removed)
    }

    /// The customer that binds with that system_id; `None` for one that was removed.
    pub fn customer_by_system_id(&self, system_id: &[u8]) -> Option<&Customer> {
        let customer = self.customers_by_system_id.get(system_id).and_then(|id| self.customer(*id))?;
        (!customer.is_removed).then_some(customer)
    }

    /// The place of the customer of that system_id, one that was removed too.
    pub fn customer_place(&self, system_id: &[u8]) -> Option<CustomerId> {
        self.customers_by_system_id.get(system_id).copied()
    }

    /// Makes places for customers that stand in no row, as if they had just been removed: nobody binds as them, and what is
    /// kept of them goes its way. Names that have a place are passed over, and so are those beyond [`CUSTOMER_PLACES_MAX`].
    pub fn remember_customers(&mut self, system_ids: &[String]) {
        for system_id in system_ids {
            let id = CustomerId(self.customers.len() as u32);
            if id.index() >= CUSTOMER_PLACES_MAX || self.customer_place(system_id.as_bytes()).is_some() {
                continue;
            }
            let settings =
                CustomerSettings { smpp_system_id: system_id.clone(), active: false, ..CustomerSettings::default() };
            // It has no password, which would be a fault of a row.
            let customer = compile_customer(id, settings, &mut Problems::default());
            self.customers.push(Customer { is_removed: true, changed_in: self.version, ..customer });
            self.customers_by_system_id.insert(system_id.as_bytes().into(), id);
        }
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
