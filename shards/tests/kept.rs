//! Journal mode: who is answered when, what is recorded, what a failing disk does.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

mod common;

use common::kept::*;
use common::*;
use smpp_pdu::message::resp_message_id;
use smpp_pdu::receipt::{MessageState, Receipt};
use smpp_pdu::{CommandId, CommandStatus, ShortMessage};
use smpp_shards::bounds::JOURNAL_ROOM_MS;
use smpp_shards::restore::{Strange, share, strangers};
use smpp_shards::routing::Patterns;
use smpp_shards::settings::GatewaySettings;
use smpp_shards::{Action, Conn, CustomerId, Event, JournalSetup, Settings, Snapshot};

const OK: CommandStatus = CommandStatus::ESME_ROK;

#[test]
fn the_customer_is_answered_when_its_message_is_on_disk_and_not_before() {
    let mut kept = Kept::new(settings());
    let sequence = kept.submit(5, 0);
    kept.stage.feed(kept.link, &submit_resp(sequence, b"v1"));
    assert!(kept.stage.pdus(kept.customer).is_empty(), "the vendor has it, the disk has not");
    kept.commit();
    let answer = kept.stage.pdu(kept.customer);
    assert_eq!((answer.status, answer.sequence), (OK, 5));
    assert_eq!(kept.live(), (0, 0, 0), "no receipt was asked for: the message is done");
}

#[test]
fn an_answered_message_is_found_again_until_its_final_receipt_was_taken() {
    let mut kept = Kept::new(settings());
    let sequence = kept.submit(5, 1);
    kept.commit();
    let answer = kept.stage.pdu(kept.customer);
    assert_eq!(answer.status, OK);
    assert_eq!(kept.live(), (1, 0, 0), "not sent as far as anybody knows");
    kept.stage.feed(kept.link, &submit_resp(sequence, b"v1"));
    kept.commit();
    assert_eq!(kept.live(), (0, 1, 0));

    kept.stage.feed(kept.link, &receipt_of("v1", "DELIVRD"));
    assert!(kept.stage.pdus(kept.link).is_empty(), "nobody has it for good yet");
    let delivered = kept.stage.pdu(kept.customer);
    assert_eq!(
        Receipt::parse(ShortMessage::decode(&delivered.bytes).unwrap().short_message).id,
        Some(resp_message_id(&answer.bytes))
    );
    kept.commit();
    let taken = kept.stage.pdu(kept.link);
    assert_eq!((taken.command, taken.status), (CommandId::DELIVER_SM_RESP, OK), "the journal has it");
    assert_eq!(kept.live(), (0, 1, 1));
    kept.stage.feed(kept.customer, &deliver_resp(delivered.sequence, OK));
    kept.commit();
    assert_eq!(kept.live(), (0, 0, 0));
    assert!(kept.stage.pdus(kept.link).is_empty(), "the vendor is answered once");
}

#[test]
fn a_refusal_before_the_commit_is_the_answer_and_one_after_it_is_a_receipt() {
    let mut kept = Kept::new(settings());
    let refused = |sequence| answer(CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RINVDSTADR, sequence);
    let sequence = kept.submit(5, 1);
    kept.stage.feed(kept.link, &refused(sequence));
    let told = kept.stage.pdu(kept.customer);
    assert_eq!((told.command, told.status), (CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RINVDSTADR));
    kept.commit();
    assert!(kept.stage.pdus(kept.customer).is_empty());

    let sequence = kept.submit(6, 1);
    kept.commit();
    let told = kept.stage.pdu(kept.customer);
    assert_eq!(told.status, OK);
    kept.stage.feed(kept.link, &refused(sequence));
    let receipt = kept.stage.pdu(kept.customer);
    let seen = ShortMessage::decode(&receipt.bytes).unwrap();
    let text = Receipt::parse(seen.short_message);
    assert!(seen.is_receipt());
    assert_eq!((text.id, text.state()), (Some(resp_message_id(&told.bytes)), Some(MessageState::Undeliverable)));
    assert_eq!((seen.source.addr, seen.dest.addr), (&b"15551234567"[..], &b"ACME"[..]));
    kept.stage.feed(kept.customer, &deliver_resp(receipt.sequence, OK));
    kept.commit();
    assert_eq!(kept.live(), (0, 0, 0));
}

