//! What is wrong with a configuration, as values that print as sentences.
//!
//! Must never carry a password or token: what goes into a reason is chosen by the caller with that in mind.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a fault was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File {
        /// As given to [`crate::load`].
        path: PathBuf,
        /// Counted from 1; `None` when it is the file as a whole, or something that is not there.
        line: Option<usize>,
    },
    /// In the environment variable that the key names.
    Environment,
}

/// One thing that is wrong. Its `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// The key with its table, such as `[[vendors]] port`, or the variable's name; may be empty.
    pub key: String,
    /// What is wrong, such as `is 0`.
    pub reason: String,
    /// What to do about it.
    pub cure: String,
    /// In which row of which table, and under which key, where it stands in one.
    pub(super) row: Option<Box<FaultyRow>>,
}

/// Where in a table a fault stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FaultyRow {
    pub(super) table: &'static str,
    /// From 0.
    pub(super) index: usize,
    pub(super) key: String,
}

impl Fault {
    /// One that was found in a file.
    pub(super) fn in_file(
        path: &Path,
        line: Option<usize>,
        key: impl Into<String>,
        reason: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        let place = Place::File { path: path.to_owned(), line };
        Self { place, key: key.into(), reason: reason.into(), cure: cure.into(), row: None }
    }

    /// The same, as one of a row of a table.
    pub(super) fn of_row(self, table: &'static str, index: usize, key: &str) -> Self {
        Self { row: Some(Box::new(FaultyRow { table, index, key: key.to_owned() })), ..self }
    }

    /// One that was found in an environment variable.
    pub(super) fn in_environment(name: &str, reason: impl Into<String>, cure: impl Into<String>) -> Self {
        let place = Place::Environment;
        Self { place, key: name.into(), reason: reason.into(), cure: cure.into(), row: None }
    }

    /// The line, where there is one.
    pub fn line(&self) -> Option<usize> {
        match self.place {
            Place::File { line, .. } => line,
            Place::Environment => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File { path, line: Some(line) } => write!(f, "{}:{line}: ", path.display())?,
            Place::File { path, line: None } => write!(f, "{}: ", path.display())?,
            Place::Environment => f.write_str("environment: ")?,
        }
        if !self.key.is_empty() {
            write!(f, "{} ", self.key)?;
        }
        write!(f, "{}; {}", self.reason, self.cure)
    }
}

/// Everything that is wrong with a configuration. Its `Display` is one line for each fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    faults: Vec<Fault>,
}

impl ConfigError {
    /// In the order of their lines; what stands in no line goes last.
    pub(super) fn new(mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| fault.line().unwrap_or(usize::MAX));
        Self { faults }
    }

    /// Never empty.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
