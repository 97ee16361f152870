//! One run: the shards with their hosts, the peers, the control thread, and the phases from the first connection to
//! the last unbind. Single thread; everything follows from the seed.

use std::collections::BTreeSet;
use std::rc::Rc;

use smpp_shards::settings::BindType;
use smpp_shards::{DrainPhase, Time, VendorState, bounds};

use crate::control::Control;
use crate::counts::Counts;
use crate::customer::Session;
use crate::disk::Disk;
use crate::ground::Ground;
use crate::host::Host;
use crate::idle::Idle;
use crate::mailbox::{Mail, Wishes};
use crate::model::{Model, violation};
use crate::network::{NetId, Network, Peer, Side};
use crate::random::Stream;
use crate::scenario::{Mode, Scenario, fair_weather};
use crate::schedule::{Event, Phase, Schedule};
use crate::trace::Trace;
use crate::vendor::Vendor;

/// Events of one run at the most: more is a loop without end.
const EVENTS_MAX: u64 = 20_000_000;

/// Milliseconds within which everything must be finished once faults are over: the longest waiting time before a
/// bind with its jitter (36 s), a peer that is found to take nothing (30 s) and the timers of the settings.
const SETTLE_MS_MAX: u64 = 100_000;

/// As [`SETTLE_MS_MAX`], with a journal: what waits for a vendor is not given up, and some vendors take 20 a second.
const SETTLE_JOURNAL_MS_MAX: u64 = 400_000;

/// Milliseconds in which something has found room, unless all that waits does so for a vendor which takes nothing.
const CLOGGED_MS: u64 = 14_000;

/// Milliseconds within which a phase of the drain must be quiet.
const DRAIN_MS_MAX: u64 = 15_000;

/// Milliseconds between looks at the shards' reports.
const LOOK_MS: u64 = 100;

/// Milliseconds from one probe to the next: slower than any limit, so that each must succeed.
const PROBE_EVERY_MS: u64 = 210;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Equal for two runs of one seed.
    pub trace_hash: u64,
    /// Events that happened.
    pub events: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// Milliseconds from the end of faults to quiet.
    pub settle_ms: u64,
    /// Messages that customers sent.
    pub messages: usize,
    /// Deliveries that vendors tried.
    pub attempts: usize,
    /// How often something happened.
    pub counts: Counts,
}

/// Everything there is.
pub struct World {
    pub(crate) ground: Ground,
    /// None while the process is down.
    pub(crate) hosts: Vec<Host>,
    pub(crate) control: Control,
    sessions: Vec<Session>,
    vendors: Vec<Vendor>,
    pub(crate) idle: Vec<Idle>,
    pub(crate) random: Stream,
    events: u64,
    /// Shards have started: there are listeners and vendors. Else the process is down, or takes over a journal.
    pub(crate) is_open: bool,
    /// The name of the present process's logs.
    pub(crate) start: u64,
}

impl World {
    /// The world of that seed, at its beginning.
    pub fn new(seed: u64, mode: Mode, verbose: bool) -> Self {
        let scenario = Rc::new(Scenario::new(seed, mode));
        let mut ground = Ground {
            seed,
            schedule: Schedule::default(),
            network: Network::new(Stream::new(seed, "network"), scenario.weather.clone()),
            model: Model::new(seed, scenario.clone()),
            trace: Trace::new(verbose),
            turns: Stream::new(seed, "turns"),
            turn_pauses: scenario.turn_pauses,
            receive_bytes: scenario.receive_bytes,
            vendor_is_reachable: vec![true; scenario.vendors.len()],
            healed: false,
            ahead_ms: 0,
            alerts: 0,
            disk: scenario.journal.clone().map(|plan| Disk::new(plan, Stream::new(seed, "disk"))),
            life: 0,
            scenario: scenario.clone(),
        };
        let control = Control::new(scenario.shards, &ground);
        let random = Stream::new(seed, "world");
        let vendors = (0..scenario.vendors.len()).map(|index| Vendor::new(index, &mut ground)).collect();
        let mut sessions = Vec::new();
        for (customer, plan) in scenario.customers.iter().enumerate() {
            for number in 0..plan.sessions {
                sessions.push(Session::new(sessions.len(), customer, number == 0, &mut ground));
            }
        }
        let idle = vec![Idle::default(); scenario.vendors.len()];
        let (hosts, is_open) = (Vec::new(), false);
        Self { ground, hosts, control, sessions, vendors, idle, random, events: 0, is_open, start: 0 }
    }

