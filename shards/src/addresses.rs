//! Address lists: the networks a customer may bind from, and the sources it may send from.

use core::net::IpAddr;
use std::collections::HashSet;

/// An address with a prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNetwork {
    address: IpAddr,
    prefix: u8,
}

impl IpNetwork {
    /// Reads `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(most);
        (prefix <= most).then_some(Self { address, prefix })
    }

    /// Whether the address lies in it. An IPv4 address that came in over an IPv6 socket counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// The source addresses a customer may use. A leading `+` counts on neither side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceAddresses {
    any: bool,
    exact: HashSet<Box<[u8]>>,
    prefixes: Vec<Box<[u8]>>,
}

impl SourceAddresses {
    /// Compiles `allowed_source_addresses`.
    ///
    /// # Errors
    /// The first pattern that is none: empty, or with a `*` elsewhere than at its end.
    pub fn compile(patterns: &[String]) -> Result<Self, String> {
        let mut compiled = Self::default();
        for pattern in patterns {
            let (text, is_prefix) = match pattern.strip_suffix('*') {
                Some(text) => (text, true),
                None => (pattern.as_str(), false),
            };
            if text.contains('*') || (text.is_empty() && !is_prefix) {
                return Err(pattern.clone());
            }
            let octets: Box<[u8]> = without_plus(text.as_bytes()).into();
            match (is_prefix, octets.is_empty()) {
                (true, true) => compiled.any = true,
                (true, false) => compiled.prefixes.push(octets),
                (false, _) => {
                    compiled.exact.insert(octets);
                }
            }
        }
        Ok(compiled)
    }

    /// Whether that source may be used.
    #[inline]
    pub fn allows(&self, source: &[u8]) -> bool {
        if self.any {
            return true;
        }
        let source = without_plus(source);
        self.exact.contains(source) || self.prefixes.iter().any(|prefix| source.starts_with(prefix))
    }
}

/// The address without a leading `+`, which is how rules and lists compare.
#[inline]
pub fn without_plus(address: &[u8]) -> &[u8] {
    address.strip_prefix(b"+").unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        let network = IpNetwork::parse("10.1.0.0/16").unwrap();
        assert!(network.contains("10.1.255.1".parse().unwrap()));
        assert!(network.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!network.contains("10.2.0.1".parse().unwrap()));
        assert!(!network.contains("2001:db8::1".parse().unwrap()));
        assert!(IpNetwork::parse("0.0.0.0/0").unwrap().contains("192.0.2.1".parse().unwrap()));
        assert!(IpNetwork::parse("::/0").unwrap().contains("2001:db8::1".parse().unwrap()));
        assert!(!IpNetwork::parse("192.0.2.7").unwrap().contains("192.0.2.8".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "::/129", "ten", "10.0.0.0/", "10.0.0.0/-1"] {
            assert_eq!(IpNetwork::parse(text), None, "{text}");
        }
    }

    #[test]
    fn sources_are_exact_prefix_or_any() {
        let list = |patterns: &[&str]| {
            SourceAddresses::compile(&patterns.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        };
        let some = list(&["+4420*", "ACME"]).unwrap();
        assert!(some.allows(b"442012"));
        assert!(some.allows(b"+442012"));
        assert!(some.allows(b"ACME"));
        assert!(!some.allows(b"ACME2"));
        assert!(!some.allows(b"acme"));
        assert!(!some.allows(b""));
        assert!(list(&["*"]).unwrap().allows(b"anything"));
        assert!(!list(&[]).unwrap().allows(b"anything"));
        assert_eq!(list(&["4*4"]).unwrap_err(), "4*4");
        assert_eq!(list(&[""]).unwrap_err(), "");
    }
}
