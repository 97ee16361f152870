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

/// A call of somebody who may, while it is being answered. A caller who goes away before the answer has it dropped, and by
/// then it may have done what it is for: it leaves its line all the same.
pub(super) struct Audited<'a> {
    site: &'a Site,
    peer: SocketAddr,
    method: &'a Method,
    path: &'a str,
    status: Option<StatusCode>,
}

impl<'a> Audited<'a> {
    pub(super) fn new(site: &'a Site, peer: SocketAddr, method: &'a Method, path: &'a str) -> Self {
        Self { site, peer, method, path, status: None }
    }

    /// It has come to its end.
    pub(super) fn answered(mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for Audited<'_> {
    fn drop(&mut self) {
        let end = match self.status {
            Some(status) => ("status", Field::Number(u64::from(status.as_u16()))),
            None => ("reason", Field::Text("the connection ended before the answer")),
        };
        let log = &self.site.state.log;
        line(self.peer, who(self.site, true), self.method, self.path, end, |fields| {
            log.record(COMPONENT, "control port called", fields);
        });
    }
}

/// A call that met no route: told when it was one that changes something. Anybody can cause these, so that the log
/// counts them when there are too many.
pub(super) fn unrouted(site: &Site, peer: SocketAddr, method: &Method, path: &str, may: bool, status: StatusCode) {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return;
    }
    let end = ("status", Field::Number(u64::from(status.as_u16())));
    let log = &site.state.log;
    line(peer, who(site, may), method, path, end, |fields| {
        log.write(LogLevel::Warn, COMPONENT, "call refused", fields);
    });
}

fn who(site: &Site, may: bool) -> &'static str {
    match (may, &site.token) {
        (false, _) => "nobody",
        (true, Some(_)) => "token",
        (true, None) => "address",
    }
}

fn line(
    peer: SocketAddr,
    who: &str,
    method: &Method,
    path: &str,
    end: (&'static str, Field<'_>),
    write: impl FnOnce(&[(&'static str, Field<'_>)]),
) {
    let peer = peer.to_string();
    let path_end = path.char_indices().nth(PATH_MAX).map_or(path.len(), |(at, _)| at);
    write(&[
        ("who", Field::Text(who)),
        ("peer", Field::Text(&peer)),
        ("method", Field::Text(method.as_str())),
        ("path", Field::Text(&path[..path_end])),
        end,
    ]);
}
