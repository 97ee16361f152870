//! What a shard tells the message store: one byte ring from each shard to the thread of the store, and the answers to
//! what a shard asks it.
//!
//! The shard's end lives on the shard's thread and never waits: what finds no room is left out and counted, for a
//! message's way never depends on the store. What a turn has to tell is put together in memory of its own and goes into
//! the ring as a whole, so that the other end only ever sees whole records.

use ringbuf::traits::{Observer, Producer, Split};
use ringbuf::{HeapProd, HeapRb};
use smpp_pdu::Address;

use crate::amount::Amount;
use crate::bounds::{FEED_RING_BYTES, FEED_STAGED_BYTES};
use crate::message_id::{IdStyle, MessageId};
use crate::records::{Fields, Filled, PREFIX, RecordReader, split};
use crate::settings::VendorIdFormat;

/// The shard's end.
pub struct Feed {
    producer: HeapProd<u8>,
    staged: Vec<u8>,
    records: u64,
    skipped: u64,
}

/// The store's end of one shard's ring.
pub struct FeedEnd {
    records: RecordReader,
}

/// A ring from one shard to the store.
pub fn feed() -> (Feed, FeedEnd) {
    let (producer, consumer) = HeapRb::<u8>::new(FEED_RING_BYTES).split();
    let staged = Vec::with_capacity(FEED_STAGED_BYTES);
    (Feed { producer, staged, records: 0, skipped: 0 }, FeedEnd { records: RecordReader::new(consumer) })
}

/// What has happened to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The journal keeps it; no vendor has it yet.
    Accepted,
    /// A vendor has taken it.
    Sent,
    /// A receipt told of it: message_state 1 to 8.
    Receipt(u8),
    /// No vendor has taken it, and none will: a command_status, and whether that is because its time was up.
    Failed {
        /// The last refusal.
        status: u32,
        /// Its validity had ended.
        is_expired: bool,
    },
}

/// All that is known of a message at one moment: each note can stand alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    /// What has happened.
    pub happening: Happening,
    /// When, Unix milliseconds.
    pub at_unix_ms: u64,
    /// Our id; it tells when the message was submitted.
    pub id: MessageId,
    /// How its customer sees the id.
    pub style: IdStyle,
    /// registered_delivery as the customer sent it.
    pub registered_delivery: u8,
    /// data_coding as the customer sent it.
    pub data_coding: u8,
    /// Short messages that it makes on the air; 0 where nobody knows.
    pub segments: u8,
    /// What it costs; 0 where no vendor has it.
    pub cost: Amount,
    /// When the vendor took it, Unix milliseconds; 0 where it has not.
    pub sent_unix_ms: u64,
    /// The sender as the customer gave it.
    pub source: Address<'a>,
    /// The destination as the customer gave it.
    pub dest: Address<'a>,
    /// smpp_system_id of its customer.
    pub customer: &'a [u8],
    /// account_id of its customer; empty where it has none.
    pub account: &'a [u8],
    /// instance_name of the vendor that has it; empty before.
    pub vendor: &'a [u8],
    /// What metrics and control port call that vendor; empty where that is its instance_name.
    pub vendor_id: &'a [u8],
    /// How that vendor wrote the next field.
    pub vendor_id_format: VendorIdFormat,
    /// The vendor's id for it, as the vendor wrote it; empty where there is none.
    pub vendor_message_id: &'a [u8],
}

/// Which message a receipt is about, asked of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// To be handed back with the answer.
    pub ticket: u64,
    /// instance_name of the vendor.
    pub vendor: &'a [u8],
    /// How it writes ids in receipts.
    pub vendor_id_format: VendorIdFormat,
    /// The id in the receipt.
    pub vendor_message_id: &'a [u8],
}

/// One record of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedRecord<'a> {
    /// To be kept.
    Note(Note<'a>),
    /// To be answered with a [`StoreAnswer`].
    Question(Question<'a>),
}

/// What the store knows of a message, as far as its receipts need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Our id.
    pub id: MessageId,
    /// How its customer sees it.
    pub style: IdStyle,
    /// registered_delivery as the customer sent it.
    pub registered_delivery: u8,
    /// data_coding as the customer sent it.
    pub data_coding: u8,
    /// See [`Note::segments`].
    pub segments: u8,
    /// See [`Note::cost`].
    pub cost: Amount,
    /// smpp_system_id of its customer.
    pub customer: Vec<u8>,
    /// When the vendor took it, Unix milliseconds.
    pub sent_unix_ms: u64,
    /// The sender: ton, npi, digits.
    pub source: (u8, u8, Vec<u8>),
    /// The destination, likewise.
    pub dest: (u8, u8, Vec<u8>),
}

