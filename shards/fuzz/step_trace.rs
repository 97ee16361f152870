//! Traces of sessions, read as the control thread reads them: everything that is written to a session is in its trace, whole
//! and in its order, and nothing else.

use smpp_pdu::{Deframed, deframe};
use smpp_shards::bounds::PDU_BYTES_MAX;
use smpp_shards::trace::Direction;
use smpp_shards::{Action, Command, Conn, Reply, TraceOrder, TraceReader, TraceRecord, TraceTarget, trace_ring};

use super::{Host, World};

/// How long a trace runs.
const TRACE_MS: u64 = 5_000;

/// Where the framing is lost, so many octets are told.
const HEADER_OCTETS: usize = 16;

/// A session's trace, and what its peer was sent since.
pub(super) struct Watched {
    reader: TraceReader,
    written: Vec<u8>,
    is_over: bool,
}

impl Watched {
    pub(super) fn written(&mut self, octets: &[u8]) {
        if !self.is_over {
            self.written.extend_from_slice(octets);
        }
    }

    /// Compares what the trace tells with what was written. To be called when all of it has been flushed.
    pub(super) fn look(&mut self) {
        let (mut told, mut is_over) = (Vec::new(), self.is_over);
        self.reader.take(usize::MAX, |record| match record {
            TraceRecord::Pdu { direction, skipped, pdu, .. } => {
                assert!(!is_over, "nothing comes behind the end");
                let is_whole = matches!(deframe(pdu, PDU_BYTES_MAX), Deframed::Pdu { pdu: whole, .. } if whole == pdu);
                match direction {
                    Direction::Sent => {
                        assert!(is_whole && skipped == 0, "{pdu:02X?}");
                        told.extend_from_slice(pdu);
                    }
                    Direction::Received => assert!(is_whole || pdu.len() <= HEADER_OCTETS, "{pdu:02X?}"),
                }
            }
            TraceRecord::Ended { .. } => is_over = true,
        });
        assert!(self.written.starts_with(&told), "{told:02X?} was not written: {:02X?}", self.written);
        assert!(is_over || told.len() == self.written.len(), "of {:02X?} only {told:02X?} is told", self.written);
        self.is_over = is_over;
        self.written.clear();
    }
}

impl World {
    /// The control thread has a session traced, or has had enough of its trace.
    pub(in super::super) fn trace(&mut self, place: u8) {
        let host = self.host(place);
        self.carry_out(host);
        let Some((host, index)) = self.slot(place, Some(false)) else { return };
        let Host { shard, out, slots, .. } = &mut self.hosts[host];
        let Some(slot) = &mut slots[index] else { return };
        if slot.trace.take().is_some() {
            return;
        }
        let command = Command::ListSessions { customer: None, from: index as u32, limit: 1 };
        shard.command(0, command, self.now, out);
        let mut actions = Vec::new();
        out.take_actions(&mut actions);
        let Some(Action::Reply { reply: Reply::Sessions { sessions, .. }, .. }) = actions.pop() else {
            panic!("a list is answered at once")
        };
        assert!(actions.is_empty(), "everything was carried out before: {actions:?}");
        let Some(found) = sessions.first().filter(|found| found.name.conn == Conn(index as u32)) else { return };
        let (tap, reader) = trace_ring();
        let order = TraceOrder { target: TraceTarget::Session(found.name), millis: TRACE_MS, tap };
        if shard.trace(order, self.now, out).is_some() {
            slot.trace = Some(Watched { reader, written: Vec::new(), is_over: false });
        }
    }
}
