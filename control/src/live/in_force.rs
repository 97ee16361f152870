//! From the rows of a source to what is in force: compiled as a whole, and where a row is wrong its last good version
//! stands in for it.
//!
//! Runs on a thread that may compute for a while: ten thousand rows take a good part of a second.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;

use smpp_shards::routing::Patterns;
use smpp_shards::settings::RuleSettings;
use smpp_shards::{Problem, Settings, Snapshot};

use super::{Loaded, RowFault, RowKeys};
use crate::config::{Configuration, customer_problems};

/// Tables whose values make up `settings.gateway`.
const SECTIONS: [&str; 4] = ["gateway", "smpp", "statuses", "auth"];

/// What came of a row that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its last good version is in force.
    LastGoodStays,
    /// It never had one, or that one does not fit the others any more.
    LeftOut,
}

/// By table and name.
type Fates = BTreeMap<(&'static str, String), Fate>;

/// What is in force: the rows, each the newest good version there was, and what they were compiled to.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The rows.
    pub settings: Settings,
    /// Their names.
    pub keys: RowKeys,
    /// The same, compiled.
    pub snapshot: Arc<Snapshot>,
    /// What is wrong in the source, and not in force therefore.
    pub faults: Vec<RowFault>,
    fates: Fates,
}

impl InForce {
    /// Nothing yet, for a process of that many shards: what comes first has version 1.
    pub fn nothing(shards: u16) -> Self {
        Self {
            settings: Settings::default(),
            keys: RowKeys::default(),
            snapshot: Arc::new(Snapshot::nothing(shards)),
            faults: Vec::new(),
            fates: Fates::new(),
        }
    }

    /// Rows that were in force in an earlier process, to stand in for those of the first version that are wrong. As
    /// [`InForce::nothing`] otherwise: none of them is in force, nor takes a place.
    pub(crate) fn kept(rows: Loaded, shards: u16) -> Self {
        let nothing = Self::nothing(shards);
        let settings = Settings { gateway: nothing.settings.gateway.clone(), ..rows.settings };
        Self { settings, keys: rows.keys, ..nothing }
    }

    /// A file that was loaded without a fault, and what it was compiled to.
    pub fn of_file(configuration: &Configuration, snapshot: Arc<Snapshot>) -> Self {
        let settings = configuration.settings.clone();
        Self { settings, keys: configuration.row_keys(), snapshot, faults: Vec::new(), fates: Fates::new() }
    }

    /// The same rows with places for customers that are in none of them: of whom the journal holds something. The next
    /// version.
    ///
    /// # Errors
    /// What is wrong with the rows, which it was not before.
    pub fn remembering(&self, system_ids: &[String], patterns: &mut Patterns) -> Result<InForce, Vec<Problem>> {
        let mut snapshot = self.snapshot.succeed(self.settings.clone(), patterns)?;
        snapshot.remember_customers(system_ids);
        Ok(InForce { snapshot: Arc::new(snapshot), ..self.clone() })
    }

    /// What is in force after these rows were loaded. Where they come to the same as before, the snapshot is the same one.
    ///
    /// A row that is wrong, or that was not even readable ([`Loaded::faults`]), is told of in `faults`, and its last good
    /// version stays; where there is none, or that one does not fit the others any more, it is left out.
    pub fn succeed(&self, loaded: Loaded, patterns: &mut Patterns) -> InForce {
        let mut rows = Rows::new(loaded, self);
        loop {
            let settings = rows.settings();
            if settings == self.settings && self.snapshot.version > 0 {
                let snapshot = Arc::clone(&self.snapshot);
                return rows.in_force(settings, snapshot);
            }
            let mut problems = customer_problems(&settings.customers);
            if problems.is_empty() {
                match self.snapshot.succeed(settings.clone(), patterns) {
                    Ok(snapshot) => return rows.in_force(settings, Arc::new(snapshot)),
                    Err(found) => problems = found,
                }
            }
            rows.replace(problems, self);
        }
    }

