//! What nodes share through Redis, database 1: limits that count over all of them, and customers' binds.
//!
//! Lives on the control thread, as two tasks. No message and no shard ever waits for it: a shard spends what it has been leased,
//! and a bind waits for its count no longer than a moment. With Redis away every node goes on with its share, and says so.

mod binds;
mod leases;
mod link;
mod stats;

use std::io;
use std::sync::Arc;

use ring::rand::{SecureRandom as _, SystemRandom};
use smpp_shards::{CustomerId, ShardId, Verdict};

use crate::config::RedisSettings;
use crate::service::Service;
use crate::shard_desk::ShardDesk;
use crate::state::State;

use binds::{BindCounter, BindDesk};
use leases::Renewal;
use link::Link;
pub(crate) use stats::NodesStats;

/// The database of everything that is counted over all nodes.
pub(crate) const DATABASE: i64 = 1;

/// The sorted set of nodes that are alive, by the time at which they were heard of last.
const NODES_KEY: &str = "rate:nodes";

/// What this node is called in Redis, and how it gets there.
struct Shared {
    /// The node's name and a random part: a process that was started again is another one.
    node: String,
    settings: RedisSettings,
    link: Link,
    stats: Arc<NodesStats>,
    service: Arc<Service>,
    state: Arc<State>,
}

/// This node among the others; held by the control thread.
pub(crate) struct Nodes {
    shared: Arc<Shared>,
    desk: Arc<ShardDesk>,
    binds: BindDesk,
    counter: Option<BindCounter>,
    renewal: Option<tokio::task::JoinHandle<()>>,
}

impl Nodes {
    /// Tells every shard that limits count over all nodes, which must happen before a customer can be there; nothing else
    /// until [`Nodes::begin`].
    ///
    /// # Errors
    /// When the system has no random numbers to give.
    pub(crate) fn new(settings: &RedisSettings, state: &Arc<State>, desk: &Arc<ShardDesk>) -> io::Result<Self> {
        let mut random = [0; 8];
        let none = |_| io::Error::other("the system gives no random numbers; see that /dev/urandom can be read");
        SystemRandom::new().fill(&mut random).map_err(none)?;
        let service = Service::new("redis");
        state.watch_service(Arc::clone(&service));
        let stats = Arc::new(NodesStats::default());
        state.set_nodes(Arc::clone(&stats));
        leases::begin(desk, settings.lease_ms);
        let shared = Arc::new(Shared {
            node: format!("{}:{:016x}", state.node_id, u64::from_le_bytes(random)),
            settings: settings.clone(),
            link: Link::new(settings),
            stats,
            service,
            state: Arc::clone(state),
        });
        let (binds, counter) = binds::desk(Arc::clone(&shared), Arc::clone(desk));
        Ok(Self { shared, desk: Arc::clone(desk), binds, counter: Some(counter), renewal: None })
    }

    /// Starts the tasks, within the runtime.
    pub(crate) fn begin(&mut self) {
        let renewal = Renewal::new(Arc::clone(&self.shared), Arc::clone(&self.desk));
        self.renewal = Some(tokio::spawn(renewal.run()));
        if let Some(counter) = self.counter.take() {
            tokio::spawn(counter.run());
        }
    }

    /// Has a bind counted that may be one of so many; its verdict is sent to the shard then.
    ///
    /// # Errors
    /// The verdict, when too many wait: it is to be sent as it is.
    pub(crate) fn count_bind(&self, shard: ShardId, verdict: Verdict, most: u32) -> Result<(), Verdict> {
        self.binds.count(shard, verdict, most)
    }

    /// A bind that was let pass is over.
    pub(crate) fn bind_over(&self, customer: CustomerId) {
        self.binds.over(customer);
    }

    /// Takes this node from among the others, so that its binds are free and its shares the others' at once. At most half a
    /// second; who does not hear of it finds out by its silence.
    pub(crate) async fn leave(&mut self) {
        if let Some(renewal) = self.renewal.take() {
            renewal.abort();
        }
        self.shared.link.leave(&self.shared.node).await;
    }
}

#[cfg(test)]
pub(crate) mod tests;
