//! The model of the control thread: checks binds after a while, gives every customer its home shard, builds snapshots.
//! Single thread.

use std::sync::Arc;

use smpp_pdu::CommandStatus;
use smpp_shards::{AuthRequest, CustomerId, ShardId, Snapshot, Verdict};

use crate::ground::Ground;
use crate::random::Stream;
use crate::schedule::Event;

/// What the control thread keeps.
pub(crate) struct Control {
    homes: Vec<Option<ShardId>>,
    snapshot: Arc<Snapshot>,
    shards: u16,
    random: Stream,
}

impl Control {
    /// Builds the first snapshot of a process with that many shards.
    pub(crate) fn new(shards: u16, ground: &Ground) -> Self {
        let homes = vec![None; ground.scenario.customers.len()];
        let random = Stream::new(ground.seed.wrapping_add(u64::from(ground.life)), "control");
        Self { homes, snapshot: build(ground, shards, 1), shards, random }
    }

    /// Those customers are at home there, for the journal had something of theirs.
    pub(crate) fn fix_homes(&mut self, homes: &[(CustomerId, ShardId)]) {
        homes.iter().for_each(|(customer, shard)| self.homes[customer.index()] = Some(*shard));
    }

    /// The snapshot in force.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.clone()
    }

    /// Builds the snapshot anew from the same settings.
    pub(crate) fn rebuild(&mut self, ground: &Ground) -> Arc<Snapshot> {
        self.snapshot = build(ground, self.shards, self.snapshot.version + 1);
        self.snapshot.clone()
    }

    /// A shard asks about a bind; the answer comes later.
    pub(crate) fn check(&mut self, request: &AuthRequest, ground: &mut Ground) {
        let busy = !ground.healed && self.random.chance(5);
        let result = if busy { Err(CommandStatus::ESME_RSYSERR) } else { self.judge(request) };
        let verdict = Verdict { conn: request.conn, ticket: request.ticket, result };
        let most_us = if busy { 1 } else { ground.scenario.check_ms * 1_000 };
        let micros = self.random.range(1, most_us);
        let host = request.shard.index();
        ground.schedule.in_micros(micros, Event::Checked { host, verdict, life: ground.life });
    }

    fn judge(&mut self, request: &AuthRequest) -> Result<(CustomerId, ShardId), CommandStatus> {
        let customer = self.snapshot.customer_by_system_id(&request.system_id).ok_or(CommandStatus::ESME_RINVSYSID)?;
        if customer.settings.smpp_password.as_deref().map(str::as_bytes) != Some(&request.password[..]) {
            return Err(CommandStatus::ESME_RINVPASWD);
        }
        if !customer.settings.active || !customer.allows_ip(request.peer) {
            return Err(CommandStatus::ESME_RBINDFAIL);
        }
        let home = &mut self.homes[customer.id.index()];
        let shards = self.shards;
        let random = &mut self.random;
        let home = *home.get_or_insert_with(|| ShardId(random.below(u64::from(shards)) as u16));
        Ok((customer.id, home))
    }
}

fn build(ground: &Ground, shards: u16, version: u64) -> Arc<Snapshot> {
    let scenario = &ground.scenario;
    match Snapshot::build(scenario.settings.clone(), shards, version) {
        Ok(snapshot) => Arc::new(snapshot),
        Err(problems) => panic!("seed {}: the scenario is no configuration: {}", ground.seed, problems[0]),
    }
}
