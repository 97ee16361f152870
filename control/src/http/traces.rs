//! Traces of sessions: begun, listed, downloaded as pcap files, ended.

use hyper::StatusCode;
use hyper::header::{CONTENT_DISPOSITION, HeaderValue};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use smpp_shards::{Reply, Snapshot};

use super::answer::{self, Answer, Refusal};
use super::call::Call;
use super::messages::field_fault;
use super::sessions::{no_such_session, session_id, session_of};
use super::vendors::{SHARD_PATIENCE, shard_silent, too_many_commands};
use crate::log::rfc3339;
use crate::trace::{BYTES_MAX, BeginError, RUNNING_MAX, TraceLimits, TraceState, TracedSession};

/// Seconds that a trace may run.
const SECONDS: core::ops::RangeInclusive<u32> = 1..=3_600;

/// Octets that its file may have.
const BYTES: core::ops::RangeInclusive<u32> = 4_096..=BYTES_MAX;

/// How far a trace may go.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NewTrace {
    /// How long it runs at the most.
    #[serde(deserialize_with = "whole_number")]
    #[schemars(range(min = 1, max = 3_600))]
    seconds: u32,
    /// Octets of the file at the most.
    #[serde(deserialize_with = "whole_number")]
    #[schemars(range(min = 4_096, max = 16_777_216))]
    max_bytes: u32,
}

impl Default for NewTrace {
    fn default() -> Self {
        Self { seconds: 60, max_bytes: 1024 * 1024 }
    }
}

/// A whole number in any form that JSON has for one: 60.0 is one as well. What is too small or too large becomes the nearest that
/// there is, and is out of range all the same.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = f64::deserialize(deserializer)?;
    let is_whole = number.fract() == 0.0;
    is_whole.then_some(number as u32).ok_or_else(|| D::Error::custom("a number is not a whole one"))
}

/// All traces.
#[derive(Serialize, JsonSchema)]
pub(super) struct TraceList {
    success: bool,
    /// The oldest first.
    traces: Vec<TraceView>,
    count: usize,
}

/// One trace.
#[derive(Serialize, JsonSchema)]
pub(super) struct TraceAnswer {
    success: bool,
    #[serde(flatten)]
    trace: TraceView,
}

/// How a trace stands.
#[derive(Serialize, JsonSchema)]
struct TraceView {
    session_id: String,
    customer_id: String,
    smpp_system_id: String,
    /// The customer's address and port.
    peer: String,
    /// Ours: the port that a reader of the file is to take for SMPP.
    local: String,
    /// UTC.
    began_at: String,
    seconds: u32,
    max_bytes: u32,
    is_running: bool,
    /// Why it has ended: `time`, `size` (the next PDU did not fit), `session` (which is over) or `stopped`; null while it runs.
    ended: Option<&'static str>,
    /// PDUs in the file.
    pdus: u64,
    /// PDUs that were left out because they came faster than they could be taken, or behind a bind that could not be read.
    pdus_dropped: u64,
    /// Octets of the file.
    bytes: usize,
}

pub(super) async fn list(call: Call) -> Answer {
    let snapshot = call.site.snapshot();
    let traces: Vec<_> = call.site.traces.states().iter().map(|state| view(&snapshot, state)).collect();
    answer::ok(&TraceList { success: true, count: traces.len(), traces })
}

pub(super) async fn begin(call: Call) -> Answer {
    let wanted = if call.body.is_empty() { NewTrace::default() } else { call.json()? };
    let limits = checked(&wanted)?;
    let session = session_of(&call)?;
    let (beginning, order) = call.site.traces.begin(session, limits).map_err(|error| not_begun(error, session))?;
    let mut asked = call.site.desk.trace(session.0, order).map_err(|_| too_many_commands())?;
    match asked.next(SHARD_PATIENCE).await {
        Some(Reply::Traced(Some(traced))) => {
            let state = beginning.begun(traced).ok_or_else(shard_silent)?;
            Ok(json_of(&call, StatusCode::CREATED, &state))
        }
        Some(Reply::Traced(None)) => Err(no_such_session(call.variable())),
        _ => Err(shard_silent()),
    }
}

pub(super) async fn download(call: Call) -> Answer {
    let session = session_of(&call)?;
    let file = call.site.traces.file(session).ok_or_else(|| no_such_trace(session))?;
    let mut response = answer::octets_answer(StatusCode::OK, "application/vnd.tcpdump.pcap", file);
    let disposition = format!("attachment; filename=\"session-{}.pcap\"", session_id(session));
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        response.headers_mut().insert(CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

pub(super) async fn end(call: Call) -> Answer {
    let session = session_of(&call)?;
    let state = call.site.traces.forget(session).ok_or_else(|| no_such_trace(session))?;
    Ok(json_of(&call, StatusCode::OK, &state))
}

fn checked(wanted: &NewTrace) -> Result<TraceLimits, Refusal> {
    for (field, value, range) in [("seconds", wanted.seconds, SECONDS), ("max_bytes", wanted.max_bytes, BYTES)] {
        if !range.contains(&value) {
            let reason = format!("Give a number from {} to {}.", range.start(), range.end());
            return Err(field_fault((field, reason)));
        }
    }
    Ok(TraceLimits { seconds: wanted.seconds, max_bytes: wanted.max_bytes })
}

fn not_begun(error: BeginError, session: TracedSession) -> Refusal {
    match error {
        BeginError::Running => {
            let message = format!("A trace of session {:?} runs already; DELETE ends it.", session_id(session));
            Refusal::new(StatusCode::CONFLICT, "trace_running", message)
        }
        BeginError::TooMany => Refusal::busy(format!(
            "There are {RUNNING_MAX} traces that run; try again when one has ended (GET /api/v1/traces lists them)."
        )),
    }
}

fn no_such_trace(session: TracedSession) -> Refusal {
    let id = session_id(session);
    Refusal::not_found(format!("There is no trace of session {id:?}; GET /api/v1/traces lists those that there are."))
}

fn json_of(call: &Call, status: StatusCode, state: &TraceState) -> hyper::Response<answer::Body> {
    let trace = view(&call.site.snapshot(), state);
    answer::json_answer(status, &TraceAnswer { success: true, trace })
}

fn view(snapshot: &Snapshot, state: &TraceState) -> TraceView {
    let customer = snapshot.customer(state.traced.customer);
    TraceView {
        session_id: session_id(state.session),
        customer_id: customer.map(|customer| customer.name.clone()).unwrap_or_default(),
        smpp_system_id: customer.map(|customer| customer.settings.smpp_system_id.clone()).unwrap_or_default(),
        peer: state.traced.peer.to_string(),
        local: state.traced.local.to_string(),
        began_at: rfc3339(state.began_unix_ms),
        seconds: state.limits.seconds,
        max_bytes: state.limits.max_bytes,
        is_running: state.ended.is_none(),
        ended: state.ended,
        pdus: state.pdus,
        pdus_dropped: state.dropped,
        bytes: state.bytes,
    }
}
