//! The records of the journal and their octets.
//!
//! Lives wherever entries are written or read. A record is checked against its crc before it is decoded here, so
//! whatever does not decode was written by another version.

use smpp_pdu::MessageState;

use super::NEVER_UNIX_MS;
use crate::message_id::{IdStyle, MessageId};

/// Octets in front of a record's payload: the crc, then length and kind, which it covers as well as the payload.
pub(super) const PREFIX: usize = 8;

/// Octets of the crc.
pub(super) const CRC: usize = 4;

/// Where the kind stands.
const KIND_AT: usize = PREFIX - 1;

/// Any record. Numbers and times are below 2⁴⁸; a time from there on is [`NEVER_UNIX_MS`]. Names and ids are cut at
/// 255 octets, more than any that the gateway lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A message was accepted.
    Accepted(Accepted<'a>),
    /// A vendor has it, and its receipts are awaited.
    Sent(Sent<'a>),
    /// Nothing more will come of a message.
    Done(Done),
    /// A receipt or MO was taken from a vendor.
    Receipt(Receipt<'a>),
    /// Its customer has it, or will never have it.
    Delivered(Delivered),
}

/// A message was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted<'a> {
    /// The message's number in its log.
    pub number: u64,
    /// Our id for it.
    pub id: MessageId,
    /// How its customer sees the id.
    pub style: IdStyle,
    /// When it was accepted.
    pub accepted_unix_ms: u64,
    /// When its validity ends; [`NEVER_UNIX_MS`] for never.
    pub expires_unix_ms: u64,
    /// Whose it is.
    pub customer: &'a [u8],
    /// The whole submit_sm as the customer sent it.
    pub pdu: &'a [u8],
}

/// A vendor took a message and its receipts are awaited. The one sent last counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent<'a> {
    /// The message's number.
    pub number: u64,
    /// When the vendor's answer came.
    pub sent_unix_ms: u64,
    /// Which vendor.
    pub vendor: &'a [u8],
    /// The id that it gave the message, as it wrote it.
    pub vendor_message_id: &'a [u8],
}

/// Nothing more will come of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The message's number.
    pub number: u64,
    /// Its final state; `None` where no more is known than that a vendor took it.
    pub state: Option<MessageState>,
}

/// A receipt or MO was taken from a vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt<'a> {
    /// The receipt's own number.
    pub number: u64,
    /// The number of the message that it is for; 0 for MO, and where the message is not of this log.
    pub message: u64,
    /// It says the message's final state.
    pub is_final: bool,
    /// When it was taken.
    pub taken_unix_ms: u64,
    /// Until when it is kept for its customer; [`NEVER_UNIX_MS`] for ever.
    pub expires_unix_ms: u64,
    /// Whose it is.
    pub customer: &'a [u8],
    /// Who sent it.
    pub vendor: &'a [u8],
    /// The whole deliver_sm as the customer shall get it.
    pub pdu: &'a [u8],
}

/// What became of a receipt or MO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The receipt's number.
    pub number: u64,
    /// The number of the message that ends with it, which is that of a final receipt; else 0. It stands here
    /// too because the receipt's segment may be gone while a later one still holds the message.
    pub message: u64,
    /// How it ended.
    pub how: How,
}

/// How a receipt or MO ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The customer took it.
    Taken,
    /// It was kept as long as it was to be, and the customer never came.
    Expired,
    /// The customer refused it for good.
    Refused,
}

const ACCEPTED: u8 = 1;
const SENT: u8 = 2;
const DONE: u8 = 3;
const RECEIPT: u8 = 4;
const DELIVERED: u8 = 5;

// Octets of each kind's payload at the least.
const ACCEPTED_LEAST: usize = 36;
const SENT_LEAST: usize = 14;
const DONE_LENGTH: usize = 7;
const RECEIPT_LEAST: usize = 27;
const DELIVERED_LENGTH: usize = 13;

const FINAL: u8 = 1;

/// The largest number of six octets; as a time it stands for never.
const U48_MAX: u64 = (1 << 48) - 1;

