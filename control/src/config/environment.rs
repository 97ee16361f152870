//! Environment variables: those that override the file, and those of services that this version does not serve.

use std::net::SocketAddr;

use super::addresses;
use super::fault::Fault;
use super::served::NOT_YET;

/// Variables that ask for a service.
const SERVICES: [&str; 1] = ["RABBITMQ_HOST"];

const PORT_CURE: &str = "give a port from 0 to 65535, or an IP address and a port such as 0.0.0.0:2775";

/// The listen addresses that variables change.
pub(super) struct Listeners<'a> {
    /// `SMPP_HOST`, `SMPP_PORT`.
    pub(super) smpp: &'a mut Vec<SocketAddr>,
    /// `SMPP_HOST`, `SMPP_TLS_PORT`.
    pub(super) smpp_tls: &'a mut Vec<SocketAddr>,
    /// `API_PORT`.
    pub(super) control: &'a mut SocketAddr,
    /// `METRICS_PORT`.
    pub(super) metrics: &'a mut SocketAddr,
}

/// Which setting a variable has changed.
pub(super) struct ChangedBy {
    pub(super) table: &'static str,
    pub(super) key: &'static str,
    pub(super) variable: &'static str,
}

/// Applies the variables and tells what they have changed. An empty variable counts as not set. `SMPP_HOST` puts one address in place of all that
/// the file lists; a port alone keeps the addresses.
pub(super) fn apply(
    environment: &dyn Fn(&str) -> Option<String>,
    mut listeners: Listeners<'_>,
    faults: &mut Vec<Fault>,
) -> Vec<ChangedBy> {
    let set = |name: &str| set_variable(environment, name);
    for name in SERVICES {
        // Kubernetes sets NAME_PORT=tcp://... for every service beside the pod; nobody asked for that.
        if set(name).is_some_and(|value| !value.starts_with("tcp://")) {
            faults.push(Fault::in_environment(name, NOT_YET, "unset it, and configure with the TOML file"));
        }
    }
    if let Some(value) = set("SMPP_HOST") {
        apply_host(&value, &mut listeners, faults);
    }
    let many = [("SMPP_PORT", listeners.smpp), ("SMPP_TLS_PORT", listeners.smpp_tls)];
    for (name, addresses) in many {
        match set(name).map(|value| port_of(name, &value)) {
            Some(Ok((None, port))) if addresses.is_empty() => {
                addresses.push(SocketAddr::from(([0, 0, 0, 0], port)));
            }
            Some(Ok((None, port))) => {
                addresses.iter_mut().for_each(|address| address.set_port(port));
                addresses.dedup();
            }
            Some(Ok((Some(address), _))) => *addresses = vec![address],
            Some(Err(fault)) => faults.push(*fault),
            None => {}
        }
    }
    for (name, address) in [("API_PORT", listeners.control), ("METRICS_PORT", listeners.metrics)] {
        match set(name).map(|value| port_of(name, &value)) {
            Some(Ok((None, port))) => address.set_port(port),
            Some(Ok((Some(whole), _))) => *address = whole,
            Some(Err(fault)) => faults.push(*fault),
            None => {}
        }
    }
    let keys = [
        ("smpp", "listen", "SMPP_PORT"),
        ("smpp", "tls_listen", "SMPP_TLS_PORT"),
        ("control", "listen", "API_PORT"),
        ("control", "metrics_listen", "METRICS_PORT"),
    ];
    let changed = keys.into_iter().filter(|(_, _, variable)| set(variable).is_some());
    changed.map(|(table, key, variable)| ChangedBy { table, key, variable }).collect()
}

/// A variable's value; an empty one counts as not set.
pub(super) fn set_variable(environment: &dyn Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    environment(name).filter(|value| !value.trim().is_empty())
}

fn apply_host(value: &str, listeners: &mut Listeners<'_>, faults: &mut Vec<Fault>) {
    if let Some(address) = addresses::parse(value) {
        *listeners.smpp = vec![address];
        if let Some(first) = listeners.smpp_tls.first() {
            *listeners.smpp_tls = vec![SocketAddr::new(address.ip(), first.port())];
        }
    } else if let Some(host) = addresses::parse_host(value) {
        for addresses in [&mut *listeners.smpp, &mut *listeners.smpp_tls] {
            if let Some(first) = addresses.first() {
                *addresses = vec![SocketAddr::new(host, first.port())];
            }
        }
    } else {
        let cure = "give an IP address to listen on, such as 0.0.0.0, with or without a port";
        faults.push(Fault::in_environment("SMPP_HOST", format!("is {value:?}, which is no IP address"), cure));
    }
}

