//! Which version of each row is in force.

use super::*;
use smpp_shards::settings::{CustomerSettings, VendorSettings};

fn customer(name: &str, throughput: u32) -> CustomerSettings {
    CustomerSettings {
        smpp_system_id: name.into(),
        smpp_password: Some("secret12".into()),
        smpp_throughput: throughput,
        ..CustomerSettings::default()
    }
}

fn vendor(name: &str, port: u16) -> VendorSettings {
    VendorSettings { instance_name: name.into(), host: "127.0.0.1".into(), port, ..VendorSettings::default() }
}

fn rule(dest: &str, vendor: &str) -> RuleSettings {
    RuleSettings { dest_pattern: Some(dest.into()), vendor: vendor.into(), ..RuleSettings::default() }
}

/// Rows under their names; rules as those of a file, unless they are given names.
fn loaded(vendors: &[VendorSettings], rules: &[RuleSettings], rule_names: &[&str]) -> Loaded {
    let settings = Settings {
        customers: vec![customer("acme", 10)],
        vendors: vendors.to_vec(),
        routing_rules: rules.to_vec(),
        ..Settings::default()
    };
    let lines = (0..rules.len()).map(|index| format!("line {}", 10 + index)).collect();
    let keys = RowKeys {
        customers: vec!["acme".into()],
        vendors: vendors.iter().map(|vendor| vendor.instance_name.clone()).collect(),
        routing_rules: if rule_names.is_empty() { lines } else { rule_names.iter().map(ToString::to_string).collect() },
        inbound_routes: Vec::new(),
        are_lines: rule_names.is_empty(),
    };
    Loaded { settings, keys, ..Loaded::default() }
}

fn first(loaded: Loaded) -> InForce {
    InForce::nothing(2).succeed(loaded, &mut Patterns::default())
}

fn told(in_force: &InForce) -> Vec<(&'static str, &str, &str)> {
    let fault = |fault: &'_ RowFault| (fault.table, fault.key.clone(), fault.column.clone());
    let all: Vec<_> = in_force.faults.iter().map(fault).collect();
    all.into_iter().map(|(table, key, column)| (table, &*key.leak(), &*column.leak())).collect()
}

/// What came of each row that is wrong.
fn fates(in_force: &InForce) -> Vec<(&str, Fate)> {
    let fate = |fault: &'_ RowFault| in_force.fate(fault).unwrap();
    in_force.faults.iter().map(|fault| (fault.key.as_str(), fate(fault))).collect()
}

fn ports(in_force: &InForce) -> Vec<(&str, u16, bool)> {
    let vendors = in_force.snapshot.vendors.iter();
    vendors.map(|it| (it.settings.instance_name.as_str(), it.settings.port, it.is_removed)).collect()
}

fn destinations(in_force: &InForce) -> Vec<&str> {
    in_force.settings.routing_rules.iter().filter_map(|rule| rule.dest_pattern.as_deref()).collect()
}

#[test]
fn the_same_rows_again_are_the_same_version() {
    let before = first(loaded(&[vendor("north", 1)], &[rule("^1", "north")], &[]));
    let after = before.succeed(loaded(&[vendor("north", 1)], &[rule("^1", "north")], &[]), &mut Patterns::default());
    assert!(Arc::ptr_eq(&before.snapshot, &after.snapshot));
    assert_eq!(after.snapshot.version, 1);
}

