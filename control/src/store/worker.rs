//! The thread of the store: out of the rings, into batches, into the store, and answers back. Bounded in everything: with
//! the store away a batch is kept and tried again, one more is collected, and then the rings fill.

use std::future::{Future, pending as never};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::aio::MultiplexedConnection;
use smpp_shards::feed::{FeedRecord, Question};
use smpp_shards::{FeedEnd, ShardId, StoreAnswer, StoreFinding};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::embedded::Embedded;
use super::message::{StoredMessage, normal_id};
use super::pending::Pending;
use super::stats::StoreStats;
use super::{Asked, Request, StoreChannels, StoreError, StoreKind};
use crate::channel::{ControlWaker, ShardHandle, ToShard};
use crate::config::{LogLevel, RedisSettings};
use crate::log::{Field, Log};
use crate::service::{SLOW, TOLD_MAX};

/// Messages that are collected for the next batch; beyond it the rings are left alone until a batch is through.
const BATCH_MESSAGES_MAX: usize = 16_384;

/// Octets that are taken out of one ring before the next one's turn.
const TURN_BYTES: usize = 256 * 1024;

/// How long notes are gathered, so that a quiet gateway does not write message by message.
const GATHER: Duration = Duration::from_millis(5);

/// From one look to the next at a store of which nothing is asked.
const LOOK: Duration = Duration::from_millis(400);
const _: () = assert!(LOOK.as_millis() + TICK.as_millis() + SLOW.as_millis() <= TOLD_MAX.as_millis());

/// From one look at what is due to the next, where nothing else happens.
const TICK: Duration = Duration::from_millis(100);

/// From one removal of what has had its time to the next.
const SWEEP: Duration = Duration::from_secs(60);

/// How long Redis may take for one batch.
const REDIS_ANSWER_MAX: Duration = Duration::from_secs(10);

/// From a failure to the next try, at first and at the most.
const REST: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How long the last notes may take when the gateway stops.
const LAST_MAX: Duration = Duration::from_millis(1_500);

type Connecting = Pin<Box<dyn Future<Output = Result<MultiplexedConnection, String>> + Send>>;
type Writing = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// What is wrong, and whether the connection is of no use any more.
struct Failure {
    reason: String,
    is_connection: bool,
}

enum Backend {
    Embedded(Embedded),
    Redis { settings: RedisSettings, connection: Option<MultiplexedConnection>, connecting: Option<Connecting> },
}

pub(super) struct Worker {
    backend: Backend,
    feeds: Vec<FeedEnd>,
    bell: ControlWaker,
    shards: Vec<ShardHandle>,
    log: Log,
    stats: Arc<StoreStats>,
    /// What is being collected.
    next: Pending,
    /// What is being written, or is to be written again.
    batch: Arc<Pending>,
    writing: Option<Writing>,
    questions: Vec<(ShardId, u64, Asked)>,
    /// Nothing is tried before that.
    rest_until: Instant,
    rest: Duration,
    next_look: Instant,
    next_sweep: Instant,
}

impl Worker {
    pub(super) fn new(
        kind: StoreKind,
        channels: StoreChannels,
        shards: Vec<ShardHandle>,
        log: Log,
        stats: Arc<StoreStats>,
    ) -> Self {
        let backend = match kind {
            StoreKind::Embedded(folder) => Backend::Embedded(Embedded::new(&folder)),
            StoreKind::Redis(settings) => Backend::Redis { settings, connection: None, connecting: None },
        };
        let now = Instant::now();
        Self {
            backend,
            feeds: channels.feeds,
            bell: channels.bell,
            shards,
            log,
            stats,
            next: Pending::default(),
            batch: Arc::default(),
            writing: None,
            questions: Vec::new(),
            rest_until: now,
            rest: REST.0,
            next_look: now,
            next_sweep: now + SWEEP,
        }
    }

