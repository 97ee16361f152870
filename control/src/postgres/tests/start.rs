//! A start with rows that are wrong: what is in force, and what is told of it.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use smpp_shards::Snapshot;

use super::away::{Folder, PATIENCE, open, wait_until_kept};
use super::{HASH, fresh, keys, runtime};
use crate::channel::{Bell, ControlSender, ShardHandle, ToShard, control_channels, shard_channel};
use crate::config::{self, Configuration, LogLevel, LogSettings};
use crate::control::tests::{Page, exchange};
use crate::live::LiveSetup;
use crate::log::Log;
use crate::postgres::look;
use crate::{Attachments, Control};

struct Silent;

impl Bell for Silent {
    fn ring(&self) {}
}

/// A control thread with the rows of PostgreSQL and a shard that only takes commands.
struct Started {
    control: Control,
    snapshot: Arc<Snapshot>,
    page: Page,
    _shard: (ControlSender, crossbeam_channel::Receiver<ToShard>),
}

/// In a file, which a reload reads again.
fn configuration(url: &str, folder: &Folder) -> Configuration {
    std::fs::create_dir_all(&folder.0).unwrap();
    let file = folder.0.join("gateway.toml");
    let text = format!(
        "gateway.data_dir = {:?}\npostgres.url = \"{url}\"\nsmpp.listen = \"127.0.0.1:0\"
         control = {{ listen = \"127.0.0.1:0\", metrics_listen = \"127.0.0.1:0\" }}",
        folder.0
    );
    std::fs::write(&file, text).unwrap();
    config::load_with(&file, &|_| None).unwrap()
}

impl Started {
    fn with(configuration: &Configuration) -> Self {
        let opened = open(configuration).unwrap();
        let live = LiveSetup::of_postgres(configuration, configuration.postgres.as_ref().unwrap(), opened, 1);
        let snapshot = Arc::clone(&live.in_force.snapshot);
        let (to_shard, commands) = shard_channel();
        let (channels, sender) = control_channels(vec![ShardHandle { sender: to_shard, bell: Arc::new(Silent) }]);
        let page = Page::default();
        let log = Log::to(LogSettings { level: LogLevel::Info }, Box::new(page.clone())).unwrap();
        let control = Control::start_with_log(configuration, live, channels, log, Attachments::default()).unwrap();
        Self { control, snapshot, page, _shard: (sender, commands) }
    }

    /// The lines with these words, of which there are some in the end.
    fn lines(&self, words: &str) -> Vec<Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(self.control.log().flush(PATIENCE));
            let lines = self.page.lines();
            let found: Vec<Value> =
                lines.iter().filter(|line| line["message"].as_str().unwrap().contains(words)).cloned().collect();
            if !found.is_empty() {
                return found;
            }
            assert!(Instant::now() < until, "{lines:#?}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// `level table key column: message` of the lines of wrong rows, and that each says why.
    fn told(&self) -> Vec<String> {
        let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
        let mut told: Vec<String> = self
            .lines("a row is wrong")
            .iter()
            .map(|line| {
                assert!(!text(line, "reason").is_empty());
                let [level, table, key, column, message] =
                    ["level", "table", "key", "column", "message"].map(|key| text(line, key));
                format!("{level} {table} {key} {column}: {message}")
            })
            .collect();
        told.sort();
        told
    }
}

#[test]
fn a_row_that_became_wrong_while_nobody_was_there_starts_as_it_was_kept() {
    let (database, folder) = (fresh(), Folder::new("last-good"));
    let secret = keys().encrypt("secret12").unwrap();
    database.sql(&format!(
        "INSERT INTO messaging.vendors (instance_name, host, port, password) VALUES ('north', 'h', 1, '{secret}'),
             ('south', 'h', 2, ''), ('gone', 'h', 3, ''), ('west', 'h', 4, '');
         INSERT INTO messaging.routing_rules (id, vendor_id, dest_pattern)
             SELECT 77, id, '^44' FROM messaging.vendors WHERE instance_name = 'north'"
    ));
    let mut configuration = configuration(&database.url(), &folder);
    configuration.secrets = keys();
    let first = Started::with(&configuration);
    runtime().block_on(wait_until_kept(&configuration, 4));
    assert!(first.control.stop());
    let before = std::fs::read_to_string(folder.0.join("postgresql.kept")).unwrap();
    // One is not even readable, two are wrong among the others, one is gone, one was changed well, one never was good.
    database.sql(
        "UPDATE messaging.vendors SET port = 70000, password = 'enc:one:AAAA' WHERE instance_name = 'north';
         UPDATE messaging.vendors SET port = 0 WHERE instance_name = 'south';
         UPDATE messaging.vendors SET port = 5 WHERE instance_name = 'west';
         UPDATE messaging.routing_rules SET dest_pattern = '^(';
         DELETE FROM messaging.vendors WHERE instance_name = 'gone';
         INSERT INTO messaging.vendors (instance_name, host, port) VALUES ('new', 'h', 0)",
    );
    // As often as it starts.
    for _ in 0..2 {
        let again = Started::with(&configuration);
        let snapshot = &again.snapshot;
        assert_eq!(snapshot.version, 1);
        let mut vendors: Vec<_> =
            snapshot.vendors.iter().map(|it| (it.settings.instance_name.as_str(), it.settings.port)).collect();
        vendors.sort_unstable();
        assert_eq!(vendors, [("north", 1), ("south", 2), ("west", 5)]);
        assert_eq!(&*snapshot.vendor_by_name("north").unwrap().settings.password, "secret12");
        let stays = "a row is wrong, its last good version stays";
        let expected = [
            format!("WARN routing_rules 77 dest_pattern: {stays}"),
            "WARN vendors new port: a row is wrong and is left out".to_owned(),
            format!("WARN vendors north port: {stays}"),
            format!("WARN vendors south port: {stays}"),
        ];
        assert_eq!(again.told(), expected);
        again.lines("configuration read, nothing has changed");
        assert_eq!(again.told(), expected);
        runtime().block_on(wait_until_kept(&configuration, 3));
        assert!(again.control.stop());
        let kept = std::fs::read_to_string(folder.0.join("postgresql.kept")).unwrap();
        assert_eq!(kept.contains(&secret), before.contains(&secret));
        assert!(!kept.contains("secret12") && !kept.contains("AAAA"), "{kept}");
    }
}

#[test]
fn what_is_wrong_is_named_as_in_the_database() {
    let (database, folder) = (fresh(), Folder::new("names"));
    database.sql(&format!(
        "INSERT INTO messaging.vendors (instance_name, host, port) VALUES ('good', 'h', 1), ('zero', 'h', 0);
         INSERT INTO messaging.customer_sms_auth (account_id, auth_type, smpp_system_id, smpp_password_hash)
             VALUES ('a-1', 'SMPP', 'acme', 'secret12'), ('a-2', 'SMPP', 'bolt', '{HASH}');
         INSERT INTO messaging.routing_rules (id, vendor_id) SELECT 1, id FROM messaging.vendors WHERE instance_name = 'zero';
         INSERT INTO messaging.routing_rules (id, vendor_id, customer_id)
             SELECT 2, id, 'a-1' FROM messaging.vendors WHERE instance_name = 'good';
         INSERT INTO messaging.inbound_routes (did, smpp_system_id) VALUES ('4711', 'nobody');"
    ));
    let configuration = configuration(&database.url(), &folder);
    let started = Started::with(&configuration);
    started.lines("configuration read, nothing has changed");
    let mut told: Vec<String> = started
        .lines("a row is wrong")
        .iter()
        .map(|line| {
            let [table, key, column, reason] =
                ["table", "key", "column", "reason"].map(|name| line[name].as_str().unwrap());
            format!("{table} {key} {column} {reason}")
        })
        .collect();
    told.sort();
    let expected = [
        "customer_sms_auth acme smpp_password_hash is no bcrypt hash; make one with `smpp-gateway hash-password`",
        "inbound_routes 4711 smpp_system_id is \"nobody\", which no customer has; name one of the rows of customer_sms_auth",
        "routing_rules 1 vendor_id is that of the vendor \"zero\", which is left out; mend that vendor's row, or name another one",
        "routing_rules 2 customer_id is that of the customer \"acme\", which is left out; mend that customer's row, or name \
         another one",
        "vendors zero port is 0 or left out; give a port from 1 to 65535",
    ];
    assert_eq!(told, expected);
    let ask = |address, path: &str| exchange(address, &format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n"));
    let health = ask(started.control.control_address(), "/health");
    assert!(health.contains(r#""table":"customer_sms_auth","name":"acme""#), "{health}");
    let outcome = started.control.reload_handle().request().unwrap().blocking_recv().unwrap().unwrap();
    let mut tables: Vec<_> = outcome.faults.iter().map(|fault| fault.table).collect();
    tables.sort_unstable();
    assert_eq!(tables, ["customer_sms_auth", "inbound_routes", "routing_rules", "routing_rules", "vendors"]);
    let looked = look(&configuration, configuration.postgres.as_ref().unwrap()).unwrap();
    assert_eq!(looked.faults.iter().map(|fault| fault.table).collect::<Vec<_>>(), ["customer_sms_auth"]);
    // A series keeps its name wherever the rows are.
    let metrics = ask(started.control.metrics_address(), "/metrics");
    assert!(metrics.contains("smpp_gateway_configuration_faults{table=\"customers\"} 1"), "{metrics}");
}

#[test]
fn rows_that_are_wrong_at_a_start_are_told_once_and_as_left_out() {
    let (database, folder) = (fresh(), Folder::new("wrong"));
    database.sql(
        "INSERT INTO messaging.vendors (instance_name, host, port) VALUES ('good', 'h', 1), ('zero', 'h', 0),
             ('far', 'h', 70000);
         INSERT INTO messaging.routing_rules (id, vendor_id, dest_pattern)
             SELECT 77, id, '^(' FROM messaging.vendors WHERE instance_name = 'good'",
    );
    let started = Started::with(&configuration(&database.url(), &folder));
    let expected = [
        "WARN routing_rules 77 dest_pattern: a row is wrong and is left out",
        "WARN vendors far port: a row is wrong and is left out",
        "WARN vendors zero port: a row is wrong and is left out",
    ];
    assert_eq!(started.told(), expected);
    // The first reading over the connection that is listened on.
    assert_eq!(started.lines("configuration read, nothing has changed")[0]["faults"], 3);
    assert_eq!(started.told(), expected);
    database.sql("UPDATE messaging.vendors SET port = 0 WHERE instance_name = 'good'");
    started.lines("its last good version stays");
    assert_eq!(started.told().last().unwrap(), "WARN vendors zero port: a row is wrong and is left out");
    assert!(started.told().contains(&"WARN vendors good port: a row is wrong, its last good version stays".to_owned()));
}