    /// The whole run; panics with a sentence when something is wrong.
    pub fn run(mut self) -> Outcome {
        self.start();
        let heal_at = Time::default().after_ms(self.ground.scenario.heal_ms);
        self.run_until(heal_at);
        let mut settle_ms = 0;
        self.wait_until_open();
        let has_journal = self.ground.disk.is_some();
        if self.ground.scenario.stops_early {
            self.vendors.iter_mut().for_each(Vendor::calm_down);
        } else {
            self.heal();
            settle_ms = self.settle(if has_journal { SETTLE_JOURNAL_MS_MAX } else { SETTLE_MS_MAX }, "faults are over");
            self.check_kept();
            self.probe();
            // Whether what waits for good is all that waits is told by nothing else than time.
            let clogged_ms = if self.is_clogged() { CLOGGED_MS } else { 0 };
            self.settle(DRAIN_MS_MAX + clogged_ms, "the last submits went out");
            self.check_kept();
            self.hold(SETTLE_JOURNAL_MS_MAX);
        }
        self.drain();
        self.check_journal();
        self.ground.model.check_limits();
        self.ground.model.check_costs(&self.hosts.iter().map(Host::report).collect::<Vec<_>>(), true);
        self.ground.model.check_probes(&self.ground.scenario.settings.vendors);
        let mut counts = core::mem::take(&mut self.ground.model.counts);
        counts.add("alerts", self.ground.alerts);
        self.hosts.iter().for_each(|host| counts.add_report(&host.report()));
        Outcome {
            trace_hash: self.ground.trace.hash(),
            events: self.events,
            virtual_ms: self.ground.schedule.now().0 / 1_000_000,
            settle_ms,
            messages: self.ground.model.messages.len(),
            attempts: self.ground.model.attempts.len(),
            counts,
        }
    }

    fn start(&mut self) {
        self.boot();
        let crashes = self.ground.scenario.journal.as_ref().map_or_else(Vec::new, |plan| plan.crashes.clone());
        for at in crashes {
            self.ground.schedule.in_millis(at, Event::Phase(Phase::Crash));
        }
        self.ground.schedule.in_millis(LOOK_MS, Event::Phase(Phase::Look));
        if self.ground.scenario.reload_ms > 0 {
            self.ground.schedule.in_millis(self.ground.scenario.reload_ms, Event::Phase(Phase::Reload));
        }
    }

    fn heal(&mut self) {
        self.ground.trace.line(self.ground.schedule.now(), format_args!("faults are over"));
        self.ground.healed = true;
        self.ground.network.clear_up(fair_weather(), &mut self.ground.schedule);
        self.ground.turn_pauses = 0;
        for session in &mut self.sessions {
            session.heal(&mut self.ground);
        }
        for vendor in &mut self.vendors {
            vendor.heal(&mut self.ground);
        }
        if self.ground.scenario.live.is_some() {
            self.reload();
        }
    }

    /// Runs until everything is quiet; gives the milliseconds that took.
    pub(crate) fn settle(&mut self, most_ms: u64, since: &str) -> u64 {
        let began = self.ground.schedule.now();
        let (mut open, mut still_since) = (self.messages_open(), began);
        loop {
            let until = self.ground.schedule.now().after_ms(100);
            self.run_until(until);
            let now = self.ground.schedule.now();
            let took = now.millis_since(began);
            if core::mem::replace(&mut open, self.messages_open()) != open {
                still_since = now;
            }
            if self.is_settled(now.millis_since(still_since)) {
                return took;
            }
            if took > most_ms {
                violation!(self.ground, "not everything is finished {took} ms after {since}: {}", self.describe());
            }
        }
    }

    fn messages_open(&self) -> u64 {
        self.hosts.iter().map(|host| u64::from(host.report().messages_open)).sum()
    }

