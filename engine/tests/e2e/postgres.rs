//! Customers, vendors and rules from a real PostgreSQL: at the start, while they change, and while the server is away.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};
use smpp_pdu::{CommandId, CommandStatus};

use crate::harness::bench::{Background, assert_clean, clean_load};
use crate::harness::gateway::PROGRAM;
use crate::harness::setup::PASSWORD;
use crate::harness::{Esme, Gateway, Setup, Shards, ask_until, message, smsc, with_one_shard_and_with_two};
use crate::http::call;
use server::{Database, Proxy, Server};

#[path = "../../../control/tests/support/postgres.rs"]
pub(crate) mod server;

with_one_shard_and_with_two![
    a_customer_of_the_tables_binds_and_sends,
    a_vendor_and_a_rule_that_are_added_are_in_force,
    a_server_that_is_stopped_and_started_under_load_costs_no_message,
];

/// A gateway's configuration with nothing but where PostgreSQL is.
pub(crate) fn setup(shards: Shards, url: &str) -> Setup {
    Setup::new(shards).rows(&format!("[postgres]\nurl = \"{url}\""))
}

pub(crate) fn run_command(command: &[&str], setup: &Setup, input: &str, variables: &[(&str, &str)]) -> Output {
    let file = setup.folder.write("command.toml", &setup.text());
    let mut child = Command::new(PROGRAM)
        .args(command)
        .arg("--config")
        .arg(file)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The schema, the customer `acme`, the vendor `north` at that address, and everything to it.
pub(crate) fn usual_rows(database: &Database<'_>, vendor: SocketAddr) {
    said(&run_command(&["migrate"], &setup(Shards::One, &database.url()), "", &[]));
    let hash = smpp_control::hash_password(PASSWORD);
    database.sql(&format!(
        "INSERT INTO messaging.customer_sms_auth (account_id, auth_type, smpp_system_id, smpp_password_hash, smpp_max_binds,
             smpp_throughput, allowed_source_addresses)
         VALUES ('acme', 'SMPP', 'acme', '{hash}', 100, 1000000, '{{*}}')"
    ));
    add_vendor(database, "north", vendor, 100);
}

/// A vendor and a rule to it.
fn add_vendor(database: &Database<'_>, name: &str, address: SocketAddr, priority: i32) {
    database.sql(&format!(
        "INSERT INTO messaging.vendors (instance_name, host, port, username, password)
             VALUES ('{name}', '{}', {}, 'gateway', 'gateway1');
         INSERT INTO messaging.routing_rules (priority, vendor_id)
             SELECT {priority}, id FROM messaging.vendors WHERE instance_name = '{name}'",
        address.ip(),
        address.port()
    ));
}

fn health(gateway: &Gateway) -> Option<Value> {
    serde_json::from_str(&gateway.try_get(gateway.ports.control, "/health", "")?.1).ok()
}

/// What `/health` says of a part that is degraded.
fn complaint(gateway: &Gateway, part: &str, name: &str) -> Option<String> {
    let health = health(gateway)?;
    let found = health["degraded"].as_array()?.iter().find(|it| it["part"] == part && it["name"] == name)?;
    Some(found["reason"].as_str()?.to_owned())
}

pub(crate) fn wait_for_complaint(gateway: &Gateway, part: &str, name: &str) -> String {
    ask_until(&format!("a degraded {part} {name}"), || complaint(gateway, part, name))
}

pub(crate) fn wait_until_mended(gateway: &Gateway, part: &str, name: &str) {
    ask_until(&format!("a {part} {name} that is well"), || {
        (health(gateway).is_some() && complaint(gateway, part, name).is_none()).then_some(())
    });
}

/// Waits until every shard has that version, or a later one.
pub(crate) fn wait_for_version(gateway: &Gateway, version: u64) {
    ask_until(&format!("version {version} on every shard"), || {
        let health = health(gateway)?;
        let shards = health["shards"].as_array()?.clone();
        shards.iter().all(|shard| shard["snapshot_version"].as_u64() >= Some(version)).then_some(())
    });
}

/// What the platform calls a vendor.
pub(crate) fn id_of(database: &Database<'_>, name: &str) -> String {
    database.sql(&format!("SELECT id FROM messaging.vendors WHERE instance_name = '{name}'"))
}

fn submits(gateway: &Gateway, vendor_id: &str) -> f64 {
    gateway.metric("smpp_client_submit_sm_total", &[&format!("vendor_id=\"{vendor_id}\""), "success"])
}

