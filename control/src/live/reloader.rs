//! The task that puts a changed configuration in force: reads it, compiles it, gives it to every shard, and tells what came
//! of it.
//!
//! Lives on the control thread, one reload after the other. What waits for a disk or computes for long runs on a thread of
//! its own meanwhile, so that binds and requests are answered as ever.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use smpp_shards::Snapshot;
use smpp_shards::routing::Patterns;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::{Companion, Fate, InForce, LiveSetup, ReloadError, ReloadRequest, Reloaded, RowFault, Source, TableName};
use crate::channel::{ShardHandle, ToShard};
use crate::config::{self, Configuration, LogLevel};
use crate::log::{Field, Log};
use crate::state::{Phase, State};

/// How long a reload waits for the shards. They take a turn or a few; beyond it the reload goes on, and `/health` tells
/// which shard is behind.
const IN_FORCE_MAX: Duration = Duration::from_secs(10);

/// From one try to give a snapshot to a shard whose channel is full to the next.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// As what these lines stand in the log.
const COMPONENT: &str = "configuration";

/// Faults of one reload that get a line each; one more line tells of the rest.
const FAULT_LINES_MAX: usize = 100;

/// The task and what it keeps.
pub(crate) struct Reloader {
    state: Arc<State>,
    shards: Vec<ShardHandle>,
    /// What the gateway was started with.
    started: Configuration,
    source: Source,
    /// `None` while they are lent to another thread.
    work: Option<Work>,
    told: BTreeSet<&'static str>,
}

/// What compiling needs, lent to the thread that does it.
struct Work {
    in_force: InForce,
    patterns: Patterns,
    companion: Box<dyn Companion>,
}

impl Reloader {
    pub(crate) fn new(setup: LiveSetup, started: Configuration, shards: Vec<ShardHandle>, state: Arc<State>) -> Self {
        let LiveSetup { in_force, source, companion, .. } = setup;
        let work = Some(Work { in_force, patterns: Patterns::default(), companion });
        Self { state, shards, started, source, work, told: BTreeSet::new() }
    }

    /// Serves requests until nobody can ask any more. Those that came before one was begun are served by the same reload.
    pub(crate) async fn run(mut self, mut requests: mpsc::Receiver<ReloadRequest>) {
        while let Some(first) = requests.recv().await {
            let mut asking = vec![first];
            while let Ok(another) = requests.try_recv() {
                asking.push(another);
            }
            for request in asking.extract_if(.., |request| !request.remember.is_empty()) {
                let _ = request.outcome.send(self.remember(&request.remember));
            }
            if asking.is_empty() {
                continue;
            }
            let outcome = self.reload().await;
            for request in asking {
                // Who asked need not wait for it.
                let _ = request.outcome.send(outcome.clone());
            }
        }
    }

    /// Before the shards are there, so that nobody waits for it.
    fn remember(&mut self, system_ids: &[String]) -> Result<Reloaded, ReloadError> {
        let Some(work) = &mut self.work else { return Err(ReloadError::Stopping) };
        let next = work.in_force.remembering(system_ids, &mut work.patterns).map_err(|problems| {
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            ReloadError::Source(told.join("; "))
        })?;
        let faults = next.faults.clone();
        work.in_force = next;
        let snapshot = Arc::clone(&work.in_force.snapshot);
        let version = snapshot.version;
        drop(self.state.replace_snapshot(snapshot));
        Ok(Reloaded { version, is_changed: true, faults })
    }

    async fn reload(&mut self) -> Result<Reloaded, ReloadError> {
        if self.state.phase() == Phase::Draining {
            return Err(ReloadError::Stopping);
        }
        if matches!(self.source, Source::Awaited) {
            let message = "not reloaded, the gateway waits for PostgreSQL to start with";
            self.state.log.write(LogLevel::Warn, COMPONENT, message, &[]);
            return Err(ReloadError::NotReady);
        }
        let outcome = self.try_reload().await;
        match &outcome {
            Ok(_) => self.state.set_source_fault(None),
            Err(error) => {
                let reason = error.to_string();
                let fields = [("reason", Field::Text(&reason))];
                self.state.log.write(LogLevel::Error, COMPONENT, "configuration not read, everything stays", &fields);
                self.state.set_source_fault(Some(reason));
            }
        }
        outcome
    }

