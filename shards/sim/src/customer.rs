//! Model customers (ESMEs): sessions that connect, bind, submit, answer and end in all the ways that peers have.
//! Single thread; what they send they tell the reference model.

use std::collections::BTreeSet;

use smpp_pdu::bind::Bind;
use smpp_pdu::{CommandId, CommandStatus, Header, encode};

use crate::customer_habits::{Ending, Habits, Mischief, Reading};
use crate::ground::Ground;
use crate::model::{Expect, Message};
use crate::network::{NetId, Peer, Side};
use crate::pipe_end::{Input, PipeEnd};
use crate::random::Stream;
use crate::schedule::Event;
use crate::traffic::{Composed, compose, probe};

/// What a session does next.
#[derive(Clone, Debug)]
pub(crate) enum SessionStep {
    /// Connects and binds.
    Connect,
    /// Submits, and again later.
    Submit,
    /// Sends an enquire_link, and the next one later.
    Enquire,
    /// Sends many enquire_links, and more later.
    Flood,
    /// Reads some more.
    Read,
    /// Answers a deliver_sm.
    Answer(u32, CommandStatus),
    /// Does what it does wrong.
    Misbehave,
    /// Its time is up, and everything that it asked for must have been answered.
    Unasked,
    /// Its time is up.
    End,
    /// Closes what is still open.
    Close,
}

/// Milliseconds in which a session that reads gets all its answers once faults are over.
const PATIENCE_MS: u64 = 5_000;

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Away,
    Binding,
    Bound,
    Leaving,
}

/// One of a customer's sessions; connects again and again.
pub(crate) struct Session {
    index: usize,
    customer: usize,
    is_first: bool,
    pub(crate) epoch: u32,
    pub(crate) state: State,
    pub(crate) habits: Habits,
    pub(crate) end: Option<PipeEnd>,
    pub(crate) sequence: u32,
    unanswered: BTreeSet<u32>,
    /// enquire_links of a flood so far.
    pub(crate) flooded: u32,
    pub(crate) random: Stream,
}

impl Session {
    /// The session of that number; `is_first` marks the one that each customer has once faults are over.
    pub(crate) fn new(index: usize, customer: usize, is_first: bool, ground: &mut Ground) -> Self {
        let mut session = Self {
            index,
            customer,
            is_first,
            epoch: 0,
            state: State::Away,
            habits: Habits::good(),
            end: None,
            sequence: 0,
            unanswered: BTreeSet::new(),
            flooded: 0,
            random: Stream::new(ground.seed, &format!("session {index}")),
        };
        let millis = session.random.spread(1, 2_000);
        session.later(millis * 1_000, SessionStep::Connect, ground);
        session
    }

    /// Whose it is.
    pub(crate) fn customer(&self) -> usize {
        self.customer
    }

    /// Bound and able to submit and receive.
    pub(crate) fn is_ready(&self) -> bool {
        self.state == State::Bound && self.habits.command == CommandId::BIND_TRANSCEIVER
    }

    /// Not connected.
    pub(crate) fn is_away(&self) -> bool {
        self.state == State::Away
    }

    /// Whether it is the one that its customer keeps.
    pub(crate) fn is_first(&self) -> bool {
        self.is_first
    }

    /// Faults are over: whatever it was doing ends, and each customer's first session comes back decent.
    pub(crate) fn heal(&mut self, ground: &mut Ground) {
        if self.habits.enquiries > 0 && self.state == State::Bound {
            // It reads all that it asked for, and must get it.
            self.habits.reading = Reading::Prompt;
            self.read(usize::MAX, ground);
            // An end that stands behind what it has just read.
            self.read(usize::MAX, ground);
            self.later(PATIENCE_MS * 1_000, SessionStep::Unasked, ground);
            return;
        }
        self.leave(Ending::Close, ground);
        self.epoch += 1;
        if self.is_first && ground.scenario.customers[self.customer].address_allowed {
            self.later(100_000, SessionStep::Connect, ground);
        }
    }

    /// Something came, or the connection ended.
    pub(crate) fn arrive(&mut self, net: NetId, ground: &mut Ground) {
        if self.end.as_ref().is_none_or(|end| end.net != net) {
            return;
        }
        let bound = self.state != State::Binding;
        match self.habits.reading {
            Reading::Never if bound => {}
            Reading::Slow(_, millis) if bound => self.later(millis * 1_000, SessionStep::Read, ground),
            _ => self.read(usize::MAX, ground),
        }
    }

