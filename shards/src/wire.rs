//! The records that cross from one shard to another: a closed set of plain values, written octet for octet.
//!
//! Both ends are this process and this build, so the layout is nobody else's business; a record that does not
//! read back is a defect of ours and panics.

use smpp_pdu::CommandStatus;

use crate::amount::Amount;
use crate::facts::{AddressPlaces, Facts};
use crate::kept::KeptRef;
use crate::message_id::{IdStyle, MessageId};
use crate::names::{CustomerId, ShardId, VendorId};
use crate::time::Time;
use crate::tried::Tried;

/// Where the answer to a submit goes: a session of the customer's shard. It goes there straight from the shard that knows
/// it, however many shards had the message in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Origin {
    /// The shard that waits for the answer.
    pub shard: ShardId,
    /// The other shard to which that one gave the message first, and whose credit it holds until it is answered; the same
    /// shard as long as no other one has had it.
    pub via: ShardId,
    /// Its connection there.
    pub slot: u32,
    /// Tells the one meant from later ones in the same slot.
    pub generation: u32,
    /// The customer's sequence_number.
    pub sequence: u32,
    /// The message that its journal keeps; [`KeptRef::NONE`] where the answer is the vendor's.
    pub kept: KeptRef,
}

/// Where the answer to a receipt or MO goes: the vendor's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DeliveryOrigin {
    /// The vendor's home shard.
    pub shard: ShardId,
    /// Its connection there.
    pub slot: u32,
    /// Tells the one meant from later ones in the same slot.
    pub generation: u32,
    /// The vendor's sequence_number.
    pub sequence: u32,
    /// The customer's shard has written it itself, and no vendor waits for an answer.
    pub is_own: bool,
    /// The place of the awaited receipt, [`NOT_AWAITED`] for MO; handed back so that a final one is forgotten.
    pub awaited: u64,
}

/// [`DeliveryOrigin::awaited`] of what is not awaited any further.
pub const NOT_AWAITED: u64 = u64::MAX;

/// What goes with a message wherever it goes: with its record to another shard, and in its slot there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Carried {
    /// Where its answer goes.
    pub origin: Origin,
    /// Our id for it.
    pub id: MessageId,
    /// How its customer sees the id.
    pub style: IdStyle,
    /// Whose it is.
    pub customer: CustomerId,
    /// The customer's home: where receipts go.
    pub customer_home: ShardId,
    /// When it must have been answered, unless it is at a vendor then.
    pub deadline: Time,
    /// What a vendor last said, told when nobody takes it; ESME_ROK when none has said anything.
    pub refusal: CommandStatus,
    /// The vendors that had it before.
    pub tried: Tried,
    /// What the rule by which it goes to its present vendor asks for each short message.
    pub rate_per_msg: Amount,
    /// The outcome of a submit of it is unknown: some vendor may have it.
    pub is_doubtful: bool,
    /// What was read of the PDU when it came in.
    pub facts: Facts,
}

/// A message on its way to a vendor of another shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submit<'a> {
    /// To which vendor.
    pub vendor: VendorId,
    /// What goes with it.
    pub carried: Carried,
    /// The whole submit_sm as the customer sent it.
    pub pdu: &'a [u8],
}

/// A receipt or MO on its way to a customer of another shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deliver<'a> {
    /// Where its answer goes.
    pub origin: DeliveryOrigin,
    /// From which vendor.
    pub vendor: VendorId,
    /// To whom.
    pub customer: CustomerId,
    /// The kept message that it is a receipt of; [`KeptRef::NONE`] for MO and in relay mode.
    pub kept: KeptRef,
    /// And with which that message ends.
    pub is_final: bool,
    /// Some of its TLVs, or the length of its text, are of SMPP 5.0: not for every peer.
    pub has_version_5: bool,
    /// There may be another one for the same message: a vendor may have it twice, or two may.
    pub is_double: bool,
    /// The whole deliver_sm as the customer shall get it, its sequence_number still open.
    pub pdu: &'a [u8],
}