#[test]
fn an_outcome_nobody_knows_is_sent_again_to_the_same_vendor_and_counted() {
    let mut kept = Kept::new(settings());
    kept.submit(5, 0);
    kept.commit();
    assert_eq!(kept.stage.pdu(kept.customer).status, OK);
    kept.stage.pass_ms(70_000);
    let sent: Vec<_> =
        kept.stage.pdus(kept.link).into_iter().filter(|pdu| pdu.command == CommandId::SUBMIT_SM).collect();
    assert_eq!(sent.len(), 1, "once more, and no third time: {sent:?}");
    let report = kept.stage.shard.report();
    assert!(report.vendors[0].possible_duplicates >= 1);
}

#[test]
fn a_message_whose_outcome_stays_unknown_is_told_as_unknown_and_not_as_failed() {
    let mut kept = Kept::new(settings());
    kept.submit(5, 1);
    kept.commit();
    assert_eq!(kept.stage.pdu(kept.customer).status, OK);
    kept.stage.pass_ms(75_000);
    let told = kept.deliveries(kept.customer);
    assert_eq!(told.iter().map(|pdu| stat_of(&pdu.bytes)).collect::<Vec<_>>(), [Some(MessageState::Unknown)]);
    kept.stage.feed(kept.customer, &deliver_resp(told[0].sequence, OK));
    kept.stage.pass_ms(65_000);
    assert!(kept.deliveries(kept.customer).is_empty());
}

#[test]
fn a_failing_disk_refuses_what_is_new_and_loses_nothing() {
    let mut kept = Kept::new(settings());
    let first = kept.submit(5, 0);
    kept.fail();
    assert!(kept.stage.pdus(kept.customer).is_empty());
    kept.stage.feed(kept.customer, &submit(6, &message(b"too late")));
    let refused = kept.stage.pdu(kept.customer);
    assert_eq!((refused.status, refused.sequence), (CommandStatus::ESME_RSYSERR, 6));
    assert!(kept.batch().is_none(), "the disk has its rest");
    kept.stage.pass_ms(600);
    // The file that failed is not used again.
    kept.disk = vec![Vec::new()];
    kept.commit();
    assert!(kept.disk[0].is_empty() && !kept.disk[1].is_empty());
    assert_eq!(kept.stage.pdu(kept.customer).status, OK);
    assert_eq!(kept.live(), (1, 0, 0));
    kept.stage.feed(kept.link, &submit_resp(first, b"v1"));
    kept.submit(7, 0);
    kept.commit();
    assert_eq!(kept.stage.pdu(kept.customer).status, OK, "works again");
}

#[test]
fn the_vendors_answer_is_the_answer_while_the_disk_fails() {
    let mut kept = Kept::new(settings());
    let sequence = kept.submit(5, 0);
    kept.fail();
    kept.stage.feed(kept.link, &answer(CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RINVDSTADR, sequence));
    assert_eq!(kept.stage.pdu(kept.customer).status, CommandStatus::ESME_RINVDSTADR);
}

#[test]
fn segments_are_freed_from_the_oldest_when_all_in_them_is_done() {
    let mut kept = Kept::new(settings());
    let mut freed = 0;
    for sequence in 1..=60_000u32 {
        let sent = kept.submit(sequence, 0);
        kept.stage.feed(kept.link, &submit_resp(sent, b"v1"));
        kept.commit();
        assert_eq!(kept.stage.pdu(kept.customer).status, OK);
        kept.stage.drain_actions();
        for action in kept.stage.actions.drain(..) {
            if let Action::FreeSegments { before } = action {
                freed = freed.max(before);
                kept.disk[..before as usize].iter_mut().for_each(Vec::clear);
            }
        }
    }
    assert!(kept.disk.len() > 20, "{} segments", kept.disk.len());
    assert!(freed as usize >= kept.disk.len() - 3, "{freed} of {}", kept.disk.len());
}

