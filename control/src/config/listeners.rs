//! The addresses that are listened on, held against each other.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::addresses::ADDRESS_CURE;
use super::document::{Reader, named};
use super::environment::ChangedBy;
use super::fault::Fault;
use super::{ControlSettings, SmppSettings};

/// What must hold between the addresses. `changed` are those that a variable gave: the fault is the variable's then.
pub(super) fn check_listeners(
    reader: &mut Reader<'_>,
    smpp: &SmppSettings,
    control: &ControlSettings,
    changed: &[ChangedBy],
) {
    let mut fault = |table: &'static str, key: &'static str, reason: String, cure: &str| match changed
        .iter()
        .find(|changed| (changed.table, changed.key) == (table, key))
    {
        Some(changed) => reader.faults.push(Fault::in_environment(changed.variable, reason, cure)),
        None => reader.fault(table, 0, key, reason, cure),
    };
    if smpp.listen.is_empty() && smpp.tls_listen.is_empty() {
        fault("smpp", "listen", "names no address, and neither does tls_listen".to_owned(), ADDRESS_CURE);
    }
    if !smpp.tls_listen.is_empty() && smpp.certificates.is_empty() {
        let cure = "add [[smpp.certificates]] with domain, cert and key";
        fault("smpp", "tls_listen", "is set, and there is no certificate".to_owned(), cure);
    }
    if !control.listen.ip().is_loopback() && control.token.is_none() {
        let reason = format!("is {}, which others can reach, and no token is set", control.listen);
        let cure = "set [control] token (`openssl rand -hex 32` makes one), or listen on 127.0.0.1";
        fault("control", "listen", reason, cure);
    }
    let all = smpp.listen.iter().map(|address| ("smpp", "listen", *address));
    let all = all.chain(smpp.tls_listen.iter().map(|address| ("smpp", "tls_listen", *address)));
    let all = all.chain([("control", "listen", control.listen), ("control", "metrics_listen", control.metrics_listen)]);
    let mut seen: HashMap<SocketAddr, String> = HashMap::new();
    for (table, key, address) in all.filter(|(_, _, address)| address.port() != 0) {
        if let Some(other) = seen.insert(address, named(table, key)) {
            let reason = format!("is {address}, and so is {other}");
            fault(table, key, reason, "give each its own port");
        }
    }
}