    /// The connection may be written to again.
    pub(crate) fn room(&mut self, net: NetId, ground: &mut Ground) {
        if let Some(end) = self.end.as_mut().filter(|end| end.net == net) {
            end.flush(ground);
        }
    }

    /// The next step; steps of earlier connections are left out by the caller.
    pub(crate) fn step(&mut self, epoch: u32, step: SessionStep, ground: &mut Ground) -> Option<NetId> {
        if epoch != self.epoch {
            return None;
        }
        match step {
            SessionStep::Connect => return self.connect(ground),
            SessionStep::Submit => self.submit_burst(ground),
            SessionStep::Enquire => self.enquire(ground),
            SessionStep::Flood => self.flood(ground),
            SessionStep::Read => {
                if let Reading::Slow(octets, _) = self.habits.reading {
                    self.read(octets, ground);
                }
            }
            SessionStep::Answer(sequence, status) => self.answer_delivery(sequence, status, ground),
            SessionStep::Misbehave => self.misbehave(ground),
            SessionStep::Unasked => {
                // Where the configuration changes the gateway may have unbound it.
                if let Some(end) = self.end.as_ref().filter(|_| ground.scenario.live.is_none()) {
                    ground.model.check_all_answered(end.net, ground.schedule.now());
                }
                self.leave(Ending::Unbind, ground);
            }
            // Such a one gets all that it asked for first: see `heal`.
            SessionStep::End if ground.healed && self.habits.enquiries > 0 && self.state == State::Bound => {}
            SessionStep::End => self.leave(self.habits.ending, ground),
            SessionStep::Close => self.gone(false, ground),
        }
        None
    }

    /// Sends the submit that must reach that vendor.
    pub(crate) fn probe(&mut self, vendor: usize, ground: &mut Ground) {
        let (sequence, number) = (self.next_sequence(), ground.model.messages.len());
        let composed = probe(&ground.scenario, self.customer, vendor, sequence, number);
        self.send_submit(sequence, composed, true, ground);
        self.flush(ground);
    }

    /// Sends a submit while the gateway drains.
    pub(crate) fn submit_one(&mut self, ground: &mut Ground) {
        let (sequence, number) = (self.next_sequence(), ground.model.messages.len());
        let composed = probe(&ground.scenario, self.customer, 0, sequence, number);
        self.send_submit(sequence, composed, false, ground);
        self.flush(ground);
    }

    pub(crate) fn later(&mut self, micros: u64, step: SessionStep, ground: &mut Ground) {
        let event = Event::Session { session: self.index, epoch: self.epoch, step };
        ground.schedule.in_micros(micros, event);
    }

    pub(crate) fn flush(&mut self, ground: &mut Ground) {
        if let Some(end) = &mut self.end {
            end.flush(ground);
        }
    }

    pub(crate) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn connect(&mut self, ground: &mut Ground) -> Option<NetId> {
        if self.end.is_some() || ground.model.draining {
            return None;
        }
        let plan = ground.scenario.customers[self.customer].clone();
        self.habits = if ground.healed { Habits::good() } else { Habits::draw(&mut self.random, plan.mischief) };
        let net = ground.network.open(Peer::Session(self.index));
        let refusal = match (self.habits.right_name, self.habits.right_password, plan.address_allowed) {
            (false, _, _) => Some(CommandStatus::ESME_RINVSYSID),
            (true, false, _) => Some(CommandStatus::ESME_RINVPASWD),
            (true, true, false) => Some(CommandStatus::ESME_RBINDFAIL),
            (true, true, true) => None,
        };
        ground.model.customer_opened(net, self.customer, refusal);
        ground.trace.line(
            ground.schedule.now(),
            format_args!(
                "session {} of customer {} connects as {}: {:?}",
                self.index, self.customer, net.0, self.habits
            ),
        );
        self.end = Some(PipeEnd::new(net));
        self.state = State::Binding;
        self.unanswered.clear();
        self.flooded = 0;
        self.sequence = *self.random.pick(&[0, 0, 1_000, 0x7FFF_FFF0, 0xFFFF_FFF0, u32::MAX]);
        if self.habits.mischief == Some(Mischief::SubmitBeforeBind) {
            self.submit(ground);
        }
        self.bind(ground);
        if self.habits.mischief == Some(Mischief::Hasty) {
            for _ in 0..self.habits.burst {
                self.submit(ground);
            }
        }
        self.flush(ground);
        let patience_us = self.random.range(2_000_000, 6_000_000);
        self.later(self.habits.life_ms.saturating_mul(1_000).max(patience_us), SessionStep::End, ground);
        Some(net)
    }

