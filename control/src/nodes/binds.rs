//! Counts customers' binds over all nodes: each before it is let pass, many in one call, none held up for longer than a moment.
//!
//! What Redis has of this node is set right from the shards' reports when it was lost, or when Redis was away meanwhile. Where it
//! does not answer, the home shard's own count is all that limits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smpp_pdu::CommandStatus;
use smpp_shards::{CustomerId, ShardId, Verdict};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Shared;
use crate::channel::ToShard;
use crate::shard_desk::ShardDesk;

/// Binds and ends that may wait to be counted. Beyond it a bind passes uncounted, and an end is found in a later report.
const WAITING_MAX: usize = 8_192;

/// Of one call.
const BATCH_MAX: usize = 256;

/// How long a bind waits for its count.
const PATIENCE: Duration = Duration::from_millis(200);

/// A count that has changed is compared with reports after that long: they are up to a second old, and a bind that was let pass
/// may take a moment to be a session.
const SETTLED: Duration = Duration::from_secs(3);

/// Counts are written again after that long though nothing has changed, for they expire.
const WRITE_AGAIN: Duration = Duration::from_secs(600);

/// What is to be counted.
enum Change {
    Bind { shard: ShardId, customer: CustomerId, verdict: Verdict, most: u32 },
    Over(CustomerId),
    Set(CustomerId, u32),
}

/// Where binds are handed in.
pub(super) struct BindDesk {
    changes: mpsc::Sender<Change>,
}

impl BindDesk {
    pub(super) fn count(&self, shard: ShardId, verdict: Verdict, most: u32) -> Result<(), Verdict> {
        let Ok((customer, _)) = verdict.result else { return Err(verdict) };
        self.changes.try_send(Change::Bind { shard, customer, verdict, most }).map_err(|error| {
            match error.into_inner() {
                Change::Bind { verdict, .. } => verdict,
                Change::Over(_) | Change::Set(..) => unreachable!("what comes back is what was sent"),
            }
        })
    }

    pub(super) fn over(&self, customer: CustomerId) {
        let _ = self.changes.try_send(Change::Over(customer));
    }
}

/// What this node believes Redis to have of it.
#[derive(Clone, Copy, Debug)]
struct Count {
    /// `None`: nobody knows.
    counted: Option<u32>,
    changed_at: Instant,
    written_at: Instant,
}

/// The task.
pub(super) struct BindCounter {
    shared: Arc<Shared>,
    desk: Arc<ShardDesk>,
    changes: mpsc::Receiver<Change>,
    counts: HashMap<CustomerId, Count>,
    forgotten: u64,
}

pub(super) fn desk(shared: Arc<Shared>, desk: Arc<ShardDesk>) -> (BindDesk, BindCounter) {
    let (sender, changes) = mpsc::channel(WAITING_MAX);
    (BindDesk { changes: sender }, BindCounter { shared, desk, changes, counts: HashMap::new(), forgotten: 0 })
}