fn send_one(gateway: &Gateway) {
    // As one who gets no receipts of others.
    let mut esme = Esme::bound_as(gateway, "acme", CommandId::BIND_TRANSMITTER);
    assert_eq!(esme.submitted(&message(b"hello")).status, CommandStatus::ESME_ROK);
    esme.unbind();
}

fn a_customer_of_the_tables_binds_and_sends(shards: Shards) {
    let (database, vendor) = (Server::shared().database(), smsc(&[]));
    usual_rows(&database, vendor.address());
    let gateway = setup(shards, &database.url()).start();
    clean_load(gateway.address(), &["--count", "200", "--receipts"]);
    gateway.wait_for_metric("service_up", &["postgresql"], |up| up == 1.0);
    // The vendor's health is on its way back.
    ask_until("a healthy vendor in the table", || {
        let row =
            database.sql("SELECT health_status, last_bind_time > now() - interval '1 hour' FROM messaging.vendors");
        (row == "healthy|t").then_some(())
    });
    gateway.end_well();
}

fn a_vendor_and_a_rule_that_are_added_are_in_force(shards: Shards) {
    let (database, north, south) = (Server::shared().database(), smsc(&[]), smsc(&[]));
    usual_rows(&database, north.address());
    let gateway = setup(shards, &database.url()).start();
    let mut esme = Esme::bound(&gateway, "acme");
    assert_eq!(esme.submitted(&message(b"one")).status, CommandStatus::ESME_ROK);
    add_vendor(&database, "south", south.address(), 1);
    wait_for_version(&gateway, 2);
    let (north_id, south_id) = (id_of(&database, "north"), id_of(&database, "south"));
    gateway.log.wait_for(1, &["\"vendor bound\"", "\"instance_name\":\"south\"", &south_id]);
    // The customer's connection and the other vendor's have not noticed.
    assert_eq!(esme.submitted(&message(b"two")).status, CommandStatus::ESME_ROK);
    gateway.wait_for_metric("smpp_client_submit_sm_total", &[&south_id, "success"], |count| count == 1.0);
    assert_eq!(submits(&gateway, &north_id), 1.0);
    database.sql("DELETE FROM messaging.routing_rules WHERE priority = 1; DELETE FROM messaging.vendors WHERE instance_name = 'south'");
    wait_for_version(&gateway, 3);
    assert_eq!(esme.submitted(&message(b"three")).status, CommandStatus::ESME_ROK);
    gateway.wait_for_metric("smpp_client_submit_sm_total", &[&north_id, "success"], |count| count == 2.0);
    assert_eq!(gateway.log.count(&["\"vendor bound\"", "north"]), 1);
    gateway.end_well_without(esme);
}

fn a_server_that_is_stopped_and_started_under_load_costs_no_message(shards: Shards) {
    let server = Server::start();
    let (database, vendor) = (server.database(), smsc(&[]));
    usual_rows(&database, vendor.address());
    let gateway = setup(shards, &database.url()).start();
    let load = Background::start(gateway.address(), &["--rate", "500", "--count", "4000", "--receipts"]);
    gateway.wait_for_metric("smpp_server_submit_sm_total", &["acme"], |count| count > 0.0);
    server.stop();
    let reason = wait_for_complaint(&gateway, "service", "postgresql");
    assert!(reason.contains("PostgreSQL is away"), "{reason}");
    assert_eq!(gateway.metric("service_up", &["postgresql"]), 0.0);
    // Who binds now is let in by what was read last.
    send_one(&gateway);
    server.start_again();
    wait_until_mended(&gateway, "service", "postgresql");
    gateway.wait_for_metric("service_up", &["postgresql"], |up| up == 1.0);
    assert_clean(&load.wait());
    let south = smsc(&[]);
    add_vendor(&database, "south", south.address(), 1);
    wait_for_version(&gateway, 2);
    gateway.end_well();
}

