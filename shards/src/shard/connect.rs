//! A vendor's links: connecting, binding, keeping alive, losing, coming back.

use std::net::SocketAddr;

use smpp_pdu::bind::Bind;
use smpp_pdu::{CommandId, CommandStatus, Header, encode};

use super::{Role, Shard};
use crate::bounds::{ALERT_FAILURES, STEADY_BIND_MS, UNBIND_MS_MAX};
use crate::event::{EndReason, Event};
use crate::link::{Afterwards, LinkState};
use crate::names::{Conn, LinkId, VendorId};
use crate::output::{Action, ConnectFailure, Output};
use crate::report::VendorState;
use crate::settings::BindType;
use crate::time::{Now, Time};

impl Shard {
    pub(super) fn start_lanes(&mut self, now: Now, out: &mut Output) {
        self.is_started = true;
        let snapshot = std::sync::Arc::clone(&self.snapshot);
        let home = self.id;
        for vendor in snapshot.vendors.iter().filter(|vendor| vendor.home == home) {
            if !self.is_unopened(vendor.id) {
                self.set_links(vendor.id, false, 0, now, out);
            }
        }
    }

    pub(super) fn connect(&mut self, link_id: LinkId, out: &mut Output) {
        let link = &mut self.links[link_id.index()];
        link.state = LinkState::Connecting;
        out.push(Action::Connect { link: link_id, vendor: link.vendor });
    }

    /// A connection that the shard asked for stands, TLS included.
    pub fn connected(&mut self, conn: Conn, link_id: LinkId, local: Option<SocketAddr>, now: Now, out: &mut Output) {
        let link = &mut self.links[link_id.index()];
        if link.state != LinkState::Connecting {
            out.push(Action::Close { conn, after_flush: false });
            return;
        }
        link.state = LinkState::Binding;
        link.conn = Some(conn);
        link.local = local;
        link.last_received = now.mono;
        link.enquired_at = None;
        link.is_reading = true;
        link.unreached = 0;
        let sequence = link.window.next_sequence();
        let settings = &self.snapshot.vendors[link.vendor.index()].settings;
        let body = Bind {
            system_id: settings.username.as_bytes(),
            password: settings.password.as_bytes(),
            system_type: settings.system_type.as_bytes(),
            interface_version: settings.interface_version,
            addr_ton: 0,
            addr_npi: 0,
            address_range: b"",
        };
        let until = now.mono.after_ms(settings.bind_timeout_ms);
        encode::bind(out.buffer(conn), bind_command(link.bind_type), sequence, &body);
        self.link_timers.set(link_id.index(), until);
        self.occupy(conn, Role::Link(link_id));
    }

    /// A connection that the shard asked for did not come about.
    pub fn connect_failed(&mut self, link_id: LinkId, failure: ConnectFailure, now: Now, out: &mut Output) {
        let link = &mut self.links[link_id.index()];
        if link.state != LinkState::Connecting {
            return;
        }
        link.state = LinkState::Waiting;
        let again_ms = link.probe_ms(&mut self.random);
        let vendor = link.vendor;
        self.link_timers.set(link_id.index(), now.mono.after_ms(again_ms));
        self.count_failure(vendor, out);
        self.log_noise(now, out, || Event::LinkConnectFailed { vendor, link: link_id, failure, again_ms });
    }

    #[inline]
    pub(super) fn link_pdu(
        &mut self,
        link: LinkId,
        conn: Conn,
        header: Header,
        pdu: &[u8],
        now: Now,
        out: &mut Output,
    ) {
        match header.command_id {
            CommandId::SUBMIT_SM_RESP => self.submit_answered(link, header, pdu, now, out),
            CommandId::DELIVER_SM => self.delivered(link, conn, header, pdu, now, out),
            _ => self.link_other(link, conn, header, pdu, now, out),
        }
    }

