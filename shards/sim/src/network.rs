//! A network of byte streams: latency, splits down to one octet, coalescing, stalls, bounded kernel buffers,
//! half-closes and resets. Single thread; what has been written arrives in order or not at all.

use std::collections::VecDeque;

use smpp_shards::{Conn, Time};

use crate::random::Stream;
use crate::schedule::{Event, Schedule};

/// One connection; never used again after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NetId(pub usize);

/// Milliseconds after which nothing is held up any more, once faults are over.
const CLEARING_MS: u64 = 10;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The gateway's.
    Gateway,
    /// The customer's or vendor's.
    Peer,
}

impl Side {
    /// The end across.
    pub(crate) const fn other(self) -> Side {
        match self {
            Self::Gateway => Self::Peer,
            Self::Peer => Self::Gateway,
        }
    }
}

/// Who is at the far end of a connection, seen from the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A model customer's session.
    Session(usize),
    /// A model vendor.
    Vendor(usize),
}

/// How the network misbehaves, in thousandths of all writes unless it says otherwise. Drawn per seed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weather {
    /// Microseconds that octets travel at the least.
    pub latency_us: u64,
    /// Microseconds that may come on top.
    pub jitter_us: u64,
    /// Writes that are cut into pieces.
    pub splits: u64,
    /// Writes that are cut into single octets, if they are short.
    pub dribbles: u64,
    /// Writes that are held up for a while.
    pub stalls: u64,
    /// Milliseconds of a stall at the most.
    pub stall_ms: u64,
    /// Millionths of all writes that meet a reset.
    pub resets: u64,
    /// Octets that the kernels of both ends hold together, at the least.
    pub kernel_bytes: u64,
}

/// What can be read at one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readable {
    /// Nothing yet.
    Nothing,
    /// Some octets.
    Octets(usize),
    /// The other end has closed its sending side and everything was read.
    End,
    /// The connection was reset.
    Reset,
}

#[derive(Debug, Default)]
struct Pipe {
    octets: VecDeque<u8>,
    arrived: usize,
    flying: VecDeque<(Time, usize)>,
    latest: Time,
    capacity: usize,
    finished: Option<Time>,
    blocked: bool,
}

#[derive(Debug)]
struct Connection {
    peer: Peer,
    owner: Option<(usize, Conn)>,
    /// By the end that reads: 0 the gateway, 1 the peer.
    pipes: [Pipe; 2],
    /// By end: it has closed its socket.
    closed: [bool; 2],
    /// By end: from when on it sees a reset.
    reset: [Option<Time>; 2],
}

/// All connections of a run.
pub(crate) struct Network {
    connections: Vec<Connection>,
    random: Stream,
    /// In force now.
    pub weather: Weather,
}

const fn index(side: Side) -> usize {
    match side {
        Side::Gateway => 0,
        Side::Peer => 1,
    }
}

impl Network {
    /// No connections, and that weather.
    pub(crate) fn new(random: Stream, weather: Weather) -> Self {
        Self { connections: Vec::new(), random, weather }
    }

    /// A new connection to that peer.
    pub(crate) fn open(&mut self, peer: Peer) -> NetId {
        let mut pipe = || {
            let most = self.weather.kernel_bytes.max(256) * 4;
            Pipe { capacity: self.random.range(most / 4, most) as usize, ..Pipe::default() }
        };
        let pipes = [pipe(), pipe()];
        self.connections.push(Connection { peer, owner: None, pipes, closed: [false; 2], reset: [None; 2] });
        NetId(self.connections.len() - 1)
    }

    /// Who is at the far end.
    pub(crate) fn peer(&self, net: NetId) -> Peer {
        self.connections[net.0].peer
    }

    /// The host and slot at the near end, while there is one.
    pub(crate) fn owner(&self, net: NetId) -> Option<(usize, Conn)> {
        self.connections[net.0].owner
    }

