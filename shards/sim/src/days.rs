//! Time that passes by the day, which no run could wait for event by event: the process is held still (a machine that was
//! paused) or was down for longer than anything is kept. Single thread; part of the world.

use crate::model::violation;
use crate::world::World;

/// What passes by the day in a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DaysPlan {
    /// Milliseconds for which the process is down after one of the crashes, beside those that pass in the run; 0 is none.
    pub off_ms: u64,
    /// After which crash that is, counted from 1.
    pub off_after: u32,
    /// Milliseconds for which everybody is held still when all is quiet; 0 is never.
    pub held_ms: u64,
}

impl World {
    /// The calendar goes on while the process is down: what was accepted before is older than anything may be.
    pub(crate) fn be_off(&mut self) {
        let plan = self.ground.scenario.days;
        if plan.off_ms == 0 || plan.off_after != self.ground.life {
            return;
        }
        self.ground.ahead_ms += plan.off_ms;
        let now = self.ground.schedule.now();
        self.ground.trace.line(now, format_args!("{} ms pass until the next start", plan.off_ms));
        self.ground.model.was_off(now);
    }

    /// Everybody is held still, and all timers end at once afterwards: what is still kept then has its end.
    pub(crate) fn hold(&mut self, settle_ms_max: u64) {
        let held_ms = self.ground.scenario.days.held_ms;
        if held_ms == 0 || self.ground.disk.is_none() {
            return;
        }
        let now = self.ground.schedule.now();
        self.ground.trace.line(now, format_args!("all is held still for {held_ms} ms"));
        self.ground.model.was_held(now, now.after_ms(held_ms));
        self.ground.schedule.hold(held_ms);
        self.settle(settle_ms_max, "all was held still");
        self.check_kept();
        let kept: u64 = self.hosts.iter().map(|host| host.report().messages_kept).sum();
        if kept > 0 {
            violation!(self.ground, "{kept} messages are kept for longer than their validity: {}", self.describe());
        }
    }
}
