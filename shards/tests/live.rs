//! Customers and vendors that come, change and go while the shard is at work.

mod common;

use std::sync::Arc;

use common::*;
use smpp_pdu::{CommandId, CommandStatus};
use smpp_shards::routing::Patterns;
use smpp_shards::settings::{RuleSettings, VendorSettings};
use smpp_shards::{Action, Conn, CustomerId, EndReason, Event, LinkId, Settings, Snapshot, VendorId, VendorState};

const OK: CommandStatus = CommandStatus::ESME_ROK;
const BTX: CommandId = CommandId::BIND_TRANSCEIVER;

/// Puts the successor of what is in force in force; the turns that it takes are run.
fn apply(stage: &mut Stage, settings: Settings) {
    let next = stage.shard.snapshot().succeed(settings, &mut Patterns::default()).expect("the settings are right");
    stage.shard.apply(Arc::new(next), &mut stage.out);
    stage.pass_ms(50);
}

fn retired(stage: &mut Stage) -> Vec<(u64, u64)> {
    stage.drain_actions();
    let is_retired = |action: &Action| match action {
        Action::Retire { in_force, snapshot } => Some((*in_force, snapshot.version)),
        _ => None,
    };
    stage.actions.iter().filter_map(is_retired).collect()
}

fn abandoned(stage: &mut Stage) -> Vec<LinkId> {
    stage.drain_actions();
    let is_abandoned = |action: &Action| match action {
        Action::AbandonConnect { link } => Some(*link),
        _ => None,
    };
    stage.actions.iter().filter_map(is_abandoned).collect()
}

fn ended(stage: &mut Stage) -> Vec<EndReason> {
    stage.drain_actions();
    let reason = |action: &Action| match action {
        Action::Log(Event::LinkDown { reason, .. } | Event::SessionClosed { reason, .. }) => Some(*reason),
        _ => None,
    };
    stage.actions.iter().filter_map(reason).collect()
}

fn with(settings: &Settings, change: impl FnOnce(&mut Settings)) -> Settings {
    let mut changed = settings.clone();
    change(&mut changed);
    changed
}

fn two_vendors() -> Settings {
    with(&settings(), |settings| {
        settings.vendors.push(vendor("south"));
        settings.routing_rules.push(RuleSettings { priority: 200, ..rule("^1.*", "south") });
    })
}

/// The unbind is answered, and the connection closed.
fn assert_unbinds(stage: &mut Stage, conn: Conn) {
    let unbind = stage.pdu(conn);
    assert_eq!(unbind.command, CommandId::UNBIND);
    stage.feed(conn, &header_only(CommandId::UNBIND_RESP, unbind.sequence));
    assert!(stage.was_closed(conn));
}

/// A submit goes over that link and is answered.
fn assert_carries(stage: &mut Stage, customer: Conn, link: Conn, sequence: u32) {
    stage.feed(customer, &submit(sequence, &message(b"hello")));
    let sent = stage.pdu(link);
    assert_eq!(sent.command, CommandId::SUBMIT_SM);
    stage.feed(link, &submit_resp(sent.sequence, b"1"));
    assert_eq!(stage.pdu(customer).status, OK);
}

#[test]
fn places_stay_with_their_names_and_are_not_given_to_others() {
    let build = |settings| Snapshot::build(settings, 2, 7).unwrap();
    let first = build(two_vendors());
    assert_eq!(first.version, 7);
    let second = first
        .succeed(
            with(&two_vendors(), |it| {
                it.vendors.remove(0);
                it.routing_rules.remove(0);
                it.vendors.insert(0, vendor("west"));
                it.customers.insert(0, customer("beta"));
            }),
            &mut Patterns::default(),
        )
        .unwrap();
    let place = |name| second.vendor_by_name(name).map(|vendor| (vendor.id, vendor.home.0));
    assert_eq!((place("north"), place("south"), place("west")), (None, Some((VendorId(1), 1)), Some((VendorId(2), 0))));
    assert!(second.vendors[0].is_removed && second.vendors[0].settings.instance_name == "north");
    assert_eq!(second.customer_by_system_id(b"acme").unwrap().id, CustomerId(0));
    assert_eq!(second.customer_by_system_id(b"beta").unwrap().id, CustomerId(1));
    let third = second.succeed(two_vendors(), &mut Patterns::default()).unwrap();
    assert_eq!(third.vendor_by_name("north").unwrap().id, VendorId(0));
    assert!(third.customer_by_system_id(b"beta").is_none() && third.customers[1].is_removed);
    let changed = |snapshot: &Snapshot| snapshot.vendors.iter().map(|it| it.changed_in).collect::<Vec<_>>();
    assert_eq!((changed(&second), changed(&third)), (vec![8, 7, 8], vec![9, 7, 9]));
}

