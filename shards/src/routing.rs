//! Which vendors may carry a message: the routing rules, compiled.
//!
//! Patterns that are a plain prefix (`^1.*`, `^4420`) or an exact number (`^15551234567$`) live in a digit trie
//! that is walked once along the destination; only what is neither runs as a regular expression. A leading `+` of an
//! address does not count. Rules for one customer alone stand in a trie of that customer's, so that ten thousand customers
//! with rules of their own cost a message nothing.

use std::collections::HashMap;
use std::sync::Arc;

mod explain;

use regex::bytes::{Regex, RegexBuilder};

use crate::addresses::without_plus;
use crate::amount::Amount;
use crate::bounds::ROUTE_CANDIDATES_MAX;
use crate::names::{CustomerId, VendorId};
use crate::settings::RuleSettings;
use crate::snapshot::Vendor;

pub use explain::{Considered, Match};

/// The vendors for one message, first choice first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    vendors: [VendorId; ROUTE_CANDIDATES_MAX],
    /// The rule that has brought each: its place.
    rules: [u32; ROUTE_CANDIDATES_MAX],
    length: u8,
}

impl Candidates {
    /// First choice first.
    #[inline]
    pub fn as_slice(&self) -> &[VendorId] {
        &self.vendors[..usize::from(self.length)]
    }

    /// Of two rules with one vendor the first counts.
    fn push(&mut self, vendor: VendorId, rule: u32) {
        if usize::from(self.length) < ROUTE_CANDIDATES_MAX && !self.as_slice().contains(&vendor) {
            self.vendors[usize::from(self.length)] = vendor;
            self.rules[usize::from(self.length)] = rule;
            self.length += 1;
        }
    }

    fn is_full(&self) -> bool {
        usize::from(self.length) == ROUTE_CANDIDATES_MAX
    }
}

/// Up to so many rules are looked at one after the other: walking the trie costs more.
const LINEAR_RULES_MAX: usize = 12;

/// The rules of one snapshot.
#[derive(Debug, Default)]
pub struct Routes {
    rules: Vec<Rule>,
    /// The first one is the root for the rules of all customers.
    nodes: Vec<Node>,
    /// By customer, as far as there are rules for one customer alone: the root of its own trie; 0 is none.
    roots: Vec<u32>,
}

#[derive(Debug)]
struct Rule {
    rank: Rank,
    customer: Option<CustomerId>,
    dest: Pattern,
    source: Pattern,
    vendor: VendorId,
    weight: u32,
    rate_per_msg: Amount,
}

/// What decides between rules that match: lower comes first; equal ones share by weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    rule_priority: i32,
    not_primary: bool,
    vendor_priority: i32,
}

#[derive(Debug)]
enum Pattern {
    Any,
    Prefix(Box<[u8]>),
    Exact(Box<[u8]>),
    Expression(Arc<Regex>),
}

/// One digit's step of the trie: child 0 is no child.
#[derive(Debug, Default)]
struct Node {
    children: [u32; 10],
    rules: Vec<u32>,
}

/// Expressions that were compiled before: what stays from one snapshot to the next is not compiled again.
///
/// Lives with whoever builds snapshots. It holds what the last building used, and nothing older.
#[derive(Debug, Default)]
pub struct Patterns {
    before: HashMap<Box<str>, Arc<Regex>>,
    used: HashMap<Box<str>, Arc<Regex>>,
}

impl Patterns {
    /// Another snapshot is about to be built.
    pub(crate) fn begin(&mut self) {
        let used = core::mem::take(&mut self.used);
        self.before.extend(used);
    }

    /// It has been built: what it did not use is forgotten.
    pub(crate) fn end(&mut self) {
        self.before = HashMap::new();
    }

    fn expression(&mut self, text: &str) -> Result<Arc<Regex>, String> {
        if let Some(known) = self.used.get(text) {
            return Ok(known.clone());
        }
        let expression = match self.before.remove(text) {
            Some(known) => known,
            None => RegexBuilder::new(text)
                .unicode(false)
                .size_limit(1 << 20)
                .build()
                .map(Arc::new)
                .map_err(|error| error.to_string().lines().last().unwrap_or_default().trim().to_owned())?,
        };
        self.used.insert(text.into(), expression.clone());
        Ok(expression)
    }
}

