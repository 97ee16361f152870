//! Against a real server: the schema, the rows, and everything that goes wrong with either.

use std::path::Path;

use smpp_shards::Amount;
use smpp_shards::settings::{GatewaySettings, VendorSettings};

use super::connect::Connection;
use super::tables::Tables;
use super::*;
use crate::config::{self, PostgresSettings, field_names};
use crate::live::Loaded;
use crate::secrets::KeyRing;
use server::{Database, Server};

#[path = "../../tests/support/postgres.rs"]
pub(super) mod server;

pub(super) fn settings(url: &str) -> PostgresSettings {
    let text = format!("[postgres]\nurl = \"{url}\"\n");
    config::parse(Path::new("test.toml"), &text, &|_| None).unwrap().postgres.unwrap()
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn migrated(database: &Database<'_>) -> Migrated {
    runtime().block_on(migrate(&settings(&database.url()), false)).unwrap()
}

pub(super) fn fresh() -> Database<'static> {
    let database = Server::shared().database();
    migrated(&database);
    database
}

/// A database with an older table of vendors, its view, and nobody in it.
fn with_older_table() -> Database<'static> {
    let database = Server::shared().database();
    database.sql(
        "CREATE SCHEMA messaging; CREATE TABLE messaging.vendor_connectors (id serial, connector_name text, host text,
             port integer, system_id text, password_encrypted text, max_throughput integer, active boolean DEFAULT true);",
    );
    migrated(&database);
    database
}

fn keys() -> KeyRing {
    KeyRing::parse(&format!("one:{}", "A".repeat(43) + "=")).unwrap()
}

fn loaded_from(database: &Database<'_>, relation: &str) -> Loaded {
    let settings = settings(&database.url());
    runtime().block_on(async {
        let connection = Connection::open(&settings, false).await.unwrap();
        let tables = Tables::read(&connection, relation).await.unwrap();
        rows::read(&tables, &GatewaySettings::default(), &keys()).loaded
    })
}

fn loaded(database: &Database<'_>) -> Loaded {
    loaded_from(database, "messaging.vendors")
}

/// `table key column: reason` of each.
fn faults(loaded: &Loaded) -> Vec<String> {
    let mut lines: Vec<String> = loaded
        .faults
        .iter()
        .map(|fault| format!("{} {} {}: {}", fault.table, fault.key, fault.column, fault.reason))
        .collect();
    lines.sort();
    lines
}

const HASH: &str = "$2b$04$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01232";

#[test]
fn migrations_are_applied_once() {
    let database = Server::shared().database();
    let first = migrated(&database);
    assert_eq!((first.before, first.applied.len(), first.version), (0, MIGRATIONS.len(), MIGRATIONS.len() as i32));
    let second = migrated(&database);
    assert_eq!((second.before, second.applied.len()), (MIGRATIONS.len() as i32, 0));
    assert_eq!(loaded(&database).settings.vendors.len(), 0);
}

#[test]
fn two_nodes_may_migrate_at_one_time() {
    let database = Server::shared().database();
    let url = database.url();
    let nodes: Vec<_> = (0..3)
        .map(|_| {
            let settings = settings(&url);
            std::thread::spawn(move || runtime().block_on(migrate(&settings, true)).unwrap().applied.len())
        })
        .collect();
    let applied: usize = nodes.into_iter().map(|node| node.join().unwrap()).sum();
    assert_eq!(applied, MIGRATIONS.len());
}

#[test]
fn a_migration_that_was_another_one_is_named() {
    let database = fresh();
    database.sql("UPDATE messaging.smpp_gateway_migrations SET checksum = 'x' WHERE version = 2");
    let error = runtime().block_on(migrate(&settings(&database.url()), false)).unwrap_err();
    assert!(error.to_string().contains("migration 2 (notifications) was applied in another form"), "{error}");
}

#[test]
fn a_migration_that_cannot_be_applied_says_where_and_leaves_nothing() {
    let database = Server::shared().database();
    database.sql("CREATE SCHEMA messaging; CREATE VIEW messaging.vendors AS SELECT 1 AS id");
    let error = runtime().block_on(migrate(&settings(&database.url()), false)).unwrap_err().to_string();
    assert!(error.contains("tables") && error.contains("vendors"), "{error}");
    assert_eq!(database.sql("SELECT to_regclass('messaging.customer_sms_auth') IS NULL"), "t");
}

