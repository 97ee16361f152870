//! Listen addresses as an operator writes them.

use std::net::{IpAddr, SocketAddr};

use serde::de::{self, Deserializer, SeqAccess, Visitor};

/// `"0.0.0.0:2775"` or a list of such texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OneOrMany(pub(super) Vec<String>);

impl<'de> de::Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an address such as \"0.0.0.0:2775\", or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany(texts))
            }
        }

        deserializer.deserialize_any(Texts)
    }
}

/// What to do about an address that is none.
pub(super) const ADDRESS_CURE: &str =
    "write an IP address and a port, such as 0.0.0.0:2775 or [::]:2775 (names are not looked up here)";

/// An address with its port; `localhost` is taken for 127.0.0.1.
pub(super) fn parse(text: &str) -> Option<SocketAddr> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (host, port) = text.rsplit_once(':')?;
    Some(SocketAddr::new(parse_host(host)?, port.parse().ok()?))
}

/// An address without a port; `localhost` is taken for 127.0.0.1.
pub(super) fn parse_host(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    match bare {
        "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
        _ => bare.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_are_understood_and_names_are_not() {
        assert_eq!(parse("0.0.0.0:2775").map(|address| address.port()), Some(2775));
        assert_eq!(parse("[::1]:2775"), Some(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 2775))));
        assert_eq!(parse("localhost:1"), Some(SocketAddr::from(([127, 0, 0, 1], 1))));
        for wrong in ["", "2775", ":2775", "smpp.example.com:2775", "127.0.0.1", "127.0.0.1:70000", "::1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