    #[cold]
    fn link_other(&mut self, link: LinkId, conn: Conn, header: Header, pdu: &[u8], now: Now, out: &mut Output) {
        let sequence = header.sequence_number;
        let state = self.links[link.index()].state;
        let answer = match header.command_id {
            CommandId::ENQUIRE_LINK => (CommandId::ENQUIRE_LINK_RESP, CommandStatus::ESME_ROK),
            CommandId::BIND_TRANSCEIVER_RESP
            | CommandId::BIND_TRANSMITTER_RESP
            | CommandId::BIND_RECEIVER_RESP
            | CommandId::GENERIC_NACK
                if state == LinkState::Binding =>
            {
                return self.bind_answered(link, conn, header, now, out);
            }
            CommandId::GENERIC_NACK => return self.submit_answered(link, header, pdu, now, out),
            CommandId::UNBIND => {
                encode::header_only(out.buffer(conn), CommandId::UNBIND_RESP, CommandStatus::ESME_ROK, sequence);
                return self.vendor_unbound(link, conn, now, out);
            }
            CommandId::UNBIND_RESP => {
                if state == LinkState::Unbinding {
                    self.hang_up(conn, self.unbind_cause(link), now, out);
                }
                return;
            }
            CommandId::OUTBIND | CommandId::ALERT_NOTIFICATION => return,
            command if command.is_response() => return,
            command if command.name().is_some() => (command.response(), CommandStatus::ESME_RINVCMDID),
            _ => (CommandId::GENERIC_NACK, CommandStatus::ESME_RINVCMDID),
        };
        encode::header_only(out.buffer(conn), answer.0, answer.1, sequence);
    }

    fn bind_answered(&mut self, link_id: LinkId, conn: Conn, header: Header, now: Now, out: &mut Output) {
        if !header.command_status.is_ok() || header.command_id == CommandId::GENERIC_NACK {
            self.hang_up(conn, EndReason::BindRefused(header.command_status), now, out);
            return;
        }
        let link = &mut self.links[link_id.index()];
        link.state = LinkState::Bound;
        link.bound_at = now.mono;
        let (vendor, local) = (link.vendor, link.local);
        let (submits, refusals) = (link.can_submit(), link.refusals);
        let lane = &mut self.lanes[vendor.index()];
        lane.submitting += u32::from(submits);
        if lane.counters.links_bound == 0 {
            lane.counters.connected_unix_ms = now.unix_ms;
        }
        lane.counters.last_bind_unix_ms = now.unix_ms;
        lane.counters.links_bound += 1;
        lane.counters.connects += 1;
        lane.bound_after(refusals);
        self.refresh_state(vendor);
        self.link_timer(link_id, now);
        out.push(Action::Log(Event::LinkBound { vendor, link: link_id, local }));
        self.pump_lane(vendor, now, out);
    }

    /// The vendor has unbound and been answered: nothing more is submitted; answers that are due may still come.
    fn vendor_unbound(&mut self, link_id: LinkId, conn: Conn, now: Now, out: &mut Output) {
        if !matches!(self.links[link_id.index()].state, LinkState::Bound | LinkState::Retiring) {
            self.hang_up(conn, EndReason::Unbound, now, out);
            return;
        }
        self.leave_link(link_id, conn, EndReason::Unbound, now, out);
    }

    /// A bound link that is being left: it closes when it has its last answer, at once where none is due.
    pub(super) fn leave_link(&mut self, link_id: LinkId, conn: Conn, reason: EndReason, now: Now, out: &mut Output) {
        let link = &mut self.links[link_id.index()];
        link.leaving = reason;
        if link.window.open() == 0 {
            self.hang_up(conn, reason, now, out);
            return;
        }
        let (vendor, submitted) = (link.vendor, link.can_submit());
        link.state = LinkState::Leaving;
        let longest_ms = self.snapshot.vendors[vendor.index()].settings.response_timeout_ms;
        self.link_timers.set(link_id.index(), now.mono.after_ms(longest_ms));
        self.lanes[vendor.index()].submitting -= u32::from(submitted);
        self.refresh_state(vendor);
    }

    /// Closes a link whose vendor has unbound and answered everything since; unbinds one that is to go.
    #[inline]
    pub(super) fn close_if_left(&mut self, link_id: LinkId, now: Now, out: &mut Output) {
        if self.links[link_id.index()].state != LinkState::Bound {
            self.go_on_leaving(link_id, now, out);
        }
    }

