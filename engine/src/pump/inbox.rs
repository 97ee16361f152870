//! What other threads send: commands of the control thread, mail of the other shards and the resolver.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use smpp_control::ToShard;
use smpp_shards::{DrainPhase, Reply, TraceOrder, Traced};
use socket2::SockRef;

use crate::mail::Mail;
use crate::net::Slot;

use super::{DrainNews, Pump, STOP_MS};

/// Values that one turn takes out of one inbox.
const PER_TURN: usize = 256;

impl Pump {
    /// Takes what has come; tells whether there may be more.
    #[inline]
    pub(super) fn take_inboxes(&mut self) -> bool {
        if !self.outbox.is_empty() {
            self.empty_outbox();
        }
        self.take_commands() | self.take_mail()
    }

    fn take_commands(&mut self) -> bool {
        for _ in 0..PER_TURN {
            let Ok(command) = self.commands.try_recv() else { return false };
            match command {
                ToShard::Verdict(verdict) => self.shard.authenticated(verdict, self.now, &mut self.output),
                ToShard::StoreAnswer(answer) => self.shard.store_answered(answer, self.now, &mut self.output),
                ToShard::Snapshot(snapshot) => {
                    // What goes with it was sent before it, as mail.
                    while self.take_mail() {}
                    self.shard.apply(snapshot, &mut self.output);
                }
                ToShard::Drain(phase) => self.drain(phase),
                ToShard::Command(ticket, command) => {
                    self.shard.command(ticket, *command, self.now, &mut self.output);
                }
                ToShard::Trace(ticket, order) => self.trace(ticket, *order),
                ToShard::Stop => self.stop_at = self.now.mono.after_ms(STOP_MS),
            }
            self.carry_out();
        }
        true
    }

    /// Begins a trace; the answer has the addresses of the connection's two ends, which the shard does not know.
    fn trace(&mut self, ticket: u64, order: TraceOrder) {
        let begun = self.shard.trace(order, self.now, &mut self.output);
        let traced = begun.and_then(|(conn, customer)| {
            let socket = self.net.socket(Slot(conn.0))?;
            let socket = SockRef::from(&socket);
            let (peer, local) = (socket.peer_addr().ok()?.as_socket()?, socket.local_addr().ok()?.as_socket()?);
            Some(Traced { customer, peer: canonical(peer), local: canonical(local) })
        });
        self.control.reply(ticket, Reply::Traced(traced));
    }

    fn take_mail(&mut self) -> bool {
        for _ in 0..PER_TURN {
            let Ok(mail) = self.mail.try_recv() else { return false };
            match mail {
                Mail::Moved(moved) => self.adopt(*moved),
                Mail::Resolved(resolved) => self.resolved(resolved),
                Mail::Tls(configs) => self.tls = configs,
                Mail::Open(listeners) => self.open(listeners),
            }
            self.carry_out();
        }
        true
    }

    fn open(&mut self, listeners: Vec<(OwnedFd, bool)>) {
        self.is_open = true;
        for (socket, tls) in listeners {
            self.listeners_tls.push(tls);
            self.net.listen(socket);
        }
        self.shard.start(self.now, &mut self.output);
    }

    fn drain(&mut self, phase: DrainPhase) {
        self.net.close_listeners();
        self.shard.drain(phase, self.now, &mut self.output);
        // The main thread waits for this with a deadline of its own.
        let _ = self.drain_news.try_send(DrainNews { shard: self.id, phase, is_through: false });
        self.draining = Some(phase);
        self.next_drain_look = self.now.mono;
    }
}

/// An address of IPv4 as such, also where it comes from a listener of both versions.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
