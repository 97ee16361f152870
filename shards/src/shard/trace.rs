//! Traced sessions: what comes from them and what is written to them, copied for the control thread.
//!
//! Without a trace it is one branch for each batch of octets and one for each turn. What has come is recorded before it is
//! handled, and whatever was written until then before that, so that a trace never has an answer in front of its request.
//!
//! What is written is read back here for the log as well, where it shows PDUs (`show.rs`).

use smpp_pdu::frame::HEADER_LENGTH;
use smpp_pdu::{Deframed, deframe};

use super::{Role, Shard};
use crate::bounds::{PDU_BYTES_MAX, TRACES_MAX};
use crate::command::SessionName;
use crate::names::{Conn, CustomerId};
use crate::output::Output;
use crate::stream::{Next, PartialPdu};
use crate::time::{Now, Time};
use crate::trace::{Direction, TraceEnd, TraceOrder, TraceTap, TraceTarget};

/// One session that is traced.
struct Trace {
    conn: Conn,
    until: Time,
    began: Now,
    /// The beginning of the PDU that is coming, apart from the connection's own.
    partial: PartialPdu,
    /// The framing of what comes is lost, so that nothing more of it can be told apart.
    is_lost: bool,
    tap: TraceTap,
}

/// The sessions of a shard that are traced.
#[derive(Default)]
pub(super) struct Tracing {
    traces: Vec<Trace>,
    /// What is written is read back: a session is traced, or PDUs are shown.
    pub(super) reads_back: bool,
    /// A trace has ended, its ring is filling, or PDUs are shown, and the control thread has not been told (it looks once a
    /// second anyway).
    is_untold: bool,
    whole: Vec<u8>,
}

impl Tracing {
    /// Whether any session is traced.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        !self.traces.is_empty()
    }
}

impl Trace {
    fn put(&mut self, direction: Direction, pdu: &[u8], now: Now) {
        let since = now.mono.nanos_since(self.began.mono);
        self.tap.put(direction, self.began.unix_ms * 1_000_000 + since, pdu);
    }

    fn put_received(&mut self, mut bytes: &[u8], whole: &mut Vec<u8>, now: Now) {
        let mut partial = core::mem::take(&mut self.partial);
        while !self.is_lost {
            match partial.next(&mut bytes, whole) {
                Next::Pdu(_, pdu) => self.put(Direction::Received, pdu, now),
                Next::Drained => break,
                Next::Fatal { .. } => {
                    self.is_lost = true;
                    let kept = partial.into_bytes();
                    let header = if kept.is_empty() { bytes } else { &kept };
                    self.put(Direction::Received, &header[..header.len().min(HEADER_LENGTH)], now);
                    return;
                }
            }
        }
        self.partial = partial;
    }
}

impl Shard {
    /// Whether there is a session of that name, and whose.
    pub(super) fn session_named(&self, name: SessionName) -> Option<CustomerId> {
        let connection = self.connections.get(name.conn.index())?;
        match &connection.role {
            Role::Session(session) if connection.generation == name.generation => Some(session.customer),
            _ => None,
        }
    }

    /// Begins to trace a session, and tells its connection and which customer's it is; `None` where it is not there, or
    /// [`TRACES_MAX`] others are traced. The trace ends with the session, when its time is up (at the next
    /// [`Shard::read_back`]), or when its reader goes.
    pub fn trace(&mut self, order: TraceOrder, now: Now, out: &mut Output) -> Option<(Conn, Option<CustomerId>)> {
        self.tracing.traces.retain(|trace| trace.tap.is_wanted());
        let (conn, customer) = match order.target {
            TraceTarget::Session(name) => (name.conn, Some(self.session_named(name)?)),
            TraceTarget::Vendor(vendor, bind) => {
                let link = *self.lanes.get(vendor.index())?.links.get(bind as usize)?;
                (self.links[link.index()].conn?, None)
            }
        };
        if self.tracing.traces.len() >= TRACES_MAX || self.tracing.traces.iter().any(|trace| trace.conn == conn) {
            return None;
        }
        // What waits to be sent was written before.
        self.begin_to_read_back(out);
        self.read_back_from(conn, now, out);
        let mut partial = PartialPdu::default();
        partial.keep(self.connections[conn.index()].partial.bytes());
        let until = now.mono.after_ms(order.millis);
        self.tracing.traces.push(Trace { conn, until, began: now, partial, is_lost: false, tap: order.tap });
        Some((conn, customer))
    }