    async fn try_reload(&mut self) -> Result<Reloaded, ReloadError> {
        let path = self.started.path.clone();
        let read = spawn_blocking(move || config::reread(&path)).await;
        let reread =
            read.map_err(|_| ReloadError::Stopping)?.map_err(|error| ReloadError::Source(error.to_string()))?;
        let mut file = reread.configuration;
        let mut loaded = match &mut self.source {
            Source::Awaited => return Err(ReloadError::NotReady),
            Source::Toml => reread.loaded,
            Source::Rows(source) => {
                let mut loaded = source.load().await?;
                loaded.faults.extend(reread.loaded.faults.into_iter().filter(|fault| !has_rows(fault.table)));
                loaded.settings.gateway = reread.loaded.settings.gateway;
                loaded
            }
        };
        if matches!(self.source, Source::Toml) {
            self.refuse_cut(&loaded.settings)?;
        }
        self.keep_what_needs_a_restart(&mut file, &mut loaded.settings.gateway);
        let mut work = self.work.take().ok_or(ReloadError::Stopping)?;
        let (log, table_name) = (self.state.log.clone(), self.source.table_name());
        let compiled = spawn_blocking(move || {
            work.companion.look(&mut loaded);
            let mut next = work.in_force.succeed(loaded, &mut work.patterns);
            next.faults.extend(work.companion.prepare(&file, &next.snapshot));
            tell_faults(&log, &work.in_force.faults, &next, table_name);
            let before = core::mem::replace(&mut work.in_force, next);
            let is_changed = !Arc::ptr_eq(&before.snapshot, &work.in_force.snapshot);
            (work, is_changed)
        });
        let (work, is_changed) = compiled.await.map_err(|_| ReloadError::Stopping)?;
        let (snapshot, faults) = (Arc::clone(&work.in_force.snapshot), work.in_force.faults.clone());
        self.work = Some(work);
        self.state.set_faults(faults.clone());
        if is_changed {
            self.put_in_force(&snapshot).await;
        }
        if let Source::Rows(source) = &mut self.source {
            source.applied(&faults);
        }
        let fields = [("version", Field::Number(snapshot.version)), ("faults", Field::Number(faults.len() as u64))];
        let message = if is_changed { "configuration in force" } else { "configuration read, nothing has changed" };
        self.state.log.write(LogLevel::Info, COMPONENT, message, &fields);
        let shown = |fault: RowFault| RowFault { table: table_name(fault.table), ..fault };
        let faults = faults.into_iter().map(shown).collect();
        Ok(Reloaded { version: snapshot.version, is_changed, faults })
    }

    /// A file that has lost all its customers or all its vendors at once is taken for one that was cut while it was written.
    fn refuse_cut(&self, read: &smpp_shards::Settings) -> Result<(), ReloadError> {
        let Some(work) = &self.work else { return Err(ReloadError::Stopping) };
        let present = &work.in_force.settings;
        for (table, before, now) in [
            ("customers", present.customers.len(), read.customers.len()),
            ("vendors", present.vendors.len(), read.vendors.len()),
        ] {
            if before > 0 && now == 0 {
                let switch = if table == "customers" { "active" } else { "is_active" };
                return Err(ReloadError::Source(format!(
                    "the file has no [[{table}]] any more, where {before} are in force: it looks cut; to be without, set \
                     {switch} = false in their rows, or restart"
                )));
            }
        }
        Ok(())
    }