/// The whole address where the value has one, and the port.
fn port_of(name: &str, value: &str) -> Result<(Option<SocketAddr>, u16), Box<Fault>> {
    if let Ok(port) = value.trim().parse() {
        return Ok((None, port));
    }
    if let Some(address) = addresses::parse(value) {
        return Ok((Some(address), address.port()));
    }
    let cure = match value.starts_with("tcp://") {
        true => "Kubernetes sets it for a service of that name: set enableServiceLinks: false, or the port itself",
        false => PORT_CURE,
    };
    Err(Box::new(Fault::in_environment(name, format!("is {value:?}, which is no port"), cure)))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Addresses {
        smpp: Vec<SocketAddr>,
        smpp_tls: Vec<SocketAddr>,
        control: SocketAddr,
        metrics: SocketAddr,
    }

    fn applied(variables: &[(&str, &str)]) -> (Addresses, Vec<String>) {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let mut addresses = Addresses {
            smpp: vec![address("10.0.0.1:2775"), address("10.0.0.2:2775")],
            smpp_tls: vec![address("10.0.0.1:2776")],
            control: address("127.0.0.1:8080"),
            metrics: address("127.0.0.1:9090"),
        };
        let environment =
            |name: &str| variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned());
        let mut faults = Vec::new();
        let listeners = Listeners {
            smpp: &mut addresses.smpp,
            smpp_tls: &mut addresses.smpp_tls,
            control: &mut addresses.control,
            metrics: &mut addresses.metrics,
        };
        apply(&environment, listeners, &mut faults);
        (addresses, faults.iter().map(ToString::to_string).collect())
    }

    fn texts(addresses: &[SocketAddr]) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nothing_set_changes_nothing() {
        let (addresses, faults) = applied(&[("SMPP_PORT", ""), ("REDIS_HOST", "tcp://10.0.0.9:6379")]);
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(texts(&addresses.smpp), ["10.0.0.1:2775", "10.0.0.2:2775"]);
    }

    #[test]
    fn a_port_keeps_the_addresses_and_a_host_replaces_them() {
        let (addresses, faults) =
            applied(&[("SMPP_PORT", "3000"), ("API_PORT", "8081"), ("METRICS_PORT", "0.0.0.0:9")]);
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(texts(&addresses.smpp), ["10.0.0.1:3000", "10.0.0.2:3000"]);
        assert_eq!(addresses.control.to_string(), "127.0.0.1:8081");
        assert_eq!(addresses.metrics.to_string(), "0.0.0.0:9");
        let (addresses, _) = applied(&[("SMPP_HOST", "::1"), ("SMPP_TLS_PORT", "3001")]);
        assert_eq!(texts(&addresses.smpp), ["[::1]:2775"]);
        assert_eq!(texts(&addresses.smpp_tls), ["[::1]:3001"]);
        let (addresses, _) = applied(&[("SMPP_HOST", "0.0.0.0:4000")]);
        assert_eq!(texts(&addresses.smpp), ["0.0.0.0:4000"]);
        assert_eq!(texts(&addresses.smpp_tls), ["0.0.0.0:2776"]);
    }

    #[test]
    fn services_and_values_that_are_none_are_refused() {
        for (name, value, words) in [
            ("RABBITMQ_HOST", "rabbit:5672", "is not served by this version yet"),
            ("SMPP_PORT", "tcp://10.0.0.1:2775", "enableServiceLinks"),
            ("API_PORT", "http", "which is no port"),
            ("SMPP_HOST", "gateway", "which is no IP address"),
        ] {
            let (_, faults) = applied(&[(name, value)]);
            assert_eq!(faults.len(), 1, "{name}: {faults:?}");
            assert!(faults[0].starts_with(&format!("environment: {name} ")), "{}", faults[0]);
            assert!(faults[0].contains(words), "{}", faults[0]);
        }
    }
}