#[test]
fn a_schema_of_a_later_program_is_left_alone() {
    let database = fresh();
    database.sql("INSERT INTO messaging.smpp_gateway_migrations (version, name, checksum) VALUES (99, 'later', 'x')");
    assert_eq!(migrated(&database).version, 99);
}

#[test]
fn what_is_on_the_platform_keeps_its_shape_and_rows() {
    let database = Server::shared().database();
    database.sql(
        "CREATE SCHEMA messaging; CREATE SCHEMA accounts; CREATE TABLE accounts.accounts (id uuid PRIMARY KEY);
         CREATE TABLE messaging.vendors (id serial PRIMARY KEY, instance_name varchar(20), host varchar(99), port smallint,
             provider_type varchar(9), own_column text);
         INSERT INTO messaging.vendors (instance_name, host, port, provider_type, own_column)
             VALUES ('north', 'smsc.example', 2775, 'SMPP', 'kept'), ('mail', 'h', 25, 'smtp', '');
         CREATE TABLE messaging.customer_sms_auth (id bigint, account_id uuid, smpp_system_id text, smpp_password_hash text,
             smpp_allowed_ips text[]);",
    );
    migrated(&database);
    assert_eq!(database.sql("SELECT own_column FROM messaging.vendors WHERE instance_name = 'north'"), "kept");
    let types = "SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attname = 'customer_id'
                 AND attrelid = 'messaging.routing_rules'::regclass";
    assert_eq!(database.sql(types), "uuid", "as the platform has its accounts");
    database.sql(&format!(
        "INSERT INTO messaging.customer_sms_auth (id, account_id, smpp_system_id, smpp_password_hash, smpp_allowed_ips)
             VALUES (7, gen_random_uuid(), 'acme', '{HASH}', '{{10.0.0.0/8}}')"
    ));
    let loaded = loaded(&database);
    assert_eq!(faults(&loaded), Vec::<String>::new());
    assert_eq!(loaded.keys.vendors, ["north"], "the mail provider is none of ours");
    let vendor = &loaded.settings.vendors[0];
    assert_eq!((vendor.host.as_str(), vendor.port, vendor.window_size), ("smsc.example", 2775, 100));
    assert_eq!(loaded.settings.customers[0].smpp_allowed_ips, ["10.0.0.0/8"]);
    assert!(loaded.settings.customers[0].active);
}

#[test]
fn every_setting_of_a_vendor_has_a_column_of_its_name_and_the_same_default() {
    let database = fresh();
    let columns =
        database.sql("SELECT attname FROM pg_attribute WHERE attrelid = 'messaging.vendors'::regclass AND attnum > 0");
    for name in field_names::<VendorSettings>() {
        assert!(columns.lines().any(|column| column == *name), "messaging.vendors has no column {name}");
    }
    database.sql("INSERT INTO messaging.vendors (instance_name, port) VALUES ('plain', 0)");
    let id = Some(database.sql("SELECT id FROM messaging.vendors"));
    let expected = VendorSettings { id, instance_name: "plain".into(), ..VendorSettings::default() };
    assert_eq!(format!("{:?}", loaded(&database).settings.vendors[0]), format!("{expected:?}"));
}

#[test]
fn every_setting_of_customers_rules_and_routes_has_a_column() {
    use smpp_shards::settings::{CustomerSettings, InboundRouteSettings, RuleSettings};
    let database = fresh();
    // Plain passwords are for laptops; rules name customers and vendors by their ids.
    let elsewhere = ["smpp_password", "customer", "vendor"];
    for (table, names) in [
        ("customer_sms_auth", field_names::<CustomerSettings>()),
        ("routing_rules", field_names::<RuleSettings>()),
        ("inbound_routes", field_names::<InboundRouteSettings>()),
    ] {
        let columns = database.sql(&format!(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'messaging.{table}'::regclass AND attnum > 0"
        ));
        for name in names.iter().filter(|name| !elsewhere.contains(name)) {
            assert!(columns.lines().any(|column| column == *name), "messaging.{table} has no column {name}");
        }
    }
}