impl<'a> Entry<'a> {
    /// The number of the message, or of the receipt.
    pub const fn number(&self) -> u64 {
        match self {
            Self::Accepted(accepted) => accepted.number,
            Self::Sent(sent) => sent.number,
            Self::Done(done) => done.number,
            Self::Receipt(receipt) => receipt.number,
            Self::Delivered(delivered) => delivered.number,
        }
    }

    /// Appends the record, its crc still open.
    ///
    /// # Panics
    /// When the payload is longer than a record can be, for every PDU that comes in is shorter.
    #[inline]
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Accepted(accepted) => {
                let customer = cut(accepted.customer);
                let mut head = Head::<{ PREFIX + ACCEPTED_LEAST }>::new(ACCEPTED, customer.len() + accepted.pdu.len());
                head.put_u48(accepted.number);
                head.put(accepted.id.0.to_le_bytes());
                head.put_u48(accepted.accepted_unix_ms);
                head.put([accepted.style.to_octet()]);
                head.put_u48(accepted.expires_unix_ms);
                head.put([customer.len() as u8]);
                head.append(to, [customer, accepted.pdu]);
            }
            Self::Sent(sent) => {
                let (vendor, id) = (cut(sent.vendor), cut(sent.vendor_message_id));
                let mut head = Head::<{ PREFIX + SENT_LEAST }>::new(SENT, vendor.len() + id.len());
                head.put_u48(sent.number);
                head.put_u48(sent.sent_unix_ms);
                head.put([vendor.len() as u8, id.len() as u8]);
                head.append(to, [vendor, id]);
            }
            Self::Done(done) => {
                let mut head = Head::<{ PREFIX + DONE_LENGTH }>::new(DONE, 0);
                head.put_u48(done.number);
                head.put([done.state.map_or(0, MessageState::wire)]);
                head.append(to, []);
            }
            Self::Receipt(receipt) => {
                let (customer, vendor) = (cut(receipt.customer), cut(receipt.vendor));
                let behind = customer.len() + vendor.len() + receipt.pdu.len();
                let mut head = Head::<{ PREFIX + RECEIPT_LEAST }>::new(RECEIPT, behind);
                head.put_u48(receipt.number);
                head.put_u48(receipt.message);
                head.put([if receipt.is_final { FINAL } else { 0 }]);
                head.put_u48(receipt.taken_unix_ms);
                head.put_u48(receipt.expires_unix_ms);
                head.put([customer.len() as u8, vendor.len() as u8]);
                head.append(to, [customer, vendor, receipt.pdu]);
            }
            Self::Delivered(delivered) => {
                let mut head = Head::<{ PREFIX + DELIVERED_LENGTH }>::new(DELIVERED, 0);
                head.put_u48(delivered.number);
                head.put_u48(delivered.message);
                head.put([delivered.how.to_octet()]);
                head.append(to, []);
            }
        }
    }

    /// Reads a record's payload; `None` when no record of this version looks like it.
    pub(super) fn read(kind: u8, payload: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(payload);
        let entry = match kind {
            ACCEPTED => Self::Accepted(Accepted {
                number: fields.u48()?,
                id: MessageId(u128::from_le_bytes(fields.array()?)),
                accepted_unix_ms: fields.time()?,
                style: IdStyle::from_octet(fields.u8()?),
                expires_unix_ms: fields.time()?,
                customer: {
                    let length = fields.u8()?;
                    fields.text(length)?
                },
                pdu: fields.rest(),
            }),
            SENT => {
                let (number, sent_unix_ms) = (fields.u48()?, fields.time()?);
                let [vendor, id] = fields.array()?;
                let (vendor, vendor_message_id) = (fields.text(vendor)?, fields.text(id)?);
                Self::Sent(Sent { number, sent_unix_ms, vendor, vendor_message_id })
            }
            DONE => Self::Done(Done { number: fields.u48()?, state: state(fields.u8()?)? }),
            RECEIPT => {
                let (number, message) = (fields.u48()?, fields.u48()?);
                let is_final = fields.u8()? & FINAL != 0;
                let (taken_unix_ms, expires_unix_ms) = (fields.time()?, fields.time()?);
                let [customer, vendor] = fields.array()?;
                let (customer, vendor) = (fields.text(customer)?, fields.text(vendor)?);
                let pdu = fields.rest();
                Self::Receipt(Receipt {
                    number,
                    message,
                    is_final,
                    taken_unix_ms,
                    expires_unix_ms,
                    customer,
                    vendor,
                    pdu,
                })
            }
            DELIVERED => Self::Delivered(Delivered {
                number: fields.u48()?,
                message: fields.u48()?,
                how: How::from_octet(fields.u8()?)?,
            }),
            _ => return None,
        };
        fields.0.is_empty().then_some(entry)
    }
}

