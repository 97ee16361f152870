//! Answers: JSON with `success` in it throughout, errors with a code and a sentence.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

/// A body that is there as a whole.
pub(super) type Body = Full<Bytes>;

/// JSON under a status.
pub(super) fn json_answer(status: StatusCode, value: &Value) -> Response<Body> {
    text_answer(status, "application/json", format!("{value}\n"))
}

/// Text under a status. Nothing of this port is to be kept by caches.
pub(super) fn text_answer(status: StatusCode, content_type: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An error: a code for programs, a sentence for people.
pub(super) fn error(status: StatusCode, code: &str, sentence: &str) -> Response<Body> {
    json_answer(status, &json!({"success": false, "error": {"code": code, "message": sentence}}))
}

/// 404.
pub(super) fn not_found(known: &str) -> Response<Body> {
    error(StatusCode::NOT_FOUND, "not_found", &format!("There is no such path here; there are {known}."))
}

/// 405.
pub(super) fn method_not_allowed() -> Response<Body> {
    let mut response =
        error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This path answers GET and HEAD only.");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// 401.
pub(super) fn unauthorized() -> Response<Body> {
    let sentence = "Send the header Authorization: Bearer with the token of [control] token.";
    let mut response = error(StatusCode::UNAUTHORIZED, "unauthorized", sentence);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// 413. The rest of the request is not read, so the connection ends.
pub(super) fn too_large() -> Response<Body> {
    let mut response =
        error(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "No path of this port takes a request body that large.");
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
