//! Configuration that changes while the gateway runs: what a source gives, what is wrong with its rows, and how
//! anybody asks for it to be read anew.
//!
//! Lives on the control thread. A row that is wrong never takes another one with it.

mod in_force;
pub(crate) mod reloader;
mod source;

use tokio::sync::{mpsc, oneshot};

use smpp_shards::routing::Patterns;
use smpp_shards::{Settings, Snapshot};

use crate::config::{Configuration, PostgresSettings};
use crate::postgres::{self, Minder};

pub(crate) use in_force::Fate;
pub use in_force::InForce;
pub use source::{Loading, RowSource, Source, TableName};

/// Requests for a reload that may wait; one more is answered [`ReloadError::Busy`].
const REQUESTS_MAX: usize = 16;

/// All rows that a source holds at one time, before they are compiled.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The rows. `settings.gateway` is always the file's.
    pub settings: Settings,
    /// By what name the operator knows each row.
    pub keys: RowKeys,
    /// Rows that could not even be read (a column of the wrong type, a password that cannot be decrypted). Whether or not
    /// `settings` holds something under such a key, the row's last good version stays in force.
    pub faults: Vec<RowFault>,
    /// Tables with a wrong row of which nobody can say which one it is: a row of before that is missing now may be it, and
    /// stays in force.
    pub nameless: Vec<&'static str>,
}

/// By table and place in [`Settings`]: the row's name for the operator, such as a smpp_system_id, an instance_name or a
/// rule's id.
#[derive(Clone, Debug, Default)]
pub struct RowKeys {
    /// Of [`Settings::customers`]: smpp_system_id.
    pub customers: Vec<String>,
    /// Of [`Settings::vendors`]: instance_name.
    pub vendors: Vec<String>,
    /// Of [`Settings::routing_rules`]: the row's id, `line N` where the source is a file.
    pub routing_rules: Vec<String>,
    /// Of [`Settings::inbound_routes`]: did.
    pub inbound_routes: Vec<String>,
    /// The rules' keys are lines of a file, which change when the file does: a wrong rule's last good version is found by
    /// what else it says.
    pub are_lines: bool,
}

/// What is wrong with one row, for log, `/health` and metric. Never holds a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFault {
    /// The table without its schema, such as `vendors`.
    pub table: &'static str,
    /// The row's name, see [`RowKeys`].
    pub key: String,
    /// The column or TOML key.
    pub column: String,
    /// What is wrong and what to do about it, a sentence.
    pub reason: String,
}

/// How a reload ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// The version that is in force now, on every shard (unless one of them does not answer, which `/health` tells).
    pub version: u64,
    /// Whether anything differed from the version before.
    pub is_changed: bool,
    /// The rows whose last good version stays in force, or that were left out because they never had one.
    pub faults: Vec<RowFault>,
}

/// Why a reload did not happen at all; everything stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadError {
    /// The source cannot be read: the service is away, the file is not TOML. A sentence.
    Source(String),
    /// The gateway waits for the rows that it starts with.
    NotReady,
    /// Too many requests are waiting.
    Busy,
    /// The gateway is on its way down.
    Stopping,
}

impl std::fmt::Display for ReloadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Source(reason) => f.write_str(reason),
            Self::NotReady => {
                f.write_str("the gateway waits for PostgreSQL to start with, and reads everything once it is there")
            }
            Self::Busy => f.write_str("too many reloads are waiting; try again in a second"),
            Self::Stopping => f.write_str("the gateway is on its way down"),
        }
    }
}

impl std::error::Error for ReloadError {}

/// What the program does with a new version before the shards get it: its own files that go with the settings, such as
/// certificates.
pub trait Companion: Send {
    /// Called before [`Companion::prepare`], on the same thread, with the rows as they were read. What only the program
    /// can find wrong with one, such as a file that it names, goes to [`Loaded::faults`]: the row's last good version
    /// stays in force.
    fn look(&mut self, _loaded: &mut Loaded) {}

    /// Called on a thread that may wait, with what the file says now and with what is about to be in force. What is wrong is
    /// told; what was there before stays in its place.
    fn prepare(&mut self, configuration: &Configuration, snapshot: &Snapshot) -> Vec<RowFault>;
}

