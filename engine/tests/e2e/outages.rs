//! PostgreSQL and Redis both stopped while messages pass: for a while, and for good. No message and no receipt is lost or
//! refused, `/health` tells what is away, and what was degraded clears by itself.
//!
//! `OUTAGE_SECONDS` in the environment says how long the while is (1).

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::harness::bench::{Background, assert_clean};
use crate::harness::redis::Redis;
use crate::harness::{Gateway, Shards, smsc, with_one_shard_and_with_two};
use crate::postgres::server::{Database, Server};
use crate::postgres::{setup, usual_rows, wait_for_complaint, wait_until_mended};

with_one_shard_and_with_two![
    services_that_are_away_for_a_while_cost_no_message,
    services_that_are_gone_for_good_cost_no_message,
];

/// Messages a second.
const RATE: u64 = 300;

fn outage_seconds() -> u64 {
    std::env::var("OUTAGE_SECONDS").map_or(1, |text| text.parse().unwrap())
}

fn start(shards: Shards, database: &Database<'_>, redis: &Redis) -> Gateway {
    let gateway = setup(shards, &database.url()).rows(&redis.rows()).start();
    gateway.wait_until_told(None);
    gateway
}

/// A load that begins now and lasts some seconds longer than the outage.
fn load(gateway: &Gateway) -> Background {
    let (rate, count) = (RATE.to_string(), (RATE * (outage_seconds() + 5)).to_string());
    let load = Background::start(gateway.address(), &["--rate", &rate, "--count", &count, "--receipts"]);
    gateway.wait_for_metric("smpp_server_submit_sm_total", &["acme"], |count| count > 0.0);
    load
}

fn wait_until_both_are_missed(gateway: &Gateway) {
    wait_for_complaint(gateway, "service", "postgresql");
    wait_for_complaint(gateway, "service", "redis");
}

/// Every message was accepted, and every receipt came.
fn check(load: Background) {
    let report = load.wait();
    assert_clean(&report);
    assert_eq!(report.totals.receipts, report.totals.sent, "{}", report.to_text());
}

fn services_that_are_away_for_a_while_cost_no_message(shards: Shards) {
    take_away(shards, |gateway, server, redis| {
        thread::sleep(Duration::from_secs(outage_seconds()));
        server.start_again();
        let redis = Redis::start_at(redis);
        wait_until_mended(gateway, "service", "postgresql");
        wait_until_mended(gateway, "service", "redis");
        Some(redis)
    });
}

fn services_that_are_gone_for_good_cost_no_message(shards: Shards) {
    take_away(shards, |_, _, _| None);
}

/// Stops both under load, does `then` once both are missed, and checks what became of the load and of the gateway's end.
fn take_away(shards: Shards, then: impl FnOnce(&Gateway, &Server, SocketAddr) -> Option<Redis>) {
    let (server, redis, vendor) = (Server::start(), Redis::start(), smsc(&[]));
    let (database, address) = (server.database(), redis.address);
    usual_rows(&database, vendor.address());
    let gateway = start(shards, &database, &redis);
    let load = load(&gateway);
    server.stop();
    drop(redis);
    wait_until_both_are_missed(&gateway);
    let redis = then(&gateway, &server, address);
    check(load);
    if redis.is_some() {
        gateway.wait_for_metric("smpp_gateway_store_lag_records", &[], |behind| behind == 0.0);
    }
    gateway.end_well();
}