    #[cold]
    fn go_on_leaving(&mut self, link_id: LinkId, now: Now, out: &mut Output) {
        let link = &self.links[link_id.index()];
        match (link.state, link.window.open(), link.conn) {
            (LinkState::Leaving, 0, Some(conn)) => self.hang_up(conn, link.leaving, now, out),
            (LinkState::Retiring, 0, Some(conn)) => self.unbind_link(link_id, conn, now, out),
            _ => {}
        }
    }

    /// A link's connection is gone: submits on it have an unknown outcome, and it comes back after a while.
    pub(super) fn link_ended(&mut self, link_id: LinkId, reason: EndReason, now: Now, out: &mut Output) {
        let link = &mut self.links[link_id.index()];
        let was = link.state;
        let submitted = link.can_submit();
        let (vendor, local) = (link.vendor, link.local);
        let afterwards = link.afterwards;
        let ending = matches!(was, LinkState::Off | LinkState::Unbinding) || afterwards != Afterwards::ComesBack;
        link.state = if ending { LinkState::Off } else { LinkState::Waiting };
        link.conn = None;
        let mut slots = Vec::new();
        link.window.close_all(&mut slots);
        self.late.forget_link(link_id);
        let link = &mut self.links[link_id.index()];
        let was_bound =
            matches!(was, LinkState::Bound | LinkState::Unbinding | LinkState::Leaving | LinkState::Retiring);
        if was_bound && now.mono.millis_since(link.bound_at) >= STEADY_BIND_MS {
            link.refusals = 0;
        }
        let again_ms = (!ending).then(|| link.rebind_ms(&mut self.random));
        let due = again_ms.map_or(Time::NEVER, |millis| now.mono.after_ms(millis));
        self.link_timers.set(link_id.index(), due);
        let lane = &mut self.lanes[vendor.index()];
        lane.counters.last_end = Some(reason);
        if was_bound {
            lane.submitting -= u32::from(submitted);
            lane.counters.links_bound -= 1;
            lane.counters.disconnects += 1;
        }
        self.refresh_state(vendor);
        for slot in &slots {
            self.outcome_unknown(*slot, vendor, now, out);
        }
        if !ending {
            self.count_failure(vendor, out);
        }
        let unanswered = slots.len() as u32;
        let again_ms = if afterwards == Afterwards::Rebinds { Some(0) } else { again_ms };
        self.log_noise(now, out, || Event::LinkDown { vendor, link: link_id, local, reason, again_ms, unanswered });
        if afterwards != Afterwards::ComesBack {
            self.link_over(link_id, out);
            self.refresh_state(vendor);
        }
    }

    fn count_failure(&mut self, vendor: VendorId, out: &mut Output) {
        let lane = &mut self.lanes[vendor.index()];
        lane.counters.failures_in_a_row = lane.counters.failures_in_a_row.saturating_add(1);
        let failures = lane.counters.failures_in_a_row;
        if failures >= ALERT_FAILURES && !lane.alerted {
            lane.alerted = true;
            out.push(Action::Log(Event::VendorAlert { vendor, failures }));
        }
    }

    /// The vendor's state as a whole, for reports and for the other shards.
    pub(super) fn refresh_state(&mut self, vendor: VendorId) {
        let lane = &mut self.lanes[vendor.index()];
        lane.counters.state = match (lane.submitting, lane.counters.links_bound) {
            (1.., _) => VendorState::Bound,
            (0, 1..) => VendorState::ReceiverOnly,
            (0, 0) if lane.links.is_empty() => VendorState::Off,
            (0, 0) => VendorState::Connecting,
        };
        self.refresh_view(vendor);
    }

    pub(super) fn link_timer(&mut self, link_id: LinkId, now: Now) {
        let link = &self.links[link_id.index()];
        let settings = &self.snapshot.vendors[link.vendor.index()].settings;
        let due = match (settings.enquire_link_ms, link.enquired_at) {
            (0, _) => Time::NEVER,
            (_, Some(at)) => at.after_ms(settings.response_timeout_ms),
            (millis, None) => link.last_received.after_ms(millis).max(now.mono.after_ms(1)),
        };
        let steady = if link.refusals == 0 { Time::NEVER } else { link.bound_at.after_ms(STEADY_BIND_MS) };
        self.link_timers.set(link_id.index(), due.min(steady));
    }