    /// `still_ms`: for how long as many messages have been open as are now.
    fn is_settled(&self, still_ms: u64) -> bool {
        let settings = &self.ground.scenario.settings;
        let sessions_ready = self.sessions.iter().all(|session| {
            let wanted = session.is_first() && self.ground.scenario.customers[session.customer()].address_allowed;
            if wanted { session.is_ready() } else { session.is_away() }
        });
        let vendors = self.vendors.iter().zip(&settings.vendors);
        sessions_ready
            && vendors
                .clone()
                .all(|(vendor, settings)| vendor.bound_links() == settings.binds as usize && vendor.deliveries() == 0)
            && self.ground.model.unanswered() == 0
            && self.hosts.iter().all(|host| {
                let report = host.report();
                let is_disk_well = report.journal.is_none_or(|journal| !journal.is_failing());
                let open = report.messages_open - self.waiting_for_good(&report);
                // What waits for room in the full queue of a vendor that takes nothing waits for good as well. Whether that
                // is so is told by the journal in the end. Others may still be on their way to a vendor that takes a few a
                // second.
                let is_through = open == 0 || self.is_clogged() && still_ms >= CLOGGED_MS;
                is_disk_well && report.is_quiet && is_through && report.deliveries_open == 0
            })
    }

    /// Messages that wait in the queues of vendors to which nothing can be submitted: in journal mode they stay there.
    fn waiting_for_good(&self, report: &smpp_shards::Report) -> u32 {
        if self.ground.disk.is_none() {
            return 0;
        }
        let vendors = report.vendors.iter().zip(&self.ground.scenario.settings.vendors);
        let receivers = vendors.filter(|(_, settings)| settings.bind_type == BindType::Receiver);
        receivers.map(|(counters, _)| counters.queued).sum()
    }

    /// Whether a vendor to which nothing can be submitted has a full queue.
    fn is_clogged(&self) -> bool {
        self.ground.disk.is_some()
            && self.hosts.iter().any(|host| {
                let report = host.report();
                let mut vendors = report.vendors.iter().zip(&self.ground.scenario.settings.vendors);
                vendors.any(|(counters, settings)| {
                    let is_full = counters.queued >= settings.queue_messages / 2
                        || counters.queued_bytes >= settings.queue_bytes / 2;
                    settings.bind_type == BindType::Receiver && is_full
                })
            })
    }

    pub(crate) fn describe(&self) -> String {
        let now = self.ground.schedule.now();
        let mut words = format!("{} unanswered", self.ground.model.unanswered());
        for host in &self.hosts {
            let report = host.report();
            words += &format!(
                "; shard {}: {} messages, {} deliveries, {} sessions, quiet {}, {:?} to restore, journal {:?}",
                host.id,
                report.messages_open,
                report.deliveries_open,
                report.sessions,
                report.is_quiet,
                report.to_restore,
                report.journal
            );
        }
        for vendor in &self.vendors {
            words += &format!("; {}", vendor.describe(now));
        }
        for session in self.sessions.iter().filter(|session| session.is_first() && !session.is_ready()) {
            words += &format!("; customer {} is not bound", session.customer());
        }
        words
    }

    /// Every customer submits to every vendor once more, and wants a receipt.
    fn probe(&mut self) {
        let probes = self.sessions.len() * self.vendors.len();
        let kept_max = u64::from(self.ground.scenario.settings.gateway.messages_kept);
        let has_room = |host: &Host| host.report().messages_kept + probes as u64 <= kept_max;
        if self.ground.disk.is_some() && !self.hosts.iter().all(has_room) {
            // What stays open for good has used the bound up: nothing more is accepted, and rightly.
            self.ground.model.counts.add("runs that end at messages_kept", 1);
            return;
        }
        // What was submitted last may have been the last that a limit allowed.
        let until = self.ground.schedule.now().after_ms(PROBE_EVERY_MS);
        self.run_until(until);
        // A lane rests after a throttle of before.
        let throttled_at = self.ground.model.throttled_at;
        if throttled_at > Time::default() {
            self.run_until(throttled_at.after_ms(bounds::THROTTLE_PAUSE_MS_MAX));
        }
        for vendor in 0..self.vendors.len() {
            if self.ground.scenario.settings.vendors[vendor].bind_type == BindType::Receiver {
                continue;
            }
            for session in 0..self.sessions.len() {
                if self.sessions[session].is_ready() {
                    self.sessions[session].probe(vendor, &mut self.ground);
                    let until = self.ground.schedule.now().after_ms(PROBE_EVERY_MS);
                    self.run_until(until);
                }
            }
        }
    }

