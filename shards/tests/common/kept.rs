//! A shard with a journal, played with a disk that the test writes.

use smpp_pdu::receipt::{MessageState, Receipt};
use smpp_pdu::{CommandId, ShortMessage};
use smpp_shards::journal::{Batch, Live, LogName, Replay};
use smpp_shards::restore::{Restored, share};
use smpp_shards::{Action, Conn, JournalSetup, Settings, Snapshot};

use super::{Pdu, Stage, deliver, message, settings, submit, submit_resp};

pub const LOG: LogName = LogName { start: 1_700_000_000_000, shard: 0 };
pub const SEGMENT_BYTES: u64 = 8 << 20;

/// A shard with a journal, and a disk that the test plays.
pub struct Kept {
    pub stage: Stage,
    pub link: Conn,
    pub customer: Conn,
    pub log: LogName,
    /// By segment.
    pub disk: Vec<Vec<u8>>,
}

impl Kept {
    pub fn new(settings: Settings) -> Self {
        Self::after(settings, LOG, Restored::default())
    }

    pub fn after(settings: Settings, log: LogName, restored: Restored) -> Self {
        let journal = JournalSetup { log, segment_bytes: SEGMENT_BYTES, bytes_max: 64 << 20, commit_wait_us: 0 };
        let mut stage = Stage::with_journal(settings, Some(journal), restored);
        let link = stage.bind_links()[0];
        let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
        Self { stage, link, customer, log, disk: Vec::new() }
    }

    /// The process is killed, and started again: what is not on disk is gone.
    pub fn restarted(self) -> Self {
        self.restarted_with(settings())
    }

    pub fn restarted_with(self, settings: Settings) -> Self {
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

    pub fn replayed(&self) -> Live {
        let mut replay = Replay::new();
        for (segment, octets) in self.disk.iter().enumerate() {
            replay.add(self.log, segment as u32, "disk", octets);
        }
        replay.finish()
    }

    /// What the shard wants written; `None` when nothing.
    pub fn batch(&mut self) -> Option<Batch> {
        self.stage.shard.take_batch(self.stage.now)
    }

    /// Writes all there is to write.
    pub fn commit(&mut self) {
        while let Some(mut batch) = self.batch() {
            self.disk.resize(self.disk.len().max(batch.segment() as usize + 1), Vec::new());
            let file = &mut self.disk[batch.segment() as usize];
            assert_eq!(file.len() as u64, batch.offset(), "batches follow one another");
            file.extend_from_slice(batch.seal());
            self.stage.shard.batch_written(batch, self.stage.now, &mut self.stage.out);
        }
    }

    /// Reads segments that the shard wants; the first one that it still wants.
    pub fn serve_disk(&mut self) -> u32 {
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

    pub fn fail(&mut self) {
        let batch = self.batch().expect("something is to be written");
        self.stage.shard.batch_failed(batch, "no space left", self.stage.now, &mut self.stage.out);
    }

    /// What a restart would find: messages not sent, messages sent, receipts.
    pub fn live(&self) -> (usize, usize, usize) {
        let live = self.replayed();
        assert_eq!(live.problem_count, 0, "{:?}", live.problems);
        let sent = live.messages.iter().filter(|message| message.sent.is_some()).count();
        (live.messages.len() - sent, sent, live.receipts.len())
    }

    pub fn submit(&mut self, sequence: u32, registered_delivery: u8) -> u32 {
        let message = ShortMessage { registered_delivery, ..message(b"keep me") };
        self.stage.feed(self.customer, &submit(sequence, &message));
        self.stage.pdu(self.link).sequence
    }

    /// A message goes all its way, and its receipt comes.
    pub fn give_receipt(&mut self, id: &str) {
        let sequence = self.submit(5, 1);
        self.commit();
        self.stage.feed(self.link, &submit_resp(sequence, id.as_bytes()));
        self.stage.feed(self.link, &receipt_of(id, "DELIVRD"));
        self.commit();
        self.stage.pdus(self.link);
    }

    /// The deliver_sm that came to a session.
    pub fn deliveries(&mut self, conn: Conn) -> Vec<Pdu> {
        self.stage.pdus(conn).into_iter().filter(|pdu| pdu.command == CommandId::DELIVER_SM).collect()
    }
}

pub fn receipt_of(id: &str, stat: &str) -> Vec<u8> {
    let text =
        format!("id:{id} sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:{stat} err:000 text:");
    deliver(90, &ShortMessage { esm_class: 0x04, ..message(text.as_bytes()) })
}

/// What a receipt says; `None` for any other PDU.
pub fn stat_of(pdu: &[u8]) -> Option<MessageState> {
    let message = ShortMessage::decode(pdu).ok()?;
    Receipt::parse(message.short_message).state()
}