/// What came of a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreFinding {
    /// That message.
    Found(Box<Remembered>),
    /// The store knows of none.
    NotThere,
    /// The store cannot tell at present.
    Away,
}

/// The store's answer to a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreAnswer {
    /// From the question.
    pub ticket: u64,
    /// What came of it.
    pub finding: StoreFinding,
}

/// What a shard has told the store, and what it left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedReport {
    /// Notes given to the ring.
    pub records: u64,
    /// Notes left out because the ring was full.
    pub skipped: u64,
    /// Receipts that were looked up.
    pub lookups: u64,
    /// Of those, how many found their message.
    pub found: u64,
    /// Look-ups that the store did not answer in time, or could not.
    pub unanswered: u64,
    /// Look-ups under way.
    pub open: u32,
}

impl Feed {
    /// Puts a note among those that go into the ring with the next [`Feed::flush`]; left out and counted when there is
    /// no room.
    #[inline]
    pub fn note(&mut self, note: &Note<'_>) {
        if self.put(note.size(), |staged| note.write(staged)) {
            self.records += 1;
        } else {
            self.skipped += 1;
        }
    }

    /// Puts a question likewise; `false` when there is no room.
    pub fn ask(&mut self, question: &Question<'_>) -> bool {
        self.put(question.size(), |staged| question.write(staged))
    }

    /// Moves what is staged into the ring if there is room. `true` when something is there for the store: wake it.
    #[inline]
    pub fn flush(&mut self) -> bool {
        !self.staged.is_empty() && self.move_staged()
    }

    /// Notes given and left out so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.records, self.skipped)
    }

    #[inline]
    fn put(&mut self, size: usize, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        if self.staged.len() + size > FEED_STAGED_BYTES && !self.move_staged() {
            return false;
        }
        write(&mut self.staged);
        true
    }

    /// All of it or nothing.
    fn move_staged(&mut self) -> bool {
        if self.producer.vacant_len() < self.staged.len() {
            return false;
        }
        self.producer.push_slice(&self.staged);
        self.staged.clear();
        true
    }
}

impl FeedEnd {
    /// Hands out the records that have come, about so many octets of them at the most; tells how many octets it took.
    pub fn take(&mut self, bytes_max: usize, mut handle: impl FnMut(FeedRecord<'_>)) -> usize {
        self.records.take(bytes_max, |record| handle(FeedRecord::read(record)))
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.records.waiting_bytes() == 0
    }

    /// Octets that wait in the ring.
    pub fn waiting_bytes(&self) -> usize {
        self.records.waiting_bytes()
    }
}

const NOTE: u8 = 1;
const QUESTION: u8 = 2;

/// Octets of a note's fields of known place, with the prefix: kind, happening (2), status (4), two times, id, style,
/// registered_delivery, data_coding, segments, cost, TON and NPI twice, form, the texts' lengths.
const NOTE_FIXED: usize = PREFIX + 1 + 2 + 4 + 8 + 8 + 16 + 4 + 8 + 4 + 1 + NOTE_TEXTS;

/// Texts of a note.
const NOTE_TEXTS: usize = 7;

/// Octets of a question's fields of known place, with the prefix: kind, ticket, form, two lengths.
const QUESTION_FIXED: usize = PREFIX + 1 + 8 + 1 + 2;

/// The front of a text whose length is one octet.
#[inline]
fn short(text: &[u8]) -> &[u8] {
    &text[..text.len().min(u8::MAX as usize)]
}

impl Note<'_> {
    #[inline]
    fn texts(&self) -> [&[u8]; NOTE_TEXTS] {
        let Self { source, dest, customer, account, vendor, vendor_id, vendor_message_id, .. } = *self;
        [source.addr, dest.addr, customer, account, vendor, vendor_id, vendor_message_id].map(short)
    }

    #[inline]
    fn size(&self) -> usize {
        NOTE_FIXED + self.texts().iter().map(|text| text.len()).sum::<usize>()
    }

