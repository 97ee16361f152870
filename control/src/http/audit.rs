//! One line in the log for each call that changes or causes something: who, from where, what, and how it ended.
//!
//! Never a token, a body or a query.

use std::net::SocketAddr;

use hyper::{Method, StatusCode};

use super::Site;
use crate::config::LogLevel;
use crate::log::Field;

const COMPONENT: &str = "control";

/// Characters of a path that are written.
const PATH_MAX: usize = 200;

/// A call of somebody who may.
pub(super) fn call(site: &Site, peer: SocketAddr, method: &Method, path: &str, status: StatusCode) {
    let who = if site.token.is_some() { "token" } else { "address" };
    line(peer, who, method, path, status, |fields| site.state.log.record(COMPONENT, "control port called", fields));
}

/// A call that met no route: told when it was one that changes something. Anybody can cause these, so that the log
/// counts them when there are too many.
pub(super) fn unrouted(site: &Site, peer: SocketAddr, method: &Method, path: &str, may: bool, status: StatusCode) {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return;
    }
    let who = if may { "address" } else { "nobody" };
    let log = &site.state.log;
    line(peer, who, method, path, status, |fields| log.write(LogLevel::Warn, COMPONENT, "call refused", fields));
}

fn line(
    peer: SocketAddr,
    who: &str,
    method: &Method,
    path: &str,
    status: StatusCode,
    write: impl FnOnce(&[(&'static str, Field<'_>)]),
) {
    let peer = peer.to_string();
    let end = path.char_indices().nth(PATH_MAX).map_or(path.len(), |(at, _)| at);
    write(&[
        ("who", Field::Text(who)),
        ("peer", Field::Text(&peer)),
        ("method", Field::Text(method.as_str())),
        ("path", Field::Text(&path[..end])),
        ("status", Field::Number(u64::from(status.as_u16()))),
    ]);
}
