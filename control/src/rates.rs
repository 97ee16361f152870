//! Rates out of counters: what a customer sends now, and which share of a vendor's answers are refusals.
//!
//! Lives on the control thread; fed once a second with each shard's report.

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
    fn a_customer_s_rate_is_what_came_between_two_reports() {
        let of = |submits| CustomerCounters { submits, ..CustomerCounters::default() };
        assert_eq!(submit_rates(&[of(10)], &[of(30), of(8)], 2.0), [10.0, 4.0]);
        assert_eq!(submit_rates(&[of(10)], &[of(4)], 2.0), [0.0]);
    }
}
