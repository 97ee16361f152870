//! Traces of sessions, customers' and vendors': begun, listed, downloaded as pcap files, ended.

use core::ops::RangeInclusive;

use hyper::header::{CONTENT_DISPOSITION, HeaderValue};
use hyper::{Response, StatusCode};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use smpp_shards::bounds::VENDOR_BINDS_MAX;
use smpp_shards::{Reply, ShardId, Snapshot, TraceTarget};

use super::answer::{self, Answer, Body, Refusal};
use super::call::Call;
use super::messages::field_fault;
use super::sessions::{no_such_session, session_id, session_of};
use super::vendors::{self, SHARD_PATIENCE, key_of, shard_silent, too_many_commands};
use crate::log::rfc3339;
use crate::trace::{BYTES_MAX, BeginError, RUNNING_MAX, TraceKey, TraceLimits, TraceState};

/// Seconds that a trace may run.
const SECONDS: RangeInclusive<u32> = 1..=3_600;

/// Binds of a vendor.
const BINDS: RangeInclusive<u32> = 0..=VENDOR_BINDS_MAX - 1;

/// Octets that its file may have.
const BYTES: RangeInclusive<u32> = 4_096..=BYTES_MAX;

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

/// How far a trace of a vendor may go, and of which bind.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NewVendorTrace {
    /// Which of the vendor's binds, counted from 0.
    #[serde(deserialize_with = "whole_number")]
    #[schemars(range(min = 0, max = 63))]
    bind: u32,
    /// How long it runs at the most.
    #[serde(deserialize_with = "whole_number")]
    #[schemars(range(min = 1, max = 3_600))]
    seconds: u32,
    /// Octets of the file at the most.
    #[serde(deserialize_with = "whole_number")]
    #[schemars(range(min = 4_096, max = 16_777_216))]
    max_bytes: u32,
}

impl Default for NewVendorTrace {
    fn default() -> Self {
        let NewTrace { seconds, max_bytes } = NewTrace::default();
        Self { bind: 0, seconds, max_bytes }
    }
}

/// A whole number in any form that JSON has for one: 60.0 is one as well. What is too small or too large becomes the nearest
/// that there is, and is out of range all the same.
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
    /// Null where it is a vendor's.
    session_id: Option<String>,
    customer_id: Option<String>,
    smpp_system_id: Option<String>,
    /// Null where it is a customer's.
    vendor_id: Option<String>,
    /// The customer's address and port, or the vendor's.
    peer: String,
    /// Ours.
    local: String,
    /// UTC.
    began_at: String,
    seconds: u32,
    max_bytes: u32,
    is_running: bool,
    /// Why it has ended: `time`, `size` (the next PDU did not fit), `session` (which is over) or `stopped`; null while it
    /// runs.
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
    let limits = checked(wanted.seconds, wanted.max_bytes)?;
    let (shard, name) = session_of(&call)?;
    let asked = Wanted { shard, key: TraceKey::Session(shard, name), target: TraceTarget::Session(name), limits };
    begin_at(&call, asked, || no_such_session(call.variable())).await
}

pub(super) async fn begin_vendor(call: Call) -> Answer {
    let wanted = if call.body.is_empty() { NewVendorTrace::default() } else { call.json()? };
    let limits = checked(wanted.seconds, wanted.max_bytes)?;
    in_range("bind", wanted.bind, BINDS)?;
    let snapshot = call.site.snapshot();
    let vendor = vendors::find(&snapshot, call.variable())?;
    let target = TraceTarget::Vendor(vendor.id, wanted.bind);
    let asked = Wanted { shard: vendor.home, key: TraceKey::Vendor(vendor.id), target, limits };
    let not_there = || {
        let message = format!("The vendor {} has no bind {} that is up.", call.variable(), wanted.bind);
        Refusal::new(StatusCode::CONFLICT, "not_bound", message)
    };
    begin_at(&call, asked, not_there).await
}

pub(super) async fn download(call: Call) -> Answer {
    let (shard, name) = session_of(&call)?;
    file_of(&call, TraceKey::Session(shard, name), &format!("session-{}", session_id((shard, name))))
}