#[test]
fn a_wrong_row_keeps_its_last_good_version_and_the_rest_applies() {
    let before = first(loaded(&[vendor("north", 1), vendor("south", 2)], &[rule("^1", "north")], &[]));
    let rows = [vendor("north", 0), vendor("south", 3), vendor("west", 0)];
    let after = before.succeed(loaded(&rows, &[rule("^1", "north")], &[]), &mut Patterns::default());
    assert_eq!(after.snapshot.version, 2);
    assert_eq!(ports(&after), [("north", 1, false), ("south", 3, false)]);
    assert_eq!(told(&after), [("vendors", "north", "port"), ("vendors", "west", "port")]);
    assert_eq!(fates(&after), [("north", Fate::LastGoodStays), ("west", Fate::LeftOut)]);
    let again = after.succeed(loaded(&rows, &[rule("^1", "north")], &[]), &mut Patterns::default());
    assert_eq!(fates(&again), fates(&after));
    let of_a_file = RowFault { key: "south".into(), column: "tls_ca".into(), ..again.faults[0].clone() };
    assert_eq!(again.fate(&of_a_file), None);
    assert_eq!(after.settings.routing_rules.len(), 1);
}

#[test]
fn at_the_first_time_a_wrong_row_is_left_out_and_what_needs_it_too() {
    let rules = [rule("^1", "north"), rule("^44", "south"), rule("(", "north")];
    let first = first(loaded(&[vendor("north", 1), vendor("south", 0)], &rules, &[]));
    assert_eq!(ports(&first), [("north", 1, false)]);
    assert_eq!(destinations(&first), ["^1"]);
    let mut faults = told(&first);
    faults.sort_unstable();
    let expected = [
        ("routing_rules", "line 11", "vendor"),
        ("routing_rules", "line 12", "dest_pattern"),
        ("vendors", "south", "port"),
    ];
    assert_eq!(faults, expected);
    assert!(fates(&first).iter().all(|(_, fate)| *fate == Fate::LeftOut), "{:?}", fates(&first));
}

#[test]
fn at_the_first_time_what_is_kept_stands_in_for_a_wrong_row_and_for_nothing_else() {
    let rules = [rule("^1", "north"), rule("^44", "gone"), rule("^49", "south")];
    // The kept row of the last vendor is no better.
    let vendors = [vendor("north", 1), vendor("south", 2), vendor("gone", 3), vendor("west", 0)];
    let kept = InForce::kept(loaded(&vendors, &rules, &["a", "b", "c"]), 2);
    let mut now = loaded(&[vendor("north", 0), vendor("south", 9), vendor("west", 0)], &rules, &["a", "b", "c"]);
    now.settings.routing_rules[2] = rule("(", "south");
    now.settings.gateway.retry_count = 7;
    let after = kept.succeed(now, &mut Patterns::default());
    assert_eq!(after.snapshot.version, 1);
    assert_eq!(after.snapshot.gateway.retry_count, 7);
    assert_eq!(ports(&after), [("north", 1, false), ("south", 9, false)]);
    assert_eq!(destinations(&after), ["^1", "^49"]);
    let mut fates = fates(&after);
    fates.sort_unstable_by_key(|(key, _)| *key);
    let (stays, left_out) = (Fate::LastGoodStays, Fate::LeftOut);
    assert_eq!(fates, [("b", left_out), ("c", stays), ("north", stays), ("west", left_out)]);
}

#[test]
fn a_wrong_rule_of_a_file_is_known_by_what_else_it_says() {
    let rules = [rule("^1", "north"), RuleSettings { priority: 7, ..rule("^44", "north") }, rule("^49", "south")];
    let vendors = [vendor("north", 1), vendor("south", 2)];
    let before = first(loaded(&vendors, &rules, &[]));
    // One in front, the wrong one among others that are new.
    let wrong = RuleSettings { priority: 7, ..rule("^44(", "north") };
    let now = [rule("^7", "south"), rule("^1", "north"), rule("^8", "south"), wrong, rule("^49", "south")];
    let after = before.succeed(loaded(&vendors, &now, &[]), &mut Patterns::default());
    assert_eq!(destinations(&after), ["^7", "^1", "^8", "^44", "^49"]);
    assert_eq!(told(&after), [("routing_rules", "line 13", "dest_pattern")]);
    assert_eq!(fates(&after), [("line 13", Fate::LastGoodStays)]);
}

