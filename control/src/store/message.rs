//! A message as the store keeps it: put together from what shards have noted, written as JSON and read back.
//!
//! Pure functions; they live on the thread of the store, and on the control thread for answers.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use smpp_pdu::CommandStatus;
use smpp_pdu::coding::Alphabet;
use smpp_pdu::id::{IdForm, IdText, NormalId, parse_uuid};
use smpp_pdu::receipt::MessageState;
use smpp_shards::Amount;
use smpp_shards::feed::{Happening, Note, Remembered};
use smpp_shards::message_id::{IdStyle, MessageId};
use smpp_shards::settings::VendorIdFormat;

/// A message, with the fields of the platform's table of messages as far as they are known. Times are milliseconds since
/// 1970 UTC. Octets of addresses and names that are not ASCII stand as the Latin-1 characters of the same value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMessage<'a> {
    /// Our id, a UUID.
    pub id: Cow<'a, str>,
    /// Our id in the form that its customer got.
    pub message_id: Cow<'a, str>,
    /// account_id of its customer, or the system_id where there is none.
    pub customer_id: Cow<'a, str>,
    /// smpp_system_id of its customer.
    pub smpp_system_id: Cow<'a, str>,
    /// The vendor that has it: its row's id, or the instance_name where there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vendor_id: Option<Cow<'a, str>>,
    /// The vendor's id for it, as the vendor last wrote it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vendor_message_id: Option<Cow<'a, str>>,
    /// The sender as the customer gave it.
    pub source_addr: Cow<'a, str>,
    /// Its type of number.
    pub source_ton: u8,
    /// Its numbering plan.
    pub source_npi: u8,
    /// The destination as the customer gave it.
    pub dest_addr: Cow<'a, str>,
    /// Its type of number.
    pub dest_ton: u8,
    /// Its numbering plan.
    pub dest_npi: u8,
    /// `gsm7`, `ucs2`, `latin1` or `binary`.
    pub encoding: Cow<'a, str>,
    /// As the customer sent it.
    pub data_coding: u8,
    /// As the customer sent it.
    pub registered_delivery: u8,
    /// How far it has come.
    pub status: MessageStatus,
    /// What the latest receipt said: `delivered`, `expired`, … of the receipt table.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dlr_status: Option<Cow<'a, str>>,
    /// Short messages that it makes on the air.
    pub segments: u8,
    /// What it costs, once a vendor has it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cost: Option<Amount>,
    /// When its customer submitted it.
    pub submitted_at: u64,
    /// When the vendor took it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sent_at: Option<u64>,
    /// When its receipt said that it was delivered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub delivered_at: Option<u64>,
    /// When any of this last changed.
    pub updated_at: u64,
    /// Why it failed, such as `ESME_RINVDSTADR` or `UNDELIV`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failure_reason: Option<Cow<'a, str>>,
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageStatus {
    /// No vendor has it.
    Pending,
    /// A vendor has it.
    Sent,
    /// Its receipt says so.
    Delivered,
    /// It will not arrive.
    Failed,
    /// Its time was up.
    Expired,
    /// The network refused it.
    Rejected,
}

/// What is known of one message that is still to be written: its latest note, and the one that a vendor took it, for only
/// that one has the time and the vendor's own spelling of its id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) latest: Note<'a>,
    pub(super) sent: Option<Note<'a>>,
}

impl<'a> Known<'a> {
    /// The message as it is to be written.
    pub(super) fn message(&self) -> StoredMessage<'a> {
        let note = &self.latest;
        let vendors = self.sent.as_ref().unwrap_or(note);
        let (status, dlr_status, failure_reason) = standing(note.happening);
        let smpp_system_id = text(note.customer);
        let is_delivered = status == MessageStatus::Delivered;
        let has_vendor = matches!(note.happening, Happening::Sent | Happening::Receipt(_));
        let vendor_id = if vendors.vendor_id.is_empty() { vendors.vendor } else { vendors.vendor_id };
        StoredMessage {
            id: owned_id(note.id, IdStyle::Uuid),
            message_id: owned_id(note.id, note.style),
            customer_id: if note.account.is_empty() { smpp_system_id.clone() } else { text(note.account) },
            smpp_system_id,
            vendor_id: known(vendor_id),
            vendor_message_id: known(vendors.vendor_message_id),
            source_addr: text(note.source.addr),
            source_ton: note.source.ton,
            source_npi: note.source.npi,
            dest_addr: text(note.dest.addr),
            dest_ton: note.dest.ton,
            dest_npi: note.dest.npi,
            encoding: Alphabet::of_data_coding(note.data_coding, Alphabet::Gsm).name().into(),
            data_coding: note.data_coding,
            registered_delivery: note.registered_delivery,
            status,
            dlr_status: dlr_status.map(Cow::Borrowed),
            segments: note.segments,
            cost: has_vendor.then_some(note.cost),
            submitted_at: note.id.unix_ms(),
            sent_at: Some(vendors.sent_unix_ms).filter(|at| *at != 0),
            delivered_at: is_delivered.then_some(note.at_unix_ms),
            updated_at: note.at_unix_ms,
            failure_reason,
        }
    }
}

