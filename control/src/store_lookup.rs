//! How the control port looks a message up: the contract of whatever keeps them.
//!
//! Called on the control thread. An implementation answers within seconds or says that it cannot; it never blocks.

use std::future::Future;
use std::pin::Pin;

use schemars::JsonSchema;
use serde::Serialize;

/// What is kept of a message (spec.md, "Messages" and "Delivery receipts"). Times are milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct StoredMessage {
    /// The id, a UUID.
    pub id: String,
    /// The sender, as the customer gave it.
    pub source_addr: Option<String>,
    /// The destination, as the customer gave it.
    pub dest_addr: Option<String>,
    /// `gsm7`, `ucs2`, `latin1` or `binary`.
    pub encoding: Option<String>,
    /// Whose.
    pub customer_id: Option<String>,
    /// The vendor that has it.
    pub vendor_id: Option<String>,
    /// That vendor's id for it.
    pub vendor_message_id: Option<String>,
    /// `pending`, `sent`, `delivered`, `failed`, `expired` or `rejected`.
    pub status: String,
    /// The state that its last receipt told: `delivered`, `expired`, `deleted`, `undeliverable`, `accepted`, `unknown`,
    /// `rejected` or `enroute`.
    pub dlr_status: Option<String>,
    /// Short messages that it makes on the air.
    pub segments: Option<u32>,
    /// What it costs by the rule's `rate_per_msg`, all short messages together; null while no vendor has it.
    pub cost: Option<f64>,
    /// When it was accepted.
    pub submitted_at: Option<u64>,
    /// When a vendor took it.
    pub sent_at: Option<u64>,
    /// When its last receipt came.
    pub delivered_at: Option<u64>,
    /// Why it failed.
    pub failure_reason: Option<String>,
}

/// What comes of a look-up: the message, `None` where there is no such one, or a sentence why nobody can tell now.
pub type Lookup<'a> = Pin<Box<dyn Future<Output = Result<Option<StoredMessage>, String>> + Send + 'a>>;

/// Finds messages by their id.
pub trait MessageLookup: Send + Sync {
    /// The message of that id, a UUID in lower case.
    fn message<'a>(&'a self, id: &'a str) -> Lookup<'a>;
}