pub(super) async fn download_vendor(call: Call) -> Answer {
    let snapshot = call.site.snapshot();
    let vendor = vendors::find(&snapshot, call.variable())?;
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let plain: String = key_of(vendor).chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
    file_of(&call, TraceKey::Vendor(vendor.id), &format!("vendor-{plain}"))
}

pub(super) async fn end(call: Call) -> Answer {
    let (shard, name) = session_of(&call)?;
    end_of(&call, TraceKey::Session(shard, name))
}

pub(super) async fn end_vendor(call: Call) -> Answer {
    let snapshot = call.site.snapshot();
    let vendor = vendors::find(&snapshot, call.variable())?;
    end_of(&call, TraceKey::Vendor(vendor.id))
}

/// A trace as it is asked for.
struct Wanted {
    shard: ShardId,
    key: TraceKey,
    target: TraceTarget,
    limits: TraceLimits,
}

async fn begin_at(call: &Call, wanted: Wanted, not_there: impl Fn() -> Refusal) -> Answer {
    let Wanted { shard, key, target, limits } = wanted;
    let begun = call.site.traces.begin(key, target, limits);
    let (beginning, order) = begun.map_err(|error| not_begun(error, call.variable()))?;
    let mut asked = call.site.desk.trace(shard, order).map_err(|_| too_many_commands())?;
    match asked.next(SHARD_PATIENCE).await {
        Some(Reply::Traced(Some(traced))) => {
            let state = beginning.begun(traced).ok_or_else(shard_silent)?;
            Ok(json_of(call, StatusCode::CREATED, &state))
        }
        Some(Reply::Traced(None)) => Err(not_there()),
        _ => Err(shard_silent()),
    }
}

fn file_of(call: &Call, key: TraceKey, name: &str) -> Answer {
    let file = call.site.traces.file(key).ok_or_else(|| no_such_trace(call.variable()))?;
    let mut response = answer::octets_answer(StatusCode::OK, "application/vnd.tcpdump.pcap", file);
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{name}.pcap\"")) {
        response.headers_mut().insert(CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

fn end_of(call: &Call, key: TraceKey) -> Answer {
    let state = call.site.traces.forget(key).ok_or_else(|| no_such_trace(call.variable()))?;
    Ok(json_of(call, StatusCode::OK, &state))
}

fn checked(seconds: u32, max_bytes: u32) -> Result<TraceLimits, Refusal> {
    in_range("seconds", seconds, SECONDS)?;
    in_range("max_bytes", max_bytes, BYTES)?;
    Ok(TraceLimits { seconds, max_bytes })
}

fn in_range(field: &'static str, value: u32, range: RangeInclusive<u32>) -> Result<(), Refusal> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(field_fault((field, format!("Give a number from {} to {}.", range.start(), range.end()))))
}

fn not_begun(error: BeginError, id: &str) -> Refusal {
    match error {
        BeginError::Running => {
            let message = format!("A trace of {id:?} runs already; DELETE ends it.");
            Refusal::new(StatusCode::CONFLICT, "trace_running", message)
        }
        BeginError::TooMany => Refusal::busy(format!(
            "There are {RUNNING_MAX} traces that run; try again when one has ended (GET /api/v1/traces lists them)."
        )),
    }
}

fn no_such_trace(id: &str) -> Refusal {
    Refusal::not_found(format!("There is no trace of {id:?}; GET /api/v1/traces lists those that there are."))
}

fn json_of(call: &Call, status: StatusCode, state: &TraceState) -> Response<Body> {
    let trace = view(&call.site.snapshot(), state);
    answer::json_answer(status, &TraceAnswer { success: true, trace })
}

fn view(snapshot: &Snapshot, state: &TraceState) -> TraceView {
    let (session, vendor) = match state.key {
        TraceKey::Session(shard, name) => (Some((shard, name)), None),
        TraceKey::Vendor(vendor) => (None, snapshot.vendor(vendor)),
    };
    let customer = state.traced.customer.and_then(|customer| snapshot.customer(customer));
    TraceView {
        session_id: session.map(session_id),
        customer_id: customer.map(|customer| customer.name.clone()),
        smpp_system_id: customer.map(|customer| customer.settings.smpp_system_id.clone()),
        vendor_id: vendor.map(key_of),
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
