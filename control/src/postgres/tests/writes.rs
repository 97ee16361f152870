//! Vendors changed over the control port, in a real table and through the task that owns the connection.

use std::time::Duration;

use serde_json::{Value, json};

use super::away::{Bench, Folder, configuration, open};
use super::server::{Database, Proxy, Server};
use super::{fresh, keys, loaded, loaded_from, migrated, runtime, with_older_table};
use crate::config::Configuration;
use crate::vendor_table::{VendorFields, VendorTableError, WrittenVendor};

fn fields(value: Value) -> VendorFields {
    serde_json::from_value(value).unwrap()
}

/// The least there is to a vendor.
fn row(name: &str) -> VendorFields {
    fields(json!({"instance_name": name, "host": "h", "port": 1}))
}

fn configured(url: &str, folder: &Folder, lines: &str) -> Configuration {
    let mut configuration = configuration(url, folder, lines);
    configuration.secrets = keys();
    configuration
}

/// Runs what is to be done with a gateway's half of PostgreSQL that is connected.
fn with_bench(database: &Database<'_>, name: &str, lines: &str, work: impl AsyncFnOnce(Bench)) {
    let folder = Folder::new(name);
    let configuration = configured(&database.url(), &folder, lines);
    let opened = open(&configuration).unwrap();
    runtime().block_on(async {
        let mut bench = Bench::start(&configuration, opened);
        bench.reloaded().await;
        work(bench).await;
    });
}

/// The fields that were refused, in their order.
fn invalid(outcome: Result<WrittenVendor, VendorTableError>) -> Vec<(String, String)> {
    match outcome {
        Err(VendorTableError::Invalid(mut faults)) => {
            faults.sort();
            faults
        }
        other => panic!("{other:?}"),
    }
}

fn names(faults: &[(String, String)]) -> Vec<&str> {
    faults.iter().map(|(field, _)| field.as_str()).collect()
}

#[test]
fn every_column_of_a_vendor_is_written_as_the_reader_reads_it() {
    let database = fresh();
    let given = json!({
        "instance_name": "north", "display_name": "North", "host": "h", "port": 1, "username": "u", "password": "secret12",
        "system_type": "t", "interface_version": 80, "bind_type": "receiver", "binds": 2, "use_tls": true,
        "tls_verify": false, "tls_ca": "a.pem", "window_size": 3, "throughput": 4, "burst": 5, "priority": -6,
        "is_primary": true, "is_active": false, "response_timeout_ms": 7000, "enquire_link_ms": 8000,
        "bind_timeout_ms": 9000, "queue_messages": 10, "queue_bytes": 11, "queue_seconds": 12,
        "request_receipts": "always", "message_id_format": "hex", "receipt_id_format": "decimal",
        "receipt_id_from": "tlv", "default_data_coding": 3, "source_ton": 5, "source_npi": 0, "dest_ton": 1,
        "dest_npi": 2, "service_type": "WAP", "long_messages": "message_payload", "temporary_statuses": [1024],
        "permanent_statuses": [4_294_967_295_u32],
    });
    let known = crate::config::field_names::<smpp_shards::settings::VendorSettings>();
    assert_eq!(given.as_object().unwrap().len(), known.len(), "every column is given");
    with_bench(&database, "columns", "", async |mut bench: Bench| {
        let written = bench.vendors.insert(fields(given.clone())).await.unwrap();
        assert_eq!(written.instance_name, "north");
        assert_eq!(database.sql("SELECT id FROM messaging.vendors"), written.id);
        while bench.reloaded().await.keys.vendors != ["north"] {}
    });
    let stored = loaded(&database);
    assert_eq!(super::faults(&stored), Vec::<String>::new());
    let mut expected: smpp_shards::settings::VendorSettings = serde_json::from_value(given).unwrap();
    expected.id = stored.settings.vendors[0].id.clone();
    assert_eq!(format!("{:?}", stored.settings.vendors[0]), format!("{expected:?}"));
    assert_eq!(&*stored.settings.vendors[0].password, "secret12");
    let password = database.sql("SELECT password FROM messaging.vendors");
    assert!(keys().is_newest(&password), "{password}");
}

