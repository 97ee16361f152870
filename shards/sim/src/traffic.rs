//! The submits of model customers: what stands in them and what must come of it. Pure functions of their streams.

use smpp_pdu::encode;
use smpp_pdu::message::{ESM_UDHI, SHORT_MESSAGE_MAX};
use smpp_pdu::{Address, CommandId, ShortMessage, Tag, Tlvs};

use crate::model::Expect;
use crate::random::Stream;
use crate::scenario::{PREFIXES, Scenario};
use crate::vendor_receipts::Tlv;

/// A submit_sm with what must come of it.
pub(crate) struct Composed {
    /// The whole PDU.
    pub pdu: Vec<u8>,
    /// What must come of it.
    pub expect: Expect,
    /// The vendors that may get it, as a set of bits.
    pub vendors: u64,
    /// registered_delivery.
    pub registered: u8,
}

/// Anything that a customer might send; `malformed` thousandths of it are wrong in themselves.
pub(crate) fn compose(
    scenario: &Scenario,
    customer: usize,
    sequence: u32,
    number: usize,
    malformed: u64,
    random: &mut Stream,
) -> Composed {
    let sources: [&[u8]; 4] = [b"1000123", b"1000123", b"+1000999", b"ACME"];
    let strangers: [&[u8]; 2] = [b"100", b"5550000"];
    let source = if random.chance(950) { *random.pick(&sources) } else { *random.pick(&strangers) };
    let mut dest = draw_dest(random);
    // Most go where some rule leads.
    for _ in 0..10 {
        let routed = scenario.vendors_for(customer, source, dest.as_bytes()) != 0;
        if routed || random.chance(50) {
            break;
        }
        dest = draw_dest(random);
    }
    let mut message = ShortMessage {
        service_type: if random.chance(100) { b"CMT" } else { b"" },
        source: Address { ton: *random.pick(&[0, 1, 5]), npi: *random.pick(&[0, 1]), addr: source },
        dest: Address { ton: 1, npi: 1, addr: dest.as_bytes() },
        protocol_id: if random.chance(50) { 64 } else { 0 },
        priority_flag: random.below(4) as u8 * u8::from(random.chance(200)),
        registered_delivery: *random.pick(&[0, 1, 1, 1, 2, 3, 0x11]),
        validity_period: match (random.chance(50), &scenario.journal) {
            (true, None) => b"000000001000000R",
            (true, Some(_)) => b"000000000003000R",
            (false, _) => b"",
        },
        data_coding: *random.pick(&[0, 0, 3, 8, 4]),
        ..ShortMessage::default()
    };
    let mut tlvs = Tlv::default();
    let mut text = text_of(number, random);
    let mut payload = Vec::new();
    if random.chance(80) {
        message.esm_class = ESM_UDHI;
        text.splice(0..0, [5, 0, 3, random.below(32) as u8, 2, 1 + random.below(2) as u8]);
        text.truncate(SHORT_MESSAGE_MAX);
    } else if random.chance(50) {
        tlvs.add(Tag::SAR_MSG_REF_NUM, &[random.below(32) as u8, random.below(32) as u8]);
        tlvs.add(Tag::SAR_TOTAL_SEGMENTS, &[3]);
        tlvs.add(Tag::SAR_SEGMENT_SEQNUM, &[1 + random.below(3) as u8]);
    } else if random.chance(scenario.heavy) {
        payload = core::mem::take(&mut text);
        fill(&mut payload, random.range(10_000, 60_000) as usize);
        tlvs.add(Tag::MESSAGE_PAYLOAD, &payload);
    } else if random.chance(80) {
        payload = core::mem::take(&mut text);
        let length = payload.len() + random.spread(1, 2_000) as usize;
        fill(&mut payload, length);
        tlvs.add(Tag::MESSAGE_PAYLOAD, &payload);
    }
    message.short_message = &text;
    if random.chance(200) {
        tlvs.add(Tag::USER_MESSAGE_REFERENCE, &[random.below(256) as u8]);
    }
    if random.chance(100) {
        tlvs.add(Tag(0x1400), b"1107161234567890123");
    }
    let mut expect = None;
    let malformed = random.chance(malformed).then(|| random.below(6));
    match malformed {
        Some(0) => message.priority_flag = 9,
        Some(1) => message.dest.addr = b"",
        Some(2) => message.schedule_delivery_time = b"300101000000000+",
        Some(3) => message.validity_period = b"200101000000000+",
        Some(4) if payload.is_empty() => tlvs.add(Tag::MESSAGE_PAYLOAD, b"and here"),
        Some(_) => {}
        None => expect = Some(judge(scenario, customer, &message)),
    }
    message.tlvs = Tlvs::new(&tlvs.0);
    let mut pdu = Vec::new();
    encode::short_message(&mut pdu, CommandId::SUBMIT_SM, sequence, &message);
    let is_cut = malformed == Some(5) || (malformed == Some(4) && !payload.is_empty());
    if is_cut {
        // Every field behind the destination's address is missing.
        pdu.truncate(smpp_pdu::frame::HEADER_LENGTH + 6);
        let length = pdu.len() as u32;
        pdu[..4].copy_from_slice(&length.to_be_bytes());
    }
    let (expect, vendors) = expect.unwrap_or((Expect::Malformed, 0));
    Composed { pdu, expect, vendors, registered: message.registered_delivery }
}

/// A submit that leads to one vendor and must succeed.
pub(crate) fn probe(scenario: &Scenario, customer: usize, vendor: usize, sequence: u32, number: usize) -> Composed {
    let dest = format!("999{vendor}5550000");
    let text = format!("#{number}# probe");
    let message = ShortMessage {
        source: Address { ton: 1, npi: 1, addr: b"1000123" },
        dest: Address { ton: 1, npi: 1, addr: dest.as_bytes() },
        registered_delivery: 1,
        short_message: text.as_bytes(),
        ..ShortMessage::default()
    };
    let mut pdu = Vec::new();
    encode::short_message(&mut pdu, CommandId::SUBMIT_SM, sequence, &message);
    let (expect, vendors) = judge(scenario, customer, &message);
    Composed { pdu, expect, vendors, registered: 1 }
}

fn draw_dest(random: &mut Stream) -> String {
    if random.chance(50) {
        return "491500000000".into();
    }
    let mut dest = if random.chance(200) { "+".to_owned() } else { String::new() };
    dest.push_str(random.pick::<&str>(&PREFIXES));
    for _ in 0..random.range(4, 9) {
        dest.push(char::from(b'0' + random.below(10) as u8));
    }
    dest
}

fn text_of(number: usize, random: &mut Stream) -> Vec<u8> {
    let mut text = format!("#{number}#").into_bytes();
    let length = random.spread(1, (SHORT_MESSAGE_MAX - text.len()) as u64) as usize;
    text.resize_with(text.len() + length, || b'a' + random.below(26) as u8);
    text
}

/// Makes a text that long of itself, so that every part of it can be told.
fn fill(text: &mut Vec<u8>, length: usize) {
    let period = text.len().max(1);
    while text.len() < length {
        text.push(text[text.len() - period]);
    }
}

fn judge(scenario: &Scenario, customer: usize, message: &ShortMessage<'_>) -> (Expect, u64) {
    if !scenario.source_allowed(customer, message.source.addr) {
        return (Expect::SourceRefused, 0);
    }
    let forced = scenario.settings.customers[customer].force_source_address.as_deref();
    let source = forced.map_or(message.source.addr, str::as_bytes);
    match scenario.vendors_for(customer, source, message.dest.addr) {
        0 => (Expect::NoRoute, 0),
        vendors => (Expect::Routed, vendors),
    }
}