    pub(crate) fn bind(&mut self, ground: &mut Ground) {
        let plan = ground.scenario.customers[self.customer].clone();
        let sequence = self.next_sequence();
        let Some(end) = &mut self.end else { return };
        ground.model.customer_requests(end.net, self.habits.command, sequence);
        let bind = Bind {
            system_id: if self.habits.right_name { plan.system_id.as_bytes() } else { b"stranger" },
            password: if self.habits.right_password { plan.password.as_bytes() } else { b"wrong" },
            system_type: b"",
            interface_version: self.habits.version,
            addr_ton: 0,
            addr_npi: 0,
            address_range: b"",
        };
        encode::bind(end.output(), self.habits.command, sequence, &bind);
    }

    fn read(&mut self, most: usize, ground: &mut Ground) {
        let Some(end) = &mut self.end else { return };
        if end.read(most, ground) == Input::Ended {
            self.gone(false, ground);
            return;
        }
        while let Some(pdu) = self.end.as_mut().and_then(|end| end.next_pdu(ground.seed)) {
            self.take(&pdu, ground);
        }
        self.flush(ground);
        if let (Some(end), Reading::Slow(_, millis)) = (&self.end, self.habits.reading)
            && ground.network.readable(end.net, Side::Peer, ground.schedule.now()) != crate::network::Readable::Nothing
        {
            self.later(millis * 1_000, SessionStep::Read, ground);
        }
    }

    fn take(&mut self, pdu: &[u8], ground: &mut Ground) {
        let (Some(header), Some(end)) = (Header::read(pdu), &mut self.end) else { return };
        let (sequence, ok) = (header.sequence_number, CommandStatus::ESME_ROK);
        match header.command_id {
            CommandId::SUBMIT_SM_RESP | CommandId::GENERIC_NACK => {
                self.unanswered.remove(&sequence);
            }
            CommandId::DELIVER_SM => self.plan_answer(sequence, ground),
            CommandId::ENQUIRE_LINK if self.habits.answers_enquiries => {
                encode::header_only(end.output(), CommandId::ENQUIRE_LINK_RESP, ok, sequence);
            }
            CommandId::UNBIND => encode::header_only(end.output(), CommandId::UNBIND_RESP, ok, sequence),
            CommandId::UNBIND_RESP => self.later(50_000, SessionStep::Close, ground),
            CommandId::BIND_TRANSCEIVER_RESP | CommandId::BIND_TRANSMITTER_RESP | CommandId::BIND_RECEIVER_RESP => {
                self.bind_answered(header.command_status, ground);
            }
            _ => {}
        }
    }

    fn bind_answered(&mut self, status: CommandStatus, ground: &mut Ground) {
        if self.state != State::Binding {
            return;
        }
        if !status.is_ok() {
            // Being refused once does not keep everybody from trying again at once.
            let micros = self.random.spread(1, 200_000);
            self.later(micros, SessionStep::Close, ground);
            return;
        }
        self.state = State::Bound;
        if ground.healed {
            return;
        }
        if self.habits.enquiries > 0 {
            self.later(1_000, SessionStep::Flood, ground);
            return;
        }
        self.later(self.habits.pause_us, SessionStep::Submit, ground);
        if self.habits.enquire_ms > 0 {
            self.later(self.habits.enquire_ms * 1_000, SessionStep::Enquire, ground);
        }
        if self.habits.mischief.is_some() {
            let micros = self.random.spread(1, 1_000_000);
            self.later(micros, SessionStep::Misbehave, ground);
        }
    }

    fn plan_answer(&mut self, sequence: u32, ground: &mut Ground) {
        let Some(most_ms) = self.habits.answer_ms else { return };
        let status = if self.random.chance(self.habits.refusals) {
            let statuses =
                [CommandStatus::ESME_RX_T_APPN, CommandStatus::ESME_RX_P_APPN, CommandStatus::ESME_RX_R_APPN];
            *self.random.pick(&statuses)
        } else {
            CommandStatus::ESME_ROK
        };
        let micros = self.random.range(1, most_ms * 1_000);
        self.later(micros, SessionStep::Answer(sequence, status), ground);
    }

    fn answer_delivery(&mut self, sequence: u32, status: CommandStatus, ground: &mut Ground) {
        let doubled = self.random.chance(self.habits.doubled);
        let Some(end) = &mut self.end else { return };
        ground.model.customer_answers(end.net, sequence, status);
        for _ in 0..1 + usize::from(doubled) {
            encode::deliver_sm_resp(end.output(), status, sequence);
        }
        end.flush(ground);
    }

