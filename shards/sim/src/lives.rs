//! The process in a run: how it starts, takes over what a journal holds, is killed at any step, and starts again with
//! another number of shards. Single thread; part of the world.

use smpp_shards::journal::LogName;
use smpp_shards::restore::{Restored, share};
use smpp_shards::{JournalSetup, Shard, ShardId, ShardSetup, mesh};

use crate::control::Control;
use crate::host::Host;
use crate::idle::Idle;
use crate::mailbox::Wishes;
use crate::model::violation;
use crate::random::Stream;
use crate::schedule::{Event, Phase};
use crate::world::World;

/// Shards of a process at the most.
const SHARDS_MAX: u64 = 4;

/// Segments of one shard at the most: so many that messages are hardly ever refused for want of room, and so few that what
/// lives long is carried forward now and then.
const SEGMENTS_MAX: u64 = 160;

/// Processes of a run at the most, but for those of the crashes that the scenario has planned.
const LIVES_MAX: u32 = 8;

/// Segments of one shard that stay when nothing in them is wanted: the present one, and those of its last writes.
const SEGMENTS_LEFT_MAX: usize = 3;

/// Milliseconds within which a process is there again once it may start.
const RECOVERY_MS_MAX: u64 = 60_000;

impl World {
    /// The process starts; with a journal it first takes over what is there.
    pub(crate) fn boot(&mut self) {
        if !self.hosts.is_empty() {
            return;
        }
        let is_first = self.ground.life == 0;
        let shards = match is_first {
            true => self.ground.scenario.shards,
            false => self.random.range(1, SHARDS_MAX) as u16,
        };
        let mono = self.ground.schedule.now();
        let now = self.ground.now();
        self.start = now.unix_ms.max(self.start + 1);
        self.control = Control::new(shards, &self.ground);
        let mut restored = self.found(shards);
        self.ground.trace.line(mono, format_args!("the process starts, with {shards} shards"));
        self.ground.trace.step(14, u64::from(shards), self.start);
        for (index, rings) in mesh(shards).into_iter().enumerate() {
            let log = LogName { start: self.start, shard: index as u16 };
            // Where messages are large, what nobody takes must not fill the journal: the model knows no refusal for that.
            let segments_max = if self.ground.scenario.heavy > 0 { 8 * SEGMENTS_MAX } else { SEGMENTS_MAX };
            let plan = self.ground.scenario.journal.as_ref();
            let journal = plan.map(|plan| JournalSetup {
                log,
                segment_bytes: plan.segment_bytes,
                bytes_max: plan.segment_bytes * segments_max,
                commit_wait_us: plan.commit_wait_us,
            });
            let setup = ShardSetup {
                shard: ShardId(index as u16),
                shards,
                seed: self.random.next_u64(),
                snapshot: self.control.snapshot(),
                rings,
                journal,
                restored: core::mem::take(&mut restored[index]),
                store: None,
            };
            self.hosts.push(Host::new(index, Shard::new(setup, now), journal.map(|journal| journal.log)));
        }
        self.idle = vec![Idle::default(); self.ground.scenario.vendors.len()];
        self.open_when_restored();
        if !is_first && self.ground.life < LIVES_MAX && self.random.chance(200) {
            // It does not even get through what it takes over.
            let micros = self.random.spread(1, 30_000);
            self.ground.schedule.in_micros(micros, Event::Phase(Phase::Crash));
        }
        if !self.is_open {
            self.hosts.iter_mut().for_each(|host| host.wake(&mut self.ground));
        }
    }

    /// What the journal holds, shared out; and what must come of it.
    fn found(&mut self, shards: u16) -> Vec<Restored> {
        let nothing = || (0..shards).map(|_| Restored::default()).collect();
        let Some(disk) = &mut self.ground.disk else { return nothing() };
        disk.remove_others();
        let live = disk.replayed();
        let now = self.ground.schedule.now();
        self.ground.trace.step(16, live.messages.len() as u64, live.receipts.len() as u64);
        self.ground.model.restarted(&live, now);
        match share(live, &self.control.snapshot(), shards) {
            Ok(shares) => {
                self.control.fix_homes(&shares.homes);
                shares.shards
            }
            Err(missing) => violation!(self.ground, "the journal has something for {missing:?}, whom nobody knows"),
        }
    }

