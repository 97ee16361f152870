//! The last good configuration from PostgreSQL, kept in a file for a start without it.
//!
//! Rows are kept as they were read, so that a password that was encrypted stays so. Written on a thread of the runtime's
//! that may block, read at start. A file that was torn or changed is not used.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ring::digest::{SHA256, digest};
use rustix::fs::{Mode, OFlags};
use serde_json::{Value, json};

use super::rows::key_of;
use super::tables::{Row, TABLES, Tables};
use crate::live::RowFault;
use crate::log::rfc3339;

/// In `data_dir`.
pub(super) const FILE: &str = "postgresql.kept";

/// What the first line says.
const FORMAT: &str = "smpp-gateway configuration 1";

/// Octets of the file at the most: what so many rows may take with room to spare.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Tables that were in force at some time.
#[derive(Clone)]
pub(super) struct Kept {
    /// The rows.
    pub(super) tables: Tables,
    /// When they were read, as RFC 3339 has it.
    pub(super) read_at: String,
}

/// Why a kept file cannot be used.
#[derive(Debug)]
pub(super) enum KeptError {
    /// There is none.
    Missing,
    /// It cannot be read.
    Io(io::Error),
    /// It is not what was written.
    Damaged(&'static str),
}

impl fmt::Display for KeptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no configuration is kept"),
            Self::Io(error) => write!(f, "the kept configuration cannot be read: {error}"),
            Self::Damaged(what) => write!(f, "the kept configuration is damaged: {what}"),
        }
    }
}

impl Kept {
    /// What is to be kept when these rows are in force but for those that are faulty, whose last good version is.
    pub(super) fn merged(tables: &Tables, faults: &[RowFault], before: Option<&Kept>) -> Self {
        let faulty: HashSet<(&str, &str)> = faults.iter().map(|fault| (fault.table, fault.key.as_str())).collect();
        let mut merged = Tables::default();
        for (at, table) in TABLES.iter().enumerate() {
            let is_faulty = |row: &&Row| faulty.contains(&(table, key_of(table, row).as_str()));
            let sound = tables.rows[at].iter().filter(|row| !is_faulty(row));
            let last_good = before.iter().flat_map(|kept| kept.tables.rows[at].iter()).filter(is_faulty);
            merged.rows[at] = sound.chain(last_good).cloned().collect();
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { tables: merged, read_at: rfc3339(u64::try_from(now.as_millis()).unwrap_or(u64::MAX)) }
    }

    /// Reads what is kept in that folder.
    ///
    /// # Errors
    /// [`KeptError`].
    pub(super) fn read(folder: &Path) -> Result<Self, KeptError> {
        let path = folder.join(FILE);
        let length = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(KeptError::Missing),
            Err(error) => return Err(KeptError::Io(error)),
        };
        if length > FILE_BYTES_MAX {
            return Err(KeptError::Damaged("it is too long"));
        }
        Self::parse(&fs::read_to_string(&path).map_err(KeptError::Io)?)
    }

    /// Writes it into that folder: beside the file, to stable storage, then in its place.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let (path, beside) = (folder.join(FILE), folder.join(format!("{FILE}.new")));
        // Nobody else may read it, not even for a moment: there are hashes in it, and perhaps passwords.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut file: fs::File = rustix::fs::open(&beside, flags, mode)?.into();
        rustix::fs::fchmod(&file, mode)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        fs::File::open(folder)?.sync_all()
    }

    fn text(&self) -> String {
        let mut text = json!({"format": FORMAT, "read_at": self.read_at}).to_string();
        text.push('\n');
        for (table, rows) in TABLES.iter().zip(&self.tables.rows) {
            for row in rows {
                text.push_str(&json!({"table": table, "row": row}).to_string());
                text.push('\n');
            }
        }
        let checksum = checksum(&text);
        text + &checksum + "\n"
    }

    fn parse(text: &str) -> Result<Self, KeptError> {
        let lines = text.strip_suffix('\n').ok_or(KeptError::Damaged("its end is missing"))?;
        let (rows, last) = lines.rsplit_once('\n').ok_or(KeptError::Damaged("its end is missing"))?;
        let content = &text[..=rows.len()];
        if checksum(content) != last {
            return Err(KeptError::Damaged("its checksum is wrong"));
        }
        let mut lines = content.lines();
        let head: Value = lines.next().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        if head["format"] != FORMAT {
            return Err(KeptError::Damaged("it has another format"));
        }
        let mut tables = Tables::default();
        for line in lines {
            let mut line: Value = serde_json::from_str(line).map_err(|_| KeptError::Damaged("a row is no JSON"))?;
            let at = TABLES.iter().position(|table| line["table"] == **table);
            if let (Some(at), Value::Object(row)) = (at, line["row"].take()) {
                tables.rows[at].push(row);
            }
        }
        Ok(Self { tables, read_at: head["read_at"].as_str().unwrap_or_default().to_owned() })
    }
}

fn checksum(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    let hex: String = digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
    format!("sha256 {hex}")
}

/// Where it is kept, for people.
pub(super) fn path_in(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn row(text: &str) -> Row {
        serde_json::from_str(text).unwrap()
    }

    fn tables(vendors: &[&str]) -> Tables {
        let mut tables = Tables::default();
        tables.rows[1] = vendors.iter().map(|text| row(text)).collect();
        tables
    }

    fn fault(key: &str) -> RowFault {
        RowFault { table: "vendors", key: key.into(), column: "port".into(), reason: "is 0".into() }
    }

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("smpp-kept-{name}-{}", std::process::id()))
    }

    #[test]
    fn what_is_written_is_read_again_and_only_the_owner_may() {
        let folder = folder("again");
        assert!(matches!(Kept::read(&folder), Err(KeptError::Missing)));
        let kept = Kept::merged(&tables(&[r#"{"instance_name":"a","password":"enc:k:AAAA"}"#]), &[], None);
        kept.write(&folder).unwrap();
        kept.write(&folder).unwrap();
        let read = Kept::read(&folder).unwrap();
        assert!(read.tables == kept.tables && read.read_at == kept.read_at);
        let mode = fs::metadata(path_in(&folder)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_was_cut_or_changed_is_not_used() {
        let text = Kept::merged(&tables(&[r#"{"instance_name":"a"}"#]), &[], None).text();
        assert!(Kept::parse(&text).is_ok());
        for end in 0..text.len() {
            assert!(Kept::parse(&text[..end]).is_err(), "cut at {end}");
        }
        let changed = text.replace("\"a\"", "\"b\"");
        assert!(matches!(Kept::parse(&changed), Err(KeptError::Damaged("its checksum is wrong"))));
    }

    #[test]
    fn the_last_good_version_of_a_faulty_row_is_kept() {
        let first =
            Kept::merged(&tables(&[r#"{"instance_name":"a","port":1}"#, r#"{"instance_name":"b"}"#]), &[], None);
        let now = tables(&[r#"{"instance_name":"a","port":0}"#, r#"{"instance_name":"c","port":0}"#]);
        let second = Kept::merged(&now, &[fault("a"), fault("c")], Some(&first));
        assert_eq!(second.tables.rows[1], [row(r#"{"instance_name":"a","port":1}"#)], "b is gone, c never was good");
    }
}