#[test]
fn every_column_of_a_vendor_becomes_its_setting() {
    let database = fresh();
    let encrypted = keys().encrypt("secret12").unwrap();
    database.sql(&format!(
        "INSERT INTO messaging.vendors (instance_name, display_name, host, port, username, password, system_type,
             interface_version, bind_type, binds, use_tls, tls_verify, tls_ca, window_size, throughput, burst, priority,
             is_primary, is_active, response_timeout_ms, enquire_link_ms, bind_timeout_ms, queue_messages, queue_bytes,
             queue_seconds, request_receipts, message_id_format, receipt_id_format, receipt_id_from, default_data_coding,
             source_ton, source_npi, dest_ton, dest_npi, service_type, long_messages, temporary_statuses, permanent_statuses)
         VALUES ('north', 'North', 'h', 1, 'u', '{encrypted}', 't', 80, 'RECEIVER', 2, true, false, 'a.pem', 3, 4, 5, 6,
             true, false, 7000, 8000, 9000, 10, 11, 12, 'always', 'hex', 'decimal', 'tlv', 3, 5, 0, 1, 2, 'WAP',
             'message_payload', '{{1024}}', '{{4294967295}}')"
    ));
    use smpp_shards::settings::{BindType, LongMessages, ReceiptIdFrom, RequestReceipts, VendorIdFormat};
    let expected = VendorSettings {
        id: Some(database.sql("SELECT id FROM messaging.vendors")),
        instance_name: "north".into(),
        display_name: Some("North".into()),
        host: "h".into(),
        port: 1,
        username: "u".into(),
        password: "secret12".into(),
        system_type: "t".into(),
        interface_version: 0x50,
        bind_type: BindType::Receiver,
        binds: 2,
        use_tls: true,
        tls_verify: false,
        tls_ca: Some("a.pem".into()),
        window_size: 3,
        throughput: 4,
        burst: 5,
        priority: 6,
        is_primary: true,
        is_active: false,
        response_timeout_ms: 7_000,
        enquire_link_ms: 8_000,
        bind_timeout_ms: 9_000,
        queue_messages: 10,
        queue_bytes: 11,
        queue_seconds: 12,
        request_receipts: RequestReceipts::Always,
        message_id_format: VendorIdFormat::Hex,
        receipt_id_format: VendorIdFormat::Decimal,
        receipt_id_from: ReceiptIdFrom::Tlv,
        default_data_coding: Some(3),
        source_ton: Some(5),
        source_npi: Some(0),
        dest_ton: Some(1),
        dest_npi: Some(2),
        service_type: Some("WAP".into()),
        long_messages: LongMessages::MessagePayload,
        temporary_statuses: vec![1024],
        permanent_statuses: vec![u32::MAX],
    };
    let loaded = loaded(&database);
    assert_eq!(faults(&loaded), Vec::<String>::new());
    assert_eq!(format!("{:?}", loaded.settings.vendors[0]), format!("{expected:?}"));
    assert_eq!(&*loaded.settings.vendors[0].password, "secret12");
}

