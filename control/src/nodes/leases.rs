//! Renews leases: asks the shards which limits they looked at, has Redis share them out in one call, tells the shards.
//!
//! One round at a time, two of them in the time that a lease is worth. A round that Redis does not answer changes nothing: shards
//! notice by themselves that they hear nothing, and go on with their shares.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smpp_shards::{Command, Grant, Leases, LimitKey, LimitUse, Reply, ShardId, Snapshot};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Shared;
use crate::config::LogLevel;
use crate::log::Field;
use crate::service::SLOW;
use crate::shard_desk::{Asked, ShardDesk};

/// Limits of one call, of all shards: more wait for the next round.
const LIMITS_MAX: usize = 2_048;

/// How long a shard may take to tell what it has used.
const SHARD_PATIENCE: Duration = Duration::from_secs(1);

/// From one attempt to connect to the next.
const REST: Duration = Duration::from_millis(500);

/// For how many lengths of a lease shards wait for the next one before they make tokens themselves; the script knows it, too.
const FRESH_LEASES: u32 = 2;

/// So many times what a round took in Redis it is left alone, but for a lease at the most.
const REST_TIMES: u32 = 4;

/// What holds meanwhile, for `/health`.
const MEANWHILE: &str = "limits: this node goes on with its share; smpp_max_binds counts this node's binds alone";

/// Tells every shard that limits count over all nodes; until more is known this node is the only one.
pub(super) fn begin(desk: &Arc<ShardDesk>, lease_ms: u64) {
    for shard in shards(desk) {
        let leases = Leases { nodes: 1, lease_ms, ..Leases::default() };
        // Nobody else has asked for anything yet, so there is room.
        drop(desk.ask(shard, Command::Lease(leases), 1));
    }
}

/// The task.
pub(super) struct Renewal {
    shared: Arc<Shared>,
    desk: Arc<ShardDesk>,
    lease: Duration,
    turn: u64,
    /// When the last round began that was answered.
    renewed_at: Option<Instant>,
    rest_until: Instant,
}

impl Renewal {
    pub(super) fn new(shared: Arc<Shared>, desk: Arc<ShardDesk>) -> Self {
        let lease = Duration::from_millis(shared.settings.lease_ms);
        Self { shared, desk, lease, turn: 0, renewed_at: None, rest_until: Instant::now() }
    }

