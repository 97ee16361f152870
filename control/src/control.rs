//! The control thread itself: starts it, feeds it from the shards' channel, and ends it.
//!
//! One thread with a tokio runtime. Its work per wake-up is bounded, so that neither a storm of binds nor one of
//! requests starves the other.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use smpp_shards::{CustomerId, Report, ShardId, Snapshot, Verdict};
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use crate::attachments::Attachments;
use crate::auth::{Answer, Authenticator, Homes, random_key};
use crate::channel::{ControlChannels, ToControl, ToShard, control_channels};
use crate::config::{Configuration, LogLevel, StoreChoice};
use crate::http::{self, Port, Site};
use crate::live::reloader::{Reloader, tell_faults};
use crate::live::{LiveSetup, ReloadHandle};
use crate::log::{Field, Log};
use crate::nodes::Nodes;
use crate::postgres::{Minder, NothingYet};
use crate::service::Service;
use crate::shard_desk::ShardDesk;
use crate::state::{Phase, State};
use crate::store::{Store, StoreKind, StoreThread};
use crate::store_lookup::MessageLookup;
use crate::trace::Traces;

/// Values from shards that are handled before other work gets its turn.
const BATCH_MAX: usize = 256;

/// The folder of the embedded message store, in data_dir.
const STORE_FOLDER: &str = "store";

/// How long [`Control::stop`] waits for the thread and the log.
const STOP_TIME_MAX: Duration = Duration::from_secs(2);

/// The running control thread, held by the program's main thread. Dropping it ends the thread without waiting.
pub struct Control {
    state: Arc<State>,
    homes: Homes,
    reload: ReloadHandle,
    control_address: SocketAddr,
    metrics_address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
    store: Option<StoreThread>,
}

/// Tells whether a phase of the way down is through on all shards. See [`Control::drain_state`].
pub struct DrainState {
    state: Arc<State>,
    counts: Vec<u64>,
}

impl DrainState {
    /// Whether every shard has reported at least twice since this was made, and says that it is quiet. Two
    /// reports, because the first may have been on its way already.
    pub fn is_quiet(&self) -> bool {
        self.state.is_quiet_since(&self.counts)
    }
}

impl Control {
    /// Binds both ports, then starts the thread, the log's and those of bcrypt. What is in force is what the shards were
    /// started with.
    ///
    /// # Errors
    /// A port that cannot be bound, with the address and the cure; threads or random numbers that are not to be
    /// had.
    pub fn start(configuration: &Configuration, live: LiveSetup, channels: ControlChannels) -> io::Result<Control> {
        let log = Log::to_stdout(configuration.log)?;
        Self::start_with_log(configuration, live, channels, log, Attachments::default())
    }

