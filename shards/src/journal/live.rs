//! What is still live in a journal: the messages and receipts that a start takes over.
//!
//! Filled by a replay on the starting thread, then handed to whoever shares it out among the shards. Names are kept
//! once each; an entry is a few dozen octets besides its PDU.

use hashbrown::HashMap;

use super::summary::{LogSummary, Problem};
use crate::message_id::{IdStyle, MessageId};

/// A customer's or vendor's name, as [`Live::name`] tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameId(u32);

impl NameId {
    /// Its place among [`Live::names`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A message that was accepted and is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveMessage {
    /// Its number in the log that it was found in.
    pub number: u64,
    /// Our id for it.
    pub id: MessageId,
    /// How its customer sees the id.
    pub style: IdStyle,
    /// When it was accepted.
    pub accepted_unix_ms: u64,
    /// When its validity ends; [`super::NEVER_UNIX_MS`] for never.
    pub expires_unix_ms: u64,
    /// Whose it is.
    pub customer: NameId,
    /// The whole submit_sm as the customer sent it.
    pub pdu: Box<[u8]>,
    /// Which vendor has it, if one answered.
    pub sent: Option<Box<LiveSent>>,
}

/// The vendor that has a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSent {
    /// Which vendor.
    pub vendor: NameId,
    /// The id that it gave the message, as it wrote it.
    pub vendor_message_id: Box<[u8]>,
    /// When its answer came.
    pub sent_unix_ms: u64,
}

/// A receipt or MO that its customer has not got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveReceipt {
    /// Its number in the log that it was found in.
    pub number: u64,
    /// The message that it is for, as an index into [`Live::messages`]; `None` for MO, and when that one is not live.
    pub message: Option<u32>,
    /// It says the message's final state.
    pub is_final: bool,
    /// When it was taken.
    pub taken_unix_ms: u64,
    /// Until when it is kept; [`super::NEVER_UNIX_MS`] for ever.
    pub expires_unix_ms: u64,
    /// Whose it is.
    pub customer: NameId,
    /// Who sent it.
    pub vendor: NameId,
    /// The whole deliver_sm as the customer shall get it.
    pub pdu: Box<[u8]>,
}

/// What a replay found.
#[derive(Debug, Default)]
pub struct Live {
    /// Log by log in the order in which they were added, and by number in each.
    pub messages: Vec<LiveMessage>,
    /// In the same order.
    pub receipts: Vec<LiveReceipt>,
    /// What each log held.
    pub logs: Vec<LogSummary>,
    /// What was damaged: the first [`crate::bounds::PROBLEMS_KEPT_MAX`] of all.
    pub problems: Vec<Problem>,
    /// How much was damaged.
    pub problem_count: u64,
    pub(super) names: Names,
}

impl Live {
    /// The octets of a name.
    ///
    /// # Panics
    /// When the name is another one's.
    pub fn name(&self, name: NameId) -> &[u8] {
        &self.names.list[name.0 as usize]
    }

    /// Every customer's and vendor's name, in the order of their ids.
    pub fn names(&self) -> impl ExactSizeIterator<Item = (NameId, &[u8])> {
        self.names.list.iter().enumerate().map(|(index, name)| (NameId(index as u32), &**name))
    }
}

/// Names, each kept once.
#[derive(Debug, Default)]
pub(super) struct Names {
    list: Vec<Box<[u8]>>,
    ids: HashMap<Box<[u8]>, NameId>,
}

impl Names {
    pub(super) fn id(&mut self, name: &[u8]) -> NameId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = NameId(self.list.len() as u32);
        self.list.push(name.into());
        self.ids.insert(name.into(), id);
        id
    }
}

/// What has a number in a log.
pub(super) trait Numbered {
    fn number(&self) -> u64;
}

impl Numbered for LiveMessage {
    fn number(&self) -> u64 {
        self.number
    }
}

impl Numbered for LiveReceipt {
    fn number(&self) -> u64 {
        self.number
    }
}

/// Numbers of one chunk.
const CHUNK: usize = 256;

/// No place in a table: an entry and its octets are so large that there can never be so many.
const NOWHERE: u32 = u32::MAX;

/// The live entries of one log, found by their numbers, which are dense and come about in order. Those that went leave
/// no hole, and of each no more than a bit.
#[derive(Debug)]
pub(super) struct Table<T> {
    entries: Vec<T>,
    chunks: HashMap<u64, Chunk>,
}

/// What is known of [`CHUNK`] numbers.
#[derive(Debug, Default)]
struct Chunk {
    /// Where their entries are; `None` when none is live.
    places: Option<Box<[u32; CHUNK]>>,
    /// How many are live.
    live: u32,
    /// A bit for each that has ended.
    ended: [u64; CHUNK / 64],
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), chunks: HashMap::new() }
    }
}

