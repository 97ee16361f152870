//! The configuration changed while the gateway runs: what comes into force, what stays, and whom it does not disturb.

use rustix::process::Signal;
use smpp_pdu::{CommandId, CommandStatus};

use crate::harness::setup::PASSWORD;
use crate::harness::{
    Esme, Gateway, Setup, Shards, Vendor, ask_until, assert_goes_to, to, with_one_shard_and_with_two,
};

with_one_shard_and_with_two![
    a_vendor_that_is_added_gets_messages,
    a_limit_changes_in_place_and_nobody_is_bound_anew,
    a_removed_vendor_is_unbound_while_another_one_goes_on,
    messages_that_wait_for_a_removed_vendor_go_to_the_next_one,
    a_changed_password_binds_that_vendor_anew_and_no_other,
    a_wrong_row_keeps_its_last_good_version_until_it_is_right,
    authorities_that_cannot_be_read_keep_their_vendor_as_it_was,
    a_file_that_is_not_toml_changes_nothing,
    a_file_that_was_cut_changes_nothing,
    a_customer_that_is_added_binds_and_a_removed_one_is_unbound,
    what_needs_a_restart_is_said_and_left_as_it_is,
];

/// A gateway whose file is written again and again.
struct Live {
    gateway: Gateway,
    head: String,
    version: u64,
}

impl Live {
    fn launch(shards: Shards, rows: &[&str]) -> Self {
        let setup = Setup::new(shards);
        let head = setup.text();
        Self { gateway: setup.rows(&rows.concat()).launch(), head, version: 1 }
    }

    fn reload_text(&self, text: &str) {
        self.gateway.folder.write("gateway.toml", text);
        self.gateway.signal(Signal::HUP);
    }

    /// Another version, in force on every shard when this returns.
    fn reload(&mut self, rows: &[&str]) {
        self.reload_text(&format!("{}{}", self.head, rows.concat()));
        self.version += 1;
        self.wait_in_force();
    }

    fn wait_in_force(&self) {
        ask_until("the version in force on every shard", || {
            let health = self.health();
            let shards = health["shards"].as_array()?.clone();
            shards.iter().all(|shard| shard["snapshot_version"] == self.version).then_some(())
        });
    }

    fn health(&self) -> serde_json::Value {
        serde_json::from_str(&self.gateway.get("/health").1).unwrap()
    }

    /// What is wrong with the configuration, as `/health` tells it.
    fn faults(&self) -> Vec<(String, String, String)> {
        let health = self.health();
        let parts = health["degraded"].as_array().unwrap().iter().filter(|part| part["part"] == "configuration");
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        parts.map(|part| (text(&part["table"]), text(&part["name"]), text(&part["reason"]))).collect()
    }
}

fn customer(name: &str) -> String {
    format!(
        "[[customers]]\nsmpp_system_id = {name:?}\nsmpp_password = {PASSWORD:?}\nallowed_source_addresses = [\"*\"]\n"
    )
}

fn vendor(name: &str, vendor: &Vendor, keys: &str) -> String {
    let port = vendor.address().port();
    format!(
        "[[vendors]]\ninstance_name = {name:?}\nhost = \"127.0.0.1\"\nport = {port}\nusername = \"gateway\"\n{keys}\n"
    )
}

fn rule(dest_pattern: &str, vendor: &str, priority: u32) -> String {
    format!("[[routing_rules]]\ndest_pattern = {dest_pattern:?}\nvendor = {vendor:?}\npriority = {priority}\n")
}

/// The next PDU is unbind; it is answered, and the connection ends.
fn assert_unbound(wire: &mut crate::harness::Wire) {
    let unbind = wire.expect(CommandId::UNBIND);
    wire.send_header(CommandId::UNBIND_RESP, CommandStatus::ESME_ROK, unbind.sequence);
    wire.expect_end();
}

