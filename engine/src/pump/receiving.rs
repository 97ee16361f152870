//! What comes in: new connections, octets, ends of streams, TLS handshakes.

use std::os::fd::AsRawFd;

use smpp_shards::{CloseCause, Conn, Event, ReadMode};

use crate::connections::Phase;
use crate::net::{Chunk, Completion, Reading, Slot};
use crate::tls::TlsSession;

use super::{COMPLETIONS_PER_TURN, HANDSHAKE_STEPS_PER_TURN, Pump, Timer, reading_of};

/// How long a listener that could not accept is silent: as long as it may take until descriptors are free.
const LISTEN_AGAIN_MS: u64 = 100;

/// From one log line about failing accepts to the next at the least.
const ACCEPT_FAILURE_TOLD_MS: u64 = 10_000;

impl Pump {
    /// Handles what the ring has brought; tells whether there is more.
    #[inline]
    pub(super) fn take_completions(&mut self) -> bool {
        for _ in 0..COMPLETIONS_PER_TURN {
            let Some(completion) = self.net.next() else { return false };
            match completion {
                Completion::Received(slot, chunk) => {
                    self.received(slot, chunk);
                    self.pass_on();
                }
                Completion::Sent(slot, octets) => self.sent(slot, octets),
                Completion::Accepted(number, socket) => self.accepted(number, socket),
                Completion::AcceptFailed(number, error) => self.accept_failed(number, &error),
                Completion::Connected(slot, outcome) => self.tcp_connected(slot, outcome),
                Completion::EndOfStream(slot) => self.end_of_stream(slot),
                Completion::ReceiveFailed(slot, error) | Completion::SendFailed(slot, error) => {
                    self.broke(slot, &error);
                }
                Completion::Idle(slot) => self.idle(slot),
                Completion::Bell => {}
            }
            self.carry_out();
        }
        true
    }

    /// Changes how a connection is read, as the shard says.
    pub(super) fn set_reading(&mut self, slot: Slot, mode: ReadMode) {
        let connection = self.connections.get(slot);
        connection.reading = mode;
        let reads_itself = connection.tls.as_ref().is_some_and(|tls| tls.is_handshaking());
        if matches!(connection.phase, Phase::Open) && !reads_itself {
            self.net.read(slot, reading_of(mode));
        }
    }

    #[inline]
    fn received(&mut self, slot: Slot, chunk: Chunk) {
        let connection = self.connections.get(slot);
        match &mut connection.phase {
            Phase::Open if connection.tls.is_none() => {
                self.shard.received(Conn(slot.0), self.net.bytes(&chunk), self.now, &mut self.output);
            }
            Phase::Open | Phase::Connecting(_) => self.received_tls(slot, &chunk),
            Phase::Moving(departure) => departure.received.extend_from_slice(self.net.bytes(&chunk)),
            Phase::Lingering(left) => {
                *left = left.saturating_sub(self.net.bytes(&chunk).len());
                if *left == 0 {
                    self.abort(slot);
                }
            }
            Phase::Free | Phase::Flushing | Phase::Closing => {}
        }
        self.net.give_back(chunk);
    }

    fn received_tls(&mut self, slot: Slot, chunk: &Chunk) {
        let connection = self.connections.get(slot);
        let Some(tls) = &mut connection.tls else { return };
        if tls.is_handshaking() {
            tls.keep(self.net.bytes(chunk));
            if !core::mem::replace(&mut connection.shaking, true) {
                self.handshakes.push_back(slot);
            }
            return;
        }
        self.plain.clear();
        let outcome = tls.receive(self.net.bytes(chunk), &mut self.plain);
        self.deciphered(slot, outcome);
    }

    /// Hands in what `self.plain` holds after a receive over TLS.
    pub(super) fn deciphered(&mut self, slot: Slot, outcome: Result<(), rustls::Error>) {
        let connection = self.connections.get(slot);
        if connection.tls.as_ref().is_some_and(|tls| tls.wants_write()) {
            self.ready.push(slot);
        }
        if !self.plain.is_empty() {
            if connection.reading == ReadMode::Once {
                connection.reading = ReadMode::Stop;
            }
            self.shard.received(Conn(slot.0), &self.plain, self.now, &mut self.output);
            self.carry_out();
        } else if outcome.is_ok() && connection.reading == ReadMode::Once {
            self.net.read(slot, Reading::Once);
        }
        if let Err(error) = outcome {
            self.tls_broke(slot, &error);
        }
    }

    /// Makes some of the handshake steps that wait; tells whether there are more.
    #[inline]
    pub(super) fn shake_hands(&mut self) -> bool {
        for _ in 0..HANDSHAKE_STEPS_PER_TURN {
            let Some(slot) = self.handshakes.pop_front() else { return false };
            self.handshake_step(slot);
            self.carry_out();
        }
        !self.handshakes.is_empty()
    }

    #[cold]
    fn handshake_step(&mut self, slot: Slot) {
        let connection = self.connections.get(slot);
        connection.shaking = false;
        if !matches!(connection.phase, Phase::Open | Phase::Connecting(_)) {
            return;
        }
        let Some(tls) = &mut connection.tls else { return };
        self.plain.clear();
        let outcome = tls.shake_hands(&mut self.plain);
        let still = tls.is_handshaking();
        if tls.wants_write() {
            self.ready.push(slot);
        }
        match outcome {
            Err(error) => self.tls_broke(slot, &error),
            Ok(()) if still => self.net.read(slot, Reading::Once),
            Ok(()) => self.hands_shaken(slot),
        }
    }

