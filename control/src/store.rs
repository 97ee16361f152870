//! The message store: what has become of each message, for seven days, in Redis or in a folder of this node.
//!
//! A thread of its own, `store`, takes what the shards have noted out of their rings, puts what belongs to one message
//! together, and writes it in batches; it also answers the receipts that only the store can match, and whoever looks for a
//! message. No message waits for it: what it does not keep up with is left out by the shards, and counted.

mod embedded;
mod lookup;
pub mod message;
mod pending;
mod redis;
mod stats;
mod worker;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use smpp_shards::FeedEnd;
use smpp_shards::message_id::MessageId;
use tokio::sync::{mpsc, oneshot};

use crate::channel::{ControlWaker, ShardHandle};
use crate::config::RedisSettings;
use crate::log::Log;

pub(crate) use redis::DATABASE as REDIS_DATABASE;

pub use message::{MessageStatus, StoredMessage};
pub use stats::StoreStats;

/// How long a message is remembered: seven days.
pub const TTL_SECONDS: u64 = 7 * 86_400;

/// Messages asked for that may wait for an answer; one more is answered [`StoreError::Busy`].
const REQUESTS_MAX: usize = 256;

/// How long whoever asks for a message waits.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Where messages are remembered.
#[derive(Clone, Debug)]
pub enum StoreKind {
    /// In a folder of this node.
    Embedded(PathBuf),
    /// In Redis, for all nodes.
    Redis(RedisSettings),
}

/// What the shards' side of the store is made of.
pub struct StoreChannels {
    /// By shard: the end of its ring.
    pub feeds: Vec<FeedEnd>,
    /// Rung by shards that have put something into their rings.
    pub bell: ControlWaker,
}

/// Why the store gives no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// It cannot be reached at present.
    Away,
    /// Too many ask at the same time.
    Busy,
    /// It answers with an error: a sentence.
    Failed(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away => f.write_str("the message store cannot be reached at present"),
            Self::Busy => f.write_str("too many look-ups at the same time; try again"),
            Self::Failed(reason) => write!(f, "the message store fails: {reason}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// The running store, for whoever looks for a message. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    requests: mpsc::Sender<Request>,
    stats: Arc<StoreStats>,
}

/// The store's thread, held by whoever has started it. Dropping it ends the thread without waiting.
pub struct StoreThread {
    stop: Option<oneshot::Sender<()>>,
    ended: crossbeam_channel::Receiver<()>,
}

/// One message that is looked for.
struct Request {
    id: MessageId,
    answer: oneshot::Sender<Result<Option<StoredMessage<'static>>, StoreError>>,
}

/// Which message a vendor means.
#[derive(Clone, Debug)]
struct Asked {
    vendor: Vec<u8>,
    /// As [`message::normal_id`] spells it.
    normal_id: Vec<u8>,
}

impl Store {
    /// Starts the thread. A store that cannot be reached is tried again and again, and is no reason not to start.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(
        kind: StoreKind,
        channels: StoreChannels,
        shards: Vec<ShardHandle>,
        log: Log,
    ) -> io::Result<(Self, StoreThread)> {
        let (requests, incoming) = mpsc::channel(REQUESTS_MAX);
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = crossbeam_channel::bounded(1);
        let stats = Arc::new(StoreStats::new(&kind));
        let worker = worker::Worker::new(kind, channels, shards, log, Arc::clone(&stats));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        std::thread::Builder::new().name("store".into()).spawn(move || {
            runtime.block_on(worker.run(incoming, stopped));
            let _ = end.try_send(());
        })?;
        Ok((Self { requests, stats }, StoreThread { stop: Some(stop), ended }))
    }

    /// The message of that id, what has not been written yet included; `None` when it is unknown or older than
    /// [`TTL_SECONDS`].
    ///
    /// # Errors
    /// See [`StoreError`]; within 3 s.
    pub async fn message(&self, id: MessageId) -> Result<Option<StoredMessage<'static>>, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.requests.try_send(Request { id, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Away,
        })?;
        match tokio::time::timeout(ANSWER_MAX, answered).await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) | Err(_) => Err(StoreError::Away),
        }
    }

    /// What it has done, and how far it is behind.
    pub fn stats(&self) -> &Arc<StoreStats> {
        &self.stats
    }
}

impl StoreThread {
    /// Has it write what is left, and waits for that, at most so long; tells whether it came to its end.
    pub fn stop(mut self, within: Duration) -> bool {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        self.ended.recv_timeout(within).is_ok()
    }
}

#[cfg(test)]
mod tests;
