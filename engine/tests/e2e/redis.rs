//! Redis, the real one: what the gateway keeps there, what other nodes find there, and what happens when it is away, slow,
//! full or takes nobody in. Messages pass all the while, `/health` says what is wrong, and nothing that was noted is lost.

use std::time::Duration;

use smpp_pdu::CommandStatus;

use crate::harness::bench::clean_load;
use crate::harness::certificates::Authority;
use crate::harness::redis::{Redis, SlowWay};
use crate::harness::setup::free_address;
use crate::harness::{
    Esme, Gateway, Link, Setup, Shards, Vendor, ask_until, receipt, smsc, with_one_shard_and_with_two,
};
use crate::postgres::server::Server;
use crate::postgres::{self, id_of, run_command, usual_rows};
use crate::store::{receipt_reaches, sent, wait_until_stored};

with_one_shard_and_with_two![
    what_becomes_of_a_message_stands_in_redis_under_the_platforms_keys,
    after_a_kill_a_receipt_finds_its_message_through_redis,
    a_receipt_that_comes_to_another_node_reaches_the_customer_there,
    with_journals_a_receipt_that_comes_to_another_node_is_kept_and_delivered_there,
    of_a_load_every_message_is_in_redis_and_none_is_left_out,
    a_redis_that_is_absent_at_start_is_told_and_used_once_it_is_there,
    a_redis_that_stops_and_starts_again_gets_what_happened_meanwhile,
    a_slow_redis_is_told_and_holds_up_no_message,
    a_wrong_password_is_told_and_heals_with_the_right_one,
    a_full_redis_is_told_and_gets_everything_once_there_is_room,
    over_tls_the_authority_counts_that_is_configured,
];

/// A gateway with a vendor and a customer that are bound.
struct Bound {
    gateway: Gateway,
    link: Link,
    esme: Esme,
}

fn bound(shards: Shards, vendor: &Vendor, rows: &str) -> Bound {
    bound_with(Setup::usual(shards, vendor.address()).rows(rows), vendor)
}

fn bound_with(setup: Setup, vendor: &Vendor) -> Bound {
    let gateway = setup.launch();
    let link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let esme = Esme::bound(&gateway, "acme");
    Bound { gateway, link, esme }
}

impl Bound {
    fn end(self) {
        self.gateway.end_well_without((self.link, self.esme));
    }
}

/// Waits until a node's store has taken something. Before its connection is there it is not asked, and a vendor is to give its receipt
/// again later.
fn wait_for_store(node: &mut Bound) {
    sent(&mut node.esme, &mut node.link, "1");
    wait_until_stored(&node.gateway, 1);
}

fn stored(redis: &Redis, ours: &str) -> serde_json::Value {
    ask_until("the message in Redis", || {
        serde_json::from_str(&redis.command(&["GET", &format!("dlr:msg:{ours}")])).ok()
    })
}

fn what_becomes_of_a_message_stands_in_redis_under_the_platforms_keys(shards: Shards) {
    let redis = Redis::start();
    let vendor = Vendor::listen();
    let mut bound = bound(shards, &vendor, &redis.rows());
    let ours = sent(&mut bound.esme, &mut bound.link, "00AB");
    let message = stored(&redis, &ours);
    assert_eq!(message["status"], "sent");
    assert_eq!(message["vendor_id"], "north");
    assert_eq!(message["vendor_message_id"], "00AB");
    assert_eq!((&message["customer_id"], &message["id"]), (&"acme".into(), &ours.clone().into()));
    assert!(message["sent_at"].as_u64() >= message["submitted_at"].as_u64());
    let index = "dlr:idx:north:ab";
    assert_eq!(redis.command(&["GET", index]), ours);
    for key in [format!("dlr:msg:{ours}"), index.to_owned()] {
        let left: u32 = redis.command(&["TTL", &key]).parse().unwrap();
        assert!((604_700..=604_800).contains(&left), "{left}");
    }
    receipt_reaches(&mut bound.esme, &mut bound.link, "ab", &ours);
    wait_until_stored(&bound.gateway, 2);
    let message = stored(&redis, &ours);
    assert_eq!((&message["status"], &message["dlr_status"]), (&"delivered".into(), &"delivered".into()));
    assert!(message["delivered_at"].as_u64() >= message["sent_at"].as_u64());
    bound.end();
}

