//! One ESME's connection to the simulated SMSC: its bind, and its window of unanswered deliver_sm.
//!
//! Owned by the event loop.

use smpp_pdu::frame::SEQUENCE_MAX;

use super::delivery::Delivery;
use super::options::SmscOptions;
use crate::clock::ReceiptDate;
use crate::wire::Wire;

/// Octets waiting for the socket beyond which no deliver_sm is added.
const UNSENT_BYTES_MAX: usize = 256 * 1024;

/// What a connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// Not bound.
    No,
    /// bind_transmitter.
    Transmitter,
    /// bind_receiver.
    Receiver,
    /// bind_transceiver.
    Transceiver,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) wire: Wire,
    /// Tells this connection from others that have had its place.
    pub(super) generation: u32,
    pub(super) bound: Bound,
    /// The account of its system_id once bound.
    pub(super) account: usize,
    /// submit_sm received on it.
    pub(super) submits: u64,
    /// Of these, not answered yet.
    pub(super) unanswered: u64,
    /// To be closed once its output is written.
    pub(super) closing: bool,
    /// Whether it is in the list of those to be flushed.
    pub(super) dirty: bool,
    pub(super) next_enquire: u64,
    slots: Vec<Option<(u32, Delivery)>>,
    outstanding: u32,
    next_sequence: u32,
}

impl Connection {
    pub(super) fn new(wire: Wire, generation: u32) -> Self {
        Self {
            wire,
            generation,
            bound: Bound::No,
            account: usize::MAX,
            submits: 0,
            unanswered: 0,
            closing: false,
            dirty: false,
            next_enquire: u64::MAX,
            slots: Vec::new(),
            outstanding: 0,
            next_sequence: 1,
        }
    }

    /// Whether it may submit.
    #[inline]
    pub(super) fn can_submit(&self) -> bool {
        matches!(self.bound, Bound::Transmitter | Bound::Transceiver)
    }

    /// Whether it takes deliver_sm.
    pub(super) fn can_receive(&self) -> bool {
        matches!(self.bound, Bound::Receiver | Bound::Transceiver)
    }

    /// Whether one more deliver_sm has room.
    pub(super) fn has_room(&self, options: &SmscOptions) -> bool {
        self.can_receive()
            && !self.closing
            && self.outstanding < options.deliver_window
            && self.wire.unsent() < UNSENT_BYTES_MAX
    }

    /// Appends a deliver_sm; call only with [`Connection::has_room`].
    pub(super) fn deliver(&mut self, delivery: Delivery, now: ReceiptDate, options: &SmscOptions) {
        if self.slots.is_empty() {
            self.slots = vec![None; options.deliver_window.next_power_of_two() as usize];
        }
        let mask = self.slots.len() - 1;
        let mut sequence = self.next_sequence;
        while self.slots[sequence as usize & mask].is_some() {
            sequence = following(sequence);
        }
        self.next_sequence = following(sequence);
        let (_, delivery) = self.slots[sequence as usize & mask].insert((sequence, delivery));
        delivery.tries = delivery.tries.saturating_add(1);
        delivery.encode(&mut self.wire.out, sequence, now, options);
        self.outstanding += 1;
    }

    /// The deliver_sm that an answer belongs to.
    pub(super) fn answered(&mut self, sequence: u32) -> Option<Delivery> {
        let at = sequence as usize & self.slots.len().wrapping_sub(1);
        let slot = self.slots.get_mut(at)?;
        let (_, delivery) = slot.take_if(|(open, _)| *open == sequence)?;
        self.outstanding -= 1;
        Some(delivery)
    }

    /// A sequence number for another request.
    pub(super) fn take_sequence(&mut self) -> u32 {
        let sequence = self.next_sequence;
        self.next_sequence = following(sequence);
        sequence
    }

    /// What was not acknowledged, when the connection ends.
    pub(super) fn take_open(&mut self) -> impl Iterator<Item = Delivery> {
        self.outstanding = 0;
        std::mem::take(&mut self.slots).into_iter().flatten().map(|(_, delivery)| delivery)
    }
}

fn following(sequence: u32) -> u32 {
    if sequence >= SEQUENCE_MAX { 1 } else { sequence + 1 }
}