#[test]
fn a_message_that_no_vendor_had_answered_is_sent_after_a_restart_and_done_after_its_answer() {
    let mut kept = Kept::new(settings());
    kept.submit(5, 0);
    kept.commit();
    assert_eq!(kept.stage.pdu(kept.customer).status, OK);
    let mut kept = kept.restarted();
    let again = kept.stage.pdu(kept.link);
    assert_eq!(again.command, CommandId::SUBMIT_SM);
    assert_eq!(ShortMessage::decode(&again.bytes).unwrap().short_message, b"keep me");
    assert_eq!(kept.live(), (1, 0, 0));
    kept.stage.feed(kept.link, &submit_resp(again.sequence, b"v1"));
    kept.commit();
    assert_eq!(kept.live(), (0, 0, 0));
    assert_eq!(kept.stage.shard.report().possible_duplicates, 1);
    assert!(kept.stage.pdus(kept.customer).is_empty(), "its customer was answered before");
}

#[test]
fn a_receipt_finds_a_message_from_before_a_restart() {
    let mut kept = Kept::new(settings());
    let sequence = kept.submit(5, 1);
    kept.commit();
    let ours = resp_message_id(&kept.stage.pdu(kept.customer).bytes).to_vec();
    kept.stage.feed(kept.link, &submit_resp(sequence, b"0000ABC1"));
    kept.commit();
    let mut kept = kept.restarted();
    assert!(kept.stage.pdus(kept.link).is_empty(), "it is not sent again");
    kept.stage.feed(kept.link, &receipt_of("0000abc1", "DELIVRD"));
    let delivered = kept.stage.pdu(kept.customer);
    let seen = ShortMessage::decode(&delivered.bytes).unwrap();
    assert_eq!(Receipt::parse(seen.short_message).id, Some(&ours[..]));
    kept.stage.feed(kept.customer, &deliver_resp(delivered.sequence, OK));
    kept.commit();
    assert_eq!(kept.live(), (0, 0, 0));
}

#[test]
fn tlvs_of_version_5_are_kept_from_older_customers_after_a_restart_too() {
    let mut kept = Kept::new(settings());
    let sequence = kept.submit(5, 1);
    kept.commit();
    kept.stage.feed(kept.link, &submit_resp(sequence, b"v1"));
    let text = "id:v1 stat:DELIVRD err:000";
    let tlvs = smpp_pdu::Tlvs::new(b"\x04\x28\x00\x01\x10\x14\x00\x00\x02zz");
    kept.stage.feed(kept.link, &deliver(90, &ShortMessage { esm_class: 0x04, tlvs, ..message(text.as_bytes()) }));
    kept.commit();
    let mut kept = kept.restarted();
    let delivered = kept.stage.pdu(kept.customer);
    let seen = ShortMessage::decode(&delivered.bytes).unwrap();
    assert!(seen.tlvs.find(smpp_pdu::Tag(0x1400)).is_some() && !seen.tlvs.has_version_5());
}

#[test]
fn a_receipt_that_was_acknowledged_reaches_its_customer_after_a_restart() {
    let mut kept = Kept::new(settings());
    let sequence = kept.submit(5, 1);
    kept.commit();
    kept.stage.feed(kept.link, &submit_resp(sequence, b"v1"));
    kept.stage.feed(kept.link, &receipt_of("v1", "DELIVRD"));
    kept.commit();
    assert_eq!(kept.live(), (0, 1, 1));
    let mut kept = kept.restarted();
    let delivered = kept.stage.pdu(kept.customer);
    assert_eq!(delivered.command, CommandId::DELIVER_SM);
    kept.stage.feed(kept.customer, &deliver_resp(delivered.sequence, OK));
    kept.commit();
    assert_eq!(kept.live(), (0, 0, 0));
    assert!(kept.restarted().stage.pdus(Conn(0)).is_empty(), "nothing is left");
}