/// A companion that has nothing to do.
impl Companion for () {
    fn prepare(&mut self, _: &Configuration, _: &Snapshot) -> Vec<RowFault> {
        Vec::new()
    }
}

/// With what the control thread starts: what is in force, where changes of it come from, and who else wants to know.
pub struct LiveSetup {
    /// What the shards were started with.
    pub in_force: InForce,
    /// Where rows come from.
    pub source: Source,
    /// The program.
    pub companion: Box<dyn Companion>,
    /// What minds PostgreSQL, where the rows come from there.
    pub postgres: Option<Minder>,
}

impl LiveSetup {
    /// For a configuration that is the file's altogether.
    pub fn of_file(configuration: &Configuration, snapshot: std::sync::Arc<Snapshot>) -> Self {
        let in_force = InForce::of_file(configuration, snapshot);
        Self { in_force, source: Source::Toml, companion: Box::new(()), postgres: None }
    }

    /// For a process of that many shards whose rows come from PostgreSQL; what is wrong with a row keeps only that row back,
    /// and its last good version stands in for it where one is kept.
    pub fn of_postgres(
        configuration: &Configuration,
        settings: &PostgresSettings,
        mut opened: postgres::Opened,
        shards: u16,
    ) -> Self {
        let loaded = core::mem::take(&mut opened.loaded);
        let before = match opened.last_good.take() {
            Some(kept) => InForce::kept(kept, shards),
            None => InForce::nothing(shards),
        };
        let in_force = before.succeed(loaded, &mut Patterns::default());
        let (source, minder) = postgres::source(configuration, settings, opened);
        Self { in_force, source: Source::Rows(Box::new(source)), companion: Box::new(()), postgres: Some(minder) }
    }

    /// For the time in which there is nothing to start with.
    pub(crate) fn nothing() -> Self {
        let in_force = InForce::nothing(1);
        Self { in_force, source: Source::Awaited, companion: Box::new(()), postgres: None }
    }
}

/// One request for a reload.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Before the shards are there: nothing is read, and these customers, who are in no row, get places as if they had been
    /// removed. Empty: a reload.
    pub remember: Vec<String>,
    /// Where the outcome goes; whoever asked may have gone.
    pub outcome: oneshot::Sender<Result<Reloaded, ReloadError>>,
}

/// With which anybody (SIGHUP, the control port, a notification of PostgreSQL) asks for a reload.
#[derive(Clone, Debug)]
pub struct ReloadHandle {
    requests: mpsc::Sender<ReloadRequest>,
}

impl ReloadHandle {
    /// The handle, and the receiver for whoever does the reloading.
    pub fn new() -> (Self, mpsc::Receiver<ReloadRequest>) {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        (Self { requests }, receiver)
    }

    /// Asks, and waits for the outcome.
    ///
    /// # Errors
    /// See [`ReloadError`].
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let outcome = self.request()?;
        outcome.await.unwrap_or(Err(ReloadError::Stopping))
    }

    /// Asks from a thread that is not the runtime's; the outcome may be passed over.
    ///
    /// # Errors
    /// [`ReloadError::Busy`], [`ReloadError::Stopping`].
    pub fn request(&self) -> Result<oneshot::Receiver<Result<Reloaded, ReloadError>>, ReloadError> {
        self.send(Vec::new())
    }

    /// Asks for places for customers that are in no row; to be asked before the shards are started, with the snapshot that
    /// comes of it.
    ///
    /// # Errors
    /// As [`ReloadHandle::request`].
    pub(crate) fn remember(
        &self,
        system_ids: Vec<String>,
    ) -> Result<oneshot::Receiver<Result<Reloaded, ReloadError>>, ReloadError> {
        self.send(system_ids)
    }

    fn send(&self, remember: Vec<String>) -> Result<oneshot::Receiver<Result<Reloaded, ReloadError>>, ReloadError> {
        let (outcome, receiver) = oneshot::channel();
        self.requests.try_send(ReloadRequest { remember, outcome }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ReloadError::Busy,
            mpsc::error::TrySendError::Closed(_) => ReloadError::Stopping,
        })?;
        Ok(receiver)
    }
}