/// The final answer to a submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubmitAnswer<'a> {
    /// From the submit.
    pub origin: Origin,
    /// ESME_ROK or the refusal.
    pub status: CommandStatus,
    /// From the submit.
    pub id: MessageId,
    /// From the submit.
    pub style: IdStyle,
    /// Who gave it, or had the message last.
    pub vendor: VendorId,
    /// With ESME_ROK: what the message costs.
    pub cost: Amount,
    /// For a kept message. With ESME_ROK: the vendor's message id, where receipts are awaited. With a refusal: the receipt that
    /// says so, where the customer wants one.
    pub octets: &'a [u8],
}

/// A message that a vendor of the receiving shard took before this start, and whose receipts are awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Await<'a> {
    /// The message as it was sent.
    pub submit: Submit<'a>,
    /// The vendor's id for it; at most 255 octets.
    pub vendor_message_id: &'a [u8],
}

/// Any record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A message for a vendor of the receiving shard.
    Submit(Submit<'a>),
    /// The final answer to one.
    SubmitAnswer(SubmitAnswer<'a>),
    /// A late one, to a message that the sending shard has not any more.
    LateAnswer(SubmitAnswer<'a>),
    /// A message of the sending shard's customers is settled: it is not to be sent any more.
    Settled {
        /// Which.
        kept: KeptRef,
    },
    /// A message of another start.
    Await(Await<'a>),
    /// A receipt or MO for a customer of the receiving shard.
    Deliver(Deliver<'a>),
    /// The answer to one.
    DeliverAnswer {
        /// From the delivery.
        origin: DeliveryOrigin,
        /// From the delivery.
        vendor: VendorId,
        /// What the customer said, or ESME_RX_T_APPN.
        status: CommandStatus,
    },
    /// A vendor of the sending shard has changed.
    VendorView {
        /// Which.
        vendor: VendorId,
        /// It has a bind that can submit.
        is_up: bool,
        /// Its queue has no room.
        is_full: bool,
    },
    /// The sending shard is that customer's home.
    CustomerHome {
        /// Whose.
        customer: CustomerId,
    },
    /// The sending shard knows every customer and vendor up to that version of the configuration.
    SnapshotKnown {
        /// Which.
        version: u64,
    },
}

const SUBMIT: u8 = 1;
const SUBMIT_ANSWER: u8 = 2;
const DELIVER: u8 = 3;
const DELIVER_ANSWER: u8 = 4;
const VENDOR_VIEW: u8 = 5;
const CUSTOMER_HOME: u8 = 6;
const AWAIT: u8 = 7;
const SNAPSHOT_KNOWN: u8 = 8;
const LATE_ANSWER: u8 = 9;
const SETTLED: u8 = 10;

/// Octets of the length in front of each record.
pub(crate) const PREFIX: usize = 4;

// Octets of each kind's fields of known place, the kind included.
const SUBMIT_FIXED: usize = 89;
const SUBMIT_ANSWER_FIXED: usize = 58;
const DELIVER_FIXED: usize = 41;
const DELIVER_ANSWER_FIXED: usize = 32;
const VENDOR_VIEW_FIXED: usize = 7;
const CUSTOMER_HOME_FIXED: usize = 5;
const SNAPSHOT_KNOWN_FIXED: usize = 9;
const SETTLED_FIXED: usize = 9;

// The bits of one octet of a submit.
const UNTIDY: u8 = 1;
const DOUBTFUL: u8 = 2;

// The bits of one octet of a delivery.
const FINAL: u8 = 1;
const DOUBLE: u8 = 2;
const VERSION_5: u8 = 4;

/// The prefix and the `FIELDS` octets of known place of one record. Every place is known when this is compiled, so that
/// no more is left of it than stores.
struct Head<const FIELDS: usize> {
    prefix: [u8; PREFIX],
    fields: [u8; FIELDS],
    at: usize,
}

impl<const FIELDS: usize> Head<FIELDS> {
    /// For a record with so many octets behind its fields.
    #[inline(always)]
    fn new(kind: u8, behind: usize) -> Self {
        let mut head = Self { prefix: ((FIELDS + behind) as u32).to_le_bytes(), fields: [0; FIELDS], at: 0 };
        head.put([kind]);
        head
    }

    #[inline(always)]
    fn put<const N: usize>(&mut self, field: [u8; N]) {
        self.fields[self.at..self.at + N].copy_from_slice(&field);
        self.at += N;
    }

    #[inline(always)]
    fn append(&self, to: &mut Vec<u8>) {
        debug_assert_eq!(self.at, FIELDS);
        to.extend_from_slice(&self.prefix);
        to.extend_from_slice(&self.fields);
    }
}

impl<'a> Record<'a> {
    /// Appends the record, its length in front.
    #[inline]
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Submit(submit) => submit.write(to),
            Self::SubmitAnswer(answer) => answer.write(to),
            Self::LateAnswer(answer) => answer.write_as(LATE_ANSWER, to),
            Self::Settled { kept } => {
                let mut head = Head::<SETTLED_FIXED>::new(SETTLED, 0);
                kept.write(&mut head);
                head.append(to);
            }
            Self::Await(awaited) => awaited.write(to),
            Self::Deliver(deliver) => {
                let mut head = Head::<DELIVER_FIXED>::new(DELIVER, deliver.pdu.len());
                deliver.origin.write(&mut head);
                head.put(deliver.vendor.0.to_le_bytes());
                head.put(deliver.customer.0.to_le_bytes());
                deliver.kept.write(&mut head);
                let is_final = u8::from(deliver.is_final) * FINAL;
                let is_double = u8::from(deliver.is_double) * DOUBLE;
                let has_version_5 = u8::from(deliver.has_version_5) * VERSION_5;
                head.put([is_final | is_double | has_version_5]);
                head.append(to);
                to.extend_from_slice(deliver.pdu);
            }
            Self::DeliverAnswer { origin, vendor, status } => {
                let mut head = Head::<DELIVER_ANSWER_FIXED>::new(DELIVER_ANSWER, 0);
                origin.write(&mut head);
                head.put(vendor.0.to_le_bytes());
                head.put(status.0.to_le_bytes());
                head.append(to);
            }
            Self::VendorView { vendor, is_up, is_full } => {
                let mut head = Head::<VENDOR_VIEW_FIXED>::new(VENDOR_VIEW, 0);
                head.put(vendor.0.to_le_bytes());
                head.put([u8::from(*is_up), u8::from(*is_full)]);
                head.append(to);
            }
            Self::CustomerHome { customer } => {
                let mut head = Head::<CUSTOMER_HOME_FIXED>::new(CUSTOMER_HOME, 0);
                head.put(customer.0.to_le_bytes());
                head.append(to);
            }
            Self::SnapshotKnown { version } => {
                let mut head = Head::<SNAPSHOT_KNOWN_FIXED>::new(SNAPSHOT_KNOWN, 0);
                head.put(version.to_le_bytes());
                head.append(to);
            }
        }
    }

    /// Reads a record back, without its prefix.
    ///
    /// # Panics
    /// When it is none: shards of one process write the same records.
    #[inline]
    pub fn read(bytes: &'a [u8]) -> Self {
        let mut fields = Fields(bytes);
        match fields.u8() {
            SUBMIT => Self::Submit(Submit::read(bytes)),
            SUBMIT_ANSWER => Self::SubmitAnswer(SubmitAnswer::read(fields)),
            LATE_ANSWER => Self::LateAnswer(SubmitAnswer::read(fields)),
            SETTLED => Self::Settled { kept: KeptRef::read(&mut fields) },
            DELIVER => {
                let origin = DeliveryOrigin::read(&mut fields);
                let (vendor, customer) = (VendorId(fields.u32()), CustomerId(fields.u32()));
                let (kept, bits) = (KeptRef::read(&mut fields), fields.u8());
                Self::Deliver(Deliver {
                    origin,
                    vendor,
                    customer,
                    kept,
                    is_final: bits & FINAL != 0,
                    has_version_5: bits & VERSION_5 != 0,
                    is_double: bits & DOUBLE != 0,
                    pdu: fields.0,
                })
            }
            DELIVER_ANSWER => Self::DeliverAnswer {
                origin: DeliveryOrigin::read(&mut fields),
                vendor: VendorId(fields.u32()),
                status: CommandStatus(fields.u32()),
            },
            VENDOR_VIEW => {
                Self::VendorView { vendor: VendorId(fields.u32()), is_up: fields.u8() != 0, is_full: fields.u8() != 0 }
            }
            AWAIT => {
                let length = usize::from(fields.u8());
                let (vendor_message_id, submit) = fields.0.split_at(length);
                Self::Await(Await { submit: Submit::read(&submit[PREFIX..]), vendor_message_id })
            }
            CUSTOMER_HOME => Self::CustomerHome { customer: CustomerId(fields.u32()) },
            SNAPSHOT_KNOWN => Self::SnapshotKnown { version: fields.u64() },
            kind => panic!("no ring record has kind {kind}"),
        }
    }
}

impl<'a> Submit<'a> {
    /// Appends the record, its length in front.
    #[inline]
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        let carried = &self.carried;
        let tried = carried.tried.as_slice();
        let behind = 4 * tried.len() + self.pdu.len();
        to.reserve(PREFIX + SUBMIT_FIXED + behind);
        let mut head = Head::<SUBMIT_FIXED>::new(SUBMIT, behind);
        head.put(self.vendor.0.to_le_bytes());
        carried.origin.write(&mut head);
        head.put(carried.id.0.to_le_bytes());
        head.put([carried.style.to_octet()]);
        head.put(carried.customer.0.to_le_bytes());
        head.put(carried.customer_home.0.to_le_bytes());
        head.put(carried.deadline.0.to_le_bytes());
        head.put(carried.refusal.0.to_le_bytes());
        head.put([tried.len() as u8]);
        let untidy = if carried.facts.is_untidy { UNTIDY } else { 0 };
        let doubtful = if carried.is_doubtful { DOUBTFUL } else { 0 };
        head.put(carried.rate_per_msg.millionths().to_le_bytes());
        head.put([
            carried.facts.registered_delivery,
            carried.facts.priority,
            carried.facts.segments,
            untidy | doubtful,
        ]);
        head.put(carried.facts.registered_at.to_le_bytes());
        head.put(carried.facts.addresses.0.to_le_bytes());
        head.put(carried.facts.valid_until.0.to_le_bytes());
        head.append(to);
        for vendor in tried {
            to.extend_from_slice(&vendor.0.to_le_bytes());
        }
        to.extend_from_slice(self.pdu);
    }

    /// Reads a record if it is a submit. Nearly all records are submits or answers to them, and a submit is large: this
    /// way it is put together once, where it is used.
    #[inline]
    pub(crate) fn read_if(bytes: &'a [u8]) -> Option<Self> {
        (bytes.first() == Some(&SUBMIT)).then(|| Self::read(bytes))
    }

    /// All fields of known place come out of one array, so that they are checked for once.
    #[inline(always)]
    fn read(bytes: &'a [u8]) -> Self {
        let (fixed, rest) = bytes.split_first_chunk::<SUBMIT_FIXED>().expect("a submit holds all of its fields");
        let mut fields = Fields(&fixed[1..]);
        let mut behind = Fields(rest);
        let vendor = VendorId(fields.u32());
        let mut carried = Carried {
            origin: Origin::read(&mut fields),
            id: MessageId(u128::from_le_bytes(fields.array())),
            style: IdStyle::from_octet(fields.u8()),
            customer: CustomerId(fields.u32()),
            customer_home: ShardId(fields.u16()),
            deadline: Time(fields.u64()),
            refusal: CommandStatus(fields.u32()),
            tried: Tried::of((0..fields.u8()).map(|_| VendorId(behind.u32()))),
            rate_per_msg: Amount::of_millionths(fields.u64()),
            is_doubtful: false,
            facts: Facts {
                registered_delivery: fields.u8(),
                priority: fields.u8(),
                segments: fields.u8(),
                ..Facts::default()
            },
        };
        let bits = fields.u8();
        carried.is_doubtful = bits & DOUBTFUL != 0;
        carried.facts.is_untidy = bits & UNTIDY != 0;
        carried.facts.registered_at = fields.u16();
        carried.facts.addresses = AddressPlaces(fields.u16());
        carried.facts.valid_until = Time(fields.u64());
        Self { vendor, carried, pdu: behind.0 }
    }
}

impl Await<'_> {
    /// Appends the record, its length in front: the vendor's id, then a submit's record as a whole.
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        let start = to.len();
        let id = &self.vendor_message_id[..self.vendor_message_id.len().min(usize::from(u8::MAX))];
        to.extend_from_slice(&[0; PREFIX]);
        to.extend_from_slice(&[AWAIT, id.len() as u8]);
        to.extend_from_slice(id);
        self.submit.write(to);
        let length = (to.len() - start - PREFIX) as u32;
        to[start..start + PREFIX].copy_from_slice(&length.to_le_bytes());
    }
}

