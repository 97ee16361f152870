//! End-to-end tests against the real program: `smpp-gateway run` as a child process, customers in front of it and
//! vendors behind it, over loopback. Each test says what it checks by its name.

#![allow(clippy::unwrap_used, reason = "tests end at what they did not expect")]

mod bad_clients;
mod bad_input;
mod bad_vendors;
mod binding;
mod client_certificates;
mod configuration;
mod control_port;
mod dissector;
mod harness;
mod http;
mod http_tools;
mod interop;
mod journal;
mod kept;
mod kills;
mod live;
mod many;
mod nodes;
mod outages;
mod postgres;
mod receipts;
mod redis;
mod routing;
mod stopping;
mod store;
mod tls;
mod traces;
mod vendor_writes;
