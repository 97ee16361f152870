//! The model of the control thread: checks binds after a while, gives every customer its home shard, builds snapshots.
//! Single thread.

use std::sync::Arc;

use smpp_pdu::CommandStatus;
use smpp_shards::routing::Patterns;
use smpp_shards::{AuthRequest, CustomerId, Settings, ShardId, Snapshot, Verdict};

use crate::ground::Ground;
use crate::live::LivePlan;
use crate::random::Stream;
use crate::schedule::Event;

/// What the control thread keeps.
pub(crate) struct Control {
    homes: Vec<Option<ShardId>>,
    snapshot: Arc<Snapshot>,
    /// What binds are checked against: in force on every shard.
    admitted: Arc<Snapshot>,
    /// By shard: the version in force.
    in_force: Vec<u64>,
    live: Option<LivePlan>,
    patterns: Patterns,
    shards: u16,
    random: Stream,
    changes: Stream,
}

impl Control {
    /// Builds the first snapshot of a process with that many shards.
    pub(crate) fn new(shards: u16, ground: &Ground) -> Self {
        let scenario = &ground.scenario;
        let homes = vec![None; scenario.customers.len()];
        let stream = |label| Stream::new(ground.seed.wrapping_add(u64::from(ground.life)), label);
        // A process that finds a journal needs everybody who may have something there.
        let mut live = scenario.live;
        let settings = match &mut live {
            Some(plan) if ground.life == 0 => plan.first(scenario),
            Some(plan) => {
                (plan.customers, plan.vendors) = (scenario.customers.len(), scenario.vendors.len());
                scenario.settings.clone()
            }
            None => scenario.settings.clone(),
        };
        let snapshot = match Snapshot::build(settings, shards, 1) {
            Ok(snapshot) => Arc::new(snapshot),
            Err(problems) => panic!("seed {}: the scenario is no configuration: {}", ground.seed, problems[0]),
        };
        Self {
            homes,
            admitted: snapshot.clone(),
            snapshot,
            in_force: vec![1; usize::from(shards)],
            live,
            patterns: Patterns::default(),
            shards,
            random: stream("control"),
            changes: stream("changes"),
        }
    }

    /// Those customers are at home there, for the journal had something of theirs.
    pub(crate) fn fix_homes(&mut self, homes: &[(CustomerId, ShardId)]) {
        homes.iter().for_each(|(customer, shard)| self.homes[customer.index()] = Some(*shard));
    }

    /// The newest snapshot.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.clone()
    }

    /// Builds the next snapshot: from the same settings again, unless the run's configuration changes.
    pub(crate) fn rebuild(&mut self, ground: &mut Ground) -> Arc<Snapshot> {
        let scenario = ground.scenario.clone();
        let settings: Settings = match &mut self.live {
            Some(plan) if !ground.healed => plan.next(&scenario, &mut self.changes),
            _ => scenario.settings.clone(),
        };
        self.snapshot = match self.snapshot.succeed(settings, &mut self.patterns) {
            Ok(snapshot) => Arc::new(snapshot),
            Err(problems) => panic!("seed {}: a change is no configuration: {}", ground.seed, problems[0]),
        };
        ground.model.may_change(&self.snapshot);
        self.snapshot.clone()
    }

    /// A shard has done with a snapshot.
    pub(crate) fn taken_over(&mut self, shard: ShardId, version: u64, ground: &mut Ground) {
        let in_force = &mut self.in_force[shard.index()];
        *in_force = version.max(*in_force);
        let is_everywhere = self.in_force.iter().all(|version| *version >= self.snapshot.version);
        if is_everywhere && self.admitted.version < self.snapshot.version {
            self.admitted = self.snapshot.clone();
            let now = ground.schedule.now();
            ground.model.has_changed(&self.snapshot, now);
            ground.model.counts.add("configurations in force", 1);
            ground.trace.line(now, format_args!("version {} is in force", self.snapshot.version));
        }
    }

    /// A shard asks about a bind; the answer comes later.
    pub(crate) fn check(&mut self, request: &AuthRequest, ground: &mut Ground) {
        let busy = !ground.healed && self.random.chance(5);
        let result = if busy { Err(CommandStatus::ESME_RSYSERR) } else { self.judge(request) };
        let verdict = Verdict { conn: request.conn, ticket: request.ticket, result, reason: None };
        let most_us = if busy { 1 } else { ground.scenario.check_ms * 1_000 };
        let micros = self.random.range(1, most_us);
        let host = request.shard.index();
        ground.schedule.in_micros(micros, Event::Checked { host, verdict, life: ground.life });
    }

    fn judge(&mut self, request: &AuthRequest) -> Result<(CustomerId, ShardId), CommandStatus> {
        let customer = self.admitted.customer_by_system_id(&request.system_id).ok_or(CommandStatus::ESME_RINVSYSID)?;
        if !customer.is_active() {
            return Err(CommandStatus::ESME_RINVSYSID);
        }
        if customer.settings.smpp_password.as_deref().map(str::as_bytes) != Some(&request.password[..]) {
            return Err(CommandStatus::ESME_RINVPASWD);
        }
        if !customer.allows_ip(request.peer) {
            return Err(CommandStatus::ESME_RBINDFAIL);
        }
        let home = &mut self.homes[customer.id.index()];
        let shards = self.shards;
        let random = &mut self.random;
        let home = *home.get_or_insert_with(|| ShardId(random.below(u64::from(shards)) as u16));
        Ok((customer.id, home))
    }
}
