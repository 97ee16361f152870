//! Why a message would go where it goes: every rule looked at, and what of it does not match.
//!
//! For an operator who asks, on the control thread with the snapshot in force; nothing of it is on a message's way.

use core::fmt;

use super::{Pattern, Routes, Rule, without_plus};
use crate::amount::Amount;
use crate::names::{CustomerId, VendorId};

/// What became of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// It matches.
    Yes,
    /// It is for another customer.
    OtherCustomer,
    /// Its dest_pattern does not match.
    Dest,
    /// Its source_pattern does not match.
    Source,
}

/// One rule in force, and how it looks at a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered {
    /// The rule's priority; lower is tried first.
    pub priority: i32,
    /// Its vendor is a primary one.
    pub is_primary: bool,
    /// Its vendor's own priority.
    pub vendor_priority: i32,
    /// Its vendor.
    pub vendor: VendorId,
    /// Its share among rules that rank alike.
    pub weight: u32,
    /// What it asks for each short message; 0 where it asks for nothing.
    pub rate_per_msg: Amount,
    /// The customer for whom it is alone.
    pub customer: Option<CustomerId>,
    /// As a regular expression; what is simple may be written in another way than it was configured.
    pub dest_pattern: String,
    /// Likewise.
    pub source_pattern: String,
    /// Whether it matches, and else why not.
    pub matches: Match,
}

impl Routes {
    /// The active rules in the order in which they are tried, each with its verdict on a message. Nothing is drawn.
    pub fn explain<'a>(
        &'a self,
        customer: CustomerId,
        source: &'a [u8],
        dest: &'a [u8],
    ) -> impl Iterator<Item = Considered> + 'a {
        let (source, dest) = (without_plus(source), without_plus(dest));
        self.rules.iter().map(move |rule| rule.consider(customer, source, dest))
    }

    /// How many rules are in force.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether no rule is in force.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl Rule {
    fn consider(&self, customer: CustomerId, source: &[u8], dest: &[u8]) -> Considered {
        let matches = if self.customer.is_some_and(|only| only != customer) {
            Match::OtherCustomer
        } else if !self.dest.matches(dest) {
            Match::Dest
        } else if !self.source.matches(source) {
            Match::Source
        } else {
            Match::Yes
        };
        Considered {
            priority: self.rank.rule_priority,
            is_primary: !self.rank.not_primary,
            vendor_priority: self.rank.vendor_priority,
            vendor: self.vendor,
            weight: self.weight,
            rate_per_msg: self.rate_per_msg,
            customer: self.customer,
            dest_pattern: self.dest.to_string(),
            source_pattern: self.source.to_string(),
            matches,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str(".*"),
            Self::Prefix(prefix) => write!(f, "^{}", prefix.escape_ascii()),
            Self::Exact(exact) => write!(f, "^{}$", exact.escape_ascii()),
            Self::Expression(expression) => f.write_str(expression.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{CustomerSettings, RuleSettings, Settings, VendorSettings};
    use crate::snapshot::Snapshot;

    #[test]
    fn every_rule_tells_whether_it_matches_and_why_not() {
        let vendors = ["north", "south"].map(|name| VendorSettings {
            instance_name: name.into(),
            host: "h".into(),
            port: 1,
            ..VendorSettings::default()
        });
        let customers = ["one", "two"].map(|name| CustomerSettings {
            smpp_system_id: name.into(),
            smpp_password: Some("p".into()),
            ..CustomerSettings::default()
        });
        let rule = |priority, customer: Option<&str>, dest: &str, source: &str, vendor: &str| RuleSettings {
            priority,
            customer: customer.map(Into::into),
            dest_pattern: Some(dest.into()),
            source_pattern: Some(source.into()),
            vendor: vendor.into(),
            ..RuleSettings::default()
        };
        let routing_rules = vec![
            rule(4, None, "^1.*", "(A|B)$", "south"),
            rule(1, Some("two"), "", "", "north"),
            rule(2, None, "^44", "", "north"),
            rule(3, None, "^15551$", "^OTHER", "north"),
        ];
        let settings =
            Settings { customers: customers.into(), vendors: vendors.into(), routing_rules, ..Settings::default() };
        let snapshot = Snapshot::build(settings, 1, 1).unwrap();
        let looks: Vec<Considered> = snapshot.routes.explain(CustomerId(0), b"A", b"+15551").collect();
        let verdicts: Vec<_> = looks.iter().map(|look| (look.priority, look.matches)).collect();
        assert_eq!(verdicts, [(1, Match::OtherCustomer), (2, Match::Dest), (3, Match::Source), (4, Match::Yes)]);
        let patterns: Vec<_> = looks.iter().map(|look| look.dest_pattern.as_str()).collect();
        assert_eq!(patterns, [".*", "^44", "^15551$", "^1"]);
        assert_eq!((looks[3].vendor, looks[3].source_pattern.as_str()), (VendorId(1), "(A|B)$"));
        assert_eq!(snapshot.routes.len(), 4);
    }
}