    /// [`Control::start`] with a log that is there already, and with what the control port can make use of; who reloads is
    /// filled in.
    ///
    /// # Errors
    /// As [`Control::start`].
    pub fn start_with_log(
        configuration: &Configuration,
        mut live: LiveSetup,
        mut channels: ControlChannels,
        log: Log,
        attachments: Attachments,
    ) -> io::Result<Control> {
        let minder = live.postgres.take();
        let snapshot = Arc::clone(&live.in_force.snapshot);
        let control = listen(configuration.control.listen, "listen")?;
        let metrics = listen(configuration.control.metrics_listen, "metrics_listen")?;
        let (control_address, metrics_address) = (control.local_addr()?, metrics.local_addr()?);
        let shards = channels.shards.len();
        let authenticator = Authenticator::start(Arc::clone(&snapshot), shards, channels.waker.clone())?;
        let node_id = configuration.gateway.node_id.clone();
        let mut state = State::new(snapshot, node_id, log, shards, Arc::clone(&channels.dropped_events));
        state.failing = authenticator.failing_figures();
        let state = Arc::new(state);
        state.set_faults(live.in_force.faults.clone());
        state.set_table_name(live.source.table_name());
        tell_faults(&state.log, &[], &live.in_force, live.source.table_name());
        if let Some(recovery) = &attachments.recovery {
            state.set_recovery(Arc::clone(recovery));
        }
        let store = start_store(configuration, &mut channels, &state)?;
        if let Some(minder) = &minder {
            state.watch_service(minder.service());
        }
        let (reload, requests) = ReloadHandle::new();
        let reloader = Reloader::new(live, configuration.clone(), channels.shards.clone(), Arc::clone(&state));
        let messages = state.store().map(|store| Arc::new(store.clone()) as Arc<dyn MessageLookup>);
        let attachments = Attachments {
            reload: attachments.reload.or_else(|| Some(reload.clone())),
            messages: attachments.messages.or(messages),
            vendor_table: attachments.vendor_table.or_else(|| Some(minder.as_ref()?.vendor_table())),
            ..attachments
        };
        let desk = Arc::new(ShardDesk::new(channels.shards.clone()));
        let nodes = configuration.redis.as_ref().map(|redis| Nodes::new(redis, &state, &desk)).transpose()?;
        let homes = authenticator.homes();
        let traces = Arc::new(Traces::default());
        let site = Site::new(
            Arc::clone(&state),
            random_key()?,
            Arc::clone(&desk),
            homes.clone(),
            &configuration.control,
            attachments,
            Arc::clone(&traces),
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let inbox =
            Inbox { state: Arc::clone(&state), authenticator, channels, desk, nodes, traces, answers: Vec::new() };
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = bounded(1);
        let (asking, minded) = (reload.clone(), Arc::clone(&state));
        let thread = thread::Builder::new().name("control".into()).spawn(move || {
            runtime.block_on(async {
                tokio::spawn(reloader.run(requests));
                if let Some(minder) = minder {
                    mind(minder, asking, &minded);
                }
                serve(inbox, control, metrics, Arc::new(site), stopped).await;
            });
            // A reload that is being compiled, or a name that is being looked up for a trial bind, holds nothing up.
            runtime.shutdown_background();
            let _ = end.try_send(());
        })?;
        Ok(Control {
            state,
            homes,
            reload,
            control_address,
            metrics_address,
            stop: Some(stop),
            ended,
            thread: Some(thread),
            store,
        })
    }

    /// The control port alone, for as long as there is nothing to start with: `/health` tells why, `/ready` says no.
    ///
    /// # Errors
    /// As [`Control::start`].
    pub fn start_waiting(configuration: &Configuration, log: Log) -> io::Result<Waiting> {
        let (channels, _) = control_channels(Vec::new());
        let attachments = Attachments { vendor_table: Some(Arc::new(NothingYet)), ..Attachments::default() };
        let control = Self::start_with_log(configuration, LiveSetup::nothing(), channels, log, attachments)?;
        let service = Service::new("postgresql");
        control.state.watch_service(Arc::clone(&service));
        Ok(Waiting { control, service })
    }

    /// Fixes the homes of customers of whom shards hold something already. To be called before anybody is let in.
    pub fn fix_homes(&self, homes: &[(CustomerId, ShardId)]) {
        for (customer, home) in homes {
            self.homes.clone().fix(*customer, *home);
        }
    }

    /// Makes places for customers that are in no row and of whom the journal holds something, and gives the snapshot for
    /// the shards to be started with; `None` when that cannot be. To be called before the shards are started, by a thread
    /// that may wait.
    pub fn remember_customers(&self, system_ids: Vec<String>) -> Option<Arc<Snapshot>> {
        self.reload.remember(system_ids).ok()?.blocking_recv().ok()?.ok()?;
        Some(self.state.snapshot())
    }

    /// Where the control port listens; tells the port where the configuration said 0.
    pub fn control_address(&self) -> SocketAddr {
        self.control_address
    }

    /// Where the metrics port listens.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics_address
    }

    /// With which a reload of the configuration is asked for.
    pub fn reload_handle(&self) -> ReloadHandle {
        self.reload.clone()
    }

    /// The log, for whoever has something to say beside the shards.
    pub fn log(&self) -> Log {
        self.state.log.clone()
    }

    /// By shard: the latest report; `None` until the first one.
    pub fn reports(&self) -> Vec<Option<Report>> {
        self.state.shards().iter().map(|shard| shard.report.clone()).collect()
    }

    /// The message store, where there is one: to look a message up.
    pub fn store(&self) -> Option<Store> {
        self.state.store().cloned()
    }

    /// In which part of its life the gateway is, as `/health` tells it.
    pub fn phase(&self) -> Phase {
        self.state.phase()
    }