impl StoredMessage<'_> {
    /// What a shard needs to pass receipts of it on; `None` when this is no message of ours.
    pub(super) fn remembered(&self) -> Option<Remembered> {
        let id = MessageId(parse_uuid(self.id.as_bytes())?);
        let styles = [IdStyle::Uuid, IdStyle::Hex, IdStyle::Decimal, IdStyle::Short];
        let style = styles.into_iter().find(|style| *id.text(*style) == *self.message_id.as_bytes())?;
        Some(Remembered {
            id,
            style,
            registered_delivery: self.registered_delivery,
            data_coding: self.data_coding,
            segments: self.segments,
            cost: self.cost.unwrap_or_default(),
            customer: octets(&self.smpp_system_id),
            sent_unix_ms: self.sent_at.unwrap_or(self.submitted_at),
            source: (self.source_ton, self.source_npi, octets(&self.source_addr)),
            dest: (self.dest_ton, self.dest_npi, octets(&self.dest_addr)),
        })
    }
}

/// The one spelling of a vendor's message id, whatever form it came in: decimal digits of a number, a UUID in its usual
/// form, other texts in lower case without padding. Empty where there is no id.
pub(super) fn normal_id(raw: &[u8], format: VendorIdFormat) -> Vec<u8> {
    let form = match format {
        VendorIdFormat::Text => IdForm::Text,
        VendorIdFormat::Hex => IdForm::Hex,
        VendorIdFormat::Decimal => IdForm::Decimal,
    };
    match NormalId::new(raw, form) {
        NormalId::Number(number) => IdText::decimal(number).as_bytes().to_vec(),
        // Before its leading zeros go.
        NormalId::Text(text) => match parse_uuid(raw.trim_ascii()) {
            Some(number) => IdText::uuid(number).as_bytes().to_vec(),
            None => text.to_ascii_lowercase(),
        },
    }
}

fn standing(happening: Happening) -> (MessageStatus, Option<&'static str>, Option<Cow<'static, str>>) {
    match happening {
        Happening::Accepted => (MessageStatus::Pending, None, None),
        Happening::Sent => (MessageStatus::Sent, None, None),
        Happening::Failed { status, is_expired } => {
            let standing = if is_expired { MessageStatus::Expired } else { MessageStatus::Failed };
            (standing, None, Some(CommandStatus(status).to_string().into()))
        }
        Happening::Receipt(state) => {
            let state = MessageState::from_wire(state).unwrap_or(MessageState::Unknown);
            let (status, name) = match state {
                MessageState::Enroute => (MessageStatus::Sent, "enroute"),
                MessageState::Delivered => (MessageStatus::Delivered, "delivered"),
                MessageState::Expired => (MessageStatus::Expired, "expired"),
                MessageState::Deleted => (MessageStatus::Failed, "deleted"),
                MessageState::Undeliverable => (MessageStatus::Failed, "undeliverable"),
                MessageState::Accepted => (MessageStatus::Sent, "accepted"),
                MessageState::Unknown => (MessageStatus::Failed, "unknown"),
                MessageState::Rejected => (MessageStatus::Rejected, "rejected"),
            };
            let has_failed = !matches!(status, MessageStatus::Sent | MessageStatus::Delivered);
            (status, Some(name), has_failed.then(|| state.stat().into()))
        }
    }
}

fn owned_id(id: MessageId, style: IdStyle) -> Cow<'static, str> {
    id.text(style).iter().map(|octet| char::from(*octet)).collect::<String>().into()
}

fn known(octets: &[u8]) -> Option<Cow<'_, str>> {
    (!octets.is_empty()).then(|| text(octets))
}

/// Octets as text, and back with [`octets`], without loss.
fn text(octets: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(octets) {
        Ok(text) if octets.is_ascii() => text.into(),
        _ => octets.iter().map(|octet| char::from(*octet)).collect::<String>().into(),
    }
}