#[test]
fn a_vendor_is_replaced_patched_and_removed_by_its_id_or_its_name() {
    let database = fresh();
    with_bench(&database, "changes", "", async |bench: Bench| {
        let all = || {
            database.sql(
                "SELECT instance_name, port, binds, display_name, password <> '' FROM messaging.vendors ORDER BY 1",
            )
        };
        let north = bench.vendors.insert(row("north")).await.unwrap();
        bench.vendors.insert(row("south")).await.unwrap();
        let change = fields(json!({"binds": 3, "password": "secret12", "display_name": "North"}));
        assert_eq!(bench.vendors.patch(&north.id, change).await.unwrap(), north);
        assert_eq!(all(), "north|1|3|North|t\nsouth|1|1||f");
        assert_eq!(bench.vendors.patch("north", fields(json!({"display_name": null}))).await.unwrap(), north);
        assert_eq!(all(), "north|1|3||t\nsouth|1|1||f");
        let replaced =
            bench.vendors.replace("north", fields(json!({"instance_name": "west", "host": "h", "port": 2}))).await;
        assert_eq!(replaced.unwrap(), WrittenVendor { id: north.id.clone(), instance_name: "west".into() });
        assert_eq!(all(), "south|1|1||f\nwest|2|1||f");
        assert_eq!(bench.vendors.delete(&north.id).await.unwrap().instance_name, "west");
        for gone in [north.id.as_str(), "north", "' OR true --", "nor\0th"] {
            assert_eq!(bench.vendors.delete(gone).await, Err(VendorTableError::NotFound));
            assert_eq!(bench.vendors.patch(gone, fields(json!({"port": 2}))).await, Err(VendorTableError::NotFound));
            assert_eq!(bench.vendors.replace(gone, row("east")).await, Err(VendorTableError::NotFound));
        }
        assert_eq!(all(), "south|1|1||f");
    });
}

#[test]
fn providers_that_are_not_smpp_are_nobody_here() {
    let database = fresh();
    database.sql("INSERT INTO messaging.vendors (instance_name, provider_type) VALUES ('mail', 'smtp')");
    with_bench(&database, "providers", "", async |bench: Bench| {
        assert_eq!(bench.vendors.delete("mail").await, Err(VendorTableError::NotFound));
        // But the name is theirs.
        assert_eq!(bench.vendors.insert(row("mail")).await, Err(VendorTableError::Taken { field: "instance_name" }));
    });
}

#[test]
fn what_the_reader_would_not_take_is_never_stored() {
    let database = fresh();
    with_bench(&database, "invalid", "", async |bench: Bench| {
        bench.vendors.insert(row("north")).await.unwrap();
        let before = database.sql("SELECT vendors FROM messaging.vendors");
        for (given, field) in [
            (json!({"password": "enc:two:AAAA"}), "password"),
            (json!({"port": 0}), "port"),
            (json!({"window_size": 70_000}), "window_size"),
            (json!({"bind_type": "both"}), "bind_type"),
            (json!({"queue_bytes": u64::MAX}), "queue_bytes"),
            (json!({"display_name": "\0"}), "display_name"),
            (json!({"provider_type": "smtp"}), "provider_type"),
        ] {
            let faults = invalid(bench.vendors.patch("north", fields(given)).await);
            assert_eq!(names(&faults), [field], "{faults:?}");
            assert!(faults[0].1.ends_with('.') && !faults[0].1.contains("AAAA"), "{faults:?}");
        }
        let mut two = row("south");
        two.extend(fields(json!({"port": 0, "binds": 65})));
        assert_eq!(names(&invalid(bench.vendors.insert(two).await)), ["binds", "port"]);
        assert_eq!(database.sql("SELECT vendors FROM messaging.vendors"), before);
        // And the connection is as good as before.
        bench.vendors.insert(row("south")).await.unwrap();
        assert_eq!(bench.vendors.insert(row("south")).await, Err(VendorTableError::Taken { field: "instance_name" }));
        let rename = fields(json!({"instance_name": "north"}));
        assert_eq!(bench.vendors.patch("south", rename).await, Err(VendorTableError::Taken { field: "instance_name" }));
    });
}

