//! What the store has done, how far it is behind, and what is wrong with it: written by its thread, read by metrics and
//! `/health`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::StoreKind;
use crate::service::SLOW;

/// Counters of the store's thread. All of them only ever grow but for the lag.
#[derive(Debug)]
pub struct StoreStats {
    name: &'static str,
    records: AtomicU64,
    messages: AtomicU64,
    failures: AtomicU64,
    waiting: AtomicU64,
    oldest_unix_ms: AtomicU64,
    standing: Mutex<Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    trouble: Option<String>,
    /// Something was asked of it then, and has not been answered.
    asked: Option<Instant>,
    /// What the last answer took.
    took: Duration,
}

impl StoreStats {
    pub(super) fn new(kind: &StoreKind) -> Self {
        Self {
            name: match kind {
                StoreKind::Embedded(_) => "store",
                StoreKind::Redis(_) => "redis",
            },
            records: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            oldest_unix_ms: AtomicU64::new(0),
            standing: Mutex::default(),
        }
    }

    /// `redis` or `store`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Notes of shards that are in the store.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Messages written: fewer than notes, for those of a while are put together.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Batches that could not be written; each is written again until it can be.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Notes that its thread has taken from the shards and that are not in the store.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How old the oldest of those is.
    pub fn lag(&self, now_unix_ms: u64) -> Duration {
        match self.oldest_unix_ms.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            oldest => Duration::from_millis(now_unix_ms.saturating_sub(oldest)),
        }
    }

    /// What is wrong with it at present: a sentence without its subject.
    pub fn trouble(&self) -> Option<String> {
        let standing = self.standing();
        if standing.trouble.is_some() {
            return standing.trouble.clone();
        }
        let longest = standing.asked.map_or(Duration::ZERO, |asked| asked.elapsed()).max(standing.took);
        (longest >= SLOW).then(|| format!("answers slowly: {} ms", longest.as_millis()))
    }

    pub(super) fn written(&self, records: u64, messages: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.messages.fetch_add(messages, Ordering::Relaxed);
    }

    pub(super) fn set_waiting(&self, records: u64, oldest_unix_ms: u64) {
        self.waiting.store(records, Ordering::Relaxed);
        self.oldest_unix_ms.store(oldest_unix_ms, Ordering::Relaxed);
    }

    /// Something is asked of it now.
    pub(super) fn ask(&self) {
        self.standing().asked = Some(Instant::now());
    }

    /// It has answered, well or with a failure. `true` when that is news.
    pub(super) fn answered(&self, trouble: Option<&str>) -> bool {
        if trouble.is_some() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        let mut standing = self.standing();
        standing.took = standing.asked.take().map_or(Duration::ZERO, |asked| asked.elapsed());
        let is_news = standing.trouble.is_some() != trouble.is_some();
        standing.trouble = trouble.map(str::to_owned);
        is_news
    }

    fn standing(&self) -> std::sync::MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
