//! Connections that move between shards: a bound customer goes to its home.

use smpp_shards::{Conn, SessionSeed, ShardId};

use crate::connections::{Departure, Phase};
use crate::mail::{Mail, MovedConnection};
use crate::net::{Detached, Slot};

use super::Pump;

impl Pump {
    /// Lets a connection go as soon as nothing is under way on it.
    pub(super) fn leave(&mut self, slot: Slot, to: ShardId, seed: Box<SessionSeed>) {
        let connection = self.connections.get(slot);
        if !matches!(connection.phase, Phase::Open) {
            return;
        }
        connection.phase = Phase::Moving(Box::new(Departure { to, seed, received: Vec::new() }));
        if self.net.wind_down(slot) {
            self.depart(slot);
        }
    }

    /// Packs an idle connection up and posts it.
    pub(super) fn depart(&mut self, slot: Slot) {
        let phase = core::mem::take(&mut self.connections.get(slot).phase);
        let Phase::Moving(departure) = phase else { return };
        let Departure { to, seed, received } = *departure;
        let Detached { socket, unsent } = self.net.remove(slot);
        let mut pending = Vec::new();
        self.output.take(Conn(slot.0), &mut pending);
        self.output.clear(Conn(slot.0));
        let tls = self.connections.release(slot);
        self.post_moved(to, Box::new(MovedConnection { socket, tls, seed, received, unsent, pending }));
    }

    /// Posts again what found no room before.
    pub(super) fn empty_outbox(&mut self) {
        for _ in 0..self.outbox.len() {
            if let Some((to, moved)) = self.outbox.pop_front() {
                self.post_moved(to, moved);
            }
        }
    }

    /// Takes in a connection from another shard.
    pub(super) fn adopt(&mut self, moved: MovedConnection) {
        let MovedConnection { socket, tls, seed, received, unsent, pending } = moved;
        let slot = self.net.insert(socket);
        let conn = Conn(slot.0);
        let is_tls = tls.is_some();
        self.connections.open(slot, Phase::Open, tls);
        if is_tls {
            if let Some(buffer) = self.net.send_buffer(slot) {
                buffer.extend_from_slice(&unsent);
                self.net.send(slot);
            }
            self.connections.get(slot).progress = self.now.mono;
            self.ready.push(slot);
        } else if !unsent.is_empty() {
            self.output.buffer(conn).extend_from_slice(&unsent);
        }
        if !pending.is_empty() {
            self.output.buffer(conn).extend_from_slice(&pending);
        }
        self.shard.adopted(conn, seed, self.now, &mut self.output);
        self.carry_out();
        self.hand_in(slot, &received);
    }

    /// Hands in octets that came while the connection moved.
    fn hand_in(&mut self, slot: Slot, received: &[u8]) {
        let connection = self.connections.get(slot);
        if received.is_empty() || !matches!(connection.phase, Phase::Open) {
            return;
        }
        match &mut connection.tls {
            None => self.shard.received(Conn(slot.0), received, self.now, &mut self.output),
            Some(tls) => {
                self.plain.clear();
                let outcome = tls.receive(received, &mut self.plain);
                self.deciphered(slot, outcome);
            }
        }
        self.carry_out();
    }

    fn post_moved(&mut self, to: ShardId, moved: Box<MovedConnection>) {
        if to.index() >= self.post.shards() {
            return;
        }
        if let Err(Mail::Moved(moved)) = self.post.try_send(to, Mail::Moved(moved)) {
            self.outbox.push_back((to, moved));
        }
    }
}