fn after_a_kill_a_receipt_finds_its_message_through_redis(shards: Shards) {
    let redis = Redis::start();
    let vendor = Vendor::listen();
    let Bound { gateway, mut link, mut esme } = bound(shards, &vendor, &redis.rows());
    let ours = sent(&mut esme, &mut link, "5001");
    stored(&redis, &ours);
    drop(gateway);
    drop((link, esme));
    let mut again = bound(shards, &vendor, &redis.rows());
    wait_for_store(&mut again);
    receipt_reaches(&mut again.esme, &mut again.link, "5001", &ours);
    again.end();
}

fn a_receipt_that_comes_to_another_node_reaches_the_customer_there(shards: Shards) {
    let redis = Redis::start();
    let (vendor, other_vendor) = (Vendor::listen(), Vendor::listen());
    let mut one = bound(shards, &vendor, &redis.rows());
    let mut other = bound(shards, &other_vendor, &redis.rows());
    let ours = sent(&mut one.esme, &mut one.link, "6001");
    wait_until_stored(&one.gateway, 1);
    wait_for_store(&mut other);
    receipt_reaches(&mut other.esme, &mut other.link, "6001", &ours);
    one.end();
    other.end();
}

fn with_journals_a_receipt_that_comes_to_another_node_is_kept_and_delivered_there(shards: Shards) {
    let redis = Redis::start();
    let (vendor, other_vendor) = (Vendor::listen(), Vendor::listen());
    let setup = |vendor: &Vendor| Setup::usual(shards, vendor.address()).journaled().rows(&redis.rows());
    let mut one = bound_with(setup(&vendor), &vendor);
    let mut other = bound_with(setup(&other_vendor), &other_vendor);
    let ours = sent(&mut one.esme, &mut one.link, "6002");
    // Accepted and sent.
    wait_until_stored(&one.gateway, 2);
    wait_for_store(&mut other);
    receipt_reaches(&mut other.esme, &mut other.link, "6002", &ours);
    assert_eq!(stored(&redis, &ours)["vendor_message_id"], "6002");
    one.end();
    other.end();
}

fn of_a_load_every_message_is_in_redis_and_none_is_left_out(shards: Shards) {
    let redis = Redis::start();
    let vendor = smsc(&[]);
    let gateway = Setup::usual(shards, vendor.address()).rows(&redis.rows()).start();
    let report = clean_load(gateway.address(), &["--count", "5000", "--receipts", "--window", "20"]);
    assert_eq!(report.totals.receipts, 5000);
    gateway.wait_for_metric("smpp_gateway_store_records_total", &[], |records| records == 10_000.0);
    assert_eq!(gateway.metric("smpp_gateway_store_records_skipped_total", &[]), 0.0);
    gateway.wait_for_metric("smpp_gateway_store_lag_records", &[], |behind| behind == 0.0);
    // Each message and its vendor's id.
    assert_eq!(redis.command(&["DBSIZE"]), "10000");
    gateway.end_well();
}

fn a_redis_that_is_absent_at_start_is_told_and_used_once_it_is_there(shards: Shards) {
    let address = free_address();
    let vendor = Vendor::listen();
    let mut bound = bound(shards, &vendor, &format!("[redis]\nurl = \"{address}\""));
    bound.gateway.wait_until_told(Some("\"redis\""));
    let ours = sent(&mut bound.esme, &mut bound.link, "1");
    let held = bound.link.deliver(&receipt(b"id:999 stat:DELIVRD err:000"));
    bound.link.expect_delivered(held, CommandStatus::ESME_RX_T_APPN);
    let redis = Redis::start_at(address);
    bound.gateway.wait_until_told(None);
    assert_eq!(stored(&redis, &ours)["status"], "sent");
    bound.end();
}

