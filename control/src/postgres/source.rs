//! Where the reloader gets its rows: from the server by way of [`super::watch`]'s task, and at start from the server or,
//! where that is away, from the kept file.
//!
//! Lives on the control thread; [`open`] runs on the program's main thread before there is one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smpp_shards::settings::GatewaySettings;
use tokio::sync::{mpsc, oneshot, watch};

use super::connect::{Connection, PostgresError};
use super::kept::{Kept, KeptError, path_in};
use super::rows;
use super::tables::Tables;
use super::vendor_writes::Writing;
use crate::config::{Configuration, LogLevel, PostgresSettings};
use crate::live::{Loaded, Loading, ReloadError, RowFault, RowSource, TableName};
use crate::log::{Field, Log};
use crate::secrets::KeyRing;

/// As what these lines stand in the log.
pub(super) const COMPONENT: &str = "postgresql";

/// What may wait for the task: readings of the one reloader, and changes of vendors; beyond it whoever asks waits.
const ASKED_MAX: usize = 4;

/// How long a start waits for the server where there is something kept to start from.
const START_MAX: Duration = Duration::from_secs(3);

/// A reading that somebody waits for.
pub(super) type Reading = oneshot::Sender<Result<Tables, PostgresError>>;

/// What the task is asked to do.
pub(super) enum Asked {
    /// To read all rows.
    Read(Reading),
    /// To change a vendor.
    Write(Box<Writing>),
}

/// The rows in PostgreSQL. Clones are the same source.
#[derive(Clone)]
pub(crate) struct PostgresSource {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) asked: mpsc::Sender<Asked>,
    pub(super) gateway: GatewaySettings,
    pub(super) keys: KeyRing,
    /// What was read last, for [`PostgresSource::keep`].
    last: Mutex<Option<Arc<Tables>>>,
    /// What is in force, on its way to the file.
    in_force: watch::Sender<Option<InForce>>,
    /// Vendors whose password stood in plain text when they were read last.
    plain_passwords: Mutex<Vec<String>>,
}

/// What was read, and which rows of it are not in force.
type InForce = (Arc<Tables>, Vec<RowFault>);

/// What the tasks hold of a source.
pub(super) struct Ends {
    pub(super) shared: Arc<Shared>,
    pub(super) asked: mpsc::Receiver<Asked>,
    pub(super) to_write: watch::Receiver<Option<InForce>>,
    /// What the file holds.
    pub(super) kept: Option<Kept>,
}

impl Ends {
    /// Says that passwords stand in plain text, where they do; whether it did.
    pub(super) fn tell_plain(&self, log: &Log) -> bool {
        let vendors = self.shared.plain_passwords.lock().unwrap_or_else(PoisonError::into_inner);
        tell_plain(log, &vendors);
        !vendors.is_empty()
    }
}

impl PostgresSource {
    /// The source, and the tasks' ends of its channels.
    pub(super) fn new(configuration: &Configuration, opened: Opened) -> (Self, Ends) {
        let (asked, receiver) = mpsc::channel(ASKED_MAX);
        let (in_force, to_write) = watch::channel(None);
        let shared = Arc::new(Shared {
            asked,
            gateway: configuration.settings.gateway.clone(),
            keys: configuration.secrets.clone(),
            last: Mutex::default(),
            in_force,
            plain_passwords: Mutex::default(),
        });
        (Self { shared: Arc::clone(&shared) }, Ends { shared, asked: receiver, to_write, kept: opened.kept })
    }

