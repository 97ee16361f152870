//! Changes that are told, and a server that is absent, stopped, slow, silent, full or lets nobody in, with a reloader of the
//! test's own.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::server::{Database, Proxy, Server};
use super::{fresh, migrated, runtime};
use crate::config::{self, Configuration, LogLevel, LogSettings};
use crate::live::{Loaded, ReloadError, ReloadHandle, ReloadRequest, Reloaded};
use crate::log::Log;
use crate::postgres::health::VendorHealth;
use crate::postgres::source::Opened;
use crate::postgres::{self, PostgresSource};
use crate::service::Service;
use crate::vendor_table::VendorTable;

pub(super) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A folder that goes at the end.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("smpp-away-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn configuration(url: &str, folder: &Folder, keys: &str) -> Configuration {
    let text = format!("[gateway]\ndata_dir = {:?}\n[postgres]\nurl = \"{url}\"\n{keys}\n", folder.0);
    config::parse(std::path::Path::new("test.toml"), &text, &|_| None).unwrap()
}

pub(super) fn open(configuration: &Configuration) -> Result<Opened, postgres::PostgresError> {
    postgres::open(configuration, configuration.postgres.as_ref().unwrap())
}

/// PostgreSQL minded as in the gateway, and everything that was reloaded.
pub(super) struct Bench {
    pub(super) service: Arc<Service>,
    pub(super) vendors: Arc<dyn VendorTable>,
    source: PostgresSource,
    page: Page,
    log: Log,
    reloads: mpsc::UnboundedReceiver<Result<Loaded, ReloadError>>,
    pub(super) health: Arc<Mutex<Vec<VendorHealth>>>,
    /// How often that was asked for.
    looks: Arc<AtomicU64>,
}

impl Bench {
    pub(super) fn start(configuration: &Configuration, opened: Opened) -> Self {
        let (source, minder) = postgres::source(configuration, configuration.postgres.as_ref().unwrap(), opened);
        let (service, vendors, page) = (minder.service(), minder.vendor_table(), Page::default());
        let log = Log::to(LogSettings { level: LogLevel::Info }, Box::new(page.clone())).unwrap();
        let (reload, requests) = ReloadHandle::new();
        let (teller, reloads) = mpsc::unbounded_channel();
        tokio::spawn(reloader(source.clone(), requests, teller));
        let health = Arc::new(Mutex::new(Vec::new()));
        let looks = Arc::new(AtomicU64::new(0));
        let (now, count) = (Arc::clone(&health), Arc::clone(&looks));
        let told = move || {
            count.fetch_add(1, Ordering::Relaxed);
            now.lock().unwrap().clone()
        };
        minder.start(reload, Box::new(told), log.clone());
        Self { service, vendors, source, page, log, reloads, health, looks }
    }

    /// The next reload that was possible.
    pub(super) async fn reloaded(&mut self) -> Loaded {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.reloads.recv()).await;
            if let Ok(loaded) = next.expect("a reload in time").unwrap() {
                return loaded;
            }
        }
    }

    /// Waits until the service counts as away, or as there.
    pub(super) async fn wait_until_away(&self, is_away: bool) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let complaint = self.service.complaint();
            if complaint.is_some() == is_away {
                return complaint.unwrap_or_default();
            }
            assert!(Instant::now() < until, "{complaint:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the vendors' health has been asked for that often from now on.
    pub(super) async fn wait_for_looks(&self, more: u64) {
        let (wanted, until) = (self.looks.load(Ordering::Relaxed) + more, Instant::now() + PATIENCE);
        while self.looks.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < until);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) fn said(&self) -> String {
        assert!(self.log.flush(PATIENCE));
        String::from_utf8(self.page.0.lock().unwrap().clone()).unwrap()
    }
}

async fn reloader(
    source: PostgresSource,
    mut requests: mpsc::Receiver<ReloadRequest>,
    teller: mpsc::UnboundedSender<Result<Loaded, ReloadError>>,
) {
    while let Some(request) = requests.recv().await {
        let outcome = source.read().await.map_err(|error| ReloadError::Source(error.to_string()));
        let reloaded = outcome.clone().map(|loaded| {
            source.keep(&loaded.faults);
            Reloaded { version: 1, is_changed: true, faults: loaded.faults }
        });
        let _ = request.outcome.send(reloaded);
        let _ = teller.send(outcome);
    }
}

