//! The HTTP control port, and the port with the metrics alone.
//!
//! Lives on the control thread. What it must never do: let a slow or hostile client hold more than its share. So
//! connections, header size, header time, body size and a connection's life are bounded.
//!
//! `/health` and `/ready` answer without a token, for probes carry none; without one, where one is set, `/health`
//! names no vendors. Everything else on the control port wants the token. The metrics port has none: Prometheus
//! reads there, and nothing else is to be had.

mod answer;
mod routes;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use ring::hmac;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::config::Secret;
use crate::live::ReloadHandle;
use crate::state::State;
use answer::Body;

/// Connections at one time on one port. Beyond it new ones wait to be accepted.
const CONNECTIONS_MAX: usize = 64;

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
    /// With which a reload of the configuration is asked for.
    #[allow(dead_code, reason = "for the administration's paths")]
    pub(crate) reload: ReloadHandle,
    pub(crate) token: Option<Secret>,
    pub(crate) key: hmac::Key,
    pub(crate) ready_requires_vendor: bool,
}

/// Serves one port until the runtime ends.
pub(crate) async fn serve(listener: TcpListener, port: Port, site: Arc<Site>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let site = Arc::clone(&site);
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(CONNECTION_TIME_MAX, converse(stream, port, site)).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn converse(stream: TcpStream, port: Port, site: Arc<Site>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response: Response<Body> = routes::answer(&request, port, &site);
        async move { Ok::<_, Infallible>(response) }
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
