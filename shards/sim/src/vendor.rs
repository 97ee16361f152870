//! A model vendor (SMSC): takes binds and submits, answers them in its own ways, and keeps its links.
//! Single thread; what it says to a submit it tells the reference model.

use std::collections::{BTreeMap, VecDeque};

use smpp_pdu::bind::Bind;
use smpp_pdu::message::{REGISTERED_RECEIPT_MASK, ShortMessage};
use smpp_pdu::{CommandId, CommandStatus, Header, encode};
use smpp_shards::Time;

use crate::ground::Ground;
use crate::model::Model;
use crate::network::{NetId, Side};
use crate::pipe_end::{Input, PipeEnd};
use crate::random::Stream;
use crate::scenario::{PERMANENT, TEMPORARY};
use crate::schedule::Event;
use crate::vendor_habits::VendorHabits;
use crate::vendor_receipts::Delivery;

/// What a vendor does next.
#[derive(Clone, Debug)]
pub(crate) enum VendorStep {
    /// Reads again.
    Read(NetId),
    /// Answers a bind.
    AnswerBind(NetId, u32, CommandId),
    /// Answers a submit.
    Answer(NetId, Reply),
    /// Delivers something.
    Deliver(Delivery),
    /// Makes an MO up, and the next one later.
    Mobile,
    /// Sends an enquire_link, and the next one later.
    Enquire(NetId),
    /// Is gone for so many milliseconds.
    Down(u64),
    /// Is back.
    Up,
}

/// An answer to a submit.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// The submit's sequence_number.
    sequence: u32,
    /// What it says.
    status: CommandStatus,
    /// By generic_nack.
    is_nack: bool,
    /// The vendor's id for the message.
    id: u64,
    /// A receipt in the same segment, before (true) or behind the answer.
    beside: Option<(bool, Delivery)>,
}

/// One link as the vendor sees it.
pub(crate) struct VendorLink {
    pub(crate) end: PipeEnd,
    pub(crate) bound: Option<CommandId>,
    pub(crate) sequence: u32,
    pub(crate) open: BTreeMap<u32, Delivery>,
    is_deaf: bool,
    /// The enquire_links that it has not answered.
    owed: Vec<u32>,
}

impl VendorLink {
    fn answer_enquiry(&mut self, sequence: u32, ground: &mut Ground) {
        encode::header_only(self.end.output(), CommandId::ENQUIRE_LINK_RESP, CommandStatus::ESME_ROK, sequence);
        self.end.flush(ground);
    }
}

/// A model vendor.
pub(crate) struct Vendor {
    pub(crate) index: usize,
    pub(crate) habits: VendorHabits,
    pub(crate) random: Stream,
    pub(crate) links: BTreeMap<NetId, VendorLink>,
    pub(crate) queue: VecDeque<Delivery>,
    pub(crate) scheduled: usize,
    next_id: u64,
}

impl Vendor {
    /// The vendor of that number.
    pub(crate) fn new(index: usize, ground: &mut Ground) -> Self {
        let mut random = Stream::new(ground.seed, &format!("vendor {index}"));
        let habits = ground.scenario.vendors[index].clone();
        for &(from, length) in &habits.outages {
            ground.schedule.in_millis(from, Event::Vendor { vendor: index, step: VendorStep::Down(length) });
        }
        if habits.mobile_ms > 0 {
            ground.schedule.in_millis(habits.mobile_ms, Event::Vendor { vendor: index, step: VendorStep::Mobile });
        }
        let next_id = random.spread(1, 1 << 60);
        Self { index, habits, random, links: BTreeMap::new(), queue: VecDeque::new(), scheduled: 0, next_id }
    }

    /// Links that are bound.
    pub(crate) fn bound_links(&self) -> usize {
        self.links.values().filter(|link| link.bound.is_some()).count()
    }

    /// Deliveries that are still to be made or answered.
    pub(crate) fn deliveries(&self) -> usize {
        self.scheduled + self.queue.len() + self.links.values().map(|link| link.open.len()).sum::<usize>()
    }

