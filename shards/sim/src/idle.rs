//! Finds messages that wait for a vendor which has nothing to do: a wake-up was lost. Told from a shard's report.

use smpp_shards::{VendorCounters, VendorState, bounds};

/// Milliseconds of waiting, no pause after a throttle being the reason, that are no chance any more.
const SLACK_MS: u64 = 400;

/// What is remembered of one vendor from look to look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Idle {
    waited_ms: u64,
    /// What is left of the longest pause that a throttle may have begun.
    paused_ms: u64,
    submits: u64,
    submits_ok: u64,
    throttled: u64,
    /// Throttles since the last look that saw an ESME_ROK and none of them: each doubles the pause.
    in_a_row: u64,
}

impl Idle {
    /// The next look, so many milliseconds after the last one.
    pub(crate) fn look(&mut self, counters: &VendorCounters, after_ms: u64) {
        let throttles = counters.throttled - self.throttled;
        // Which of both came first is not told; a pause that has begun goes on in any case.
        let is_over = counters.submits_ok != self.submits_ok && throttles == 0;
        let in_a_row = if is_over { 0 } else { self.in_a_row + throttles };
        let begun_ms = if throttles > 0 { bounds::THROTTLE_PAUSE_MS_MIN << in_a_row.min(10) } else { 0 };
        let paused_ms = self.paused_ms.saturating_sub(after_ms).max(begun_ms.min(bounds::THROTTLE_PAUSE_MS_MAX));
        let is_idle = counters.state == VendorState::Bound && counters.in_flight == 0 && counters.queued > 0;
        let is_waiting = is_idle && counters.submits == self.submits && paused_ms == 0;
        *self = Self {
            waited_ms: if is_waiting { self.waited_ms + after_ms } else { 0 },
            paused_ms,
            submits: counters.submits,
            submits_ok: counters.submits_ok,
            throttled: counters.throttled,
            in_a_row,
        };
    }

    /// Whether it has waited for longer than anything can be the reason.
    pub(crate) fn is_too_long(&self) -> bool {
        self.waited_ms > SLACK_MS
    }
}
