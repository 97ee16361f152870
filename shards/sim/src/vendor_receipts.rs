//! What a model vendor delivers: receipts in its own spelling and order, and MO. Single thread.

use smpp_pdu::encode::{self, Encoder};
use smpp_pdu::id::IdText;
use smpp_pdu::message::{ESM_RECEIPT, SHORT_MESSAGE_MAX};
use smpp_pdu::{Address, CommandId, CommandStatus, MessageState, ShortMessage, Tag, Tlvs};
use smpp_shards::settings::{BindType, ReceiptIdFrom, VendorIdFormat};

use crate::ground::Ground;
use crate::model::{Attempt, AttemptKind, attempt_name};
use crate::network::NetId;
use crate::vendor::{Vendor, VendorStep};

/// Something for a customer, tried until it is taken or refused for good.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    kind: AttemptKind,
    id: u64,
    source: Vec<u8>,
    dest: Vec<u8>,
}

impl Vendor {
    /// Whether deliver_sm can go over this vendor's links.
    pub(crate) fn can_deliver(&self, ground: &Ground) -> bool {
        ground.scenario.settings.vendors[self.index].bind_type != BindType::Transmitter
    }

    /// Draws the receipts of a message that is answered in that many microseconds; one may go beside the answer.
    pub(crate) fn plan_receipts(
        &mut self,
        number: Option<usize>,
        id: u64,
        failures_only: bool,
        (source, dest): (Vec<u8>, Vec<u8>),
        answer_us: u64,
        ground: &mut Ground,
    ) -> Option<(bool, Delivery)> {
        let bad = failures_only || self.random.chance(self.habits.bad_news);
        let bad_states = [MessageState::Undeliverable, MessageState::Expired, MessageState::Rejected];
        let state = if bad { *self.random.pick(&bad_states) } else { MessageState::Delivered };
        let delivery = Delivery { kind: AttemptKind::Receipt(number, state), id, source, dest };
        if self.random.chance(self.habits.unknown_receipts) {
            let kind = AttemptKind::Receipt(None, state);
            let stranger = Delivery { kind, id: id ^ 0x5555 << 61 | 1 << 62, ..delivery.clone() };
            self.later(answer_us, VendorStep::Deliver(stranger), ground);
        }
        if self.random.chance(self.habits.same_segment) {
            return Some((self.random.chance(500), delivery));
        }
        let after_us = self.random.spread(1, self.habits.receipt_ms * 1_000);
        let at_us =
            if self.random.chance(self.habits.early) { self.random.below(answer_us + 1) } else { answer_us + after_us };
        if self.random.chance(self.habits.enroute) {
            let enroute = Delivery { kind: AttemptKind::Receipt(number, MessageState::Enroute), ..delivery.clone() };
            self.later(at_us, VendorStep::Deliver(enroute), ground);
        }
        if self.random.chance(self.habits.doubled_receipts) {
            let again_us = at_us + self.random.spread(1, 1_000_000);
            self.later(again_us, VendorStep::Deliver(delivery.clone()), ground);
        }
        self.later(at_us, VendorStep::Deliver(delivery), ground);
        None
    }

    /// A message from a handset, to a customer's number or to nobody's.
    pub(crate) fn make_mobile(&mut self, ground: &mut Ground) {
        if ground.healed || self.habits.mobile_ms == 0 {
            return;
        }
        let scenario = ground.scenario.clone();
        if self.can_deliver(ground) {
            let routes = &scenario.settings.inbound_routes;
            let mut dest = self.random.pick(routes).did.clone().into_bytes();
            if self.random.chance(100) {
                dest = b"7799".to_vec();
            }
            let customer = scenario.inbound_customer(&dest);
            if customer.is_none_or(|customer| scenario.customers[customer].address_allowed) {
                let kind = AttemptKind::Mobile(customer);
                let delivery = Delivery { kind, id: 0, source: b"15550001111".to_vec(), dest };
                self.queue.push_back(delivery);
                self.deliver_queued(ground);
            }
        }
        let millis = self.random.range(1, 2 * self.habits.mobile_ms);
        self.later(millis * 1_000, VendorStep::Mobile, ground);
    }

    /// Sends what waits, as far as links and their windows allow.
    pub(crate) fn deliver_queued(&mut self, ground: &mut Ground) {
        while !self.queue.is_empty() {
            let window = self.habits.deliver_window;
            let ready: Vec<NetId> = self
                .links
                .iter()
                .filter(|(_, link)| link.open.len() < window && link.end.waiting() < 4_096)
                .filter(|(_, link)| link.bound.is_some_and(|command| command != CommandId::BIND_TRANSMITTER))
                .map(|(net, _)| *net)
                .collect();
            if ready.is_empty() {
                return;
            }
            let net = *self.random.pick(&ready);
            let Some(delivery) = self.queue.pop_front() else { return };
            self.deliver_now(net, delivery, ground);
            if let Some(link) = self.links.get_mut(&net) {
                link.end.flush(ground);
            }
        }
    }