impl BindCounter {
    pub(super) async fn run(mut self) {
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                taken = self.changes.recv_many(&mut batch, BATCH_MAX) => {
                    if taken == 0 {
                        return;
                    }
                    self.count(&mut batch).await;
                }
                _ = second.tick() => self.compare().await,
            }
        }
    }

    /// Has them counted, and sends the verdicts.
    async fn count(&mut self, batch: &mut Vec<Change>) {
        batch.retain(|change| !matches!(change, Change::Over(customer) if !self.counts.contains_key(customer)));
        if batch.is_empty() {
            return;
        }
        let answer = match self.shared.link.is_there() && self.shared.service.complaint().is_none() {
            true => self.ask(batch).await,
            false => None,
        };
        for (place, change) in batch.drain(..).enumerate() {
            let passed = answer.as_ref().and_then(|answer| answer.get(place)).map(|passed| *passed != 0);
            self.settle(change, passed);
        }
    }

    /// One call; `None` when it is not answered in time.
    async fn ask(&self, batch: &[Change]) -> Option<Vec<i64>> {
        let snapshot = self.shared.state.snapshot();
        let key = |customer: CustomerId| {
            let name = snapshot.customers.get(customer.index()).map_or("", |customer| &customer.name);
            format!("binds:customer:{name}")
        };
        let silence = Duration::from_millis(self.shared.settings.node_timeout_ms);
        let mut arguments = vec![self.shared.node.clone(), silence.as_micros().to_string(), "0".to_owned()];
        let mut keys = Vec::with_capacity(batch.len());
        for change in batch {
            let (customer, text) = match change {
                Change::Bind { customer, most, .. } => (*customer, format!("b {most}")),
                Change::Over(customer) => (*customer, "e 1".to_owned()),
                Change::Set(customer, count) => (*customer, format!("s {count}")),
            };
            keys.push(key(customer));
            arguments.push(text);
        }
        timeout(PATIENCE, self.shared.link.count(&keys, &arguments)).await.ok()?.ok()
    }

    /// `passed` is `None` when nobody knows whether it was counted.
    fn settle(&mut self, change: Change, passed: Option<bool>) {
        let now = Instant::now();
        let stats = &self.shared.stats;
        match change {
            Change::Bind { shard, customer, mut verdict, .. } => {
                match passed {
                    Some(true) => stats.binds_admitted.count(),
                    Some(false) => stats.binds_refused.count(),
                    None => stats.binds_unchecked.count(),
                }
                if passed == Some(false) {
                    verdict.result = Err(CommandStatus::ESME_RBINDFAIL);
                    verdict.reason = Some("too many binds over all nodes");
                } else {
                    let first = Count { counted: Some(0), changed_at: now, written_at: now };
                    let count = self.counts.entry(customer).or_insert(first);
                    count.changed_at = now;
                    count.counted = count.counted.zip(passed).map(|(counted, _)| counted + 1);
                }
                if !self.desk.send(shard, ToShard::Verdict(verdict)) {
                    // The bind timer ends that bind.
                    self.shared.state.dropped_verdicts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            }
            Change::Over(customer) => {
                if let Some(count) = self.counts.get_mut(&customer) {
                    count.changed_at = now;
                    count.counted = count.counted.zip(passed).map(|(counted, _)| counted.saturating_sub(1));
                }
            }
            Change::Set(customer, set) => {
                let counted = passed.map(|_| set);
                match counted {
                    Some(0) => drop(self.counts.remove(&customer)),
                    _ => drop(self.counts.insert(customer, Count { counted, changed_at: now, written_at: now })),
                }
            }
        }
    }

    /// Compares what Redis has with the sessions that there are, where nothing has changed for a while.
    async fn compare(&mut self) {
        let forgotten = self.shared.stats.forgotten.get();
        if forgotten != self.forgotten {
            self.forgotten = forgotten;
            self.counts.values_mut().for_each(|count| count.counted = None);
        }
        let mut wrong = self.differences();
        while !wrong.is_empty() {
            let mut batch: Vec<Change> = wrong.split_off(wrong.len().saturating_sub(BATCH_MAX));
            self.count(&mut batch).await;
        }
    }

    fn differences(&self) -> Vec<Change> {
        let snapshot = self.shared.state.snapshot();
        let sessions = self.sessions(snapshot.customers.len());
        let now = Instant::now();
        let customers = snapshot.customers.iter().zip(sessions);
        let wrong = customers.filter_map(|(customer, sessions)| {
            let is_limited = customer.settings.smpp_max_binds != 0;
            let right = if is_limited { sessions } else { 0 };
            let is_wrong = match self.counts.get(&customer.id) {
                None => right != 0,
                Some(count) => {
                    let is_settled = now.duration_since(count.changed_at) >= SETTLED;
                    let is_old = now.duration_since(count.written_at) >= WRITE_AGAIN;
                    is_settled && (count.counted != Some(right) || is_old)
                }
            };
            is_wrong.then_some(Change::Set(customer.id, right))
        });
        wrong.collect()
    }

    /// By customer: sessions that are bound, as the shards have reported last.
    fn sessions(&self, customers: usize) -> Vec<u32> {
        let mut sessions = vec![0; customers];
        for report in self.shared.state.shards().iter().filter_map(|shard| shard.report.as_ref()) {
            for (sum, counters) in sessions.iter_mut().zip(&report.customers) {
                *sum += counters.sessions;
            }
        }
        sessions
    }
}