#[test]
fn what_was_not_on_disk_was_not_acknowledged() {
    let mut kept = Kept::new(settings());
    kept.submit(5, 0);
    assert!(kept.stage.pdus(kept.customer).is_empty());
    let mut kept = kept.restarted();
    assert!(kept.stage.pdus(kept.link).is_empty());
}

#[test]
fn a_customer_that_is_no_longer_configured_is_named_when_the_journal_holds_something_of_it() {
    let mut kept = Kept::new(settings());
    kept.submit(5, 0);
    kept.commit();
    let without = Settings { customers: vec![customer("other")], ..settings() };
    let snapshot = Snapshot::build(without, 1, 1).unwrap();
    assert_eq!(share(kept.replayed(), &snapshot, 1).unwrap_err(), ["acme"]);
    let strange = strangers(&kept.replayed(), &snapshot);
    assert_eq!(strange, [("acme".to_owned(), Strange { messages: 1, receipts: 0 })].into());
}

#[test]
fn a_customer_that_is_remembered_keeps_what_it_was_promised_until_it_comes_back() {
    let mut kept = Kept::new(settings());
    kept.submit(5, 1);
    kept.commit();
    let without = Settings { customers: vec![customer("other")], ..settings() };
    let mut snapshot = Snapshot::build(without, 1, 1).unwrap();
    snapshot.remember_customers(&["acme".into(), "other".into()]);
    assert_eq!((snapshot.customers.len(), snapshot.present_customers().count()), (2, 1));
    assert!(snapshot.customer_by_system_id(b"acme").is_none(), "nobody binds as it");
    assert!(strangers(&kept.replayed(), &snapshot).is_empty());
    let shares = share(kept.replayed(), &snapshot, 1).unwrap();
    assert_eq!(shares.shards[0].messages[0].customer, CustomerId(1));
    let back = Settings { customers: vec![customer("acme"), customer("other")], ..settings() };
    let next = snapshot.succeed(back, &mut Patterns::default()).unwrap();
    assert_eq!(next.customer_by_system_id(b"acme").map(|customer| customer.id), Some(CustomerId(1)));
}

#[test]
fn a_message_whose_receipt_never_comes_ends_with_its_validity() {
    let mut kept = Kept::new(Settings {
        gateway: GatewaySettings {
            validity_hours: 1,
            enquire_link_ms: 0,
            inactivity_timeout_ms: 0,
            ..GatewaySettings::default()
        },
        ..settings()
    });
    let sequence = kept.submit(5, 1);
    kept.commit();
    kept.stage.feed(kept.link, &submit_resp(sequence, b"v1"));
    kept.commit();
    assert_eq!(kept.live(), (0, 1, 0));
    kept.stage.pass_ms(3_599_000);
    kept.commit();
    assert_eq!(kept.live(), (0, 1, 0));
    kept.stage.pass_ms(2_000);
    kept.commit();
    assert_eq!(kept.live(), (0, 0, 0));
    assert_eq!(kept.stage.shard.report().messages_kept, 0);
}