    /// Faults are over.
    pub(crate) fn heal(&mut self, ground: &mut Ground) {
        let habits = &self.habits;
        self.habits = VendorHabits::good(habits.response_id, habits.receipt_id, habits.receipt_id_from);
        ground.vendor_is_reachable[self.index] = true;
        let nets: Vec<NetId> = self.links.keys().copied().collect();
        for net in nets {
            if let Some(link) = self.links.get_mut(&net) {
                link.is_deaf = false;
                // Unanswered they would cost the link later, when it is taken for one that lasts.
                for sequence in core::mem::take(&mut link.owed) {
                    link.answer_enquiry(sequence, ground);
                }
            }
            self.arrive(net, ground);
        }
    }

    /// The gateway is about to stop: nothing new comes from here, so that it can become quiet.
    pub(crate) fn calm_down(&mut self) {
        self.habits.mobile_ms = 0;
        self.habits.doubled_receipts = 0;
        self.habits.unknown_receipts = 0;
    }

    /// Something came over a link; the first thing makes the link known.
    pub(crate) fn arrive(&mut self, net: NetId, ground: &mut Ground) {
        if ground.network.is_closed(net, Side::Peer) {
            return;
        }
        let link = self.links.entry(net).or_insert_with(|| VendorLink {
            end: PipeEnd::new(net),
            bound: None,
            sequence: 0,
            open: BTreeMap::new(),
            is_deaf: false,
            owed: Vec::new(),
        });
        if link.is_deaf {
            return;
        }
        if link.end.read(usize::MAX, ground) == Input::Ended {
            self.hang_up(net, false, ground);
            return;
        }
        while let Some(pdu) = self.links.get_mut(&net).and_then(|link| link.end.next_pdu(ground.seed)) {
            self.take(net, &pdu, ground);
        }
        if self.random.chance(self.habits.deaf)
            && let Some(link) = self.links.get_mut(&net)
        {
            link.is_deaf = true;
            let millis = self.random.spread(10, 2_000);
            self.later(millis * 1_000, VendorStep::Read(net), ground);
        }
    }

    /// A link may be written to again.
    pub(crate) fn room(&mut self, net: NetId, ground: &mut Ground) {
        if let Some(link) = self.links.get_mut(&net) {
            link.end.flush(ground);
        }
    }

    /// The next step.
    pub(crate) fn step(&mut self, step: VendorStep, ground: &mut Ground) {
        match step {
            VendorStep::Read(net) => {
                if let Some(link) = self.links.get_mut(&net) {
                    link.is_deaf = false;
                    self.arrive(net, ground);
                }
            }
            VendorStep::AnswerBind(net, sequence, command) => self.answer_bind(net, sequence, command, ground),
            VendorStep::Answer(net, reply) => {
                self.scheduled -= 1;
                self.answer(net, reply, ground);
            }
            VendorStep::Deliver(delivery) => {
                self.scheduled -= 1;
                self.queue.push_back(delivery);
                self.deliver_queued(ground);
            }
            VendorStep::Mobile => self.make_mobile(ground),
            VendorStep::Enquire(net) => self.enquire(net, ground),
            VendorStep::Down(millis) => self.go_down(millis, ground),
            VendorStep::Up => ground.vendor_is_reachable[self.index] = true,
        }
    }

    pub(crate) fn later(&mut self, micros: u64, step: VendorStep, ground: &mut Ground) {
        self.scheduled += usize::from(matches!(step, VendorStep::Deliver(_) | VendorStep::Answer(..)));
        ground.schedule.in_micros(micros, Event::Vendor { vendor: self.index, step });
    }

    fn take(&mut self, net: NetId, pdu: &[u8], ground: &mut Ground) {
        let Some(header) = Header::read(pdu) else { return };
        let Some(link) = self.links.get_mut(&net) else { return };
        let (sequence, ok) = (header.sequence_number, CommandStatus::ESME_ROK);
        match header.command_id {
            command if command.is_bind() => self.bind(net, sequence, command, pdu, ground),
            CommandId::SUBMIT_SM => self.submit(net, sequence, pdu, ground),
            CommandId::DELIVER_SM_RESP => self.delivery_answered(net, sequence, header.command_status, ground),
            CommandId::ENQUIRE_LINK if self.random.chance(self.habits.silent_enquiries) => link.owed.push(sequence),
            CommandId::ENQUIRE_LINK => link.answer_enquiry(sequence, ground),
            CommandId::UNBIND => {
                encode::header_only(link.end.output(), CommandId::UNBIND_RESP, ok, sequence);
                link.end.flush(ground);
            }
            _ => {}
        }
    }