    /// Works until it is told to stop, or whoever could tell it has gone.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>, mut stopped: oneshot::Receiver<()>) {
        let mut gather_until = Instant::now();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.empty_rings();
            self.answer_questions();
            self.begin();
            let bell = self.bell.clone();
            let has_room = self.next.len() < BATCH_MESSAGES_MAX;
            let connecting = match &mut self.backend {
                Backend::Redis { connecting, .. } => connecting.as_mut(),
                Backend::Embedded(_) => None,
            };
            tokio::select! {
                () = gathered(&bell, gather_until), if has_room => gather_until = Instant::now() + GATHER,
                result = until_done(self.writing.as_mut()) => self.ended(result),
                result = until_done(connecting) => self.connected(result),
                Some(request) = requests.recv() => self.serve(request),
                _ = tick.tick() => {}
                _ = &mut stopped => break,
            }
        }
        // What is left is worth a moment, but holds nobody up.
        let _ = timeout(LAST_MAX, self.finish()).await;
    }

    async fn finish(&mut self) {
        loop {
            self.empty_rings();
            self.begin();
            match self.writing.as_mut() {
                Some(writing) => {
                    let result = writing.await;
                    self.ended(result);
                }
                None if self.batch.is_empty() && self.next.is_empty() => break,
                None => sleep_until(self.rest_until.max(Instant::now() + GATHER)).await,
            }
        }
        if let Backend::Embedded(embedded) = &mut self.backend {
            let _ = embedded.sync();
            embedded.close();
        }
    }

    fn empty_rings(&mut self) {
        let Self { feeds, next, questions, .. } = self;
        loop {
            let mut taken = 0;
            for (index, feed) in feeds.iter_mut().enumerate() {
                if next.len() >= BATCH_MESSAGES_MAX {
                    break;
                }
                taken += feed.take(TURN_BYTES, |record| match record {
                    FeedRecord::Note(note) => next.add(&note),
                    FeedRecord::Question(question) => {
                        questions.push((ShardId(index as u16), question.ticket, asked(&question)));
                    }
                });
            }
            if taken == 0 {
                return;
            }
        }
    }

    /// Begins what is to be done next, if it is time for it and nothing is under way.
    fn begin(&mut self) {
        let now = Instant::now();
        let oldest = [self.batch.oldest_unix_ms(), self.next.oldest_unix_ms()].into_iter().find(|at| *at != 0);
        self.stats.set_waiting(self.batch.records() + self.next.records(), oldest.unwrap_or(0));
        if self.writing.is_some() || now < self.rest_until {
            return;
        }
        if self.batch.is_empty() && !self.next.is_empty() {
            // The memory of the batch before is used again.
            let spare = Arc::get_mut(&mut self.batch).map(std::mem::take).unwrap_or_default();
            self.batch = Arc::new(std::mem::replace(&mut self.next, spare));
        }
        if self.batch.is_empty() && now < self.next_look {
            return;
        }
        match &mut self.backend {
            Backend::Embedded(_) => self.write_embedded(now),
            Backend::Redis { settings, connection, connecting } => {
                if let Some(connection) = connection {
                    self.stats.ask();
                    self.writing = Some(Box::pin(write_redis(connection.clone(), Arc::clone(&self.batch))));
                } else if connecting.is_none() {
                    self.stats.ask();
                    let settings = settings.clone();
                    *connecting = Some(Box::pin(async move {
                        crate::redis::connect(&settings, super::redis::DATABASE, REDIS_ANSWER_MAX).await
                    }));
                }
            }
        }
    }

    fn write_embedded(&mut self, now: Instant) {
        let Backend::Embedded(embedded) = &mut self.backend else { return };
        self.stats.ask();
        let mut result = embedded.write(&self.batch, unix_ms());
        if result.is_ok() && now >= self.next_sweep {
            let more = embedded.sweep(unix_ms());
            let is_more = matches!(more, Ok(true));
            result = more.and_then(|_| embedded.sync());
            self.next_sweep = now + if is_more { Duration::from_secs(1) } else { SWEEP };
        }
        if result.is_err() {
            embedded.close();
        }
        self.ended(result.map_err(|error| Failure { reason: error.to_string(), is_connection: false }));
    }

    /// A batch is through, or a mere question whether the store is there.
    fn ended(&mut self, result: Result<(), Failure>) {
        self.writing = None;
        self.next_look = Instant::now() + LOOK;
        match result {
            Ok(()) => {
                self.stats.written(self.batch.records(), self.batch.len() as u64);
                match Arc::get_mut(&mut self.batch) {
                    Some(batch) => batch.clear(),
                    None => self.batch = Arc::default(),
                }
                self.rest = REST.0;
                self.tell(None);
            }
            Err(failure) => {
                if let Backend::Redis { connection, .. } = &mut self.backend
                    && failure.is_connection
                {
                    *connection = None;
                }
                self.fail(&failure.reason);
            }
        }
    }

    fn connected(&mut self, result: Result<MultiplexedConnection, String>) {
        let Backend::Redis { connection, connecting, .. } = &mut self.backend else { return };
        *connecting = None;
        match result {
            Ok(made) => *connection = Some(made),
            Err(reason) => self.fail(&reason),
        }
    }

    fn fail(&mut self, reason: &str) {
        self.rest_until = Instant::now() + self.rest;
        self.rest = (2 * self.rest).min(REST.1);
        self.tell(Some(reason));
    }

    fn tell(&self, trouble: Option<&str>) {
        if !self.stats.answered(trouble) {
            return;
        }
        let name = self.stats.name();
        let (level, message, reason) = match trouble {
            Some(reason) => (LogLevel::Warn, "the message store is away: what happens is written later", reason),
            None => (LogLevel::Info, "the message store is there", "it takes what is written"),
        };
        self.log.write(level, "store", message, &[("service", Field::Text(name)), ("reason", Field::Text(reason))]);
    }

    fn answer_questions(&mut self) {
        for (shard, ticket, asked) in self.questions.drain(..) {
            let Some(handle) = self.shards.get(shard.index()).cloned() else { continue };
            match &mut self.backend {
                Backend::Embedded(embedded) => {
                    answer_shard(&handle, ticket, embedded.by_vendor_id(&asked, unix_ms()));
                }
                Backend::Redis { connection: Some(connection), .. } => {
                    let mut connection = connection.clone();
                    tokio::spawn(async move {
                        answer_shard(&handle, ticket, super::redis::by_vendor_id(&mut connection, &asked).await);
                    });
                }
                Backend::Redis { connection: None, .. } => answer_shard(&handle, ticket, Err(StoreError::Away)),
            }
        }
    }

    fn serve(&mut self, request: Request) {
        let Request { id, answer } = request;
        if let Some(known) = self.next.get(id).or_else(|| self.batch.get(id)) {
            let json = serde_json::to_vec(&known.message());
            let message = json.and_then(|json| serde_json::from_slice(&json));
            let _ = answer.send(message.map(Some).map_err(|error| StoreError::Failed(error.to_string())));
            return;
        }
        match &mut self.backend {
            Backend::Embedded(embedded) => drop(answer.send(embedded.message(id, unix_ms()))),
            Backend::Redis { connection: Some(connection), .. } => {
                let mut connection = connection.clone();
                tokio::spawn(async move { answer.send(super::redis::message(&mut connection, id).await) });
            }
            Backend::Redis { connection: None, .. } => drop(answer.send(Err(StoreError::Away))),
        }
    }
}

