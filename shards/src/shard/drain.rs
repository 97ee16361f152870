//! Stopping in good order: the phases of a drain.

use super::Shard;
use crate::ledger::Ledger;
use crate::output::Output;
use crate::time::Now;

/// The phases of a drain; the control side asks for them in this order, each when the one before is quiet on all
/// shards or has had its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainPhase {
    /// No new binds, new submits answered ESME_RSYSERR; what is open goes on. Quiet when no message and no
    /// delivery is open.
    Refuse,
    /// unbind goes to every customer session. Quiet when all are gone: answered, or `bounds::UNBIND_MS_MAX` later.
    UnbindCustomers,
    /// unbind goes to every vendor's link, none comes back. Quiet when all are gone, as above.
    UnbindVendors,
}

impl Shard {
    /// Enters a phase of stopping.
    pub fn drain(&mut self, phase: DrainPhase, now: Now, out: &mut Output) {
        self.refusing = true;
        self.phase = Some(phase);
        match phase {
            DrainPhase::Refuse => {}
            DrainPhase::UnbindCustomers => self.unbind_customers(now, out),
            DrainPhase::UnbindVendors => self.unbind_vendors(now, out),
        }
    }

    /// Whether the present phase of a drain is through; without one, whether nothing is open.
    pub fn is_quiet(&self) -> bool {
        match self.phase {
            None | Some(DrainPhase::Refuse) => {
                if self.ledger.is_some() {
                    return self.is_journal_quiet();
                }
                self.messages.open() == 0
                    && self.deliveries.open == 0
                    && self.lookups.open() == 0
                    && self.outstanding.iter().all(|count| *count == 0)
                    && self.lanes.iter().all(|lane| lane.early.is_empty() && lane.counters.deliveries_waiting == 0)
                    && !self.rings.is_backed_up()
            }
            Some(DrainPhase::UnbindCustomers) => self.session_count == 0 && self.lobby_count == 0,
            Some(DrainPhase::UnbindVendors) => {
                self.links.iter().all(|link| link.conn.is_none()) && self.ledger.as_ref().is_none_or(Ledger::is_idle)
            }
        }
    }
}