    /// What came of the row of that fault; `None` where it is none of a row's own, such as one of a file that the row names.
    pub(crate) fn fate(&self, fault: &RowFault) -> Option<Fate> {
        self.fates.get(&(fault.table, fault.key.clone())).copied()
    }
}

/// The rows while the wrong ones among them are being found.
struct Rows {
    gateway: smpp_shards::GatewaySettings,
    customers: Table<smpp_shards::settings::CustomerSettings>,
    vendors: Table<smpp_shards::settings::VendorSettings>,
    routing_rules: Table<RuleSettings>,
    inbound_routes: Table<smpp_shards::settings::InboundRouteSettings>,
    are_lines: bool,
    faults: Vec<RowFault>,
}

impl Rows {
    fn new(loaded: Loaded, before: &InForce) -> Self {
        let Loaded { settings, keys, faults, nameless } = loaded;
        let known = (&before.settings, &before.keys);
        let is_gateway_wrong = faults.iter().any(|fault| SECTIONS.contains(&fault.table));
        let wrong = |table: &'static str| -> HashSet<&str> {
            faults.iter().filter(|fault| fault.table == table).map(|fault| fault.key.as_str()).collect()
        };
        let is_nameless = |table: &'static str| nameless.contains(&table);
        let mut rows = Self {
            gateway: if is_gateway_wrong { known.0.gateway.clone() } else { settings.gateway },
            customers: Table::by_name(
                (settings.customers, keys.customers),
                (&known.0.customers, &known.1.customers),
                &wrong("customers"),
                is_nameless("customers"),
            ),
            vendors: Table::by_name(
                (settings.vendors, keys.vendors),
                (&known.0.vendors, &known.1.vendors),
                &wrong("vendors"),
                is_nameless("vendors"),
            ),
            routing_rules: match keys.are_lines {
                true => {
                    let rules = (settings.routing_rules, keys.routing_rules);
                    Table::by_likeness(rules, &known.0.routing_rules, &wrong("routing_rules"), rules_alike)
                }
                false => Table::by_name(
                    (settings.routing_rules, keys.routing_rules),
                    (&known.0.routing_rules, &known.1.routing_rules),
                    &wrong("routing_rules"),
                    is_nameless("routing_rules"),
                ),
            },
            inbound_routes: Table::by_name(
                (settings.inbound_routes, keys.inbound_routes),
                (&known.0.inbound_routes, &known.1.inbound_routes),
                &wrong("inbound_routes"),
                is_nameless("inbound_routes"),
            ),
            are_lines: keys.are_lines,
            faults: Vec::new(),
        };
        rows.faults = faults;
        rows
    }

    /// These rows, compiled.
    fn in_force(self, settings: Settings, snapshot: Arc<Snapshot>) -> InForce {
        let (keys, mut fates) = (self.keys(), Fates::new());
        for fault in &self.faults {
            let stays = match fault.table {
                "customers" => self.customers.has_before(&fault.key),
                "vendors" => self.vendors.has_before(&fault.key),
                "routing_rules" => self.routing_rules.has_before(&fault.key),
                "inbound_routes" => self.inbound_routes.has_before(&fault.key),
                _ => true,
            };
            let fate = if stays { Fate::LastGoodStays } else { Fate::LeftOut };
            fates.insert((fault.table, fault.key.clone()), fate);
        }
        InForce { settings, keys, snapshot, faults: self.faults, fates }
    }

    fn settings(&self) -> Settings {
        Settings {
            gateway: self.gateway.clone(),
            customers: self.customers.rows(),
            vendors: self.vendors.rows(),
            routing_rules: self.routing_rules.rows(),
            inbound_routes: self.inbound_routes.rows(),
        }
    }

    fn keys(&self) -> RowKeys {
        RowKeys {
            customers: self.customers.keys(),
            vendors: self.vendors.keys(),
            routing_rules: self.routing_rules.keys(),
            inbound_routes: self.inbound_routes.keys(),
            are_lines: self.are_lines,
        }
    }

    /// The column of a service's row and what is wrong with it. A rule names others by ids there, and one that names nobody
    /// was told of when it was read: whoever this one names is there, and wrong.
    fn as_stored(&self, problem: &Problem) -> (&'static str, String) {
        let rule = self.routing_rules.entries.get(problem.index).filter(|_| problem.table == "routing_rules");
        let left_out = |what: &str, name: &str| {
            format!("is that of the {what} {name:?}, which is left out; mend that {what}'s row, or name another one")
        };
        match (problem.key, rule.map(|entry| &entry.row)) {
            ("vendor", Some(rule)) => ("vendor_id", left_out("vendor", &rule.vendor)),
            ("customer", Some(rule)) => {
                ("customer_id", left_out("customer", rule.customer.as_deref().unwrap_or_default()))
            }
            (column, _) => {
                let cure = problem.cure.replace("[[customers]]", "rows of customer_sms_auth");
                (column, format!("{}; {cure}", problem.reason))
            }
        }
    }

    /// Tells of each problem, and puts the last good version in the wrong row's place. It gets less with every time: a row
    /// has one version before, and is left out when that one is wrong as well.
    fn replace(&mut self, problems: Vec<Problem>, before: &InForce) {
        for problem in &problems {
            let (column, reason) = match self.are_lines {
                true => (problem.key, format!("{}; {}", problem.reason, problem.cure)),
                false => self.as_stored(problem),
            };
            let key = match problem.table {
                "customers" => self.customers.wrong(problem.index),
                "vendors" => self.vendors.wrong(problem.index),
                "routing_rules" => self.routing_rules.wrong(problem.index),
                "inbound_routes" => self.inbound_routes.wrong(problem.index),
                _ => {
                    self.gateway = before.settings.gateway.clone();
                    Some(String::new())
                }
            };
            if let Some(key) = key {
                self.faults.push(RowFault { table: problem.table, key, column: column.to_owned(), reason });
            }
        }
        self.customers.settle();
        self.vendors.settle();
        self.routing_rules.settle();
        self.inbound_routes.settle();
    }
}