    fn drain(&mut self) {
        self.ground.model.draining = true;
        self.drain_phase(DrainPhase::Refuse);
        for session in self.sessions.iter_mut().filter(|session| session.is_ready()) {
            session.submit_one(&mut self.ground);
        }
        self.drain_phase(DrainPhase::Settle);
        self.drain_phase(DrainPhase::UnbindCustomers);
        if let Some(session) = self.sessions.iter().find(|session| !session.is_away() && self.ground.healed) {
            violation!(self.ground, "customer {} is still connected when all have unbound", session.customer());
        }
        self.drain_phase(DrainPhase::UnbindVendors);
        if let Some(vendor) =
            self.vendors.iter().position(|vendor| vendor.bound_links() > 0).filter(|_| self.ground.healed)
        {
            violation!(self.ground, "vendor {vendor} is still bound when all are unbound");
        }
    }

    fn drain_phase(&mut self, phase: DrainPhase) {
        for index in 0..self.hosts.len() {
            self.hosts[index].post(Mail::Drain(phase), &mut self.ground);
        }
        let began = self.ground.schedule.now();
        loop {
            let until = self.ground.schedule.now().after_ms(100);
            self.run_until(until);
            let took = self.ground.schedule.now().millis_since(began);
            if self.hosts.iter().all(|host| host.report().is_quiet) {
                // What was written last is still on its way.
                let until = self.ground.schedule.now().after_ms(500);
                self.run_until(until);
                return;
            }
            // A customer that never answers a receipt which is safe keeps the first phase from ending; it is given a time.
            if took > DRAIN_MS_MAX && phase == DrainPhase::Refuse && self.ground.disk.is_some() && !self.ground.healed {
                return;
            }
            if took > DRAIN_MS_MAX {
                violation!(self.ground, "phase {phase:?} is not quiet after {took} ms: {}", self.describe());
            }
        }
    }