    /// Reads all rows.
    ///
    /// # Errors
    /// [`PostgresError`], at once where the server is known to be away.
    pub(super) async fn read(&self) -> Result<Loaded, PostgresError> {
        let ending = || PostgresError::Away("the gateway is on its way down".into());
        let (answer, reading) = oneshot::channel();
        self.shared.asked.send(Asked::Read(answer)).await.map_err(|_| ending())?;
        let tables = Arc::new(reading.await.map_err(|_| ending())??);
        let (shared, to_read) = (Arc::clone(&self.shared), Arc::clone(&tables));
        // Thousands of rows take their time, which the control thread has not got.
        let read = tokio::task::spawn_blocking(move || rows::read(&to_read, &shared.gateway, &shared.keys)).await;
        let read = read.map_err(|_| ending())?;
        *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(tables);
        *self.shared.plain_passwords.lock().unwrap_or_else(PoisonError::into_inner) = read.plain_passwords;
        Ok(read.loaded)
    }

    /// What was read last is in force, but for these rows; it is kept for a start without the server.
    pub(super) fn keep(&self, faults: &[RowFault]) {
        let last = self.shared.last.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tables) = last {
            self.shared.in_force.send_replace(Some((tables, faults.to_vec())));
        }
    }
}

impl RowSource for PostgresSource {
    fn load(&mut self) -> Loading<'_> {
        Box::pin(async { self.read().await.map_err(|error| ReloadError::Source(error.to_string())) })
    }

    fn table_name(&self) -> TableName {
        table_name
    }

    fn applied(&mut self, faults: &[RowFault]) {
        self.keep(faults);
    }
}