    #[inline]
    fn write(&self, to: &mut Vec<u8>) {
        let (happening, detail, status) = match self.happening {
            Happening::Accepted => (0, 0, 0),
            Happening::Sent => (1, 0, 0),
            Happening::Receipt(state) => (2, state, 0),
            Happening::Failed { status, is_expired } => (3, u8::from(is_expired), status),
        };
        let texts = self.texts();
        let mut fixed = Filled::<NOTE_FIXED>::new();
        fixed.put(((self.size() - PREFIX) as u32).to_le_bytes());
        fixed.put([NOTE, happening, detail]);
        fixed.put(status.to_le_bytes());
        fixed.put(self.at_unix_ms.to_le_bytes());
        fixed.put(self.sent_unix_ms.to_le_bytes());
        fixed.put(self.id.0.to_le_bytes());
        fixed.put([self.style.to_octet(), self.registered_delivery, self.data_coding, self.segments]);
        fixed.put(self.cost.millionths().to_le_bytes());
        fixed.put([self.source.ton, self.source.npi, self.dest.ton, self.dest.npi]);
        fixed.put([form_octet(self.vendor_id_format)]);
        fixed.put(texts.map(|text| text.len() as u8));
        to.extend_from_slice(fixed.octets());
        texts.iter().for_each(|text| to.extend_from_slice(text));
    }
}

impl Question<'_> {
    fn size(&self) -> usize {
        QUESTION_FIXED + short(self.vendor).len() + short(self.vendor_message_id).len()
    }

    fn write(&self, to: &mut Vec<u8>) {
        let texts = [self.vendor, self.vendor_message_id].map(short);
        let mut fixed = Filled::<QUESTION_FIXED>::new();
        fixed.put(((self.size() - PREFIX) as u32).to_le_bytes());
        fixed.put([QUESTION]);
        fixed.put(self.ticket.to_le_bytes());
        fixed.put([form_octet(self.vendor_id_format)]);
        fixed.put(texts.map(|text| text.len() as u8));
        to.extend_from_slice(fixed.octets());
        texts.iter().for_each(|text| to.extend_from_slice(text));
    }
}

impl<'a> FeedRecord<'a> {
    /// Appends the record as it stands in the ring, its length in front: for whoever keeps records for a while.
    pub fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Note(note) => note.write(to),
            Self::Question(question) => question.write(to),
        }
    }

    /// Reads a record at the front of what [`FeedRecord::write`] made.
    ///
    /// # Panics
    /// When there is none: both ends are this build.
    pub fn read_first(bytes: &'a [u8]) -> Self {
        let (record, _) = split(bytes).expect("a record is there as a whole");
        Self::read(record)
    }

    /// Without its prefix.
    fn read(bytes: &'a [u8]) -> Self {
        let mut fields = Fields::new(bytes);
        match fields.u8() {
            NOTE => Self::Note(read_note(fields)),
            QUESTION => {
                let ticket = u64::from_le_bytes(fields.array());
                let vendor_id_format = form_of(fields.u8());
                let [vendor, id] = fields.array();
                Self::Question(Question {
                    ticket,
                    vendor_id_format,
                    vendor: fields.text(vendor),
                    vendor_message_id: fields.text(id),
                })
            }
            kind => panic!("no record of a feed has kind {kind}"),
        }
    }
}