    /// From now on `/ready` says no, and `/health` that the gateway is on its way down. Sends nothing to the
    /// shards: that is the caller's.
    pub fn begin_drain(&self) {
        self.state.begin_drain();
    }

    /// To be asked whether a drain phase is through. Make it after the phase was sent to all shards.
    pub fn drain_state(&self) -> DrainState {
        DrainState { state: Arc::clone(&self.state), counts: self.state.report_counts() }
    }

    /// Ends the thread after it has handled what the shards have sent, and writes the log to its end. Waits at
    /// most two seconds for each, and for the message store; tells whether all came to their end.
    pub fn stop(mut self) -> bool {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let has_ended = self.ended.recv_timeout(STOP_TIME_MAX).is_ok();
        if has_ended && let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let has_stored = self.store.take().is_none_or(|store| store.stop(STOP_TIME_MAX));
        let is_written = self.state.log.flush(STOP_TIME_MAX);
        has_ended && has_stored && is_written
    }
}

/// The message store, where the configuration wants one and the shards have rings to it.
fn start_store(
    configuration: &Configuration,
    channels: &mut ControlChannels,
    state: &State,
) -> io::Result<Option<StoreThread>> {
    let kind = match (configuration.store, &configuration.redis) {
        (StoreChoice::Embedded, _) => StoreKind::Embedded(configuration.gateway.data_dir.join(STORE_FOLDER)),
        (StoreChoice::Redis, Some(redis)) => StoreKind::Redis(redis.clone()),
        (StoreChoice::Redis, None) | (StoreChoice::None, _) => return Ok(None),
    };
    let Some(feeds) = channels.store.take() else { return Ok(None) };
    let (store, thread) = Store::start(kind, feeds, channels.shards.clone(), state.log.clone())?;
    state.set_store(store);
    Ok(Some(thread))
}

/// The control thread of a gateway that has nothing to start with.
pub struct Waiting {
    control: Control,
    service: Arc<Service>,
}

impl Waiting {
    /// Tells why there is still nothing; a reason that is new has its line in the log.
    pub fn tell(&self, reason: &str) {
        let before = self.service.complaint();
        self.service.is_away(reason.to_owned());
        if before.as_deref() != Some(reason) {
            let message = "nothing to start with; the listeners stay closed until PostgreSQL is there";
            self.control.state.log.write(LogLevel::Error, "gateway", message, &[("reason", Field::Text(reason))]);
        }
    }

    /// Tells that a reload which was asked for has nothing to read yet.
    pub fn refuse_reload(&self) {
        // With as many before it that it is one too many, their lines say the same.
        let _ = self.control.reload.request();
    }

    /// Closes its ports; as [`Control::stop`].
    pub fn stop(self) -> bool {
        self.control.stop()
    }
}

fn listen(address: SocketAddr, key: &str) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address).map_err(|error| {
        let cure = match error.kind() {
            io::ErrorKind::AddrInUse => "stop what listens there (`ss -ltnp` tells) or choose another port",
            io::ErrorKind::AddrNotAvailable => "choose an address that this machine has (`ip addr` tells)",
            io::ErrorKind::PermissionDenied => "choose a port from 1024 on",
            _ => "choose another address",
        };
        io::Error::new(error.kind(), format!("[control] {key} {address} cannot be listened on: {error}; {cure}"))
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Has PostgreSQL minded, within the runtime.
fn mind(minder: Minder, reload: ReloadHandle, state: &Arc<State>) {
    let told = Arc::clone(state);
    let health = Box::new(move || told.vendor_health());
    minder.start(reload, health, state.log.clone());
}

async fn serve(
    mut inbox: Inbox,
    control: std::net::TcpListener,
    metrics: std::net::TcpListener,
    site: Arc<Site>,
    mut stopped: oneshot::Receiver<()>,
) {
    for (listener, port) in [(control, Port::Control), (metrics, Port::Metrics)] {
        // Only a runtime without I/O refuses a listener.
        if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
            tokio::spawn(http::serve(listener, port, Arc::clone(&site)));
        }
    }
    if let Some(nodes) = &mut inbox.nodes {
        nodes.begin();
    }
    let waker = inbox.channels.waker.clone();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let release = inbox.authenticator.next_release().map(tokio::time::Instant::from_std);
        tokio::select! {
            () = waker.woken() => {
                if inbox.handle_batch() {
                    waker.wake();
                    tokio::task::yield_now().await;
                }
            }
            () = tokio::time::sleep_until(release.unwrap_or_else(tokio::time::Instant::now)), if release.is_some() => {
                inbox.release();
            }
            _ = second.tick() => inbox.end_second(),
            _ = &mut stopped => break,
        }
    }
    while inbox.handle_batch() {}
    if let Some(nodes) = &mut inbox.nodes {
        nodes.leave().await;
    }
    inbox.state.log.end_second();
}