#[test]
fn a_password_is_stored_encrypted_or_not_at_all() {
    let database = fresh();
    let folder = Folder::new("no-key");
    let mut configuration = configured(&database.url(), &folder, "");
    configuration.secrets = crate::secrets::KeyRing::default();
    let opened = open(&configuration).unwrap();
    let password = || fields(json!({"password": "secret12"}));
    runtime().block_on(async {
        let bench = Bench::start(&configuration, opened);
        bench.wait_until_away(false).await;
        let faults = invalid(bench.vendors.insert(row("north").into_iter().chain(password()).collect()).await);
        assert_eq!(faults[0].0, "password");
        assert!(faults[0].1.contains("[secrets] key_file") && !faults[0].1.contains("secret12"), "{faults:?}");
        assert_eq!(database.sql("SELECT count(*) FROM messaging.vendors"), "0");
    });
    with_bench(&database, "with-key", "", async |bench: Bench| {
        bench.vendors.insert(row("north")).await.unwrap();
        // What was encrypted by hand stays as it is.
        let sealed = keys().encrypt("secret12").unwrap();
        bench.vendors.patch("north", fields(json!({"password": sealed}))).await.unwrap();
        assert_eq!(database.sql("SELECT password FROM messaging.vendors"), sealed);
        let long = keys().encrypt(&"x".repeat(65)).unwrap();
        assert_eq!(
            names(&invalid(bench.vendors.patch("north", fields(json!({"password": long}))).await)),
            ["password"]
        );
    });
}

#[test]
fn a_vendor_that_rules_name_stays() {
    let database = fresh();
    with_bench(&database, "rules", "", async |bench: Bench| {
        let north = bench.vendors.insert(row("north")).await.unwrap();
        database.sql(&format!("INSERT INTO messaging.routing_rules (id, vendor_id) VALUES (77, '{}')", north.id));
        let refused = bench.vendors.delete("north").await;
        assert!(matches!(&refused, Err(VendorTableError::InUse(why)) if why.contains("id 77")), "{refused:?}");
        database.sql("DELETE FROM messaging.routing_rules");
        bench.vendors.delete("north").await.unwrap();
    });
}

#[test]
fn the_platform_s_own_types_and_missing_constraints_are_minded() {
    let database = Server::shared().database();
    database.sql(
        "CREATE SCHEMA messaging; CREATE TYPE kind AS ENUM ('smpp', 'smtp');
         CREATE TABLE messaging.vendors (id serial PRIMARY KEY, instance_name varchar(20), host varchar(9), port smallint,
             provider_type kind NOT NULL DEFAULT 'smtp', region text DEFAULT 'eu');",
    );
    migrated(&database);
    with_bench(&database, "platform", "", async |bench: Bench| {
        let north = bench.vendors.insert(row("north")).await.unwrap();
        assert_eq!(north.id, "1");
        assert_eq!(database.sql("SELECT provider_type, region FROM messaging.vendors"), "smpp|eu");
        let wide = fields(json!({"host": "smsc.example.com", "port": 40_000, "binds": 2}));
        assert_eq!(names(&invalid(bench.vendors.patch("1", wide).await)), ["host", "port"]);
        assert_eq!(bench.vendors.insert(row("north")).await, Err(VendorTableError::Taken { field: "instance_name" }));
        database.sql(
            "ALTER TABLE messaging.vendors ADD COLUMN contract text CHECK (contract <> ''), ALTER region SET NOT NULL,
                      ALTER region DROP DEFAULT",
        );
        assert_eq!(names(&invalid(bench.vendors.insert(row("south")).await)), ["region"]);
        bench.vendors.replace("north", row("north")).await.unwrap();
        assert_eq!(database.sql("SELECT region FROM messaging.vendors"), "eu", "a column of others stays");
    });
}