    fn hands_shaken(&mut self, slot: Slot) {
        if matches!(self.connections.get(slot).phase, Phase::Connecting(_)) {
            // The plain octets that may have come along are still in `plain`.
            self.finish_connect(slot);
            self.carry_out();
        }
        let connection = self.connections.get(slot);
        if !matches!(connection.phase, Phase::Open) {
            return;
        }
        if connection.reading == ReadMode::Stream {
            self.net.read(slot, Reading::Stream);
        }
        self.deciphered(slot, Ok(()));
    }

    fn accepted(&mut self, number: usize, socket: std::os::fd::OwnedFd) {
        if socket.as_raw_fd().cast_unsigned() as u64 >= self.descriptors_end {
            return self.tell_accept_failure(|| {
                "those left are kept for vendors: raise the limit of open files (ulimit -n, LimitNOFILE)".into()
            });
        }
        // A peer that is gone already has no address, and needs no answer.
        let Ok(Some(peer)) = socket2::SockRef::from(&socket).peer_addr().map(|address| address.as_socket()) else {
            return;
        };
        let is_tls = self.listeners_tls[number];
        let tls = match (is_tls, &self.tls.server) {
            (false, _) => None,
            (true, Some(config)) => match TlsSession::server(config.clone()) {
                Ok(tls) => Some(Box::new(tls)),
                Err(_) => return,
            },
            (true, None) => return,
        };
        let slot = self.net.insert(socket);
        self.connections.open(slot, Phase::Open, tls);
        self.shard.accepted(Conn(slot.0), peer, is_tls, self.now, &mut self.output);
        self.carry_out();
        if is_tls && matches!(self.connections.get(slot).phase, Phase::Open) {
            self.net.read(slot, Reading::Once);
        }
    }

    #[cold]
    fn accept_failed(&mut self, number: usize, error: &std::io::Error) {
        let at = self.now.mono.after_ms(LISTEN_AGAIN_MS);
        self.timers.push(core::cmp::Reverse((at, Timer::Listener(number))));
        self.tell_accept_failure(|| match error.raw_os_error() {
            Some(libc::EMFILE) => format!("{error}: raise the limit of open files (ulimit -n, LimitNOFILE)"),
            Some(libc::ENFILE) => format!("{error}: raise the machine's fs.file-max"),
            _ => error.to_string(),
        });
    }

    #[cold]
    fn tell_accept_failure(&mut self, reason: impl FnOnce() -> String) {
        if self.accept_failure_told.is_none_or(|told| self.now.mono >= told.after_ms(ACCEPT_FAILURE_TOLD_MS)) {
            self.accept_failure_told = Some(self.now.mono);
            self.control.event(self.id, Event::AcceptFailed { reason: reason() });
        }
    }

    fn end_of_stream(&mut self, slot: Slot) {
        let connection = self.connections.get(slot);
        connection.end_seen = true;
        match connection.phase {
            Phase::Open => {
                self.shard.closed(Conn(slot.0), CloseCause::EndOfStream, self.now, &mut self.output);
                // Answers that are on their way may still be wanted.
                self.flush_and_close(slot);
            }
            Phase::Lingering(_) => self.abort(slot),
            Phase::Connecting(_) => self.connect_broke(slot, "the peer closed the connection during the handshake"),
            Phase::Free | Phase::Flushing | Phase::Closing | Phase::Moving(_) => {}
        }
    }

    fn broke(&mut self, slot: Slot, error: &std::io::Error) {
        match self.connections.get(slot).phase {
            Phase::Open => {
                self.shard.closed(Conn(slot.0), CloseCause::Reset, self.now, &mut self.output);
                self.abort(slot);
            }
            Phase::Flushing | Phase::Lingering(_) => self.abort(slot),
            Phase::Connecting(_) => self.connect_broke(slot, &error.to_string()),
            Phase::Free | Phase::Closing | Phase::Moving(_) => {}
        }
    }

    fn tls_broke(&mut self, slot: Slot, error: &rustls::Error) {
        match self.connections.get(slot).phase {
            Phase::Open => {
                self.tell_handshake(slot, error);
                self.shard.closed(Conn(slot.0), CloseCause::Tls, self.now, &mut self.output);
                self.flush_and_close(slot);
            }
            Phase::Connecting(_) => self.connect_broke(slot, &error.to_string()),
            _ => {}
        }
    }

    /// Whose certificate is out of date, or of another authority, is told why; the peer gets an alert.
    #[cold]
    fn tell_handshake(&mut self, slot: Slot, error: &rustls::Error) {
        if !self.connections.get(slot).tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            return;
        }
        let address = self.net.socket(slot).and_then(|socket| socket2::SockRef::from(&socket).peer_addr().ok());
        let peer = address.and_then(|address| address.as_socket()).map(|address| address.ip().to_canonical());
        self.control.event(self.id, Event::HandshakeFailed { peer, reason: error.to_string() });
    }
}