impl<'a> SubmitAnswer<'a> {
    #[inline]
    fn read(mut fields: Fields<'a>) -> Self {
        Self {
            origin: Origin::read(&mut fields),
            status: CommandStatus(fields.u32()),
            id: MessageId(u128::from_le_bytes(fields.array())),
            style: IdStyle::from_octet(fields.u8()),
            vendor: VendorId(fields.u32()),
            cost: Amount::of_millionths(fields.u64()),
            octets: fields.0,
        }
    }

    /// Appends the record, its length in front.
    #[inline]
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        self.write_as(SUBMIT_ANSWER, to);
    }

    #[inline]
    fn write_as(&self, kind: u8, to: &mut Vec<u8>) {
        let mut head = Head::<SUBMIT_ANSWER_FIXED>::new(kind, self.octets.len());
        self.origin.write(&mut head);
        head.put(self.status.0.to_le_bytes());
        head.put(self.id.0.to_le_bytes());
        head.put([self.style.to_octet()]);
        head.put(self.vendor.0.to_le_bytes());
        head.put(self.cost.millionths().to_le_bytes());
        head.append(to);
        to.extend_from_slice(self.octets);
    }
}

impl Origin {
    /// Of the word that a message which a vendor has is through. It is no answer to any submit.
    pub(crate) fn end_of(home: ShardId, kept: KeptRef) -> Self {
        Self { shard: home, via: home, slot: u32::MAX, sequence: u32::MAX, kept, ..Self::default() }
    }