    /// Hands what the turn has written to traces, and to the log where it shows PDUs. To be called in each turn before
    /// anything is sent. `true` when there are actions for the log, or the control thread is to be woken.
    #[inline]
    pub fn read_back(&mut self, now: Now, out: &mut Output) -> bool {
        if self.tracing.reads_back {
            self.read_all_back(now, out);
        }
        core::mem::take(&mut self.tracing.is_untold)
    }

    #[cold]
    fn read_all_back(&mut self, now: Now, out: &mut Output) {
        self.end_traces(now);
        let mut place = 0;
        while let Some(conn) = out.dirty(place) {
            self.tracing.is_untold |= self.read_back_from(conn, now, out);
            place += 1;
        }
        self.tracing.is_untold |= self.tracing.traces.iter().any(|trace| trace.tap.is_filling());
        self.tracing.reads_back = self.tracing.is_on() || self.showing.is_on();
    }

    /// From now on what is written is read back; what waits to be sent was written before.
    pub(super) fn begin_to_read_back(&mut self, out: &mut Output) {
        if !core::mem::replace(&mut self.tracing.reads_back, true) {
            out.pass_over_written();
        }
    }

    /// Hands what was written to a connection since the last look to its trace and to the log; a shard writes whole PDUs.
    /// `true` where the log shows some of it.
    fn read_back_from(&mut self, conn: Conn, now: Now, out: &mut Output) -> bool {
        let peer = self.shown_peer(conn);
        let mut trace = self.tracing.traces.iter_mut().find(|trace| trace.conn == conn);
        let (mut written, actions) = out.take_written(conn);
        if trace.is_none() && peer.is_none() {
            return false;
        }
        let before = actions.len();
        while let Deframed::Pdu { header, pdu } = deframe(written, PDU_BYTES_MAX) {
            if let Some(trace) = &mut trace {
                trace.put(Direction::Sent, pdu, now);
            }
            actions.extend(peer.and_then(|peer| self.showing.show(peer, Direction::Sent, header, pdu, now)));
            written = &written[pdu.len()..];
        }
        actions.len() > before
    }

    /// Ends the traces whose time is up, and forgets those that nobody reads.
    fn end_traces(&mut self, now: Now) {
        let is_over = |trace: &mut Trace| trace.until <= now.mono || !trace.tap.is_wanted();
        for trace in self.tracing.traces.extract_if(.., is_over) {
            trace.tap.end(TraceEnd::Time);
            self.tracing.is_untold = true;
        }
    }

    /// Octets have come over a connection, and are about to be handled.
    #[cold]
    pub(super) fn trace_received(&mut self, conn: Conn, bytes: &[u8], now: Now, out: &mut Output) {
        let is_traced = |trace: &Trace| trace.conn == conn && trace.until > now.mono;
        if let Some(place) = self.tracing.traces.iter().position(is_traced) {
            self.read_back_from(conn, now, out);
            let Tracing { traces, whole, .. } = &mut self.tracing;
            traces[place].put_received(bytes, whole, now);
        }
    }

    /// A connection is over, and its trace with it; what was written to it last is in the output still.
    #[cold]
    pub(super) fn read_back_the_last(&mut self, conn: Conn, now: Now, out: &mut Output) {
        self.read_back_from(conn, now, out);
        if let Some(place) = self.tracing.traces.iter().position(|trace| trace.conn == conn) {
            self.tracing.traces.swap_remove(place).tap.end(TraceEnd::Session);
            self.tracing.is_untold = true;
        }
    }
}