#[test]
fn a_row_that_is_wrong_is_told_and_its_last_good_version_stays() {
    let (database, vendor) = (Server::shared().database(), smsc(&[]));
    usual_rows(&database, vendor.address());
    let gateway = setup(Shards::Two, &database.url()).start();
    database.sql(
        "UPDATE messaging.vendors SET port = 0; INSERT INTO messaging.routing_rules (id, vendor_id, dest_pattern)
                  SELECT 77, id, '^(' FROM messaging.vendors",
    );
    assert!(wait_for_complaint(&gateway, "configuration", "north").contains("port is 0"));
    assert!(wait_for_complaint(&gateway, "configuration", "77").contains("dest_pattern does not compile"));
    wait_until_mended(&gateway, "service", "postgresql");
    send_one(&gateway);
    database.sql(&format!(
        "UPDATE messaging.vendors SET port = {}; DELETE FROM messaging.routing_rules WHERE id = 77",
        vendor.address().port()
    ));
    wait_until_mended(&gateway, "configuration", "north");
    wait_until_mended(&gateway, "configuration", "77");
    gateway.end_well();
}

#[test]
fn a_rate_is_a_column_and_a_wrong_one_leaves_the_last_good_one_in_force() {
    let (database, vendor) = (Server::shared().database(), smsc(&[]));
    usual_rows(&database, vendor.address());
    let rate = |rate: &str| database.sql(&format!("UPDATE messaging.routing_rules SET rate_per_msg = {rate}"));
    rate("0.0075");
    let rule = database.sql("SELECT id FROM messaging.routing_rules");
    let gateway = setup(Shards::Two, &database.url()).start();
    let costs = |expected: f64| {
        send_one(&gateway);
        gateway.wait_for_metric("sms_cost_per_customer", &["acme"], |cost| cost == expected);
    };
    costs(0.0075);
    rate("'NaN'");
    let complaint = wait_for_complaint(&gateway, "configuration", &rule);
    assert!(complaint.contains("rate_per_msg is string \"NaN\"; write a number from 0"), "{complaint}");
    costs(0.015);
    let version = health(&gateway).unwrap()["shards"][0]["snapshot_version"].as_u64().unwrap();
    rate("999999.999999");
    wait_until_mended(&gateway, "configuration", &rule);
    wait_for_version(&gateway, version + 1);
    costs(1_000_000.014_999);
    gateway.end_well();
}

#[test]
fn without_a_server_the_gateway_starts_from_what_it_has_kept() {
    let server = Server::start();
    let (database, north) = (server.database(), smsc(&[]));
    usual_rows(&database, north.address());
    let setup = setup(Shards::Two, &database.url()).journaled();
    let text = setup.text();
    let gateway = setup.start();
    let kept = gateway.folder.path().join("data/postgresql.kept");
    ask_until("a kept configuration", || kept.exists().then_some(()));
    send_one(&gateway);
    server.stop();
    let (folder, ports) = gateway.kill();
    let gateway = Gateway::launch(folder, ports, &text, None);
    gateway.wait_until_ready();
    send_one(&gateway);
    let reason = wait_for_complaint(&gateway, "service", "postgresql");
    assert!(reason.contains("the configuration kept at 20"), "{reason}");
    gateway.log.wait_for(1, &["started from the kept configuration"]);
    server.start_again();
    wait_until_mended(&gateway, "service", "postgresql");
    let south = smsc(&[]);
    add_vendor(&database, "south", south.address(), 1);
    wait_for_version(&gateway, 2);
    gateway.end_well();
}

/// Neither a reload nor a customer is to be had yet.
fn refuses_what_it_cannot_know(gateway: &Gateway) {
    let message = json!({"from": "ACME", "to": "15551234567", "content": "x", "customer_id": "acme"});
    let question = json!({"from": "ACME", "to": "15551234567", "customer_id": "acme"});
    let none = Value::Null;
    for (method, path, body) in [
        ("POST", "admin/reload", &none),
        ("POST", "admin/reload-vendors", &none),
        ("POST", "messages", &message),
        ("GET", "messages/018bcfe5-6800-73cd-8040-0dd7044c3cd8", &none),
        ("POST", "routes/test", &question),
    ] {
        let (status, answer) = call(gateway, method, &format!("/api/v1/{path}"), body);
        assert_eq!((status, &answer["error"]["code"]), (503, &"not_ready".into()), "{path}: {answer}");
        let sentence = answer["error"]["message"].as_str().unwrap();
        assert!(sentence.contains("gateway waits for PostgreSQL to start with"), "{path}: {answer}");
    }
    assert!(gateway.get("/ready").1.contains("waits for PostgreSQL to start with"));
    let refused = ["not reloaded, the gateway waits for PostgreSQL"];
    gateway.log.wait_for(2, &refused);
    gateway.signal(Signal::HUP);
    gateway.log.wait_for(3, &refused);
    assert!(complaint(gateway, "configuration", "source").is_none(), "there is no configuration to complain of");
}

