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
    /// Submits that customers still wait for are answered as if their time had passed: with `accept = "relay"`, what vendors
    /// have not answered as an outcome nobody knows. Quiet when none is left, and at once with a journal, which has them.
    Settle,
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
            DrainPhase::Settle if self.ledger.is_some() => {}
            DrainPhase::Settle => {
                // Those that wait go first, or they would follow into the room of those that are given up.
                for slot in self.messages.end_all(now.mono) {
                    self.message_due(slot, now, out);
                }
            }
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
                self.has_no_submits()
                    && self.deliveries.open == 0
                    && self.lookups.open() == 0
                    && self.lanes.iter().all(|lane| lane.early.is_empty() && lane.counters.deliveries_waiting == 0)
                    && !self.rings.is_backed_up()
            }
            Some(DrainPhase::Settle) => self.ledger.is_some() || self.has_no_submits() && !self.rings.is_backed_up(),
            Some(DrainPhase::UnbindCustomers) => self.session_count == 0 && self.lobby_count == 0,
            Some(DrainPhase::UnbindVendors) => {
                self.links.iter().all(|link| link.conn.is_none()) && self.ledger.as_ref().is_none_or(Ledger::is_idle)
            }
        }
    }

    /// Whether no submit is here, and none of a customer of this shard anywhere else.
    fn has_no_submits(&self) -> bool {
        self.messages.open() == 0 && self.outstanding.iter().all(|count| *count == 0)
    }
}
