//! One session of the fleet: its connection, its window of unanswered submits, and what it makes of PDUs.
//!
//! Owned by one worker. Nothing here makes a system call except through [`Wire`]; nothing allocates per
//! message.

use smpp_pdu::command::CommandId;
use smpp_pdu::frame::SEQUENCE_MAX;
use smpp_pdu::{CommandStatus, Header, encode};

use super::book::Book;
use super::message::Composer;
use crate::clock::SECOND;
use crate::wire::Wire;

/// Octets waiting for the socket beyond which a session submits no more.
const UNSENT_BYTES_MAX: usize = 1 << 20;

/// What a session is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Submits.
    Submitter,
    /// Takes receipts and messages.
    Receiver,
    /// Is bound and keeps alive.
    Idle,
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// To be connected once there is room for it and its time has come.
    Waiting,
    /// connect is under way.
    Connecting,
    /// The bind request is out (or waits for the TLS handshake).
    Binding,
    /// Bound.
    Bound,
    /// The server has unbound it; its last answers are on their way.
    Leaving,
    /// unbind is out.
    Unbinding,
    /// Gone.
    Closed,
}

/// What a PDU means for the session itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing.
    Nothing,
    /// The bind was taken.
    Bound,
    /// The bind was refused.
    Refused(CommandStatus),
    /// The server unbinds.
    ServerUnbinds,
    /// The server has answered our unbind.
    Unbound,
}

/// An unanswered submit; sequence number 0 marks a free slot.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    sequence: u32,
    sent: u64,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    /// Which customer, from 0.
    pub(super) customer: u32,
    pub(super) role: Role,
    pub(super) state: State,
    pub(super) wire: Option<Wire>,
    /// When the present state has taken too long, or (waiting) when it may end.
    pub(super) deadline: u64,
    /// When the next enquire_link is due.
    pub(super) next_enquire: u64,
    pub(super) outstanding: u32,
    window: u32,
    /// A power of two of slots; a submit sits in the one that its sequence number names.
    slots: Vec<Slot>,
    next_sequence: u32,
}

impl Session {
    /// A session not yet connected. `window` is 0 for one that never submits.
    pub(super) fn new(customer: u32, role: Role, window: u32) -> Self {
        let slots = if window == 0 { Vec::new() } else { vec![Slot::default(); window.next_power_of_two() as usize] };
        Self {
            customer,
            role,
            state: State::Waiting,
            wire: None,
            deadline: 0,
            next_enquire: u64::MAX,
            outstanding: 0,
            window,
            slots,
            next_sequence: 1,
        }
    }

    /// How many submits the window and the output have room for.
    #[inline]
    pub(super) fn room(&self) -> u32 {
        match &self.wire {
            Some(wire) if self.state == State::Bound && wire.unsent() < UNSENT_BYTES_MAX => {
                self.window - self.outstanding
            }
            _ => 0,
        }
    }

    /// Appends `count` submits, at most [`Session::room`], to the output; `stamp` is when they are sent or were due.
    #[inline]
    pub(super) fn submit(&mut self, composer: &mut Composer, count: u32, stamp: u64) {
        let Some(wire) = &mut self.wire else { return };
        let mask = self.slots.len() - 1;
        for _ in 0..count {
            let mut sequence = self.next_sequence;
            // A slot still taken by an old submit makes the number be skipped; the window is never larger
            // than the slots, so that a free one exists.
            while self.slots[sequence as usize & mask].sequence != 0 {
                sequence = following(sequence);
            }
            self.slots[sequence as usize & mask] = Slot { sequence, sent: stamp };
            self.next_sequence = following(sequence);
            composer.append(&mut wire.out, sequence);
        }
        self.outstanding += count;
    }

    /// The server has unbound it: nothing more is sent, what is open may still be answered.
    pub(super) fn leave(&mut self) {
        self.state = State::Leaving;
        self.next_enquire = u64::MAX;
    }

    /// Whether the server has unbound it and every submit has its end.
    pub(super) fn has_left(&self) -> bool {
        self.state == State::Leaving && self.outstanding == 0
    }

    /// A sequence number for a request other than submit_sm.
    pub(super) fn take_sequence(&mut self) -> u32 {
        let sequence = self.next_sequence;
        self.next_sequence = following(sequence);
        sequence
    }

