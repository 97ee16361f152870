//! One row after the other: what is wrong with it, and what it becomes.

use std::collections::HashMap;

use smpp_pdu::bind::{PASSWORD_LENIENT_MAX, SYSTEM_ID_MAX, SYSTEM_TYPE_MAX};
use smpp_pdu::message::{ADDRESS_MAX, SERVICE_TYPE_MAX};

use super::{Customer, Problem, Vendor};
use crate::addresses::{IpNetwork, SourceAddresses};
use crate::amount::Amount;
use crate::bounds::{DELIVER_WINDOW_MAX, LINK_WINDOW_MAX, RECEIPTS_AWAITED_MAX, SESSION_WINDOW_MAX, VENDOR_BINDS_MAX};
use crate::names::{CustomerId, ShardId, VendorId};
use crate::routing::{Routes, RoutesBuilder};
use crate::settings::{CustomerSettings, GatewaySettings, InboundRouteSettings, RuleSettings, VendorSettings};

/// What is wrong, while rows are gone through.
#[derive(Default)]
pub(super) struct Problems {
    table: &'static str,
    index: usize,
    pub(super) found: Vec<Problem>,
}

impl Problems {
    /// What is added from here on is about that row.
    pub(super) fn row(&mut self, table: &'static str, index: usize) {
        self.table = table;
        self.index = index;
    }

    pub(super) fn add(&mut self, key: &'static str, reason: impl Into<String>, cure: impl Into<String>) {
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

pub(super) fn check_gateway(gateway: &GatewaySettings, problems: &mut Problems) {
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

pub(super) fn compile_customer(id: CustomerId, settings: CustomerSettings, problems: &mut Problems) -> Customer {
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
    let certificate_fingerprints = compile_fingerprints(&settings.tls_client_certificate_sha256, problems);
    for name in &settings.tls_client_certificate_names {
        if !is_domain_name(name) {
            let reason = format!("holds {name:?}, which is no domain name");
            problems.add("tls_client_certificate_names", reason, "write a name as it stands in the certificate");
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
    Customer {
        id,
        is_removed: false,
        changed_in: 0,
        name,
        settings,
        allowed_ips,
        certificate_fingerprints,
        sources,
        window,
    }
}

fn compile_fingerprints(texts: &[String], problems: &mut Problems) -> Vec<[u8; 32]> {
    let mut fingerprints = Vec::new();
    for text in texts {
        match fingerprint(text) {
            Some(fingerprint) => fingerprints.push(fingerprint),
            None => problems.add(
                "tls_client_certificate_sha256",
                format!("holds {text:?}, which is no SHA-256 fingerprint"),
                "write what `openssl x509 -noout -fingerprint -sha256` tells behind the =",
            ),
        }
    }
    fingerprints
}

/// 64 hexadecimal digits, by twos with colons between them or without.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = match text.contains(':') {
        true if text.split(':').all(|octet| octet.len() == 2) => text.bytes().filter(|octet| *octet != b':').collect(),
        true => return None,
        false => text.bytes().collect(),
    };
    let mut found = [0; 32];
    if digits.len() != 2 * found.len() {
        return None;
    }
    for (octet, pair) in found.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |letter: u8| char::from(letter).to_digit(16);
        *octet = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(found)
}

/// Labels of letters, digits, hyphens and underscores, 253 octets at the most.
fn is_domain_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

pub(super) fn compile_vendor(
    id: VendorId,
    home: ShardId,
    mut settings: VendorSettings,
    problems: &mut Problems,
) -> Vendor {
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

pub(super) fn compile_routes(
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
        if let Some(rate) = rule.rate_per_msg.filter(|rate| *rate > Amount::RATE_MAX) {
            problems.add("rate_per_msg", format!("is {rate}"), format!("give at most {}", Amount::RATE_MAX));
        }
        let vendor = vendor.and_then(|id| vendors.get(id.index()));
        if let Err((key, error)) = builder.add(&rule, customer.flatten(), vendor) {
            problems.add(key, format!("does not compile: {error}"), "write a regular expression, such as ^4420");
        }
    }
    builder.build()
}

pub(super) fn compile_inbound(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_as_openssl_and_others_write_it() {
        let plain = "00ff".repeat(16);
        let mut expected = [0; 32];
        expected.iter_mut().skip(1).step_by(2).for_each(|octet| *octet = 0xFF);
        let with_colons = vec!["00:FF"; 16].join(":");
        assert_eq!(fingerprint(&plain), Some(expected));
        assert_eq!(fingerprint(&with_colons), Some(expected));
        for wrong in ["", "00", &plain[1..], &format!("{plain}00"), &plain.replace('f', "g"), &format!(":{plain}")] {
            assert_eq!(fingerprint(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_domain_name_has_labels_of_letters_digits_and_hyphens() {
        for name in ["esme.acme.example", "a", "xn--bcher-kva.example", "host_1.example"] {
            assert!(is_domain_name(name), "{name}");
        }
        for name in ["", ".", "a..b", "a.example.", "-a.example", "a b.example", "*.example", "CN=a", &"a".repeat(64)] {
            assert!(!is_domain_name(name), "{name}");
        }
    }
}
