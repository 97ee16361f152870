//! Answers: JSON with `success` in it throughout, errors with a code and a sentence.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

/// A body that is there as a whole.
pub(super) type Body = Full<Bytes>;

/// What a handler comes to.
pub(super) type Answer = Result<Response<Body>, Refusal>;

/// JSON under a status. Only maps with keys that are no text cannot be written, and there are none.
pub(super) fn json_answer(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text_answer(status, "application/json", text)
}

/// JSON under 200.
pub(super) fn ok(value: &impl Serialize) -> Answer {
    Ok(json_answer(StatusCode::OK, value))
}

/// Text under a status. Nothing of this port is to be kept by caches.
pub(super) fn text_answer(status: StatusCode, content_type: &'static str, text: String) -> Response<Body> {
    octets_answer(status, content_type, text.into_bytes())
}

/// Octets under a status, likewise.
pub(super) fn octets_answer(status: StatusCode, content_type: &'static str, octets: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(octets)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer to what was not done: a code for programs, a sentence for people.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: Box<ErrorBody>,
    allow: Option<String>,
    /// The rest of the request is not read, so the connection ends.
    closes: bool,
}

/// Every error.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub(super) struct ErrorAnswer<'a> {
    /// Always false.
    success: bool,
    error: &'a ErrorBody,
}

/// What went wrong.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct ErrorBody {
    /// For programs.
    code: String,
    /// A sentence for people.
    message: String,
    /// The command_status that a customer of SMPP would have been answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    command_status: Option<String>,
    /// What is wrong with which field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<FieldFault>,
    /// Ids of the parts of a long message that had been accepted before one was refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    accepted_message_ids: Vec<String>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct FieldFault {
    /// Its name; a column and TOML key too.
    pub(super) field: String,
    /// What is wrong and what to do about it.
    pub(super) reason: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let error = ErrorBody { code: code.to_owned(), message: message.into(), ..ErrorBody::default() };
        Self { status, error: Box::new(error), allow: None, closes: false }
    }

    /// 400.
    pub(super) fn bad_request(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 404 for a path that is none.
    pub(super) fn no_such_path(known: &str) -> Self {
        let message = format!("There is no such path here; there are {known}.");
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 404 for a thing that is not there.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 405, with the methods that there are.
    pub(super) fn method_not_allowed(allow: String) -> Self {
        let message = format!("This path answers {allow} only.");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message) }
    }

    /// 401.
    pub(super) fn unauthorized() -> Self {
        let message = "Send the header Authorization: Bearer with the token of [control] token.";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 403.
    pub(super) fn cross_site() -> Self {
        let message = "A page of another site may change nothing here; set [control] token to let one.";
        Self { closes: true, ..Self::new(StatusCode::FORBIDDEN, "cross_site", message) }
    }

    /// 413.
    pub(super) fn too_large() -> Self {
        let message = "No path of this port takes a request body that large.";
        Self { closes: true, ..Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message) }
    }

    /// 408.
    pub(super) fn too_slow() -> Self {
        let message = "The request's body did not come in time.";
        Self { closes: true, ..Self::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", message) }
    }

    /// 415.
    pub(super) fn not_json() -> Self {
        let message = "Send the body as JSON, with the header Content-Type: application/json.";
        Self { closes: true, ..Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", message) }
    }

    /// 429.
    pub(super) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", message)
    }

    /// 503.
    pub(super) fn unavailable(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }

    pub(super) fn with_command_status(mut self, status: String) -> Self {
        self.error.command_status = Some(status);
        self
    }

    pub(super) fn with_fields(mut self, fields: Vec<FieldFault>) -> Self {
        self.error.fields = fields;
        self
    }

    pub(super) fn with_accepted(mut self, ids: Vec<String>) -> Self {
        self.error.accepted_message_ids = ids;
        self
    }

    /// The connection ends with the answer.
    pub(super) fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = json_answer(self.status, &ErrorAnswer { success: false, error: &self.error });
        let headers = response.headers_mut();
        if let Some(allow) = self.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
