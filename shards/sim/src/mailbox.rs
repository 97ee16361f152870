//! What threads hand to each other beside the rings: rare values, through channels. Plain values.

use std::sync::Arc;

use smpp_shards::{AuthRequest, DrainPhase, SessionSeed, ShardId, Snapshot, Verdict};

use crate::network::NetId;

/// What other threads hand to a shard's.
#[derive(Debug)]
pub(crate) enum Mail {
    /// The answer to a bind.
    Verdict(Verdict),
    /// A connection that moves here, with octets that are still to be sent.
    Adopt(NetId, Vec<u8>, Box<SessionSeed>),
    /// A new configuration.
    Apply(Arc<Snapshot>),
    /// The next phase of stopping.
    Drain(DrainPhase),
}

/// What a turn wants of other hosts and of the control thread.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// Shards whose doorbell is to be rung.
    pub bells: Vec<ShardId>,
    /// Connections that go to other shards.
    pub moves: Vec<(ShardId, Mail)>,
    /// Shards that have done with a snapshot, and the version in force there.
    pub in_force: Vec<(ShardId, u64)>,
    /// Binds to be checked.
    pub binds: Vec<AuthRequest>,
}
