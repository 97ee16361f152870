//! What the gateway says that a customer's messages cost, held against what vendors took and what their rules ask: every message
//! once, at the rate of a vendor that took it.

use smpp_pdu::concat::{Reference, part_count};
use smpp_pdu::message::{ESM_UDHI, ShortMessage};
use smpp_pdu::{Alphabet, Tag};
use smpp_shards::{Amount, Report};

use super::{Emission, Message, Model, Outcome, violation};

/// What every rule to that vendor asks for a short message: no two vendors' are near each other, whatever a text's length.
pub(crate) fn rate_of(vendor: usize) -> Amount {
    Amount::of_millionths(1_000 + 300_000 * vendor as u64)
}

impl Model {
    /// A process is over: how much its shards have counted. `is_over` where it ended by itself, and nothing was under way any
    /// more.
    pub(crate) fn check_costs(&self, reports: &[Report], is_over: bool) {
        for customer in 0..self.scenario.customers.len() {
            let counted = reports.iter().filter_map(|report| report.customers.get(customer));
            let counted: u64 = counted.map(|counters| counters.cost.millionths()).sum();
            let (mut least, mut most) = (0, 0);
            for message in self.messages.iter().filter(|message| message.customer == customer) {
                let (cheapest, dearest) = self.costs_of(message);
                most += dearest;
                least += if is_over && self.must_count(message) { cheapest } else { 0 };
            }
            if !(least..=most).contains(&counted) {
                violation!(self, "customer {customer} has cost {counted} millionths, and {least} to {most} were due");
            }
        }
    }

    /// The least and the most that it may cost: a vendor that took it in this process, and the short messages that it makes.
    fn costs_of(&self, message: &Message) -> (u64, u64) {
        let taken = || message.emissions.iter().filter(|emission| self.is_taken(emission));
        let cost = |reference: Reference, rate: Option<Amount>| {
            rate.map_or(0, |rate| rate.times(segments(&message.pdu, reference)).millionths())
        };
        let rates = || taken().map(|emission| rate_of(emission.vendor));
        // How wide the header of each part is depends on the vendor.
        (cost(Reference::Eight(0), rates().min()), cost(Reference::Sixteen(0), rates().max()))
    }

    fn is_taken(&self, emission: &Emission) -> bool {
        emission.life == self.life && emission.outcome == Outcome::Taken
    }

    /// Whether the gateway has heard in time that a vendor has it; without a journal its customer must have heard it as well.
    fn must_count(&self, message: &Message) -> bool {
        let is_heard = message.emissions.iter().any(|it| self.is_taken(it) && it.heard_at.is_some());
        is_heard && (self.scenario.journal.is_some() || message.answer.is_some_and(|answer| answer.status.is_ok()))
    }
}

fn segments(pdu: &[u8], reference: Reference) -> u8 {
    let Ok(message) = ShortMessage::decode(pdu) else { return 0 };
    if message.esm_class & ESM_UDHI != 0 || message.tlvs.find(Tag::SAR_MSG_REF_NUM).is_some() {
        return 1;
    }
    let alphabet = Alphabet::of_data_coding(message.data_coding, Alphabet::Gsm);
    part_count(message.text(), alphabet, reference).try_into().unwrap_or(u8::MAX)
}