    /// Whether it is that of [`Origin::end_of`]: no connection has that slot.
    pub(crate) const fn is_end(&self) -> bool {
        self.slot == u32::MAX && self.sequence == u32::MAX
    }

    #[inline(always)]
    fn write<const FIELDS: usize>(&self, head: &mut Head<FIELDS>) {
        head.put(self.shard.0.to_le_bytes());
        head.put(self.via.0.to_le_bytes());
        head.put(self.slot.to_le_bytes());
        head.put(self.generation.to_le_bytes());
        head.put(self.sequence.to_le_bytes());
        self.kept.write(head);
    }

    #[inline]
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            shard: ShardId(fields.u16()),
            via: ShardId(fields.u16()),
            slot: fields.u32(),
            generation: fields.u32(),
            sequence: fields.u32(),
            kept: KeptRef::read(fields),
        }
    }
}

impl KeptRef {
    #[inline(always)]
    fn write<const FIELDS: usize>(&self, head: &mut Head<FIELDS>) {
        head.put(self.slot.to_le_bytes());
        head.put(self.generation.to_le_bytes());
    }

    #[inline]
    fn read(fields: &mut Fields<'_>) -> Self {
        Self { slot: fields.u32(), generation: fields.u32() }
    }
}

impl DeliveryOrigin {
    #[inline(always)]
    fn write<const FIELDS: usize>(&self, head: &mut Head<FIELDS>) {
        head.put(self.shard.0.to_le_bytes());
        head.put(self.slot.to_le_bytes());
        head.put(self.generation.to_le_bytes());
        head.put(self.sequence.to_le_bytes());
        head.put([u8::from(self.is_own)]);
        head.put(self.awaited.to_le_bytes());
    }

