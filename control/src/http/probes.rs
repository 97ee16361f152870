//! `/health`, `/ready` and `/metrics`: for probes and Prometheus.

use hyper::{Response, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use super::Site;
use super::answer::{self, Answer, Body};
use super::call::Call;
use crate::log::{rfc3339, unix_ms};
use crate::metrics;
use crate::recovery::RecoveryFigures;
use crate::state::{Degraded, Phase};

/// Why nothing goes in before the journal is taken over.
pub(super) const RECOVERING: &str = "The gateway takes over what its journal holds; /health tells how far it is.";

/// Why nothing is known while there is nothing to start with.
pub(super) const WAITING: &str = "The gateway waits for PostgreSQL to start with; /health tells why it is not there.";

/// How the gateway is.
#[derive(Serialize, JsonSchema)]
pub(super) struct Health {
    success: bool,
    /// `ok` or `degraded`.
    status: &'static str,
    /// `recovering`, `starting`, `accepting` or `draining`.
    phase: &'static str,
    /// Of the program.
    version: &'static str,
    /// When it started, UTC.
    started_at: String,
    uptime_seconds: u64,
    /// Not for those without the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    node_id: Option<String>,
    /// Of the configuration that was read last. Not for those without the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration_version: Option<u64>,
    /// Not for those without the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    shards: Option<Vec<ShardHealth>>,
    /// While what the journal holds is being taken over. Not for those without the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery: Option<Recovery>,
    /// Not for those without the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<Vec<DegradedPart>>,
}

#[derive(Serialize, JsonSchema)]
struct ShardHealth {
    shard: usize,
    /// Of the configuration in force there; null until its first report.
    snapshot_version: Option<u64>,
}

/// How far a start is with what the journal holds.
#[derive(Serialize, JsonSchema)]
struct Recovery {
    /// Of the journal that was there.
    segments: u64,
    segments_read: u64,
    /// Octets of all of them.
    bytes: u64,
    bytes_read: u64,
    /// Messages, receipts and MO found so far that have not reached their end.
    entries_live: u64,
    /// Those of them that have been written to the new journal.
    entries_recorded: u64,
}

#[derive(Serialize, JsonSchema)]
struct DegradedPart {
    /// `shard`, `journal`, `vendor`, `configuration` or `service`.
    part: &'static str,
    /// The table of a row that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<&'static str>,
    name: String,
    /// In words.
    reason: String,
}

/// Whether traffic should come here.
#[derive(Serialize, JsonSchema)]
pub(super) struct Ready {
    success: bool,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<NotReady>,
}

#[derive(Serialize, JsonSchema)]
struct NotReady {
    code: &'static str,
    message: &'static str,
}

impl Recovery {
    fn of(figures: RecoveryFigures) -> Self {
        let RecoveryFigures { segments, segments_read, bytes, bytes_read, entries_live, entries_recorded } = figures;
        Self { segments, segments_read, bytes, bytes_read, entries_live, entries_recorded }
    }
}

pub(super) async fn metrics(call: Call) -> Answer {
    Ok(metrics_text(&call.site))
}

pub(super) fn metrics_text(site: &Site) -> Response<Body> {
    answer::text_answer(StatusCode::OK, metrics::CONTENT_TYPE, metrics::render(&site.state))
}

/// Alive, whatever else is wrong; with what is degraded. Names only for those who may know them.
pub(super) async fn health(call: Call) -> Answer {
    let state = &call.site.state;
    let degraded = state.degraded();
    let mut health = Health {
        success: true,
        status: if degraded.is_empty() { "ok" } else { "degraded" },
        phase: state.phase().name(),
        version: env!("CARGO_PKG_VERSION"),
        started_at: rfc3339(unix_ms(state.started_at)),
        uptime_seconds: state.started.elapsed().as_secs(),
        node_id: None,
        configuration_version: None,
        shards: None,
        recovery: None,
        degraded: None,
    };
    if call.may {
        let shards = state.shards();
        let versions = shards.iter().map(|shard| shard.report.is_some().then_some(shard.in_force));
        let shards = versions.enumerate().map(|(shard, snapshot_version)| ShardHealth { shard, snapshot_version });
        health.shards = Some(shards.collect());
        health.recovery = state.recovery().filter(|_| state.is_recovering()).map(Recovery::of);
        health.configuration_version = Some(state.snapshot().version);
        health.node_id = Some(state.node_id.clone());
        let part = |it: Degraded| DegradedPart { part: it.part, table: it.table, name: it.name, reason: it.reason };
        let parts = degraded.into_iter().map(part);
        health.degraded = Some(parts.collect());
    }
    answer::ok(&health)
}

/// Whether traffic should come here.
pub(super) async fn ready(call: Call) -> Answer {
    let site = &call.site;
    let message = match site.state.phase() {
        Phase::Recovering => RECOVERING,
        Phase::Starting if site.snapshot().version == 0 => WAITING,
        Phase::Starting => "The gateway is starting.",
        Phase::Draining => "The gateway is on its way down.",
        Phase::Accepting if site.ready_requires_vendor && !site.state.has_vendor() => "No vendor is bound.",
        Phase::Accepting => return answer::ok(&Ready { success: true, ready: true, error: None }),
    };
    let error = Some(NotReady { code: "not_ready", message });
    Ok(answer::json_answer(StatusCode::SERVICE_UNAVAILABLE, &Ready { success: false, ready: false, error }))
}
