//! The reference model: what must hold, beside the real code. It watches the octets that cross each shard's border
//! and what the model peers do, and panics with a sentence that names the seed. Single thread; never acts.

mod age;
mod costs;
mod customer_side;
mod final_checks;
mod journal;
mod limits;
mod live;
mod octets;
mod vendor_side;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use smpp_pdu::message::ShortMessage;
use smpp_pdu::{CommandId, CommandStatus, Deframed, Header, MessageState, deframe};
use smpp_shards::{Time, bounds};

use crate::counts::Counts;
use crate::network::NetId;
use crate::scenario::Scenario;
use crate::trace::Trace;
pub(crate) use costs::rate_of;
pub(crate) use limits::ReferenceBucket;
pub(crate) use octets::Octets;

/// Ends the run with a sentence that names the seed.
macro_rules! violation {
    ($model:expr, $($words:tt)*) => {
        panic!("seed {}: {}", $model.seed, format_args!($($words)*))
    };
}
pub(crate) use violation;

/// What must come of a message, as far as its sender alone decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Nothing in it is wrong.
    Routed,
    /// The source is not the customer's.
    SourceRefused,
    /// No rule matches.
    NoRoute,
    /// The body, its times or its flags are wrong; whatever is said, it is refused.
    Malformed,
}

/// A submit_sm of a model customer.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Whose.
    pub customer: usize,
    /// Over which connection.
    pub net: NetId,
    /// Under which sequence_number.
    pub sequence: u32,
    /// The whole PDU as it was sent.
    pub pdu: Octets,
    /// What must come of it.
    pub expect: Expect,
    /// The vendors that its route allows, as a set of bits.
    pub vendors: u64,
    /// registered_delivery as it was sent.
    pub registered: u8,
    /// Whether the session could be bound for submits when it was sent.
    pub may_have_been_bound: bool,
    /// Sent once faults were over: nothing but ESME_ROK will do.
    pub must_succeed: bool,
    /// When its shard got it.
    pub fed_at: Option<Time>,
    /// When, to whom and with what success it was sent on.
    pub emissions: Vec<Emission>,
    /// What the customer was told.
    pub answer: Option<Answer>,
    /// The id that its receipts carry or that its answer gave.
    pub id: Option<Vec<u8>>,
    /// Final receipts that the customer took.
    pub receipts_taken: u32,
    /// Final receipts that the customer refused for good.
    pub receipts_refused: u32,
    /// A vendor was told that its final receipt is safe.
    pub is_promised: bool,
    /// It was answered while its journal could not be written.
    pub was_told_unwritten: bool,
    /// The journal that a process found held it no more, or as one that a vendor has.
    pub is_over: bool,
    /// A record of it was damaged: nothing is told of its end.
    pub is_damaged: bool,
    /// Its receipt was in the journal for longer than it may be.
    pub is_receipt_expired: bool,
    /// In which process it was sent.
    pub life: u32,
    /// The connection over which the gateway's own receipt for it went and was not refused for the moment.
    pub own_over: Option<NetId>,
}

/// A message sent to a vendor.
#[derive(Clone, Debug)]
pub(crate) struct Emission {
    /// To which.
    pub vendor: usize,
    /// When the shard wrote it.
    pub at: Time,
    /// What the vendor said.
    pub outcome: Outcome,
    /// A part of a text that was cut for this vendor, and not the last one.
    pub is_part: bool,
    /// By which process.
    pub life: u32,
    /// Over which connection.
    pub net: NetId,
    /// The vendor's id for it, and that as its answer spells it.
    pub id: u64,
    /// See `id`.
    pub response_id: Vec<u8>,
    /// When the answer reached its shard, and in time.
    pub heard_at: Option<Time>,
    /// The answer reached its shard, in time or so little late that the timer may not have been looked at yet.
    pub may_be_heard: bool,
    /// When an ESME_ROK reached its shard that came too late for the timer, and still counts.
    pub late_at: Option<Time>,
    /// Since when the gateway has known that the vendor has it, under that id.
    pub known_at: Option<Time>,
}