/// Kind and length of the payload, as a prefix has them.
#[inline]
pub(super) const fn kind_and_length(prefix: &[u8; PREFIX]) -> (u8, usize) {
    (prefix[KIND_AT], u32::from_le_bytes([prefix[4], prefix[5], prefix[6], 0]) as usize)
}

/// Whether a record of that kind and length may exist. Cheap, to be asked before a crc is reckoned.
pub(super) const fn is_plausible(kind: u8, length: usize) -> bool {
    match kind {
        ACCEPTED => length >= ACCEPTED_LEAST && length <= super::RECORD_BYTES_MAX,
        SENT => length >= SENT_LEAST && length <= SENT_LEAST + 2 * u8::MAX as usize,
        DONE => length == DONE_LENGTH,
        RECEIPT => length >= RECEIPT_LEAST && length <= super::RECORD_BYTES_MAX,
        DELIVERED => length == DELIVERED_LENGTH,
        _ => false,
    }
}

impl How {
    const fn to_octet(self) -> u8 {
        match self {
            Self::Taken => 1,
            Self::Expired => 2,
            Self::Refused => 3,
        }
    }

    const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            1 => Some(Self::Taken),
            2 => Some(Self::Expired),
            3 => Some(Self::Refused),
            _ => None,
        }
    }
}

const fn state(octet: u8) -> Option<Option<MessageState>> {
    match octet {
        0 => Some(None),
        octet => match MessageState::from_wire(octet) {
            None => None,
            state => Some(state),
        },
    }
}

/// As much of a text as a record takes.
#[inline]
fn cut(text: &[u8]) -> &[u8] {
    &text[..text.len().min(usize::from(u8::MAX))]
}

/// The prefix and the fields of known place of one record. Every place is known when this is compiled, so that no more
/// is left of it than stores.
struct Head<const OCTETS: usize> {
    octets: [u8; OCTETS],
    at: usize,
}

impl<const OCTETS: usize> Head<OCTETS> {
    /// For a record with so many octets behind its fields.
    #[inline(always)]
    fn new(kind: u8, behind: usize) -> Self {
        let length = OCTETS - PREFIX + behind;
        assert!(length <= super::RECORD_BYTES_MAX, "a journal record of {length} octets");
        let mut head = Self { octets: [0; OCTETS], at: CRC };
        head.put((length as u32 | u32::from(kind) << 24).to_le_bytes());
        head
    }

    #[inline(always)]
    fn put<const N: usize>(&mut self, field: [u8; N]) {
        self.octets[self.at..self.at + N].copy_from_slice(&field);
        self.at += N;
    }

    #[inline(always)]
    fn put_u48(&mut self, value: u64) {
        let [first, second, third, fourth, fifth, sixth, ..] = value.min(U48_MAX).to_le_bytes();
        self.put([first, second, third, fourth, fifth, sixth]);
    }

