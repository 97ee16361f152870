//! What is still to be written: the notes of a while, one entry for each message, so that a message that was accepted,
//! sent and delivered within it is written once. Bounded in messages by its user.
//!
//! Lives on the thread of the store. Notes stay as they came, in one stretch of memory; nothing is made of them before
//! they are written.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use smpp_pdu::receipt::MessageState;
use smpp_shards::feed::{FeedRecord, Happening, Note};
use smpp_shards::message_id::MessageId;

use super::message::Known;

/// Where no note is.
const NONE: u32 = u32::MAX;

/// The notes of a while.
#[derive(Debug, Default)]
pub(super) struct Pending {
    notes: Vec<u8>,
    places: HashMap<u128, Places, BuildHasherDefault<IdHasher>>,
    /// Notes that were added.
    records: u64,
    /// When the first of them was made, Unix milliseconds; 0 without any.
    oldest_unix_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Places {
    latest: u32,
    sent: u32,
}

impl Pending {
    /// Adds a note. One that tells less than what is known of its message already changes nothing.
    pub(super) fn add(&mut self, note: &Note<'_>) {
        if self.records == 0 {
            self.oldest_unix_ms = note.at_unix_ms;
        }
        self.records += 1;
        let place = self.notes.len() as u32;
        let places = self.places.entry(note.id.0).or_insert(Places { latest: NONE, sent: NONE });
        let is_sent = note.happening == Happening::Sent;
        let is_news =
            places.latest == NONE || rank(note.happening) >= rank(note_at(&self.notes, places.latest).happening);
        if is_news {
            places.latest = place;
        }
        if is_sent {
            places.sent = place;
        }
        if is_news || is_sent {
            FeedRecord::Note(*note).write(&mut self.notes);
        }
    }

    /// How many messages there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Notes that were added.
    pub(super) const fn records(&self) -> u64 {
        self.records
    }

    /// When the first note was made, Unix milliseconds; 0 without any.
    pub(super) const fn oldest_unix_ms(&self) -> u64 {
        self.oldest_unix_ms
    }

    /// What is known of that message.
    pub(super) fn get(&self, id: MessageId) -> Option<Known<'_>> {
        let number = id.0;
        self.places.get(&number).map(|places| self.known(places))
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Known<'_>> {
        self.places.values().map(|places| self.known(places))
    }

    /// Forgets all of it and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.notes.clear();
        self.places.clear();
        self.records = 0;
        self.oldest_unix_ms = 0;
    }

    fn known(&self, places: &Places) -> Known<'_> {
        Known {
            latest: note_at(&self.notes, places.latest),
            sent: (places.sent != NONE).then(|| note_at(&self.notes, places.sent)),
        }
    }
}

fn note_at(notes: &[u8], place: u32) -> Note<'_> {
    match FeedRecord::read_first(&notes[place as usize..]) {
        FeedRecord::Note(note) => note,
        FeedRecord::Question(_) => unreachable!("only notes are kept"),
    }
}

/// Of two notes the one with the higher rank tells more; shards' rings have no order among each other.
fn rank(happening: Happening) -> u8 {
    match happening {
        Happening::Accepted => 0,
        Happening::Sent => 1,
        Happening::Receipt(state) => match MessageState::from_wire(state) {
            Some(state) if state.is_final() => 3,
            _ => 2,
        },
        Happening::Failed { .. } => 3,
    }
}

/// Ids are made by the gateway, from a counter and the time: folding them is hash enough.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        octets.iter().for_each(|octet| self.0 = (self.0 ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3));
    }

    fn write_u128(&mut self, id: u128) {
        let product = u128::from(id as u64 ^ 0x9E37_79B9_7F4A_7C15) * u128::from((id >> 64) as u64 | 1);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::MessageStatus;
    use super::super::message::tests::note;
    use super::*;

    fn one(happenings: &[Happening]) -> Pending {
        let mut pending = Pending::default();
        happenings.iter().for_each(|happening| pending.add(&note(1, *happening)));
        pending
    }

    #[test]
    fn all_that_happened_to_a_message_is_one_entry() {
        let mut pending = one(&[Happening::Accepted, Happening::Sent, Happening::Receipt(2)]);
        pending.add(&note(2, Happening::Sent));
        assert_eq!((pending.len(), pending.records()), (2, 4));
        let known = pending.get(note(1, Happening::Sent).id).unwrap();
        assert_eq!(known.message().status, MessageStatus::Delivered);
        assert_eq!(known.sent.map(|sent| sent.vendor_message_id), Some(&b"00FF"[..]));
        assert_eq!(pending.oldest_unix_ms(), note(1, Happening::Sent).at_unix_ms);
        pending.clear();
        assert!(pending.is_empty() && pending.records() == 0 && pending.oldest_unix_ms() == 0);
    }

    #[test]
    fn the_order_in_which_rings_are_read_does_not_count() {
        let status = |happenings: &[Happening]| one(happenings).iter().next().unwrap().message().status;
        assert_eq!(status(&[Happening::Sent, Happening::Accepted]), MessageStatus::Sent);
        assert_eq!(status(&[Happening::Receipt(2), Happening::Sent, Happening::Accepted]), MessageStatus::Delivered);
        assert_eq!(status(&[Happening::Receipt(2), Happening::Receipt(1)]), MessageStatus::Delivered);
        assert_eq!(status(&[Happening::Receipt(1), Happening::Receipt(5)]), MessageStatus::Failed);
    }

    #[test]
    fn a_vendors_note_that_comes_late_still_gives_its_id_and_time() {
        let pending = one(&[Happening::Receipt(2), Happening::Sent]);
        let known = pending.iter().next().unwrap();
        assert!(known.sent.is_some());
        assert_eq!(known.message().status, MessageStatus::Delivered);
    }
}
