//! Prometheus' text format, version 0.0.4.

use std::fmt::Write as _;

use smpp_shards::Amount;
use smpp_shards::histogram::{BOUNDS, Histogram};

/// What sort of figure a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only ever grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often a figure lay below each of some bounds.
    Histogram,
    /// How often, and what that comes to together.
    Summary,
}

/// The text under construction. A family's samples follow its opening at once.
#[derive(Default)]
pub(super) struct Exposition {
    text: String,
    family: &'static str,
}

impl Exposition {
    /// With room for so many octets, so that a text of megabytes is not moved while it grows.
    pub(super) fn with_room(octets: usize) -> Self {
        Self { text: String::with_capacity(octets), family: "" }
    }

    /// Opens a family of metrics.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.family = name;
        // Writing into a String cannot fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// One whole figure of the open family.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        self.labelled("", labels);
        let _ = writeln!(self.text, " {value}");
    }

    /// One figure of the open family with a fraction.
    pub(super) fn sample_real(&mut self, labels: &[(&str, &str)], value: f64) {
        self.labelled("", labels);
        let _ = writeln!(self.text, " {value}");
    }

    /// One amount of money of the open family, to its last decimal.
    pub(super) fn sample_amount(&mut self, labels: &[(&str, &str)], value: Amount) {
        self.labelled("", labels);
        let _ = writeln!(self.text, " {value}");
    }

    /// One histogram of the open family: `bound` gives the upper bound of each bucket, `sum` what all times come to, both in
    /// seconds.
    pub(super) fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        histogram: &Histogram,
        bound: impl Fn(usize) -> f64,
        sum: f64,
    ) {
        let mut below = 0;
        for (bucket, count) in histogram.counts.iter().enumerate() {
            below += count;
            let bound = if bucket < BOUNDS { bound(bucket).to_string() } else { "+Inf".to_owned() };
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.labelled("_bucket", &labels);
            let _ = writeln!(self.text, " {below}");
        }
        self.labelled("_sum", labels);
        let _ = writeln!(self.text, " {sum}");
        self.labelled("_count", labels);
        let _ = writeln!(self.text, " {below}");
    }

    /// One summary of the open family, without quantiles.
    pub(super) fn summary(&mut self, labels: &[(&str, &str)], count: u64, sum: f64) {
        self.labelled("_sum", labels);
        let _ = writeln!(self.text, " {sum}");
        self.labelled("_count", labels);
        let _ = writeln!(self.text, " {count}");
    }

    /// A family with one sample and no labels.
    pub(super) fn single(&mut self, name: &'static str, kind: Kind, help: &str, value: u64) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// The whole text.
    pub(super) fn finish(self) -> String {
        self.text
    }

    fn labelled(&mut self, suffix: &str, labels: &[(&str, &str)]) {
        self.text.push_str(self.family);
        self.text.push_str(suffix);
        for (index, (name, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            self.escaped(value);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
    }

    fn escaped(&mut self, value: &str) {
        let mut rest = value;
        while let Some(place) = rest.find(['\\', '"', '\n']) {
            let (plain, behind) = rest.split_at(place);
            self.text.push_str(plain);
            self.text.push('\\');
            self.text.push(if behind.starts_with('\n') { 'n' } else { char::from(behind.as_bytes()[0]) });
            rest = &behind[1..];
        }
        self.text.push_str(rest);
    }
}
