//! The links of one vendor brought into line with its settings: made, bound anew, or unbound and forgotten. Links of other
//! vendors are not touched.

use std::sync::Arc;

use super::{DrainPhase, Shard};
use crate::event::EndReason;
use crate::link::{Afterwards, Link, LinkState};
use crate::names::{LinkId, VendorId};
use crate::output::{Action, Output};
use crate::time::{Now, Time};

impl Shard {
    /// Every shard knows a new vendor now: it is used.
    pub(super) fn open_lane(&mut self, vendor: VendorId, now: Now, out: &mut Output) {
        self.set_links(vendor, false, 0, now, out);
    }

    /// Makes a vendor's links what its settings say. A link that is bound and not to stay so is unbound when its window is
    /// empty, at most that many milliseconds from now; one whose settings have changed is bound anew then.
    pub(super) fn set_links(
        &mut self,
        vendor: VendorId,
        needs_rebind: bool,
        longest_ms: u64,
        now: Now,
        out: &mut Output,
    ) {
        let snapshot = Arc::clone(&self.snapshot);
        let configured = &snapshot.vendors[vendor.index()];
        let is_active = configured.is_active();
        self.lanes[vendor.index()].is_off = !is_active;
        if !self.is_started || self.phase == Some(DrainPhase::UnbindVendors) {
            return;
        }
        let wanted = if is_active { configured.settings.binds as usize } else { 0 };
        let (mut staying, going): (Vec<LinkId>, Vec<LinkId>) = self.lanes[vendor.index()]
            .links
            .iter()
            .partition(|link| self.links[link.index()].afterwards != Afterwards::Goes);
        // Those that are not up are the first to go.
        staying.sort_by_key(|link| self.links[link.index()].state != LinkState::Bound);
        for link in staying.split_off(wanted.min(staying.len())) {
            self.retire_link(link, Afterwards::Goes, longest_ms, now, out);
        }
        for link in &staying {
            if needs_rebind {
                self.retire_link(*link, Afterwards::Rebinds, longest_ms, now, out);
                continue;
            }
            self.links[link.index()].window_size = configured.settings.window_size;
            if self.links[link.index()].state == LinkState::Bound {
                self.link_timer(*link, now);
            }
        }
        let missing = wanted - staying.len();
        for link in going.iter().take(missing) {
            self.links[link.index()].afterwards = Afterwards::Rebinds;
        }
        for _ in going.len()..missing {
            self.make_link(vendor, out);
        }
        self.refresh_state(vendor);
    }

    fn make_link(&mut self, vendor: VendorId, out: &mut Output) {
        let settings = &self.snapshot.vendors[vendor.index()].settings;
        let link = Link::new(vendor, settings.bind_type, settings.window_size);
        let link_id = match self.free_links.pop() {
            Some(free) => {
                self.links[free.index()] = link;
                free
            }
            None => {
                self.links.push(link);
                LinkId((self.links.len() - 1) as u32)
            }
        };
        self.lanes[vendor.index()].links.push(link_id);
        self.connect(link_id, out);
    }

    fn retire_link(&mut self, link_id: LinkId, afterwards: Afterwards, longest_ms: u64, now: Now, out: &mut Output) {
        let link = &mut self.links[link_id.index()];
        link.afterwards = afterwards;
        match (link.state, link.conn) {
            (LinkState::Connecting, _) => {
                out.push(Action::AbandonConnect { link: link_id });
                self.link_over(link_id, out);
            }
            (LinkState::Binding, Some(conn)) => {
                let reason = if afterwards == Afterwards::Goes { EndReason::Removed } else { EndReason::Changed };
                self.hang_up(conn, reason, now, out);
            }
            (LinkState::Bound, Some(conn)) => {
                let (vendor, submitted, is_through) = (link.vendor, link.can_submit(), link.window.open() == 0);
                link.state = LinkState::Retiring;
                self.lanes[vendor.index()].submitting -= u32::from(submitted);
                self.link_timers.set(link_id.index(), now.mono.after_ms(longest_ms));
                if is_through {
                    self.unbind_link(link_id, conn, now, out);
                }
            }
            // On its way out already: that is how it ends.
            (LinkState::Leaving | LinkState::Retiring | LinkState::Unbinding, Some(_)) => {}
            _ => self.link_over(link_id, out),
        }
    }

    /// A link that was to go, or to be bound anew, has no connection any more.
    pub(super) fn link_over(&mut self, link_id: LinkId, out: &mut Output) {
        let link = &mut self.links[link_id.index()];
        let vendor = link.vendor;
        link.state = LinkState::Off;
        self.link_timers.set(link_id.index(), Time::NEVER);
        match core::mem::replace(&mut link.afterwards, Afterwards::ComesBack) {
            Afterwards::ComesBack => {}
            Afterwards::Goes => {
                self.lanes[vendor.index()].remove_link(link_id);
                self.free_links.push(link_id);
            }
            Afterwards::Rebinds => {
                let settings = &self.snapshot.vendors[vendor.index()].settings;
                self.links[link_id.index()] = Link::new(vendor, settings.bind_type, settings.window_size);
                self.connect(link_id, out);
            }
        }
    }
}
