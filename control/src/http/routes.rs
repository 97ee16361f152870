//! Which path answers what.

use hyper::header::{AUTHORIZATION, CONNECTION, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::answer::{self, Body};
use super::{Port, Site};
use crate::auth::is_same;
use crate::log::rfc3339;
use crate::metrics;
use crate::state::{Degraded, Phase};

/// Octets of a request's body. Nothing here wants one; a small one is passed over.
const BODY_BYTES_MAX: u64 = 64 * 1024;

/// Answers one request. It never waits, so that a request costs the control thread only its own computing.
pub(super) fn answer<B: hyper::body::Body>(request: &Request<B>, port: Port, site: &Site) -> Response<Body> {
    let body = request.body().size_hint();
    if body.lower() > BODY_BYTES_MAX {
        return answer::too_large();
    }
    let mut response = route(request, port, site);
    if !request.body().is_end_stream() {
        // A body of unknown length is not read to its end.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn route<B>(request: &Request<B>, port: Port, site: &Site) -> Response<Body> {
    let path = request.uri().path();
    let may = port == Port::Metrics || has_token(request, site);
    let is_open = port == Port::Control && matches!(path, "/health" | "/ready");
    if !may && !is_open {
        return answer::unauthorized();
    }
    let answer: fn(&Site, bool) -> Response<Body> = match (port, path) {
        (_, "/metrics") => metrics_text,
        (Port::Control, "/health") => health,
        (Port::Control, "/ready") => ready,
        (Port::Control, _) => return answer::not_found("/health, /ready and /metrics"),
        (Port::Metrics, _) => return answer::not_found("/metrics"),
    };
    match *request.method() {
        Method::GET | Method::HEAD => answer(site, may),
        _ => answer::method_not_allowed(),
    }
}

fn has_token<B>(request: &Request<B>, site: &Site) -> bool {
    let Some(token) = &site.token else { return true };
    let Some(value) = request.headers().get(AUTHORIZATION) else { return false };
    let Some((scheme, given)) = value.as_bytes().split_at_checked("Bearer ".len()) else { return false };
    scheme.eq_ignore_ascii_case(b"Bearer ") && is_same(&site.key, given.trim_ascii(), token.reveal().as_bytes())
}

fn metrics_text(site: &Site, _: bool) -> Response<Body> {
    answer::text_answer(StatusCode::OK, metrics::CONTENT_TYPE, metrics::render(&site.state))
}

/// Alive, whatever else is wrong; with what is degraded. Names only for those who may know them.
fn health(site: &Site, may: bool) -> Response<Body> {
    let state = &site.state;
    let degraded = state.degraded();
    let status = if degraded.is_empty() { "ok" } else { "degraded" };
    let mut value = json!({
        "success": true,
        "status": status,
        "phase": state.phase().name(),
        "version": env!("CARGO_PKG_VERSION"),
        "started_at": started_at(site),
        "uptime_seconds": state.started.elapsed().as_secs(),
    });
    if may {
        let shard_value = |(index, shard): (usize, &crate::state::ShardState)| {
            let version = shard.report.is_some().then_some(shard.in_force);
            json!({"shard": index, "snapshot_version": version})
        };
        value["node_id"] = state.node_id.as_str().into();
        value["configuration_version"] = state.snapshot().version.into();
        value["shards"] = state.shards().iter().enumerate().map(shard_value).collect();
        let parts = degraded.iter();
        value["degraded"] = parts.map(degraded_value).collect::<Value>();
    }
    answer::json_answer(StatusCode::OK, &value)
}

fn degraded_value(it: &Degraded) -> Value {
    let mut value = json!({"part": it.part, "name": it.name, "reason": it.reason});
    if let Some(table) = it.table {
        value["table"] = table.into();
    }
    value
}

/// Whether traffic should come here.
fn ready(site: &Site, _: bool) -> Response<Body> {
    let sentence = match site.state.phase() {
        Phase::Starting => "The gateway is starting.",
        Phase::Draining => "The gateway is on its way down.",
        Phase::Accepting if site.ready_requires_vendor && !site.state.has_vendor() => "No vendor is bound.",
        Phase::Accepting => return answer::json_answer(StatusCode::OK, &json!({"success": true, "ready": true})),
    };
    let value = json!({"success": false, "ready": false, "error": {"code": "not_ready", "message": sentence}});
    answer::json_answer(StatusCode::SERVICE_UNAVAILABLE, &value)
}

fn started_at(site: &Site) -> String {
    let since_epoch = site.state.started_at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    rfc3339(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
