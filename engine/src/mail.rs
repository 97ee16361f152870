//! What goes between the shards' threads inside the engine: moved connections, resolved names, TLS settings.
//!
//! Bounded channels and doorbells. Sending never waits; what finds no room is kept by its sender and tried again.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use smpp_shards::{LinkId, SessionSeed, ShardId};

use crate::certificates::TlsConfigs;
use crate::net::Doorbell;
use crate::tls::TlsSession;

/// Values that may wait for one shard. A sender that finds no room keeps its value for the next turn.
const MAIL_MAX: usize = 4096;

/// A connection on its way from one shard to another, with everything that has been read and not been handed
/// in, and everything that was to be sent.
#[derive(Debug)]
pub(crate) struct MovedConnection {
    pub(crate) socket: OwnedFd,
    pub(crate) tls: Option<Box<TlsSession>>,
    pub(crate) seed: Box<SessionSeed>,
    /// Octets off the wire (ciphertext where there is TLS) that the shard has not seen.
    pub(crate) received: Vec<u8>,
    /// Octets for the wire (ciphertext where there is TLS).
    pub(crate) unsent: Vec<u8>,
    /// Octets that the shard wrote and that have not been taken for sending.
    pub(crate) pending: Vec<u8>,
}

/// What came of a look-up.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) link: LinkId,
    /// Tells this asking from earlier ones for the same link.
    pub(crate) ticket: u32,
    /// The addresses in the order to be tried (at least one), or why there are none.
    pub(crate) result: Result<Vec<SocketAddr>, String>,
}

/// To one shard.
#[derive(Debug)]
pub(crate) enum Mail {
    Moved(Box<MovedConnection>),
    Resolved(Resolved),
    Tls(Arc<TlsConfigs>),
    /// What older journals held is safe in this start's: customers and vendors may come. With the listening sockets, and
    /// whether TLS is spoken on them.
    Open(Vec<(OwnedFd, bool)>),
}

/// How to reach every shard.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    senders: Arc<[Sender<Mail>]>,
    bells: Arc<[Arc<Doorbell>]>,
}

impl Post {
    /// One mailbox per doorbell; the receivers go to the shards in the same order.
    pub(crate) fn new(bells: Arc<[Arc<Doorbell>]>) -> (Self, Vec<Receiver<Mail>>) {
        let (senders, receivers): (Vec<_>, Vec<_>) = bells.iter().map(|_| bounded(MAIL_MAX)).unzip();
        (Self { senders: senders.into(), bells }, receivers)
    }

    /// Sends without waiting.
    ///
    /// # Errors
    /// The mail, when there is no room or no such shard.
    pub(crate) fn try_send(&self, to: ShardId, mail: Mail) -> Result<(), Mail> {
        let Some(sender) = self.senders.get(to.index()) else { return Err(mail) };
        let result = sender.try_send(mail).map_err(TrySendError::into_inner);
        self.ring(to);
        result
    }

    /// Sends, waiting for room: for threads that are no shard's.
    pub(crate) fn send(&self, to: ShardId, mail: Mail) {
        if let Some(sender) = self.senders.get(to.index()) {
            // A shard that has ended needs no mail.
            let _ = sender.send(mail);
            self.ring(to);
        }
    }

    /// Wakes a shard if it sleeps.
    #[inline]
    pub(crate) fn ring(&self, shard: ShardId) {
        if let Some(bell) = self.bells.get(shard.index()) {
            bell.ring();
        }
    }

    /// How many shards there are.
    pub(crate) fn shards(&self) -> usize {
        self.senders.len()
    }
}