#[test]
fn names_beyond_the_last_place_are_refused_and_the_others_are_not() {
    let mut snapshot = Snapshot::build(settings(), 1, 1).unwrap();
    let many = |from: usize| {
        with(&settings(), |it| {
            it.vendors.extend((from..from + 8_000).map(|number| vendor(&format!("v{number}"))));
        })
    };
    for round in 0..2 {
        snapshot = snapshot.succeed(many(round * 8_000), &mut Patterns::default()).unwrap();
    }
    let problems = snapshot.succeed(many(16_000), &mut Patterns::default()).unwrap_err();
    assert_eq!(problems.len(), 1 + 16_000 + 8_000 - smpp_shards::bounds::VENDOR_PLACES_MAX);
    assert!(problems[0].to_string().contains("one name too many"), "{}", problems[0]);
}

#[test]
fn a_new_vendor_is_connected_and_gets_messages() {
    let (mut stage, _links) = Stage::with_vendors(settings());
    let customer = stage.bound(0, BTX);
    apply(
        &mut stage,
        with(&settings(), |it| {
            it.vendors.push(vendor("south"));
            it.routing_rules = vec![rule("^1", "south")];
        }),
    );
    let new = stage.bind_links();
    assert_eq!(new.len(), 1);
    assert_carries(&mut stage, customer, new[0], 1);
    assert_eq!(stage.shard.report().vendors[1].state, VendorState::Bound);
    assert_eq!((stage.shard.report().snapshot_version, retired(&mut stage)), (2, vec![(2, 1)]));
}

#[test]
fn a_removed_vendor_answers_what_it_has_and_is_unbound() {
    let (mut stage, links) = Stage::with_vendors(two_vendors());
    let customer = stage.bound(0, BTX);
    stage.feed(customer, &submit(1, &message(b"open")));
    let open = stage.pdu(links[0]);
    apply(
        &mut stage,
        with(&two_vendors(), |it| {
            it.vendors.remove(0);
            it.routing_rules.remove(0);
        }),
    );
    assert_eq!(stage.pdus(links[0]), [], "not before its window is empty");
    assert_carries(&mut stage, customer, links[1], 2);
    stage.feed(links[0], &submit_resp(open.sequence, b"7"));
    assert_eq!(stage.pdu(customer).status, OK);
    assert_unbinds(&mut stage, links[0]);
    assert_eq!(ended(&mut stage), [EndReason::Removed]);
    stage.pass_ms(20_000);
    assert!(stage.connects().is_empty());
    assert_eq!(stage.shard.report().vendors[0].state, VendorState::Off);
}

#[test]
fn a_removed_vendor_that_never_answers_is_unbound_when_its_time_is_up() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let customer = stage.bound(0, BTX);
    stage.feed(customer, &submit(1, &message(b"open")));
    stage.pdu(links[0]);
    apply(&mut stage, with(&settings(), |it| it.vendors[0].is_active = false));
    stage.pass_ms(10_100);
    assert_eq!(stage.pdu(customer).status, CommandStatus::ESME_RUNKNOWNERR);
    assert_eq!(stage.pdu(links[0]).command, CommandId::UNBIND);
    stage.pass_ms(2_100);
    assert!(stage.was_closed(links[0]));
    assert_eq!(stage.shard.report().vendors[0].in_flight, 0);
}

#[test]
fn what_waits_for_a_vendor_that_is_not_active_any_more_goes_to_the_next_one() {
    let narrow = with(&two_vendors(), |it| it.vendors[0].window_size = 1);
    let (mut stage, links) = Stage::with_vendors(narrow.clone());
    let customer = stage.bound(0, BTX);
    for sequence in 1..=600 {
        stage.feed(customer, &submit(sequence, &message(b"hello")));
    }
    assert_eq!(stage.pdus(links[0]).len(), 1);
    apply(
        &mut stage,
        with(&narrow, |it| {
            it.vendors[0].is_active = false;
            it.vendors[1].window_size = 1_000;
        }),
    );
    assert_eq!(stage.pdus(links[1]).len(), 599);
    assert_eq!(stage.shard.report().vendors[0].queued, 0);
}