    /// Gives a snapshot to every shard and waits until all of them have taken it over.
    async fn put_in_force(&mut self, snapshot: &Arc<Snapshot>) {
        // Whoever it names is known from now on: lines of the log name them.
        let before = self.state.replace_snapshot(Arc::clone(snapshot));
        spawn_blocking(move || drop(before));
        let until = Instant::now() + IN_FORCE_MAX;
        for shard in &self.shards {
            let mut command = ToShard::Snapshot(Arc::clone(snapshot));
            while let Err(refused) = shard.send(command) {
                if Instant::now() >= until {
                    break;
                }
                command = refused;
                tokio::time::sleep(FULL_PAUSE).await;
            }
        }
        if timeout_at(until, self.state.wait_in_force(snapshot.version)).await.is_err() {
            let fields = [("version", Field::Number(snapshot.version))];
            self.state.log.write(LogLevel::Error, COMPONENT, "a shard does not take the configuration over", &fields);
        }
    }

    /// What cannot change while the gateway runs stays as it was at the start, and is told of once.
    fn keep_what_needs_a_restart(&mut self, file: &mut Configuration, gateway: &mut smpp_shards::GatewaySettings) {
        let started = &self.started;
        let kept = &started.settings.gateway;
        let (own, then) = (&file.gateway, &started.gateway);
        let differing = [
            ("[gateway] node_id", own.node_id != then.node_id),
            ("[gateway] accept", own.accept != then.accept),
            ("[gateway] data_dir", own.data_dir != then.data_dir),
            ("[gateway] receipts_awaited", gateway.receipts_awaited != kept.receipts_awaited),
            ("[gateway] validity_hours", gateway.validity_hours != kept.validity_hours),
            ("[journal]", file.journal != started.journal),
            ("[shards]", file.shards != started.shards),
            ("[smpp] listen", file.smpp.listen != started.smpp.listen),
            ("[smpp] tls_listen", file.smpp.tls_listen != started.smpp.tls_listen),
            ("[control]", file.control != started.control),
            ("[log]", file.log != started.log),
            ("[redis]", file.redis != started.redis),
            ("[postgres]", file.postgres != started.postgres),
            ("[store]", file.store != started.store),
            ("[secrets]", !file.secrets.names().eq(started.secrets.names())),
        ];
        gateway.node = kept.node;
        gateway.receipts_awaited = kept.receipts_awaited;
        gateway.validity_hours = kept.validity_hours;
        let differing: BTreeSet<&'static str> =
            differing.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect();
        for key in differing.difference(&self.told) {
            let fields = [("key", Field::Text(key))];
            self.state.log.write(LogLevel::Warn, COMPONENT, "a changed setting needs a restart", &fields);
        }
        self.told = differing;
    }
}

/// Whether a fault of that table belongs to rows, which another source has.
fn has_rows(table: &str) -> bool {
    matches!(table, "customers" | "vendors" | "routing_rules" | "inbound_routes")
}

/// A line for each fault that was not there before, and one when all are gone.
pub(crate) fn tell_faults(log: &Log, before: &[RowFault], now: &InForce, table_name: TableName) {
    let news: Vec<&RowFault> = now.faults.iter().filter(|fault| !before.contains(fault)).collect();
    for fault in news.iter().take(FAULT_LINES_MAX) {
        let fields = [
            ("table", Field::Text(table_name(fault.table))),
            ("key", Field::Text(&fault.key)),
            ("column", Field::Text(&fault.column)),
            ("reason", Field::Text(&fault.reason)),
        ];
        let message = match now.fate(fault) {
            Some(Fate::LastGoodStays) => "a row is wrong, its last good version stays",
            Some(Fate::LeftOut) => "a row is wrong and is left out",
            None => "a row is wrong, a file that it names cannot be used",
        };
        log.write(LogLevel::Warn, COMPONENT, message, &fields);
    }
    if let Some(rest) = news.len().checked_sub(FAULT_LINES_MAX).filter(|rest| *rest > 0) {
        let fields = [("count", Field::Number(rest as u64))];
        log.write(LogLevel::Warn, COMPONENT, "more rows are wrong; /health names them", &fields);
    }
    if now.faults.is_empty() && !before.is_empty() {
        log.write(LogLevel::Info, COMPONENT, "no row is wrong any more", &[]);
    }
}