/// What comes from the shards, and what goes back.
struct Inbox {
    state: Arc<State>,
    authenticator: Authenticator,
    channels: ControlChannels,
    desk: Arc<ShardDesk>,
    /// Where there is Redis.
    nodes: Option<Nodes>,
    traces: Arc<Traces>,
    answers: Vec<Answer>,
}

impl Inbox {
    /// Handles what is there, at most [`BATCH_MAX`] values; tells whether there may be more.
    fn handle_batch(&mut self) -> bool {
        self.admit();
        let mut handled = 0;
        while handled < BATCH_MAX {
            let Ok(value) = self.channels.incoming.try_recv() else { break };
            handled += 1;
            match value {
                ToControl::Authenticate(request) => {
                    self.answers.extend(self.authenticator.check(request, Instant::now()));
                }
                ToControl::Event(shard, event) => {
                    self.state.vendor_news.note(&event);
                    self.state.log.event(shard, &event, &self.state.snapshot());
                }
                ToControl::Reply(ticket, reply) => self.desk.answer(ticket, reply),
                ToControl::BindOver(customer) => self.nodes.iter().for_each(|nodes| nodes.bind_over(customer)),
                ToControl::Report(report) => self.state.take_report(*report),
                ToControl::Retired { shard, in_force, snapshot } => {
                    self.state.shard_has(shard, in_force);
                    // Freeing ten thousand customers takes some milliseconds.
                    tokio::task::spawn_blocking(move || drop(snapshot));
                }
            }
        }
        self.release();
        let has_more_traced = self.traces.fill();
        handled == BATCH_MAX || has_more_traced
    }

    /// Answers the binds of which enough is known, and those whose refusals were held back for long enough.
    fn release(&mut self) {
        self.authenticator.finish(Instant::now(), &mut self.answers);
        self.send_answers();
        for news in self.authenticator.take_news() {
            let address = news.address.to_string();
            let fields = [
                ("peer", Field::Text(&address)),
                ("failures", Field::Number(news.failures)),
                ("delay_ms", Field::Number(news.delay.as_millis() as u64)),
            ];
            self.state.log.write(LogLevel::Warn, "smpp_server", "binds from an address keep failing", &fields);
        }
    }

    fn end_second(&mut self) {
        self.state.log.end_second();
        self.authenticator.end_second(Instant::now());
        self.traces.end_second(Instant::now());
    }

    /// Customers are let in by a new configuration when every shard has it: their home, and those that their messages go to,
    /// know them then.
    fn admit(&mut self) {
        let everywhere = self.state.in_force_everywhere();
        if everywhere > self.authenticator.version() {
            let newest = self.state.snapshot();
            if newest.version <= everywhere && newest.version > self.authenticator.version() {
                self.authenticator.switch(newest);
            }
        }
    }

    fn send_answers(&mut self) {
        for (shard, verdict) in self.answers.drain(..) {
            let counting = self.nodes.as_ref().zip(counted_binds(&self.authenticator, &verdict));
            let counted = counting.map_or(Err(verdict), |(nodes, most)| nodes.count_bind(shard, verdict, most));
            let Err(verdict) = counted else { continue };
            let Some(handle) = self.channels.shards.get(shard.index()) else { continue };
            if handle.send(ToShard::Verdict(verdict)).is_err() {
                // The bind timer ends that bind.
                self.state.dropped_verdicts.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// How many binds the customer may have over all nodes, where the verdict lets one more pass.
fn counted_binds(authenticator: &Authenticator, verdict: &Verdict) -> Option<u32> {
    let (customer, _) = verdict.result.ok()?;
    Some(authenticator.binds_max(customer)).filter(|most| *most != 0)
}

#[cfg(test)]
pub(crate) mod tests;
