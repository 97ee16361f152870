//! Matching receipts to the messages that they are about, in whatever form the server writes ids.
//!
//! One tracker per worker thread; a customer's sessions are all on one worker when receipts are asked for.
//! An entry is kept from submit_sm_resp (or from a receipt that comes before it) until the match.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use smpp_pdu::id::in_lower_case;
use smpp_pdu::message::{ESM_INTERMEDIATE, ESM_TYPE_MASK, ShortMessage};
use smpp_pdu::tlv::Tag;

/// What a receipt turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// It closes a message that was sent at this time.
    Closed(u64),
    /// It speaks of a message whose submit_sm_resp has not come yet, or never will.
    Early,
    /// ENROUTE, ACCEPTD or an intermediate notification: the final one is still to come.
    Intermediate,
    /// Neither the text nor a TLV gives a message id.
    Unreadable,
}

/// Open messages, and receipts ahead of their answers.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    open: HashMap<u64, u64, Keyed>,
    early: HashMap<u64, u64, Keyed>,
}

impl Tracker {
    /// The server has accepted a message, sent at `sent`, under `id`. Gives the time of its receipt when that
    /// was there first.
    pub(super) fn accepted(&mut self, id: &[u8], sent: u64) -> Option<u64> {
        let key = key(id);
        if !self.early.is_empty()
            && let Some(received) = take(&mut self.early, key, id)
        {
            return Some(received);
        }
        self.open.insert(key, sent);
        None
    }

    /// A receipt that tells of that state has come at `now`.
    pub(super) fn receipt(&mut self, message: &ShortMessage<'_>, state: State, now: u64) -> Match {
        let Some(id) = receipt_id(message) else { return Match::Unreadable };
        if message.esm_class & ESM_TYPE_MASK == ESM_INTERMEDIATE || state.is_intermediate() {
            return Match::Intermediate;
        }
        let key = key(id);
        match take(&mut self.open, key, id) {
            Some(sent) => Match::Closed(sent),
            None => {
                self.early.insert(key, now);
                Match::Early
            }
        }
    }

    /// Accepted messages whose receipt has not come.
    pub(super) fn open(&self) -> u64 {
        self.open.len() as u64
    }

    /// Receipts that belong to no message: doubles, or strangers.
    pub(super) fn unmatched(&self) -> u64 {
        self.early.len() as u64
    }
}

/// Takes what is kept under an id, whose key that is, or under the same id written as another kind of number.
fn take(kept: &mut HashMap<u64, u64, Keyed>, key: u64, id: &[u8]) -> Option<u64> {
    kept.remove(&key).or_else(|| converted_keys(id).into_iter().flatten().find_map(|key| kept.remove(&key)))
}

/// Of the id without leading zeros, letters small.
#[inline]
fn key(id: &[u8]) -> u64 {
    let zeros = id.iter().take_while(|&&octet| octet == b'0').count();
    hash(&id[zeros.min(id.len().saturating_sub(1))..])
}

/// Of the id read as decimal and written in hex, and the other way round, where it can be.
fn converted_keys(id: &[u8]) -> [Option<u64>; 2] {
    // Sixty-four bits have no more digits.
    let text = if id.len() <= 20 { std::str::from_utf8(id).unwrap_or_default() } else { "" };
    let in_hex = text.parse::<u64>().ok().map(|number| format!("{number:x}"));
    let in_decimal = u64::from_str_radix(text, 16).ok().map(|number| number.to_string());
    [in_hex, in_decimal].map(|id| id.map(|id| key(id.as_bytes())))
}

/// What a receipt says of its message: the octet of message_state, or what the text's word means. Others are unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct State(u8);

impl State {
    const NAMES: [&str; 9] =
        ["SCHEDLD", "ENROUTE", "DELIVRD", "EXPIRED", "DELETED", "UNDELIV", "ACCEPTD", "UNKNOWN", "REJECTD"];
    const UNKNOWN: Self = Self(7);

    /// Of a receipt: the TLV's, or the text's where there is none.
    pub(super) fn of(message: &ShortMessage<'_>) -> Self {
        if let Some(state) = message.tlvs.find(Tag::MESSAGE_STATE).and_then(|tlv| tlv.integer()) {
            return u8::try_from(state).map_or(Self::UNKNOWN, Self::numbered);
        }
        let word = text_field(message.text(), b"stat:").unwrap_or_default();
        let found = Self::NAMES.iter().position(|name| name.as_bytes().eq_ignore_ascii_case(word));
        found.map_or(Self::UNKNOWN, |state| Self(state as u8))
    }

    fn numbered(octet: u8) -> Self {
        if usize::from(octet) < Self::NAMES.len() { Self(octet) } else { Self::UNKNOWN }
    }

    /// As a receipt's text has it.
    pub(super) fn name(self) -> &'static str {
        Self::NAMES[usize::from(self.0)]
    }

    fn is_intermediate(self) -> bool {
        matches!(self.name(), "SCHEDLD" | "ENROUTE" | "ACCEPTD")
    }
}

fn receipt_id<'a>(message: &ShortMessage<'a>) -> Option<&'a [u8]> {
    let tlv = message.tlvs.find(Tag::RECEIPTED_MESSAGE_ID).map(|tlv| tlv.c_octets());
    tlv.filter(|id| !id.is_empty()).or_else(|| text_field(message.text(), b"id:"))
}