pub(super) fn add(database: &Database<'_>, name: &str) {
    database.sql(&format!("INSERT INTO messaging.vendors (instance_name, host, port) VALUES ('{name}', 'h', 1)"));
}

/// Waits until that stands in the database.
pub(super) async fn wait_until_read(wanted: &str, read: impl Fn() -> String) {
    let until = Instant::now() + PATIENCE;
    while read() != wanted {
        assert!(Instant::now() < until, "{}", read());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the kept file holds so many vendors.
pub(super) async fn wait_until_kept(configuration: &Configuration, vendors: usize) {
    let until = Instant::now() + PATIENCE;
    loop {
        let kept = postgres::kept::Kept::read(&configuration.gateway.data_dir);
        if kept.as_ref().is_ok_and(|kept| kept.tables.rows[1].len() == vendors) {
            return;
        }
        assert!(Instant::now() < until, "{:?}", kept.err());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_change_is_told_and_a_burst_of_them_is_one_reload() {
    let (database, folder) = (fresh(), Folder::new("burst"));
    let proxy = Proxy::before(Server::shared().address());
    let configuration = configuration(&database.url_at(proxy.address), &folder, "");
    let opened = open(&configuration).unwrap();
    runtime().block_on(async {
        let mut bench = Bench::start(&configuration, opened);
        assert_eq!(bench.reloaded().await.keys.vendors, Vec::<String>::new());
        // All at once, however long the commits take.
        proxy.silence(true);
        database.sql(
            "DO $$ BEGIN FOR i IN 1..500 LOOP
                 INSERT INTO messaging.vendors (instance_name, host, port) VALUES ('v' || i, 'h', 1);
                 IF i % 50 = 0 THEN COMMIT; END IF;
             END LOOP; END $$",
        );
        proxy.silence(false);
        let mut count = 1;
        while bench.reloaded().await.keys.vendors.len() < 500 {
            count += 1;
        }
        assert!(count <= 2, "ten commits are {count} reloads");
        database.sql("UPDATE messaging.vendors SET port = 2 WHERE instance_name = 'v7'");
        let loaded = bench.reloaded().await;
        let place = loaded.keys.vendors.iter().position(|key| key == "v7").unwrap();
        assert_eq!(loaded.settings.vendors[place].port, 2);
        database.sql("DELETE FROM messaging.vendors");
        assert_eq!(bench.reloaded().await.keys.vendors.len(), 0);
    });
}

#[test]
fn without_notifications_the_tables_are_read_again_all_the_same() {
    let (database, folder) = (fresh(), Folder::new("reread"));
    database.sql("ALTER TABLE messaging.vendors DISABLE TRIGGER USER");
    let configuration = configuration(&database.url(), &folder, "reread_seconds = 1");
    let opened = open(&configuration).unwrap();
    runtime().block_on(async {
        let mut bench = Bench::start(&configuration, opened);
        bench.reloaded().await;
        add(&database, "quiet");
        while bench.reloaded().await.keys.vendors != ["quiet"] {}
    });
}

#[test]
fn without_a_server_a_start_takes_what_is_kept_and_without_that_nothing() {
    let server = Server::start();
    let (database, folder) = (server.database(), Folder::new("absent"));
    migrated(&database);
    add(&database, "north");
    let secret = super::keys().encrypt("secret12").unwrap();
    database.sql(&format!("UPDATE messaging.vendors SET password = '{secret}'"));
    let mut configuration = configuration(&database.url(), &folder, "");
    configuration.secrets = super::keys();
    let opened = open(&configuration).unwrap();
    assert!(opened.stale.is_none());
    runtime().block_on(async {
        let mut bench = Bench::start(&configuration, opened);
        bench.reloaded().await;
        wait_until_kept(&configuration, 1).await;
    });
    let kept = std::fs::read_to_string(folder.0.join("postgresql.kept")).unwrap();
    assert!(kept.contains(&secret) && !kept.contains("secret12"), "{kept}");
    server.stop();
    let opened = open(&configuration).unwrap();
    assert!(opened.stale.is_some());
    assert_eq!(opened.loaded.keys.vendors, ["north"]);
    assert_eq!(&*opened.loaded.settings.vendors[0].password, "secret12");
    runtime().block_on(async {
        let mut bench = Bench::start(&configuration, opened);
        let complaint = bench.wait_until_away(true).await;
        assert!(complaint.contains("the configuration kept at 20"), "{complaint}");
        server.start_again();
        add(&database, "south");
        assert_eq!(bench.reloaded().await.keys.vendors, ["north", "south"]);
        bench.wait_until_away(false).await;
        wait_until_kept(&configuration, 2).await;
    });
    std::fs::write(folder.0.join("postgresql.kept"), "torn").unwrap();
    server.stop();
    let error = open(&configuration).err().unwrap().to_string();
    assert!(error.contains("away") && error.contains("damaged"), "{error}");
    std::fs::remove_file(folder.0.join("postgresql.kept")).unwrap();
    let error = open(&configuration).err().unwrap().to_string();
    assert!(error.contains("away") && !error.contains("damaged"), "{error}");
}

#[test]
fn a_server_that_is_stopped_and_started_is_told_and_read_again() {
    let server = Server::start();
    let (database, folder) = (server.database(), Folder::new("restart"));
    migrated(&database);
    let configuration = configuration(&database.url(), &folder, "");
    let opened = open(&configuration).unwrap();
    runtime().block_on(async {
        let mut bench = Bench::start(&configuration, opened);
        bench.reloaded().await;
        server.stop();
        let complaint = bench.wait_until_away(true).await;
        assert!(complaint.contains("PostgreSQL is away"), "{complaint}");
        let error = bench.source.read().await.unwrap_err();
        assert!(matches!(error, postgres::PostgresError::Away(_)), "at once, and not after a timeout: {error}");
        server.start_again();
        add(&database, "north");
        assert_eq!(bench.reloaded().await.keys.vendors, ["north"]);
        bench.wait_until_away(false).await;
        let said = bench.said();
        assert!(said.contains("PostgreSQL is away") && said.contains("PostgreSQL is back"), "{said}");
    });
}

#[test]
fn a_server_that_takes_a_second_for_each_answer_is_told_and_used_all_the_same() {
    let (database, folder) = (fresh(), Folder::new("slow"));
    let proxy = Proxy::before(Server::shared().address());
    let configuration = configuration(&database.url_at(proxy.address), &folder, "");
    let opened = open(&configuration).unwrap();
    runtime().block_on(async {
        let mut bench = Bench::start(&configuration, opened);
        bench.reloaded().await;
        proxy.delay(Duration::from_secs(1));
        let complaint = bench.wait_until_away(true).await;
        assert!(complaint.contains("answers slowly"), "{complaint}");
        add(&database, "north");
        while bench.reloaded().await.keys.vendors != ["north"] {}
        // Connected to anew it is just as slow.
        proxy.cut();
        add(&database, "south");
        while bench.reloaded().await.keys.vendors != ["north", "south"] {}
        proxy.delay(Duration::ZERO);
        bench.wait_until_away(false).await;
    });
}

/// A role that is no superuser, with what the gateway needs, and the URL that it connects with.
pub(super) fn role(database: &Database<'_>) -> (String, String) {
    let role = format!("role_{}", database.name);
    database.sql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'right';
         GRANT USAGE ON SCHEMA messaging TO {role};
         GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA messaging TO {role}"
    ));
    let url = format!("postgres://{role}:right@{}/{}", Server::shared().address(), database.name);
    (role, url)
}

/// A server that breaks the gateway's connection and takes no new one after `shut`, is told of with those words, and is
/// found again after `open_again`.
fn let_nobody_in(name: &str, shut: &str, words: &str, open_again: &str) {
    let (database, folder) = (fresh(), Folder::new(name));
    let (role, url) = role(&database);
    let configuration = configuration(&url, &folder, "");
    let opened = open(&configuration).unwrap();
    runtime().block_on(async {
        let mut bench = Bench::start(&configuration, opened);
        bench.reloaded().await;
        database.sql(&format!("ALTER ROLE {role} {shut}"));
        database.sql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"));
        let until = Instant::now() + PATIENCE;
        loop {
            let complaint = bench.wait_until_away(true).await;
            if complaint.contains(words) {
                break;
            }
            assert!(Instant::now() < until, "{complaint}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        add(&database, "north");
        database.sql(&format!("ALTER ROLE {role} {open_again}"));
        while bench.reloaded().await.keys.vendors != ["north"] {}
        bench.wait_until_away(false).await;
        assert!(!bench.said().contains("right"), "no password in the log");
    });
}

#[test]
fn a_server_without_a_connection_to_spare_is_told_and_found_again() {
    let_nobody_in("slots", "CONNECTION LIMIT 0", "too many connections", "CONNECTION LIMIT -1");
}

#[test]
fn a_server_that_refuses_the_password_is_told_and_found_again() {
    let_nobody_in("password", "PASSWORD 'other'", "password authentication failed", "PASSWORD 'right'");
}

#[test]
fn a_server_with_a_full_disk_is_told_and_written_to_once_there_is_room() {
    let (database, folder) = (fresh(), Folder::new("full"));
    add(&database, "north");
    // As a server answers whose disk is full.
    database.sql(
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
         CREATE TRIGGER no_room BEFORE UPDATE ON messaging.vendors FOR EACH ROW EXECUTE FUNCTION no_room()",
    );
    let configuration = configuration(&database.url(), &folder, "");
    let opened = open(&configuration).unwrap();
    runtime().block_on(async {
        let mut bench = Bench::start(&configuration, opened);
        bench.reloaded().await;
        let vendor = VendorHealth { instance_name: "north".into(), health_status: "healthy", last_bind_time: None };
        *bench.health.lock().unwrap() = vec![vendor];
        let complaint = bench.wait_until_away(true).await;
        assert!(complaint.contains("No space left on device"), "{complaint}");
        // What is read goes on.
        database.sql("INSERT INTO messaging.vendors (instance_name, host, port) VALUES ('south', 'h', 1)");
        while bench.reloaded().await.keys.vendors != ["north", "south"] {}
        database.sql("DROP TRIGGER no_room ON messaging.vendors");
        bench.wait_until_away(false).await;
        let written = || database.sql("SELECT health_status FROM messaging.vendors WHERE instance_name = 'north'");
        wait_until_read("healthy", written).await;
        let said = bench.said();
        assert_eq!(said.matches("PostgreSQL has no room").count(), 1, "{said}");
        assert!(said.contains("vendors' health is written again"), "{said}");
    });
}

#[test]
fn a_server_that_falls_silent_is_told_and_left_and_found_again() {
    let (database, folder) = (fresh(), Folder::new("silent"));
    let proxy = Proxy::before(Server::shared().address());
    let configuration = configuration(
        &database.url_at(proxy.address),
        &folder,
        "statement_timeout_ms = 1000\nconnect_timeout_ms = 2000",
    );
    let opened = open(&configuration).unwrap();
    runtime().block_on(async {
        let mut bench = Bench::start(&configuration, opened);
        bench.reloaded().await;
        proxy.silence(true);
        let complaint = bench.wait_until_away(true).await;
        assert!(complaint.contains("answer"), "{complaint}");
        // Left for good, so that what is asked of it now is refused and does not wait.
        let until = Instant::now() + PATIENCE;
        while !bench.said().contains("PostgreSQL is away") {
            assert!(Instant::now() < until);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(bench.source.read().await.is_err());
        proxy.silence(false);
        proxy.cut();
        add(&database, "north");
        while bench.reloaded().await.keys.vendors != ["north"] {}
        bench.wait_until_away(false).await;
    });
}

#[test]
fn a_plain_password_is_said_once() {
    let (database, folder) = (fresh(), Folder::new("plain"));
    add(&database, "north");
    database.sql("UPDATE messaging.vendors SET password = '87654321'");
    let configuration = configuration(&database.url(), &folder, "");
    let opened = open(&configuration).unwrap();
    runtime().block_on(async {
        let mut bench = Bench::start(&configuration, opened);
        bench.reloaded().await;
        for name in ["south", "west"] {
            add(&database, name);
            bench.reloaded().await;
        }
        assert_eq!(bench.said().matches("stand in plain text").count(), 1, "{}", bench.said());
        assert!(!bench.said().contains("87654321"));
    });
}