/// The rows of one table.
struct Table<T> {
    entries: Vec<Entry<T>>,
    /// What was in force before, where rows have no names.
    old: Vec<T>,
    likeness: Option<fn(&T, &T) -> u32>,
}

struct Entry<T> {
    key: String,
    row: T,
    /// The last good version, until it is in use.
    before: Option<T>,
    /// Out of the source; else it is a version of before already, whose faults nobody wants to hear of once more.
    is_new: bool,
    is_wrong: bool,
}

impl<T: Clone + Debug> Table<T> {
    /// Rows that have names: which one was which is told by them.
    fn by_name(
        (rows, keys): (Vec<T>, Vec<String>),
        (old_rows, old_keys): (&[T], &[String]),
        wrong: &HashSet<&str>,
        keeps_missing: bool,
    ) -> Self {
        let old: HashMap<&str, &T> = old_keys.iter().map(String::as_str).zip(old_rows).collect();
        let named: HashSet<String> = keys.iter().cloned().collect();
        let mut table = Self { entries: Vec::with_capacity(rows.len()), old: Vec::new(), likeness: None };
        for (row, key) in rows.into_iter().zip(keys) {
            let before = old.get(key.as_str()).map(|row| (*row).clone());
            table.add(key, row, before, wrong);
        }
        for (row, key) in old_rows.iter().zip(old_keys).filter(|(_, key)| !named.contains(*key)) {
            if keeps_missing || wrong.contains(key.as_str()) {
                let (key, row) = (key.clone(), row.clone());
                table.entries.push(Entry { key, row, before: None, is_new: false, is_wrong: false });
            }
        }
        table
    }