fn a_redis_that_stops_and_starts_again_gets_what_happened_meanwhile(shards: Shards) {
    let redis = Redis::start();
    let address = redis.address;
    let vendor = Vendor::listen();
    let mut bound = bound(shards, &vendor, &redis.rows());
    sent(&mut bound.esme, &mut bound.link, "1");
    wait_until_stored(&bound.gateway, 1);
    drop(redis);
    // Two parts miss it; it is told of once.
    bound.gateway.wait_until_told(Some("this node goes on with its share"));
    bound.gateway.wait_for_metric("smpp_gateway_store_up", &[], |up| up == 0.0);
    let health = bound.gateway.get("/health").1;
    assert_eq!(health.matches("\"name\":\"redis\"").count(), 1, "{health}");
    let meanwhile: Vec<String> =
        (2..40).map(|number: u32| sent(&mut bound.esme, &mut bound.link, &number.to_string())).collect();
    let redis = Redis::start_at(address);
    bound.gateway.wait_until_told(None);
    wait_until_stored(&bound.gateway, 39);
    for ours in meanwhile {
        assert_eq!(stored(&redis, &ours)["status"], "sent");
    }
    assert_eq!(bound.gateway.metric("smpp_gateway_store_records_skipped_total", &[]), 0.0);
    bound.end();
}

fn a_slow_redis_is_told_and_holds_up_no_message(shards: Shards) {
    let redis = Redis::start();
    let way = SlowWay::to(redis.address);
    let vendor = Vendor::listen();
    // A second for each answer, from the first one on.
    way.set_delay(Duration::from_secs(1));
    let mut bound = bound(shards, &vendor, &format!("[redis]\nurl = \"{}\"", way.address));
    bound.gateway.wait_until_told(Some("answers slowly"));
    let mut meanwhile: Vec<String> =
        (1..100).map(|number: u32| sent(&mut bound.esme, &mut bound.link, &number.to_string())).collect();
    wait_until_stored(&bound.gateway, 99);
    meanwhile.push(sent(&mut bound.esme, &mut bound.link, "100"));
    way.set_delay(Duration::ZERO);
    bound.gateway.wait_until_told(None);
    for ours in meanwhile {
        assert_eq!(stored(&redis, &ours)["status"], "sent");
    }
    bound.end();
}

fn a_wrong_password_is_told_and_heals_with_the_right_one(shards: Shards) {
    let redis = Redis::start();
    redis.command(&["CONFIG", "SET", "requirepass", "right"]);
    let vendor = Vendor::listen();
    let mut bound = bound(shards, &vendor, &format!("[redis]\nurl = \"redis://:wrong@{}\"", redis.address));
    bound.gateway.wait_until_told(Some("refuses the user or password"));
    let ours = sent(&mut bound.esme, &mut bound.link, "1");
    redis.command_as("right", &["CONFIG", "SET", "requirepass", "wrong"]);
    bound.gateway.wait_until_told(None);
    redis.command_as("wrong", &["CONFIG", "SET", "requirepass", ""]);
    assert_eq!(stored(&redis, &ours)["status"], "sent");
    assert!(!bound.gateway.log.end().contains("wrong"), "no password in the log");
    bound.end();
}

fn a_full_redis_is_told_and_gets_everything_once_there_is_room(shards: Shards) {
    let redis = Redis::start();
    let vendor = Vendor::listen();
    let mut bound = bound(shards, &vendor, &redis.rows());
    redis.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let meanwhile: Vec<String> =
        (1..40).map(|number: u32| sent(&mut bound.esme, &mut bound.link, &number.to_string())).collect();
    bound.gateway.wait_until_told(Some("is full"));
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    bound.gateway.wait_until_told(None);
    for ours in meanwhile {
        assert_eq!(stored(&redis, &ours)["status"], "sent");
    }
    bound.end();
}

