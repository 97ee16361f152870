//! Asks shards on behalf of the control port: a command goes out under a ticket, its answers come back to whoever waits.
//!
//! Lives on the control thread. Never waits for a shard but in an asking task, and keeps nothing of one that has given up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smpp_shards::{Command, Reply, ShardId, TraceOrder};
use tokio::sync::mpsc;

use crate::channel::{ShardHandle, ToShard};

/// Commands that may be without their answers at one time. Beyond it [`AskError::Busy`].
const PENDING_MAX: usize = 256;

/// Why a shard was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskError {
    /// Too many commands wait, or the shard's channel is full.
    Busy,
}

/// Where commands go out and answers come in.
pub(crate) struct ShardDesk {
    shards: Vec<ShardHandle>,
    pending: Mutex<HashMap<u64, mpsc::Sender<Reply>>>,
    tickets: AtomicU64,
}

impl ShardDesk {
    pub(crate) fn new(shards: Vec<ShardHandle>) -> Self {
        Self { shards, pending: Mutex::default(), tickets: AtomicU64::new(0) }
    }

    /// How many shards there are.
    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Sends a command to which so many answers come.
    ///
    /// # Errors
    /// [`AskError::Busy`]; then nothing has been sent.
    pub(crate) fn ask(self: &Arc<Self>, shard: ShardId, command: Command, answers: usize) -> Result<Asked, AskError> {
        self.send_asking(shard, answers, |ticket| ToShard::Command(ticket, Box::new(command)))
    }

    /// Sends the order of a trace, to which one answer comes.
    ///
    /// # Errors
    /// [`AskError::Busy`]; then nothing has been sent.
    pub(crate) fn trace(self: &Arc<Self>, shard: ShardId, order: TraceOrder) -> Result<Asked, AskError> {
        self.send_asking(shard, 1, |ticket| ToShard::Trace(ticket, Box::new(order)))
    }

    fn send_asking(
        self: &Arc<Self>,
        shard: ShardId,
        answers: usize,
        value: impl FnOnce(u64) -> ToShard,
    ) -> Result<Asked, AskError> {
        let handle = self.shards.get(shard.index()).ok_or(AskError::Busy)?;
        let (sender, replies) = mpsc::channel(answers.max(1));
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        {
            let mut pending = self.pending();
            if pending.len() >= PENDING_MAX {
                return Err(AskError::Busy);
            }
            pending.insert(ticket, sender);
        }
        let asked = Asked { desk: Arc::clone(self), ticket, replies };
        handle.send(value(ticket)).map_err(|_| AskError::Busy)?;
        Ok(asked)
    }

    /// Sends what is not answered; `false` when the shard's channel is full.
    pub(crate) fn send(&self, shard: ShardId, value: ToShard) -> bool {
        self.shards.get(shard.index()).is_some_and(|handle| handle.send(value).is_ok())
    }

    /// A shard has answered. Nobody may be waiting any more.
    pub(crate) fn answer(&self, ticket: u64, reply: Reply) {
        if let Some(sender) = self.pending().get(&ticket) {
            // There is room for as many as were announced.
            let _ = sender.try_send(reply);
        }
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Reply>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command on its way. Dropping it is giving up: answers that come later are passed over.
pub(crate) struct Asked {
    desk: Arc<ShardDesk>,
    ticket: u64,
    replies: mpsc::Receiver<Reply>,
}

impl Asked {
    /// The next answer; `None` when none comes within that time.
    pub(crate) async fn next(&mut self, patience: Duration) -> Option<Reply> {
        tokio::time::timeout(patience, self.replies.recv()).await.ok().flatten()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.desk.pending().remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Bell, shard_channel};

    struct Silent;

    impl Bell for Silent {
        fn ring(&self) {}
    }

    fn desk() -> (Arc<ShardDesk>, crossbeam_channel::Receiver<ToShard>) {
        let (sender, receiver) = shard_channel();
        (Arc::new(ShardDesk::new(vec![ShardHandle { sender, bell: Arc::new(Silent) }])), receiver)
    }

    fn command() -> Command {
        Command::ListSessions { customer: None, from: 0, limit: 1 }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    #[test]
    fn an_answer_reaches_whoever_asked() {
        let (desk, shard) = desk();
        let mut first = desk.ask(ShardId(0), command(), 1).unwrap();
        let mut second = desk.ask(ShardId(0), command(), 2).unwrap();
        let tickets: Vec<u64> = shard
            .try_iter()
            .map(|value| match value {
                ToShard::Command(ticket, _) => ticket,
                other => panic!("{other:?}"),
            })
            .collect();
        desk.answer(tickets[1], Reply::Ended(true));
        desk.answer(tickets[0], Reply::Ended(false));
        desk.answer(tickets[1], Reply::Ended(false));
        let patience = Duration::from_secs(10);
        runtime().block_on(async {
            assert_eq!(first.next(patience).await, Some(Reply::Ended(false)));
            assert_eq!(second.next(patience).await, Some(Reply::Ended(true)));
            assert_eq!(second.next(patience).await, Some(Reply::Ended(false)));
        });
    }

    #[test]
    fn a_shard_that_does_not_answer_is_given_up_and_forgotten() {
        let (desk, _shard) = desk();
        let mut asked = desk.ask(ShardId(0), command(), 1).unwrap();
        assert_eq!(runtime().block_on(asked.next(Duration::from_millis(1))), None);
        drop(asked);
        assert!(desk.pending().is_empty());
        desk.answer(0, Reply::Ended(true));
    }

    #[test]
    fn commands_without_their_answers_are_bounded() {
        let (desk, _shard) = desk();
        let asked: Vec<_> = (0..PENDING_MAX).map(|_| desk.ask(ShardId(0), command(), 1).unwrap()).collect();
        assert_eq!(desk.ask(ShardId(0), command(), 1).err(), Some(AskError::Busy));
        drop(asked);
        assert!(desk.ask(ShardId(0), command(), 1).is_ok());
        assert_eq!(desk.ask(ShardId(1), command(), 1).err(), Some(AskError::Busy), "there is no such shard");
    }
}