    /// Changes the near end's host and slot.
    pub(crate) fn set_owner(&mut self, net: NetId, owner: Option<(usize, Conn)>) {
        self.connections[net.0].owner = owner;
    }

    /// Whether that end has closed its socket.
    pub(crate) fn is_closed(&self, net: NetId, side: Side) -> bool {
        self.connections[net.0].closed[index(side)]
    }

    /// That weather from now on; what the one before holds up arrives within [`CLEARING_MS`], in its order.
    pub(crate) fn clear_up(&mut self, weather: Weather, schedule: &mut Schedule) {
        self.weather = weather;
        let soon = schedule.now().after_ms(CLEARING_MS);
        for (number, connection) in self.connections.iter_mut().enumerate() {
            for side in [Side::Gateway, Side::Peer] {
                let pipe = &mut connection.pipes[index(side)];
                if pipe.latest <= soon {
                    continue;
                }
                pipe.latest = soon;
                pipe.finished = pipe.finished.map(|at| at.min(soon));
                pipe.flying.iter_mut().for_each(|(at, _)| *at = (*at).min(soon));
                schedule.at(soon, Event::Arrive(NetId(number), side));
            }
        }
    }

    /// Takes what the kernels have room for; the rest is to be tried again at [`Event::Room`].
    pub(crate) fn write(&mut self, net: NetId, from: Side, octets: &[u8], schedule: &mut Schedule) -> usize {
        let now = schedule.now();
        let to = from.other();
        let connection = &mut self.connections[net.0];
        if connection.reset[index(from)].is_some() || connection.closed[index(from)] {
            return octets.len();
        }
        if self.weather.resets > 0 && self.random.below(1_000_000) < self.weather.resets {
            self.cut(net, Side::Peer, schedule);
            self.cut(net, Side::Gateway, schedule);
            return octets.len();
        }
        let mut delay_us = self.weather.latency_us + self.random.below(self.weather.jitter_us + 1);
        if self.random.chance(self.weather.stalls) {
            delay_us += self.random.spread(1, self.weather.stall_ms.max(1)) * 1_000;
        }
        let pieces = self.pieces(octets.len());
        let pipe = &mut self.connections[net.0].pipes[index(to)];
        let room = pipe.capacity.saturating_sub(pipe.octets.len());
        let taken = octets.len().min(room);
        pipe.blocked = taken < octets.len();
        pipe.octets.extend(&octets[..taken]);
        let mut at = Time(now.0 + delay_us * 1_000).max(pipe.latest);
        let mut left = taken;
        while left > 0 {
            let piece = (taken / pieces).max(1);
            let piece = if left < 2 * piece { left } else { self.random.range(1, 2 * piece as u64 - 1) as usize };
            let piece = piece.min(left);
            pipe.flying.push_back((at, piece));
            schedule.at(at, Event::Arrive(net, to));
            left -= piece;
            pipe.latest = at;
            at = Time(at.0 + self.random.range(1, 400) * 1_000);
        }
        taken
    }

    fn pieces(&mut self, length: usize) -> usize {
        if length <= 160 && self.random.chance(self.weather.dribbles) {
            length
        } else if self.random.chance(self.weather.splits) {
            self.random.range(2, 6) as usize
        } else {
            1
        }
    }

    /// What can be read at that end.
    pub(crate) fn readable(&mut self, net: NetId, at: Side, now: Time) -> Readable {
        let connection = &mut self.connections[net.0];
        let pipe = &mut connection.pipes[index(at)];
        while let Some(&(when, length)) = pipe.flying.front()
            && when <= now
        {
            pipe.arrived += length;
            pipe.flying.pop_front();
        }
        if pipe.arrived > 0 {
            Readable::Octets(pipe.arrived)
        } else if connection.reset[index(at)].is_some_and(|when| when <= now) {
            Readable::Reset
        } else if pipe.finished.is_some_and(|when| when <= now) && pipe.flying.is_empty() {
            Readable::End
        } else {
            Readable::Nothing
        }
    }

