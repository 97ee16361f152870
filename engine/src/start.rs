//! From a configuration to a running gateway: cores, listeners, channels, the control thread, one executor a shard.
//!
//! Runs on the main thread, once.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use glommio::{LocalExecutorBuilder, Placement};
use smpp_control::config::{ConfigError, ShardsSettings, StoreChoice};
use smpp_control::live::Source;
use smpp_control::postgres::Opened;
use smpp_control::{
    Attachments, Bell, Configuration, Control, ControlChannels, ControlWaker, LiveSetup, Log, RecoveryProgress,
    RowFault, ShardHandle, StoreChannels, control_channels, shard_channel,
};
use smpp_shards::restore::Restored;
use smpp_shards::settings::VendorSettings;
use smpp_shards::{Accept, Feed, ShardId, ShardSetup, feed, mesh};

use crate::certificates::{self, CertificateError, Clients, TlsConfigs, VendorConfigs};
use crate::check::{self, Finding, Severity};
use crate::journal::StoreError;
use crate::live::{TlsKeeper, row_faults};
use crate::mail::{Mail, Post};
use crate::net::{Doorbell, SetupError};
use crate::pump::{DrainNews, Pump, PumpSetup};
use crate::recovery::{Journal, OldJournal, Recovery, RecoveryError};
use crate::resolve::Resolver;
use crate::stop::{self, StartSignals};
use crate::{listen, platform};

/// Octets of memory for glommio's own files, which the pump does not use yet.
const EXECUTOR_MEMORY: usize = 64 * 1024;

/// How long a shard may take to set its ring up.
const SHARD_START_MAX: Duration = Duration::from_secs(10);

