//! Passwords written anew under the newest key.

use std::path::Path;

use super::server::Server;
use super::{fresh, keys, migrated, runtime, settings};
use crate::config;
use crate::postgres::{Rotated, rotate_keys};
use crate::secrets::KeyRing;

#[test]
fn passwords_are_encrypted_under_the_newest_key_and_what_cannot_be_stays() {
    let database = fresh();
    let old = keys();
    let newer = KeyRing::parse(&format!("one:{}\ntwo:{}", "A".repeat(43) + "=", "B".repeat(42) + "A=")).unwrap();
    let (under_old, under_new) = (old.encrypt("a").unwrap(), newer.encrypt("b").unwrap());
    database.sql(&format!(
        "INSERT INTO messaging.vendors (instance_name, port, password) VALUES ('old', 1, '{under_old}'),
             ('new', 1, '{under_new}'), ('plain', 1, 'c'), ('none', 1, ''), ('torn', 1, 'enc:one:AAAA')"
    ));
    let rotated = runtime().block_on(rotate_keys(&settings(&database.url()), &newer)).unwrap();
    assert_eq!((rotated.encrypted, rotated.left, rotated.failed.len()), (2, 2, 1));
    assert_eq!(rotated.failed[0].0, "torn");
    let read =
        |name: &str| database.sql(&format!("SELECT password FROM messaging.vendors WHERE instance_name = '{name}'"));
    for (name, plain) in [("old", "a"), ("new", "b"), ("plain", "c")] {
        assert!(newer.is_newest(&read(name)), "{name}");
        assert_eq!(newer.decrypt(&read(name)).as_deref(), Ok(plain));
    }
    assert_eq!((read("none").as_str(), read("torn").as_str()), ("", "enc:one:AAAA"));
}

#[test]
fn passwords_of_providers_that_are_not_smpp_stay_in_the_table_and_behind_its_view() {
    let database = Server::shared().database();
    let old = keys();
    let under_old = old.encrypt("a").unwrap();
    let newer = KeyRing::parse(&format!("one:{}\ntwo:{}", "A".repeat(43) + "=", "B".repeat(42) + "A=")).unwrap();
    database.sql(
        "CREATE SCHEMA vendor_mgmt;
         CREATE TABLE vendor_mgmt.service_providers (id serial, instance_name text, provider_type text, host text,
             port integer, password text);",
    );
    migrated(&database);
    database.sql("ALTER TABLE messaging.vendors ALTER COLUMN provider_type DROP NOT NULL");
    let rows = |relation: &str| {
        database.sql(&format!(
            "INSERT INTO {relation} (instance_name, provider_type, host, port, password) VALUES
                 ('plain', 'SMPP', 'h', 1, 'c'), ('old', NULL, 'h', 1, '{under_old}'),
                 ('mail', 'smtp', 'h', 1, 'd'), ('push', 'http', 'h', 1, '{under_old}'), ('torn', 'smtp', 'h', 1, 'enc:x')"
        ));
    };
    rows("messaging.vendors");
    rows("vendor_mgmt.service_providers");
    let view = "vendors_relation = \"messaging.service_providers_as_vendors\"";
    let text = format!("[postgres]\nurl = \"{}\"\n{view}\n", database.url());
    let older = config::parse(Path::new("test.toml"), &text, &|_| None).unwrap().postgres.unwrap();
    for (settings, relation) in
        [(settings(&database.url()), "messaging.vendors"), (older, "vendor_mgmt.service_providers")]
    {
        let rotated = runtime().block_on(rotate_keys(&settings, &newer)).unwrap();
        assert_eq!(rotated, Rotated { encrypted: 2, left: 0, failed: Vec::new() }, "{relation}");
        let read =
            |name: &str| database.sql(&format!("SELECT password FROM {relation} WHERE instance_name = '{name}'"));
        for (name, plain) in [("plain", "c"), ("old", "a")] {
            assert!(newer.is_newest(&read(name)), "{relation} {name}");
            assert_eq!(newer.decrypt(&read(name)).as_deref(), Ok(plain));
        }
        let others = ["mail", "push", "torn"].map(read);
        assert_eq!(others, ["d", under_old.as_str(), "enc:x"], "{relation}");
    }
}