    pub(super) async fn run(mut self) {
        let mut turns = interval(self.lease / 2);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            if self.shared.link.is_there() || self.connect().await {
                let took = self.round().await;
                // So many limits that Redis is busy with them are renewed less often.
                sleep((took * REST_TIMES).min(self.lease)).await;
            }
        }
    }

    async fn connect(&mut self) -> bool {
        if Instant::now() < self.rest_until {
            return false;
        }
        self.shared.service.asks();
        let result = self.shared.link.connect().await;
        if let Err(reason) = &result {
            self.rest_until = Instant::now() + REST;
            self.is_away(reason.clone());
        }
        result.is_ok()
    }

    /// How long Redis took for it.
    async fn round(&mut self) -> Duration {
        let began = Instant::now();
        let used = self.used_limits().await;
        self.turn += 1;
        let snapshot = self.shared.state.snapshot();
        let (keys, mut arguments) = (keys(&used, &snapshot), self.header(began));
        arguments.push(told(&used));
        self.shared.service.asks();
        let asked_at = Instant::now();
        let answer = self.shared.link.renew(&keys, &arguments).await;
        let took = asked_at.elapsed();
        match answer {
            Ok(answer) if answer.is_empty() => self.is_away("takes too long to be reached".to_owned()),
            Ok(answer) => {
                self.hand_out(&answer, &used, began);
                match took >= SLOW {
                    true => self.is_away(format!("answers slowly: {} ms", took.as_millis())),
                    false => self.is_there(),
                }
            }
            Err(reason) => self.is_away(reason),
        }
        took
    }

    /// What the script must know of this node and this round.
    fn header(&self, began: Instant) -> Vec<String> {
        // A clock that stood still for less than a microsecond still tells that there was an answer.
        let quiet = self.renewed_at.map_or(0, |before| began.duration_since(before).as_micros().max(1));
        let silence = Duration::from_millis(self.shared.settings.node_timeout_ms);
        let micros = [self.lease.as_micros(), silence.as_micros(), quiet, 0].map(|micros| micros.to_string());
        let mut header = vec![self.shared.node.clone(), self.turn.to_string()];
        header.extend(micros);
        header
    }

    async fn used_limits(&self) -> Vec<(ShardId, LimitUse)> {
        let limit = (LIMITS_MAX / self.desk.shards().max(1)).max(1);
        let ask = |shard| Some((shard, self.desk.ask(shard, Command::UsedLimits { limit }, 1).ok()?));
        let asked: Vec<(ShardId, Asked)> = shards(&self.desk).filter_map(ask).collect();
        let mut all = Vec::new();
        for (shard, mut asked) in asked {
            if let Some(Reply::UsedLimits(used)) = asked.next(SHARD_PATIENCE).await {
                all.extend(used.into_iter().map(|used| (shard, used)));
            }
        }
        all
    }

    /// Tells the shards what has come of it.
    fn hand_out(&mut self, answer: &[i64], used: &[(ShardId, LimitUse)], began: Instant) {
        let (head, shares) = answer.split_at_checked(2).unwrap_or((&[1, 1], &[]));
        let stats = &self.shared.stats;
        if head[1] == 0 && self.renewed_at.is_some() {
            stats.forgotten.count();
        }
        self.renewed_at = Some(began);
        stats.renewals.count();
        stats.limits.set(used.len() as u64);
        stats.nodes.set(head[0].unsigned_abs());
        let fresh = (self.lease * FRESH_LEASES).saturating_sub(began.elapsed());
        for shard in shards(&self.desk) {
            let ours = used.iter().zip(shares.chunks_exact(2)).filter(|((home, _), _)| *home == shard);
            let grants = ours.map(|((_, used), share)| Grant {
                key: used.key,
                turn: self.turn,
                tokens: share[0],
                share_permille: u16::try_from(share[1]).unwrap_or(0),
            });
            let leases = Leases {
                nodes: u32::try_from(head[0]).unwrap_or(1),
                lease_ms: self.lease.as_millis() as u64,
                fresh_ms: fresh.as_millis() as u64,
                grants: grants.collect(),
            };
            stats.shares().extend(leases.grants.iter().map(|grant| (grant.key, grant.share_permille)));
            // One that is not told finds the same tokens again: what never arrived is given anew.
            drop(self.desk.ask(shard, Command::Lease(leases), 1));
        }
    }

    fn is_there(&self) {
        self.shared.service.meanwhile(None);
        if self.shared.service.is_there() {
            let message = "limits and binds count over all nodes again";
            self.shared.state.log.write(LogLevel::Info, "nodes", message, &[("service", Field::Text("redis"))]);
        }
    }

    fn is_away(&self, reason: String) {
        self.shared.stats.failures.count();
        self.shared.service.meanwhile(Some(MEANWHILE.to_owned()));
        if self.shared.service.is_away(reason.clone()) {
            let fields = [("service", Field::Text("redis")), ("reason", Field::Text(&reason))];
            let message = "limits and binds cannot be counted over all nodes: this node goes on with its share";
            self.shared.state.log.write(LogLevel::Warn, "nodes", message, &fields);
        }
    }
}

fn shards(desk: &ShardDesk) -> impl Iterator<Item = ShardId> + use<> {
    (0..desk.shards() as u16).map(ShardId)
}

/// The hash of each limit.
fn keys(used: &[(ShardId, LimitUse)], snapshot: &Snapshot) -> Vec<String> {
    let key = |key| match key {
        LimitKey::Customer(id) => {
            let name = snapshot.customers.get(id.index()).map_or("", |customer| &customer.name);
            format!("rate:customer:{name}:1s")
        }
        LimitKey::Vendor(id) => {
            let name = snapshot.vendors.get(id.index()).map_or("", |vendor| vendor.settings.vendor_id());
            format!("rate:vendor:{name}:1s")
        }
    };
    used.iter().map(|(_, used)| key(used.key)).collect()
}

/// The limits as the script reads them: a list of lists of numbers, as JSON.
fn told(used: &[(ShardId, LimitUse)]) -> String {
    let limit = |(_, used): &(ShardId, LimitUse)| {
        let LimitUse { rate, burst, tokens, made, is_short, turn, .. } = used;
        format!("[{rate},{burst},{tokens},{made},{},{turn}]", u8::from(*is_short))
    };
    let limits: Vec<String> = used.iter().map(limit).collect();
    format!("[{}]", limits.join(","))
}