/// Collects rules; [`RoutesBuilder::build`] orders and indexes them.
#[derive(Debug)]
pub struct RoutesBuilder<'p> {
    rules: Vec<Rule>,
    patterns: &'p mut Patterns,
}

impl<'p> RoutesBuilder<'p> {
    /// One without rules.
    pub fn new(patterns: &'p mut Patterns) -> Self {
        Self { rules: Vec::new(), patterns }
    }

    /// Adds a rule. One that is not active is checked and left out.
    ///
    /// # Errors
    /// The key whose pattern does not compile, and the compiler's words.
    pub fn add(
        &mut self,
        rule: &RuleSettings,
        customer: Option<CustomerId>,
        vendor: Option<&Vendor>,
    ) -> Result<(), (&'static str, String)> {
        let mut compile = |text: &Option<String>| Pattern::compile(text.as_deref(), self.patterns);
        let dest = compile(&rule.dest_pattern).map_err(|error| ("dest_pattern", error))?;
        let source = compile(&rule.source_pattern).map_err(|error| ("source_pattern", error))?;
        let Some(vendor) = vendor.filter(|vendor| rule.is_active && vendor.is_active()) else { return Ok(()) };
        let rank = Rank {
            rule_priority: rule.priority,
            not_primary: !vendor.settings.is_primary,
            vendor_priority: vendor.settings.priority,
        };
        let (weight, rate_per_msg) = (rule.weight.max(1), rule.rate_per_msg.unwrap_or_default());
        self.rules.push(Rule { rank, customer, dest, source, vendor: vendor.id, weight, rate_per_msg });
        Ok(())
    }

    /// Orders and indexes the rules.
    pub fn build(mut self) -> Routes {
        self.rules.sort_by_key(|rule| rule.rank);
        let mut routes = Routes { rules: self.rules, nodes: vec![Node::default()], roots: Vec::new() };
        for position in 0..routes.rules.len() as u32 {
            let rule = &routes.rules[position as usize];
            let (customer, digits): (_, Option<Vec<usize>>) = match &rule.dest {
                Pattern::Prefix(octets) | Pattern::Exact(octets) => {
                    (rule.customer, octets.iter().map(|octet| digit(*octet)).collect())
                }
                Pattern::Any | Pattern::Expression(_) => (rule.customer, None),
            };
            // What fits no trie is met at its root.
            let root = customer.map_or(0, |customer| routes.root_of(customer));
            routes.index(root, &digits.unwrap_or_default(), position);
        }
        routes
    }
}

impl Routes {
    /// The vendors of the rules that match, best first: by rule priority, then primary vendors, then the vendor's
    /// priority; among rules that are alike in all of that the first is drawn by weight. `draw` gives a random
    /// number and is called only where weights decide.
    pub fn candidates(
        &self,
        customer: CustomerId,
        source: &[u8],
        dest: &[u8],
        mut draw: impl FnMut() -> u32,
    ) -> Candidates {
        let (source, dest) = (without_plus(source), without_plus(dest));
        // Filled in where it is used: a copy made right after would wait for each of its fields.
        let mut candidates = Candidates::default();
        let mut choice = Choice::of(&self.rules, &mut candidates);
        if self.rules.len() <= LINEAR_RULES_MAX {
            for (position, rule) in self.rules.iter().enumerate() {
                if rule.matches(customer, source, dest) && choice.add(rule, position as u32, &mut draw) {
                    break;
                }
            }
        } else {
            let mut heads = self.heads(customer, dest);
            while let Some(position) = heads.next_position() {
                let rule = &self.rules[position as usize];
                if rule.matches(customer, source, dest) && choice.add(rule, position, &mut draw) {
                    break;
                }
            }
        }
        choice.close_rank(&mut draw);
        candidates
    }

