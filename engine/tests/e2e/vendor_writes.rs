//! Vendors added, changed and removed over the control port of a gateway whose vendors stand in PostgreSQL.

use std::net::SocketAddr;

use serde_json::{Value, json};
use smpp_pdu::CommandStatus;

use crate::harness::{Esme, Gateway, Setup, Shards, ask_until, message, smsc, with_one_shard_and_with_two};
use crate::http::call;
use crate::postgres::server::{Database, Server};
use crate::postgres::{run_command, setup, usual_rows, wait_for_complaint, wait_for_version, wait_until_mended};

with_one_shard_and_with_two![a_vendor_is_added_changed_and_removed_and_no_other_notices];

/// With a key for passwords.
pub(crate) fn with_key(shards: Shards, url: &str) -> Setup {
    let setup = setup(shards, url);
    let keys = setup.folder.write("keys", "one:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
    setup.rows(&format!("[secrets]\nkey_file = {keys:?}"))
}

fn vendor(name: &str, address: SocketAddr) -> Value {
    json!({
        "instance_name": name, "host": address.ip().to_string(), "port": address.port(), "username": "gateway",
        "password": "gateway1",
    })
}

/// A change that is made; the version in which it is in force.
fn change(gateway: &Gateway, method: &str, path: &str, body: &Value) -> u64 {
    let (status, answer) = call(gateway, method, path, body);
    assert_eq!((status, &answer["faults"]), (200, &json!([])), "{method} {path}: {answer}");
    answer["version"].as_u64().unwrap()
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"]["code"].as_str().unwrap_or_default())
}

fn route_all_to(database: &Database<'_>, vendor_id: &str) {
    database
        .sql(&format!("INSERT INTO messaging.routing_rules (id, priority, vendor_id) VALUES (77, 1, '{vendor_id}')"));
}

fn a_vendor_is_added_changed_and_removed_and_no_other_notices(shards: Shards) {
    let database = Server::shared().database();
    let (north, south, other) = (smsc(&[]), smsc(&[]), smsc(&[]));
    usual_rows(&database, north.address());
    let gateway = with_key(shards, &database.url()).start();
    let mut esme = Esme::bound(&gateway, "acme");
    assert_eq!(esme.submitted(&message(b"one")).status, CommandStatus::ESME_ROK);

    let (status, added) = call(&gateway, "POST", "/api/v1/vendors", &vendor("south", south.address()));
    assert_eq!(status, 201, "{added}");
    assert!(added["version"].as_u64().unwrap() >= 2, "{added}");
    let id = added["vendor_id"].as_str().unwrap().to_owned();
    assert_eq!(database.sql("SELECT id FROM messaging.vendors WHERE instance_name = 'south'"), id);
    route_all_to(&database, &id);
    gateway.log.wait_for(1, &["\"vendor bound\"", "\"instance_name\":\"south\"", &id]);
    wait_for_rule(&gateway, &id);
    assert_eq!(esme.submitted(&message(b"two")).status, CommandStatus::ESME_ROK);
    gateway.wait_for_metric("smpp_client_submit_sm_total", &[&id, "success"], |count| count == 1.0);

    let path = format!("/api/v1/vendors/{id}");
    let version = change(&gateway, "PATCH", &path, &json!({"window_size": 7}));
    wait_for_version(&gateway, version);
    let (_, told) = call(&gateway, "GET", "/api/v1/vendors/south/status", &Value::Null);
    assert_eq!((&told["vendor"]["window_size"], &told["vendor"]["vendor_id"]), (&json!(7), &json!(id)), "{told}");
    assert_eq!(gateway.log.count(&["\"vendor bound\"", &id]), 1, "what a bind does not depend on");
    change(&gateway, "PUT", &path, &vendor("south", other.address()));
    gateway.log.wait_for(2, &["\"vendor bound\"", &id]);
    assert_eq!(database.sql("SELECT window_size FROM messaging.vendors WHERE instance_name = 'south'"), "100");
    assert_eq!(esme.submitted(&message(b"three")).status, CommandStatus::ESME_ROK);
    gateway.wait_for_metric("smpp_client_submit_sm_total", &[&id, "success"], |count| count == 2.0);

    assert_eq!(code(&call(&gateway, "DELETE", &path, &Value::Null)), (409, "in_use"));
    database.sql("DELETE FROM messaging.routing_rules WHERE id = 77");
    change(&gateway, "DELETE", &path, &Value::Null);
    assert_eq!(code(&call(&gateway, "DELETE", &path, &Value::Null)), (404, "not_found"));
    assert_eq!(code(&call(&gateway, "GET", "/api/v1/vendors/south/status", &Value::Null)), (404, "not_found"));
    assert_eq!(esme.submitted(&message(b"four")).status, CommandStatus::ESME_ROK);

    // The other vendor's connection and the customer's have not noticed, and each change has its line.
    assert_eq!(gateway.log.count(&["\"vendor bound\"", "\"instance_name\":\"north\""]), 1);
    for (method, status) in [("POST", "201"), ("PATCH", "200"), ("PUT", "200"), ("DELETE", "200"), ("DELETE", "409")] {
        gateway.log.wait_for(1, &["control port called", &format!("\"{method}\""), "/api/v1/vendors", status]);
    }
    gateway.end_well_without(esme);
}

/// Waits until messages go to that vendor.
fn wait_for_rule(gateway: &Gateway, vendor_id: &str) {
    let question = json!({"from": "ACME", "to": "15551234567", "customer_id": "acme"});
    ask_until("a route to the vendor", || {
        let (_, found) = call(gateway, "POST", "/api/v1/routes/test", &question);
        (found["vendor_id"] == vendor_id).then_some(())
    });
}

#[test]
fn what_is_wrong_is_named_and_passwords_are_never_told() {
    let (database, north) = (Server::shared().database(), smsc(&[]));
    usual_rows(&database, north.address());
    let gateway = with_key(Shards::One, &database.url()).start();
    let path = "/api/v1/vendors/north";
    for (body, field) in [
        (json!({"binds": 65}), "binds"),
        (json!({"nothing": 1}), "nothing"),
        (json!({"password": "enc:two:AAAA"}), "password"),
        (json!({"display_name": "\0"}), "display_name"),
    ] {
        let answer = call(&gateway, "PATCH", path, &body);
        assert_eq!(code(&answer), (400, "invalid_field"), "{answer:?}");
        assert_eq!(answer.1["error"]["fields"][0]["field"], field, "{answer:?}");
    }
    assert_eq!(code(&call(&gateway, "POST", "/api/v1/vendors", &vendor("north", north.address()))), (409, "taken"));
    change(&gateway, "PATCH", path, &json!({"password": "sesame12"}));
    assert!(database.sql("SELECT password FROM messaging.vendors").starts_with("enc:one:"));
    // Stored all the same: whether a file can be read is another node's matter too.
    let (status, answer) = call(&gateway, "PATCH", path, &json!({"use_tls": true, "tls_ca": "no-such-file.pem"}));
    assert_eq!((status, &answer["faults"][0]["field"]), (200, &json!("tls_ca")), "{answer}");
    for asked in ["/api/v1/vendors", "/api/v1/vendors/north/status", "/health", "/metrics"] {
        let (_, told) = gateway.get(asked);
        assert!(!told.contains("sesame12") && !told.contains("enc:one:"), "{asked}: {told}");
    }
    assert_eq!(gateway.log.count(&["sesame12"]), 0);
    gateway.end_well();
}

/// At a start as well, where the row was good once.
#[test]
fn authorities_that_cannot_be_read_at_a_start_keep_the_row_s_last_good_version() {
    let (database, north) = (Server::shared().database(), smsc(&[]));
    usual_rows(&database, north.address());
    let setup = with_key(Shards::One, &database.url());
    let text = setup.text();
    let gateway = setup.start();
    let kept = gateway.folder.path().join("data/postgresql.kept");
    ask_until("a kept configuration", || kept.exists().then_some(()));
    let (folder, ports) = gateway.kill();
    database.sql("UPDATE messaging.vendors SET use_tls = true, tls_ca = 'no-such-file.pem', window_size = 7");
    let gateway = Gateway::launch(folder, ports, &text, None);
    gateway.wait_until_bound(1);
    gateway.log.wait_for(1, &["a row is wrong, its last good version stays", "north", "tls_ca", "no-such-file.pem"]);
    let (_, told) = call(&gateway, "GET", "/api/v1/vendors/north/status", &Value::Null);
    assert_eq!((&told["vendor"]["window_size"], &told["detail"]["use_tls"]), (&json!(100), &json!(false)), "{told}");
    gateway.end_well();
}

/// A row that names authorities who cannot be read is in force as it was before: the bind stands, and no other column of it
/// applies. `check` finds it too.
#[test]
fn authorities_that_cannot_be_read_keep_the_row_s_last_good_version() {
    let (database, north) = (Server::shared().database(), smsc(&[]));
    usual_rows(&database, north.address());
    let gateway = with_key(Shards::Two, &database.url()).start();
    let mut esme = Esme::bound(&gateway, "acme");
    let path = "/api/v1/vendors/north";
    let wrong = json!({"use_tls": true, "tls_ca": "no-such-file.pem", "window_size": 7, "port": 1});
    let (status, answer) = call(&gateway, "PATCH", path, &wrong);
    assert_eq!((status, &answer["faults"][0]["field"]), (200, &json!("tls_ca")), "{answer}");
    assert!(wait_for_complaint(&gateway, "configuration", "north").contains("no-such-file.pem"));
    assert_eq!(gateway.metric("smpp_gateway_configuration_faults", &["vendors"]), 1.0);
    // Read again, it is the same: the row of before stays, and the fault.
    let (_, again) = call(&gateway, "POST", "/api/v1/admin/reload", &Value::Null);
    assert_eq!(again["faults"].as_array().map(Vec::len), Some(1), "{again}");
    let (_, told) = call(&gateway, "GET", &format!("{path}/status"), &Value::Null);
    assert_eq!((&told["vendor"]["window_size"], &told["detail"]["use_tls"]), (&json!(100), &json!(false)), "{told}");
    assert_eq!(esme.submitted(&message(b"one")).status, CommandStatus::ESME_ROK);
    assert_eq!(gateway.log.count(&["\"vendor bound\""]), 1);
    let check = run_command(&["check"], &with_key(Shards::One, &database.url()), "", &[]);
    let check = String::from_utf8_lossy(&check.stdout);
    assert!(check.contains("1 wrong row(s): vendors north tls_ca no-such-file.pem: no certificate"), "{check}");
    let port = north.address().port();
    change(&gateway, "PATCH", path, &json!({"use_tls": false, "tls_ca": null, "port": port}));
    wait_until_mended(&gateway, "configuration", "north");
    assert_eq!(gateway.log.count(&["\"vendor bound\""]), 1, "only the window is another one");
    gateway.end_well_without(esme);
}

#[test]
fn while_postgresql_is_away_vendors_cannot_be_changed() {
    let server = Server::start();
    let (database, north) = (server.database(), smsc(&[]));
    usual_rows(&database, north.address());
    let gateway = with_key(Shards::One, &database.url()).start();
    server.stop();
    wait_for_complaint(&gateway, "service", "postgresql");
    let south = vendor("south", north.address());
    let refused = call(&gateway, "POST", "/api/v1/vendors", &south);
    assert_eq!(code(&refused), (503, "table_unavailable"));
    let why = refused.1["error"]["message"].as_str().unwrap();
    assert!(why.contains("PostgreSQL is away") && why.contains("nothing was changed"), "{why}");
    server.start_again();
    wait_until_mended(&gateway, "service", "postgresql");
    assert_eq!(call(&gateway, "POST", "/api/v1/vendors", &south).0, 201);
    gateway.end_well();
}

#[test]
fn before_postgresql_was_ever_there_vendors_cannot_be_changed_either() {
    let address = crate::harness::setup::free_address();
    let gateway = setup(Shards::One, &format!("postgres://gateway@{address}/none")).launch();
    wait_for_complaint(&gateway, "service", "postgresql");
    let refused = call(&gateway, "DELETE", "/api/v1/vendors/north", &Value::Null);
    assert_eq!(code(&refused), (503, "table_unavailable"), "{refused:?}");
    gateway.end_well();
}
