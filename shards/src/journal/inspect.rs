//! What an operator is told of a journal: `smpp-gateway journal inspect`.
//!
//! Runs in a command of its own, over the files of a gateway that may be running or not. It reads what it is given and
//! changes nothing.

use core::fmt;

use smpp_pdu::time::DateTime;

use super::replay::Replay;
use super::summary::{LogSummary, Problem};
use super::{LogName, NEVER_UNIX_MS};

/// Looks through logs. Used as [`Replay`] is; it keeps no PDUs.
#[derive(Debug)]
pub struct Inspector(Replay);

/// What was found. Its `Display` is what the operator reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Log by log, in the order in which they were added.
    pub logs: Vec<LogSummary>,
    /// What is damaged: the first [`crate::bounds::PROBLEMS_KEPT_MAX`] of all.
    pub problems: Vec<Problem>,
    /// How much is damaged.
    pub problem_count: u64,
}

impl Default for Inspector {
    fn default() -> Self {
        Self::new()
    }
}

impl Inspector {
    /// Of nothing so far.
    pub fn new() -> Self {
        Self(Replay::without_pdus())
    }

    /// As [`Replay::add`].
    pub fn add(&mut self, log: LogName, segment: u32, file: &str, octets: &[u8]) {
        self.0.add(log, segment, file, octets);
    }

    /// What was found in all of it.
    pub fn finish(self) -> Inspection {
        let live = self.0.finish();
        Inspection { logs: live.logs, problems: live.problems, problem_count: live.problem_count }
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.logs.is_empty() {
            writeln!(f, "no segments")?;
        }
        for summary in &self.logs {
            write_log(f, summary)?;
            let of_log = |problem: &&Problem| problem.log == summary.log;
            for problem in self.problems.iter().filter(of_log) {
                writeln!(f, "  damage: {problem}")?;
            }
        }
        match self.problem_count - self.problems.len() as u64 {
            0 => Ok(()),
            more => writeln!(f, "and {more} more places that are damaged"),
        }
    }
}

fn write_log(f: &mut fmt::Formatter<'_>, summary: &LogSummary) -> fmt::Result {
    let LogSummary { log, records, .. } = summary;
    writeln!(f, "start {} ({}), shard {}", log.start, Moment(log.start), log.shard)?;
    writeln!(
        f,
        "  segments: {} in use, {} made ahead; {} octets written of {}, {} batches",
        summary.segments, summary.unused_segments, summary.octets, summary.file_octets, summary.batches
    )?;
    writeln!(
        f,
        "  records: {} accepted, {} sent, {} done, {} receipt, {} delivered",
        records.accepted, records.sent, records.done, records.receipts, records.delivered
    )?;
    writeln!(
        f,
        "  live: {} messages ({} waiting, {} sent), {} receipts",
        summary.waiting + summary.sent,
        summary.waiting,
        summary.sent,
        summary.receipts
    )?;
    if let Some(oldest) = summary.oldest_unix_ms {
        writeln!(f, "  oldest live: {}", Moment(oldest))?;
    }
    if summary.torn_octets > 0 {
        writeln!(f, "  torn tail: {} octets that were never acknowledged", summary.torn_octets)?;
    }
    Ok(())
}

/// A time in UTC.
struct Moment(u64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The octets of a start come from a folder's name, which anybody may have made.
        if self.0 >= 1 << 48 {
            return f.write_str(if self.0 == NEVER_UNIX_MS { "never" } else { "no time" });
        }
        let at = DateTime::from_unix_millis(self.0);
        let millis = self.0 % 1000;
        write!(f, "{:04}-{:02}-{:02} ", at.year, at.month, at.day)?;
        write!(f, "{:02}:{:02}:{:02}.{millis:03} UTC", at.hour, at.minute, at.second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::record::tests::one_of_each;
    use crate::journal::{BLOCK, BatchWriter, Entry, segment_header};

    const LOG: LogName = LogName { start: 1_700_000_000_000, shard: 2 };

    fn log() -> Vec<u8> {
        let mut octets = Vec::new();
        segment_header(LOG, 0, 1 << 20, &mut octets);
        let mut writer = BatchWriter::new(LOG);
        for batch in 0..3 {
            let still_live = one_of_each();
            let still_live = still_live.iter().filter(|entry| matches!(entry, Entry::Accepted(_) | Entry::Sent(_)));
            still_live.for_each(|entry| writer.append(entry));
            writer.finish(0, batch, &mut octets);
        }
        octets
    }

    #[test]
    fn an_operator_is_told_what_lives_what_is_damaged_and_what_is_torn() {
        let mut octets = log();
        octets[2 * BLOCK + 40] ^= 1;
        octets[3 * BLOCK + 40] ^= 1;
        let mut inspector = Inspector::new();
        inspector.add(LOG, 0, "shard-2-00000000.seg", &octets);
        inspector.add(LOG, 1, "shard-2-00000001.seg", &[0; BLOCK]);
        let text = inspector.finish().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "start 1700000000000 (2023-11-14 22:13:20.000 UTC), shard 2");
        assert_eq!(lines[1], "  segments: 1 in use, 1 made ahead; 16384 octets written of 20480, 3 batches");
        assert_eq!(lines[2], "  records: 1 accepted, 2 sent, 0 done, 0 receipt, 0 delivered");
        assert_eq!(lines[3], "  live: 1 messages (0 waiting, 1 sent), 0 receipts");
        assert_eq!(lines[4], "  oldest live: 2023-11-14 22:13:20.123 UTC");
        assert!(lines[5].starts_with("  torn tail: "), "{}", lines[5]);
        assert_eq!(lines[6], "  damage: shard-2-00000000.seg at 8216, 67 octets: a record is damaged");
        assert_eq!(lines.len(), 7);
    }

    #[test]
    fn an_empty_folder_is_said_to_be_one() {
        assert_eq!(Inspector::new().finish().to_string(), "no segments\n");
    }
}
