//! Every path of the control port: what answers it, and what the document says of it. One table for both, so that neither
//! can go without the other.

use hyper::Method;

use super::call::{Access, Kind, Parameter, Route};
use super::openapi::{self, JsonSchemaOf};
use super::{
    admin, customers, lookup, messages, page, probes, routing, sessions, stats, traces, trial, vendor_rows, vendors,
};

/// Most that one page holds.
const LIMIT_MAX: usize = 1_000;

/// A cursor of a list whose cursors are numbers.
const CURSOR_MAX: usize = 1 << 32;

const LIMIT: Parameter =
    Parameter { name: "limit", kind: Kind::Number(1, LIMIT_MAX), description: "How many a page holds at the most." };

const CURSOR: Parameter =
    Parameter { name: "cursor", kind: Kind::Number(0, CURSOR_MAX), description: "next_cursor of the page before." };

const SEARCH: Parameter =
    Parameter { name: "search", kind: Kind::Text, description: "Only those whose names hold this, whatever the case." };

static VENDOR_QUERY: [Parameter; 3] = [LIMIT, CURSOR, SEARCH];

static CUSTOMER_QUERY: [Parameter; 4] = [
    LIMIT,
    CURSOR,
    SEARCH,
    Parameter {
        name: "order",
        kind: Kind::OneOf(&["configured", "activity"]),
        description: "As they are configured, or the busiest first.",
    },
];

static SESSION_QUERY: [Parameter; 3] = [
    LIMIT,
    Parameter { name: "cursor", kind: Kind::Place, description: "next_cursor of the page before." },
    Parameter {
        name: "customer_id",
        kind: Kind::Text,
        description: "Only those of this customer: a customer_id or smpp_system_id.",
    },
];

macro_rules! handler {
    ($handler:path) => {
        |call| Box::pin($handler(call))
    };
}

macro_rules! schema_of {
    ($body:ty) => {
        Some(<$body>::json_schema_of)
    };
}

/// A path that only tells something.
macro_rules! get {
    ($path:literal, $summary:literal, $access:ident, $query:expr, $body:expr, $refusals:expr, $handler:path) => {
        Route {
            method: Method::GET,
            path: $path,
            summary: $summary,
            description: "",
            access: Access::$access,
            is_audited: false,
            query: $query,
            body: None,
            is_body_required: false,
            answers: &[(200, $body, "As it is now.")],
            refusals: $refusals,
            handler: handler!($handler),
        }
    };
}

/// A path that does something.
macro_rules! act {
    (
        $method:ident $path:literal, $summary:literal, $description:literal, $request:expr,
        $status:literal $answer:ty, $refusals:expr, $handler:path
    ) => {
        Route {
            method: Method::$method,
            path: $path,
            summary: $summary,
            description: $description,
            access: Access::Token,
            is_audited: true,
            query: &[],
            body: $request,
            is_body_required: true,
            answers: &[($status, schema_of!($answer), "Done.")],
            refusals: $refusals,
            handler: handler!($handler),
        }
    };
}

/// The file of a trace. Who takes messages' contents away leaves a line in the log.
macro_rules! trace_file {
    ($path:literal, $summary:literal, $handler:path) => {
        Route {
            is_audited: true,
            answers: &[(200, None, "What there is of it until now, also while it runs: a pcap file.")],
            ..get!($path, $summary, Token, &[], None, &[404], $handler)
        }
    };
}