fn a_vendor_that_is_added_gets_messages(shards: Shards) {
    let (north, south) = (Vendor::listen(), Vendor::listen());
    let rows = [&customer("acme"), &vendor("north", &north, ""), &rule("^1", "north", 1)];
    let mut live = Live::launch(shards, &rows.map(String::as_str));
    let mut link = north.accept_bound();
    live.gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&live.gateway, "acme");
    assert_eq!(esme.submitted(&to(b"44")).status, CommandStatus::ESME_RINVDSTADR);
    let (other, second) = (vendor("south", &south, ""), rule("^44", "south", 1));
    live.reload(&[&rows.map(String::as_str)[..], &[&other, &second]].concat());
    let mut new_link = south.accept_bound();
    live.gateway.wait_until_bound(2);
    assert_goes_to(&mut esme, &mut new_link, &to(b"44"));
    assert_goes_to(&mut esme, &mut link, &to(b"1"));
    live.gateway.end_well_without((esme, link, new_link));
}

fn a_limit_changes_in_place_and_nobody_is_bound_anew(shards: Shards) {
    let north = Vendor::listen();
    let (acme, all) = (customer("acme"), rule("^1", "north", 1));
    let mut live = Live::launch(shards, &[&acme, &vendor("north", &north, "window_size = 1"), &all]);
    let mut link = north.accept_bound();
    live.gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&live.gateway, "acme");
    let first = esme.submit(&to(b"1"));
    let second = esme.submit(&to(b"12"));
    let taken = link.take_submit();
    live.reload(&[&acme, &vendor("north", &north, "window_size = 2\nthroughput = 1000"), &all]);
    let more = link.take_submit();
    link.answer_submit(&more, "2");
    link.answer_submit(&taken, "1");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, second, CommandStatus::ESME_ROK);
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, first, CommandStatus::ESME_ROK);
    assert_goes_to(&mut esme, &mut link, &to(b"1"));
    assert_eq!(live.gateway.log.count(&["\"vendor bound\""]), 1);
    live.gateway.end_well_without((esme, link));
}

fn a_removed_vendor_is_unbound_while_another_one_goes_on(shards: Shards) {
    let (north, south) = (Vendor::listen(), Vendor::listen());
    let (acme, stays) = (customer("acme"), vendor("north", &north, ""));
    let (goes, one, two) = (vendor("south", &south, ""), rule("^1", "north", 1), rule("^44", "south", 1));
    let mut live = Live::launch(shards, &[&acme, &stays, &goes, &one, &two]);
    let (mut link, mut leaving) = (north.accept_bound(), south.accept_bound());
    live.gateway.wait_until_bound(2);
    let mut esme = Esme::bound(&live.gateway, "acme");
    let open = esme.submit(&to(b"44"));
    let at_leaving = leaving.take_submit();
    let undisturbed = esme.submit(&to(b"1"));
    let at_staying = link.take_submit();
    live.reload(&[&acme, &stays, &one]);
    assert_eq!(esme.submitted(&to(b"44")).status, CommandStatus::ESME_RINVDSTADR);
    // What it has is answered first.
    leaving.answer_submit(&at_leaving, "9");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, open, CommandStatus::ESME_ROK);
    assert_unbound(&mut leaving);
    link.answer_submit(&at_staying, "8");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, undisturbed, CommandStatus::ESME_ROK);
    assert_goes_to(&mut esme, &mut link, &to(b"1"));
    live.gateway.log.wait_for(1, &["vendor's link is down", "south", "the configuration no longer has it"]);
    live.gateway.end_well_without((esme, link));
}