#[test]
fn with_nothing_kept_the_gateway_waits_with_its_listeners_closed() {
    let server = Server::start();
    let (database, vendor) = (server.database(), smsc(&[]));
    usual_rows(&database, vendor.address());
    server.stop();
    let gateway = setup(Shards::One, &database.url()).launch();
    let reason = wait_for_complaint(&gateway, "service", "postgresql");
    assert!(reason.contains("PostgreSQL is away"), "{reason}");
    assert_eq!(health(&gateway).unwrap()["phase"], "starting");
    assert_eq!(gateway.get("/ready").0, 503);
    assert!(TcpStream::connect(gateway.address()).is_err(), "nobody is refused for want of a database");
    refuses_what_it_cannot_know(&gateway);
    server.start_again();
    gateway.wait_until_ready();
    send_one(&gateway);
    gateway.end_well();
}

#[test]
fn a_gateway_that_waits_ends_when_it_is_told() {
    let address = crate::harness::setup::free_address();
    let mut gateway = setup(Shards::One, &format!("postgres://gateway@{address}/none")).launch();
    gateway.log.wait_for(1, &["the listeners stay closed until PostgreSQL is there"]);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait_for_end().code(), Some(0));
}

#[test]
fn a_silent_server_is_told_and_binds_go_on() {
    let (database, vendor) = (Server::shared().database(), smsc(&[]));
    usual_rows(&database, vendor.address());
    let proxy = Proxy::before(Server::shared().address());
    let gateway = setup(Shards::Two, &database.url_at(proxy.address)).start();
    proxy.silence(true);
    wait_for_complaint(&gateway, "service", "postgresql");
    send_one(&gateway);
    proxy.silence(false);
    wait_until_mended(&gateway, "service", "postgresql");
    gateway.end_well();
}

#[test]
fn passwords_are_encrypted_and_rotated_by_commands() {
    let (database, vendor) = (Server::shared().database(), smsc(&[]));
    usual_rows(&database, vendor.address());
    let setup = setup(Shards::One, &database.url());
    let one = ("SECRETS_KEYS", "one:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let both = (one.0, &*format!("{},two:{}", one.1, "B".repeat(42) + "A="));
    let encrypted = said(&run_command(&["encrypt-password"], &setup, "gateway1\n", &[one]));
    assert!(encrypted.starts_with("enc:one:") && !encrypted.contains("gateway1"), "{encrypted}");
    database.sql(&format!("UPDATE messaging.vendors SET password = '{}'", encrypted.trim()));
    assert_eq!(
        said(&run_command(&["rotate-keys"], &setup, "", &[both])),
        "1 encrypted under two, 0 left as they are\n"
    );
    let stored = database.sql("SELECT password FROM messaging.vendors");
    assert!(stored.starts_with("enc:two:"), "{stored}");
    let none = run_command(&["encrypt-password"], &setup, "gateway1\n", &[]);
    assert!(!none.status.success() && String::from_utf8_lossy(&none.stderr).contains("[secrets] key_file"), "{none:?}");
    // And the vendor is bound with it.
    let keys = setup.folder.write("keys", &both.1.replace(',', "\n"));
    let gateway = setup.rows(&format!("[secrets]\nkey_file = {keys:?}")).start();
    send_one(&gateway);
    gateway.end_well();
}

#[test]
fn migrate_tells_what_it_does_and_check_what_is_there() {
    let database = Server::shared().database();
    let setup = setup(Shards::One, &database.url());
    let check = run_command(&["check"], &setup, "", &[]);
    assert!(String::from_utf8_lossy(&check.stdout).contains("smpp-gateway migrate"), "{check:?}");
    let first = said(&run_command(&["migrate", "--seed"], &setup, "", &[]));
    assert!(first.contains("applied 1 tables\n") && first.contains("the schema is version"), "{first}");
    let second = said(&run_command(&["migrate"], &setup, "", &[]));
    assert!(!second.contains("applied"), "{second}");
    let check = said(&run_command(&["check"], &setup, "", &[]));
    assert!(check.contains("PostgreSQL has 1 customer(s), 1 vendor(s), 1 rule(s)"), "{check}");
    let without = Setup::new(Shards::One);
    let output = run_command(&["migrate"], &without, "", &[]);
    assert!(
        !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("POSTGRES_HOST"),
        "{output:?}"
    );
}
