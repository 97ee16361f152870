//! Thousands of connections at a time.

use std::time::Duration;

use crate::harness::bench::assert_clean;
use crate::harness::{Background, Setup, Shards, smsc, with_one_shard_and_with_two};

with_one_shard_and_with_two![
    busy_sessions_do_not_feel_two_thousand_idle_ones,
    a_thousand_customers_are_bound_and_served,
    shards_that_look_for_work_before_they_sleep_lose_nothing,
];

fn busy_sessions_do_not_feel_two_thousand_idle_ones(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(shards, vendor.address()).start();
    let load = Background::start(
        gateway.address(),
        &["--sessions", "50", "--window", "10", "--idle-sessions", "2000", "--rate", "2000", "--duration", "4"],
    );
    let sessions = gateway.wait_for_metric("smpp_gateway_sessions", &[], |count| count >= 2050.0);
    let resident = gateway.resident_bytes();
    let report = load.wait();
    assert_clean(&report);
    println!("{shards:?}: {sessions} sessions, resident {} MiB", resident >> 20);
    assert!(resident < 200 << 20, "resident {resident}");
    // Not a matter of speed: whoever is held up waits for seconds, and the median does not move with a busy machine.
    let median = Duration::from_nanos(report.answer_latency.at_percentile(50.0));
    assert!(median < Duration::from_secs(1), "median {median:?}");
    gateway.end_well();
}

fn a_thousand_customers_are_bound_and_served(shards: Shards) {
    let vendor = smsc(&[]);
    let mut setup = Setup::new(shards).vendor("north", vendor.address(), "binds = 4").rule("north", "");
    for number in 1..=1000 {
        setup = setup.customer(&format!("c{number}"), "");
    }
    let gateway = setup.start();
    let report = Background::start(
        gateway.address(),
        &["--customers", "1000", "--sessions", "1000", "--window", "5", "--count", "10000", "--receipts"],
    )
    .wait();
    assert_clean(&report);
    gateway.end_well();
}

fn shards_that_look_for_work_before_they_sleep_lose_nothing(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(shards, vendor.address()).shards("spin_us = 50").start();
    // One at a time, so that every message finds the shards looking or asleep.
    let one_by_one = ["--sessions", "1", "--window", "1", "--count", "2000", "--receipts"];
    assert_clean(&Background::start(gateway.address(), &one_by_one).wait());
    assert_clean(&Background::start(gateway.address(), &["--sessions", "20", "--count", "20000", "--receipts"]).wait());
    gateway.end_well();
}
