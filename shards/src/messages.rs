//! The messages that wait for a vendor on this shard: in its queue, in a window, for a retry, or for another shard.

use smpp_pdu::message::{ESM_UDHI, ShortMessage};
use smpp_pdu::time::SmppTime;
use smpp_pdu::{CommandStatus, Tag};

use crate::bounds::{BODY_KEEP_BYTES, MESSAGE_TIMER_STEP_MS, MESSAGES_MAX};
use crate::deadlines::Deadlines;
use crate::lane::Ticket;
use crate::message_id::{IdStyle, MessageId};
use crate::names::{CustomerId, LinkId, ShardId, VendorId};
use crate::snapshot::Statuses;
use crate::time::{Now, Time};
use crate::tried::Tried;
use crate::wire::Origin;

/// What a message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum MessageState {
    /// Nothing: the slot is free.
    #[default]
    Free,
    /// A place in a link's window.
    Queued,
    /// The vendor's answer, on that link under that sequence_number.
    InFlight(LinkId, u32),
    /// The time of its next try.
    Retrying,
    /// The answer of another shard.
    HandedOn,
}

/// What the gateway must know of a submit_sm apart from its octets. Read once, when it comes in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    /// registered_delivery as the customer sent it.
    pub(crate) registered_delivery: u8,
    pub(crate) priority: u8,
    /// Where registered_delivery stands.
    pub(crate) registered_at: u16,
    /// Stray octets stand behind the body, so that it cannot be copied as it is.
    pub(crate) is_untidy: bool,
    /// When its validity ends.
    pub(crate) valid_until: Time,
}

impl Facts {
    /// Reads and checks what does not depend on the customer.
    ///
    /// # Errors
    /// The command_status of the refusal.
    #[inline]
    pub(crate) fn read(message: &ShortMessage<'_>, statuses: &Statuses, now: Now) -> Result<Self, CommandStatus> {
        let mut facts = Self {
            registered_delivery: message.registered_delivery,
            priority: message.priority_flag,
            registered_at: message.offsets.registered_delivery as u16,
            is_untidy: false,
            valid_until: Time::NEVER,
        };
        if message.dest.addr.is_empty() {
            return Err(CommandStatus::ESME_RINVDSTADR);
        }
        if message.priority_flag > 3 {
            return Err(CommandStatus::ESME_RINVPRTFLG);
        }
        if !message.schedule_delivery_time.is_empty() {
            return Err(statuses.schedule);
        }
        if !message.validity_period.is_empty() {
            facts.valid_until = validity(message.validity_period, statuses, now)?;
        }
        if !message.tlvs.as_bytes().is_empty() {
            facts.is_untidy = check_optional(message)?;
        }
        Ok(facts)
    }
}

#[cold]
fn validity(text: &[u8], statuses: &Statuses, now: Now) -> Result<Time, CommandStatus> {
    let time = SmppTime::parse(text).map_err(|_| CommandStatus::ESME_RINVEXPIRY)?;
    match time.unix_millis(now.unix_ms).checked_sub(now.unix_ms) {
        None | Some(0) => Err(statuses.expired),
        Some(millis) => Ok(now.mono.after_ms(millis)),
    }
}

/// Whether stray octets follow the TLVs; refuses what contradicts itself.
fn check_optional(message: &ShortMessage<'_>) -> Result<bool, CommandStatus> {
    let mut whole = 0;
    for tlv in message.tlvs {
        whole += 4 + tlv.value.len();
        match tlv.tag {
            Tag::MESSAGE_PAYLOAD if !message.short_message.is_empty() && !tlv.value.is_empty() => {
                return Err(CommandStatus::ESME_RINVMSGLEN);
            }
            Tag::SAR_MSG_REF_NUM if message.esm_class & ESM_UDHI != 0 => {
                return Err(CommandStatus::ESME_RINVESMCLASS);
            }
            _ => {}
        }
    }
    Ok(whole != message.tlvs.as_bytes().len())
}

/// A message on its way to a vendor.
#[derive(Debug, Default)]
pub(crate) struct Message {
    pub(crate) generation: u32,
    pub(crate) state: MessageState,
    pub(crate) vendor: VendorId,
    pub(crate) customer: CustomerId,
    pub(crate) customer_home: ShardId,
    pub(crate) origin: Origin,
    pub(crate) id: MessageId,
    pub(crate) style: IdStyle,
    pub(crate) facts: Facts,
    /// Tries at the present vendor.
    pub(crate) attempts: u32,
    /// When it must have been answered, unless it is in flight then.
    pub(crate) deadline: Time,
    /// What a vendor last said; ESME_ROK when none has said anything.
    pub(crate) refusal: CommandStatus,
    pub(crate) tried: Tried,
    /// The submit_sm as the customer sent it.
    pub(crate) pdu: Vec<u8>,
}

/// The slots of one shard.
#[derive(Debug)]
pub(crate) struct Messages {
    slots: Vec<Message>,
    free: Vec<u32>,
    due: Deadlines,
}

impl Messages {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), due: Deadlines::new(MESSAGE_TIMER_STEP_MS) }
    }

    /// How many slots are in use.
    pub(crate) fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// A slot with the body filled in and everything else as its last user left it; `None` at the bound.
    #[inline]
    pub(crate) fn allocate(&mut self, pdu: &[u8]) -> Option<u32> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < MESSAGES_MAX => {
                self.slots.push(Message::default());
                (self.slots.len() - 1) as u32
            }
            None => return None,
        };
        let message = &mut self.slots[slot as usize];
        debug_assert_eq!(message.state, MessageState::Free);
        message.pdu.clear();
        message.pdu.extend_from_slice(pdu);
        Some(slot)
    }

    /// Frees a slot.
    #[inline]
    pub(crate) fn free(&mut self, slot: u32) {
        let message = &mut self.slots[slot as usize];
        debug_assert_ne!(message.state, MessageState::Free);
        message.state = MessageState::Free;
        message.generation = message.generation.wrapping_add(1);
        if message.pdu.capacity() > BODY_KEEP_BYTES {
            message.pdu = Vec::new();
        }
        self.due.set(slot as usize, Time::NEVER);
        self.free.push(slot);
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> &Message {
        &self.slots[slot as usize]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> &mut Message {
        &mut self.slots[slot as usize]
    }

    /// Whether the ticket's message is still the one in its slot and still queued.
    #[inline]
    pub(crate) fn is_queued(&self, ticket: Ticket) -> bool {
        let message = &self.slots[ticket.slot as usize];
        message.generation == ticket.generation && message.state == MessageState::Queued
    }

    #[inline]
    pub(crate) fn ticket(&self, slot: u32) -> Ticket {
        Ticket { slot, generation: self.slots[slot as usize].generation }
    }

    #[inline]
    pub(crate) fn set_due(&mut self, slot: u32, due: Time) {
        self.due.set(slot as usize, due);
    }

    pub(crate) fn next_due(&self) -> Time {
        self.due.next()
    }

    #[inline]
    pub(crate) fn expire(&mut self, now: Time, into: &mut Vec<u32>) {
        self.due.expire(now, into);
    }
}