    fn bind(&mut self, net: NetId, sequence: u32, command: CommandId, pdu: &[u8], ground: &mut Ground) {
        let settings = &ground.scenario.settings.vendors[self.index];
        let right = Bind::decode(pdu).is_ok_and(|bind| {
            bind.system_id == settings.username.as_bytes() && bind.password == settings.password.as_bytes()
        });
        assert!(right, "seed {}: vendor {} gets a bind with wrong credentials", ground.seed, self.index);
        if self.random.chance(self.habits.silent_binds) {
            return;
        }
        let micros = self.delay();
        self.later(micros, VendorStep::AnswerBind(net, sequence, command), ground);
    }

    fn answer_bind(&mut self, net: NetId, sequence: u32, command: CommandId, ground: &mut Ground) {
        let refused = self.random.chance(self.habits.refused_binds);
        let Some(link) = self.links.get_mut(&net) else { return };
        if refused {
            let statuses = [CommandStatus::ESME_RBINDFAIL, CommandStatus::ESME_RALYBND, CommandStatus::ESME_RSYSERR];
            let status = *self.random.pick(&statuses);
            encode::header_only(link.end.output(), command.response(), status, sequence);
            link.end.flush(ground);
            if self.random.chance(500) {
                self.hang_up(net, false, ground);
            }
            return;
        }
        link.bound = Some(command);
        ground.model.vendor_binds(net);
        encode::bind_resp(link.end.output(), command.response(), sequence, b"vendor", Some(0x34));
        link.end.flush(ground);
        if self.habits.enquire_ms > 0 {
            self.later(self.habits.enquire_ms * 1_000, VendorStep::Enquire(net), ground);
        }
        self.deliver_queued(ground);
    }

    fn enquire(&mut self, net: NetId, ground: &mut Ground) {
        let Some(link) = self.links.get_mut(&net) else { return };
        link.sequence += 1;
        let sequence = link.sequence;
        encode::header_only(link.end.output(), CommandId::ENQUIRE_LINK, CommandStatus::ESME_ROK, sequence);
        link.end.flush(ground);
        if self.habits.enquire_ms > 0 {
            self.later(self.habits.enquire_ms * 1_000, VendorStep::Enquire(net), ground);
        }
    }

    fn delay(&mut self) -> u64 {
        self.random.range(self.habits.answer_us.0, self.habits.answer_us.1)
    }

    fn submit(&mut self, net: NetId, sequence: u32, pdu: &[u8], ground: &mut Ground) {
        let Ok(message) = ShortMessage::decode(pdu) else { return };
        let number = ground.model.submitted_at(net, sequence);
        self.next_id += self.random.range(1, 1_000);
        let id = self.next_id;
        let (habits, random) = (&self.habits, &mut self.random);
        if random.chance(habits.silence) {
            return;
        }
        let mut reply = Reply { sequence, status: CommandStatus::ESME_ROK, is_nack: false, id, beside: None };
        if random.chance(habits.throttles) {
            reply.status = *random.pick(&[CommandStatus::ESME_RTHROTTLED, CommandStatus::ESME_RMSGQFUL]);
        } else if random.chance(habits.temporary) {
            reply.status = CommandStatus(TEMPORARY);
        } else if random.chance(habits.permanent) {
            reply.status = *random.pick(&[CommandStatus(PERMANENT), CommandStatus::ESME_RINVDSTADR]);
        } else if random.chance(habits.nacks) {
            reply.status = CommandStatus(PERMANENT);
            reply.is_nack = true;
        }
        let timeout = ground.scenario.settings.vendors[self.index].response_timeout_ms;
        let mut micros = random.range(habits.answer_us.0, habits.answer_us.1);
        if random.chance(habits.late) {
            micros = timeout * 1_000 + random.range(100_000, 2_000_000);
        }
        let wants_receipt = message.registered_delivery & REGISTERED_RECEIPT_MASK != 0;
        if reply.status.is_ok() && wants_receipt && self.can_deliver(ground) {
            let failures_only = message.registered_delivery & REGISTERED_RECEIPT_MASK == 2;
            let source = (message.dest.addr.to_vec(), message.source.addr.to_vec());
            reply.beside = self.plan_receipts(number, id, failures_only, source, micros, ground);
        }
        self.later(micros, VendorStep::Answer(net, reply), ground);
    }

