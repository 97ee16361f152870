//! Messages sent through the control port: encoded, split, and handed to their customer's home shard, where they pass the
//! checks of a submit_sm.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use smpp_pdu::CommandStatus;
use smpp_shards::message_id::IdStyle;
use smpp_shards::{Command, CustomerId, Reply, Snapshot};

use super::answer::{self, Answer, FieldFault, Refusal};
use super::call::Call;
use super::probes;
use super::vendors::too_many_commands;
use crate::log::status_name;
use crate::texting::{self, Fault, Text};

/// How much longer than its deadline an answer of relay mode may take, and the longest that is waited in all.
const GRACE: Duration = Duration::from_secs(1);
const PATIENCE_MAX: Duration = Duration::from_secs(25);

/// With a journal an answer is a commit away.
const COMMIT_PATIENCE: Duration = Duration::from_secs(10);

/// A message to be sent.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMessage {
    /// The destination: digits, with or without a leading +.
    #[schemars(length(min = 1, max = 16), regex(pattern = r"^\+?[0-9]{1,15}$"))]
    to: String,
    /// The sender: a number, a short code, or a name of at most 11 characters. It must be one of the customer's.
    #[schemars(schema_with = "sender_schema")]
    from: String,
    /// The text. Sent in GSM 03.38 where that has every character, else in UCS-2; split where it does not fit.
    #[schemars(length(min = 1))]
    content: String,
    /// Whether the customer's bind is to get a receipt.
    #[serde(default)]
    dlr_requested: bool,
    /// Whose message it is: a customer_id or smpp_system_id.
    customer_id: String,
}

/// A message that was accepted.
#[derive(Serialize, JsonSchema)]
pub(super) struct MessageAccepted {
    success: bool,
    /// The id of the message, or of its first part.
    message_id: String,
    /// The id of each part, in order.
    message_ids: Vec<String>,
    /// The same ids as receipts on the customer's binds name them.
    smpp_message_ids: Vec<String>,
    /// How many parts there are.
    segments: usize,
    /// `gsm7` or `ucs2`.
    encoding: &'static str,
    customer_id: String,
}

pub(super) async fn send(call: Call) -> Answer {
    let message: NewMessage = call.json()?;
    if call.site.state.is_recovering() {
        // The customer's home is found by what the journal holds of it.
        return Err(Refusal::unavailable("not_ready", probes::RECOVERING));
    }
    let snapshot = call.site.snapshot();
    let customer = customer_of(&snapshot, &message.customer_id)?;
    let reference = call.site.reference.fetch_add(1, Ordering::Relaxed);
    let NewMessage { from, to, content, dlr_requested, .. } = &message;
    let text = Text { from, to, content, dlr_requested: *dlr_requested, reference };
    let texted = texting::compose(text).map_err(field_fault)?;
    let segments = texted.parts.len();
    let command = Command::Submit { customer, parts: texted.parts };
    let home = call.site.homes.clone().of(customer);
    let mut asked = call.site.desk.ask(home, command, segments).map_err(|_| too_many_commands())?;
    let patience = match call.site.state.has_journal() {
        true => COMMIT_PATIENCE,
        false => (Duration::from_millis(snapshot.gateway.relay_deadline_ms) + GRACE).min(PATIENCE_MAX),
    };
    let mut results = vec![None; segments];
    let end = tokio::time::Instant::now() + patience;
    for _ in 0..segments {
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        let Some(Reply::Submitted { part, result }) = asked.next(left).await else { break };
        if let Some(place) = results.get_mut(usize::from(part)) {
            *place = Some(result);
        }
    }
    let accepted: Vec<_> = results.iter().flatten().filter_map(|result| result.ok()).collect();
    let ids = |style: Option<IdStyle>| -> Vec<String> {
        let text = |(id, own): &(smpp_shards::message_id::MessageId, IdStyle)| {
            String::from_utf8_lossy(&id.text(style.unwrap_or(*own))).into_owned()
        };
        accepted.iter().map(text).collect()
    };
    let message_ids = ids(Some(IdStyle::Uuid));
    if let Some(status) = results.iter().flatten().find_map(|result| result.err()) {
        return Err(refusal_of(&snapshot, status).with_accepted(message_ids));
    }
    if accepted.len() < segments {
        let message = "No answer came in time: whether the message goes out is not known.";
        return Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, "outcome_unknown", message).with_accepted(message_ids));
    }
    let answer = MessageAccepted {
        success: true,
        message_id: message_ids.first().cloned().unwrap_or_default(),
        message_ids,
        smpp_message_ids: ids(None),
        segments,
        encoding: texted.alphabet.name(),
        customer_id: snapshot.customer(customer).map(|customer| customer.name.clone()).unwrap_or_default(),
    };
    Ok(answer::json_answer(StatusCode::ACCEPTED, &answer))
}

/// The customer of that customer_id or smpp_system_id; before there are any, whether there is one is not known.
pub(super) fn customer_of(snapshot: &Snapshot, name: &str) -> Result<CustomerId, Refusal> {
    if snapshot.version == 0 {
        return Err(Refusal::unavailable("not_ready", probes::WAITING));
    }
    let by_name = || snapshot.present_customers().find(|customer| customer.name == name);
    let found = snapshot.customer_by_system_id(name.as_bytes()).or_else(by_name);
    found.map(|customer| customer.id).ok_or_else(|| Refusal::not_found(format!("There is no customer {name:?}.")))
}

/// What may stand as a sender: see [`texting::source_address`].
pub(super) fn sender_schema(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "string",
        "anyOf": [
            {"pattern": r"^\+?[0-9]{1,15}$"},
            {"pattern": "^[ -~]*[A-Za-z][ -~]*$", "maxLength": 11},
        ],
    })
}

pub(super) fn field_fault((field, reason): Fault) -> Refusal {
    let message = format!("The field {field} is not as it should be. {reason}");
    let fault = FieldFault { field: field.to_owned(), reason };
    Refusal::bad_request("invalid_field", message).with_fields(vec![fault])
}

/// What a refusal with a command_status is in HTTP.
fn refusal_of(snapshot: &Snapshot, status: CommandStatus) -> Refusal {
    let name = status_name(status);
    let statuses = &snapshot.statuses;
    let (http, code, sentence) = if status == statuses.source_not_allowed {
        (StatusCode::FORBIDDEN, "source_not_allowed", "The sender is not one of the customer's")
    } else if status == statuses.no_route {
        (
            StatusCode::UNPROCESSABLE_ENTITY,
            "no_route",
            "There is no route for the destination, or its vendor refused it",
        )
    } else if status == statuses.throttled {
        (StatusCode::TOO_MANY_REQUESTS, "throttled", "The customer's limit is reached")
    } else if status == statuses.queue_full {
        (StatusCode::SERVICE_UNAVAILABLE, "queue_full", "No vendor has room")
    } else if status == statuses.unavailable {
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Nothing is accepted now, or the customer is not active")
    } else if status == statuses.unknown_outcome {
        (StatusCode::GATEWAY_TIMEOUT, "outcome_unknown", "Whether a vendor has it is not known; it is not sent again")
    } else {
        (StatusCode::UNPROCESSABLE_ENTITY, "refused", "The message was refused")
    };
    Refusal::new(http, code, format!("{sentence} ({name}).")).with_command_status(name)
}
