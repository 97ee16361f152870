//! Messages looked up in the store, and their receipts.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use smpp_pdu::id::parse_uuid;

use super::answer::{self, Answer, Refusal};
use super::call::Call;
use super::{probes, vendors};
use crate::store_lookup::StoredMessage;

/// How long the store may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// One message.
#[derive(Serialize, JsonSchema)]
pub(super) struct MessageFound {
    success: bool,
    message: StoredMessage,
}

/// The receipt of one message.
#[derive(Serialize, JsonSchema)]
pub(super) struct ReceiptFound {
    success: bool,
    message_id: String,
    /// `pending`, `sent`, `delivered`, `failed`, `expired` or `rejected`.
    status: String,
    /// What the last receipt told; null before the first.
    dlr_status: Option<String>,
    vendor_id: Option<String>,
    /// Milliseconds since 1970.
    submitted_at: Option<u64>,
    sent_at: Option<u64>,
    delivered_at: Option<u64>,
}

pub(super) async fn message(call: Call) -> Answer {
    let message = find(&call).await?;
    answer::ok(&MessageFound { success: true, message })
}

pub(super) async fn receipt(call: Call) -> Answer {
    let message = find(&call).await?;
    answer::ok(&ReceiptFound {
        success: true,
        message_id: message.id,
        status: message.status,
        dlr_status: message.dlr_status,
        vendor_id: message.vendor_id,
        submitted_at: message.submitted_at,
        sent_at: message.sent_at,
        delivered_at: message.delivered_at,
    })
}

async fn find(call: &Call) -> Result<StoredMessage, Refusal> {
    let id = call.variable().to_ascii_lowercase();
    if id.len() != 36 || parse_uuid(id.as_bytes()).is_none() {
        return Err(Refusal::not_found("There is no message of that id; ids are UUIDs of 36 characters."));
    }
    if call.site.snapshot().version == 0 {
        // The store is opened with the rest, so that none is here yet, whatever is configured.
        return Err(Refusal::unavailable("not_ready", probes::WAITING));
    }
    let Some(store) = &call.site.attachments.messages else {
        let message = "No message store is configured, so that messages cannot be looked up.";
        return Err(Refusal::unavailable("store_unavailable", message));
    };
    match tokio::time::timeout(PATIENCE, store.message(&id)).await {
        Ok(Ok(Some(mut message))) => {
            // What was written while vendors had no other id has the instance_name.
            let snapshot = call.site.snapshot();
            let vendor = message.vendor_id.as_deref().and_then(|name| snapshot.vendor_by_name(name));
            message.vendor_id = vendor.map(vendors::key_of).or(message.vendor_id);
            Ok(message)
        }
        Ok(Ok(None)) => Err(Refusal::not_found(format!("There is no message {id}, or it is no longer kept."))),
        Ok(Err(reason)) => Err(Refusal::unavailable("store_unavailable", reason)),
        Err(_) => Err(Refusal::unavailable("store_unavailable", "The message store did not answer in time.")),
    }
}