    /// Takes in one PDU that came at `now`.
    #[inline]
    pub(super) fn on_pdu(&mut self, header: Header, pdu: &[u8], now: u64, book: &mut Book) -> Outcome {
        if header.command_id == CommandId::SUBMIT_SM_RESP {
            self.on_answer(header, pdu, now, book);
            return Outcome::Nothing;
        }
        self.on_other(header, pdu, now, book)
    }

    /// Frees the submits sent before `limit`, which count as never answered.
    pub(super) fn give_up_before(&mut self, limit: u64, book: &mut Book) {
        if self.outstanding == 0 {
            return;
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.sequence != 0 && slot.sent < limit) {
            *slot = Slot::default();
            self.outstanding -= 1;
            book.totals.unanswered += 1;
        }
    }

    /// Forgets the connection and what was open on it.
    pub(super) fn close(&mut self, book: &mut Book) {
        book.totals.cut_off += u64::from(self.outstanding);
        self.slots.fill(Slot::default());
        self.outstanding = 0;
        self.next_enquire = u64::MAX;
        self.state = State::Closed;
        self.wire = None;
    }

    #[inline]
    fn on_answer(&mut self, header: Header, pdu: &[u8], now: u64, book: &mut Book) {
        let at = header.sequence_number as usize & self.slots.len().wrapping_sub(1);
        match self.slots.get_mut(at) {
            Some(slot) if slot.sequence == header.sequence_number && slot.sequence != 0 => {
                book.answered(header.command_status, pdu, slot.sent, now);
                slot.sequence = 0;
                self.outstanding -= 1;
            }
            _ => book.totals.stray_answers += 1,
        }
    }

    fn on_other(&mut self, header: Header, pdu: &[u8], now: u64, book: &mut Book) -> Outcome {
        let Some(wire) = &mut self.wire else { return Outcome::Nothing };
        let (command, sequence) = (header.command_id, header.sequence_number);
        let ok = CommandStatus::ESME_ROK;
        match command {
            CommandId::DELIVER_SM => {
                book.delivered(pdu, now);
                encode::deliver_sm_resp(&mut wire.out, ok, sequence);
            }
            CommandId::DATA_SM => {
                book.totals.messages += 1;
                encode::Encoder::new(&mut wire.out, CommandId::DATA_SM_RESP, ok, sequence).u8(0).finish();
            }
            CommandId::ENQUIRE_LINK => {
                book.totals.enquire_links += 1;
                encode::header_only(&mut wire.out, CommandId::ENQUIRE_LINK_RESP, ok, sequence);
            }
            CommandId::UNBIND => {
                encode::header_only(&mut wire.out, CommandId::UNBIND_RESP, ok, sequence);
                return Outcome::ServerUnbinds;
            }
            CommandId::UNBIND_RESP => return Outcome::Unbound,
            CommandId::GENERIC_NACK if self.state == State::Binding => return Outcome::Refused(header.command_status),
            CommandId::GENERIC_NACK => self.on_answer(header, pdu, now, book),
            _ if self.state == State::Binding && command.is_response() => {
                return if header.command_status.is_ok() {
                    Outcome::Bound
                } else {
                    Outcome::Refused(header.command_status)
                };
            }
            CommandId::ALERT_NOTIFICATION | CommandId::OUTBIND => {}
            _ if command.is_response() => {}
            _ => encode::header_only(&mut wire.out, CommandId::GENERIC_NACK, CommandStatus::ESME_RINVCMDID, sequence),
        }
        Outcome::Nothing
    }
}

/// Where the first enquire_link of session `index` of `count` falls, so that a fleet does not send all at once.
pub(super) fn first_enquire(now: u64, interval: u64, index: usize, count: usize) -> u64 {
    if interval == 0 {
        return u64::MAX;
    }
    now + interval / 2 + (interval as u128 / 2 * index as u128 / count.max(1) as u128) as u64
}

/// How long a broken session waits before it connects again.
pub(super) const RECONNECT_AFTER: u64 = SECOND;

#[inline]
fn following(sequence: u32) -> u32 {
    if sequence >= SEQUENCE_MAX { 1 } else { sequence + 1 }
}