    pub(crate) fn run_until(&mut self, until: Time) {
        while let Some(event) = self.ground.schedule.next(until) {
            self.events += 1;
            if self.events > EVENTS_MAX {
                violation!(self.ground, "events without end: {}", self.describe());
            }
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        let ground = &mut self.ground;
        match event {
            Event::Turn(host) => {
                if self.hosts.get(host).is_some_and(|host| host.is_due(ground.schedule.now())) {
                    let mut wishes = Wishes::default();
                    self.hosts[host].turn(ground, &mut wishes);
                    self.grant(wishes);
                    self.open_when_restored();
                }
            }
            Event::Arrive(net, side) => self.arrive(net, side),
            Event::Room(net, Side::Peer) => match ground.network.peer(net) {
                Peer::Session(session) => self.sessions[session].room(net, ground),
                Peer::Vendor(vendor) => self.vendors[vendor].room(net, ground),
            },
            Event::Room(net, Side::Gateway) => match ground.network.owner(net) {
                Some((host, conn)) => self.hosts[host].room(conn, ground),
                None => self.hosts.iter_mut().for_each(|host| host.go_on_closing(net, false, ground)),
            },
            Event::Stall(net) => {
                if let Some((host, _)) = ground.network.owner(net) {
                    self.hosts[host].look_at_stall(net, ground);
                }
            }
            Event::CloseNow(net) => self.hosts.iter_mut().for_each(|host| host.go_on_closing(net, true, ground)),
            Event::Connected { life, .. } | Event::Checked { life, .. } | Event::Disk { life, .. }
                if life != ground.life || self.hosts.is_empty() => {}
            Event::Connected { host, link, ticket, .. } => self.hosts[host].connected(link, ticket, ground),
            Event::Checked { host, verdict, .. } => self.hosts[host].post(Mail::Verdict(verdict), ground),
            Event::Disk { host, .. } => {
                let (now, may_fail) = (ground.schedule.now(), !ground.healed && !ground.model.draining);
                if let Some(disk) = &mut ground.disk {
                    let (written, batch) = disk.end(host, may_fail, now.0 / 1_000_000);
                    self.hosts[host].written(written, batch, ground);
                }
            }
            Event::Session { session, epoch, step } => {
                let Some(net) = self.sessions[session].step(epoch, step, ground) else { return };
                if !self.is_open {
                    // Nobody listens.
                    ground.network.reset(net, Side::Gateway, &mut ground.schedule);
                } else {
                    let host = self.random.below(self.hosts.len() as u64) as usize;
                    self.hosts[host].accept(net, ground);
                }
            }
            Event::Vendor { vendor, step } => self.vendors[vendor].step(step, ground),
            Event::Phase(Phase::Reload) => self.reload(),
            Event::Phase(Phase::Look) => self.look(),
            Event::Phase(Phase::Crash) => self.crash(),
            Event::Phase(Phase::Restart) => self.boot(),
        }
    }

    fn arrive(&mut self, net: NetId, side: Side) {
        let ground = &mut self.ground;
        if ground.network.is_closed(net, side) {
            ground.network.answer_closed(net, side, &mut ground.schedule);
            return;
        }
        match (side, ground.network.peer(net)) {
            (Side::Gateway, _) => {
                if let Some((host, conn)) = ground.network.owner(net) {
                    self.hosts[host].arrive(conn, ground);
                }
            }
            (Side::Peer, Peer::Session(session)) => self.sessions[session].arrive(net, ground),
            (Side::Peer, Peer::Vendor(vendor)) => self.vendors[vendor].arrive(net, ground),
        }
    }

    pub(crate) fn grant(&mut self, wishes: Wishes) {
        for bell in wishes.bells {
            self.hosts[bell.index()].ring(&mut self.ground);
        }
        for (to, mail) in wishes.moves {
            self.hosts[to.index()].post(mail, &mut self.ground);
        }
        for (shard, version) in wishes.in_force {
            self.control.taken_over(shard, version, &mut self.ground);
        }
        for request in wishes.binds {
            self.control.check(&request, &mut self.ground);
        }
    }

    fn reload(&mut self) {
        let snapshot = self.control.rebuild(&mut self.ground);
        for host in &mut self.hosts {
            host.post(Mail::Apply(snapshot.clone()), &mut self.ground);
        }
        if !self.ground.healed {
            self.ground.schedule.in_millis(self.ground.scenario.reload_ms, Event::Phase(Phase::Reload));
        }
    }

    /// Looks at what the shards tell of themselves: nothing grows beyond its bound.
    fn look(&mut self) {
        let settings = &self.ground.scenario.settings;
        for host in &self.hosts {
            let mut clogged = BTreeSet::new();
            for (net, octets) in host.queued() {
                let most = match self.ground.network.peer(net) {
                    Peer::Session(_) => bounds::SESSION_OUTPUT_BYTES_MAX + 4 * self.ground.receive_bytes,
                    Peer::Vendor(_) => bounds::LINK_OUTPUT_BYTES_MAX + 4 * self.ground.receive_bytes,
                };
                if octets > most + 2 * bounds::PDU_BYTES_MAX {
                    violation!(self.ground, "{octets} octets wait for {}", self.ground.model.name(net));
                }
                if let Peer::Vendor(vendor) = self.ground.network.peer(net)
                    && octets >= bounds::LINK_OUTPUT_BYTES_MAX
                {
                    clogged.insert(vendor);
                }
            }
            let report = host.report();
            let kept_max = u64::from(settings.gateway.messages_kept).max(report.to_restore.1);
            if report.messages_kept > kept_max {
                violation!(self.ground, "{} messages are kept, of {kept_max} at the most", report.messages_kept);
            }
            for (vendor, (idle, counters)) in self.idle.iter_mut().zip(&report.vendors).enumerate() {
                if counters.state != VendorState::Off || counters.connects > 0 {
                    idle.look(counters, LOOK_MS);
                    // What the journal keeps waits for the next start; and to a link that takes nothing, nothing is given.
                    if self.ground.model.draining && self.ground.disk.is_some() || clogged.contains(&vendor) {
                        *idle = Idle::default();
                    }
                }
            }
            for (index, (counters, vendor)) in report.vendors.iter().zip(&settings.vendors).enumerate() {
                // A message that was throttled goes back to the front, whatever has come behind it meanwhile.
                let in_windows = vendor.window_size * vendor.binds;
                if counters.queued > vendor.queue_messages + in_windows
                    || counters.in_flight > in_windows
                    || counters.links_bound > vendor.binds
                    || counters.deliveries_waiting > bounds::DELIVERIES_PER_VENDOR_MAX
                {
                    violation!(self.ground, "vendor {index} is beyond a bound: {counters:?}");
                }
            }
        }
        if let Some(vendor) = self.idle.iter().position(Idle::is_too_long) {
            violation!(self.ground, "messages wait for vendor {vendor}, which waits for them: {}", self.describe());
        }
        self.ground.schedule.in_millis(LOOK_MS, Event::Phase(Phase::Look));
    }
}