    fn answer(&mut self, net: NetId, reply: Reply, ground: &mut Ground) {
        if !self.links.contains_key(&net) {
            // The link is gone; the receipt is not.
            if let Some((_, delivery)) = reply.beside {
                self.queue.push_back(delivery);
                self.deliver_queued(ground);
            }
            return;
        }
        let cut = self.random.below(10_000) < self.habits.cut_off;
        let mut octets = Vec::new();
        if self.random.chance(self.habits.strays) {
            encode::submit_sm_resp(&mut octets, reply.sequence.wrapping_add(1 << 20), b"stray");
        }
        let text = self.response_id(reply.id);
        let before = octets.len();
        match (reply.status.is_ok(), reply.is_nack) {
            (true, _) => encode::submit_sm_resp(&mut octets, reply.sequence, &text),
            (false, true) => {
                encode::header_only(&mut octets, CommandId::GENERIC_NACK, reply.status, reply.sequence);
            }
            (false, false) => {
                encode::header_only(&mut octets, CommandId::SUBMIT_SM_RESP, reply.status, reply.sequence);
            }
        }
        if cut {
            let half = before + (octets.len() - before) / 2;
            octets.truncate(half);
        } else {
            let outcome = Model::outcome_of(reply.status);
            let id = (reply.id, text.clone());
            ground.model.vendor_answers(net, reply.sequence, outcome, id, ground.schedule.now(), &ground.trace);
            if self.random.chance(self.habits.doubled) {
                octets.extend_from_within(before..);
            }
        }
        if let Some((true, delivery)) = &reply.beside {
            self.deliver_now(net, delivery.clone(), ground);
        }
        if let Some(link) = self.links.get_mut(&net) {
            link.end.output().extend_from_slice(&octets);
        }
        if let Some((false, delivery)) = &reply.beside
            && !cut
        {
            self.deliver_now(net, delivery.clone(), ground);
        } else if let Some((false, delivery)) = reply.beside {
            self.queue.push_back(delivery);
        }
        if let Some(link) = self.links.get_mut(&net) {
            link.end.flush(ground);
        }
        if cut {
            let reset = self.random.chance(500);
            self.hang_up(net, reset, ground);
        }
    }

    fn go_down(&mut self, millis: u64, ground: &mut Ground) {
        if ground.healed {
            return;
        }
        ground.vendor_is_reachable[self.index] = false;
        let nets: Vec<NetId> = self.links.keys().copied().collect();
        for net in nets {
            let reset = self.random.chance(500);
            self.hang_up(net, reset, ground);
        }
        self.later(millis * 1_000, VendorStep::Up, ground);
    }

    /// Ends a link; what it had to deliver is delivered again over another one.
    fn hang_up(&mut self, net: NetId, reset: bool, ground: &mut Ground) {
        let Some(link) = self.links.remove(&net) else { return };
        ground.model.peer_gone(net);
        if reset {
            ground.network.reset(net, Side::Peer, &mut ground.schedule);
        } else {
            ground.network.close(net, Side::Peer, &mut ground.schedule);
        }
        self.queue.extend(link.open.into_values());
        self.deliver_queued(ground);
    }

    /// For a reader: what is not finished.
    pub(crate) fn describe(&self, now: Time) -> String {
        let open: usize = self.links.values().map(|link| link.open.len()).sum();
        format!(
            "vendor {} at {} ms: {} links, {} bound, {open} deliveries open, {} queued, {} to come",
            self.index,
            now.0 / 1_000_000,
            self.links.len(),
            self.bound_links(),
            self.queue.len(),
            self.scheduled
        )
    }
}