fn messages_that_wait_for_a_removed_vendor_go_to_the_next_one(shards: Shards) {
    let (north, south) = (Vendor::listen(), Vendor::listen());
    let (acme, goes) = (customer("acme"), vendor("north", &north, "window_size = 1"));
    let (stays, one, two) = (vendor("south", &south, ""), rule("^1", "north", 1), rule("^1", "south", 2));
    let mut live = Live::launch(shards, &[&acme, &goes, &stays, &one, &two]);
    let (mut leaving, mut link) = (north.accept_bound(), south.accept_bound());
    live.gateway.wait_until_bound(2);
    let mut esme = Esme::bound(&live.gateway, "acme");
    let open = esme.submit(&to(b"1"));
    let at_leaving = leaving.take_submit();
    let waiting: Vec<u32> = (0..5).map(|_| esme.submit(&to(b"12"))).collect();
    live.gateway.wait_for_metric("smpp_gateway_vendor_queued", &["north"], |queued| queued == 5.0);
    live.reload(&[&acme, &stays, &two]);
    for sequence in waiting {
        link.accept_submit("1");
        esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    }
    leaving.answer_submit(&at_leaving, "9");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, open, CommandStatus::ESME_ROK);
    assert_unbound(&mut leaving);
    live.gateway.end_well_without((esme, link));
}

fn a_changed_password_binds_that_vendor_anew_and_no_other(shards: Shards) {
    let (north, south) = (Vendor::listen(), Vendor::listen());
    let (acme, other) = (customer("acme"), vendor("south", &south, ""));
    let (one, two) = (rule("^1", "north", 1), rule("^44", "south", 1));
    let mut live = Live::launch(shards, &[&acme, &vendor("north", &north, "password = \"old\""), &other, &one, &two]);
    let (mut link, mut undisturbed) = (north.accept_bound(), south.accept_bound());
    live.gateway.wait_until_bound(2);
    let mut esme = Esme::bound(&live.gateway, "acme");
    live.reload(&[&acme, &vendor("north", &north, "password = \"new\""), &other, &one, &two]);
    assert_unbound(&mut link);
    let mut link = north.accept();
    let bind = link.take_bind();
    assert!(bind.bytes.windows(4).any(|octets| octets == b"new\0"), "{bind:?}");
    link.answer_bind(&bind);
    live.gateway.wait_until_bound(3);
    assert_goes_to(&mut esme, &mut link, &to(b"1"));
    assert_goes_to(&mut esme, &mut undisturbed, &to(b"44"));
    live.gateway.end_well_without((esme, link, undisturbed));
}

fn a_wrong_row_keeps_its_last_good_version_until_it_is_right(shards: Shards) {
    let (north, south) = (Vendor::listen(), Vendor::listen());
    let (acme, good) = (customer("acme"), vendor("north", &north, ""));
    let (other, one) = (vendor("south", &south, ""), rule("^1", "north", 1));
    let two = rule("^44", "south", 1);
    let mut live = Live::launch(shards, &[&acme, &good, &one]);
    let mut link = north.accept_bound();
    live.gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&live.gateway, "acme");
    // A wrong port, a pattern that does not compile and a vendor that is not there; one row is right.
    let wrong = good.replace("port = ", "port = 0 # ");
    let (bad, lost) = (rule("^1(", "north", 1), rule("^7", "nobody", 1));
    live.reload(&[&acme, &wrong, &other, &bad, &two, &lost]);
    let mut new_link = south.accept_bound();
    live.gateway.wait_until_bound(2);
    let faults = live.faults();
    let told: Vec<_> = faults.iter().map(|(table, _, reason)| (table.as_str(), reason.as_str())).collect();
    assert!(told.iter().any(|(table, reason)| *table == "vendors" && reason.starts_with("port is 0")), "{faults:?}");
    for column in ["dest_pattern does not compile", "vendor is \"nobody\""] {
        assert!(
            told.iter().any(|(table, reason)| *table == "routing_rules" && reason.starts_with(column)),
            "{faults:?}"
        );
    }
    assert_eq!(live.gateway.metric("smpp_gateway_configuration_faults", &["routing_rules"]), 2.0);
    live.gateway.log.wait_for(1, &["a row is wrong", "vendors", "north", "port"]);
    assert_goes_to(&mut esme, &mut link, &to(b"1"));
    assert_goes_to(&mut esme, &mut new_link, &to(b"44"));
    live.reload(&[&acme, &good, &other, &rule("^12", "north", 1), &two]);
    assert_eq!(live.faults(), []);
    assert_eq!(esme.submitted(&to(b"1")).status, CommandStatus::ESME_RINVDSTADR);
    assert_goes_to(&mut esme, &mut link, &to(b"12"));
    assert_eq!(live.gateway.log.count(&["\"vendor bound\""]), 2);
    live.gateway.end_well_without((esme, link, new_link));
}