#[test]
fn customers_have_their_limits_and_networks_and_ids_become_names() {
    let database = fresh();
    database.sql(&format!(
        "INSERT INTO messaging.customer_sms_auth (account_id, auth_type, smpp_system_id, smpp_password_hash,
             smpp_allowed_ips, smpp_max_binds, smpp_throughput, smpp_window, message_id_format, allowed_source_addresses,
             force_source_address, tls_client_certificate_names)
         VALUES ('acme-inc', 'BOTH', 'acme', '{HASH}', '{{192.0.2.7, 10.0.0.0/8, 2001:db8::/32}}', 5, 50, 10, 'hex',
             '{{*, 123*}}', '4711', '{{esme.acme.example}}'),
             ('bolt-inc', 'SMPP', 'bolt', '{HASH}', NULL, 0, NULL, NULL, 'uuid', '{{}}', NULL, NULL);
         INSERT INTO messaging.customer_sms_auth (account_id, auth_type) VALUES ('web-inc', 'API_KEY');
         INSERT INTO messaging.vendors (instance_name, host, port) VALUES ('north', 'h', 1);
         INSERT INTO messaging.routing_rules (priority, customer_id, dest_pattern, source_pattern, vendor_id, weight,
             rate_per_msg) SELECT 10, 'acme-inc', '^1', '^Acme', id, 3, 0.0075 FROM messaging.vendors;
         INSERT INTO messaging.routing_rules (customer_id, vendor_id) SELECT 'web-inc', id FROM messaging.vendors;
         INSERT INTO messaging.inbound_routes (did, smpp_system_id) VALUES ('4711', 'acme');
         INSERT INTO messaging.inbound_routes (did, account_id) VALUES ('4712', 'bolt-inc');"
    ));
    let loaded = loaded(&database);
    assert_eq!(faults(&loaded), Vec::<String>::new());
    assert_eq!(loaded.keys.customers, ["acme", "bolt"]);
    let [acme, bolt] = loaded.settings.customers.as_slice() else { panic!("two customers") };
    assert_eq!(acme.smpp_allowed_ips, ["192.0.2.7", "10.0.0.0/8", "2001:db8::/32"]);
    assert_eq!((acme.smpp_max_binds, acme.smpp_throughput, acme.smpp_window), (5, 50, 10));
    assert_eq!((acme.account_id.as_deref(), acme.force_source_address.as_deref()), (Some("acme-inc"), Some("4711")));
    assert_eq!(acme.allowed_source_addresses, ["*", "123*"]);
    assert_eq!(acme.tls_client_certificate_names, ["esme.acme.example"]);
    assert!(bolt.tls_client_certificate_names.is_empty() && bolt.tls_client_certificate_sha256.is_empty());
    assert_eq!((bolt.smpp_max_binds, bolt.smpp_throughput, bolt.smpp_window), (2, 100, 0));
    let [rule] = loaded.settings.routing_rules.as_slice() else { panic!("one rule, for the other sends by HTTP") };
    assert_eq!((rule.customer.as_deref(), rule.vendor.as_str(), rule.weight), (Some("acme"), "north", 3));
    assert_eq!((rule.dest_pattern.as_deref(), rule.source_pattern.as_deref()), (Some("^1"), Some("^Acme")));
    assert_eq!(rule.rate_per_msg, Some(Amount::of_millionths(7_500)));
    let routes: Vec<_> = loaded.settings.inbound_routes.iter().map(|it| it.smpp_system_id.as_str()).collect();
    assert_eq!(routes, ["acme", "bolt"]);
    let snapshot = smpp_shards::Snapshot::build(loaded.settings, 2, 1).unwrap();
    assert!(snapshot.customer_by_system_id(b"acme").unwrap().allows_ip("10.1.2.3".parse().unwrap()));
}

