//! Traced sessions: what comes from them and what is written to them, copied for the control thread.
//!
//! Without a trace it is one branch for each batch of octets and one for each turn. What has come is recorded before it is
//! handled, and whatever was written until then before that, so that a trace never has an answer in front of its request.

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
    /// A trace has ended, or its ring is filling, and the control thread has not been told (it looks once a second anyway).
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

    /// What was written to the connection since the last look; a shard writes whole PDUs.
    fn put_written(&mut self, now: Now, out: &mut Output) {
        let mut written = out.take_untraced(self.conn);
        while let Deframed::Pdu { pdu, .. } = deframe(written, PDU_BYTES_MAX) {
            self.put(Direction::Sent, pdu, now);
            written = &written[pdu.len()..];
        }
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
    /// [`Shard::flush_traces`]), or when its reader goes.
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
        out.take_untraced(conn);
        let mut partial = PartialPdu::default();
        partial.keep(self.connections[conn.index()].partial.bytes());
        let until = now.mono.after_ms(order.millis);
        self.tracing.traces.push(Trace { conn, until, began: now, partial, is_lost: false, tap: order.tap });
        Some((conn, customer))
    }

    /// Hands what the turn has written to traced sessions to their traces. To be called in each turn before anything is
    /// sent. `true` when the control thread is to be woken.
    #[inline]
    pub fn flush_traces(&mut self, now: Now, out: &mut Output) -> bool {
        if self.tracing.is_on() {
            self.flush_each_trace(now, out);
        }
        core::mem::take(&mut self.tracing.is_untold)
    }

    #[cold]
    fn flush_each_trace(&mut self, now: Now, out: &mut Output) {
        self.end_traces(now);
        for trace in &mut self.tracing.traces {
            trace.put_written(now, out);
            self.tracing.is_untold |= trace.tap.is_filling();
        }
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
        let Tracing { traces, whole, .. } = &mut self.tracing;
        if let Some(trace) = traces.iter_mut().find(|trace| trace.conn == conn && trace.until > now.mono) {
            trace.put_written(now, out);
            trace.put_received(bytes, whole, now);
        }
    }

    /// A connection is over; what was written to it last is in the output still.
    #[cold]
    pub(super) fn trace_ended(&mut self, conn: Conn, now: Now, out: &mut Output) {
        let Some(place) = self.tracing.traces.iter().position(|trace| trace.conn == conn) else { return };
        let mut trace = self.tracing.traces.swap_remove(place);
        trace.put_written(now, out);
        trace.tap.end(TraceEnd::Session);
        self.tracing.is_untold = true;
    }
}
