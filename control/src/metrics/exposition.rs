//! Prometheus' text format, version 0.0.4.

use std::fmt::Write as _;

/// What sort of figure a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only ever grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// The text under construction. A family's samples follow its opening at once.
#[derive(Default)]
pub(super) struct Exposition {
    text: String,
    family: &'static str,
}

impl Exposition {
    /// Opens a family of metrics.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.family = name;
        // Writing into a String cannot fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// One whole figure of the open family.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        self.labelled(labels);
        let _ = writeln!(self.text, " {value}");
    }

    /// One figure of the open family with a fraction.
    pub(super) fn sample_real(&mut self, labels: &[(&str, &str)], value: f64) {
        self.labelled(labels);
        let _ = writeln!(self.text, " {value}");
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

    fn labelled(&mut self, labels: &[(&str, &str)]) {
        self.text.push_str(self.family);
        for (index, (name, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            for letter in value.chars() {
                match letter {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
    }
}