#[test]
fn a_wrong_rule_with_a_name_is_known_by_it() {
    let vendors = [vendor("north", 1)];
    let before = first(loaded(&vendors, &[rule("^1", "north"), rule("^44", "north")], &["a", "b"]));
    let now = [RuleSettings { priority: 3, weight: 0, ..rule("^5", "north") }, rule("^1", "north")];
    let after = before.succeed(loaded(&vendors, &now, &["b", "a"]), &mut Patterns::default());
    assert_eq!(destinations(&after), ["^44", "^1"]);
    assert_eq!(told(&after), [("routing_rules", "b", "weight")]);
}

#[test]
fn a_row_that_could_not_be_read_stays_as_it_was() {
    let before = first(loaded(&[vendor("north", 1), vendor("south", 2)], &[rule("^1", "north")], &[]));
    let fault = |key: &str| RowFault {
        table: "vendors",
        key: key.into(),
        column: "password".into(),
        reason: "cannot be decrypted; give the key".into(),
    };
    // One is not among the rows at all, the other one only in part.
    let mut now = loaded(&[vendor("south", 9)], &[rule("^1", "north")], &[]);
    now.faults = vec![fault("north"), fault("south")];
    let after = before.succeed(now, &mut Patterns::default());
    assert_eq!(ports(&after), [("north", 1, false), ("south", 2, false)]);
    assert_eq!(fates(&after), [("north", Fate::LastGoodStays), ("south", Fate::LastGoodStays)]);
}

#[test]
fn while_a_wrong_row_has_no_name_none_that_is_missing_goes() {
    let before = first(loaded(&[vendor("north", 1), vendor("south", 2)], &[], &[]));
    let mut now = loaded(&[VendorSettings::default(), vendor("south", 2)], &[], &[]);
    now.keys.vendors[0] = "line 4".into();
    now.nameless = vec!["vendors"];
    let after = before.succeed(now, &mut Patterns::default());
    assert_eq!(ports(&after), [("north", 1, false), ("south", 2, false)]);
    let removed = before.succeed(loaded(&[vendor("south", 2)], &[], &[]), &mut Patterns::default());
    assert_eq!(ports(&removed), [("north", 1, true), ("south", 2, false)]);
}

#[test]
fn a_name_that_is_there_twice_counts_once() {
    let before = first(loaded(&[vendor("north", 1)], &[], &[]));
    let after = before.succeed(loaded(&[vendor("north", 5), vendor("north", 6)], &[], &[]), &mut Patterns::default());
    assert_eq!(ports(&after), [("north", 5, false)]);
    assert_eq!(told(&after), [("vendors", "north", "instance_name")]);
    assert_eq!(fates(&after), [("north", Fate::LeftOut)]);
}

#[test]
fn a_rule_to_a_vendor_that_was_removed_goes_with_it() {
    let before = first(loaded(&[vendor("north", 1), vendor("south", 2)], &[rule("^1", "north")], &[]));
    let after = before.succeed(loaded(&[vendor("south", 2)], &[rule("^1", "north")], &[]), &mut Patterns::default());
    assert_eq!(destinations(&after), Vec::<&str>::new());
    assert_eq!(told(&after), [("routing_rules", "line 10", "vendor")]);
    assert_eq!(fates(&after), [("line 10", Fate::LeftOut)]);
}

#[test]
fn what_is_wrong_with_the_gateway_s_own_settings_leaves_them_as_they_were() {
    let before = first(loaded(&[], &[], &[]));
    let mut now = loaded(&[vendor("north", 1)], &[], &[]);
    now.settings.gateway.retry_count = 0;
    let after = before.succeed(now, &mut Patterns::default());
    assert_eq!(after.settings.gateway, before.settings.gateway);
    assert_eq!((told(&after), ports(&after).len()), (vec![("gateway", "", "retry_count")], 1));
    assert_eq!(fates(&after), [("", Fate::LastGoodStays)]);
}
