//! Rates out of counters: what a customer sends now, which share of a vendor's answers are refusals, and what messages
//! had to wait for lately.
//!
//! Lives on the control thread; fed once a second with each shard's report.

use smpp_shards::histogram::{BOUNDS, Histogram, Latencies};
use smpp_shards::{CustomerCounters, VendorCounters};

/// After so many seconds an answer counts half in the share of refusals.
const HALF_LIFE_SECONDS: f64 = 20.0;

/// A vendor's answers of the last while; older ones count less.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RecentAnswers {
    good: f64,
    bad: f64,
}

impl RecentAnswers {
    /// The share of refusals and unknown outcomes, 0 to 1; 0 where there were hardly any answers.
    pub(crate) fn error_rate(self) -> f64 {
        let all = self.good + self.bad;
        if all < 0.5 { 0.0 } else { self.bad / all }
    }

    fn add(&mut self, before: &VendorCounters, now: &VendorCounters, seconds: f64) {
        let keep = 0.5_f64.powf(seconds / HALF_LIFE_SECONDS);
        let bad = |counters: &VendorCounters| counters.submits_failed + counters.throttled + counters.unknown_outcomes;
        self.good = self.good * keep + now.submits_ok.saturating_sub(before.submits_ok) as f64;
        self.bad = self.bad * keep + bad(now).saturating_sub(bad(before)) as f64;
    }
}

/// Takes the difference between two reports of a shard into account, by vendor.
pub(crate) fn add_answers(
    recent: &mut Vec<RecentAnswers>,
    before: &[VendorCounters],
    now: &[VendorCounters],
    seconds: f64,
) {
    recent.resize(now.len(), RecentAnswers::default());
    for (index, (recent, now)) in recent.iter_mut().zip(now).enumerate() {
        let none = VendorCounters::default();
        recent.add(before.get(index).unwrap_or(&none), now, seconds);
    }
}

/// Times of the last while, by bucket; older ones count less.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RecentTimes {
    counts: [f64; BOUNDS + 1],
}

impl RecentTimes {
    fn add(&mut self, before: &Histogram, now: &Histogram, seconds: f64) {
        let keep = 0.5_f64.powf(seconds / HALF_LIFE_SECONDS);
        for (recent, (before, now)) in self.counts.iter_mut().zip(before.counts.iter().zip(now.counts)) {
            *recent = *recent * keep + now.saturating_sub(*before) as f64;
        }
    }

    /// Another shard's beside this one's.
    fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
    }

    /// Below which so many milliseconds that share of the times are, taken as evenly spread within their bucket; `None` where
    /// there were hardly any. Beyond the last bound it is that bound.
    pub(crate) fn quantile_ms(&self, share: f64) -> Option<f64> {
        let all: f64 = self.counts.iter().sum();
        if all < 0.5 {
            return None;
        }
        let wanted = all * share;
        let mut below = 0.0;
        for (bucket, count) in self.counts.iter().take(BOUNDS).enumerate() {
            if below + count >= wanted && *count > 0.0 {
                let upper = Histogram::bound_of_ms(bucket) * 1e3;
                let lower = if bucket == 0 { 0.0 } else { upper / 2.0 };
                return Some(lower + (upper - lower) * ((wanted - below) / count).clamp(0.0, 1.0));
            }
            below += count;
        }
        Some(Histogram::bound_of_ms(BOUNDS - 1) * 1e3)
    }
}

/// What messages had to wait for in the last while.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RecentLatencies {
    pub(crate) submit_response: RecentTimes,
    pub(crate) vendor_answer: RecentTimes,
    pub(crate) delivery: RecentTimes,
}

impl RecentLatencies {
    /// Takes the difference between two reports of a shard into account.
    pub(crate) fn add(&mut self, before: &Latencies, now: &Latencies, seconds: f64) {
        self.submit_response.add(&before.submit_response, &now.submit_response, seconds);
        self.vendor_answer.add(&before.vendor_answer, &now.vendor_answer, seconds);
        self.delivery.add(&before.delivery, &now.delivery, seconds);
    }

    /// Another shard's beside this one's.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.submit_response.merge(&other.submit_response);
        self.vendor_answer.merge(&other.vendor_answer);
        self.delivery.merge(&other.delivery);
    }
}

/// submit_sm a second between two reports of a shard, by customer.
pub(crate) fn submit_rates(before: &[CustomerCounters], now: &[CustomerCounters], seconds: f64) -> Vec<f64> {
    let rate = |(index, now): (usize, &CustomerCounters)| {
        let before = before.get(index).map_or(0, |before| before.submits);
        now.submits.saturating_sub(before) as f64 / seconds
    };
    now.iter().enumerate().map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(ok: u64, failed: u64) -> VendorCounters {
        VendorCounters { submits_ok: ok, submits_failed: failed, ..VendorCounters::default() }
    }

    #[test]
    fn the_share_of_refusals_follows_the_answers_and_forgets_old_ones() {
        let mut recent = Vec::new();
        add_answers(&mut recent, &[], &[counters(75, 25)], 1.0);
        assert!((recent[0].error_rate() - 0.25).abs() < 1e-9);
        for second in 1..200 {
            let (before, now) = (counters(75 + second * 100, 25), counters(175 + second * 100, 25));
            add_answers(&mut recent, &[before], &[now], 1.0);
        }
        assert!(recent[0].error_rate() < 0.001, "{recent:?}");
        for _ in 0..2_000 {
            add_answers(&mut recent, &[counters(5, 5)], &[counters(5, 5)], 1.0);
        }
        assert!(recent[0].error_rate().abs() < f64::EPSILON, "nothing is known any more");
    }

    #[test]
    fn quantiles_lie_in_their_bucket_and_follow_what_came_lately() {
        let mut recent = RecentTimes::default();
        assert_eq!(recent.quantile_ms(0.5), None);
        let mut times = Histogram::default();
        (0..90).for_each(|_| times.add_ms(3));
        (0..10).for_each(|_| times.add_ms(100));
        recent.add(&Histogram::default(), &times, 1.0);
        let quantile = |recent: &RecentTimes, share| recent.quantile_ms(share).unwrap();
        assert!((2.0..4.0).contains(&quantile(&recent, 0.5)), "{recent:?}");
        assert!((quantile(&recent, 0.95) - 96.0).abs() < 1e-9, "half of the bucket from 64 to 128 ms");
        let before = times;
        (0..1_000).for_each(|_| times.add_ms(1_000_000));
        recent.add(&before, &times, 60.0);
        assert!((quantile(&recent, 0.99) - 131_072.0).abs() < 1e-9, "above the last bound");
        for _ in 0..2_000 {
            recent.add(&times, &times, 1.0);
        }
        assert_eq!(recent.quantile_ms(0.5), None, "nothing is known any more");
    }

    #[test]
    fn a_customer_s_rate_is_what_came_between_two_reports() {
        let of = |submits| CustomerCounters { submits, ..CustomerCounters::default() };
        assert_eq!(submit_rates(&[of(10)], &[of(30), of(8)], 2.0), [10.0, 4.0]);
        assert_eq!(submit_rates(&[of(10)], &[of(4)], 2.0), [0.0]);
    }
}