    #[inline(always)]
    fn append<const N: usize>(&self, to: &mut Vec<u8>, behind: [&[u8]; N]) {
        debug_assert_eq!(self.at, OCTETS);
        to.reserve(OCTETS + behind.iter().map(|octets| octets.len()).sum::<usize>());
        to.extend_from_slice(&self.octets);
        for octets in behind {
            to.extend_from_slice(octets);
        }
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (value, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*value)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[octet]| octet)
    }

    fn u48(&mut self) -> Option<u64> {
        let [first, second, third, fourth, fifth, sixth] = self.array()?;
        Some(u64::from_le_bytes([first, second, third, fourth, fifth, sixth, 0, 0]))
    }

    fn time(&mut self) -> Option<u64> {
        self.u48().map(|time| if time == U48_MAX { NEVER_UNIX_MS } else { time })
    }

    fn text(&mut self, length: u8) -> Option<&'a [u8]> {
        let (text, rest) = self.0.split_at_checked(usize::from(length))?;
        self.0 = rest;
        Some(text)
    }

    fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One of each kind.
    pub(in crate::journal) fn one_of_each() -> [Entry<'static>; 6] {
        [
            Entry::Accepted(Accepted {
                number: 7,
                id: MessageId(u128::MAX / 5),
                style: IdStyle::Decimal,
                accepted_unix_ms: 1_700_000_000_123,
                expires_unix_ms: NEVER_UNIX_MS,
                customer: b"acme",
                pdu: b"the whole submit_sm",
            }),
            Entry::Sent(Sent { number: 7, sent_unix_ms: 5, vendor: b"north", vendor_message_id: b"00aB" }),
            Entry::Done(Done { number: 7, state: None }),
            Entry::Done(Done { number: U48_MAX, state: Some(MessageState::Delivered) }),
            Entry::Receipt(Receipt {
                number: 8,
                message: 7,
                is_final: true,
                taken_unix_ms: 9,
                expires_unix_ms: 10,
                customer: b"",
                vendor: b"north",
                pdu: b"the whole deliver_sm",
            }),
            Entry::Delivered(Delivered { number: 8, message: 7, how: How::Refused }),
        ]
    }

    fn written(entry: &Entry<'_>) -> (u8, Vec<u8>) {
        let mut octets = Vec::new();
        entry.write(&mut octets);
        let (kind, length) = kind_and_length(octets.first_chunk().unwrap());
        assert_eq!(length, octets.len() - PREFIX);
        assert!(is_plausible(kind, length));
        (kind, octets.split_off(PREFIX))
    }

    #[test]
    fn every_record_reads_back_as_it_was_written() {
        for entry in one_of_each() {
            let (kind, payload) = written(&entry);
            assert_eq!(Entry::read(kind, &payload), Some(entry));
        }
    }

    #[test]
    fn the_shortest_of_each_kind_is_plausible_and_none_shorter() {
        let empty = [
            Entry::Accepted(Accepted {
                number: 0,
                id: MessageId(0),
                style: IdStyle::Uuid,
                accepted_unix_ms: 0,
                expires_unix_ms: 0,
                customer: b"",
                pdu: b"",
            }),
            Entry::Sent(Sent { number: 0, sent_unix_ms: 0, vendor: b"", vendor_message_id: b"" }),
            Entry::Done(Done { number: 0, state: None }),
            Entry::Receipt(Receipt {
                number: 0,
                message: 0,
                is_final: false,
                taken_unix_ms: 0,
                expires_unix_ms: 0,
                customer: b"",
                vendor: b"",
                pdu: b"",
            }),
            Entry::Delivered(Delivered { number: 0, message: 0, how: How::Taken }),
        ];
        for entry in empty {
            let (kind, payload) = written(&entry);
            assert!(!is_plausible(kind, payload.len() - 1));
            assert_eq!(Entry::read(kind, &payload[1..]), None);
        }
    }

    #[test]
    fn overlong_names_are_cut_and_do_not_shift_what_follows() {
        let name = [b'n'; 300];
        let (kind, payload) =
            written(&Entry::Sent(Sent { number: 1, sent_unix_ms: 2, vendor: &name, vendor_message_id: &name }));
        let Some(Entry::Sent(sent)) = Entry::read(kind, &payload) else { panic!("no sent record") };
        assert_eq!((sent.vendor, sent.vendor_message_id), (&name[..255], &name[..255]));
    }

    #[test]
    fn what_another_version_wrote_is_no_record() {
        let (_, done) = written(&Entry::Done(Done { number: 1, state: None }));
        assert_eq!(Entry::read(0, &done), None);
        assert_eq!(Entry::read(6, &done), None);
        let mut strange = done.clone();
        strange[6] = 77;
        assert_eq!(Entry::read(DONE, &strange), None);
    }
}