/// What a vendor said to a submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing.
    Open,
    /// ESME_ROK.
    Taken,
    /// ESME_ROK, to a part of a text that was cut, and not to the last one.
    PartTaken,
    /// A refusal for now.
    Temporary(CommandStatus),
    /// A throttle: it uses up no try.
    Throttled(CommandStatus),
    /// A refusal for good.
    Permanent(CommandStatus),
}

/// What a customer was told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// The outcome.
    pub status: CommandStatus,
    /// When the shard wrote it.
    pub at: Time,
}

/// A deliver_sm of a model vendor: one attempt; a repetition is another one.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// Over which connection.
    pub net: NetId,
    /// What it is.
    pub kind: AttemptKind,
    /// When its shard got it.
    pub fed_at: Option<Time>,
    /// What the vendor was answered.
    pub acknowledged: Option<CommandStatus>,
    /// Whether the customer has answered ESME_ROK.
    pub taken: bool,
    /// The connection over which it was last offered to the customer.
    pub offered: Option<NetId>,
    /// The connection over which the customer has answered ESME_ROK.
    pub taken_over: Option<NetId>,
    /// The customer has refused it for good.
    pub is_refused: bool,
    /// An MO of which the vendor was told that it is safe.
    pub is_promised: bool,
    /// A record of it was damaged, or it was in the journal for longer than it may be.
    pub is_let_go: bool,
    /// Whose.
    pub vendor: usize,
    /// The vendor's id of its message.
    pub id: u64,
    /// The octets as the vendor sent them.
    pub pdu: Octets,
}

/// What a vendor delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptKind {
    /// A receipt for a message; for none that was ever sent where it is `None`.
    Receipt(Option<usize>, MessageState),
    /// A mobile-originated message and the customer whose number it went to.
    Mobile(Option<usize>),
}

/// A connection as the model sees it.
#[derive(Debug)]
struct Wire {
    side: WireSide,
    /// Octets of a PDU of which the shard has written only a part: never between two calls.
    skip: usize,
    /// The gateway has closed it or knows that it is gone.
    gone: bool,
    /// The gateway closes it in the call whose octets are being looked at.
    closing: bool,
    /// The peer has ended it.
    peer_gone: bool,
}

#[derive(Debug)]
enum WireSide {
    Customer(CustomerWire),
    Vendor(VendorWire),
}

/// A connection to a model customer.
#[derive(Debug, Default)]
struct CustomerWire {
    customer: usize,
    refusal: Option<CommandStatus>,
    sent_garbage: bool,
    feed: Vec<u8>,
    feed_is_lost: bool,
    bound: Option<(CommandId, u8)>,
    leaving: bool,
    requests: BTreeMap<u32, CommandId>,
    submits: BTreeMap<u32, usize>,
    offers: BTreeMap<u32, (Offer, Time)>,
}

/// What was offered to a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    /// An attempt of a vendor.
    Attempt(usize),
    /// The gateway's own receipt for a message; for one whose id was never told where it is `None`.
    Own(Option<usize>),
}

/// A connection to a model vendor.
#[derive(Debug, Default)]
struct VendorWire {
    vendor: usize,
    feed: Vec<u8>,
    bound: bool,
    submits: BTreeMap<u32, Open>,
    attempts: BTreeMap<u32, usize>,
    /// Answers on their way to the gateway: message and emission.
    answers: BTreeMap<u32, (usize, usize)>,
    /// It has answered an unbind: nothing that it says afterwards is heard.
    has_left: bool,
}

/// What parts of one text have in common: vendor, reference, source and destination.
type Text = (usize, u16, Vec<u8>, Vec<u8>);

/// A submit that a vendor has not answered.
#[derive(Clone, Copy, Debug)]
struct Open {
    message: usize,
    emission: usize,
    at: Time,
}