/// Nothing of the rows that name them applies, whoever else names them too, and nobody is bound anew.
fn authorities_that_cannot_be_read_keep_their_vendor_as_it_was(shards: Shards) {
    let (north, south, west) = (Vendor::listen(), Vendor::listen(), Vendor::listen());
    let (acme, one, two) = (customer("acme"), rule("^1", "north", 1), rule("^44", "south", 1));
    let (good, other) = (vendor("north", &north, ""), vendor("south", &south, ""));
    let mut live = Live::launch(shards, &[&acme, &good, &other, &one, &two]);
    let (mut link, mut second) = (north.accept_bound(), south.accept_bound());
    live.gateway.wait_until_bound(2);
    let mut esme = Esme::bound(&live.gateway, "acme");
    let keys = "use_tls = true\ntls_ca = \"no-such-file.pem\"\nwindow_size = 7";
    let wrong = [vendor("north", &north, keys), vendor("south", &south, keys)];
    live.reload(&[&acme, &wrong[0], &wrong[1], &one, &two, &vendor("west", &west, "")]);
    let mut third = west.accept_bound();
    live.gateway.wait_until_bound(3);
    let faults = live.faults();
    let told: Vec<_> = faults.iter().map(|(table, name, _)| (table.as_str(), name.as_str())).collect();
    assert_eq!(told, [("vendors", "north"), ("vendors", "south")], "{faults:?}");
    assert!(faults.iter().all(|fault| fault.2.contains("no-such-file.pem")), "{faults:?}");
    assert_eq!(live.gateway.metric("smpp_gateway_configuration_faults", &["vendors"]), 2.0);
    for name in ["north", "south"] {
        live.gateway.log.wait_for(1, &["a row is wrong", "vendors", name, "tls_ca", "no-such-file.pem"]);
        let told: serde_json::Value =
            serde_json::from_str(&live.gateway.get(&format!("/api/v1/vendors/{name}/status")).1).unwrap();
        assert_eq!(told["vendor"]["window_size"], 100, "{told}");
    }
    assert_goes_to(&mut esme, &mut link, &to(b"1"));
    assert_goes_to(&mut esme, &mut second, &to(b"44"));
    third.expect_nothing_more();
    live.reload(&[&acme, &vendor("north", &north, "window_size = 7"), &other, &one, &two, &vendor("west", &west, "")]);
    assert_eq!(live.faults(), []);
    assert_goes_to(&mut esme, &mut link, &to(b"1"));
    assert_eq!(live.gateway.log.count(&["\"vendor bound\""]), 3);
    live.gateway.end_well_without((esme, link, second, third));
}

fn a_file_that_is_not_toml_changes_nothing(shards: Shards) {
    let north = Vendor::listen();
    let rows = [customer("acme"), vendor("north", &north, ""), rule("^1", "north", 1)];
    let live = Live::launch(shards, &rows.each_ref().map(String::as_str));
    let mut link = north.accept_bound();
    live.gateway.wait_until_bound(1);
    live.reload_text("[[vendors]\n");
    live.gateway.log.wait_for(1, &["configuration not read, everything stays", "this is not TOML"]);
    assert_eq!(live.faults()[0].1, "source");
    let mut esme = Esme::bound(&live.gateway, "acme");
    assert_goes_to(&mut esme, &mut link, &to(b"1"));
    live.reload_text(&format!("{}{}", live.head, rows.concat()));
    live.gateway.log.wait_for(1, &["configuration read, nothing has changed"]);
    assert_eq!(live.faults(), []);
    live.wait_in_force();
    live.gateway.end_well_without((esme, link));
}

