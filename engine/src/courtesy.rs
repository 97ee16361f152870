//! Courtesy: a shard's thread that is woken on a core in use waits until its user pauses, as long as that pays.
//!
//! Lives on the shard's thread, by value in the pump, and looks once a second. Whoever wakes a shard has more for it most of
//! the time: let finish (SCHED_BATCH), the shard finds more work for each time it wakes, and wakes on its waker's core instead
//! of an idle one, which a virtual machine pays dearly for. But beside a program that never pauses the shard would get the core
//! only at the end of that one's turn, some milliseconds later each time. So it looks how long it had to wait, and is
//! an ordinary thread for a while where that was long.

use std::fs::File;
use std::os::unix::fs::FileExt;

use smpp_shards::Time;

use crate::net::{Policy, policy, set_policy};

/// What a wait for the core may take on average. Wakers pause after tens of microseconds; who does not has a turn of milliseconds.
const WAIT_NANOS_MAX: u64 = 500_000;

/// For how long a shard is an ordinary thread when it has waited too long; twice as long each time in a row.
const ORDINARY_MS_FIRST: u64 = 10_000;
const ORDINARY_MS_MAX: u64 = 600_000;

/// How long a shard had to wait for its core in all, and how often it has had it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Waited {
    nanos: u64,
    times: u64,
}

impl Waited {
    /// From the kernel's three numbers: on the core, waiting for it (both nanoseconds), how often.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_ascii_whitespace().skip(1).map(str::parse);
        Some(Self { nanos: numbers.next()?.ok()?, times: numbers.next()?.ok()? })
    }

    fn is_long_since(self, before: Self) -> bool {
        let (nanos, times) = (self.nanos.saturating_sub(before.nanos), self.times.saturating_sub(before.times));
        nanos > times.saturating_mul(WAIT_NANOS_MAX)
    }
}

/// What the shard's thread is, and until when.
#[derive(Debug)]
pub(crate) struct Courtesy {
    /// The kernel's account of this thread; none where the policy is not ours to change.
    account: Option<File>,
    before: Waited,
    /// An ordinary thread until then; [`Time::NEVER`] for a batch one.
    until: Time,
    ordinary_ms: u64,
}

impl Courtesy {
    /// Makes the calling thread a batch one, unless its policy is of the operator's choice, or nobody could tell how that goes.
    pub(crate) fn new() -> Self {
        let account = File::open("/proc/thread-self/schedstat").ok();
        let account = account.filter(|_| policy() == Some(Policy::Other) && set_policy(Policy::Batch));
        let mut courtesy =
            Self { account, before: Waited::default(), until: Time::NEVER, ordinary_ms: ORDINARY_MS_FIRST };
        courtesy.before = courtesy.waited().unwrap_or_default();
        courtesy
    }

    /// Once a second.
    pub(crate) fn look(&mut self, now: Time) {
        if let Some(waited) = self.waited()
            && let Some(policy) = self.judge(waited, now)
        {
            set_policy(policy);
        }
    }

    fn waited(&self) -> Option<Waited> {
        let mut text = [0; 64];
        let length = self.account.as_ref()?.read_at(&mut text, 0).ok()?;
        Waited::parse(core::str::from_utf8(&text[..length]).ok()?)
    }

    /// What the thread is to be from now on, where that changes.
    fn judge(&mut self, waited: Waited, now: Time) -> Option<Policy> {
        let is_long = waited.is_long_since(core::mem::replace(&mut self.before, waited));
        if self.until != Time::NEVER {
            if now < self.until {
                return None;
            }
            self.until = Time::NEVER;
            return Some(Policy::Batch);
        }
        if is_long {
            self.until = now.after_ms(self.ordinary_ms);
            self.ordinary_ms = (self.ordinary_ms * 2).min(ORDINARY_MS_MAX);
            return Some(Policy::Other);
        }
        // A second went well: little by little what was before is forgotten.
        self.ordinary_ms = self.ordinary_ms.saturating_sub(1_000).max(ORDINARY_MS_FIRST);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A courtesy that looks each second at a thread that waited so many microseconds each time, for so many seconds: what it
    /// was made, and in which second.
    fn changes(courtesy: &mut Courtesy, seconds: core::ops::Range<u64>, micros: u64) -> Vec<(u64, Policy)> {
        let mut changes = Vec::new();
        for second in seconds {
            let Waited { nanos, times } = courtesy.before;
            let waited = Waited { nanos: nanos + 100 * micros * 1_000, times: times + 100 };
            changes.extend(courtesy.judge(waited, Time(second * 1_000_000_000)).map(|policy| (second, policy)));
        }
        changes
    }

    fn courtesy() -> Courtesy {
        Courtesy { account: None, before: Waited::default(), until: Time::NEVER, ordinary_ms: ORDINARY_MS_FIRST }
    }

    #[test]
    fn who_waits_for_a_pause_goes_on_waiting() {
        assert_eq!(changes(&mut courtesy(), 1..1_000, 90), []);
    }

    #[test]
    fn beside_who_never_pauses_it_is_ordinary_and_tries_again_more_and_more_seldom() {
        let (batch, other) = (Policy::Batch, Policy::Other);
        let found = changes(&mut courtesy(), 1..80, 3_000);
        assert_eq!(found, [(1, other), (11, batch), (12, other), (32, batch), (33, other), (73, batch), (74, other)]);
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut courtesy = courtesy();
        changes(&mut courtesy, 1..80, 3_000);
        assert_eq!(courtesy.ordinary_ms, 160_000);
        assert_eq!(changes(&mut courtesy, 80..400, 90), [(154, Policy::Batch)]);
        assert_eq!(courtesy.ordinary_ms, ORDINARY_MS_FIRST);
        assert_eq!(
            changes(&mut courtesy, 400..412, 3_000),
            [(400, Policy::Other), (410, Policy::Batch), (411, Policy::Other)]
        );
    }

    #[test]
    fn a_second_without_a_turn_says_nothing() {
        let mut courtesy = courtesy();
        assert_eq!(courtesy.judge(Waited::default(), Time(1)), None);
    }

    #[test]
    fn the_kernels_account_of_a_thread_is_read() {
        let courtesy = std::thread::spawn(|| {
            let courtesy = Courtesy::new();
            assert_eq!(policy(), Some(Policy::Batch));
            assert!(courtesy.waited().is_some_and(|waited| waited.times > 0));
            courtesy
        });
        courtesy.join().expect("the thread ends");
        assert_eq!(Waited::parse("1 2 3\n"), Some(Waited { nanos: 2, times: 3 }));
        assert_eq!(Waited::parse("1 2"), None);
    }
}