    /// What the rule that has brought that candidate asks for each short message; 0 where it asks for nothing.
    #[inline]
    pub fn rate_of(&self, candidates: &Candidates, vendor: VendorId) -> Amount {
        let place = candidates.as_slice().iter().position(|candidate| *candidate == vendor);
        let rule = place.and_then(|place| self.rules.get(candidates.rules[place] as usize));
        rule.map_or(Amount::default(), |rule| rule.rate_per_msg)
    }

    /// The lists of rules whose prefix the destination has: those for everybody, and this customer's own.
    fn heads(&self, customer: CustomerId, dest: &[u8]) -> Heads<'_> {
        let mut heads = Heads { lists: [&[]; HEADS_MAX], length: 0 };
        self.walk(0, dest, &mut heads);
        let own = self.roots.get(customer.index()).copied().unwrap_or(0);
        if own != 0 {
            self.walk(own as usize, dest, &mut heads);
        }
        heads
    }

    fn walk<'a>(&'a self, mut node: usize, dest: &[u8], heads: &mut Heads<'a>) {
        let mut depth = 0;
        while let Some(here) = self.nodes.get(node) {
            heads.push(&here.rules);
            let Some(next) = dest.get(depth).copied().and_then(digit).map(|digit| here.children[digit]) else { break };
            if next == 0 {
                break;
            }
            node = next as usize;
            depth += 1;
        }
    }

    fn root_of(&mut self, customer: CustomerId) -> usize {
        if customer.index() >= self.roots.len() {
            self.roots.resize(customer.index() + 1, 0);
        }
        if self.roots[customer.index()] == 0 {
            self.roots[customer.index()] = self.nodes.len() as u32;
            self.nodes.push(Node::default());
        }
        self.roots[customer.index()] as usize
    }

    fn index(&mut self, root: usize, digits: &[usize], position: u32) {
        let mut node = root;
        for &digit in digits {
            let next = self.nodes[node].children[digit];
            node = if next == 0 {
                let made = self.nodes.len();
                self.nodes.push(Node::default());
                self.nodes[node].children[digit] = made as u32;
                made
            } else {
                next as usize
            };
        }
        self.nodes[node].rules.push(position);
    }
}

impl Rule {
    #[inline]
    fn matches(&self, customer: CustomerId, source: &[u8], dest: &[u8]) -> bool {
        self.customer.is_none_or(|only| only == customer) && self.dest.matches(dest) && self.source.matches(source)
    }
}

impl Pattern {
    fn compile(text: Option<&str>, patterns: &mut Patterns) -> Result<Self, String> {
        let Some(text) = text else { return Ok(Self::Any) };
        if let Some(simple) = Self::simple(text) {
            return Ok(simple);
        }
        patterns.expression(text).map(Self::Expression)
    }

    /// A pattern that needs no regular expression to run.
    fn simple(text: &str) -> Option<Self> {
        if matches!(text, "" | "^" | ".*" | "^.*" | "^.*$" | ".*$") {
            return Some(Self::Any);
        }
        let text = text.strip_prefix('^')?;
        let text = text.strip_prefix(r"\+").unwrap_or(text);
        let (text, exact) = match text.strip_suffix(".*$").or_else(|| text.strip_suffix(".*")) {
            Some(text) => (text, false),
            None => match text.strip_suffix('$') {
                Some(text) => (text, true),
                None => (text, false),
            },
        };
        if text.is_empty() || !text.bytes().all(|octet| octet.is_ascii_alphanumeric()) {
            return None;
        }
        let octets = text.as_bytes().into();
        Some(if exact { Self::Exact(octets) } else { Self::Prefix(octets) })
    }

    #[inline]
    fn matches(&self, address: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Prefix(prefix) => address.starts_with(prefix),
            Self::Exact(exact) => address == &exact[..],
            Self::Expression(regex) => regex.is_match(address),
        }
    }
}

#[inline]
fn digit(octet: u8) -> Option<usize> {
    octet.is_ascii_digit().then(|| usize::from(octet - b'0'))
}

/// The lists of rules met on the way, each in order, merged by taking the lowest head.
struct Heads<'a> {
    lists: [&'a [u32]; HEADS_MAX],
    length: usize,
}