/// What the database calls a table of faults.
fn table_name(table: &'static str) -> &'static str {
    if table == "customers" { "customer_sms_auth" } else { table }
}

fn tell_plain(log: &Log, vendors: &[String]) {
    if vendors.is_empty() {
        return;
    }
    let names = vendors.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
    let fields = [("vendors", Field::Number(vendors.len() as u64)), ("first", Field::Text(&names))];
    let message = "vendors' passwords stand in plain text; `smpp-gateway rotate-keys` encrypts them";
    log.write(LogLevel::Warn, COMPONENT, message, &fields);
}

/// Writes what is in force, the newest of it, whenever it differs from what the file holds.
pub(super) async fn write_kept(
    folder: PathBuf,
    mut kept: Option<Kept>,
    mut to_write: watch::Receiver<Option<InForce>>,
    log: Log,
) {
    let mut is_written = kept.is_some();
    while to_write.changed().await.is_ok() {
        let Some((tables, faults)) = to_write.borrow_and_update().clone() else { continue };
        let into = folder.clone();
        let written = tokio::task::spawn_blocking(move || {
            let merged = Kept::merged(&tables, &faults, kept.as_ref());
            if is_written && kept.as_ref().is_some_and(|kept| kept.tables == merged.tables) {
                return (kept, Ok(()));
            }
            let outcome = merged.write(&into);
            // Rows that could not be written were good all the same.
            (Some(merged), outcome)
        });
        let Ok((now, outcome)) = written.await else { return };
        (kept, is_written) = (now, outcome.is_ok());
        if let Err(error) = outcome {
            let (path, reason) = (path_in(&folder).display().to_string(), error.to_string());
            let fields = [("file", Field::Text(&path)), ("reason", Field::Text(&reason))];
            let message = "the configuration could not be kept for a start without PostgreSQL";
            log.write(LogLevel::Error, COMPONENT, message, &fields);
        }
    }
}

/// What a start has to begin with.
pub struct Opened {
    /// The rows.
    pub loaded: Loaded,
    /// The kept file's, where the rows are the server's: a row of theirs that is wrong may have been good then.
    pub(crate) last_good: Option<Loaded>,
    /// Why they are those of the kept file, and when that was read; `None` where they are the server's.
    pub(crate) stale: Option<(String, String)>,
    kept: Option<Kept>,
    damaged: Option<String>,
}

/// Reads the rows for a start: from the server, or where that is away, from the kept file. Takes a few seconds at the most
/// where there is such a file, else `connect_timeout_ms` and `statement_timeout_ms`.
///
/// # Errors
/// Why the server gives none, where nothing is kept either.
pub fn open(configuration: &Configuration, settings: &PostgresSettings) -> Result<Opened, PostgresError> {
    let data_dir = &configuration.gateway.data_dir;
    let (kept, damaged) = match Kept::read(data_dir) {
        Ok(kept) => (Some(kept), None),
        Err(KeptError::Missing) => (None, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let read = read_once(settings, kept.is_some().then_some(START_MAX));
    let (tables, stale) = match (read, &kept) {
        (Ok(tables), _) => (tables, None),
        (Err(error), Some(kept)) => (kept.tables.clone(), Some((error.to_string(), kept.read_at.clone()))),
        (Err(error), None) => return Err(with_damage(error, damaged)),
    };
    let read = |tables| rows::read(tables, &configuration.settings.gateway, &configuration.secrets).loaded;
    let last_good = kept.as_ref().filter(|_| stale.is_none()).map(|kept| read(&kept.tables));
    Ok(Opened { loaded: read(&tables), last_good, stale, kept, damaged })
}

/// Reads the rows once, and only looks at them: faults have the names of the database.
///
/// # Errors
/// [`PostgresError`].
pub fn look(configuration: &Configuration, settings: &PostgresSettings) -> Result<Loaded, PostgresError> {
    let tables = read_once(settings, None)?;
    let mut loaded = rows::read(&tables, &configuration.settings.gateway, &configuration.secrets).loaded;
    loaded.faults.iter_mut().for_each(|fault| fault.table = table_name(fault.table));
    Ok(loaded)
}

fn with_damage(error: PostgresError, damaged: Option<String>) -> PostgresError {
    let add = |reason: String| match &damaged {
        Some(damaged) => format!("{reason}; {damaged}"),
        None => reason,
    };
    match error {
        PostgresError::Away(reason) => PostgresError::Away(add(reason)),
        PostgresError::Refused(reason) => PostgresError::Refused(add(reason)),
    }
}

fn read_once(settings: &PostgresSettings, within: Option<Duration>) -> Result<Tables, PostgresError> {
    let reading = async {
        let connection = Connection::open(settings, false).await?;
        Tables::read(&connection, &settings.vendors_relation).await
    };
    super::block_on(async {
        match within {
            None => reading.await,
            Some(within) => tokio::time::timeout(within, reading)
                .await
                .unwrap_or_else(|_| Err(PostgresError::Away(format!("no answer within {} ms", within.as_millis())))),
        }
    })
}

impl Opened {
    /// Takes what only the program finds wrong with vendors' rows, such as a file that one names. It counts where a version
    /// of before can stand in: at a start a vendor without one is better there, and down, than gone with its rules.
    pub fn doubt(&mut self, faults: Vec<RowFault>) {
        let Some(last_good) = &self.last_good else { return };
        let is_kept = |fault: &RowFault| last_good.keys.vendors.contains(&fault.key);
        self.loaded.faults.extend(faults.into_iter().filter(is_kept));
    }

    /// Says where the rows come from, and what there is to be said of them.
    pub fn tell(&self, log: &Log, data_dir: &Path) {
        let path = path_in(data_dir).display().to_string();
        if let Some(reason) = &self.damaged {
            let fields = [("file", Field::Text(&path)), ("reason", Field::Text(reason))];
            log.write(LogLevel::Error, COMPONENT, "the kept configuration is not used", &fields);
        }
        if let Some((reason, read_at)) = &self.stale {
            let fields =
                [("reason", Field::Text(reason)), ("file", Field::Text(&path)), ("read_at", Field::Text(read_at))];
            log.write(LogLevel::Error, COMPONENT, "started from the kept configuration", &fields);
        }
    }

    /// What holds while the server is away, for `/health`.
    pub(crate) fn meanwhile(&self) -> Option<String> {
        self.stale.as_ref().map(|(_, read_at)| format!("the configuration kept at {read_at} is in force"))
    }
}
