//! What the gateway must know of a submit_sm apart from its octets, and the checks that depend on nothing but them.

use smpp_pdu::coding::Alphabet;
use smpp_pdu::concat::{Reference, part_count};
use smpp_pdu::frame::HEADER_LENGTH;
use smpp_pdu::message::{ESM_UDHI, SHORT_MESSAGE_MAX};
use smpp_pdu::time::SmppTime;
use smpp_pdu::{CommandStatus, ShortMessage, Tag};

use crate::snapshot::Statuses;
use crate::time::{Now, Time};

/// Octets of a text that is one short message in any alphabet.
const SINGLE_BYTES: usize = 140;

/// What the gateway must know of a submit_sm apart from its octets. Read once, when it comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Facts {
    /// registered_delivery as the customer sent it.
    pub registered_delivery: u8,
    /// priority_flag, 0 to 3.
    pub priority: u8,
    /// Where registered_delivery stands.
    pub registered_at: u16,
    /// Where the addresses stand.
    pub addresses: AddressPlaces,
    /// It cannot be copied as it is for every peer: stray octets stand behind the body, or TLVs of SMPP 5.0 in it, or its text
    /// is longer than SMPP 3.4 has it, or there are two of which one is empty.
    pub is_untidy: bool,
    /// Short messages that it makes on the air, 1 to 255. One that is a part of a longer message is one.
    pub segments: u8,
    /// When its validity ends.
    pub valid_until: Time,
}

/// Where the addresses of a submit_sm stand, told by the lengths of service_type (0 to 5), source_addr and destination_addr (0 to
/// 20).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AddressPlaces(pub(crate) u16);

impl AddressPlaces {
    /// In that message.
    #[inline]
    pub fn of(message: &ShortMessage<'_>) -> Self {
        let [service_type, source, dest] =
            [message.service_type, message.source.addr, message.dest.addr].map(|field| field.len() as u16);
        Self(service_type << 10 | source << 5 | dest)
    }

    /// Where source_addr_ton stands, and octets of source_addr.
    #[inline]
    pub const fn source(self) -> (usize, usize) {
        (HEADER_LENGTH + (self.0 >> 10) as usize + 1, (self.0 >> 5 & 0x1F) as usize)
    }

    /// Where dest_addr_ton stands, and octets of destination_addr.
    #[inline]
    pub const fn dest(self) -> (usize, usize) {
        let (source, length) = self.source();
        (source + 2 + length + 1, (self.0 & 0x1F) as usize)
    }
}

impl Facts {
    /// Of a message that was checked when it was accepted, before this start.
    pub(crate) fn restored(pdu: &[u8], accepted_unix_ms: u64, now: Now) -> Self {
        let Ok(message) = ShortMessage::decode(pdu) else { return Self::default() };
        let valid_until = SmppTime::parse(message.validity_period).map_or(Time::NEVER, |time| {
            now.mono.after_ms(time.unix_millis(accepted_unix_ms).saturating_sub(now.unix_ms))
        });
        Self {
            registered_delivery: message.registered_delivery,
            priority: message.priority_flag,
            registered_at: message.offsets.registered_delivery as u16,
            addresses: AddressPlaces::of(&message),
            is_untidy: is_long(&message) || check_optional(&message).unwrap_or(true),
            segments: segments(&message),
            valid_until,
        }
    }

    /// Reads and checks what does not depend on the customer.
    ///
    /// # Errors
    /// The command_status of the refusal.
    // Always in place: handed over in memory, its octets would be written one by one and read as words, which waits.
    #[inline(always)]
    pub fn read(message: &ShortMessage<'_>, statuses: &Statuses, now: Now) -> Result<Self, CommandStatus> {
        let mut facts = Self {
            registered_delivery: message.registered_delivery,
            priority: message.priority_flag,
            registered_at: message.offsets.registered_delivery as u16,
            addresses: AddressPlaces::of(message),
            is_untidy: is_long(message),
            segments: segments(message),
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
            facts.is_untidy |= check_optional(message)?;
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

/// Whether short_message is longer than SMPP 3.4 has it.
#[inline]
const fn is_long(message: &ShortMessage<'_>) -> bool {
    message.short_message.len() > SHORT_MESSAGE_MAX
}

/// Whether stray octets follow the TLVs, some are of SMPP 5.0, or one is an empty second text; refuses what contradicts itself.
fn check_optional(message: &ShortMessage<'_>) -> Result<bool, CommandStatus> {
    let (mut whole, mut is_untidy) = (0, false);
    for tlv in message.tlvs {
        whole += 4 + tlv.value.len();
        is_untidy |= tlv.tag.is_version_5();
        match tlv.tag {
            Tag::MESSAGE_PAYLOAD if !message.short_message.is_empty() => {
                if !tlv.value.is_empty() {
                    return Err(CommandStatus::ESME_RINVMSGLEN);
                }
                is_untidy = true;
            }
            Tag::SAR_MSG_REF_NUM if message.esm_class & ESM_UDHI != 0 => {
                return Err(CommandStatus::ESME_RINVESMCLASS);
            }
            _ => {}
        }
    }
    Ok(is_untidy || whole != message.tlvs.as_bytes().len())
}

/// Short messages that a submit_sm makes on the air.
#[inline]
fn segments(message: &ShortMessage<'_>) -> u8 {
    let text = message.text();
    if text.len() <= SINGLE_BYTES {
        return 1;
    }
    count_segments(message, text)
}

#[cold]
fn count_segments(message: &ShortMessage<'_>, text: &[u8]) -> u8 {
    if message.esm_class & ESM_UDHI != 0 || message.tlvs.find(Tag::SAR_MSG_REF_NUM).is_some() {
        return 1;
    }
    let alphabet = Alphabet::of_data_coding(message.data_coding, Alphabet::Gsm);
    u8::try_from(part_count(text, alphabet, Reference::Eight(0))).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use smpp_pdu::{Address, CommandId, encode};

    use super::*;

    #[test]
    fn addresses_are_found_where_they_stand() {
        for (service_type, source, dest) in [
            ("", "", ""),
            ("", "1202", "15550000"),
            ("VMA", "", "4"),
            ("12345", "12345678901234567890", "09876543210987654321"),
        ] {
            let message = ShortMessage {
                service_type: service_type.as_bytes(),
                source: Address { ton: 5, npi: 1, addr: source.as_bytes() },
                dest: Address { ton: 1, npi: 2, addr: dest.as_bytes() },
                ..ShortMessage::default()
            };
            let mut pdu = Vec::new();
            encode::short_message(&mut pdu, CommandId::SUBMIT_SM, 1, &message);
            let read = ShortMessage::decode(&pdu).unwrap();
            let places = AddressPlaces::of(&read);
            assert_eq!(places.source(), (read.offsets.source, source.len()));
            assert_eq!(places.dest(), (read.offsets.dest, dest.len()));
        }
    }

    fn count(length: usize, data_coding: u8, esm_class: u8) -> u8 {
        let text = vec![b'a'; length];
        segments(&ShortMessage { short_message: &text, data_coding, esm_class, ..ShortMessage::default() })
    }

    #[test]
    fn segments_are_counted_by_alphabet_and_a_part_is_one() {
        assert_eq!(count(0, 0, 0), 1);
        assert_eq!(count(160, 0, 0), 1);
        assert_eq!(count(161, 0, 0), 2);
        assert_eq!(count(140, 8, 0), 1);
        assert_eq!(count(142, 8, 0), 2);
        assert_eq!(count(200, 4, 0), 2);
        assert_eq!(count(200, 0, ESM_UDHI), 1);
    }
}