/// In either trie one list for each digit of the longest address, and one for the root.
const HEADS_MAX: usize = 2 * (smpp_pdu::message::ADDRESS_MAX + 1);

impl<'a> Heads<'a> {
    #[inline]
    fn push(&mut self, list: &'a [u32]) {
        if !list.is_empty() && self.length < HEADS_MAX {
            self.lists[self.length] = list;
            self.length += 1;
        }
    }

    #[inline]
    fn next_position(&mut self) -> Option<u32> {
        let lowest = self.lists[..self.length].iter_mut().filter(|list| !list.is_empty()).min_by_key(|list| list[0])?;
        let (first, rest) = lowest.split_first()?;
        *lowest = rest;
        Some(*first)
    }
}

/// The candidates so far, and the matching rules of the present rank, which share its places by weight.
struct Choice<'a> {
    rules: &'a [Rule],
    candidates: &'a mut Candidates,
    rank: Option<Rank>,
    members: [u32; ROUTE_CANDIDATES_MAX],
    length: usize,
}

impl<'a> Choice<'a> {
    #[inline]
    fn of(rules: &'a [Rule], candidates: &'a mut Candidates) -> Self {
        Self { rules, candidates, rank: None, members: [0; ROUTE_CANDIDATES_MAX], length: 0 }
    }

    /// Adds a rule that matches; they come by rank. `true` when no more are needed.
    #[inline]
    fn add(&mut self, rule: &Rule, position: u32, draw: &mut impl FnMut() -> u32) -> bool {
        if self.rank != Some(rule.rank) {
            self.close_rank(draw);
            if self.candidates.is_full() {
                return true;
            }
            self.rank = Some(rule.rank);
        }
        if let Some(place) = self.members.get_mut(self.length) {
            *place = position;
            self.length += 1;
        }
        false
    }

