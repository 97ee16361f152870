//! The control port through the eyes of others: schemathesis with the port's own document, Chromium with its page, and
//! `smpp-gateway top`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::harness::bench::clean_load;
use crate::harness::folder::Folder;
use crate::harness::setup::free_address;
use crate::harness::{Gateway, Setup, Shards, ask_until, smsc, with_one_shard_and_with_two};
use crate::postgres::server::Server;
use crate::postgres::usual_rows;
use crate::vendor_writes::with_key;

with_one_shard_and_with_two![the_page_shows_vendors_and_customers, top_prints_the_picture_once];

/// Where `make test-packages` has installed it.
fn schemathesis() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("interop").join("python/bin/schemathesis");
    assert!(path.exists(), "{} is not there: run `make test-packages`", path.display());
    path
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn every_call_is_as_the_document_says() {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(Shards::Two, vendor.address()).control("token = \"abc123\"").start();
    check_calls(&gateway, "schemathesis.toml", &[]);
    gateway.end_well();
}

#[test]
fn every_change_of_vendors_in_postgresql_is_as_the_document_says() {
    let (database, vendor) = (Server::shared().database(), smsc(&[]));
    usual_rows(&database, vendor.address());
    // Whatever is made up, nobody but this machine is called.
    database.sql(
        "CREATE FUNCTION stay_here() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN NEW.host := '127.0.0.1'; NEW.is_active := NEW.instance_name = 'north'; RETURN NEW; END $$;
         CREATE TRIGGER stay_here BEFORE INSERT OR UPDATE ON messaging.vendors FOR EACH ROW EXECUTE FUNCTION stay_here();",
    );
    let gateway = with_key(Shards::Two, &database.url()).control("token = \"abc123\"").start();
    check_calls(&gateway, "schemathesis_vendors.toml", &["--include-path-regex", "^/api/v1/vendors"]);
    gateway.end_well();
}

/// Calls what the gateway's own document describes, and checks that the answers are as it says.
fn check_calls(gateway: &Gateway, settings: &str, options: &[&str]) {
    let folder = Folder::new();
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(settings);
    let output = Command::new(schemathesis())
        .current_dir(folder.path())
        .args(["--config-file", settings.to_str().unwrap(), "run"])
        .arg(format!("http://{}/api/v1/openapi.json", gateway.ports.control))
        .args(["--header", "Authorization: Bearer abc123", "--phases", "coverage,fuzzing", "--max-examples", "4"])
        .args(options)
        .args(["--seed", "1", "--workers", "1", "--no-color", "--warnings", "off", "--request-timeout", "30"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

/// The page as Chromium has it after some turns.
fn page(gateway: &Gateway) -> String {
    let folder = Folder::new();
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--virtual-time-budget=5000"])
        .arg(format!("--user-data-dir={}", folder.path().display()))
        .args(["--dump-dom", &format!("http://{}/", gateway.ports.control)])
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("chromium ({error}): run `make test-packages`"));
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn the_page_shows_vendors_and_customers(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(shards, vendor.address()).vendor("<b>south", free_address(), "").start();
    clean_load(gateway.address(), &["--count", "321"]);
    gateway.wait_for_metric("sms_sent_per_customer", &["acme"], |count| count == 321.0);
    let page = page(&gateway);
    for shown in [
        "<td>north</td><td class=\"text good\">connected</td><td>1 of 1</td>",
        "<td>&lt;b&gt;south</td><td class=\"text bad\">disconnected</td>",
        "<td>acme</td>",
        "<td>321</td>",
        "<div id=\"picture\">",
        "vendor &lt;b&gt;south is not bound",
    ] {
        assert!(page.contains(shown), "{shown} is not in the page:\n{page}");
    }
    gateway.end_well();
}

#[test]
fn the_page_asks_for_the_token_where_one_is_set() {
    let gateway = Setup::new(Shards::One).control("token = \"abc123\"").customer("acme", "").start_without_vendors();
    let page = page(&gateway);
    assert!(page.contains("<form id=\"login\" class=\"card bar\">"), "the form is shown:\n{page}");
    assert!(page.contains("<div id=\"picture\" hidden=\"\">") && !page.contains("acme"));
    gateway.end_well();
}

fn top(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_smpp-gateway")).arg("top").args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn top_prints_the_picture_once(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(shards, vendor.address()).control("token = \"abc123\"").start();
    clean_load(gateway.address(), &["--count", "100"]);
    let url = format!("http://{}", gateway.ports.control);
    let token = gateway.folder.write("token", "abc123\n");
    let printed = ask_until("a picture with all messages", || {
        let output = top(&["--url", &url, "--token-file", token.to_str().unwrap(), "--once"]);
        assert!(output.status.success(), "{}", text(&output));
        text(&output).contains(" 100 accepted").then(|| text(&output))
    });
    assert!(printed.contains("\nVENDOR ") && printed.contains("north   connected"), "{printed}");
    let without = top(&["--url", &url, "--once"]);
    assert!(!without.status.success() && text(&without).contains("wants its token"), "{}", text(&without));
    gateway.end_well();
}

#[test]
fn top_says_what_is_wrong_when_nobody_answers() {
    let address = free_address().to_string();
    let output = top(&["--url", &format!("http://{address}"), "--once"]);
    assert!(!output.status.success());
    let said = text(&output);
    assert!(said.contains(&address) && said.contains("does not answer"), "{said}");
}