    /// Listeners and vendors come when everything old is in this start's journal; then the old one goes.
    pub(crate) fn open_when_restored(&mut self) {
        if self.is_open || self.hosts.is_empty() || self.hosts.iter().any(Host::is_restoring) {
            return;
        }
        self.is_open = true;
        if let Some(disk) = &mut self.ground.disk {
            disk.completed(self.start);
            self.ground.model.journal_is_whole();
        }
        self.ground.trace.line(self.ground.schedule.now(), format_args!("the process is open"));
        for index in 0..self.hosts.len() {
            let mut wishes = Wishes::default();
            self.hosts[index].start(&mut self.ground, &mut wishes);
            self.grant(wishes);
        }
    }

    /// The process is killed, or the machine's power is cut, wherever it is.
    pub(crate) fn crash(&mut self) {
        if self.ground.healed || self.ground.model.draining || self.hosts.is_empty() {
            return;
        }
        let now = self.ground.schedule.now();
        if self.random.chance(500) {
            // In the middle of a turn.
            let host = self.random.below(self.hosts.len() as u64) as usize;
            let completions = self.random.below(8) as usize;
            self.hosts[host].begin_turn(completions, &mut self.ground);
        }
        let is_power_cut = self.random.chance(500);
        self.ground.trace.line(now, format_args!("the process is killed; power cut: {is_power_cut}"));
        self.ground.trace.step(15, u64::from(self.ground.life), u64::from(is_power_cut));
        let reports: Vec<_> = self.hosts.drain(..).map(|host| host.report()).collect();
        reports.iter().for_each(|report| self.ground.model.counts.add_report(report));
        self.ground.model.check_costs(&reports, false);
        let during = if self.is_open { "crashes" } else { "crashes while taking over a journal" };
        self.ground.model.counts.add(during, 1);
        self.is_open = false;
        self.ground.life += 1;
        self.ground.network.abandon(is_power_cut, &mut self.ground.schedule);
        self.ground.model.crashed(now);
        if let Some(disk) = &mut self.ground.disk {
            disk.crash();
        }
        self.be_off();
        self.damage();
        let most_ms = self.ground.scenario.journal.as_ref().map_or(1, |plan| plan.down_ms);
        let millis = self.random.range(1, most_ms);
        self.ground.schedule.in_millis(millis, Event::Phase(Phase::Restart));
    }

    /// The disk is not what it was, after one of the crashes.
    fn damage(&mut self) {
        let Some(disk) = &mut self.ground.disk else { return };
        if self.ground.scenario.journal.as_ref().is_none_or(|plan| plan.damage_after != self.ground.life) {
            return;
        }
        let Some(cost) = disk.damage(&mut Stream::new(self.ground.seed, "damage")) else { return };
        self.ground.trace.line(self.ground.schedule.now(), format_args!("a record is damaged: {cost:?}"));
        if let Some(objection) = &cost.objection {
            violation!(self.ground, "{objection}");
        }
        self.ground.model.damaged(&cost);
    }

    /// Where the last crash was late: the process comes back whatever the disk does.
    pub(crate) fn wait_until_open(&mut self) {
        let began = self.ground.schedule.now();
        while !self.is_open {
            let until = self.ground.schedule.now().after_ms(100);
            self.run_until(until);
            if self.ground.schedule.now().millis_since(began) > RECOVERY_MS_MAX {
                violation!(self.ground, "the process does not come back: {}", self.describe());
            }
        }
    }

    /// When everything is quiet, what shards remember is what their journals hold.
    pub(crate) fn check_kept(&self) {
        let Some(disk) = &self.ground.disk else { return };
        let live = disk.replayed();
        let kept: u64 = self.hosts.iter().map(|host| host.report().messages_kept).sum();
        if kept != live.messages.len() as u64 {
            violation!(self.ground, "{kept} messages are kept, and {} are in the journal", live.messages.len());
        }
        if kept == 0 && disk.files() > SEGMENTS_LEFT_MAX * self.hosts.len() {
            violation!(self.ground, "{} segments are kept, and there is nothing in them", disk.files());
        }
        if !live.receipts.is_empty() {
            violation!(self.ground, "{} receipts are in the journal when all were taken", live.receipts.len());
        }
        self.ground.model.check_rest(&live);
    }

    /// At the very end: whatever was promised is through, or in the journal.
    pub(crate) fn check_journal(&mut self) {
        let Some(disk) = &self.ground.disk else { return };
        let live = disk.replayed();
        self.ground.model.counts.add("octets of journals at the end", disk.octets() as u64);
        self.ground.model.check_journal(&live);
    }
}
