//! The task that owns the connection: it reads for the reloader, hears of changes, looks every half second whether the
//! server is there, changes vendors, writes their health, and connects anew when the connection is lost.
//!
//! Lives on the control thread. It waits for the server, within timeouts, so that nobody else has to.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::connect::{Connection, PostgresError};
use super::health::{Ledger, Refusal, VendorHealth};
use super::source::{Asked, COMPONENT, Ends, Reading};
use super::tables::Tables;
use super::vendor_writes::Writer;
use crate::config::{LogLevel, PostgresSettings};
use crate::live::{ReloadError, ReloadHandle, Reloaded};
use crate::log::{Field, Log};
use crate::service::{SILENCE_MAX, Service, TOLD_MAX};

/// From one look whether the server is there to the next.
const LOOK: Duration = Duration::from_millis(500);
const _: () = assert!(LOOK.as_millis() + SILENCE_MAX.as_millis() <= TOLD_MAX.as_millis());

/// From one look at the vendors' health to the next.
const HEALTH: Duration = Duration::from_secs(1);

/// A change waits that long for more of them, each time anew ...
const DEBOUNCE: Duration = Duration::from_millis(50);

/// ... but no longer than this in all.
const DEBOUNCE_MAX: Duration = Duration::from_millis(250);

/// Between two tries to connect, and between two to read: 1, 2, 4 seconds, and then this: a server that is back is soon noticed.
const REST_MAX: Duration = Duration::from_secs(5);

/// What most refusals come to.
const NOT_GRANTED: &str = "vendors' health cannot be written; grant UPDATE on health_status and last_bind_time";

/// Asks for the vendors' health as it is now.
pub(crate) type HealthNow = Box<dyn FnMut() -> Vec<VendorHealth> + Send>;

/// What the task works with.
pub(super) struct Watch {
    pub(super) settings: PostgresSettings,
    pub(super) service: Arc<Service>,
    pub(super) ends: Ends,
    pub(super) reload: ReloadHandle,
    pub(super) health: HealthNow,
    pub(super) log: Log,
    pub(super) has_told_plain: bool,
}

/// 1, 2, 4, ... seconds.
#[derive(Default)]
struct Rests(u32);

impl Rests {
    fn next(&mut self) -> Duration {
        let rest = Duration::from_secs(1 << self.0.min(5)).min(REST_MAX);
        self.0 += 1;
        rest
    }
}

/// A reload that was asked for and has not ended.
type Pending = oneshot::Receiver<Result<Reloaded, ReloadError>>;

impl Watch {
    /// Runs as long as its runtime.
    pub(super) async fn run(mut self) {
        let mut rests = Rests::default();
        loop {
            let reason = match self.connect().await {
                Ok(connection) => {
                    rests = Rests::default();
                    self.tell_there();
                    self.serve(connection).await
                }
                Err(error) => error,
            };
            self.tell_away(&reason);
            self.rest(rests.next(), &reason).await;
        }
    }

    /// Connects, and meanwhile tells readers that they ask in vain.
    async fn connect(&mut self) -> Result<Connection, PostgresError> {
        let settings = self.settings.clone();
        let mut opening = std::pin::pin!(Connection::open(&settings, true));
        loop {
            tokio::select! {
                outcome = &mut opening => return outcome,
                Some(asked) = self.ends.asked.recv() => refuse(asked, &PostgresError::Away("being connected".into())),
            }
        }
    }

    async fn rest(&mut self, time: Duration, reason: &PostgresError) {
        let end = Instant::now() + time;
        loop {
            tokio::select! {
                () = sleep_until(end) => return,
                Some(asked) = self.ends.asked.recv() => refuse(asked, reason),
            }
        }
    }

