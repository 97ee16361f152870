//! How connections end: last octets out, our side closed, a short wait for the peer's, nothing left under way.

use std::cmp::Reverse;
use std::net::Shutdown;

use smpp_shards::{CloseCause, Conn, ReadMode, Time, bounds};

use crate::connections::Phase;
use crate::net::{Reading, Slot};

use super::{Pump, Timer};

/// How long we wait for the peer to close its side after ours is closed.
const LINGER_MS: u64 = 1_000;

/// Octets that we read meanwhile at the most: what a peer has under way when it learns of the end. One that goes on is cut off.
const LINGER_BYTES_MAX: usize = 1 << 20;

impl Pump {
    /// Closes a connection that the shard has forgotten.
    pub(super) fn close(&mut self, slot: Slot, after_flush: bool) {
        if !matches!(self.connections.get(slot).phase, Phase::Open) {
            return;
        }
        if after_flush {
            self.flush_and_close(slot);
        } else {
            self.abort(slot);
        }
    }

    /// Sends what there is, then closes.
    pub(super) fn flush_and_close(&mut self, slot: Slot) {
        let connection = self.connections.get(slot);
        connection.phase = Phase::Flushing;
        connection.reading = ReadMode::Stop;
        self.set_deadline(slot, self.now.mono.after_ms(bounds::CLOSE_FLUSH_MS_MAX));
        self.ready.push(slot);
    }

    /// Everything has been sent: closes our side, so that the peer sees the end after the last octet.
    pub(super) fn flushed(&mut self, slot: Slot) {
        let connection = self.connections.get(slot);
        if let Some(tls) = &mut connection.tls {
            tls.close();
            if tls.wants_write() {
                self.ready.push(slot);
                return;
            }
        }
        if connection.end_seen {
            self.abort(slot);
            return;
        }
        connection.phase = Phase::Lingering(LINGER_BYTES_MAX);
        let is_shut = self
            .net
            .socket(slot)
            .is_some_and(|socket| socket2::SockRef::from(&socket).shutdown(Shutdown::Write).is_ok());
        if is_shut {
            self.set_deadline(slot, self.now.mono.after_ms(LINGER_MS));
            self.net.read(slot, Reading::Stream);
        } else {
            self.abort(slot);
        }
    }

    /// Closes without regard for what is unsent.
    pub(super) fn abort(&mut self, slot: Slot) {
        self.connections.get(slot).phase = Phase::Closing;
        if self.net.wind_down(slot) {
            self.free(slot);
        }
    }

    /// Nothing is under way on a connection that waited for that.
    pub(super) fn idle(&mut self, slot: Slot) {
        match self.connections.get(slot).phase {
            Phase::Closing => self.free(slot),
            Phase::Moving(_) => self.depart(slot),
            _ => {}
        }
    }

    /// A connection's time has passed.
    pub(super) fn deadline_passed(&mut self, slot: Slot, used: u32) {
        let connection = self.connections.get(slot);
        if connection.used != used || connection.deadline > self.now.mono {
            return;
        }
        match connection.phase {
            Phase::Flushing | Phase::Lingering(_) => self.abort(slot),
            Phase::Connecting(_) => self.connect_took_too_long(slot),
            Phase::Free | Phase::Open | Phase::Closing | Phase::Moving(_) => {}
        }
    }

    /// Ends the connections whose peers have taken nothing for too long.
    pub(super) fn cut_off_stalled(&mut self) {
        for slot in self.connections.slots() {
            let connection = self.connections.get(slot);
            if matches!(connection.phase, Phase::Open)
                && self.now.mono.millis_since(connection.progress) >= bounds::WRITE_STALL_MS_MAX
                && !self.net.can_send(slot)
            {
                self.shard.closed(Conn(slot.0), CloseCause::WriteStalled, self.now, &mut self.output);
                self.abort(slot);
            }
        }
    }

    pub(super) fn set_deadline(&mut self, slot: Slot, at: Time) {
        let connection = self.connections.get(slot);
        connection.deadline = at;
        let timer = Timer::Connection { slot: slot.0, used: connection.used };
        self.timers.push(Reverse((at, timer)));
    }

    fn free(&mut self, slot: Slot) {
        self.net.close(slot);
        self.connections.release(slot);
        self.output.clear(Conn(slot.0));
    }
}
