//! The store as the control port sees it.

use smpp_pdu::id::parse_uuid;
use smpp_shards::message_id::MessageId;

use super::Store;
use super::message::{MessageStatus, StoredMessage};
use crate::store_lookup::{Lookup, MessageLookup, StoredMessage as Told};

impl MessageLookup for Store {
    fn message<'a>(&'a self, id: &'a str) -> Lookup<'a> {
        Box::pin(async move {
            let Some(id) = parse_uuid(id.as_bytes()) else { return Ok(None) };
            match Store::message(self, MessageId(id)).await {
                Ok(found) => Ok(found.map(told)),
                Err(error) => Err(format!("{error}")),
            }
        })
    }
}

fn told(message: StoredMessage<'_>) -> Told {
    let status = match message.status {
        MessageStatus::Pending => "pending",
        MessageStatus::Sent => "sent",
        MessageStatus::Delivered => "delivered",
        MessageStatus::Failed => "failed",
        MessageStatus::Expired => "expired",
        MessageStatus::Rejected => "rejected",
    };
    Told {
        id: message.id.into_owned(),
        source_addr: Some(message.source_addr.into_owned()),
        dest_addr: Some(message.dest_addr.into_owned()),
        encoding: Some(message.encoding.into_owned()),
        customer_id: Some(message.customer_id.into_owned()),
        vendor_id: message.vendor_id.map(|id| id.into_owned()),
        vendor_message_id: message.vendor_message_id.map(|id| id.into_owned()),
        status: status.to_owned(),
        dlr_status: message.dlr_status.map(|status| status.into_owned()),
        segments: Some(u32::from(message.segments)),
        cost: message.cost.map(f64::from),
        submitted_at: Some(message.submitted_at),
        sent_at: message.sent_at,
        delivered_at: message.delivered_at,
        failure_reason: message.failure_reason.map(|reason| reason.into_owned()),
    }
}
