//! A vendor's SMSC, simulated: takes binds and submits, answers as told, sends receipts and messages.
//!
//! [`Server::bind`] listens, [`Server::run`] serves on the calling thread; [`Smsc`] is both on a thread of its
//! own, for tests and the demonstration.

mod account;
mod connection;
mod counters;
mod delivery;
mod options;
mod protocol;
mod server;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

pub use counters::{Counters, Live};
pub use options::{Delay, MessageIdFormat, ReceiptFormat, Receipts, SmscOptions};
pub use server::Server;

use crate::stop::Stop;

/// Why the simulated SMSC does not run.
#[derive(Debug)]
pub enum SmscError {
    /// An option is wrong.
    Options(String),
    /// An address cannot be listened on.
    Listen {
        /// The address as it was given.
        place: String,
        /// Why not.
        error: io::Error,
    },
    /// The machine refuses something: descriptors, timers, threads, files.
    System {
        /// What was being done.
        what: String,
        /// The refusal.
        error: io::Error,
    },
}

impl SmscError {
    fn system(what: &str) -> impl Fn(io::Error) -> SmscError {
        move |error| SmscError::System { what: what.to_owned(), error }
    }
}

impl fmt::Display for SmscError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(sentence) => f.write_str(sentence),
            Self::Listen { place, error } => write!(f, "cannot listen on {place}: {error}"),
            Self::System { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for SmscError {}

/// A simulated SMSC on a thread of its own. It ends when stopped or dropped.
#[derive(Debug)]
pub struct Smsc {
    addresses: Vec<SocketAddr>,
    live: Arc<Live>,
    stop: Stop,
    thread: Option<JoinHandle<Result<Counters, SmscError>>>,
}

impl Smsc {
    /// Listens, and serves until stopped.
    ///
    /// # Errors
    /// As [`Server::bind`], or when no thread can be started.
    pub fn start(options: SmscOptions) -> Result<Self, SmscError> {
        let server = Server::bind(options)?;
        let (addresses, live, stop) = (server.addresses().to_vec(), server.live(), Stop::new());
        let asked = stop.clone();
        let thread = thread::Builder::new()
            .name("smsc".into())
            .spawn(move || server.run(&asked, &mut |_| {}))
            .map_err(SmscError::system("starting a thread"))?;
        Ok(Self { addresses, live, stop, thread: Some(thread) })
    }

    /// The first listener's address.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// All listeners' addresses, in the order of the options.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Counters of the running simulator.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Ends it and gives its counters.
    ///
    /// # Errors
    /// What ended it before it was asked to.
    pub fn stop(mut self) -> Result<Counters, SmscError> {
        self.stop.ask();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => {
                Err(SmscError::System { what: "the simulator's thread".to_owned(), error: io::ErrorKind::Other.into() })
            }
        }
    }
}

impl Drop for Smsc {
    fn drop(&mut self) {
        self.stop.ask();
    }
}

/// A token bucket that holds a tenth of a second's worth.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    tokens: f64,
    filled_at: u64,
}

impl Bucket {
    fn new(rate: f64, now: u64) -> Self {
        Self { rate, tokens: (rate / 10.0).max(1.0), filled_at: now }
    }

    /// Takes a token if there is one.
    fn take(&mut self, now: u64) -> bool {
        let gained = now.saturating_sub(self.filled_at) as f64 / 1e9 * self.rate;
        self.filled_at = self.filled_at.max(now);
        self.tokens = (self.tokens + gained).min((self.rate / 10.0).max(1.0));
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

impl Counters {
    fn count_sent(&mut self, delivery: &delivery::Delivery) {
        match delivery.is_receipt() {
            true => self.receipts_sent += 1,
            false => self.messages_sent += 1,
        }
    }
}