    fn enquire(&mut self, ground: &mut Ground) {
        let sequence = self.next_sequence();
        let Some(end) = self.end.as_mut().filter(|_| self.state == State::Bound) else { return };
        ground.model.customer_requests(end.net, CommandId::ENQUIRE_LINK, sequence);
        encode::header_only(end.output(), CommandId::ENQUIRE_LINK, CommandStatus::ESME_ROK, sequence);
        end.flush(ground);
        self.later(self.habits.enquire_ms * 1_000, SessionStep::Enquire, ground);
    }

    fn submit_burst(&mut self, ground: &mut Ground) {
        let is_receiver = self.habits.command == CommandId::BIND_RECEIVER && !self.habits.submits_anyway;
        if self.state != State::Bound || ground.healed || is_receiver {
            return;
        }
        for _ in 0..self.habits.burst {
            if self.unanswered.len() >= self.habits.window || self.end.as_ref().is_none_or(|end| end.waiting() > 50_000)
            {
                break;
            }
            self.submit(ground);
        }
        self.flush(ground);
        let micros = self.random.range(1, 2 * self.habits.pause_us);
        self.later(micros, SessionStep::Submit, ground);
    }

    fn submit(&mut self, ground: &mut Ground) {
        let number = ground.model.messages.len();
        if number as u64 >= ground.scenario.messages_max {
            return;
        }
        let sequence = self.next_sequence();
        let malformed = self.habits.malformed;
        let scenario = ground.scenario.clone();
        let composed = compose(&scenario, self.customer, sequence, number, malformed, &mut self.random);
        self.send_submit(sequence, composed, false, ground);
    }

    fn send_submit(&mut self, sequence: u32, composed: Composed, must_succeed: bool, ground: &mut Ground) {
        let Some(end) = &mut self.end else { return };
        let can_submit = self.habits.command != CommandId::BIND_RECEIVER;
        end.output().extend_from_slice(&composed.pdu);
        self.unanswered.insert(sequence);
        ground.model.customer_submits(Message {
            customer: self.customer,
            net: end.net,
            sequence,
            pdu: composed.pdu.into(),
            expect: composed.expect,
            vendors: composed.vendors,
            registered: composed.registered,
            may_have_been_bound: self.state == State::Bound && can_submit,
            must_succeed: must_succeed && composed.expect == Expect::Routed,
            fed_at: None,
            emissions: Vec::new(),
            answer: None,
            id: None,
            receipts_taken: 0,
            receipts_refused: 0,
            is_promised: false,
            was_told_unwritten: false,
            is_over: false,
            is_damaged: false,
            is_receipt_expired: false,
            life: ground.life,
            own_over: None,
        });
    }

    fn leave(&mut self, ending: Ending, ground: &mut Ground) {
        let sequence = self.next_sequence();
        let Some(end) = &mut self.end else { return };
        match ending {
            Ending::Unbind if self.state == State::Bound => {
                self.state = State::Leaving;
                ground.model.customer_requests(end.net, CommandId::UNBIND, sequence);
                encode::header_only(end.output(), CommandId::UNBIND, CommandStatus::ESME_ROK, sequence);
                end.flush(ground);
                self.later(3_000_000, SessionStep::Close, ground);
            }
            Ending::HalfClose => {
                ground.network.finish(end.net, Side::Peer, &mut ground.schedule);
                ground.model.peer_gone(end.net);
                self.state = State::Leaving;
                self.later(1_000_000, SessionStep::Close, ground);
            }
            Ending::Reset => self.gone(true, ground),
            Ending::Unbind | Ending::Close => self.gone(false, ground),
        }
    }

    /// The connection is over; the next one comes after a while.
    fn gone(&mut self, reset: bool, ground: &mut Ground) {
        let Some(end) = self.end.take() else { return };
        ground.model.peer_gone(end.net);
        if reset {
            ground.network.reset(end.net, Side::Peer, &mut ground.schedule);
        } else {
            ground.network.close(end.net, Side::Peer, &mut ground.schedule);
        }
        self.state = State::Away;
        self.epoch += 1;
        if !ground.healed {
            let millis = self.random.spread(1, 2_000);
            self.later(millis * 1_000, SessionStep::Connect, ground);
        } else if self.is_first && ground.scenario.customers[self.customer].address_allowed {
            self.later(500_000, SessionStep::Connect, ground);
        }
    }
}