/// The word behind `name`, which is looked for in any case at the text's front or behind a space.
fn text_field<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let starts = |at: usize| {
        (at == 0 || text[at - 1] == b' ')
            && text.get(at..at + name.len()).is_some_and(|word| word.eq_ignore_ascii_case(name))
    };
    let at = (0..text.len()).find(|&at| starts(at))? + name.len();
    let value = text[at..].trim_ascii_start();
    let end = value.iter().position(|octet| octet.is_ascii_whitespace() || *octet == 0).unwrap_or(value.len());
    Some(&value[..end]).filter(|value| !value.is_empty())
}

/// 64 bits over an id, letters small, mixed by 128-bit products; ten million open ids clash with a chance of one in 400,000.
#[inline]
fn hash(octets: &[u8]) -> u64 {
    let mix = |state: u64, word: [u8; 8]| {
        let word = in_lower_case(u64::from_le_bytes(word));
        folded(state ^ word, 0xD6E8_FEB8_6659_FD93) ^ 0xA076_1D64_78BD_642F
    };
    let (words, rest) = octets.as_chunks();
    let mut state = words.iter().fold(0x9E37_79B9_7F4A_7C15 ^ octets.len() as u64, |state, word| mix(state, *word));
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        state = mix(state, word);
    }
    folded(state, 0xE703_7ED1_A0B4_28DB)
}

/// The 128-bit product of two words, folded to 64.
#[inline]
fn folded(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}

/// Keys are hashes already.
type Keyed = BuildHasherDefault<Identity>;

#[derive(Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        self.0 = hash(octets);
    }

    #[inline]
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

#[cfg(test)]
mod tests {
    use smpp_pdu::command::CommandId;
    use smpp_pdu::{CommandStatus, Encoder};

    use super::*;

    fn receipt(text: &[u8], tlv_id: Option<&[u8]>) -> Vec<u8> {
        let mut out = Vec::new();
        let pdu = Encoder::new(&mut out, CommandId::DELIVER_SM, CommandStatus::ESME_ROK, 1)
            .octets(&[0, 1, 1, b'1', 0, 1, 1, b'2', 0, 4, 0, 0, 0, 0, 0, 0, 0, 0])
            .u8(text.len() as u8)
            .octets(text);
        match tlv_id {
            Some(id) => pdu.tlv(Tag::RECEIPTED_MESSAGE_ID, id).tlv(Tag::MESSAGE_STATE, &[2]).finish(),
            None => pdu.finish(),
        }
        out
    }

    fn outcome(accepted: &[u8], text: &[u8], tlv_id: Option<&[u8]>) -> Match {
        let mut tracker = Tracker::default();
        tracker.accepted(accepted, 7);
        arrives(&mut tracker, &receipt(text, tlv_id))
    }

    fn arrives(tracker: &mut Tracker, pdu: &[u8]) -> Match {
        let message = ShortMessage::decode(pdu).unwrap();
        tracker.receipt(&message, State::of(&message), 9)
    }

    #[test]
    fn every_form_of_an_id_matches() {
        for (accepted, text) in [
            (&b"4f2a"[..], &b"id:4f2a sub:001 stat:DELIVRD"[..]),
            (b"4f2a", b"ID:4F2A stat:DELIVRD"),
            (b"4f2a", b"id: 00004f2a stat:DELIVRD"),
            (b"4f2a", b"id:20266 stat:DELIVRD"),
            (b"20266", b"id:4F2A stat:DELIVRD"),
            (b"00020266", b"id:4F2A"),
            (b"0", b"id:0000 stat:DELIVRD"),
        ] {
            assert_eq!(outcome(accepted, text, None), Match::Closed(7), "{:?}", String::from_utf8_lossy(text));
        }
        assert_eq!(outcome(b"4f2a", b"", Some(b"4f2a\0")), Match::Closed(7));
        assert_eq!(outcome(b"4f2a", b"", Some(b"4F2A")), Match::Closed(7));
    }

    #[test]
    fn an_early_receipt_is_found_by_its_answer() {
        let mut tracker = Tracker::default();
        let pdu = receipt(b"id:20266 stat:DELIVRD", None);
        assert_eq!(arrives(&mut tracker, &pdu), Match::Early);
        assert_eq!(tracker.accepted(b"4f2a", 7), Some(9));
        assert_eq!((tracker.open(), tracker.unmatched()), (0, 0));
    }

    #[test]
    fn a_second_receipt_matches_nothing() {
        let mut tracker = Tracker::default();
        tracker.accepted(b"1", 7);
        let pdu = receipt(b"id:1 stat:DELIVRD", None);
        assert_eq!(arrives(&mut tracker, &pdu), Match::Closed(7));
        assert_eq!(arrives(&mut tracker, &pdu), Match::Early);
        assert_eq!(tracker.unmatched(), 1);
    }

    #[test]
    fn an_intermediate_receipt_closes_nothing() {
        assert_eq!(outcome(b"1", b"id:1 stat:ENROUTE", None), Match::Intermediate);
        assert_eq!(outcome(b"1", b"hello", None), Match::Unreadable);
    }

    #[test]
    fn the_state_is_read_from_text_or_tlv() {
        let state = |pdu: Vec<u8>| State::of(&ShortMessage::decode(&pdu).unwrap()).name();
        assert_eq!(state(receipt(b"id:1 Stat:undeliv err:001", None)), "UNDELIV");
        assert_eq!(state(receipt(b"", Some(b"1"))), "DELIVRD");
        assert_eq!(state(receipt(b"id:1", None)), "UNKNOWN");
    }
}
