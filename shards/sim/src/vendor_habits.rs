//! How a model vendor behaves: delays, refusals, faults, and its ways with receipts. Drawn per seed, pure values.

use smpp_shards::settings::{ReceiptIdFrom, VendorIdFormat};

use crate::random::Stream;
use crate::scenario::draw_id_forms;

/// Chances are thousandths of all cases unless they say otherwise.
#[derive(Clone, Debug)]
pub(crate) struct VendorHabits {
    /// How ids stand in submit_sm_resp.
    pub response_id: VendorIdFormat,
    /// How ids stand in receipts.
    pub receipt_id: VendorIdFormat,
    /// Where receipts carry ids.
    pub receipt_id_from: ReceiptIdFrom,
    /// Leading zeros of ids in receipts.
    pub zeros: usize,
    /// Letters of ids in receipts are in upper case.
    pub upper: bool,
    /// Microseconds to an answer, at least and at most.
    pub answer_us: (u64, u64),
    /// Submits that are throttled.
    pub throttles: u64,
    /// Submits that are refused for now.
    pub temporary: u64,
    /// Submits that are refused for good.
    pub permanent: u64,
    /// Submits that are answered by generic_nack.
    pub nacks: u64,
    /// Submits that are never answered.
    pub silence: u64,
    /// Submits that are answered long after anybody waits.
    pub late: u64,
    /// Answers that come twice.
    pub doubled: u64,
    /// Answers before which one to no request comes.
    pub strays: u64,
    /// Ten-thousandths of answers in whose middle the connection ends.
    pub cut_off: u64,
    /// Binds that are refused.
    pub refused_binds: u64,
    /// Binds that are not answered.
    pub silent_binds: u64,
    /// Reads after which it does not read for a while.
    pub deaf: u64,
    /// enquire_links that are not answered.
    pub silent_enquiries: u64,
    /// Milliseconds between its own enquire_links; 0 is never.
    pub enquire_ms: u64,
    /// Down from, for so long, in milliseconds.
    pub outages: Vec<(u64, u64)>,
    /// Milliseconds to a receipt at the most.
    pub receipt_ms: u64,
    /// Receipts that come before their submit_sm_resp.
    pub early: u64,
    /// Receipts that come in one segment with it.
    pub same_segment: u64,
    /// Receipts that come twice.
    pub doubled_receipts: u64,
    /// Receipts before which one for an unknown id comes.
    pub unknown_receipts: u64,
    /// Receipts that say ENROUTE before the final one.
    pub enroute: u64,
    /// Receipts of optional parameters alone, where those carry ids.
    pub without_text: u64,
    /// Receipts whose text is in message_payload.
    pub in_payload: u64,
    /// Receipts that are not good news.
    pub bad_news: u64,
    /// Milliseconds between MO; 0 is none.
    pub mobile_ms: u64,
    /// Unanswered deliver_sm per link.
    pub deliver_window: usize,
}

impl VendorHabits {
    /// Habits for the time of faults.
    pub(crate) fn draw(random: &mut Stream) -> Self {
        let (response_id, receipt_id, receipt_id_from) = draw_id_forms(random);
        let fastest = random.spread(10, 50_000);
        let mut habits = Self {
            zeros: if random.chance(300) { random.range(1, 6) as usize } else { 0 },
            upper: random.chance(300),
            answer_us: (fastest, fastest + random.spread(1, 500_000)),
            throttles: random.fault(400, 700),
            temporary: random.fault(400, 1_000),
            permanent: random.fault(300, 200),
            nacks: random.fault(200, 100),
            silence: random.fault(300, 200),
            late: random.fault(300, 100),
            doubled: random.fault(300, 200),
            strays: random.fault(200, 100),
            cut_off: random.fault(300, 200),
            refused_binds: random.fault(300, 700),
            silent_binds: random.fault(200, 400),
            deaf: random.fault(200, 50),
            silent_enquiries: random.fault(200, 500),
            enquire_ms: if random.chance(500) { random.range(100, 2_000) } else { 0 },
            receipt_ms: random.spread(1, 3_000),
            early: random.fault(400, 500),
            same_segment: random.fault(400, 500),
            doubled_receipts: random.fault(300, 300),
            unknown_receipts: random.fault(300, 200),
            enroute: random.fault(300, 300),
            without_text: random.fault(400, 1_000),
            in_payload: random.fault(300, 500),
            bad_news: random.fault(600, 400),
            mobile_ms: if random.chance(500) { random.spread(40, 2_000) } else { 0 },
            deliver_window: random.spread(1, 50) as usize,
            ..Self::good(response_id, receipt_id, receipt_id_from)
        };
        for _ in 0..random.below(3) {
            habits.outages.push((random.below(10_000), random.spread(10, 5_000)));
        }
        habits
    }

    /// Habits of a vendor that does everything right.
    pub(crate) fn good(
        response_id: VendorIdFormat,
        receipt_id: VendorIdFormat,
        receipt_id_from: ReceiptIdFrom,
    ) -> Self {
        Self {
            response_id,
            receipt_id,
            receipt_id_from,
            zeros: 0,
            upper: false,
            answer_us: (100, 5_000),
            throttles: 0,
            temporary: 0,
            permanent: 0,
            nacks: 0,
            silence: 0,
            late: 0,
            doubled: 0,
            strays: 0,
            cut_off: 0,
            refused_binds: 0,
            silent_binds: 0,
            deaf: 0,
            silent_enquiries: 0,
            enquire_ms: 0,
            outages: Vec::new(),
            receipt_ms: 50,
            early: 0,
            same_segment: 0,
            doubled_receipts: 0,
            unknown_receipts: 0,
            enroute: 0,
            without_text: 0,
            in_payload: 0,
            bad_news: 0,
            mobile_ms: 0,
            deliver_window: 10,
        }
    }
}
