//! The HTTP control port, and the port with the metrics alone.
//!
//! Lives on the control thread, beside the verdicts on binds and the log. What it must never do: let a slow or hostile
//! client hold more than its share, or one request hold up the thread. So connections, header size, header time, body
//! size, body time, a handler's time and a connection's life are bounded, and so is the work for each request.
//!
//! `/health` and `/ready` answer without a token, for probes carry none; without one, where one is set, `/health`
//! names no vendors. `/` is a page that holds nothing but itself. Everything else on the control port wants the token. The
//! metrics port has none: Prometheus reads there, and nothing else is to be had.

mod admin;
mod answer;
mod audit;
mod call;
mod customers;
mod lookup;
mod messages;
mod openapi;
mod page;
mod probes;
mod route_table;
mod routes;
mod routing;
mod sessions;
mod stats;
mod traces;
mod trial;
mod vendor_rows;
mod vendors;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use ring::hmac;
use smpp_shards::Snapshot;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::attachments::Attachments;
use crate::auth::Homes;
use crate::config::Secret;
use crate::shard_desk::ShardDesk;
use crate::state::State;
use crate::trace::Traces;
use answer::Body;

/// Connections at one time on one port. Beyond it a new one takes the place of the oldest that has been silent for
/// [`SILENCE_MAX`]; where none has, it waits, and none is kept open for another request.
const CONNECTIONS_MAX: usize = 64;

/// How long a connection may ask nothing while others wait for its place.
const SILENCE_MAX: Duration = Duration::from_millis(500);

/// From the start of a connection, or of waiting for its next request, to the request's last header.
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);

/// A connection's whole life; a client that reads nothing is rid of then.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);

/// Octets of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// A pause after a failed accept (no descriptors left, say), so that it is not tried in a circle.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Trial binds at one time. Beyond it 429.
const TRIALS_MAX: usize = 4;

/// Which of the two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// `[control] listen`.
    Control,
    /// `[control] metrics_listen`.
    Metrics,
}

/// What the answers are made from.
pub(crate) struct Site {
    pub(crate) state: Arc<State>,
    pub(crate) token: Option<Secret>,
    pub(crate) key: hmac::Key,
    pub(crate) ready_requires_vendor: bool,
    pub(crate) desk: Arc<ShardDesk>,
    pub(crate) homes: Homes,
    pub(crate) attachments: Attachments,
    pub(crate) traces: Arc<Traces>,
    /// Places for trial binds.
    trials: Semaphore,
    /// The next long message's concatenation reference.
    reference: AtomicU8,
}

impl Site {
    pub(crate) fn new(
        state: Arc<State>,
        key: hmac::Key,
        desk: Arc<ShardDesk>,
        homes: Homes,
        settings: &crate::config::ControlSettings,
        attachments: Attachments,
        traces: Arc<Traces>,
    ) -> Self {
        Self {
            state,
            token: settings.token.clone(),
            key,
            ready_requires_vendor: settings.ready_requires_vendor,
            desk,
            homes,
            attachments,
            traces,
            trials: Semaphore::new(TRIALS_MAX),
            reference: AtomicU8::new(0),
        }
    }

    /// The configuration in force.
    fn snapshot(&self) -> Arc<Snapshot> {
        self.state.snapshot()
    }
}

/// Serves one port until the runtime ends.
pub(crate) async fn serve(listener: TcpListener, port: Port, site: Arc<Site>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut silent = VecDeque::new();
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = place(&places, &mut silent).await else { return };
        let has_asked = Arc::new(AtomicBool::new(false));
        let (asks, free, site) = (Arc::clone(&has_asked), Arc::clone(&places), Arc::clone(&site));
        let connection = tokio::spawn(async move {
            let conversing = converse(stream, peer, port, site, &asks, &free);
            let _ = tokio::time::timeout(CONNECTION_TIME_MAX, conversing).await;
            drop(place);
        });
        silent.push_back(Silent { since: Instant::now(), has_asked, connection: connection.abort_handle() });
    }
}

/// A connection that may have asked nothing yet.
struct Silent {
    since: Instant,
    has_asked: Arc<AtomicBool>,
    connection: AbortHandle,
}

impl Silent {
    fn is_so(&self) -> bool {
        !self.has_asked.load(Ordering::Relaxed) && !self.connection.is_finished()
    }
}

/// A place for a connection that is there: one that is free, or becomes so, or that of who has been silent for too long.
async fn place(
    places: &Arc<Semaphore>,
    silent: &mut VecDeque<Silent>,
) -> Result<OwnedSemaphorePermit, tokio::sync::AcquireError> {
    let mut free = std::pin::pin!(Arc::clone(places).acquire_owned());
    loop {
        silent.retain(Silent::is_so);
        let patience = silent.front().map(|oldest| oldest.since + SILENCE_MAX);
        tokio::select! {
            biased;
            place = &mut free => return place,
            () = tokio::time::sleep_until(patience.unwrap_or_else(Instant::now)), if patience.is_some() => {}
        }
        // It may have asked meanwhile.
        if let Some(oldest) = silent.pop_front().filter(Silent::is_so) {
            oldest.connection.abort();
            return free.await;
        }
    }
}

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    port: Port,
    site: Arc<Site>,
    asks: &AtomicBool,
    places: &Semaphore,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let site = Arc::clone(&site);
        asks.store(true, Ordering::Relaxed);
        async move {
            let mut response: Response<Body> = routes::answer(request, peer, port, site).await;
            if places.available_permits() == 0 {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    // What goes wrong on a connection of the control port concerns its peer alone.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

#[cfg(test)]
mod tests;
