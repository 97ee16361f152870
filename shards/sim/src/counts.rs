//! How often what happened: whether the seeds reach the places that they are meant for. Plain values.

use std::collections::BTreeMap;
use std::fmt;

use smpp_pdu::CommandStatus;
use smpp_shards::Report;

/// Sums over one run, or over many.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Submits by the answer they got.
    pub answers: BTreeMap<CommandStatus, u64>,
    /// Anything else by name.
    pub others: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// A submit was answered.
    pub fn answered(&mut self, status: CommandStatus) {
        *self.answers.entry(status).or_default() += 1;
    }

    /// Something happened that often.
    pub fn add(&mut self, name: &'static str, count: u64) {
        *self.others.entry(name).or_default() += count;
    }

    /// What a shard has counted itself.
    pub fn add_report(&mut self, report: &Report) {
        self.add("shard: binds refused", report.binds_refused);
        self.add("shard: late answers reconciled", report.late_answers_reconciled);
        for vendor in &report.vendors {
            self.add("vendor: connects", vendor.connects);
            self.add("vendor: disconnects", vendor.disconnects);
            self.add("vendor: throttled", vendor.throttled);
            self.add("vendor: queue full", vendor.queue_full);
            self.add("vendor: unknown outcomes", vendor.unknown_outcomes);
            self.add("vendor: stray answers", vendor.stray_answers);
            self.add("vendor: receipts matched", vendor.receipts_matched);
            self.add("vendor: receipts early", vendor.receipts_early);
            self.add("vendor: receipts unknown", vendor.receipts_unknown);
            self.add("vendor: MO", vendor.mobile_originated);
        }
        for customer in &report.customers {
            self.add("customer: beyond its rate", customer.throttled_rate);
            self.add("customer: beyond its window", customer.throttled_window);
            self.add("customer: deliveries taken", customer.delivered);
            self.add("customer: deliveries handed back", customer.undelivered);
        }
    }

    /// Adds another run's.
    pub fn merge(&mut self, other: &Counts) {
        other.answers.iter().for_each(|(status, count)| *self.answers.entry(*status).or_default() += count);
        other.others.iter().for_each(|(name, count)| self.add(name, *count));
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (status, count) in &self.answers {
            writeln!(f, "{count:>12}  submits answered {status}")?;
        }
        for (name, count) in &self.others {
            writeln!(f, "{count:>12}  {name}")?;
        }
        Ok(())
    }
}