    /// Does what there is to do until the connection is lost; why it was.
    async fn serve(&mut self, mut connection: Connection) -> PostgresError {
        let now = Instant::now();
        let (mut look, mut health, mut reread) = (now + LOOK, now, now + self.settings.reread);
        // Nobody has told of what changed before this connection.
        let mut reload = Some(now);
        let mut changed_first: Option<Instant> = None;
        let mut ledger = Ledger::default();
        let mut pending: Option<Pending> = None;
        let mut rests = Rests::default();
        loop {
            let next = [Some(look), Some(health), Some(reread), reload.filter(|_| pending.is_none())];
            let next = next.into_iter().flatten().min().unwrap_or(look);
            tokio::select! {
                reason = &mut connection.ended => {
                    return PostgresError::Away(reason.unwrap_or_else(|_| "the connection is lost".into()));
                }
                Some(asked) = self.ends.asked.recv() => {
                    let done = match asked {
                        Asked::Read(reading) => self.read(&connection, reading).await,
                        Asked::Write(writing) => self.writer(&connection).carry_out(*writing).await,
                    };
                    if let Err(error) = done {
                        return error;
                    }
                }
                () = connection.changed.notified() => {
                    let now = Instant::now();
                    let first = *changed_first.get_or_insert(now);
                    reload = Some((now + DEBOUNCE).min(first + DEBOUNCE_MAX));
                }
                outcome = wait_for(&mut pending) => {
                    pending = None;
                    match outcome {
                        Ok(_) => {
                            rests = Rests::default();
                            self.service.meanwhile(None);
                            self.has_told_plain = self.has_told_plain || self.ends.tell_plain(&self.log);
                        }
                        Err(ReloadError::Stopping) => {}
                        Err(_) => {
                            // The reloader has said why.
                            let again = Instant::now() + rests.next();
                            reload = Some(reload.map_or(again, |at| at.min(again)));
                        }
                    }
                }
                () = sleep_until(next) => {}
            }
            let now = Instant::now();
            if reread <= now {
                reread = now + self.settings.reread;
                reload = reload.or(Some(now));
            }
            if pending.is_none() && reload.is_some_and(|at| at <= now) {
                (reload, changed_first) = (None, None);
                match self.reload.request() {
                    Ok(outcome) => pending = Some(outcome),
                    Err(ReloadError::Stopping) => {}
                    Err(_) => reload = Some(now + rests.next()),
                }
            }
            if health <= now {
                health = now + HEALTH;
                if let Err(error) = self.write_health(&connection, &mut ledger).await {
                    return error;
                }
            }
            if look <= now {
                self.service.asks();
                let asked_at = Instant::now();
                if let Err(error @ PostgresError::Away(_)) = connection.ask("").await {
                    return error;
                }
                self.service.is_there();
                self.service.took(asked_at.elapsed());
                look = Instant::now() + LOOK;
            }
        }
    }

    /// # Errors
    /// When the connection is lost; the reader has been told.
    async fn read(&mut self, connection: &Connection, reading: Reading) -> Result<(), PostgresError> {
        self.service.asks();
        let outcome = Tables::read(connection, &self.settings.vendors_relation).await;
        let lost = match &outcome {
            Err(error @ PostgresError::Away(_)) => Err(error.clone()),
            Ok(_) | Err(PostgresError::Refused(_)) => {
                self.service.is_there();
                Ok(())
            }
        };
        // Whoever asked may have gone.
        let _ = reading.send(outcome);
        lost
    }

    fn writer<'a>(&'a self, connection: &'a Connection) -> Writer<'a> {
        let (relation, shared) = (&self.settings.vendors_relation, &self.ends.shared);
        Writer { connection, service: &self.service, relation, gateway: &shared.gateway, keys: &shared.keys }
    }

    async fn write_health(&mut self, connection: &Connection, ledger: &mut Ledger) -> Result<(), PostgresError> {
        let vendors = (self.health)();
        self.service.asks();
        let now = Instant::now().into_std();
        let refused = ledger.write(connection, &self.settings.vendors_relation, vendors, now).await?;
        self.service.is_there();
        match refused {
            None | Some(Refusal::Passing) => {
                if self.service.refuses(None) {
                    self.log.write(LogLevel::Info, COMPONENT, "vendors' health is written again", &[]);
                }
            }
            Some(Refusal::Full(reason)) => {
                self.tell_unwritten("PostgreSQL has no room: vendors' health is not written", &reason);
            }
            Some(Refusal::Lasting(reason)) => self.tell_unwritten(NOT_GRANTED, &reason),
            Some(Refusal::NoColumns(reason)) => {
                self.service.refuses(None);
                if ledger.says_no_columns() {
                    let message =
                        "vendors' health cannot be written: no columns health_status and last_bind_time for it";
                    self.log.write(LogLevel::Warn, COMPONENT, message, &[("reason", Field::Text(&reason))]);
                }
            }
        }
        Ok(())
    }

    /// In `/health` as long as it lasts, in the log once.
    fn tell_unwritten(&self, message: &'static str, reason: &str) {
        if self.service.refuses(Some(format!("{message}: {reason}"))) {
            self.log.write(LogLevel::Warn, COMPONENT, message, &[("reason", Field::Text(reason))]);
        }
    }

    fn tell_there(&self) {
        if self.service.is_there() {
            self.log.write(LogLevel::Info, COMPONENT, "PostgreSQL is back", &[]);
        }
    }

    fn tell_away(&self, error: &PostgresError) {
        let (PostgresError::Away(reason) | PostgresError::Refused(reason)) = error;
        let reason = format!("PostgreSQL is away: {reason}");
        if self.service.is_away(reason.clone()) {
            let message = "PostgreSQL is away; the configuration in force stays so";
            self.log.write(LogLevel::Error, COMPONENT, message, &[("reason", Field::Text(&reason))]);
        }
    }
}

fn refuse(asked: Asked, reason: &PostgresError) {
    match asked {
        // Whoever asked may have gone.
        Asked::Read(reading) => drop(reading.send(Err(reason.clone()))),
        Asked::Write(writing) => writing.refuse(reason),
    }
}

/// The outcome of a reload that was asked for; never, where none was.
async fn wait_for(pending: &mut Option<Pending>) -> Result<Reloaded, ReloadError> {
    match pending {
        Some(outcome) => outcome.await.unwrap_or(Err(ReloadError::Stopping)),
        None => std::future::pending().await,
    }
}
