//! `smpp-gateway journal inspect`: what a journal's folder holds, for an operator.
//!
//! Runs on the main thread of a command of its own, beside a gateway that runs or after one that crashed. It only
//! reads: it takes no lock, which could keep a gateway from starting, and it must never change anything.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use smpp_shards::journal::{Inspection, Inspector, LogName};

use crate::journal::{LogFiles, SegmentFile, Survey, survey};

/// How often a folder is looked through that changes meanwhile: a start may be finishing there.
const SURVEYS_MAX: usize = 5;

/// How often a log is read in which something seems to be damaged: a gateway that runs may have been writing there.
const READINGS_MAX: usize = 5;

/// What was found in a journal's folder. Its `Display` is what the operator reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    journal: PathBuf,
    survey: Survey,
    inspection: Inspection,
}

/// Why a journal cannot be inspected.
#[derive(Debug)]
pub enum InspectError {
    /// There is no such folder.
    Missing(PathBuf),
    /// A file or folder cannot be read.
    Read(PathBuf, io::Error),
}

impl fmt::Display for InspectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => write!(
                f,
                "there is no journal in {}: name the gateway's data_dir with --data-dir, or its configuration with --config",
                path.display()
            ),
            Self::Read(path, error) => write!(f, "the journal's {} cannot be read: {error}", path.display()),
        }
    }
}

impl std::error::Error for InspectError {}

/// Looks through the journal in that data_dir.
///
/// # Errors
/// When there is none, or something of it cannot be read.
pub fn inspect(data_dir: &Path) -> Result<Report, InspectError> {
    let journal = data_dir.join("journal");
    if !journal.try_exists().map_err(|error| InspectError::Read(journal.clone(), error))? {
        return Err(InspectError::Missing(journal));
    }
    let survey = survey_at_rest(&journal).map_err(|error| InspectError::Read(journal.clone(), error))?;
    let mut inspection = Inspection { logs: Vec::new(), problems: Vec::new(), problem_count: 0 };
    for start in &survey.starts {
        for files in &start.logs {
            let log = read_at_rest(LogName { start: start.start, shard: files.shard }, files)?;
            inspection.logs.extend(log.logs);
            inspection.problems.extend(log.problems);
            inspection.problem_count += log.problem_count;
        }
    }
    Ok(Report { journal, survey, inspection })
}

impl Report {
    /// Whether anything is damaged. A torn tail is not: that is what a crash leaves.
    pub const fn is_damaged(&self) -> bool {
        self.inspection.problem_count > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.journal.display())?;
        for path in &self.survey.unfinished {
            writeln!(f, "unfinished: {}: a start that has not taken everything over", path.display())?;
        }
        for older in self.survey.starts.iter().rev().skip(1).rev() {
            writeln!(f, "outdated: {}: what lives there stands in a later start's folder", older.path.display())?;
        }
        self.inspection.fmt(f)
    }
}

/// A start that finishes meanwhile renames its folder and removes older ones: then the look begins anew.
fn survey_at_rest(journal: &Path) -> io::Result<Survey> {
    for _ in 1..SURVEYS_MAX {
        match survey(journal) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
    }
    survey(journal)
}

/// Reads a log until what seems damaged does so twice: octets that a running gateway was just writing look damaged once.
fn read_at_rest(log: LogName, files: &LogFiles) -> Result<Inspection, InspectError> {
    let mut inspection = read_log(log, &files.segments)?;
    for _ in 1..READINGS_MAX {
        if inspection.problem_count == 0 {
            break;
        }
        let again = read_log(log, &files.segments)?;
        let is_damage = (again.problem_count, &again.problems) == (inspection.problem_count, &inspection.problems);
        inspection = again;
        if is_damage {
            break;
        }
    }
    Ok(inspection)
}

/// Reads a log from its front. Segments are freed in their order: when one is gone, so is all that was read before it, and
/// the log begins behind it.
fn read_log(log: LogName, segments: &[SegmentFile]) -> Result<Inspection, InspectError> {
    let mut inspector = Inspector::new();
    for file in segments {
        match read_segment(&file.path).map_err(|error| InspectError::Read(file.path.clone(), error))? {
            Some(octets) => inspector.add(log, file.segment, &file.path.display().to_string(), &octets),
            None => inspector = Inspector::new(),
        }
    }
    Ok(inspector.finish())
}

/// A whole segment; `None` when it was freed before it had been read, and its file may be another segment's by now.
fn read_segment(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let opened = file.metadata()?;
    let mut octets = Vec::with_capacity(opened.len() as usize);
    file.read_to_end(&mut octets)?;
    // Only advice: the page cache need not keep what nobody will ask for again.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    match fs::metadata(path) {
        Ok(named) => Ok((named.ino() == opened.ino()).then_some(octets)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use smpp_shards::journal::{BatchWriter, Done, Entry, segment_file, segment_header};

    use super::*;

    const LOG: LogName = LogName { start: 1_763_000_000_000, shard: 0 };

    /// A segment with so many batches, the first of them of that number.
    fn segment(segment: u32, first_batch: u64, batches: u64) -> Vec<u8> {
        let mut octets = Vec::new();
        segment_header(LOG, segment, 1 << 20, &mut octets);
        let mut writer = BatchWriter::new(LOG);
        for batch in first_batch..first_batch + batches {
            writer.append(&Entry::Done(Done { number: batch, state: None }));
            writer.finish(segment, batch, &mut octets);
        }
        octets
    }

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("smpp-gateway-inspect-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join(format!("journal/{}", LOG.start))).unwrap();
        path
    }

    fn put(data_dir: &Path, number: u32, octets: &[u8]) -> SegmentFile {
        let path = data_dir.join(format!("journal/{}", LOG.start)).join(segment_file(0, number));
        fs::write(&path, octets).unwrap();
        SegmentFile { segment: number, path, octets: octets.len() as u64 }
    }

    #[test]
    fn a_log_begins_behind_a_segment_that_was_freed_while_it_was_read() {
        let data_dir = folder("freed");
        let segments: Vec<_> =
            (0..3).map(|number| put(&data_dir, number, &segment(number, 1 + u64::from(number), 1))).collect();
        fs::remove_file(&segments[1].path).unwrap();
        let inspection = read_log(LOG, &segments).unwrap();
        assert_eq!((inspection.logs[0].batches, inspection.problem_count), (1, 0));
        fs::remove_dir_all(data_dir).unwrap();
    }

    #[test]
    fn folders_of_older_and_unfinished_starts_are_named() {
        let data_dir = folder("older");
        put(&data_dir, 0, &segment(0, 1, 2));
        for name in ["1762000000000", "1764000000000.recovering"] {
            fs::create_dir_all(data_dir.join("journal").join(name)).unwrap();
        }
        let report = inspect(&data_dir).unwrap();
        let text = report.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("/journal"), "{text}");
        assert!(lines[1].starts_with("unfinished: ") && lines[1].contains("1764000000000.recovering"), "{text}");
        assert!(lines[2].starts_with("outdated: ") && lines[2].contains("1762000000000"), "{text}");
        assert!(lines[3].starts_with("start 1763000000000 "), "{text}");
        assert!(!report.is_damaged());
        fs::remove_dir_all(data_dir).unwrap();
    }

    #[test]
    fn a_folder_without_a_journal_is_an_error() {
        let missing = std::env::temp_dir().join("smpp-gateway-inspect-nothing");
        assert!(matches!(inspect(&missing), Err(InspectError::Missing(_))));
    }
}