fn read_note(mut fields: Fields<'_>) -> Note<'_> {
    let [happening, detail] = fields.array();
    let status = u32::from_le_bytes(fields.array());
    let happening = match happening {
        0 => Happening::Accepted,
        1 => Happening::Sent,
        2 => Happening::Receipt(detail),
        _ => Happening::Failed { status, is_expired: detail != 0 },
    };
    let at_unix_ms = u64::from_le_bytes(fields.array());
    let sent_unix_ms = u64::from_le_bytes(fields.array());
    let id = MessageId(u128::from_le_bytes(fields.array()));
    let [style, registered_delivery, data_coding, segments] = fields.array();
    let cost = Amount::of_millionths(u64::from_le_bytes(fields.array()));
    let [source_ton, source_npi, dest_ton, dest_npi] = fields.array();
    let vendor_id_format = form_of(fields.u8());
    let lengths: [u8; NOTE_TEXTS] = fields.array();
    let [source, dest, customer, account, vendor, vendor_id, vendor_message_id] =
        lengths.map(|length| fields.text(length));
    Note {
        happening,
        at_unix_ms,
        id,
        style: IdStyle::from_octet(style),
        registered_delivery,
        data_coding,
        segments,
        cost,
        sent_unix_ms,
        source: Address { ton: source_ton, npi: source_npi, addr: source },
        dest: Address { ton: dest_ton, npi: dest_npi, addr: dest },
        customer,
        account,
        vendor,
        vendor_id,
        vendor_id_format,
        vendor_message_id,
    }
}

const fn form_octet(format: VendorIdFormat) -> u8 {
    match format {
        VendorIdFormat::Text => 0,
        VendorIdFormat::Hex => 1,
        VendorIdFormat::Decimal => 2,
    }
}

const fn form_of(octet: u8) -> VendorIdFormat {
    match octet {
        1 => VendorIdFormat::Hex,
        2 => VendorIdFormat::Decimal,
        _ => VendorIdFormat::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(number: u128) -> Note<'static> {
        Note {
            happening: Happening::Sent,
            at_unix_ms: 1_700_000_000_001,
            id: MessageId(number),
            style: IdStyle::Hex,
            registered_delivery: 1,
            data_coding: 8,
            segments: 2,
            cost: Amount::of_millionths(u64::MAX / 3),
            sent_unix_ms: 1_700_000_000_000,
            source: Address { ton: 5, npi: 0, addr: b"Acme" },
            dest: Address { ton: 1, npi: 1, addr: b"447700900123" },
            customer: b"acme",
            account: b"account-7",
            vendor: b"north",
            vendor_id: b"0192a456-789a-7def-8123-456789abcdef",
            vendor_id_format: VendorIdFormat::Hex,
            vendor_message_id: b"00ff",
        }
    }

    fn taken(end: &mut FeedEnd) -> Vec<MessageId> {
        let mut ids = Vec::new();
        end.take(usize::MAX, |record| match record {
            FeedRecord::Note(note) => ids.push(note.id),
            FeedRecord::Question(_) => {}
        });
        ids
    }

    #[test]
    fn every_record_reads_back_as_it_was_written() {
        let happenings = [
            Happening::Accepted,
            Happening::Sent,
            Happening::Receipt(2),
            Happening::Failed { status: 0x58, is_expired: false },
            Happening::Failed { status: 0x62, is_expired: true },
        ];
        let notes = happenings.map(|happening| FeedRecord::Note(Note { happening, ..note(7) }));
        let question = FeedRecord::Question(Question {
            ticket: u64::MAX / 3,
            vendor: b"north",
            vendor_id_format: VendorIdFormat::Decimal,
            vendor_message_id: b"255",
        });
        for record in notes.into_iter().chain([question]) {
            let mut bytes = Vec::new();
            record.write(&mut bytes);
            assert_eq!(FeedRecord::read_first(&bytes), record);
        }
    }

    #[test]
    fn nothing_is_seen_before_it_is_flushed_and_all_of_it_after() {
        let (mut feed, mut end) = feed();
        assert!(!feed.flush());
        (0..100).for_each(|number| feed.note(&note(number)));
        assert_eq!(taken(&mut end), []);
        assert!(feed.flush());
        assert_eq!(taken(&mut end).len(), 100);
        assert!(end.is_empty());
    }

    #[test]
    fn a_full_ring_leaves_out_what_comes_and_counts_it_and_takes_more_once_there_is_room() {
        let (mut feed, mut end) = feed();
        let given = 2 * (FEED_RING_BYTES + FEED_STAGED_BYTES) as u128 / note(0).size() as u128;
        (0..given).for_each(|number| feed.note(&note(number)));
        let (records, skipped) = feed.counts();
        assert_eq!(u128::from(records + skipped), given);
        assert!(skipped > 0);
        let question =
            Question { ticket: 1, vendor: b"north", vendor_id_format: VendorIdFormat::Text, vendor_message_id: b"1" };
        let mut asked = 0;
        while feed.ask(&question) {
            asked += 1;
        }
        assert!(asked < 10, "what is staged is bounded as well");
        let mut seen = taken(&mut end);
        assert!(feed.flush());
        seen.extend(taken(&mut end));
        assert_eq!(seen, (0..u128::from(records)).map(MessageId).collect::<Vec<_>>());
        feed.note(&note(given));
        assert!(feed.flush());
        assert_eq!(taken(&mut end), [MessageId(given)]);
    }

    #[test]
    fn a_record_that_is_cut_by_the_bound_comes_out_whole_with_the_next_taking() {
        let (mut feed, mut end) = feed();
        (0..50).for_each(|number| feed.note(&note(number)));
        feed.flush();
        let mut ids = Vec::new();
        while !end.is_empty() {
            end.take(77, |record| {
                if let FeedRecord::Note(note) = record {
                    ids.push(note.id);
                }
            });
        }
        assert_eq!(ids, (0..50).map(MessageId).collect::<Vec<_>>());
    }
}