/// Why the gateway does not start.
#[derive(Debug)]
pub enum StartError {
    /// What the machine lacks.
    Machine(Vec<Finding>),
    /// What is wrong with the settings.
    Configuration(ConfigError),
    /// What is wrong with certificates and keys.
    Certificates(Vec<CertificateError>),
    /// An address to listen on that cannot be had.
    Listen(SocketAddr, io::Error),
    /// A shard's ring.
    Ring(SetupError),
    /// A shard's thread.
    Executor(String),
    /// The journal's folder.
    Journal(StoreError),
    /// What the journal holds cannot be taken over.
    Recovery(RecoveryError),
    /// A signal ended the start while it took over the journal, of which nothing has been removed.
    Stopped,
    /// Threads or descriptors, or the control port.
    Io(&'static str, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(findings) => {
                let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            Self::Configuration(error) => error.fmt(f),
            Self::Certificates(errors) => {
                let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            Self::Listen(address, error) => {
                write!(f, "cannot listen on {address} ({error}): {}", listen::cure(error))
            }
            Self::Ring(error) => error.fmt(f),
            Self::Executor(error) => write!(f, "a shard's executor did not start: {error}"),
            Self::Journal(error) => error.fmt(f),
            Self::Recovery(error) => error.fmt(f),
            Self::Stopped => f.write_str("stopped while the journal was taken over; the older one stays as it is"),
            Self::Io(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A gateway that runs.
pub struct Gateway {
    pub(crate) control: Control,
    pub(crate) shards: Vec<ShardHandle>,
    pub(crate) drain_news: Receiver<DrainNews>,
    /// Tells the end of each shard's thread by being disconnected.
    pub(crate) ended: Receiver<()>,
    /// In journal mode.
    pub(crate) journal: Option<Journal>,
}

impl Gateway {
    /// Starts everything; when this returns, the listeners accept. `rows` are those of PostgreSQL, where it is their source.
    /// A signal ends it while a journal is taken over.
    ///
    /// # Errors
    /// The first thing that is in the way, with its cure where there is one.
    pub fn start(
        configuration: Configuration,
        rows: Option<Opened>,
        signals: &mut StartSignals<'_>,
    ) -> Result<Self, StartError> {
        check_machine(&configuration)?;
        let cores = shard_cores(&configuration.shards);
        let count = u16::try_from(cores.len()).unwrap_or(u16::MAX);
        let log = Log::to_stdout(configuration.log).map_err(|error| StartError::Io("no thread for the log", error))?;
        let mut live = match (rows, &configuration.postgres) {
            (Some(mut opened), Some(settings)) => {
                opened.tell(&log, &configuration.gateway.data_dir);
                let doubts = row_faults(&opened.loaded, &mut VendorConfigs::default());
                opened.doubt(doubts);
                LiveSetup::of_postgres(&configuration, settings, opened, count)
            }
            _ => {
                let snapshot = configuration.snapshot(count, 1).map_err(StartError::Configuration)?;
                LiveSetup::of_file(&configuration, Arc::new(snapshot))
            }
        };
        let snapshot = Arc::clone(&live.in_force.snapshot);
        let tls = read_tls(&configuration, &mut live).map_err(StartError::Certificates)?;
        let listeners = open_listeners(&configuration, cores.len())?;

        let bells = bells(cores.len())?;
        let (post, mailboxes) = Post::new(bells.clone());
        let (senders, commands): (Vec<_>, Vec<_>) = cores.iter().map(|_| shard_channel()).unzip();
        let shards: Vec<ShardHandle> = senders
            .into_iter()
            .zip(bells.iter())
            .map(|(sender, bell)| ShardHandle { sender, bell: Arc::new(BellOf(bell.clone())) })
            .collect();
        if configuration.shards.pin {
            platform::stay_off(&cores);
        }
        let opened = match configuration.gateway.accept {
            Accept::Relay => None,
            Accept::Journal => Some(OldJournal::open(&configuration, count)?),
        };
        let (mut channels, control) = control_channels(shards.clone());
        let (mut feeds, store_bell) = open_store(&configuration, cores.len(), &mut channels);
        let resolver = Resolver::start(&post).map_err(|error| StartError::Io("no thread for the resolver", error))?;
        let (news_sender, drain_news) = bounded(cores.len() * 8);
        let (ended_sender, ended) = bounded(0);
        let progress = opened.as_ref().map(OldJournal::progress);
        let running = start_control(&configuration, live, channels, progress, &tls, &post, log.clone())
            .map_err(|error| StartError::Io("the control thread did not start", error))?;
        // The control port tells how far it is meanwhile.
        let mut journal = match opened.map(|opened| {
            let remember = |system_ids| running.remember_customers(system_ids);
            Recovery::begin(opened, &configuration, Arc::clone(&snapshot), &bells, signals, remember)
        }) {
            Some(Ok(recovery)) => Some(recovery),
            Some(Err(error)) => {
                running.stop();
                return Err(error);
            }
            None => None,
        };
        running.fix_homes(journal.as_ref().map_or(&[], |journal| &journal.homes));
        let snapshot = journal.as_ref().map_or(snapshot, |journal| Arc::clone(&journal.snapshot));

        let origin = Instant::now();
        let spin = spin(&configuration.shards);
        let (restored_sender, restored) = bounded(cores.len());
        for (index, ((rings, mail), commands)) in mesh(count).into_iter().zip(mailboxes).zip(commands).enumerate() {
            let id = ShardId(index as u16);
            let share = journal.as_mut().and_then(Recovery::next_share);
            let (journal_setup, restored, appender, recovery) = match share {
                Some(share) => (Some(share.setup), share.restored, Some(share.appender), Some(share.progress)),
                None => (None, Restored::default(), None, None),
            };
            let setup = PumpSetup {
                shard: ShardSetup {
                    shard: id,
                    shards: count,
                    seed: seed(),
                    snapshot: snapshot.clone(),
                    rings,
                    journal: journal_setup,
                    restored,
                    store: feeds.pop_front(),
                },
                bell: bells[index].clone(),
                post: post.clone(),
                mail,
                commands,
                control: control.clone(),
                log: log.clone(),
                resolver: resolver.clone(),
                drain_news: news_sender.clone(),
                appender,
                restored: restored_sender.clone(),
                recovery,
                tls: tls.clone(),
                origin,
                spin,
                store_bell: store_bell.clone(),
            };
            let core = configuration.shards.pin.then(|| cores[index]);
            start_shard(setup, core, ended_sender.clone())?;
        }
        drop(restored_sender);
        let journal = match journal.map(|journal| journal.finish(&restored, signals, &running.log())) {
            Some(Ok(journal)) => Some(journal),
            Some(Err(error)) => {
                stop::give_up_start(running, &shards, &ended);
                return Err(error);
            }
            None => None,
        };
        for (index, listeners) in listeners.into_iter().enumerate() {
            post.send(ShardId(index as u16), Mail::Open(listeners));
        }
        Ok(Self { control: running, shards, drain_news, ended, journal })
    }
}

/// Starts the control thread, and with it whatever changes the configuration later.
fn start_control(
    configuration: &Configuration,
    live: LiveSetup,
    channels: ControlChannels,
    recovery: Option<Arc<RecoveryProgress>>,
    tls: &TlsConfigs,
    post: &Post,
    log: Log,
) -> io::Result<Control> {
    let companion = Box::new(TlsKeeper::new(tls, post.clone(), log.clone()));
    let live = LiveSetup { companion, ..live };
    let attachments = Attachments { recovery, ..attachments() };
    Control::start_with_log(configuration, live, channels, log, attachments)
}

/// A ring from each shard to the message store, where there is one, and the bell that its thread hears.
fn open_store(
    configuration: &Configuration,
    shards: usize,
    channels: &mut ControlChannels,
) -> (VecDeque<Feed>, ControlWaker) {
    let bell = ControlWaker::default();
    if configuration.store == StoreChoice::None {
        return (VecDeque::new(), bell);
    }
    let (feeds, ends) = (0..shards).map(|_| feed::feed()).unzip();
    channels.store = Some(StoreChannels { feeds: ends, bell: bell.clone() });
    (feeds, bell)
}

/// The cores on which the shards run.
pub fn shard_cores(settings: &ShardsSettings) -> Vec<usize> {
    settings.cores.clone().unwrap_or_else(platform::default_cores)
}

/// What the control port can make use of.
fn attachments() -> Attachments {
    let vendor_tls = |vendor: &VendorSettings| certificates::towards(vendor).map_err(|error| error.to_string());
    Attachments { vendor_tls: Some(Arc::new(vendor_tls)), ..Attachments::default() }
}

fn check_machine(configuration: &Configuration) -> Result<(), StartError> {
    let mut findings = check::machine();
    if configuration.shards.pin {
        findings.extend(check::cores(configuration));
    }
    let failures: Vec<Finding> = findings.into_iter().filter(|finding| finding.severity == Severity::Failure).collect();
    if failures.is_empty() { Ok(()) } else { Err(StartError::Machine(failures)) }
}

/// What is wrong with the authorities of a row of a service keeps that vendor from TLS, and nobody from starting.
fn read_tls(configuration: &Configuration, live: &mut LiveSetup) -> Result<Arc<TlsConfigs>, Vec<CertificateError>> {
    let vendors: Vec<Option<&VendorSettings>> =
        live.in_force.snapshot.vendors.iter().map(|vendor| Some(&vendor.settings)).collect();
    let mut found = TlsConfigs::default();
    let errors = found.renew(&configuration.smpp.certificates, Clients::of(&configuration.smpp), &vendors);
    let is_of_file = matches!(live.source, Source::Toml);
    let (ours, theirs): (Vec<_>, Vec<_>) = errors.into_iter().partition(|(place, _)| is_of_file || place.is_none());
    if !ours.is_empty() {
        let named = ours.into_iter().map(|(place, error)| match place.and_then(|place| vendors[place]) {
            Some(vendor) => error.of_vendor(&vendor.instance_name),
            None => error,
        });
        return Err(named.collect());
    }
    let faults = theirs.into_iter().filter_map(|(place, error)| {
        let vendor = vendors.get(place?).copied().flatten()?;
        let (key, column) = (vendor.instance_name.clone(), "tls_ca".to_owned());
        Some(RowFault { table: "vendors", key, column, reason: error.to_string() })
    });
    let faults: Vec<RowFault> = faults.collect();
    live.in_force.faults.extend(faults);
    Ok(Arc::new(found))
}

/// For each shard, its own listener on every address, and whether TLS is spoken there.
fn open_listeners(configuration: &Configuration, shards: usize) -> Result<Vec<Vec<(OwnedFd, bool)>>, StartError> {
    let plain = configuration.smpp.listen.iter().map(|address| (*address, false));
    let tls = configuration.smpp.tls_listen.iter().map(|address| (*address, true));
    let addresses: Vec<(SocketAddr, bool)> = plain.chain(tls).collect();
    for (address, _) in &addresses {
        listen::wait_until_free(*address).map_err(|error| StartError::Listen(*address, error))?;
    }
    let open = |(address, tls): &(SocketAddr, bool)| {
        let socket = listen::listener(*address).map_err(|error| StartError::Listen(*address, error))?;
        Ok((socket, *tls))
    };
    (0..shards).map(|_| addresses.iter().map(open).collect()).collect()
}

fn bells(count: usize) -> Result<Arc<[Arc<Doorbell>]>, StartError> {
    (0..count)
        .map(|_| Doorbell::new().map(Arc::new))
        .collect::<io::Result<Vec<_>>>()
        .map(Into::into)
        .map_err(|error| StartError::Io("no descriptor for a doorbell", error))
}

/// Starts one shard's executor with the pump as its only task, and waits until its ring is set up.
fn start_shard(setup: PumpSetup, core: Option<usize>, ended: Sender<()>) -> Result<(), StartError> {
    let (ready, is_ready) = bounded(1);
    let name = format!("shard-{}", setup.shard.shard);
    let placement = core.map_or(Placement::Unbound, Placement::Fixed);
    LocalExecutorBuilder::new(placement)
        .name(&name)
        .io_memory(EXECUTOR_MEMORY)
        .spawn(move || async move {
            match Pump::new(setup) {
                Ok(pump) => {
                    let _ = ready.send(Ok(()));
                    pump.run();
                }
                Err(error) => drop(ready.send(Err(error))),
            }
            drop(ended);
        })
        .map_err(|error| StartError::Executor(error.to_string()))?;
    match is_ready.recv_timeout(SHARD_START_MAX) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(StartError::Ring(error)),
        Err(error) => Err(StartError::Executor(format!("{name}: {error}"))),
    }
}

/// Spinning under a CPU quota would spend the quota on nothing.
fn spin(settings: &ShardsSettings) -> Duration {
    let asked = settings.spin_us.map_or(Duration::ZERO, |micros| Duration::from_micros(u64::from(micros)));
    if platform::cpu_quota().is_some() { Duration::ZERO } else { asked }
}

fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A doorbell as the control thread knows it.
pub(crate) struct BellOf(pub(crate) Arc<Doorbell>);

impl Bell for BellOf {
    fn ring(&self) {
        self.0.ring();
    }
}