#[test]
fn an_older_table_is_written_through_its_view() {
    let database = with_older_table();
    let relation = "messaging.vendor_connectors_as_vendors";
    with_bench(&database, "view", &format!("vendors_relation = \"{relation}\""), async |mut bench: Bench| {
        let mut south = row("south");
        south.extend(fields(json!({"username": "su", "password": "sp", "throughput": 30})));
        assert_eq!(bench.vendors.insert(south).await.unwrap().id, "1");
        while bench.reloaded().await.keys.vendors != ["south"] {}
        let faults = invalid(bench.vendors.patch("south", fields(json!({"binds": 2, "port": 2}))).await);
        assert_eq!(faults, [("binds".into(), format!("Is no column of {relation} that can be written."))]);
        bench.vendors.patch("1", fields(json!({"port": 2, "is_active": false}))).await.unwrap();
        bench.vendors.replace("1", fields(json!({"instance_name": "west", "host": "h", "port": 3}))).await.unwrap();
    });
    let vendors = loaded_from(&database, relation).settings.vendors;
    let [west] = vendors.as_slice() else { panic!("{vendors:?}") };
    assert_eq!((west.instance_name.as_str(), west.port, west.is_active, west.throughput), ("west", 3, true, 0));
    assert_eq!(database.sql("SELECT count(*) FROM messaging.vendor_connectors"), "1");
}

#[test]
fn what_the_gateway_may_not_write_is_told() {
    let database = fresh();
    let role = format!("reader_of_{}", database.name);
    database.sql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'reader12'; GRANT USAGE ON SCHEMA messaging TO {role};
         GRANT SELECT ON ALL TABLES IN SCHEMA messaging TO {role};"
    ));
    let folder = Folder::new("grants-of-vendors");
    let url = database.url().replace("gateway:gateway@", &format!("{role}:reader12@"));
    let configuration = configured(&url, &folder, "");
    let opened = open(&configuration).unwrap();
    runtime().block_on(async {
        let mut bench = Bench::start(&configuration, opened);
        bench.reloaded().await;
        let refused = bench.vendors.insert(row("north")).await;
        let Err(VendorTableError::Unavailable(why)) = &refused else { panic!("{refused:?}") };
        assert!(
            why.contains("permission denied") && why.contains("grant INSERT") && why.ends_with("changed."),
            "{why}"
        );
    });
}

#[test]
fn while_the_server_is_away_a_change_is_refused_at_once() {
    let server = Server::start();
    let (database, folder) = (server.database(), Folder::new("writes-away"));
    migrated(&database);
    let configuration = configured(&database.url(), &folder, "");
    let opened = open(&configuration).unwrap();
    runtime().block_on(async {
        let mut bench = Bench::start(&configuration, opened);
        bench.reloaded().await;
        server.stop();
        bench.wait_until_away(true).await;
        let refused = bench.vendors.insert(row("north")).await;
        let Err(VendorTableError::Unavailable(why)) = &refused else { panic!("{refused:?}") };
        assert!(why.contains("PostgreSQL is away") && why.ends_with("nothing was changed."), "{why}");
        server.start_again();
        bench.wait_until_away(false).await;
        bench.vendors.insert(row("north")).await.unwrap();
    });
}

#[test]
fn a_change_that_nobody_waits_for_any_more_is_not_made() {
    let (database, folder) = (fresh(), Folder::new("given-up"));
    let proxy = Proxy::before(Server::shared().address());
    let configuration = configured(&database.url_at(proxy.address), &folder, "");
    let opened = open(&configuration).unwrap();
    runtime().block_on(async {
        let mut bench = Bench::start(&configuration, opened);
        bench.reloaded().await;
        bench.wait_until_away(false).await;
        proxy.silence(true);
        let given_up = tokio::time::timeout(Duration::from_millis(300), bench.vendors.insert(row("north"))).await;
        assert!(given_up.is_err());
        proxy.silence(false);
        bench.wait_until_away(false).await;
        // Whatever was asked before this one has been seen to.
        bench.vendors.insert(row("south")).await.unwrap();
        assert_eq!(database.sql("SELECT instance_name FROM messaging.vendors"), "south");
    });
}
