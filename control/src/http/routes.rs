//! From a request to its answer: path, token, method, query, body, handler, in that order, each with its own refusal.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response};

use super::answer::{Body, Refusal};
use super::call::{Access, Call, Route, read_query, variables_of};
use super::route_table::ROUTES;
use super::{Port, Site, audit, probes};
use crate::auth::is_same;

/// Octets of a request's body.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// From the last header to the body's last octet.
const BODY_TIME_MAX: Duration = Duration::from_secs(5);

/// A handler's whole time. Each waits for less on its own; this is a bound for mistakes.
const HANDLER_TIME_MAX: Duration = Duration::from_secs(30);

/// Answers one request.
pub(super) async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    port: Port,
    site: Arc<Site>,
) -> Response<Body> {
    let is_left_over = !request.body().is_end_stream();
    let (mut response, is_read) = respond(request, peer, port, &site).await;
    if is_left_over && !is_read {
        // A body that nobody wants is not read to its end.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The answer, and whether the body has been read.
async fn respond(request: Request<Incoming>, peer: SocketAddr, port: Port, site: &Arc<Site>) -> (Response<Body>, bool) {
    let may = port == Port::Metrics || has_token(request.headers(), site);
    let path = request.uri().path().to_owned();
    if port == Port::Metrics {
        let response = match (path.as_str(), is_get(request.method())) {
            ("/metrics", true) => probes::metrics_text(site),
            ("/metrics", false) => Refusal::method_not_allowed("GET, HEAD".to_owned()).into_response(),
            _ => Refusal::no_such_path("/metrics").into_response(),
        };
        return (response, false);
    }
    let method = request.method().clone();
    let route = match find(&path, &method, may) {
        Ok(route) => route,
        Err(refusal) => {
            let response = refusal.into_response();
            audit::unrouted(site, peer, &method, &path, may, response.status());
            return (response, false);
        }
    };
    let (route, variables) = route;
    let is_too_large = request.body().size_hint().lower() > BODY_BYTES_MAX as u64;
    let is_read = route.body.is_some() && !is_too_large;
    let audited = route.is_audited.then(|| audit::Audited::new(site, peer, &method, &path));
    let outcome = if is_too_large {
        Err(Refusal::too_large())
    } else if route.is_audited && site.token.is_none() && is_cross_site(request.headers()) {
        Err(Refusal::cross_site())
    } else {
        call(request, route, variables, may, site).await
    };
    let response = outcome.unwrap_or_else(Refusal::into_response);
    if let Some(audited) = audited {
        audited.answered(response.status());
    }
    (response, is_read)
}

/// The route of a path and method, with the path's variables.
fn find(path: &str, method: &Method, may: bool) -> Result<(&'static Route, Vec<String>), Refusal> {
    let of_path = || ROUTES.iter().filter_map(|route| Some((route, variables_of(path, route.path)?)));
    let is_open = of_path().any(|(route, _)| route.access == Access::Open);
    if !may && !is_open {
        return Err(Refusal::unauthorized());
    }
    // A path without variables goes before one with them.
    let least = of_path().map(|(_, variables)| variables.len()).min();
    let Some(least) = least else { return Err(Refusal::no_such_path("those of /api/v1/openapi.json")) };
    let wanted = if *method == Method::HEAD { &Method::GET } else { method };
    let mut methods = Vec::new();
    for (route, variables) in of_path().filter(|(_, variables)| variables.len() == least) {
        if route.method == *wanted {
            return Ok((route, variables));
        }
        methods.push(route.method.as_str());
        if route.method == Method::GET {
            methods.push("HEAD");
        }
    }
    Err(Refusal::method_not_allowed(methods.join(", ")))
}

async fn call(
    request: Request<Incoming>,
    route: &'static Route,
    variables: Vec<String>,
    may: bool,
    site: &Arc<Site>,
) -> Result<Response<Body>, Refusal> {
    // Probes are asked with whatever their operators add.
    let query = match route.access {
        Access::Open => Vec::new(),
        Access::Token => read_query(request.uri().query().unwrap_or_default(), route.query)?,
    };
    let body = match route.body {
        None => Bytes::new(),
        Some(_) => read_body(request).await?,
    };
    let call = Call { site: Arc::clone(site), may, variables, query, body };
    match tokio::time::timeout(HANDLER_TIME_MAX, (route.handler)(call)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Refusal::unavailable("took_too_long", "The answer did not come about in time.")),
    }
}

async fn read_body(request: Request<Incoming>) -> Result<Bytes, Refusal> {
    let content_type = request.headers().get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let is_empty = request.body().is_end_stream();
    match content_type {
        None if is_empty => return Ok(Bytes::new()),
        Some(text) if is_json(text) => {}
        _ => return Err(Refusal::not_json()),
    }
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    match tokio::time::timeout(BODY_TIME_MAX, body).await {
        Err(_) => Err(Refusal::too_slow()),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::too_large()),
        Ok(Err(_)) => Err(Refusal::bad_request("broken_body", "The body broke off.").closing()),
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn is_get(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether a browser sends this for a page of another site: without a token nothing else stands between that page and this port.
fn is_cross_site(headers: &HeaderMap) -> bool {
    if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        return true;
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let authority = origin.as_bytes().split(|octet| *octet == b'/').next_back();
    headers.get(HOST).map(HeaderValue::as_bytes) != authority
}

fn has_token(headers: &HeaderMap, site: &Site) -> bool {
    let Some(token) = &site.token else { return true };
    let Some(value) = headers.get(AUTHORIZATION) else { return false };
    let Some((scheme, given)) = value.as_bytes().split_at_checked("Bearer ".len()) else { return false };
    scheme.eq_ignore_ascii_case(b"Bearer ") && is_same(&site.key, given.trim_ascii(), token.reveal().as_bytes())
}