#[test]
fn what_lives_long_is_carried_forward_and_its_segment_goes() {
    let mut kept = Kept::new(settings());
    let long = kept.submit(1, 1);
    kept.commit();
    let ours = resp_message_id(&kept.stage.pdu(kept.customer).bytes).to_vec();
    let mut freed = 0;
    for sequence in 2..=30_000u32 {
        if sequence == 9_000 {
            // Its vendor's answer stands in another segment.
            kept.stage.feed(kept.link, &submit_resp(long, b"0000ABC1"));
        }
        let sent = kept.submit(sequence, 0);
        kept.stage.feed(kept.link, &submit_resp(sent, b"v1"));
        kept.stage.pass_ms(1);
        kept.commit();
        assert_eq!(kept.stage.pdu(kept.customer).status, OK, "{sequence}");
        freed = freed.max(kept.serve_disk());
    }
    assert!(freed >= 4, "{freed} of {} segments were freed", kept.disk.len());
    kept.disk[..freed as usize].iter_mut().for_each(Vec::clear);
    assert_eq!(kept.live(), (0, 1, 0));
    let mut kept = kept.restarted();
    kept.stage.feed(kept.link, &receipt_of("0000abc1", "DELIVRD"));
    let delivered = kept.stage.pdu(kept.customer);
    let seen = ShortMessage::decode(&delivered.bytes).unwrap();
    assert_eq!(Receipt::parse(seen.short_message).id, Some(&ours[..]));
}

#[test]
fn a_segment_that_lasts_as_a_whole_does_not_fill_the_journal_with_what_is_dead_behind_it() {
    let mut kept = Kept::new(settings());
    let lasting = (SEGMENT_BYTES / LONG_TEXT as u64 + 1) as u32;
    for number in 0..lasting {
        assert_eq!(submit_long(&mut kept, number, 1), OK);
    }
    // Four times what the journal has room for.
    for number in lasting..lasting + 4 * 64 * (1 << 20) / LONG_TEXT as u32 {
        assert_eq!(submit_long(&mut kept, number, 0), OK, "{number}");
        kept.serve_disk();
    }
    assert_eq!(kept.stage.shard.report().messages_kept, u64::from(lasting));
}

/// Octets of a text, in message_payload.
const LONG_TEXT: usize = 60_000;

/// Submits a long message, which its vendor takes; gives what its customer is told.
fn submit_long(kept: &mut Kept, number: u32, registered_delivery: u8) -> CommandStatus {
    let payload = [&[0x04, 0x24][..], &(LONG_TEXT as u16).to_be_bytes(), &[b'x'; LONG_TEXT]].concat();
    let tlvs = smpp_pdu::Tlvs::new(&payload);
    let asked = ShortMessage { registered_delivery, tlvs, ..message(b"") };
    kept.stage.feed(kept.customer, &submit(number + 1, &asked));
    for sent in kept.stage.pdus(kept.link) {
        kept.stage.feed(kept.link, &submit_resp(sent.sequence, format!("full{number}").as_bytes()));
    }
    kept.stage.pass_ms(1);
    kept.commit();
    kept.stage.pdu(kept.customer).status
}

/// Submits messages of which nothing ends until one is refused; gives how many were accepted.
fn fill(kept: &mut Kept) -> u32 {
    for number in 0..10_000 {
        let status = submit_long(kept, number, 1);
        if status != OK {
            assert_eq!(status, CommandStatus::ESME_RSYSERR);
            return number;
        }
    }
    panic!("it is never full");
}

/// What was told of the journal's room since the last look.
fn told(kept: &mut Kept) -> Vec<&'static str> {
    kept.stage.drain_actions();
    let events = kept.stage.actions.drain(..).filter_map(|action| match action {
        Action::Log(Event::JournalFull { bytes, bytes_max }) if bytes >= bytes_max => Some("full"),
        Action::Log(Event::JournalHasRoom { bytes, bytes_max }) if bytes < bytes_max => Some("room"),
        Action::Log(Event::JournalFails { .. } | Event::JournalWorks) => Some("disk"),
        _ => None,
    });
    events.collect()
}

#[test]
fn a_disk_that_is_full_is_told_once_and_once_that_it_is_written_again() {
    let mut kept = Kept::new(settings());
    kept.submit(5, 0);
    let reason = "no space left";
    // The file ahead cannot be made, then there is none for the next batch either.
    kept.stage.shard.journal_short(Some(reason), &mut kept.stage.out);
    kept.stage.shard.journal_stalled(reason, &mut kept.stage.out);
    assert_eq!(told(&mut kept), ["disk"]);
    kept.stage.shard.journal_short(None, &mut kept.stage.out);
    assert!(told(&mut kept).is_empty(), "nothing has been written yet");
    kept.commit();
    assert_eq!(told(&mut kept), ["disk"]);
}

