//! Journal mode: who is answered when, what is recorded, what a failing disk does.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

mod common;

use common::*;
use smpp_pdu::message::resp_message_id;
use smpp_pdu::receipt::{MessageState, Receipt};
use smpp_pdu::{CommandId, CommandStatus, ShortMessage};
use smpp_shards::bounds::{DELIVER_RESPONSE_MS_MAX, JOURNAL_ROOM_MS};
use smpp_shards::journal::{Batch, Live, LogName, Replay};
use smpp_shards::restore::{Restored, Strange, share, strangers};
use smpp_shards::routing::Patterns;
use smpp_shards::settings::GatewaySettings;
use smpp_shards::{Action, CloseCause, Conn, CustomerId, Event, JournalSetup, Settings, Snapshot};

const OK: CommandStatus = CommandStatus::ESME_ROK;
const LOG: LogName = LogName { start: 1_700_000_000_000, shard: 0 };
const SEGMENT_BYTES: u64 = 8 << 20;

/// A shard with a journal, and a disk that the test plays.
struct Kept {
    stage: Stage,
    link: Conn,
    customer: Conn,
    log: LogName,
    /// By segment.
    disk: Vec<Vec<u8>>,
}

impl Kept {
    fn new(settings: Settings) -> Self {
        Self::after(settings, LOG, Restored::default())
    }

    fn after(settings: Settings, log: LogName, restored: Restored) -> Self {
        let journal = JournalSetup { log, segment_bytes: SEGMENT_BYTES, bytes_max: 64 << 20, commit_wait_us: 0 };
        let mut stage = Stage::with_journal(settings, Some(journal), restored);
        let link = stage.bind_links()[0];
        let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
        Self { stage, link, customer, log, disk: Vec::new() }
    }

    /// The process is killed, and started again: what is not on disk is gone.
    fn restarted(self) -> Self {
        self.restarted_with(settings())
    }

    fn restarted_with(self, settings: Settings) -> Self {
        let snapshot = Snapshot::build(settings.clone(), 1, 1).expect("a configuration");
        let mut shares = share(self.replayed(), &snapshot, 1).expect("its customers are configured");
        let mut kept = Self::after(settings, LogName { start: self.log.start + 1, shard: 0 }, shares.shards.remove(0));
        assert!(shares.homes.len() <= 1);
        kept.stage.pass_ms(5);
        kept.commit();
        kept.stage.pass_ms(5);
        assert!(!kept.stage.shard.is_restoring());
        kept
    }

    fn replayed(&self) -> Live {
        let mut replay = Replay::new();
        for (segment, octets) in self.disk.iter().enumerate() {
            replay.add(self.log, segment as u32, "disk", octets);
        }
        replay.finish()
    }

    /// What the shard wants written; `None` when nothing.
    fn batch(&mut self) -> Option<Batch> {
        self.stage.shard.take_batch(self.stage.now)
    }

    /// Writes all there is to write.
    fn commit(&mut self) {
        while let Some(mut batch) = self.batch() {
            self.disk.resize(self.disk.len().max(batch.segment() as usize + 1), Vec::new());
            let file = &mut self.disk[batch.segment() as usize];
            assert_eq!(file.len() as u64, batch.offset(), "batches follow one another");
            file.extend_from_slice(batch.seal());
            self.stage.shard.batch_written(batch, self.stage.now, &mut self.stage.out);
        }
    }

    /// Reads segments that the shard wants; the first one that it still wants.
    fn serve_disk(&mut self) -> u32 {
        let mut freed = 0;
        self.stage.drain_actions();
        for action in core::mem::take(&mut self.stage.actions) {
            match action {
                Action::FreeSegments { before } => freed = before,
                Action::ReadSegment { segment } => {
                    let octets = Ok(self.disk[segment as usize].clone());
                    self.stage.shard.segment_read(segment, octets, &mut self.stage.out);
                }
                _ => {}
            }
        }
        freed
    }

