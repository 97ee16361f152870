//! The control port's JSON against the running program: messages, sessions, vendors, routes.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use smpp_pdu::{CommandId, CommandStatus, Receipt, ShortMessage};

use crate::harness::setup::free_address;
use crate::harness::{Esme, Gateway, PATIENCE, Setup, Shards, ask_until, message, smsc, with_one_shard_and_with_two};

with_one_shard_and_with_two![
    a_message_of_the_port_goes_out_and_its_receipt_to_the_customer_s_bind,
    without_a_journal_the_vendor_s_answer_is_the_port_s,
    a_long_message_is_split,
    what_the_customer_may_not_send_is_refused,
    sessions_are_listed_and_ended,
    a_vendor_is_told_tried_and_reconnected,
    a_vendor_that_is_not_there_is_told_with_its_step,
    a_route_is_explained,
    what_messages_cost_is_counted_kept_and_told,
    debug_shows_pdus,
    calls_without_the_token_are_refused_and_nothing_is_done,
    slow_and_silent_clients_leave_the_port_quick,
];

/// Status and JSON of a call.
pub(crate) fn call(gateway: &Gateway, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(gateway, &request);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

fn exchange(gateway: &Gateway, request: &str) -> String {
    let mut stream = TcpStream::connect(gateway.ports.control).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(gateway: &Gateway, path: &str) -> Value {
    let (status, value) = call(gateway, "GET", path, &Value::Null);
    assert_eq!(status, 200, "{path}: {value}");
    value
}

fn send(gateway: &Gateway, content: &str, from: &str) -> (u16, Value) {
    let message = json!({
        "to": "+15551234567", "from": from, "content": content, "dlr_requested": true, "customer_id": "acme",
    });
    call(gateway, "POST", "/api/v1/messages", &message)
}

fn a_message_of_the_port_goes_out_and_its_receipt_to_the_customer_s_bind(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(shards, vendor.address()).journaled().start();
    let mut customer = Esme::bound_as(&gateway, "acme", CommandId::BIND_RECEIVER);
    let (status, accepted) = send(&gateway, "hello", "ACME");
    assert_eq!(status, 202, "{accepted}");
    let delivered = customer.take_delivery();
    let message = ShortMessage::decode(&delivered.bytes).unwrap();
    let receipt = Receipt::parse(message.short_message);
    assert_eq!(receipt.id, accepted["message_id"].as_str().map(str::as_bytes));
    gateway.wait_for_metric("sms_sent_per_customer", &["acme"], |count| count == 1.0);
    gateway.wait_for_metric("sms_received_per_customer", &["acme"], |count| count == 1.0);
    gateway.log.wait_for(1, &["control port called", "/api/v1/messages", "202"]);
    gateway.end_well_without(customer);
}

fn without_a_journal_the_vendor_s_answer_is_the_port_s(shards: Shards) {
    let vendor = smsc(&["--fail-percent", "100", "--fail-status", "ESME_RINVDSTADR"]);
    let gateway = Setup::usual(shards, vendor.address()).start();
    let (status, refused) = send(&gateway, "hello", "ACME");
    assert_eq!((status, &refused["error"]["command_status"]), (422, &"ESME_RINVDSTADR".into()), "{refused}");
    gateway.end_well();
}

fn a_long_message_is_split(shards: Shards) {
    let folder = crate::harness::folder::Folder::new();
    let record = folder.path().join("submits");
    let vendor = smsc(&["--record", record.to_str().unwrap()]);
    let gateway = Setup::usual(shards, vendor.address()).start();
    let (status, accepted) = send(&gateway, &"ж".repeat(150), "ACME");
    assert_eq!((status, &accepted["segments"], &accepted["encoding"]), (202, &3.into(), &"ucs2".into()));
    let mut ids = accepted["message_ids"].as_array().unwrap().clone();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    gateway.end_well();
    assert_eq!(vendor.stop().unwrap().submits, 3);
    let text = std::fs::read_to_string(&record).unwrap();
    assert_eq!(text.matches("050003").count(), 3, "{text}");
}

fn what_the_customer_may_not_send_is_refused(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::new(shards)
        .customer("acme", "allowed_source_addresses = [\"ACME\"]\nsmpp_throughput = 2\nsmpp_burst = 2")
        .vendor("north", vendor.address(), "")
        .rule("north", "dest_pattern = \"^1\"")
        .start();
    let code = |(status, value): (u16, Value)| (status, value["error"]["code"].as_str().unwrap_or("").to_owned());
    assert_eq!(code(send(&gateway, "hello", "OTHER")), (403, "source_not_allowed".to_owned()));
    let nowhere = json!({"to": "4420", "from": "ACME", "content": "x", "customer_id": "acme"});
    assert_eq!(code(call(&gateway, "POST", "/api/v1/messages", &nowhere)), (422, "no_route".to_owned()));
    // More parts than a second's worth: what was accepted is named.
    let (status, refused) = send(&gateway, &"x".repeat(153 * 8), "ACME");
    assert_eq!((status, &refused["error"]["code"]), (429, &"throttled".into()), "{refused}");
    assert!(!refused["error"]["accepted_message_ids"].as_array().unwrap().is_empty());
    gateway.end_well();
}

fn sessions_are_listed_and_ended(shards: Shards) {
    let gateway = Setup::new(shards).customer("acme", "").customer("beta", "").start_without_vendors();
    let mut acme = Esme::bound(&gateway, "acme");
    let beta = Esme::bound(&gateway, "beta");
    let list = get(&gateway, "/api/v1/sessions");
    assert_eq!((&list["count"], &list["next_cursor"]), (&2.into(), &Value::Null), "{list}");
    // Page by page the same ones come, each once.
    let (mut path, mut found) = ("/api/v1/sessions?limit=1".to_owned(), Vec::new());
    loop {
        let page = get(&gateway, &path);
        found.extend(page["sessions"].as_array().unwrap().iter().map(|it| it["customer_id"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/v1/sessions?limit=1&cursor={cursor}");
    }
    found.sort_by_key(ToString::to_string);
    assert_eq!(found, [json!("acme"), json!("beta")]);
    let of_acme = get(&gateway, "/api/v1/sessions?customer_id=acme");
    assert_eq!(of_acme["count"], 1);
    let id = of_acme["sessions"][0]["session_id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/sessions/{id}");
    assert_eq!(call(&gateway, "DELETE", &path, &Value::Null).0, 200);
    let unbind = acme.expect(CommandId::UNBIND);
    acme.send_header(CommandId::UNBIND_RESP, CommandStatus::ESME_ROK, unbind.sequence);
    acme.expect_end();
    assert_eq!(call(&gateway, "DELETE", &path, &Value::Null).0, 404);
    gateway.log.wait_for(1, &["customer's session ended", "an operator ended it"]);
    gateway.end_well_without((acme, beta));
}

fn a_vendor_is_told_tried_and_reconnected(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(shards, vendor.address()).start();
    let list = ask_until("a vendor that is connected", || {
        let list = get(&gateway, "/api/v1/vendors");
        (list["vendors"]["north"]["status"] == "connected").then_some(list)
    });
    assert!(list["vendors"]["north"]["connected_at"].is_string(), "{list}");
    let (status, trial) = call(&gateway, "POST", "/api/v1/vendors/north/test", &Value::Null);
    assert_eq!((status, &trial["bound"]), (200, &true.into()), "{trial}");
    let steps: Vec<&str> =
        trial["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["name", "tcp", "bind_sent", "bind_answer", "unbind"]);
    let (status, reconnecting) = call(&gateway, "POST", "/api/v1/vendors/north/reconnect", &Value::Null);
    assert_eq!((status, &reconnecting["unbound"]), (200, &1.into()), "{reconnecting}");
    gateway.wait_until_bound(2);
    let (status, _) = send(&gateway, "hello again", "ACME");
    assert_eq!(status, 202);
    gateway.end_well();
}

fn a_vendor_that_is_not_there_is_told_with_its_step(shards: Shards) {
    let gateway = Setup::usual(shards, free_address()).start_without_vendors();
    let (_, trial) = call(&gateway, "POST", "/api/v1/vendors/north/test", &Value::Null);
    let last = trial["steps"].as_array().unwrap().last().unwrap();
    assert_eq!((&trial["bound"], &last["step"], &last["passed"]), (&false.into(), &"tcp".into(), &false.into()));
    let local = last["local_address"].as_str().unwrap_or_default();
    assert!(local.starts_with("127.0.0.1:"), "from where a refused connect was tried: {last}");
    let status = ask_until("a failure that is told", || {
        let status = get(&gateway, "/api/v1/vendors/north/status");
        status["detail"]["last_failure"].is_object().then_some(status)
    });
    assert_eq!(status["detail"]["last_failure"]["step"], "tcp", "{status}");
    assert_eq!(call(&gateway, "DELETE", "/api/v1/vendors/north", &Value::Null).0, 409);
    gateway.end_well();
}

fn a_route_is_explained(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::new(shards)
        .customer("acme", "")
        .vendor("away", free_address(), "")
        .vendor("north", vendor.address(), "")
        .rule("away", "priority = 1")
        .rule("north", "priority = 2\ndest_pattern = \"^1\"")
        .start();
    let question = json!({"from": "ACME", "to": "15551234567", "customer_id": "acme"});
    let found = ask_until("the vendor that is up", || {
        let (_, found) = call(&gateway, "POST", "/api/v1/routes/test", &question);
        (found["vendor_id"] == "north").then_some(found)
    });
    assert_eq!((&found["candidates"][0]["vendor_id"], &found["rules_total"]), (&"away".into(), &2.into()), "{found}");
    gateway.end_well();
}

fn what_messages_cost_is_counted_kept_and_told(shards: Shards) {
    let refuses = smsc(&["--fail-percent", "100", "--fail-status", "ESME_RSYSERR"]);
    let takes = smsc(&[]);
    let gateway = Setup::new(shards)
        .gateway("retry_count = 1")
        .customer("acme", "")
        .customer("beta", "")
        .vendor("north", refuses.address(), "")
        .vendor("south", takes.address(), "")
        .rule("north", "priority = 1\nrate_per_msg = 20")
        .rule("south", "priority = 2\nrate_per_msg = 0.0075")
        .rows("[store]\nkind = \"embedded\"")
        .start();
    gateway.wait_until_bound(2);
    Esme::bound(&gateway, "beta").unbind();
    let (status, accepted) = send(&gateway, &"ж".repeat(150), "ACME");
    assert_eq!((status, &accepted["segments"]), (202, &3.into()), "{accepted}");
    gateway.wait_for_metric("sms_cost_per_customer", &["acme"], |cost| cost == 0.0225);
    assert_eq!(gateway.metric("sms_cost_per_customer", &["beta"]), 0.0);
    assert_eq!(gateway.metric("sms_sent_per_customer", &["acme"]), 3.0);
    let of_acme = get(&gateway, "/api/v1/customers?search=acme");
    assert_eq!(of_acme["customers"][0]["cost"], 0.0225, "{of_acme}");
    let path = format!("/api/v1/messages/{}", accepted["message_id"].as_str().unwrap());
    let found = ask_until("the message in the store", || {
        let (status, found) = call(&gateway, "GET", &path, &Value::Null);
        (status == 200).then_some(found)
    });
    assert_eq!((&found["message"]["segments"], &found["message"]["cost"]), (&1.into(), &0.0075.into()), "{found}");
    let question = json!({"from": "ACME", "to": "15551234567", "customer_id": "acme"});
    let (_, route) = call(&gateway, "POST", "/api/v1/routes/test", &question);
    let rates: Vec<_> = route["rules"].as_array().unwrap().iter().map(|rule| rule["rate_per_msg"].clone()).collect();
    assert_eq!(rates, [json!(20.0), json!(0.0075)], "{route}");
    gateway.end_well();
}

fn debug_shows_pdus(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(shards, vendor.address()).start();
    let mut customer = Esme::bound(&gateway, "acme");
    customer.submitted(&message(b"unseen"));
    for component in ["smpp_server", "smpp_client"] {
        let level = json!({"component": component, "level": "debug"});
        assert_eq!(call(&gateway, "PUT", "/api/v1/admin/log-level", &level).0, 200);
    }
    ask_until("PDUs in the log", || {
        customer.submitted(&message(b"seen"));
        let shown = |way, component, command| gateway.log.count(&["DEBUG", way, component, command]) > 0;
        let is_shown = shown("PDU received", "smpp_server", "\"submit_sm\"")
            && shown("PDU sent", "smpp_client", "\"submit_sm\"")
            && shown("PDU received", "smpp_client", "\"submit_sm_resp\"")
            && shown("PDU sent", "smpp_server", "\"submit_sm_resp\"");
        is_shown.then_some(())
    });
    let hex = |text: &[u8]| text.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    assert!(gateway.log.count(&["PDU received", "smpp_server", "acme", &hex(b"seen")]) > 0);
    assert!(gateway.log.count(&["PDU sent", "smpp_client", "north", &hex(b"seen")]) > 0);
    assert_eq!(gateway.log.count(&[&hex(b"unseen")]), 0);
    gateway.end_well_without(customer);
}

fn calls_without_the_token_are_refused_and_nothing_is_done(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(shards, vendor.address()).control("token = \"abc123\"").start();
    assert_eq!(send(&gateway, "hello", "ACME").0, 401);
    for path in ["/api/v1/vendors", "/api/v1/openapi.json", "/api/v1/nowhere"] {
        assert_eq!(call(&gateway, "GET", path, &Value::Null).0, 401, "{path}");
    }
    gateway.log.wait_for(1, &["call refused", "nobody", "/api/v1/messages"]);
    gateway.end_well();
    assert_eq!(vendor.stop().unwrap().submits, 0);
}

fn slow_and_silent_clients_leave_the_port_quick(shards: Shards) {
    let gateway = Setup::new(shards).customer("acme", "").start_without_vendors();
    let silent: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(gateway.ports.control).unwrap()).collect();
    let request =
        "POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{";
    let mut slow = TcpStream::connect(gateway.ports.control).unwrap();
    slow.write_all(request.as_bytes()).unwrap();
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    get(&gateway, "/api/v1/stats");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let (status, large) = call(&gateway, "POST", "/api/v1/messages", &json!({"to": "x".repeat(70_000)}));
    assert_eq!((status, &large["error"]["code"]), (413, &"body_too_large".into()));
    gateway.log.wait_for(1, &["control port called", "/api/v1/messages", "413"]);
    drop(silent);
    gateway.end_well();
}