#[test]
fn a_journal_that_is_full_tells_it_once_and_once_that_it_has_room_again() {
    let mut kept = Kept::new(settings());
    let accepted = fill(&mut kept);
    assert_eq!(told(&mut kept), ["full"]);
    let journal = kept.stage.shard.report().journal.unwrap();
    assert_eq!((journal.is_failing(), journal.is_full, journal.is_unwritten), (true, true, false));
    // Half of it ends: some segments go, and for a moment there is room.
    let end = |kept: &mut Kept, number: u32| {
        kept.stage.feed(kept.link, &receipt_of(&format!("full{number}"), "DELIVRD"));
        let delivered = kept.stage.pdu(kept.customer);
        kept.stage.feed(kept.customer, &deliver_resp(delivered.sequence, OK));
        kept.commit();
        kept.stage.pass_ms(1);
        kept.stage.pdus(kept.link);
    };
    (0..accepted / 2).for_each(|number| end(&mut kept, number));
    let journal = kept.stage.shard.report().journal.unwrap();
    assert_eq!((journal.is_failing(), journal.is_full), (false, false));
    assert!(told(&mut kept).is_empty(), "it may be full again at once");
    let more = fill(&mut kept);
    assert!(more > 0);
    kept.stage.pass_ms(2 * JOURNAL_ROOM_MS);
    assert!(told(&mut kept).is_empty(), "it is still the same fullness");
    (accepted / 2..accepted).for_each(|number| end(&mut kept, number));
    kept.stage.pass_ms(JOURNAL_ROOM_MS);
    assert_eq!(told(&mut kept), ["room"]);
    kept.stage.pass_ms(4 * JOURNAL_ROOM_MS);
    assert!(told(&mut kept).is_empty());
}

#[test]
fn a_message_that_a_removed_vendor_has_is_not_sent_again() {
    let mut kept = Kept::new(Settings { vendors: vec![vendor("north"), vendor("gone")], ..settings() });
    kept.stage.bind_links();
    let sequence = kept.submit(5, 1);
    kept.commit();
    kept.stage.feed(kept.link, &submit_resp(sequence, b"v1"));
    kept.commit();
    // The vendor that has it is not in the configuration of the starts that follow.
    let renamed =
        || Settings { vendors: vec![vendor("other")], routing_rules: vec![rule("^1.*", "other")], ..settings() };
    for _ in 0..2 {
        kept = kept.restarted_with(renamed());
        assert!(kept.stage.pdus(kept.link).is_empty(), "sent again");
        assert_eq!(kept.live(), (0, 1, 0));
    }
}

#[test]
fn a_start_that_waits_for_the_disk_sleeps_until_the_disk_tells_something() {
    let mut kept = Kept::new(settings());
    for sequence in 5..10 {
        kept.submit(sequence, 1);
    }
    kept.commit();
    let snapshot = Snapshot::build(settings(), 1, 1).expect("a configuration");
    let journal = JournalSetup { log: LOG, segment_bytes: SEGMENT_BYTES, bytes_max: 64 << 20, commit_wait_us: 0 };
    let mut shares = share(kept.replayed(), &snapshot, 1).expect("its customers are configured");
    let mut stage = Stage::with_journal(settings(), Some(journal), shares.shards.remove(0));
    assert!(stage.shard.next_deadline() <= stage.now.mono, "there is something to take over");
    assert!(!stage.shard.is_restore_held_up());
    stage.shard.journal_stalled("no space left", &mut stage.out);
    stage.shard.tick(stage.now, &mut stage.out);
    assert_eq!(stage.shard.to_restore(), (5, 5));
    assert!(stage.shard.is_restore_held_up());
    assert!(stage.shard.next_deadline() > stage.now.mono, "the disk is waited for, not looked at over and over");
}