#[test]
fn what_waits_and_has_no_other_vendor_waits_for_one_to_come() {
    let narrow = with(&settings(), |it| it.vendors[0].window_size = 1);
    let (mut stage, links) = Stage::with_vendors(narrow.clone());
    let customer = stage.bound(0, BTX);
    (1..=3).for_each(|sequence| stage.feed(customer, &submit(sequence, &message(b"hello"))));
    stage.pdu(links[0]);
    let off = with(&narrow, |it| it.vendors[0].is_active = false);
    apply(&mut stage, off.clone());
    assert_eq!(stage.shard.report().vendors[0].queued, 2);
    apply(
        &mut stage,
        with(&off, |it| {
            it.vendors.push(vendor("south"));
            it.routing_rules.push(rule("^1", "south"));
        }),
    );
    let new = stage.bind_links();
    stage.pass_ms(1_100);
    assert_eq!(stage.pdus(new[0]).len(), 2);
}

#[test]
fn limits_change_in_place_and_the_link_stays() {
    let narrow = with(&settings(), |it| it.vendors[0].window_size = 1);
    let (mut stage, links) = Stage::with_vendors(narrow);
    let customer = stage.bound(0, BTX);
    (1..=5).for_each(|sequence| stage.feed(customer, &submit(sequence, &message(b"hello"))));
    let first = stage.pdu(links[0]);
    apply(&mut stage, with(&settings(), |it| it.vendors[0].window_size = 4));
    assert_eq!(stage.pdus(links[0]).len(), 3, "the window is wider");
    apply(
        &mut stage,
        with(&settings(), |it| {
            it.vendors[0].window_size = 1;
            it.customers[0].smpp_throughput = 1;
            it.customers[0].smpp_window = 6;
        }),
    );
    stage.feed(links[0], &submit_resp(first.sequence, b"1"));
    assert_eq!(stage.pdus(links[0]), [], "the window is narrower, and more is open than it holds");
    stage.pdus(customer);
    (6..=8).for_each(|sequence| stage.feed(customer, &submit(sequence, &message(b"hello"))));
    let refused = stage.pdus(customer);
    assert_eq!(refused.iter().map(|pdu| pdu.sequence).collect::<Vec<_>>(), [7, 8], "one a second");
    assert!(refused.iter().all(|pdu| pdu.status == CommandStatus::ESME_RTHROTTLED));
    assert!(ended(&mut stage).is_empty() && stage.connects().is_empty());
}

#[test]
fn another_password_binds_a_vendor_anew_when_its_window_is_empty() {
    let (mut stage, links) = Stage::with_vendors(two_vendors());
    let customer = stage.bound(0, BTX);
    stage.feed(customer, &submit(1, &message(b"open")));
    let open = stage.pdu(links[0]);
    apply(&mut stage, with(&two_vendors(), |it| it.vendors[0].password = "other".into()));
    stage.feed(customer, &submit(2, &message(b"meanwhile")));
    assert_eq!(stage.pdus(links[1]).len(), 1, "nothing more goes over the old link");
    stage.feed(links[0], &submit_resp(open.sequence, b"7"));
    assert_unbinds(&mut stage, links[0]);
    assert_eq!(ended(&mut stage), [EndReason::Changed]);
    let link = stage.connects()[0];
    let conn = stage.connect_link(link);
    let bind = stage.pdu(conn);
    assert!(bind.bytes.windows(6).any(|octets| octets == b"other\0"));
    assert!(stage.pdus(links[1]).is_empty(), "the other vendor sees nothing of it");
}

#[test]
fn a_link_that_is_not_bound_yet_takes_up_its_new_settings_at_once() {
    let mut stage = Stage::new(settings());
    let before = stage.connects();
    apply(&mut stage, with(&settings(), |it| it.vendors[0].port = 3602));
    assert_eq!((abandoned(&mut stage), stage.connects()), (before.clone(), before));
}

