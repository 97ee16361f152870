//! Lines of the log that peers cause, and one message out of so many: as few as a log can bear.
//!
//! Messages have no lines unless `[gateway] log_sample` is set, and then this is the only thing that makes text of them.

use smpp_pdu::{CommandStatus, ShortMessage};

use super::Shard;
use crate::bounds::{SAMPLE_BYTES_MAX, SAMPLES_PER_SECOND_MAX};
use crate::bucket::TokenBucket;
use crate::event::Event;
use crate::message_id::IdStyle;
use crate::names::VendorId;
use crate::output::{Action, Output};
use crate::time::{Now, Time};

/// Which message is the next to have a line.
#[derive(Debug)]
pub(super) struct Samples {
    /// Answers of vendors since the last one that had a line.
    passed_over: u32,
    lines: TokenBucket,
}

impl Samples {
    pub(super) fn new(now: Time) -> Self {
        Self { passed_over: 0, lines: TokenBucket::new(SAMPLES_PER_SECOND_MAX, 0, now) }
    }
}

impl Shard {
    /// Gives a line to the log, unless a peer has caused too many.
    pub(super) fn log_noise(&mut self, now: Now, out: &mut Output, event: impl FnOnce() -> Event) {
        if self.noise.take(now.mono) {
            out.push(Action::Log(event()));
        }
    }

    /// A vendor has answered the message in that slot.
    #[inline]
    pub(super) fn note_answer(
        &mut self,
        slot: u32,
        vendor: VendorId,
        status: CommandStatus,
        now: Now,
        out: &mut Output,
    ) {
        if self.snapshot.gateway.log_sample != 0 {
            self.sample_answer(slot, vendor, status, now, out);
        }
    }

    #[cold]
    fn sample_answer(&mut self, slot: u32, vendor: VendorId, status: CommandStatus, now: Now, out: &mut Output) {
        self.samples.passed_over += 1;
        if self.samples.passed_over < self.snapshot.gateway.log_sample || !self.samples.lines.take(now.mono) {
            return;
        }
        self.samples.passed_over = 0;
        let stored = self.messages.get(slot);
        let Ok(message) = ShortMessage::decode(&stored.pdu) else { return };
        let id = stored.carried.id;
        out.push(Action::Log(Event::MessageAnswered {
            customer: stored.carried.customer,
            vendor,
            message_id: id.text(IdStyle::Uuid).escape_ascii().to_string(),
            source: message.source.addr.escape_ascii().to_string(),
            dest: message.dest.addr.escape_ascii().to_string(),
            segments: stored.carried.facts.segments,
            latency_ms: now.unix_ms.saturating_sub(id.unix_ms()),
            status,
            pdu: stored.pdu[..stored.pdu.len().min(SAMPLE_BYTES_MAX)].into(),
        }));
    }
}