    /// Rows without names of their own, in a file: which one a wrong one was before is told by what else it says.
    fn by_likeness(
        (rows, keys): (Vec<T>, Vec<String>),
        old: &[T],
        wrong: &HashSet<&str>,
        likeness: fn(&T, &T) -> u32,
    ) -> Self {
        let entries = rows.into_iter().zip(keys).map(|(row, key)| {
            let is_wrong = wrong.contains(key.as_str());
            Entry { key, row, before: None, is_new: true, is_wrong }
        });
        let mut table = Self { entries: entries.collect(), old: old.to_vec(), likeness: Some(likeness) };
        table.settle();
        table
    }

    fn add(&mut self, key: String, row: T, before: Option<T>, wrong: &HashSet<&str>) {
        match (wrong.contains(key.as_str()), before) {
            (false, before) => self.entries.push(Entry { key, row, before, is_new: true, is_wrong: false }),
            (true, Some(row)) => self.entries.push(Entry { key, row, before: None, is_new: false, is_wrong: false }),
            (true, None) => {}
        }
    }

    fn rows(&self) -> Vec<T> {
        self.entries.iter().map(|entry| entry.row.clone()).collect()
    }

    fn keys(&self) -> Vec<String> {
        self.entries.iter().map(|entry| entry.key.clone()).collect()
    }

    /// Whether a version of before is there for the row of that name.
    fn has_before(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| !entry.is_new && entry.key == key)
    }

    /// Marks a row; its name, where its fault is news.
    fn wrong(&mut self, index: usize) -> Option<String> {
        let entry = self.entries.get_mut(index)?;
        entry.is_wrong = true;
        entry.is_new.then(|| entry.key.clone())
    }

    fn settle(&mut self) {
        self.find_before();
        self.entries.retain_mut(|entry| {
            if !core::mem::take(&mut entry.is_wrong) {
                return true;
            }
            entry.is_new = false;
            match entry.before.take() {
                Some(row) => {
                    entry.row = row;
                    true
                }
                None => false,
            }
        });
    }

    /// Finds for each wrong row without a name which one of before it was: the one most like it, of those that are not there
    /// any more as they were.
    fn find_before(&mut self) {
        let Some(likeness) = self.likeness else { return };
        if !self.entries.iter().any(|entry| entry.is_wrong && entry.is_new) {
            return;
        }
        let mut present: HashMap<String, u32> = HashMap::new();
        for entry in self.entries.iter().filter(|entry| !entry.is_wrong) {
            *present.entry(format!("{:?}", entry.row)).or_default() += 1;
        }
        let mut gone: Vec<T> = Vec::new();
        for row in &self.old {
            match present.get_mut(&format!("{row:?}")).filter(|count| **count > 0) {
                Some(count) => *count -= 1,
                None => gone.push(row.clone()),
            }
        }
        for entry in self.entries.iter_mut().filter(|entry| entry.is_wrong && entry.is_new) {
            let likest = gone.iter().enumerate().rev().max_by_key(|(_, row)| likeness(row, &entry.row));
            if let Some((place, _)) = likest.filter(|(_, row)| likeness(row, &entry.row) >= LIKENESS_LEAST) {
                entry.before = Some(gone.remove(place));
            }
        }
    }
}

/// From which likeness on a rule of before counts as the same one. Of seven keys at most two may differ: the wrong one, and
/// one that was changed with it.
const LIKENESS_LEAST: u32 = 5;

/// How many keys of two rules are the same.
fn rules_alike(one: &RuleSettings, other: &RuleSettings) -> u32 {
    [
        one.priority == other.priority,
        one.customer == other.customer,
        one.dest_pattern == other.dest_pattern,
        one.source_pattern == other.source_pattern,
        one.vendor == other.vendor,
        one.weight == other.weight,
        one.rate_per_msg == other.rate_per_msg,
    ]
    .into_iter()
    .map(u32::from)
    .sum()
}

#[cfg(test)]
mod tests;