/// In the order of the document.
pub(super) static ROUTES: &[Route] = &[
    get!("/", "The page for operators", Open, &[], None, &[], page::page),
    get!("/health", "Alive, with what is degraded", Open, &[], schema_of!(probes::Health), &[], probes::health),
    Route {
        method: Method::GET,
        path: "/ready",
        summary: "Whether traffic should come here",
        description: "",
        access: Access::Open,
        is_audited: false,
        query: &[],
        body: None,
        is_body_required: false,
        answers: &[
            (200, schema_of!(probes::Ready), "It should."),
            (503, schema_of!(probes::Ready), "It should not, and why."),
        ],
        refusals: &[],
        handler: handler!(probes::ready),
    },
    get!("/metrics", "Prometheus text", Token, &[], None, &[], probes::metrics),
    get!("/api/v1/openapi.json", "This document", Token, &[], None, &[], openapi::document),
    get!("/api/v1/stats", "The gateway in figures", Token, &[], schema_of!(stats::Stats), &[], stats::stats),
    get!("/api/v1/vendors", "Vendors", Token, &VENDOR_QUERY, schema_of!(vendors::VendorList), &[], vendors::list),
    act!(
        POST "/api/v1/vendors", "Add a vendor",
        "Into PostgreSQL, and answered when it is in force; 409 where the vendors stand in the configuration file, or another \
         one has that instance_name. instance_name, host and port must be there.",
        Some(vendor_rows::whole_row), 201 vendor_rows::VendorWritten, &[409, 503], vendor_rows::add
    ),
    act!(
        PUT "/api/v1/vendors/{vendor_id}", "Replace a vendor",
        "Columns that are left out get their defaults, the password too. Answered when it is in force; 409 where the vendors \
         stand in the configuration file, or another one has that instance_name.",
        Some(vendor_rows::whole_row), 200 vendor_rows::VendorWritten, &[404, 409, 503], vendor_rows::replace
    ),
    act!(
        PATCH "/api/v1/vendors/{vendor_id}", "Change columns of a vendor",
        "Columns that are left out stay. Answered when it is in force; 409 where the vendors stand in the configuration file, or \
         another one has that instance_name.",
        Some(vendor_rows::some_columns), 200 vendor_rows::VendorWritten, &[404, 409, 503], vendor_rows::patch
    ),
    act!(
        DELETE "/api/v1/vendors/{vendor_id}", "Remove a vendor",
        "Answered when it is in force; 409 where the vendors stand in the configuration file, or routing rules name it.",
        None, 200 vendor_rows::VendorWritten, &[404, 409, 503], vendor_rows::remove
    ),
    get!(
        "/api/v1/vendors/{vendor_id}/status",
        "One vendor with everything that is known",
        Token,
        &[],
        schema_of!(vendors::VendorStatusAnswer),
        &[404],
        vendors::status
    ),
    act!(
        POST "/api/v1/vendors/{vendor_id}/reconnect", "Unbind a vendor's binds and bind them anew",
        "Answers that are due are waited for; other vendors and all customers are not disturbed.",
        None, 200 vendors::Reconnecting, &[404, 409, 429, 503], vendors::reconnect
    ),
    act!(
        POST "/api/v1/vendors/{vendor_id}/test", "One trial bind, told step by step",
        "Over a connection of its own, within ten seconds; running binds are not touched. A vendor that counts binds may \
         refuse it because of those that are up.",
        None, 200 trial::Trial, &[404, 429], trial::test
    ),
    get!(
        "/api/v1/customers",
        "Customers",
        Token,
        &CUSTOMER_QUERY,
        schema_of!(customers::CustomerList),
        &[],
        customers::list
    ),
    get!(
        "/api/v1/sessions",
        "Sessions of customers",
        Token,
        &SESSION_QUERY,
        schema_of!(sessions::SessionList),
        &[404, 429, 503],
        sessions::list
    ),
    act!(
        DELETE "/api/v1/sessions/{session_id}", "Unbind a session and close it", "",
        None, 200 sessions::SessionEnded, &[404, 429, 503], sessions::end
    ),
    get!("/api/v1/traces", "Traces of sessions", Token, &[], schema_of!(traces::TraceList), &[], traces::list),
    Route {
        is_body_required: false,
        ..act!(
            POST "/api/v1/sessions/{session_id}/trace", "Begin to trace a session",
            "Its PDUs from now on, both ways, with what is in them, but for passwords. It ends with its time, its size or \
             the session; then it is kept for an hour, or until newer ones need its room. A session has one trace: one that \
             has ended makes room for the next.",
            schema_of!(traces::NewTrace), 201 traces::TraceAnswer, &[404, 409, 429, 503], traces::begin
        )
    },
    trace_file!("/api/v1/sessions/{session_id}/trace", "Download the trace of a session", traces::download),
    act!(
        DELETE "/api/v1/sessions/{session_id}/trace", "End the trace of a session, and forget it", "",
        None, 200 traces::TraceAnswer, &[404], traces::end
    ),
    Route {
        is_body_required: false,
        ..act!(
            POST "/api/v1/vendors/{vendor_id}/trace", "Begin to trace one bind of a vendor",
            "As that of a session; it ends when the bind's connection does. A vendor has one trace, of whichever bind. 409 \
             also where the bind is not up.",
            schema_of!(traces::NewVendorTrace), 201 traces::TraceAnswer, &[404, 409, 429, 503], traces::begin_vendor
        )
    },
    trace_file!("/api/v1/vendors/{vendor_id}/trace", "Download the trace of a vendor", traces::download_vendor),
    act!(
        DELETE "/api/v1/vendors/{vendor_id}/trace", "End the trace of a vendor, and forget it", "",
        None, 200 traces::TraceAnswer, &[404], traces::end_vendor
    ),
    act!(
        POST "/api/v1/messages", "Send a message for a customer",
        "It passes the checks of that customer's submit_sm. Answered when it is accepted: on disk with a journal, by the \
         vendor without. Receipts go to the customer's binds.",
        schema_of!(messages::NewMessage), 202 messages::MessageAccepted, &[403, 404, 422, 429, 503, 504], messages::send
    ),
    get!(
        "/api/v1/messages/{message_id}",
        "What is kept of a message",
        Token,
        &[],
        schema_of!(lookup::MessageFound),
        &[404, 503],
        lookup::message
    ),
    get!(
        "/api/v1/messages/{message_id}/dlr",
        "The receipt of a message",
        Token,
        &[],
        schema_of!(lookup::ReceiptFound),
        &[404, 503],
        lookup::receipt
    ),
    Route {
        is_audited: false,
        ..act!(
            POST "/api/v1/routes/test", "Which vendor a message would go to, and why", "Nothing is sent.",
            schema_of!(routing::RouteQuestion), 200 routing::RouteFound, &[404, 503], routing::test
        )
    },
    act!(
        POST "/api/v1/admin/reload", "Read the whole configuration anew", "",
        None, 200 admin::ReloadDone, &[429, 502, 503], admin::reload
    ),
    act!(
        POST "/api/v1/admin/reload-vendors", "Read the vendors anew, with the rest of the configuration", "",
        None, 200 admin::ReloadDone, &[429, 502, 503], admin::reload
    ),
    get!(
        "/api/v1/admin/log-level",
        "From which level on each component's lines are logged",
        Token,
        &[],
        schema_of!(admin::LogLevels),
        &[],
        admin::levels
    ),
    act!(
        PUT "/api/v1/admin/log-level", "Set the level of one component, or of all",
        "Until the next start.", schema_of!(admin::NewLevel), 200 admin::LogLevels, &[], admin::set_level
    ),
];
