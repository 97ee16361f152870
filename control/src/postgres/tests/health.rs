//! Vendors' health on its way to the table, and a table that does not take it.

use std::time::{Duration, Instant};

use super::away::{Bench, Folder, PATIENCE, add, configuration, open, role, wait_until_read};
use super::{fresh, runtime, with_older_table};
use crate::postgres::connect::Connection;
use crate::postgres::health::{Ledger, Refusal, VendorHealth};

#[test]
fn health_is_written_back_and_tells_nobody_of_a_change() {
    let (database, folder) = (fresh(), Folder::new("health"));
    add(&database, "north");
    add(&database, "south");
    let configuration = configuration(&database.url(), &folder, "reread_seconds = 86400");
    let opened = open(&configuration).unwrap();
    runtime().block_on(async {
        let mut bench = Bench::start(&configuration, opened);
        bench.reloaded().await;
        let told = |name: &str, health_status, last_bind_time| VendorHealth {
            instance_name: name.into(),
            health_status,
            last_bind_time,
        };
        *bench.health.lock().unwrap() =
            vec![told("north", "healthy", Some(1_700_000_000.0)), told("south", "unhealthy", None)];
        let read = || {
            database.sql(
                "SELECT instance_name, health_status, extract(epoch FROM last_bind_time)::bigint
                   FROM messaging.vendors ORDER BY 1",
            )
        };
        let wanted = "north|healthy|1700000000\nsouth|unhealthy|";
        wait_until_read(wanted, read).await;
        // Had the update been told, its reload would stand before this one.
        add(&database, "west");
        assert_eq!(bench.reloaded().await.keys.vendors, ["north", "south", "west"]);
    });
}

/// Health that cannot be written after `shut`: how often the log says so in those words, and of what the service complains.
fn refused_health(name: &str, shut: &str, words: &str) -> (usize, Option<String>) {
    let (database, folder) = (fresh(), Folder::new(name));
    let (role, url) = role(&database);
    database.sql(&shut.replace("ROLE", &role));
    add(&database, "north");
    let configuration = configuration(&url, &folder, "");
    let opened = open(&configuration).unwrap();
    runtime().block_on(async {
        let mut bench = Bench::start(&configuration, opened);
        bench.reloaded().await;
        *bench.health.lock().unwrap() = vec![healthy("north")];
        let until = Instant::now() + PATIENCE;
        while !bench.said().contains(words) {
            assert!(Instant::now() < until, "{}", bench.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bench.health.lock().unwrap()[0].health_status = "degraded";
        bench.wait_for_looks(3).await;
        // Rows are read as ever.
        add(&database, "south");
        while bench.reloaded().await.keys.vendors != ["north", "south"] {}
        (bench.said().matches(words).count(), bench.service.complaint())
    })
}

fn healthy(name: &str) -> VendorHealth {
    VendorHealth { instance_name: name.into(), health_status: "healthy", last_bind_time: None }
}

#[test]
fn health_that_may_not_be_written_is_said_once_and_degrades_and_harms_nothing() {
    let revoked = "REVOKE UPDATE ON messaging.vendors FROM ROLE";
    let (said, complaint) = refused_health("revoked", revoked, "health cannot be written; grant UPDATE");
    let complaint = complaint.unwrap();
    assert!(complaint.contains("grant UPDATE") && complaint.contains("permission denied"), "{complaint}");
    assert_eq!(said, 1);
}

#[test]
fn a_relation_without_columns_for_health_is_said_once_and_is_no_degradation() {
    let other = "ALTER TABLE messaging.vendors RENAME COLUMN health_status TO other";
    assert_eq!(refused_health("columns", other, "health cannot be written: no columns"), (1, None));
}

#[test]
fn refused_health_is_tried_again_with_each_round_and_then_written_as_a_whole() {
    let database = fresh();
    let (role, url) = role(&database);
    add(&database, "north");
    add(&database, "south");
    let settings = super::settings(&url);
    runtime().block_on(async {
        let connection = Connection::open(&settings, false).await.unwrap();
        let (mut ledger, start) = (Ledger::default(), Instant::now());
        let mut write = async |names: &[&str], seconds| {
            let vendors = names.iter().map(|name| healthy(name)).collect();
            let now = start + Duration::from_secs(seconds);
            ledger.write(&connection, "messaging.vendors", vendors, now).await.unwrap()
        };
        let read = || database.sql("SELECT instance_name, health_status FROM messaging.vendors ORDER BY 1");
        assert!(write(&["north"], 0).await.is_none());
        // Somebody else's; it is news to no connection.
        database.sql("UPDATE messaging.vendors SET health_status = 'unknown'");
        database.sql(&format!("REVOKE UPDATE ON messaging.vendors FROM {role}"));
        assert!(matches!(write(&["north", "south"], 1).await, Some(Refusal::Lasting(_))));
        database.sql(&format!("GRANT UPDATE ON messaging.vendors TO {role}"));
        assert!(matches!(write(&["north", "south"], 30).await, Some(Refusal::Lasting(_))), "it is not asked yet");
        assert_eq!(read(), "north|unknown\nsouth|unknown");
        assert!(write(&["north", "south"], 31).await.is_none());
        assert_eq!(read(), "north|healthy\nsouth|healthy");
        assert!(write(&["north", "south"], 32).await.is_none());
    });
}

#[test]
fn the_view_of_an_older_table_may_have_no_columns_for_health() {
    let database = with_older_table();
    let settings = super::settings(&database.url());
    runtime().block_on(async {
        let connection = Connection::open(&settings, false).await.unwrap();
        let vendors = vec![healthy("north")];
        let relation = "messaging.vendor_connectors_as_vendors";
        let refused = Ledger::default().write(&connection, relation, vendors, Instant::now()).await.unwrap();
        assert!(matches!(refused, Some(Refusal::NoColumns(_))), "{refused:?}");
    });
}
