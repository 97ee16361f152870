//! The message store in a folder of this node, without any service: an LSM tree, one part for each day.
//!
//! Lives on the thread of the store, which it may block. What has had its time goes a day at a time: removing a part costs
//! nothing for what is in it.

use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use smpp_shards::feed::Happening;
use smpp_shards::message_id::MessageId;

use super::message::{StoredMessage, normal_id};
use super::pending::Pending;
use super::{Asked, StoreError, TTL_SECONDS};

const DAY_MS: u64 = 86_400_000;

/// Days whose messages are kept: those of the time to live, and the one that has begun before them.
const DAYS: u64 = TTL_SECONDS * 1_000 / DAY_MS + 1;

/// What stands in front of a day's number in the name of its part.
const PART: &str = "day-";

/// In front of the keys of messages and of the index.
const MESSAGE: u8 = b'm';
const INDEX: u8 = b'v';

/// The folder's store.
pub(super) struct Embedded {
    folder: PathBuf,
    database: Option<Database>,
    json: Vec<u8>,
}

impl Embedded {
    /// Opened at its first use.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), database: None, json: Vec::new() }
    }

    /// Writes all of it, or as much as there was before a failure; writing it again does no harm.
    pub(super) fn write(&mut self, pending: &Pending, now_unix_ms: u64) -> Result<(), StoreError> {
        let mut json = core::mem::take(&mut self.json);
        let result = self.write_with(pending, now_unix_ms, &mut json);
        self.json = json;
        result
    }

    fn write_with(&mut self, pending: &Pending, now_unix_ms: u64, json: &mut Vec<u8>) -> Result<(), StoreError> {
        let database = self.database()?.clone();
        let mut batch = database.batch();
        let mut part: Option<(u64, Keyspace)> = None;
        for known in pending.iter() {
            let id = known.latest.id;
            let day = id.unix_ms() / DAY_MS;
            if !is_kept(id, now_unix_ms) {
                continue;
            }
            let keyspace = match &part {
                Some((of, keyspace)) if *of == day => keyspace,
                _ => &part.insert((day, open(&database, day)?)).1,
            };
            let key = message_key(id);
            if known.latest.happening == Happening::Accepted
                && keyspace.contains_key(key).map_err(|error| failed(&error))?
            {
                continue;
            }
            json.clear();
            serde_json::to_writer(&mut *json, &known.message())
                .map_err(|error| StoreError::Failed(error.to_string()))?;
            batch.insert(keyspace, key.as_slice(), json.as_slice());
            if let Some(sent) = known.sent {
                let normal = normal_id(sent.vendor_message_id, sent.vendor_id_format);
                if !normal.is_empty() {
                    batch.insert(keyspace, index_key(sent.vendor, &normal), id.0.to_be_bytes().as_slice());
                }
            }
        }
        batch.commit().map_err(|error| failed(&error))
    }

    /// The message of that id.
    pub(super) fn message(
        &mut self,
        id: MessageId,
        now_unix_ms: u64,
    ) -> Result<Option<StoredMessage<'static>>, StoreError> {
        let database = self.database()?.clone();
        if !is_kept(id, now_unix_ms) {
            return Ok(None);
        }
        read(&database, id)
    }

    /// The message that a vendor knows by that id: the newest, should the vendor have used it twice.
    pub(super) fn by_vendor_id(
        &mut self,
        asked: &Asked,
        now_unix_ms: u64,
    ) -> Result<Option<StoredMessage<'static>>, StoreError> {
        let database = self.database()?.clone();
        let key = index_key(&asked.vendor, &asked.normal_id);
        let today = now_unix_ms / DAY_MS;
        for day in (today.saturating_sub(DAYS - 1)..=today + 1).rev() {
            if !database.keyspace_exists(&name(day)) {
                continue;
            }
            let found = open(&database, day)?.get(&key).map_err(|error| failed(&error))?;
            if let Some(id) = found.and_then(|id| id.first_chunk::<16>().copied()).map(u128::from_be_bytes) {
                let id = MessageId(id);
                return if is_kept(id, now_unix_ms) { read(&database, id) } else { Ok(None) };
            }
        }
        Ok(None)
    }

    /// Removes one day that has had its time; `true` when there may be more. Call it now and then.
    pub(super) fn sweep(&mut self, now_unix_ms: u64) -> Result<bool, StoreError> {
        let database = self.database()?.clone();
        let oldest = (now_unix_ms / DAY_MS).saturating_sub(DAYS - 1);
        let is_over =
            |name: &str| name.strip_prefix(PART).and_then(|day| day.parse().ok()).is_some_and(|day: u64| day < oldest);
        let Some(over) = database.list_keyspace_names().into_iter().find(|name| is_over(name)) else {
            return Ok(false);
        };
        let keyspace = database.keyspace(&over, KeyspaceCreateOptions::default).map_err(|error| failed(&error))?;
        database.delete_keyspace(keyspace).map_err(|error| failed(&error))?;
        Ok(true)
    }

    /// Everything is to be on stable storage.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        self.database()?.persist(fjall::PersistMode::SyncData).map_err(|error| failed(&error))
    }

    /// Gives the folder up, to be opened anew: what was written stands.
    pub(super) fn close(&mut self) {
        self.database = None;
    }

    fn database(&mut self) -> Result<&Database, StoreError> {
        if self.database.is_none() {
            let opened = Database::builder(&self.folder).worker_threads(2).open().map_err(|error| failed(&error))?;
            self.database = Some(opened);
        }
        self.database.as_ref().ok_or(StoreError::Away)
    }
}