    /// Puts a deliver_sm into a link's output.
    pub(crate) fn deliver_now(&mut self, net: NetId, delivery: Delivery, ground: &mut Ground) {
        let attempt = ground.model.next_attempt();
        let settings = &ground.scenario.settings.vendors[self.index];
        let has_parameters = settings.interface_version > 0x33;
        let body = match delivery.kind {
            AttemptKind::Receipt(_, state) => self.receipt(&delivery, state, attempt, has_parameters),
            AttemptKind::Mobile(_) => self.mobile(&delivery, attempt, has_parameters),
        };
        let Some(link) = self.links.get_mut(&net) else { return };
        link.sequence += 1;
        let sequence = link.sequence;
        let mut pdu = body;
        smpp_pdu::frame::patch_sequence(&mut pdu, sequence);
        link.end.output().extend_from_slice(&pdu);
        link.open.insert(sequence, delivery.clone());
        let name = ground.model.name(net);
        ground.trace.line(
            ground.schedule.now(),
            format_args!("{name} delivers {sequence}: attempt {attempt}, {:?}", delivery.kind),
        );
        ground.model.vendor_delivers(
            sequence,
            Attempt {
                net,
                kind: delivery.kind,
                fed_at: None,
                acknowledged: None,
                taken: false,
                offered: None,
                taken_over: None,
                is_refused: false,
                is_promised: false,
                is_let_go: false,
                vendor: self.index,
                id: delivery.id,
                pdu: pdu.into(),
            },
        );
    }

    /// The gateway's answer to a deliver_sm: later again where it says so.
    pub(crate) fn delivery_answered(&mut self, net: NetId, sequence: u32, status: CommandStatus, ground: &mut Ground) {
        let Some(link) = self.links.get_mut(&net) else { return };
        let Some(delivery) = link.open.remove(&sequence) else {
            panic!("seed {}: vendor {} gets an answer to no deliver_sm", ground.seed, self.index)
        };
        if status == CommandStatus::ESME_RX_T_APPN {
            let millis = self.random.range(200, 1_000);
            self.later(millis * 1_000, VendorStep::Deliver(delivery), ground);
        }
        self.deliver_queued(ground);
    }

    /// The id as it stands in submit_sm_resp.
    pub(crate) fn response_id(&self, id: u64) -> Vec<u8> {
        spell(id, self.habits.response_id)
    }

    fn receipt_id(&self, id: u64) -> Vec<u8> {
        let mut text = vec![b'0'; self.habits.zeros];
        text.extend(spell(id, self.habits.receipt_id));
        if self.habits.upper {
            text.make_ascii_uppercase();
        }
        text
    }

    fn receipt(&mut self, delivery: &Delivery, state: MessageState, attempt: usize, has_parameters: bool) -> Vec<u8> {
        let id = self.receipt_id(delivery.id);
        let from = self.habits.receipt_id_from;
        let in_parameter = has_parameters && from != ReceiptIdFrom::Text;
        let without_text = in_parameter && self.random.chance(self.habits.without_text);
        let mut text = Vec::new();
        if !without_text {
            let shown = if from == ReceiptIdFrom::Tlv { b"whatever".to_vec() } else { id.clone() };
            text.extend_from_slice(b"id:");
            text.extend_from_slice(&shown);
            let rest = " sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:";
            text.extend_from_slice(rest.as_bytes());
            text.extend_from_slice(state.stat().as_bytes());
            text.extend_from_slice(b" err:000 text:hello");
        }
        let mut tlvs = Tlv::default();
        if in_parameter {
            let mut terminated = id;
            terminated.push(0);
            tlvs.add(Tag::RECEIPTED_MESSAGE_ID, &terminated);
        }
        if has_parameters {
            tlvs.add(Tag::MESSAGE_STATE, &[state.wire()]);
            if self.random.chance(self.habits.in_payload) && !text.is_empty() {
                tlvs.add(Tag::MESSAGE_PAYLOAD, &core::mem::take(&mut text));
            }
        }
        self.deliver_sm(delivery, attempt, ESM_RECEIPT, &text, &tlvs)
    }

    fn mobile(&mut self, delivery: &Delivery, attempt: usize, has_parameters: bool) -> Vec<u8> {
        let length = self.random.spread(1, SHORT_MESSAGE_MAX as u64) as usize;
        let mut text: Vec<u8> = (0..length).map(|_| b'a' + self.random.below(26) as u8).collect();
        let mut tlvs = Tlv::default();
        if has_parameters {
            if self.random.chance(200) {
                tlvs.add(Tag(0x1400), b"unknown");
            }
            if self.random.chance(self.habits.in_payload) {
                tlvs.add(Tag::MESSAGE_PAYLOAD, &core::mem::take(&mut text));
            }
        }
        self.deliver_sm(delivery, attempt, 0, &text, &tlvs)
    }

    fn deliver_sm(&self, delivery: &Delivery, attempt: usize, esm_class: u8, text: &[u8], tlvs: &Tlv) -> Vec<u8> {
        let mut pdu = Vec::new();
        let service_type = attempt_name(attempt);
        let message = ShortMessage {
            service_type: service_type.as_bytes(),
            source: Address { ton: 1, npi: 1, addr: &delivery.source },
            dest: Address { ton: 0, npi: 1, addr: &delivery.dest },
            esm_class,
            short_message: text,
            tlvs: Tlvs::new(&tlvs.0),
            ..ShortMessage::default()
        };
        encode::short_message(&mut pdu, CommandId::DELIVER_SM, 0, &message);
        pdu
    }
}

/// Optional parameters being written.
#[derive(Default)]
pub(crate) struct Tlv(pub(crate) Vec<u8>);

impl Tlv {
    pub(crate) fn add(&mut self, tag: Tag, value: &[u8]) {
        let mut pdu = Vec::new();
        Encoder::new(&mut pdu, CommandId::DELIVER_SM, CommandStatus::ESME_ROK, 0).tlv(tag, value).finish();
        self.0.extend_from_slice(&pdu[smpp_pdu::frame::HEADER_LENGTH..]);
    }
}

fn spell(id: u64, format: VendorIdFormat) -> Vec<u8> {
    match format {
        VendorIdFormat::Hex => IdText::hex(u128::from(id)).to_vec(),
        VendorIdFormat::Decimal => IdText::decimal(u128::from(id)).to_vec(),
        VendorIdFormat::Text => format!("{id:x}-sms").into_bytes(),
    }
}