#[test]
fn binds_are_added_and_taken_away_one_by_one() {
    let binds = |binds| with(&settings(), |it| it.vendors[0] = VendorSettings { binds, ..vendor("north") });
    let (mut stage, links) = Stage::with_vendors(binds(1));
    apply(&mut stage, binds(3));
    let more = stage.bind_links();
    assert_eq!((more.len(), stage.shard.report().vendors[0].links_bound), (2, 3));
    apply(&mut stage, binds(1));
    assert!(stage.pdus(links[0]).is_empty());
    more.iter().for_each(|conn| assert_unbinds(&mut stage, *conn));
    assert_eq!(stage.shard.report().vendors[0].links_bound, 1);
    // The numbers of links that are gone are given to new ones.
    apply(&mut stage, binds(2));
    let links = stage.connects();
    assert!(links.len() == 1 && links[0].0 < 3, "{links:?}");
}

#[test]
fn a_vendor_that_comes_back_before_it_is_gone_is_bound_anew() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let customer = stage.bound(0, BTX);
    stage.feed(customer, &submit(1, &message(b"open")));
    let open = stage.pdu(links[0]);
    apply(&mut stage, with(&settings(), |it| it.vendors[0].is_active = false));
    apply(&mut stage, settings());
    stage.feed(links[0], &submit_resp(open.sequence, b"7"));
    assert_unbinds(&mut stage, links[0]);
    let back = stage.bind_links();
    stage.pdus(customer);
    assert_carries(&mut stage, customer, back[0], 2);
    assert_eq!(stage.shard.report().vendors[0].links_bound, 1);
}

#[test]
fn a_receipt_that_crosses_our_unbind_is_to_come_again() {
    let (mut stage, links) = Stage::with_vendors(settings());
    apply(&mut stage, with(&settings(), |it| it.vendors[0].port += 1));
    let unbind = stage.pdu(links[0]);
    assert_eq!(unbind.command, CommandId::UNBIND);
    stage.feed(links[0], &deliver(9, &smpp_pdu::ShortMessage { esm_class: 0x04, ..message(b"id:1 stat:DELIVRD") }));
    let answer = stage.pdu(links[0]);
    assert_eq!((answer.command, answer.status), (CommandId::DELIVER_SM_RESP, CommandStatus::ESME_RX_T_APPN));
}

#[test]
fn a_link_that_goes_is_unbound_when_its_last_submit_is_given_up() {
    let settings = with(&settings(), |it| it.vendors[0].response_timeout_ms = 1_000);
    let (mut stage, links) = Stage::with_vendors(settings.clone());
    let customer = stage.bound(0, BTX);
    stage.feed(customer, &submit(1, &message(b"open")));
    assert_eq!(stage.pdu(links[0]).command, CommandId::SUBMIT_SM);
    stage.pass_ms(900);
    apply(&mut stage, with(&settings, |it| it.vendors[0].port += 1));
    assert!(stage.pdus(links[0]).is_empty(), "its answer may still come");
    stage.pass_ms(150);
    assert_unbinds(&mut stage, links[0]);
    assert_eq!(stage.bind_links().len(), 1, "and it is bound anew");
}

#[test]
fn a_new_customer_binds_and_submits() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let early = stage.accept();
    assert_eq!(stage.bind(early, 1, BTX, 0x34).status, CommandStatus::ESME_RINVSYSID);
    apply(&mut stage, with(&settings(), |it| it.customers.push(customer("beta"))));
    let session = stage.bound(1, BTX);
    assert_carries(&mut stage, session, links[0], 1);
    assert_eq!(stage.shard.report().customers[1].submits_ok, 1);
}

#[test]
fn a_removed_customer_gets_its_answers_and_is_unbound() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let busy = stage.bound(0, BTX);
    let idle = stage.bound(0, BTX);
    stage.feed(busy, &submit(1, &message(b"open")));
    let open = stage.pdu(links[0]);
    apply(&mut stage, with(&settings(), |it| it.customers[0] = customer("beta")));
    assert_unbinds(&mut stage, idle);
    stage.feed(busy, &submit(2, &message(b"more")));
    assert_eq!(stage.pdu(busy).status, CommandStatus::ESME_RINVBNDSTS);
    stage.feed(links[0], &submit_resp(open.sequence, b"7"));
    let pdus = stage.pdus(busy);
    assert_eq!(pdus.iter().map(|pdu| pdu.command).collect::<Vec<_>>(), [CommandId::SUBMIT_SM_RESP, CommandId::UNBIND]);
    stage.feed(busy, &header_only(CommandId::UNBIND_RESP, pdus[1].sequence));
    assert!(stage.was_closed(busy));
    assert_eq!(ended(&mut stage), [EndReason::Removed, EndReason::Removed]);
    let again = stage.accept();
    assert_eq!(stage.bind(again, 0, BTX, 0x34).status, CommandStatus::ESME_RINVSYSID);
    assert_eq!(stage.shard.report().sessions, 0);
}