fn is_kept(id: MessageId, now_unix_ms: u64) -> bool {
    id.unix_ms() + TTL_SECONDS * 1_000 > now_unix_ms
}

fn read(database: &Database, id: MessageId) -> Result<Option<StoredMessage<'static>>, StoreError> {
    let day = id.unix_ms() / DAY_MS;
    if !database.keyspace_exists(&name(day)) {
        return Ok(None);
    }
    let Some(json) = open(database, day)?.get(message_key(id)).map_err(|error| failed(&error))? else {
        return Ok(None);
    };
    serde_json::from_slice(&json).map(Some).map_err(|error| StoreError::Failed(error.to_string()))
}

fn open(database: &Database, day: u64) -> Result<Keyspace, StoreError> {
    database.keyspace(&name(day), KeyspaceCreateOptions::default).map_err(|error| failed(&error))
}

fn name(day: u64) -> String {
    format!("{PART}{day}")
}

fn message_key(id: MessageId) -> [u8; 17] {
    let mut key = [MESSAGE; 17];
    key[1..].copy_from_slice(&id.0.to_be_bytes());
    key
}

fn index_key(vendor: &[u8], normal_id: &[u8]) -> Vec<u8> {
    [&[INDEX][..], vendor, &[0], normal_id].concat()
}

fn failed(error: &fjall::Error) -> StoreError {
    StoreError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::message::MessageStatus;
    use super::super::message::tests::note;
    use super::*;
    use smpp_shards::settings::VendorIdFormat;

    const NOW: u64 = 1_700_000_100_000;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("smpp-store-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn pending(happenings: &[Happening]) -> Pending {
        let mut pending = Pending::default();
        happenings.iter().for_each(|happening| pending.add(&note(1, *happening)));
        pending
    }

    fn asked(id: &str, format: VendorIdFormat) -> Asked {
        Asked { vendor: b"north".to_vec(), normal_id: normal_id(id.as_bytes(), format) }
    }

    #[test]
    fn a_message_is_found_by_its_id_and_by_its_vendors_also_after_a_restart() {
        let folder = Folder::new("found");
        let id = note(1, Happening::Sent).id;
        let mut store = Embedded::new(&folder.0);
        store.write(&pending(&[Happening::Sent]), NOW).unwrap();
        drop(store);
        let mut store = Embedded::new(&folder.0);
        let by_id = store.message(id, NOW).unwrap().unwrap();
        assert_eq!(by_id.status, MessageStatus::Sent);
        let by_vendor = store.by_vendor_id(&asked("255", VendorIdFormat::Decimal), NOW).unwrap().unwrap();
        assert_eq!(by_vendor, by_id);
        assert_eq!(store.by_vendor_id(&asked("256", VendorIdFormat::Decimal), NOW), Ok(None));
        let other = Asked { vendor: b"south".to_vec(), ..asked("255", VendorIdFormat::Decimal) };
        assert_eq!(store.by_vendor_id(&other, NOW), Ok(None));
    }

    #[test]
    fn what_is_known_of_a_message_grows_and_never_shrinks() {
        let folder = Folder::new("grows");
        let id = note(1, Happening::Sent).id;
        let mut store = Embedded::new(&folder.0);
        let mut status = |happenings: &[Happening]| {
            store.write(&pending(happenings), NOW).unwrap();
            store.message(id, NOW).unwrap().unwrap().status
        };
        assert_eq!(status(&[Happening::Accepted]), MessageStatus::Pending);
        assert_eq!(status(&[Happening::Sent]), MessageStatus::Sent);
        assert_eq!(status(&[Happening::Accepted]), MessageStatus::Sent, "another shard's ring was read later");
        assert_eq!(status(&[Happening::Receipt(2)]), MessageStatus::Delivered);
        assert!(store.by_vendor_id(&asked("ff", VendorIdFormat::Hex), NOW).unwrap().is_some());
    }

    #[test]
    fn after_seven_days_a_message_is_gone_and_its_day_is_removed_soon_after() {
        let folder = Folder::new("gone");
        let id = note(1, Happening::Sent).id;
        let mut store = Embedded::new(&folder.0);
        store.write(&pending(&[Happening::Sent]), NOW).unwrap();
        let days = |store: &Embedded| store.database.as_ref().map_or(0, |database| database.keyspace_count());
        let last = id.unix_ms() + TTL_SECONDS * 1_000;
        assert!(store.message(id, last - 1).unwrap().is_some());
        assert_eq!(store.message(id, last), Ok(None));
        assert_eq!(store.by_vendor_id(&asked("ff", VendorIdFormat::Hex), last), Ok(None));
        assert_eq!((store.sweep(last), days(&store)), (Ok(false), 1));
        assert_eq!((store.sweep(last + DAY_MS), days(&store)), (Ok(true), 0));
        assert_eq!(store.sweep(last + DAY_MS), Ok(false));
        store.write(&pending(&[Happening::Receipt(2)]), last + DAY_MS).unwrap();
        assert_eq!(days(&store), 0, "what has had its time is not written again");
    }

    #[test]
    fn a_folder_that_cannot_be_opened_is_an_error_and_works_once_it_can() {
        let folder = Folder::new("closed");
        std::fs::write(&folder.0, "in the way").unwrap();
        let mut store = Embedded::new(&folder.0);
        assert!(matches!(store.write(&pending(&[Happening::Sent]), NOW), Err(StoreError::Failed(_))));
        std::fs::remove_file(&folder.0).unwrap();
        assert_eq!(store.write(&pending(&[Happening::Sent]), NOW), Ok(()));
        let _ = std::fs::create_dir_all(&folder.0);
    }
}