    #[inline]
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            shard: ShardId(fields.u16()),
            slot: fields.u32(),
            generation: fields.u32(),
            sequence: fields.u32(),
            is_own: fields.u8() != 0,
            awaited: fields.u64(),
        }
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    #[inline]
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (value, rest) = self.0.split_first_chunk::<N>().expect("a ring record holds all of its fields");
        self.0 = rest;
        *value
    }

    #[inline]
    fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    #[inline]
    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    #[inline]
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    #[inline]
    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_reads_back_as_it_was_written() {
        let kept = KeptRef { slot: 3, generation: 8 };
        let origin = Origin { shard: ShardId(3), via: ShardId(4), slot: 7, generation: 9, sequence: u32::MAX, kept };
        let back = DeliveryOrigin {
            shard: ShardId(2),
            slot: 1,
            generation: 4,
            sequence: 5,
            is_own: true,
            awaited: NOT_AWAITED,
        };
        let mut tried = Tried::default();
        tried.add(VendorId(5));
        let (id, style) = (MessageId(u128::MAX / 3), IdStyle::Short);
        let submit = Submit {
            vendor: VendorId(6),
            carried: Carried {
                origin,
                id,
                style,
                customer: CustomerId(8),
                customer_home: ShardId(1),
                deadline: Time(77),
                refusal: CommandStatus::ESME_RMSGQFUL,
                tried,
                rate_per_msg: Amount::of_millionths(7_500),
                is_doubtful: true,
                facts: Facts {
                    registered_delivery: 1,
                    priority: 2,
                    is_untidy: true,
                    segments: 3,
                    registered_at: 600,
                    addresses: AddressPlaces(0x1234),
                    valid_until: Time::NEVER,
                },
            },
            pdu: b"submit",
        };
        for record in [
            Record::Submit(submit),
            Record::Await(Await { submit, vendor_message_id: b"theirs" }),
            Record::SubmitAnswer(SubmitAnswer {
                origin,
                status: CommandStatus::ESME_RTHROTTLED,
                id,
                style,
                vendor: VendorId(9),
                cost: Amount::of_millionths(u64::MAX / 3),
                octets: b"id",
            }),
            Record::Deliver(Deliver {
                origin: back,
                vendor: VendorId(1),
                customer: CustomerId(2),
                kept,
                is_final: false,
                has_version_5: true,
                is_double: true,
                pdu: b"deliver",
            }),
            Record::Settled { kept },
            Record::DeliverAnswer { origin: back, vendor: VendorId(1), status: CommandStatus::ESME_ROK },
            Record::VendorView { vendor: VendorId(1), is_up: true, is_full: false },
            Record::CustomerHome { customer: CustomerId(11) },
        ] {
            let mut bytes = Vec::new();
            record.write(&mut bytes);
            assert_eq!(bytes.len() - PREFIX, u32::from_le_bytes(*bytes.first_chunk().unwrap()) as usize);
            assert_eq!(Record::read(&bytes[PREFIX..]), record);
        }
    }
}