fn over_tls_the_authority_counts_that_is_configured(shards: Shards) {
    let vendor = Vendor::listen();
    let setup = Setup::usual(shards, vendor.address());
    let [ours, others] = ["ours", "others"].map(|name| Authority::make(&setup.folder, name));
    let address = free_address();
    let certificate = ours.sign_server(&setup.folder, "redis", &address.ip().to_string());
    let redis = Redis::start_with_tls(address, &certificate);
    let configured = setup.folder.write("configured.pem", &std::fs::read_to_string(&others.ca).unwrap());
    let setup = setup.rows(&format!("[redis]\nurl = \"rediss://{address}\"\ntls_ca = {configured:?}"));
    let mut bound = bound_with(setup, &vendor);
    bound.gateway.wait_until_told(Some("shows a certificate that is not accepted"));
    bound.gateway.log.wait_for(1, &["the message store is away", "UnknownIssuer", "[redis] tls_ca"]);
    let before = sent(&mut bound.esme, &mut bound.link, "1");
    // The file is read with every connection.
    std::fs::write(configured, std::fs::read_to_string(&ours.ca).unwrap()).unwrap();
    bound.gateway.wait_until_told(None);
    let after = sent(&mut bound.esme, &mut bound.link, "2");
    for id in [before, after] {
        assert_eq!(stored(&redis, &id)["status"], "sent");
    }
    bound.end();
}

/// The row's id stands in Redis, as the platform knows the vendor; receipts find messages there, and those of before too.
#[test]
fn a_vendor_of_a_table_is_told_by_its_id() {
    let (database, redis, vendor) = (Server::shared().database(), Redis::start(), Vendor::listen());
    usual_rows(&database, vendor.address());
    database.sql("UPDATE messaging.vendors SET throughput = 1000");
    let vendor_id = id_of(&database, "north");
    let start = || bound_with(postgres::setup(Shards::Two, &database.url()).rows(&redis.rows()), &vendor);
    let Bound { gateway, mut link, mut esme } = start();
    let (ours, older) = (sent(&mut esme, &mut link, "1"), sent(&mut esme, &mut link, "2"));
    let message = stored(&redis, &ours);
    assert_eq!(message["vendor_id"], vendor_id);
    ask_until("the vendor's limit in Redis", || {
        (redis.command_in(1, &["EXISTS", &format!("rate:vendor:{vendor_id}:1s")]) == "1").then_some(())
    });
    // As it was written before vendors were told by their ids.
    let mut message = stored(&redis, &older);
    message["vendor_id"] = "north".into();
    redis.command(&["SET", &format!("dlr:msg:{older}"), &message.to_string()]);
    drop(gateway);
    drop((link, esme));
    let mut again = start();
    let found: serde_json::Value =
        serde_json::from_str(&again.gateway.get(&format!("/api/v1/messages/{older}")).1).unwrap();
    assert_eq!(found["message"]["vendor_id"], vendor_id, "{found}");
    receipt_reaches(&mut again.esme, &mut again.link, "1", &ours);
    receipt_reaches(&mut again.esme, &mut again.link, "2", &older);
    again.end();
}

#[test]
fn check_tells_whether_redis_lets_the_gateway_in_and_what_it_forgets() {
    let redis = Redis::start();
    let told = |rows: &str| {
        let output = run_command(&["check"], &Setup::new(Shards::One).rows(rows), "", &[]);
        assert!(output.status.success(), "the gateway starts without Redis: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let line = |mark: &str, words: &str| format!("{mark} Redis at {} {words}", redis.address);
    let well = told(&redis.rows());
    assert!(well.contains(&line("ok  ", "lets the gateway in")), "{well}");
    redis.command(&["CONFIG", "SET", "maxmemory", "100mb"]);
    redis.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let forgetful = told(&redis.rows());
    assert!(forgetful.contains(&line("warn", "forgets keys by allkeys-lru")), "{forgetful}");
    let refused = told(&format!("[redis]\nurl = \"redis://nobody:hidden@{}\"", redis.address));
    assert!(
        refused.contains(&line("warn", "refuses the user or password")) && !refused.contains("hidden"),
        "{refused}"
    );
}