    pub(super) fn link_due(&mut self, link_id: LinkId, now: Now, out: &mut Output) {
        let link = &mut self.links[link_id.index()];
        let settings = &self.snapshot.vendors[link.vendor.index()].settings;
        match (link.state, link.conn) {
            (LinkState::Waiting, _) => self.connect(link_id, out),
            (LinkState::Binding, Some(conn)) => self.hang_up(conn, EndReason::BindUnanswered, now, out),
            (LinkState::Unbinding, Some(conn)) => self.hang_up(conn, self.unbind_cause(link_id), now, out),
            (LinkState::Retiring, Some(conn)) => self.unbind_link(link_id, conn, now, out),
            (LinkState::Leaving, Some(conn)) => {
                let reason = link.leaving;
                self.hang_up(conn, reason, now, out);
            }
            (LinkState::Bound, Some(conn)) => {
                if link.refusals != 0 && now.mono.millis_since(link.bound_at) >= STEADY_BIND_MS {
                    link.refusals = 0;
                    self.lanes[link.vendor.index()].bound_after(0);
                }
                let silent_ms = now.mono.millis_since(link.last_received);
                match link.enquired_at {
                    Some(at) if now.mono.millis_since(at) >= settings.response_timeout_ms && link.is_reading => {
                        self.hang_up(conn, EndReason::Inactive, now, out);
                        return;
                    }
                    None if settings.enquire_link_ms != 0 && silent_ms >= settings.enquire_link_ms => {
                        link.enquired_at = Some(now.mono);
                        let sequence = link.window.next_sequence();
                        let status = CommandStatus::ESME_ROK;
                        encode::header_only(out.buffer(conn), CommandId::ENQUIRE_LINK, status, sequence);
                    }
                    Some(_) | None => {}
                }
                self.link_timer(link_id, now);
            }
            (LinkState::Connecting | LinkState::Off, _) | (_, None) => {}
        }
    }

    /// Sends unbind on every bound link; none comes back.
    pub(super) fn unbind_vendors(&mut self, now: Now, out: &mut Output) {
        for index in 0..self.links.len() {
            let link_id = LinkId(index as u32);
            let link = &mut self.links[index];
            link.afterwards = Afterwards::ComesBack;
            let was = core::mem::replace(&mut link.state, LinkState::Off);
            match (was, link.conn) {
                (LinkState::Bound | LinkState::Retiring, Some(conn)) => {
                    let (vendor, submitted) = (link.vendor, link.bind_type != BindType::Receiver);
                    if was == LinkState::Bound {
                        self.lanes[vendor.index()].submitting -= u32::from(submitted);
                    }
                    self.unbind_link(link_id, conn, now, out);
                    self.refresh_view(vendor);
                }
                (LinkState::Unbinding | LinkState::Leaving, Some(_)) => link.state = was,
                (LinkState::Binding, Some(conn)) => {
                    self.hang_up(conn, EndReason::Draining, now, out);
                }
                (LinkState::Connecting, _) => out.push(Action::AbandonConnect { link: link_id }),
                _ => self.link_timers.set(index, Time::NEVER),
            }
        }
    }

    /// Sends unbind; the link closes when it is answered, or soon after.
    pub(super) fn unbind_link(&mut self, link_id: LinkId, conn: Conn, now: Now, out: &mut Output) {
        let link = &mut self.links[link_id.index()];
        link.state = LinkState::Unbinding;
        let sequence = link.window.next_sequence();
        encode::header_only(out.buffer(conn), CommandId::UNBIND, CommandStatus::ESME_ROK, sequence);
        self.link_timers.set(link_id.index(), now.mono.after_ms(UNBIND_MS_MAX));
    }

    /// Why we unbind a link.
    fn unbind_cause(&self, link_id: LinkId) -> EndReason {
        match self.links[link_id.index()].afterwards {
            Afterwards::ComesBack => EndReason::Draining,
            Afterwards::Rebinds => EndReason::Changed,
            Afterwards::Goes => EndReason::Removed,
        }
    }
}

const fn bind_command(bind_type: BindType) -> CommandId {
    match bind_type {
        BindType::Transceiver => CommandId::BIND_TRANSCEIVER,
        BindType::Transmitter => CommandId::BIND_TRANSMITTER,
        BindType::Receiver => CommandId::BIND_RECEIVER,
    }
}