    #[inline]
    fn close_rank(&mut self, draw: &mut impl FnMut() -> u32) {
        let members = &mut self.members[..self.length];
        if members.len() > 1 {
            let weight = |position: &u32| u64::from(self.rules[*position as usize].weight);
            let total: u64 = members.iter().map(weight).sum();
            let mut ticket = (u64::from(draw()) * total) >> 32;
            let first = members.iter().position(|position| {
                let weight = weight(position);
                let hit = ticket < weight;
                ticket = ticket.saturating_sub(weight);
                hit
            });
            members.swap(0, first.unwrap_or(0));
        }
        members.iter().for_each(|rule| self.candidates.push(self.rules[*rule as usize].vendor, *rule));
        self.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{CustomerSettings, Settings, VendorSettings};
    use crate::snapshot::Snapshot;

    fn vendor(name: &str) -> VendorSettings {
        VendorSettings { instance_name: name.into(), host: "h".into(), port: 1, ..VendorSettings::default() }
    }

    fn rule(priority: i32, dest: &str, vendor: &str) -> RuleSettings {
        RuleSettings { priority, dest_pattern: Some(dest.into()), vendor: vendor.into(), ..RuleSettings::default() }
    }

    fn snapshot(vendors: Vec<VendorSettings>, rules: Vec<RuleSettings>) -> Snapshot {
        let customers = ["one", "two"].map(|name| CustomerSettings {
            smpp_system_id: name.into(),
            smpp_password: Some("p".into()),
            ..CustomerSettings::default()
        });
        let settings = Settings { customers: customers.into(), vendors, routing_rules: rules, ..Settings::default() };
        Snapshot::build(settings, 1, 1).unwrap()
    }

    fn names(snapshot: &Snapshot, source: &[u8], dest: &[u8]) -> Vec<String> {
        let candidates = snapshot.routes.candidates(CustomerId(0), source, dest, || 0);
        let name = |id: &VendorId| snapshot.vendors[id.index()].settings.instance_name.clone();
        candidates.as_slice().iter().map(name).collect()
    }

    #[test]
    fn prefixes_exact_numbers_and_expressions_match_what_a_regular_expression_would() {
        let patterns =
            ["^1.*", "^4420", "^4420.*$", "^15551234567$", r"^\+49", "^(33|34)", "7$", "", ".*", "^ACME", "^1[2-5]"];
        let numbers: [&[u8]; 9] =
            [b"15551234567", b"1555123456", b"442012", b"44", b"4930", b"33612", b"447", b"ACME", b""];
        for pattern in patterns {
            let snapshot = snapshot(vec![vendor("v")], vec![rule(1, pattern, "v")]);
            let plain = Regex::new(&pattern.replace(r"\+", "")).unwrap();
            for number in numbers {
                let found = !names(&snapshot, b"", number).is_empty();
                assert_eq!(found, plain.is_match(number), "{pattern} on {}", number.escape_ascii());
            }
        }
    }

    #[test]
    fn many_rules_choose_as_few_would() {
        let rules: Vec<RuleSettings> = (0..60)
            .map(|number| {
                let dest =
                    ["^1", "^15", "^155", "5$", "", "^44", "^4420$", ".*", "^1[0-9]", "^2"][number as usize % 10];
                rule(number * 7919 % 31, dest, ["a", "b", "c"][number as usize % 3])
            })
            .collect();
        let vendors = vec![vendor("a"), vendor("b"), vendor("c")];
        let many = snapshot(vendors.clone(), rules.clone());
        for number in [&b"15551234"[..], b"4420", b"44201", b"2", b"", b"999", b"ACME"] {
            let matching: Vec<RuleSettings> = rules
                .iter()
                .filter(|rule| Regex::new(rule.dest_pattern.as_deref().unwrap()).unwrap().is_match(number))
                .cloned()
                .collect();
            let mut first: Vec<String> = Vec::new();
            let mut by_rank = matching.clone();
            by_rank.sort_by_key(|rule| rule.priority);
            for rule in by_rank {
                if !first.contains(&rule.vendor) {
                    first.push(rule.vendor);
                }
            }
            assert_eq!(names(&many, b"", number), first, "{}", number.escape_ascii());
        }
    }

    #[test]
    fn a_leading_plus_does_not_count() {
        let snapshot = snapshot(vec![vendor("v")], vec![rule(1, "^1555", "v")]);
        assert_eq!(names(&snapshot, b"", b"+15551").len(), 1);
    }

    #[test]
    fn rule_priority_comes_first_then_primary_then_the_vendors_own() {
        let mut vendors = vec![vendor("late"), vendor("plain"), vendor("primary"), vendor("first")];
        vendors[1].priority = 1;
        vendors[2].is_primary = true;
        let rules =
            vec![rule(5, "^1", "late"), rule(2, "", "plain"), rule(2, "^15", "primary"), rule(1, "5$", "first")];
        let snapshot = snapshot(vendors, rules);
        assert_eq!(names(&snapshot, b"", b"155"), ["first", "primary", "plain", "late"]);
        assert_eq!(names(&snapshot, b"", b"156"), ["primary", "plain", "late"]);
        assert_eq!(names(&snapshot, b"", b"2"), ["plain"]);
    }

    #[test]
    fn weights_share_the_first_place_and_the_rest_stay_as_fallback() {
        let mut rules = vec![rule(1, "", "a"), rule(1, "", "b")];
        rules[1].weight = 3;
        let snapshot = snapshot(vec![vendor("a"), vendor("b")], rules);
        let mut random = crate::random::Random::new(3);
        let mut first_b = 0;
        for _ in 0..4000 {
            let candidates = snapshot.routes.candidates(CustomerId(0), b"", b"1", || random.next_u32());
            assert_eq!(candidates.as_slice().len(), 2);
            first_b += u32::from(candidates.as_slice()[0] == VendorId(1));
        }
        assert!((2800..3200).contains(&first_b), "{first_b} of 4000 for a weight of 3 in 4");
    }

    #[test]
    fn rules_of_another_customer_or_source_do_not_count() {
        let mut rules = vec![rule(1, "", "a"), rule(2, "", "b"), rule(3, "", "c")];
        rules[0].customer = Some("two".into());
        rules[1].source_pattern = Some("^ACME".into());
        let snapshot = snapshot(vec![vendor("a"), vendor("b"), vendor("c")], rules);
        assert_eq!(names(&snapshot, b"ACME", b"1"), ["b", "c"]);
        assert_eq!(names(&snapshot, b"OTHER", b"1"), ["c"]);
    }

    #[test]
    fn rules_for_one_customer_stand_in_order_with_those_for_all() {
        let own = |priority, dest: &str, vendor: &str| RuleSettings {
            customer: Some(if priority % 2 == 0 { "one" } else { "two" }.into()),
            ..rule(priority, dest, vendor)
        };
        let mut rules: Vec<RuleSettings> = (0..20).map(|number| rule(50 + number, "^99", "c")).collect();
        rules.extend([own(2, "^15", "a"), own(4, "5$", "b"), rule(3, "^1", "c"), own(1, "^15", "c"), own(6, "", "b")]);
        let snapshot = snapshot(vec![vendor("a"), vendor("b"), vendor("c")], rules);
        assert_eq!(names(&snapshot, b"", b"155"), ["a", "c", "b"]);
        assert_eq!(names(&snapshot, b"", b"7"), ["b"]);
        let two = snapshot.routes.candidates(CustomerId(1), b"", b"15", || 0);
        assert_eq!(two.as_slice(), [VendorId(2)]);
    }

    #[test]
    fn each_vendor_comes_with_the_rate_of_the_rule_that_brings_it() {
        let priced = |priority, dest: &str, vendor: &str, millionths| RuleSettings {
            rate_per_msg: Some(Amount::of_millionths(millionths)),
            ..rule(priority, dest, vendor)
        };
        let mut rules = vec![
            priced(3, "^1", "a", 30),
            priced(1, "^15", "a", 10),
            priced(2, "", "b", 20),
            rule(4, "", "c"),
            priced(5, "", "c", 50),
        ];
        let vendors = vec![vendor("a"), vendor("b"), vendor("c")];
        let rates = |rules: &[RuleSettings], dest: &[u8]| -> Vec<(u32, u64)> {
            let snapshot = snapshot(vendors.clone(), rules.to_vec());
            let candidates = snapshot.routes.candidates(CustomerId(0), b"", dest, || 0);
            let rate = |id| snapshot.routes.rate_of(&candidates, id).millionths();
            candidates.as_slice().iter().map(|id| (id.0, rate(*id))).collect()
        };
        assert_eq!(rates(&rules, b"155"), [(0, 10), (1, 20), (2, 0)]);
        assert_eq!(rates(&rules, b"16"), [(1, 20), (0, 30), (2, 0)]);
        assert_eq!(rates(&rules, b"2"), [(1, 20), (2, 0)]);
        rules.extend((0..LINEAR_RULES_MAX).map(|_| rule(9, "^99", "c")));
        assert_eq!(rates(&rules, b"155"), [(0, 10), (1, 20), (2, 0)], "many rules are walked another way");
    }

    #[test]
    fn what_is_not_active_does_not_count() {
        let mut vendors = vec![vendor("off"), vendor("on")];
        vendors[0].is_active = false;
        let mut rules = vec![rule(1, "", "off"), rule(2, "", "on"), rule(3, "", "on")];
        rules[1].is_active = false;
        let snapshot = snapshot(vendors, rules);
        assert_eq!(names(&snapshot, b"", b"1"), ["on"]);
    }

    #[test]
    fn every_problem_is_named_with_its_place() {
        let settings = Settings {
            vendors: vec![VendorSettings { port: 0, ..vendor("v") }],
            routing_rules: vec![rule(1, "(", "v"), rule(1, "", "nobody")],
            ..Settings::default()
        };
        let problems = Snapshot::build(settings, 1, 1).unwrap_err();
        let places: Vec<_> = problems.iter().map(|problem| (problem.table, problem.index, problem.key)).collect();
        assert_eq!(
            places,
            [("vendors", 0, "port"), ("routing_rules", 0, "dest_pattern"), ("routing_rules", 1, "vendor")]
        );
    }
}
