//! What goes out: the connections that were written to in this turn, each with one send at a time.

use smpp_shards::Conn;

use crate::connections::Phase;
use crate::net::Slot;

use super::Pump;

impl Pump {
    /// Begins to send from every connection that has something and is not sending already.
    #[inline]
    pub(super) fn send_all(&mut self) {
        let mut dirty = core::mem::take(&mut self.dirty);
        self.output.take_dirty(&mut dirty);
        for conn in dirty.drain(..) {
            self.send_from(Slot(conn.0));
        }
        self.dirty = dirty;
        while let Some(slot) = self.ready.pop() {
            self.send_from(slot);
        }
    }

    #[inline]
    fn send_from(&mut self, slot: Slot) {
        let connection = self.connections.get(slot);
        if !matches!(connection.phase, Phase::Open | Phase::Flushing | Phase::Connecting(_)) {
            return;
        }
        // Where something is being sent already, its end brings the connection back here.
        let Some(buffer) = self.net.send_buffer(slot) else { return };
        match &mut connection.tls {
            None => self.output.take(Conn(slot.0), buffer),
            Some(tls) if tls.is_handshaking() => tls.write_wire(buffer),
            Some(tls) => {
                self.plain.clear();
                self.output.take(Conn(slot.0), &mut self.plain);
                connection.plain_under_way = self.plain.len();
                tls.send(&self.plain, buffer);
            }
        }
        if !buffer.is_empty() {
            connection.progress = self.now.mono;
            self.net.send(slot);
        } else if matches!(connection.phase, Phase::Flushing) {
            self.flushed(slot);
        }
    }

    /// The kernel has taken octets of a connection.
    #[inline]
    pub(super) fn sent(&mut self, slot: Slot, octets: usize) {
        let connection = self.connections.get(slot);
        if !matches!(connection.phase, Phase::Open | Phase::Flushing | Phase::Connecting(_)) {
            return;
        }
        connection.progress = self.now.mono;
        let conn = Conn(slot.0);
        let is_through = self.net.can_send(slot);
        let taken = match &connection.tls {
            None => octets,
            Some(_) if is_through => core::mem::take(&mut connection.plain_under_way),
            Some(_) => 0,
        };
        self.output.sent(conn, taken);
        let has_more = is_through
            && (self.output.pending(conn) > 0
                || matches!(connection.phase, Phase::Flushing)
                || connection.tls.as_ref().is_some_and(|tls| tls.wants_write()));
        if has_more {
            self.ready.push(slot);
        }
        if taken > 0 && matches!(connection.phase, Phase::Open) {
            self.shard.sent(conn, self.now, &mut self.output);
        }
    }
}