    /// Whether that end would be told of a reset when it writes.
    pub(crate) fn is_reset(&self, net: NetId, at: Side, now: Time) -> bool {
        self.connections[net.0].reset[index(at)].is_some_and(|when| when <= now)
    }

    /// Reads at most `most` octets that have arrived at that end.
    pub(crate) fn read(&mut self, net: NetId, at: Side, most: usize, schedule: &mut Schedule) -> Vec<u8> {
        let Readable::Octets(arrived) = self.readable(net, at, schedule.now()) else { return Vec::new() };
        let pipe = &mut self.connections[net.0].pipes[index(at)];
        let taken = arrived.min(most);
        pipe.arrived -= taken;
        let octets = pipe.octets.drain(..taken).collect();
        if pipe.blocked {
            pipe.blocked = false;
            schedule.in_micros(self.weather.latency_us, Event::Room(net, at.other()));
        }
        octets
    }

    /// Closes that end's sending side behind what has been written.
    pub(crate) fn finish(&mut self, net: NetId, from: Side, schedule: &mut Schedule) {
        let to = from.other();
        let latency = self.weather.latency_us * 1_000;
        let pipe = &mut self.connections[net.0].pipes[index(to)];
        if pipe.finished.is_none() {
            let at = Time(schedule.now().0 + latency).max(pipe.latest);
            pipe.finished = Some(at);
            schedule.at(at, Event::Arrive(net, to));
        }
    }

    /// Closes that end's socket: an orderly end where everything was read, a reset where not, as kernels do it.
    pub(crate) fn close(&mut self, net: NetId, side: Side, schedule: &mut Schedule) {
        let unread = matches!(self.readable(net, side, schedule.now()), Readable::Octets(_));
        if unread {
            self.reset(net, side, schedule);
        } else {
            self.finish(net, side, schedule);
        }
        self.connections[net.0].closed[index(side)] = true;
    }

    /// The gateway's process is gone: its sockets are closed by its kernel, or, where the machine fails, answer nothing but
    /// resets.
    pub(crate) fn abandon(&mut self, is_power_cut: bool, schedule: &mut Schedule) {
        for index in 0..self.connections.len() {
            let net = NetId(index);
            if self.is_closed(net, Side::Gateway) {
                continue;
            }
            self.set_owner(net, None);
            if is_power_cut {
                self.reset(net, Side::Gateway, schedule);
            } else {
                self.close(net, Side::Gateway, schedule);
            }
        }
    }

    /// That end resets the connection: what is still on its way to the other one is lost.
    pub(crate) fn reset(&mut self, net: NetId, side: Side, schedule: &mut Schedule) {
        self.connections[net.0].closed[index(side)] = true;
        self.cut(net, side.other(), schedule);
    }

    /// Lets one end see a reset.
    fn cut(&mut self, net: NetId, to: Side, schedule: &mut Schedule) {
        let at = Time(schedule.now().0 + self.weather.latency_us * 1_000);
        let connection = &mut self.connections[net.0];
        if connection.reset[index(to)].is_none() {
            connection.reset[index(to)] = Some(at);
            schedule.at(at, Event::Arrive(net, to));
        }
        let pipe = &mut connection.pipes[index(to)];
        pipe.flying.clear();
        pipe.octets.truncate(pipe.arrived);
        // A writer that waits for room must learn that there is nobody any more.
        if core::mem::take(&mut connection.pipes[index(to.other())].blocked) {
            schedule.at(at, Event::Room(net, to));
        }
    }

    /// Octets came to an end that has closed its socket: its kernel answers with a reset.
    pub(crate) fn answer_closed(&mut self, net: NetId, at: Side, schedule: &mut Schedule) {
        if matches!(self.readable(net, at, schedule.now()), Readable::Octets(_)) {
            self.reset(net, at, schedule);
        }
    }
}