async fn write_redis(mut connection: MultiplexedConnection, batch: Arc<Pending>) -> Result<(), Failure> {
    super::redis::write(&mut connection, &batch).await.map_err(|error| Failure {
        reason: crate::redis::reason(&error),
        is_connection: crate::redis::ends_connection(&error),
    })
}

/// Waits for the bell, but not before notes had their time to gather.
async fn gathered(bell: &ControlWaker, until: Instant) {
    sleep_until(until).await;
    bell.woken().await;
}

/// The outcome of what is under way; never, when nothing is.
async fn until_done<T>(work: Option<&mut Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match work {
        Some(work) => work.await,
        None => never().await,
    }
}

fn asked(question: &Question<'_>) -> Asked {
    Asked {
        vendor: question.vendor.to_vec(),
        normal_id: normal_id(question.vendor_message_id, question.vendor_id_format),
    }
}

fn answer_shard(shard: &ShardHandle, ticket: u64, found: Result<Option<StoredMessage<'static>>, StoreError>) {
    let finding = match found {
        Ok(Some(message)) => {
            message.remembered().map_or(StoreFinding::NotThere, |known| StoreFinding::Found(Box::new(known)))
        }
        Ok(None) => StoreFinding::NotThere,
        Err(_) => StoreFinding::Away,
    };
    // The look-up's own time ends it where the channel is full.
    let _ = shard.send(ToShard::StoreAnswer(StoreAnswer { ticket, finding }));
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
