//! What lies in a journal's folder: which starts, which logs, which segments.
//!
//! Only reads, and needs no lock: for a start that wants to replay and for an operator who wants to look. Runs on the
//! main thread.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use smpp_shards::journal::parse_segment_file;

/// All that was found, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Folders of starts that did not get as far as taking everything over.
    pub unfinished: Vec<PathBuf>,
    /// Complete folders, the oldest first: the last one holds all that is live.
    pub starts: Vec<StartFolder>,
}

/// A complete folder of one start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartFolder {
    /// When that was, unix milliseconds.
    pub start: u64,
    /// The folder.
    pub path: PathBuf,
    /// The log of each shard there was, by shard.
    pub logs: Vec<LogFiles>,
}

/// One shard's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFiles {
    /// Which shard of that start it was.
    pub shard: u16,
    /// Its segments in order; freed ones are missing, and the last may be unused.
    pub segments: Vec<SegmentFile>,
}

/// One segment's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// Its number.
    pub segment: u32,
    /// Where it is.
    pub path: PathBuf,
    /// Its size, octets.
    pub octets: u64,
}

/// Looks through `data_dir/journal`, which need not exist. What has a name of no known form is passed over.
///
/// # Errors
/// When a folder cannot be read.
pub fn survey(journal: &Path) -> io::Result<Survey> {
    let mut survey = Survey::default();
    let entries = match fs::read_dir(journal) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(survey),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if !entry.file_type()?.is_dir() {
            continue;
        }
        if let Some(start) = parse_start(name) {
            survey.starts.push(StartFolder { start, path: entry.path(), logs: logs(&entry.path())? });
        } else if name.strip_suffix(RECOVERING).and_then(parse_start).is_some() {
            survey.unfinished.push(entry.path());
        }
    }
    survey.unfinished.sort();
    survey.starts.sort_by_key(|folder| folder.start);
    Ok(survey)
}

/// What the name of an unfinished start's folder ends with.
const RECOVERING: &str = ".recovering";

/// The name of a start's folder once it is complete.
pub(super) fn start_name(start: u64) -> String {
    format!("{start:013}")
}

/// The name of a start's folder until then.
pub(super) fn recovering_name(start: u64) -> String {
    format!("{start:013}{RECOVERING}")
}

fn parse_start(name: &str) -> Option<u64> {
    let is_number = name.len() >= 13 && name.bytes().all(|octet| octet.is_ascii_digit());
    is_number.then(|| name.parse().ok()).flatten()
}

fn logs(folder: &Path) -> io::Result<Vec<LogFiles>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some((shard, segment)) = entry.file_name().to_str().and_then(parse_segment_file) else { continue };
        match entry.metadata() {
            Ok(metadata) => found.push((shard, SegmentFile { segment, path: entry.path(), octets: metadata.len() })),
            // A gateway that runs has freed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by_key(|(shard, file)| (*shard, file.segment));
    let mut logs: Vec<LogFiles> = Vec::new();
    for (shard, file) in found {
        match logs.last_mut() {
            Some(log) if log.shard == shard => log.segments.push(file),
            _ => logs.push(LogFiles { shard, segments: vec![file] }),
        }
    }
    Ok(logs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_starts_are_read_as_they_are_written_and_no_others() {
        assert_eq!(parse_start(&start_name(1_763_000_000_123)), Some(1_763_000_000_123));
        for name in ["lost+found", "2025", "1763000000123.recovering", "-763000000123", "99999999999999999999999"] {
            assert_eq!(parse_start(name), None, "{name}");
        }
    }
}