fn octets(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap_or(b'?')).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use smpp_pdu::Address;

    /// A note of a message that a vendor took a second after it was submitted.
    pub(crate) fn note(number: u64, happening: Happening) -> Note<'static> {
        let unix_ms: u64 = 1_700_000_000_000 + number;
        let has_vendor = happening != Happening::Accepted;
        Note {
            happening,
            at_unix_ms: unix_ms + 1_000,
            id: MessageId(u128::from(unix_ms << 16 | 0x7000) << 64 | 1 << 63 | u128::from(number)),
            style: IdStyle::Hex,
            registered_delivery: 1,
            data_coding: 8,
            segments: 2,
            cost: if has_vendor { Amount::of_millionths(15_000) } else { Amount::default() },
            sent_unix_ms: if has_vendor { unix_ms + 1_000 } else { 0 },
            source: Address { ton: 5, npi: 0, addr: b"Acm\xe9\"" },
            dest: Address { ton: 1, npi: 1, addr: b"447700900123" },
            customer: b"acme",
            account: b"account-7",
            vendor: if has_vendor { b"north" } else { b"" },
            vendor_id: b"",
            vendor_id_format: VendorIdFormat::Hex,
            vendor_message_id: if has_vendor { b"00FF" } else { b"" },
        }
    }

    #[test]
    fn what_is_written_reads_back_and_tells_a_shard_what_it_needs() {
        let sent = note(5, Happening::Sent);
        let message = Known { latest: sent, sent: Some(sent) }.message();
        let json = serde_json::to_vec(&message).unwrap();
        let read: StoredMessage<'static> = serde_json::from_slice(&json).unwrap();
        assert_eq!(read, message);
        let remembered = read.remembered().unwrap();
        assert_eq!((remembered.id, remembered.style), (sent.id, IdStyle::Hex));
        assert_eq!(remembered.source, (5, 0, b"Acm\xe9\"".to_vec()));
        assert_eq!((remembered.segments, remembered.cost), (2, sent.cost));
        assert_eq!(remembered.customer, b"acme");
        assert_eq!(remembered.sent_unix_ms, sent.sent_unix_ms);
    }

    #[test]
    fn the_json_has_the_platforms_names() {
        let sent = note(5, Happening::Sent);
        let receipt = Note { at_unix_ms: sent.at_unix_ms + 9, ..note(5, Happening::Receipt(2)) };
        let message = Known { latest: receipt, sent: Some(sent) }.message();
        let json: serde_json::Value = serde_json::to_value(&message).unwrap();
        assert_eq!(json["status"], "delivered");
        assert_eq!(json["dlr_status"], "delivered");
        assert_eq!(json["vendor_id"], "north");
        assert_eq!(json["vendor_message_id"], "00FF");
        assert_eq!(json["customer_id"], "account-7");
        assert_eq!(json["encoding"], "ucs2");
        assert_eq!((&json["segments"], &json["cost"]), (&2.into(), &0.015.into()));
        assert_eq!(json["submitted_at"], 1_700_000_000_005_u64);
        assert_eq!(json["sent_at"], 1_700_000_001_005_u64);
        assert_eq!(json["delivered_at"], 1_700_000_001_014_u64);
        assert!(json.get("failure_reason").is_none());
    }

    #[test]
    fn a_vendor_of_a_table_is_told_by_its_row_s_id() {
        let sent = Note { vendor_id: b"0192a456-789a-7def-8123-456789abcdef", ..note(5, Happening::Sent) };
        let message = Known { latest: sent, sent: Some(sent) }.message();
        assert_eq!(message.vendor_id.as_deref(), Some("0192a456-789a-7def-8123-456789abcdef"));
    }

    #[test]
    fn every_happening_has_its_status() {
        let status = |happening| {
            let latest = note(1, happening);
            let message = Known { latest, sent: None }.message();
            (message.status, message.dlr_status.map(Cow::into_owned), message.failure_reason.map(Cow::into_owned))
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(status(Happening::Accepted), (MessageStatus::Pending, None, None));
        let failed = Happening::Failed { status: 0x0B, is_expired: false };
        assert_eq!(status(failed), (MessageStatus::Failed, None, Some(CommandStatus(0x0B).to_string())));
        let expired = Happening::Failed { status: 0x62, is_expired: true };
        assert_eq!(status(expired).0, MessageStatus::Expired);
        assert_eq!(status(Happening::Receipt(5)), (MessageStatus::Failed, text("undeliverable"), text("UNDELIV")));
        assert_eq!(status(Happening::Receipt(1)), (MessageStatus::Sent, text("enroute"), None));
        assert_eq!(status(Happening::Receipt(8)).0, MessageStatus::Rejected);
    }

    #[test]
    fn an_id_has_one_spelling_in_whatever_form_it_comes() {
        let normal = |raw: &str, format| String::from_utf8(normal_id(raw.as_bytes(), format)).unwrap();
        assert_eq!(normal("00FF", VendorIdFormat::Hex), normal("255", VendorIdFormat::Decimal));
        assert_eq!(normal("00aB-c", VendorIdFormat::Text), normal("AB-C ", VendorIdFormat::Text));
        let uuid = "0192A456-789a-7def-8123-456789abcdef";
        assert_eq!(normal(uuid, VendorIdFormat::Text), uuid.to_ascii_lowercase());
        assert_eq!(normal("  ", VendorIdFormat::Text), "");
    }
}