/// Everything that is known.
pub(crate) struct Model {
    seed: u64,
    scenario: Rc<Scenario>,
    wires: BTreeMap<NetId, Wire>,
    /// All messages, by number.
    pub messages: Vec<Message>,
    /// All attempts of vendors, by number.
    pub attempts: Vec<Attempt>,
    ids: BTreeMap<(usize, Vec<u8>), usize>,
    buckets: Vec<ReferenceBucket>,
    /// Which messages parts may belong to.
    cut: BTreeMap<Text, Vec<usize>>,
    /// How many processes there were before this one.
    life: u32,
    /// When the last of them was killed.
    crashed_at: Time,
    /// Shards that cannot write their journals.
    failing: BTreeSet<usize>,
    /// When a write failed last.
    last_failure: Time,
    /// When a vendor throttled the gateway last.
    pub(crate) throttled_at: Time,
    /// What was got by then is older than anything is kept, and was before that process started.
    off_at: Option<Time>,
    /// What was got by then is older than anything is kept, and so is what became of it.
    held_at: Option<Time>,
    /// When that was over.
    held_until: Time,
    /// Places in the journal that are damaged.
    damages: u64,
    /// From when on the gateway refuses because it stops.
    pub draining: bool,
    unused: live::Unused,
    /// Customers whose rates cannot be told from outside, for reading was stopped in between.
    blurred: Vec<bool>,
    /// How often something happened, for the report.
    pub counts: Counts,
}

impl Model {
    /// Knows nothing yet.
    pub(crate) fn new(seed: u64, scenario: Rc<Scenario>) -> Self {
        let buckets = scenario.settings.vendors.iter();
        let buckets = buckets.map(|vendor| ReferenceBucket::new(vendor.throughput, vendor.burst)).collect();
        let blurred = vec![false; scenario.customers.len()];
        Self {
            seed,
            scenario,
            wires: BTreeMap::new(),
            messages: Vec::new(),
            attempts: Vec::new(),
            ids: BTreeMap::new(),
            buckets,
            cut: BTreeMap::new(),
            life: 0,
            crashed_at: Time::default(),
            failing: BTreeSet::new(),
            last_failure: Time::default(),
            throttled_at: Time::default(),
            off_at: None,
            held_at: None,
            held_until: Time::default(),
            damages: 0,
            draining: false,
            unused: live::Unused::default(),
            blurred,
            counts: Counts::default(),
        }
    }

    /// A customer connects; `refusal` is what its bind must be answered, where it must be refused.
    pub(crate) fn customer_opened(&mut self, net: NetId, customer: usize, refusal: Option<CommandStatus>) {
        let side = WireSide::Customer(CustomerWire { customer, refusal, ..CustomerWire::default() });
        self.wires.insert(net, Wire { side, skip: 0, gone: false, closing: false, peer_gone: false });
    }

    /// A link to a vendor is connected.
    pub(crate) fn link_opened(&mut self, net: NetId, vendor: usize) {
        let side = WireSide::Vendor(VendorWire { vendor, ..VendorWire::default() });
        self.wires.insert(net, Wire { side, skip: 0, gone: false, closing: false, peer_gone: false });
    }

    /// The peer has ended the connection or sees that it is gone.
    pub(crate) fn peer_gone(&mut self, net: NetId) {
        if let Some(wire) = self.wires.get_mut(&net) {
            wire.peer_gone = true;
        }
    }

    /// The shard was told that the connection is gone.
    pub(crate) fn gateway_lost(&mut self, net: NetId, _now: Time) {
        self.gone(net);
    }

    /// The shard has closed the connection.
    pub(crate) fn gateway_closed(&mut self, net: NetId, _now: Time) {
        self.gone(net);
    }

    /// The shard closes the connection in the very call whose octets come next.
    pub(crate) fn gateway_closing(&mut self, net: NetId) {
        if let Some(wire) = self.wires.get_mut(&net) {
            wire.closing = true;
        }
    }

    fn gone(&mut self, net: NetId) {
        if let Some(wire) = self.wires.get_mut(&net) {
            wire.gone = true;
        }
    }