#[test]
fn a_removed_customer_that_does_not_answer_is_cut_off() {
    let (mut stage, _links) = Stage::with_vendors(settings());
    let session = stage.bound(0, BTX);
    apply(&mut stage, with(&settings(), |it| it.customers[0].active = false));
    assert_eq!(stage.pdu(session).command, CommandId::UNBIND);
    stage.pass_ms(2_200);
    assert!(stage.was_closed(session));
}

#[test]
fn a_changed_password_and_fewer_binds_leave_standing_sessions_alone() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let (one, two) = (stage.bound(0, BTX), stage.bound(0, BTX));
    apply(
        &mut stage,
        with(&settings(), |it| {
            it.customers[0].smpp_password = Some("another1".into());
            it.customers[0].smpp_allowed_ips = vec!["10.0.0.1".into()];
            it.customers[0].smpp_max_binds = 1;
        }),
    );
    assert_carries(&mut stage, one, links[0], 1);
    assert_carries(&mut stage, two, links[0], 1);
    let third = stage.accept();
    assert_eq!(stage.bind(third, 0, BTX, 0x34).status, CommandStatus::ESME_RBINDFAIL);
}

#[test]
fn timers_that_are_switched_on_hold_for_standing_sessions() {
    let silent = with(&settings(), |it| {
        (it.gateway.enquire_link_ms, it.gateway.inactivity_timeout_ms) = (0, 0);
        it.vendors[0].enquire_link_ms = 0;
    });
    let (mut stage, links) = Stage::with_vendors(silent.clone());
    let session = stage.bound(0, BTX);
    stage.pass_ms(60_000);
    assert!(stage.pdus(session).is_empty() && stage.pdus(links[0]).is_empty());
    apply(
        &mut stage,
        with(&silent, |it| {
            it.gateway.enquire_link_ms = 1_000;
            it.vendors[0].enquire_link_ms = 1_000;
        }),
    );
    stage.pass_ms(1_200);
    assert_eq!(stage.pdus(session)[0].command, CommandId::ENQUIRE_LINK);
    assert_eq!(stage.pdus(links[0])[0].command, CommandId::ENQUIRE_LINK);
}

#[test]
fn many_changes_take_many_turns_and_none_is_left_out() {
    let (mut stage, _links) = Stage::with_vendors(settings());
    let many = with(&settings(), |it| {
        it.customers.extend((0..5_000).map(|number| customer(&format!("c{number}"))));
        it.vendors.extend((0..100).map(|number| vendor(&format!("v{number}"))));
    });
    let next = stage.shard.snapshot().succeed(many, &mut Patterns::default()).unwrap();
    stage.shard.apply(Arc::new(next), &mut stage.out);
    let mut turns = 0;
    while stage.shard.report().snapshot_version < 2 {
        stage.shard.tick(stage.now, &mut stage.out);
        assert!(stage.connects().len() <= smpp_shards::bounds::VENDORS_CHANGED_PER_TURN);
        turns += 1;
    }
    assert!((20..100).contains(&turns), "{turns}");
    assert_eq!((stage.shard.report().customers.len(), stage.shard.report().vendors.len()), (5_001, 101));
    let states = stage.shard.report().vendors;
    assert!(states[1..].iter().all(|vendor| vendor.state == VendorState::Connecting));
}

#[test]
fn a_version_that_is_overtaken_and_one_that_comes_while_stopping_are_given_back() {
    let mut stage = Stage::new(settings());
    let version = |number| {
        let snapshot = Snapshot::build(settings(), 1, number).unwrap();
        Arc::new(snapshot)
    };
    stage.shard.apply(version(2), &mut stage.out);
    stage.shard.apply(version(3), &mut stage.out);
    stage.pass_ms(50);
    assert_eq!(retired(&mut stage), [(1, 2), (3, 1)]);
    stage.shard.drain(smpp_shards::DrainPhase::Refuse, stage.now, &mut stage.out);
    stage.shard.apply(version(4), &mut stage.out);
    assert_eq!(retired(&mut stage), [(1, 2), (3, 1), (3, 4)]);
}