#[test]
fn a_row_that_is_wrong_is_told_by_table_key_and_column_and_takes_no_other_with_it() {
    let database = fresh();
    let other_key = KeyRing::parse(&format!("two:{}", "B".repeat(42) + "A=")).unwrap().encrypt("secret12").unwrap();
    database.sql(&format!(
        "INSERT INTO messaging.vendors (instance_name, host, port, bind_type, password, binds) VALUES
             ('good', 'h', 1, 'transceiver', '', 1), ('both', 'h', 1, 'both', '', -1), ('far', 'h', 70000, 'receiver', '', 1),
             ('locked', 'h', 1, 'receiver', '{other_key}', 1), ('torn', 'h', 1, 'receiver', 'enc:one:AAAA', 1);
         INSERT INTO messaging.customer_sms_auth (account_id, auth_type, smpp_system_id, smpp_password_hash) VALUES
             ('1', 'SMPP', 'plain', 'secret12'), ('2', 'SMPP', 'good', '{HASH}'), ('3', 'CERT', 'odd', '{HASH}');
         INSERT INTO messaging.routing_rules (id, vendor_id, customer_id) VALUES
             (1, '00000000-0000-4000-8000-000000000000', NULL);
         INSERT INTO messaging.routing_rules (id, vendor_id, customer_id, weight)
             SELECT 2, id, 'nobody', 1 FROM messaging.vendors WHERE instance_name = 'good' UNION
             SELECT 3, id, '2', -1 FROM messaging.vendors WHERE instance_name = 'good' UNION
             SELECT 4, id, '1', 1 FROM messaging.vendors WHERE instance_name = 'far';
         INSERT INTO messaging.routing_rules (id, vendor_id, rate_per_msg)
             SELECT 5, id, -0.0075 FROM messaging.vendors WHERE instance_name = 'good' UNION
             SELECT 6, id, 'NaN' FROM messaging.vendors WHERE instance_name = 'good';
         INSERT INTO messaging.inbound_routes (did, delivery_method, active) VALUES
             ('1', 'webhook', true), ('2', 'pigeon', true), ('3', 'email', false);"
    ));
    let loaded = loaded(&database);
    let told = faults(&loaded);
    let expected = [
        "customers odd auth_type: is \"cert\"; write API_KEY, SMPP or BOTH",
        "customers plain smpp_password_hash: is no bcrypt hash; make one with `smpp-gateway hash-password`",
        "inbound_routes 1 delivery_method: is \"webhook\", which is not served by this version yet; write smpp",
        "inbound_routes 2 delivery_method: is \"pigeon\"; write one of \"smpp\"",
        "routing_rules 1 vendor_id: is \"00000000-0000-4000-8000-000000000000\", and there is no vendor of that id",
        "routing_rules 2 customer_id: is \"nobody\", which no row of customer_sms_auth has as its account_id",
        "routing_rules 3 weight: is integer `-1`, which is out of range; write a whole number from 0 to 4294967295",
        "routing_rules 5 rate_per_msg: is floating point `-0.0075`, which is out of range; write a number from 0 to \
         999999.999999 with at most six decimals",
        "routing_rules 6 rate_per_msg: is string \"NaN\"; write a number from 0 to 999999.999999 with at most six decimals",
        "vendors both bind_type: is \"both\"; write one of \"transceiver\", \"transmitter\", \"receiver\"",
        "vendors both binds: is integer `-1`, which is out of range; write a whole number from 0 to 4294967295",
        "vendors far port: is integer `70000`, which is out of range; write a whole number from 0 to 65535",
        "vendors locked password: cannot be decrypted: it was encrypted under the key \"two\", which is not among the keys",
        "vendors torn password: cannot be decrypted: it is not of the form enc:KEY:BASE64",
    ];
    assert_eq!(told, expected, "{told:#?}");
    assert_eq!(
        (loaded.keys.vendors.as_slice(), loaded.keys.customers.as_slice()),
        (["good".into()].as_slice(), ["good".into()].as_slice())
    );
    assert_eq!(loaded.keys.routing_rules, ["4"], "its vendor's last good version has the same name");
}

#[test]
fn columns_of_another_type_are_told_without_showing_secrets() {
    let database = Server::shared().database();
    database.sql(
        "CREATE SCHEMA messaging;
         CREATE TABLE messaging.vendors (instance_name text, host text, port text, password integer);
         INSERT INTO messaging.vendors VALUES ('north', 'h', '2775', 87654321)",
    );
    migrated(&database);
    assert_eq!(
        faults(&loaded(&database)),
        [
            "vendors north password: is not text",
            "vendors north port: is string \"2775\"; write a whole number from 0 to 65535"
        ]
    );
}

#[test]
fn the_older_tables_of_vendors_are_read_through_views() {
    let database = Server::shared().database();
    database.sql(
        "CREATE SCHEMA vendor_mgmt; CREATE SCHEMA messaging;
         CREATE TABLE vendor_mgmt.service_providers (id uuid DEFAULT gen_random_uuid(), instance_name text, provider_type text,
             host text, port integer, username text, password text, bind_type text, is_active boolean, health_status text);
         INSERT INTO vendor_mgmt.service_providers (instance_name, provider_type, host, port, username, password, is_active)
             VALUES ('north', 'smpp', 'h', 1, 'u', 'p', true), ('mail', 'smtp', 'h', 25, '', '', true);",
    );
    migrated(&database);
    let vendors = loaded_from(&database, "messaging.service_providers_as_vendors").settings.vendors;
    assert_eq!((vendors.len(), vendors[0].instance_name.as_str(), vendors[0].binds), (1, "north", 1));
    // The second one comes later, and gets one more column after that.
    let connectors = "CREATE TABLE messaging.vendor_connectors (id serial, connector_name text, host text, port integer,
         system_id text, password_encrypted text, max_throughput integer, active boolean);
         INSERT INTO messaging.vendor_connectors (connector_name, host, port, system_id, password_encrypted, max_throughput,
             active) VALUES ('south', 'h', 2, 'su', 'sp', 30, false)";
    database.sql(connectors);
    migrated(&database);
    database.sql("ALTER TABLE messaging.vendor_connectors ADD COLUMN binds integer DEFAULT 4");
    migrated(&database);
    let loaded = loaded_from(&database, "messaging.vendor_connectors_as_vendors");
    assert_eq!(faults(&loaded), Vec::<String>::new());
    let vendor = &loaded.settings.vendors[0];
    assert_eq!((vendor.instance_name.as_str(), vendor.username.as_str(), &*vendor.password), ("south", "su", "sp"));
    assert_eq!((vendor.throughput, vendor.is_active, vendor.binds), (30, false, 4));
}