    fn fail(&mut self) {
        let batch = self.batch().expect("something is to be written");
        self.stage.shard.batch_failed(batch, "no space left", self.stage.now, &mut self.stage.out);
    }

    /// What a restart would find: messages not sent, messages sent, receipts.
    fn live(&self) -> (usize, usize, usize) {
        let live = self.replayed();
        assert_eq!(live.problem_count, 0, "{:?}", live.problems);
        let sent = live.messages.iter().filter(|message| message.sent.is_some()).count();
        (live.messages.len() - sent, sent, live.receipts.len())
    }

    fn submit(&mut self, sequence: u32, registered_delivery: u8) -> u32 {
        let message = ShortMessage { registered_delivery, ..message(b"keep me") };
        self.stage.feed(self.customer, &submit(sequence, &message));
        self.stage.pdu(self.link).sequence
    }
}

impl Kept {
    /// A message goes all its way, and its receipt comes.
    fn give_receipt(&mut self, id: &str) {
        let sequence = self.submit(5, 1);
        self.commit();
        self.stage.feed(self.link, &submit_resp(sequence, id.as_bytes()));
        self.stage.feed(self.link, &receipt_of(id, "DELIVRD"));
        self.commit();
        self.stage.pdus(self.link);
    }

    /// The deliver_sm that came to a session.
    fn deliveries(&mut self, conn: Conn) -> Vec<Pdu> {
        self.stage.pdus(conn).into_iter().filter(|pdu| pdu.command == CommandId::DELIVER_SM).collect()
    }
}

fn receipt_of(id: &str, stat: &str) -> Vec<u8> {
    let text =
        format!("id:{id} sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:{stat} err:000 text:");
    deliver(90, &ShortMessage { esm_class: 0x04, ..message(text.as_bytes()) })
}

/// What a receipt says; `None` for any other PDU.
fn stat_of(pdu: &[u8]) -> Option<MessageState> {
    let message = ShortMessage::decode(pdu).ok()?;
    Receipt::parse(message.short_message).state()
}

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
fn a_receipt_that_was_there_before_the_commit_follows_the_answer_at_once() {
    let mut kept = Kept::new(settings());
    let sequence = kept.submit(5, 1);
    kept.stage.feed(kept.link, &submit_resp(sequence, b"v1"));
    kept.stage.feed(kept.link, &receipt_of("v1", "DELIVRD"));
    kept.stage.pass_ms(1000);
    assert!(kept.stage.pdus(kept.customer).is_empty(), "the customer does not know the message's id yet");
    kept.commit();
    let commands: Vec<CommandId> = kept.stage.pdus(kept.customer).iter().map(|pdu| pdu.command).collect();
    assert_eq!(commands, [CommandId::SUBMIT_SM_RESP, CommandId::DELIVER_SM]);
}

#[test]
fn what_a_receipt_says_makes_no_difference_to_its_waiting_for_the_answer() {
    let mut kept = Kept::new(settings());
    let sequence = kept.submit(5, 0x11);
    kept.stage.feed(kept.link, &submit_resp(sequence, b"v1"));
    for stat in ["ENROUTE", "ACCEPTD", "DELIVRD"] {
        kept.stage.feed(kept.link, &receipt_of("v1", stat));
    }
    assert!(kept.stage.pdus(kept.customer).is_empty(), "the customer does not know the message's id yet");
    kept.commit();
    kept.stage.pass_ms(1000);
    let got: Vec<_> = kept.stage.pdus(kept.customer).iter().map(|pdu| (pdu.command, stat_of(&pdu.bytes))).collect();
    let receipt = |state| (CommandId::DELIVER_SM, Some(state));
    assert_eq!(got[..2], [(CommandId::SUBMIT_SM_RESP, None), receipt(MessageState::Enroute)]);
    assert_eq!(got[2..], [receipt(MessageState::Accepted), receipt(MessageState::Delivered)]);
}