impl<T: Numbered> Table<T> {
    /// Adds an entry, unless it is there already or has ended.
    pub(super) fn insert_with(&mut self, number: u64, make: impl FnOnce() -> T) {
        let chunk = self.chunks.entry(number / CHUNK as u64).or_default();
        let Ok(place) = u32::try_from(self.entries.len()) else { return };
        if place != NOWHERE && !chunk.has_ended(number) && chunk.place(number).is_none() {
            chunk.set_place(number, place);
            chunk.live += 1;
            self.entries.push(make());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether that number has ended.
    pub(super) fn has_ended(&self, number: u64) -> bool {
        self.chunks.get(&(number / CHUNK as u64)).is_some_and(|chunk| chunk.has_ended(number))
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let place = self.chunks.get(&(number / CHUNK as u64))?.place(number)?;
        self.entries.get_mut(place)
    }

    /// Takes an entry out for good: whatever comes of that number is ignored from now on.
    pub(super) fn end(&mut self, number: u64) -> Option<T> {
        let place = self.chunks.entry(number / CHUNK as u64).or_default().end(number)?;
        let ended = self.entries.swap_remove(place);
        if let Some(moved) = self.entries.get(place) {
            let number = moved.number();
            let chunk = self.chunks.get_mut(&(number / CHUNK as u64)).expect("every entry has its place");
            chunk.set_place(number, place as u32);
        }
        Some(ended)
    }

    /// The entries by number.
    pub(super) fn into_sorted(self) -> Vec<T> {
        let mut entries = self.entries;
        entries.sort_unstable_by_key(T::number);
        entries
    }
}

impl Chunk {
    fn has_ended(&self, number: u64) -> bool {
        let at = number as usize % CHUNK;
        self.ended[at / 64] & 1 << (at % 64) != 0
    }

    fn place(&self, number: u64) -> Option<usize> {
        let place = self.places.as_ref()?[number as usize % CHUNK];
        (place != NOWHERE).then_some(place as usize)
    }

    fn set_place(&mut self, number: u64, place: u32) {
        let places = self.places.get_or_insert_with(|| Box::new([NOWHERE; CHUNK]));
        places[number as usize % CHUNK] = place;
    }

    /// Where the entry was, if it was live.
    fn end(&mut self, number: u64) -> Option<usize> {
        let at = number as usize % CHUNK;
        self.ended[at / 64] |= 1 << (at % 64);
        let place = self.place(number)?;
        self.set_place(number, NOWHERE);
        self.live -= 1;
        if self.live == 0 {
            self.places = None;
        }
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Numbered for u64 {
        fn number(&self) -> u64 {
            *self
        }
    }

    #[test]
    fn entries_are_found_until_they_end_and_never_come_back() {
        let mut table: Table<u64> = Table::default();
        for number in 1..=10_000 {
            table.insert_with(number, || number);
        }
        for number in (1..=10_000).filter(|number| number % 3 != 0) {
            assert_eq!(table.end(number), Some(number));
            assert_eq!(table.end(number), None);
            table.insert_with(number, || number);
            assert_eq!(table.get_mut(number), None);
        }
        assert_eq!(table.get_mut(9), Some(&mut 9));
        assert_eq!(table.chunks.values().map(|chunk| chunk.live as usize).sum::<usize>(), table.len());
        assert_eq!(table.into_sorted(), (1..=10_000).filter(|number| number % 3 == 0).collect::<Vec<_>>());
    }

    #[test]
    fn what_has_ended_takes_next_to_no_memory() {
        let mut table: Table<u64> = Table::default();
        for number in 1..=100_000 {
            table.insert_with(number, || number);
            number.checked_sub(300).and_then(|before| table.end(before));
        }
        assert!(table.chunks.values().filter(|chunk| chunk.places.is_some()).count() <= 3);
        assert!(size_of::<Chunk>() <= 48, "{} octets a chunk", size_of::<Chunk>());
    }

    #[test]
    fn a_name_is_kept_once() {
        let mut names = Names::default();
        let first = names.id(b"acme");
        assert_ne!(names.id(b"north"), first);
        assert_eq!(names.id(b"acme"), first);
        assert_eq!(names.list.len(), 2);
    }

    #[test]
    fn an_entry_is_small_besides_its_pdu() {
        assert!(size_of::<LiveMessage>() <= 80, "{} octets a message", size_of::<LiveMessage>());
        assert!(size_of::<LiveReceipt>() <= 64, "{} octets a receipt", size_of::<LiveReceipt>());
    }
}
