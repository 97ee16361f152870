//! Latencies into HDR histograms, and the percentiles that come out.
//!
//! Used by the event loop that measures. Equal values that follow one another (answers that came with one
//! read to submits that went with one write) are recorded together, which changes no count and no percentile.
//! Three significant digits from 64 ns up; what is above an hour counts as an hour.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::clock::SECOND;

/// The percentiles of tables and JSON, with the names that they have there.
const PERCENTILES: [(f64, &str); 5] = [(50.0, "p50"), (90.0, "p90"), (99.0, "p99"), (99.9, "p99.9"), (99.99, "p99.99")];
const LOWEST: u64 = 100;
const HIGHEST: u64 = 3600 * SECOND;

/// Collects latencies in nanoseconds.
#[derive(Clone, Debug)]
pub struct Recorder {
    total: Histogram<u64>,
    interval: Histogram<u64>,
    run_value: u64,
    run_count: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder {
    /// Nothing recorded.
    pub fn new() -> Self {
        Self { total: empty(), interval: empty(), run_value: 0, run_count: 0 }
    }

    /// One latency in nanoseconds.
    #[inline]
    pub fn record(&mut self, nanoseconds: u64) {
        if nanoseconds != self.run_value {
            self.end_run();
            self.run_value = nanoseconds;
        }
        self.run_count += 1;
    }

    /// Ends an interval: its median and 99th percentile in nanoseconds, 0 where nothing was recorded.
    pub fn end_interval(&mut self) -> (u64, u64) {
        self.end_run();
        let told = (self.interval.value_at_percentile(50.0), self.interval.value_at_percentile(99.0));
        // Both have one shape, so that adding cannot fail.
        let _ = self.total.add(&self.interval);
        self.interval.reset();
        if told.0 == 0 { (0, 0) } else { told }
    }

    /// Forgets everything, as at the end of a warm-up.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// All that was recorded.
    pub fn finish(mut self) -> Latencies {
        self.end_interval();
        Latencies { histogram: self.total }
    }

    #[inline]
    fn end_run(&mut self) {
        if self.run_count > 0 {
            self.interval.saturating_record_n(self.run_value, self.run_count);
            self.run_count = 0;
        }
    }
}

/// A finished collection.
#[derive(Clone, Debug)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { histogram: empty() }
    }
}

impl Latencies {
    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The latency in nanoseconds that `percent` of all do not exceed.
    pub fn at_percentile(&self, percent: f64) -> u64 {
        self.histogram.value_at_percentile(percent)
    }

    /// The largest, nanoseconds.
    pub fn max(&self) -> u64 {
        self.histogram.max()
    }

    /// The mean, nanoseconds.
    pub fn mean(&self) -> f64 {
        self.histogram.mean()
    }

    /// Adds another collection.
    pub fn add(&mut self, other: &Latencies) {
        // Both have one shape, so that adding cannot fail.
        let _ = self.histogram.add(&other.histogram);
    }

    /// One line of a table: name, then percentiles and maximum, in milliseconds.
    pub fn row(&self, name: &str) -> Vec<String> {
        let mut row = vec![name.to_owned()];
        row.extend(PERCENTILES.iter().map(|&(percent, _)| milliseconds(self.at_percentile(percent))));
        row.push(milliseconds(self.max()));
        row
    }

    /// The head of that table.
    pub fn head() -> Vec<String> {
        let mut head = vec!["latency, ms".to_owned()];
        head.extend(PERCENTILES.iter().map(|&(_, name)| name.to_owned()));
        head.push("max".to_owned());
        head
    }

    /// Count, mean, percentiles and maximum, in microseconds.
    pub fn to_json(&self) -> Value {
        let mut out = json!({
            "count": self.count(),
            "mean_us": round(self.mean() / 1000.0),
            "min_us": micro(if self.count() == 0 { 0 } else { self.histogram.min() }),
            "max_us": micro(self.max()),
        });
        for (percent, name) in PERCENTILES {
            out[format!("{}_us", name.replace('.', "_"))] = json!(micro(self.at_percentile(percent)));
        }
        out
    }

    /// Points (percentile below 100, nanoseconds) for a picture, ever denser towards 100, down to the last
    /// recorded value.
    pub fn curve(&self) -> Vec<(f64, u64)> {
        self.histogram
            .iter_quantiles(10)
            .map(|step| (step.percentile(), step.value_iterated_to()))
            .filter(|&(percent, _)| percent < 100.0)
            .collect()
    }
}

/// Nanoseconds as milliseconds with three digits behind the point.
pub fn milliseconds(nanoseconds: u64) -> String {
    format!("{:.3}", nanoseconds as f64 / 1e6)
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(LOWEST, HIGHEST, 3).unwrap_or_else(|_| unreachable!("the bounds are constants"))
}

fn micro(nanoseconds: u64) -> f64 {
    round(nanoseconds as f64 / 1000.0)
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_equal_values_count_one_by_one() {
        let mut recorder = Recorder::new();
        for _ in 0..99 {
            recorder.record(10_000);
        }
        recorder.record(5_000_000);
        let latencies = recorder.finish();
        assert_eq!(latencies.count(), 100);
        assert!(latencies.at_percentile(99.0) < 10_100);
        assert!(latencies.max() >= 5_000_000);
    }

    #[test]
    fn an_interval_ends_without_losing_the_total() {
        let mut recorder = Recorder::new();
        recorder.record(1_000_000);
        assert!(recorder.end_interval().0.abs_diff(1_000_000) < 2_000);
        assert_eq!(recorder.end_interval(), (0, 0));
        recorder.record(2_000_000);
        assert_eq!(recorder.finish().count(), 2);
    }

    #[test]
    fn a_latency_above_an_hour_counts_as_an_hour() {
        let mut recorder = Recorder::new();
        recorder.record(u64::MAX / 2);
        assert!(recorder.finish().max() >= HIGHEST);
    }
}