#[test]
fn a_receipt_that_the_customer_took_before_the_commit_is_acknowledged_at_once() {
    let mut kept = Kept::new(settings());
    let sequence = kept.submit(5, 1);
    kept.commit();
    kept.stage.feed(kept.link, &submit_resp(sequence, b"v1"));
    kept.stage.pdus(kept.customer);
    kept.stage.feed(kept.link, &receipt_of("v1", "DELIVRD"));
    let delivered = kept.stage.pdu(kept.customer);
    kept.stage.feed(kept.customer, &deliver_resp(delivered.sequence, OK));
    assert_eq!(kept.stage.pdu(kept.link).status, OK);
    kept.commit();
    assert!(kept.stage.pdus(kept.link).is_empty());
    assert_eq!(kept.live(), (0, 0, 0));
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
fn receipts_wait_for_a_customer_that_is_away_and_the_vendor_need_not() {
    let mut kept = Kept::new(settings());
    let sequence = kept.submit(5, 1);
    kept.commit();
    kept.stage.feed(kept.link, &submit_resp(sequence, b"v1"));
    kept.stage.pdus(kept.customer);
    kept.stage.shard.closed(kept.customer, CloseCause::EndOfStream, kept.stage.now, &mut kept.stage.out);
    kept.stage.feed(kept.link, &receipt_of("v1", "DELIVRD"));
    kept.commit();
    assert_eq!(kept.stage.pdu(kept.link).status, OK);
    kept.stage.pass_ms(60_000);
    kept.stage.pdus(kept.link);
    kept.customer = kept.stage.accept();
    kept.stage.feed(kept.customer, &bind_pdu(CommandId::BIND_RECEIVER, 1, 0x34));
    kept.stage.verdict(Ok((smpp_shards::CustomerId(0), smpp_shards::ShardId(0))));
    let pdus = kept.stage.pdus(kept.customer);
    let [bound, delivered] = &pdus[..] else { panic!("{pdus:?}") };
    assert_eq!((bound.status, delivered.command), (OK, CommandId::DELIVER_SM));
    kept.stage.feed(kept.customer, &deliver_resp(delivered.sequence, OK));
    kept.commit();
    assert_eq!(kept.live(), (0, 0, 0));
}

#[test]
fn a_receipt_that_is_refused_for_the_moment_is_given_again() {
    let mut kept = Kept::new(settings());
    let sequence = kept.submit(5, 1);
    kept.commit();
    kept.stage.feed(kept.link, &submit_resp(sequence, b"v1"));
    kept.stage.pdus(kept.customer);
    kept.stage.feed(kept.link, &receipt_of("v1", "DELIVRD"));
    let delivered = kept.stage.pdu(kept.customer);
    kept.commit();
    kept.stage.feed(kept.customer, &deliver_resp(delivered.sequence, CommandStatus::ESME_RX_T_APPN));
    assert!(kept.stage.pdus(kept.customer).is_empty());
    kept.stage.pass_ms(6_000);
    let again = kept.stage.pdu(kept.customer);
    kept.stage.feed(kept.customer, &deliver_resp(again.sequence, CommandStatus::ESME_RX_P_APPN));
    kept.commit();
    assert_eq!(kept.live(), (0, 0, 0), "refused for good");
}

#[test]
fn a_receipt_that_one_bind_leaves_unanswered_goes_to_another() {
    let mut settings = settings();
    (settings.gateway.enquire_link_ms, settings.gateway.inactivity_timeout_ms) = (0, 0);
    settings.vendors[0].enquire_link_ms = 0;
    let mut kept = Kept::new(settings);
    let mute = kept.customer;
    kept.give_receipt("v0");
    let unanswered = kept.deliveries(mute).pop().unwrap();
    let other = kept.stage.bound(0, CommandId::BIND_TRANSCEIVER);
    kept.stage.pass_ms(DELIVER_RESPONSE_MS_MAX - 1_000);
    assert!(kept.deliveries(mute).is_empty() && kept.deliveries(other).is_empty(), "it has its time to answer");
    kept.stage.pass_ms(2_000);
    // It goes to either of them; until it answers something, no more than one at a time goes to the mute one.
    let (mut at_mute, mut at_other) = (0, 0);
    for number in 1..=10 {
        at_mute += kept.deliveries(mute).len();
        for pdu in kept.deliveries(other) {
            assert_eq!(stat_of(&pdu.bytes), Some(MessageState::Delivered));
            kept.stage.feed(other, &deliver_resp(pdu.sequence, OK));
            at_other += 1;
        }
        kept.give_receipt(&format!("v{number}"));
    }
    at_other += kept.deliveries(other).len();
    assert_eq!((at_mute, at_other), (1, 10), "eleven receipts, the first one again");
    kept.stage.feed(mute, &deliver_resp(unanswered.sequence, OK));
    (11..=14).for_each(|number| kept.give_receipt(&format!("v{number}")));
    assert_eq!(kept.deliveries(mute).len(), 2, "it has answered, and has its share again");
}

#[test]
fn a_bind_that_answers_late_gets_at_once_what_waited_for_it() {
    let mut settings = settings();
    (settings.gateway.enquire_link_ms, settings.gateway.inactivity_timeout_ms) = (0, 0);
    settings.vendors[0].enquire_link_ms = 0;
    let mut kept = Kept::new(settings);
    (0..3).for_each(|number| kept.give_receipt(&format!("v{number}")));
    let late = kept.deliveries(kept.customer);
    kept.stage.pass_ms(DELIVER_RESPONSE_MS_MAX + 1_000);
    assert_eq!((late.len(), kept.deliveries(kept.customer).len()), (3, 1));
    kept.stage.feed(kept.customer, &deliver_resp(late[0].sequence, OK));
    assert_eq!(kept.deliveries(kept.customer).len(), 2);
}

#[test]
fn a_receipt_whose_bind_ends_without_an_answer_waits_as_long_as_any() {
    let mut settings = settings();
    settings.vendors[0].enquire_link_ms = 0;
    let mut kept = Kept::new(settings);
    kept.give_receipt("v1");
    assert_eq!(kept.deliveries(kept.customer).len(), 1);
    kept.stage.shard.closed(kept.customer, CloseCause::EndOfStream, kept.stage.now, &mut kept.stage.out);
    kept.stage.pass_ms(10 * DELIVER_RESPONSE_MS_MAX);
    kept.commit();
    assert_eq!(kept.live(), (0, 1, 1));
    kept.customer = kept.stage.accept();
    kept.stage.feed(kept.customer, &bind_pdu(CommandId::BIND_TRANSCEIVER, 1, 0x34));
    kept.stage.verdict(Ok((CustomerId(0), smpp_shards::ShardId(0))));
    let again = kept.deliveries(kept.customer).pop().unwrap();
    kept.stage.feed(kept.customer, &deliver_resp(again.sequence, OK));
    kept.commit();
    assert_eq!(kept.live(), (0, 0, 0));
}

#[test]
fn a_receipt_that_nobody_answers_ends_with_its_validity() {
    let mut settings = settings();
    (settings.gateway.enquire_link_ms, settings.gateway.inactivity_timeout_ms) = (0, 0);
    settings.gateway.validity_hours = 1;
    settings.vendors[0].enquire_link_ms = 0;
    let mut kept = Kept::new(settings);
    kept.give_receipt("v1");
    kept.stage.pass_ms(59 * 60_000);
    assert!(kept.deliveries(kept.customer).len() > 50, "again and again");
    assert_eq!(kept.live(), (0, 1, 1));
    kept.stage.pass_ms(2 * 60_000);
    kept.commit();
    assert_eq!(kept.live(), (0, 0, 0));
    kept.deliveries(kept.customer);
    kept.stage.pass_ms(5 * 60_000);
    assert!(kept.deliveries(kept.customer).is_empty());
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
