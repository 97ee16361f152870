//! A start with rows that are wrong: what is in force, and what is told of it.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use super::away::{Folder, PATIENCE, open};
use super::fresh;
use crate::channel::{Bell, ControlSender, ShardHandle, ToShard, control_channels, shard_channel};
use crate::config::{self, Configuration, LogLevel, LogSettings};
use crate::control::tests::Page;
use crate::live::LiveSetup;
use crate::log::Log;
use crate::{Attachments, Control};

struct Silent;

impl Bell for Silent {
    fn ring(&self) {}
}

/// A control thread with the rows of PostgreSQL and a shard that only takes commands.
struct Started {
    control: Control,
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
        let (to_shard, commands) = shard_channel();
        let (channels, sender) = control_channels(vec![ShardHandle { sender: to_shard, bell: Arc::new(Silent) }]);
        let page = Page::default();
        let log = Log::to(LogSettings { level: LogLevel::Info }, Box::new(page.clone())).unwrap();
        let control = Control::start_with_log(configuration, live, channels, log, Attachments::default()).unwrap();
        Self { control, page, _shard: (sender, commands) }
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