#[test]
fn the_seed_is_a_configuration_that_works_and_is_put_in_once() {
    let database = Server::shared().database();
    for _ in 0..2 {
        runtime().block_on(migrate(&settings(&database.url()), true)).unwrap();
    }
    let loaded = loaded(&database);
    assert_eq!(faults(&loaded), Vec::<String>::new());
    assert_eq!((loaded.settings.vendors.len(), loaded.settings.routing_rules.len()), (1, 1));
    let hash = loaded.settings.customers[0].smpp_password_hash.as_deref().unwrap();
    assert!(bcrypt::verify("secret12", hash).unwrap());
    smpp_shards::Snapshot::build(loaded.settings, 1, 1).unwrap();
}

#[test]
fn a_schema_that_is_missing_is_told_with_the_command_that_makes_it() {
    let database = Server::shared().database();
    let settings = settings(&database.url());
    runtime().block_on(async {
        let connection = Connection::open(&settings, true).await.unwrap();
        for _ in 0..2 {
            let error = Tables::read(&connection, "messaging.vendors").await.err().unwrap();
            assert!(
                matches!(&error, PostgresError::Refused(reason) if reason.contains("smpp-gateway migrate")),
                "{error}"
            );
        }
    });
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    let database = Server::shared().database();
    let settings = settings(&database.url().replace("gateway:gateway@", "gateway:87654321@"));
    let error = runtime().block_on(Connection::open(&settings, true)).err().unwrap();
    assert!(matches!(error, PostgresError::Away(_)), "{error:?}");
    assert!(error.to_string().contains("password authentication failed"), "{error}");
    assert!(!error.to_string().contains("87654321"), "{error}");
}

/// Whether a connection with these keys of `[postgres]` is encrypted; or why there is none.
fn is_encrypted(database: &Database<'_>, keys: &str) -> Result<bool, PostgresError> {
    let url = database.url().replace("127.0.0.1", "localhost");
    let text = format!("[postgres]\nurl = \"{url}\"\n{keys}\n");
    let settings = config::parse(Path::new("test.toml"), &text, &|_| None).unwrap().postgres.unwrap();
    runtime().block_on(async {
        let connection = Connection::open(&settings, true).await?;
        let rows = connection.ask("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await?;
        Ok(rows.iter().any(|it| matches!(it, tokio_postgres::SimpleQueryMessage::Row(row) if row.get(0) == Some("t"))))
    })
}

#[test]
fn tls_is_spoken_and_the_certificate_checked_as_sslmode_says() {
    let database = Server::shared().database();
    assert_eq!(is_encrypted(&database, "sslmode = \"disable\""), Ok(false));
    assert_eq!(is_encrypted(&database, ""), Ok(true), "the server has it");
    assert_eq!(is_encrypted(&database, "sslmode = \"require\""), Ok(true));
    let ours = format!("sslmode = \"verify-full\"\ntls_ca = {:?}", Server::shared().certificate());
    assert_eq!(is_encrypted(&database, &ours), Ok(true));
    let error = is_encrypted(&database, "sslmode = \"verify-full\"").unwrap_err();
    assert!(matches!(&error, PostgresError::Away(_)), "the system does not know that authority: {error}");
    let error = is_encrypted(&database, "sslmode = \"verify-full\"\ntls_ca = \"no-such.pem\"").unwrap_err();
    assert!(error.to_string().contains("no-such.pem"), "{error}");
}

mod away;
mod health;
mod rotate;
mod start;
mod writes;