    /// A connection came to another shard, with octets that the shard it left had written already.
    pub(crate) fn adopted(&mut self, net: NetId, octets: usize, _now: Time) {
        if let Some(wire) = self.wires.get_mut(&net) {
            wire.skip += octets;
        }
    }

    /// A shard has stopped reading a bound session: when it looks at the octets it has is not seen from outside.
    pub(crate) fn reading_stopped(&mut self, net: NetId) {
        if let Some(Wire { side: WireSide::Customer(wire), .. }) = self.wires.get_mut(&net)
            && wire.bound.is_some()
        {
            self.blurred[wire.customer] = true;
        }
    }

    /// Octets are handed to a shard.
    pub(crate) fn fed(&mut self, net: NetId, octets: &[u8], now: Time) {
        let Some(wire) = self.wires.get_mut(&net) else { return };
        let (feed, lost) = match &mut wire.side {
            WireSide::Customer(wire) => (&mut wire.feed, Some(&mut wire.feed_is_lost)),
            WireSide::Vendor(wire) => (&mut wire.feed, None),
        };
        if lost.as_deref() == Some(&true) {
            return;
        }
        feed.extend_from_slice(octets);
        let mut headers = Vec::new();
        let mut used = 0;
        loop {
            match deframe(&feed[used..], bounds::PDU_BYTES_MAX) {
                Deframed::Pdu { header, pdu } => {
                    used += pdu.len();
                    headers.push(header);
                }
                Deframed::NeedMore { .. } => break,
                Deframed::Fatal { .. } => {
                    if let Some(lost) = lost {
                        *lost = true;
                    }
                    break;
                }
            }
        }
        feed.drain(..used);
        for header in headers {
            self.fed_pdu(net, header, now);
        }
    }

    fn fed_pdu(&mut self, net: NetId, header: Header, now: Time) {
        let wire = self.wires.get_mut(&net);
        if let Some(Wire { side: WireSide::Vendor(wire), .. }) = wire {
            if wire.has_left {
                return;
            }
            wire.has_left = header.command_id == CommandId::UNBIND_RESP;
        }
        match &self.wires[&net].side {
            WireSide::Customer(wire) if header.command_id == CommandId::SUBMIT_SM => {
                if let Some(&message) = wire.submits.get(&header.sequence_number) {
                    self.messages[message].fed_at = Some(now);
                }
            }
            WireSide::Vendor(wire)
                if matches!(header.command_id, CommandId::SUBMIT_SM_RESP | CommandId::GENERIC_NACK) =>
            {
                if let Some(&(message, emission)) = wire.answers.get(&header.sequence_number) {
                    let timeout = self.scenario.settings.vendors[wire.vendor].response_timeout_ms;
                    let emission = &mut self.messages[message].emissions[emission];
                    let waited = now.millis_since(emission.at);
                    emission.may_be_heard |= waited < timeout + verdict::LATE_MS_MAX;
                    let late_ms = self.scenario.settings.gateway.late_answer_ms;
                    if self.scenario.journal.is_some()
                        && emission.heard_at.is_none()
                        && emission.outcome == Outcome::Taken
                        && (timeout..timeout + late_ms).contains(&waited)
                    {
                        emission.may_be_heard = true;
                        emission.late_at = emission.late_at.or(Some(now));
                    }
                    if emission.heard_at.is_none() && waited < timeout {
                        emission.heard_at = Some(now);
                        emission.known_at = (emission.outcome == Outcome::Taken).then_some(now);
                    }
                }
            }
            WireSide::Vendor(wire) if header.command_id == CommandId::DELIVER_SM => {
                if let Some(&attempt) = wire.attempts.get(&header.sequence_number) {
                    self.attempts[attempt].fed_at = Some(now);
                }
            }
            _ => {}
        }
    }