fn a_file_that_was_cut_changes_nothing(shards: Shards) {
    let north = Vendor::listen();
    let rows = [customer("acme"), vendor("north", &north, ""), rule("^1", "north", 1)];
    let live = Live::launch(shards, &rows.each_ref().map(String::as_str));
    let mut link = north.accept_bound();
    live.gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&live.gateway, "acme");
    for (count, (cut, table)) in
        [(String::new(), "[[customers]]"), (format!("{}{}", live.head, rows[0]), "[[vendors]]")].iter().enumerate()
    {
        live.reload_text(cut);
        live.gateway.log.wait_for(count + 1, &["configuration not read, everything stays"]);
        let faults = live.faults();
        assert!(faults[0].1 == "source" && faults[0].2.contains(table), "{faults:?}");
        assert_goes_to(&mut esme, &mut link, &to(b"1"));
    }
    live.reload_text(&format!("{}{}", live.head, rows.concat()));
    live.gateway.log.wait_for(1, &["configuration read, nothing has changed"]);
    assert_eq!(live.faults(), []);
    live.gateway.end_well_without((esme, link));
}

fn a_customer_that_is_added_binds_and_a_removed_one_is_unbound(shards: Shards) {
    let north = Vendor::listen();
    let (north_row, all) = (vendor("north", &north, ""), rule("^1", "north", 1));
    let mut live = Live::launch(shards, &[&customer("acme"), &north_row, &all]);
    let mut link = north.accept_bound();
    live.gateway.wait_until_bound(1);
    let mut goes = Esme::bound(&live.gateway, "acme");
    let refused = Esme::connect(live.gateway.address()).bind(CommandId::BIND_TRANSCEIVER, "beta", PASSWORD);
    assert_eq!(refused.status, CommandStatus::ESME_RINVSYSID);
    let open = goes.submit(&to(b"1"));
    let submit = link.take_submit();
    live.reload(&[&customer("beta"), &north_row, &all]);
    let mut comes = Esme::bound(&live.gateway, "beta");
    assert_goes_to(&mut comes, &mut link, &to(b"1"));
    // Nothing new is taken, and what is open is answered before the unbind.
    assert_eq!(goes.submitted(&to(b"1")).status, CommandStatus::ESME_RINVBNDSTS);
    link.answer_submit(&submit, "7");
    goes.expect_answer(CommandId::SUBMIT_SM_RESP, open, CommandStatus::ESME_ROK);
    assert_unbound(&mut goes);
    let refused = Esme::connect(live.gateway.address()).bind(CommandId::BIND_TRANSCEIVER, "acme", PASSWORD);
    assert_eq!(refused.status, CommandStatus::ESME_RINVSYSID);
    live.reload(&[&customer("beta"), &customer("acme"), &north_row, &all]);
    let mut back = Esme::bound(&live.gateway, "acme");
    assert_goes_to(&mut back, &mut link, &to(b"1"));
    live.gateway.end_well_without((comes, back, link));
}

fn what_needs_a_restart_is_said_and_left_as_it_is(shards: Shards) {
    let rows = customer("acme");
    let live = Live::launch(shards, &[&rows]);
    live.gateway.wait_until_accepting();
    let text = format!("{}{rows}", live.head).replace("node_id = \"test\"", "node_id = \"other\"");
    let keys = live.gateway.folder.path().join("keys");
    std::fs::write(&keys, format!("2026:{}=\n", "A".repeat(43))).unwrap();
    let more = format!("[store]\nkind = \"embedded\"\n[secrets]\nkey_file = {keys:?}\n");
    live.reload_text(&(text.replace("pin = false", "pin = true") + &more));
    for key in ["[gateway] node_id", "[shards]", "[store]", "[secrets]"] {
        live.gateway.log.wait_for(1, &["a changed setting needs a restart", key]);
    }
    live.gateway.log.wait_for(1, &["configuration read, nothing has changed"]);
    assert_eq!(live.health()["node_id"], "test");
    live.gateway.end_well_without(());
}