    /// A shard has written octets for a connection: whole PDUs, always.
    pub(crate) fn emitted(&mut self, net: NetId, octets: &[u8], now: Time, trace: &Trace) {
        let Some(wire) = self.wires.get_mut(&net) else { return };
        let skipped = wire.skip.min(octets.len());
        wire.skip -= skipped;
        let mut rest = &octets[skipped..];
        while !rest.is_empty() {
            let Deframed::Pdu { header, pdu } = deframe(rest, bounds::PDU_BYTES_MAX) else {
                violation!(self, "a shard wrote what is no whole PDU to connection {}: {rest:02X?}", net.0);
            };
            rest = &rest[pdu.len()..];
            trace.line(now, format_args!("gateway to {}: {header:?}", self.name(net)));
            match self.wires[&net].side {
                WireSide::Customer(_) => self.emitted_to_customer(net, header, pdu, now),
                WireSide::Vendor(_) => self.emitted_to_vendor(net, header, pdu, now),
            }
        }
    }

    /// For a reader: who is at the far end.
    pub(crate) fn name(&self, net: NetId) -> String {
        match self.wires.get(&net).map(|wire| &wire.side) {
            Some(WireSide::Customer(wire)) => format!("customer {} on connection {}", wire.customer, net.0),
            Some(WireSide::Vendor(wire)) => format!("vendor {} on connection {}", wire.vendor, net.0),
            None => format!("connection {}", net.0),
        }
    }

    /// Requests of customers and deliveries of vendors without an answer, on connections that are still there.
    pub(crate) fn unanswered(&self) -> usize {
        let live = self.wires.values().filter(|wire| !wire.gone && !wire.peer_gone);
        live.map(|wire| match &wire.side {
            WireSide::Customer(wire) if wire.sent_garbage => 0,
            WireSide::Customer(wire) => wire.requests.len(),
            WireSide::Vendor(wire) => wire.attempts.len(),
        })
        .sum()
    }

    /// Everything that a customer asked over that connection has been answered.
    pub(crate) fn check_all_answered(&self, net: NetId, now: Time) {
        if self.is_just_held(now) {
            return;
        }
        if let Some(Wire { side: WireSide::Customer(wire), .. }) = self.wires.get(&net)
            && let Some((sequence, command)) = wire.requests.first_key_value()
        {
            let open = wire.requests.len();
            violation!(self, "{} has {open} requests without answer, such as {command:?} {sequence}", self.name(net));
        }
    }

    fn customer_wire(&mut self, net: NetId) -> &mut CustomerWire {
        match self.wires.get_mut(&net).map(|wire| &mut wire.side) {
            Some(WireSide::Customer(wire)) => wire,
            _ => panic!("seed {}: connection {} is no customer's", self.seed, net.0),
        }
    }

    fn vendor_wire(&mut self, net: NetId) -> &mut VendorWire {
        match self.wires.get_mut(&net).map(|wire| &mut wire.side) {
            Some(WireSide::Vendor(wire)) => wire,
            _ => panic!("seed {}: connection {} is no vendor's", self.seed, net.0),
        }
    }
}

/// The number that stands between two `#` in a text that a model peer wrote, which tells whose it is.
pub(crate) fn token_in(text: &[u8]) -> Option<usize> {
    // A text that was cut may begin within a token.
    let hashes = text.iter().enumerate().filter(|(_, octet)| **octet == b'#').map(|(at, _)| at);
    let tokens = hashes.clone().zip(hashes.skip(1)).map(|(start, end)| &text[start + 1..end]);
    tokens.filter_map(|token| core::str::from_utf8(token).ok()?.parse().ok()).next()
}

/// How an attempt is named in its service_type, the one free field that every way leaves alone.
pub(crate) fn attempt_name(attempt: usize) -> String {
    format!("{attempt:05X}")
}

/// The optional parameters of a message as pairs, without those that `leave_out` names.
fn tlvs_of<'a>(message: &ShortMessage<'a>, leave_out: &[smpp_pdu::Tag]) -> Vec<(u16, &'a [u8])> {
    message.tlvs.into_iter().filter(|tlv| !leave_out.contains(&tlv.tag)).map(|tlv| (tlv.tag.0, tlv.value)).collect()
}
