//! What must hold when a run is over.

use smpp_shards::settings::{BindType, VendorSettings};

use super::{Model, violation};

impl Model {
    /// Every message that was sent once faults were over was accepted, and its receipt came. That it comes again only where its
    /// session was gone before the answer was there is seen when it is offered.
    pub(crate) fn check_probes(&self, vendors: &[VendorSettings]) {
        for (number, message) in self.messages.iter().enumerate().filter(|(_, message)| message.must_succeed) {
            if message.answer.is_none() {
                violation!(self, "message {number}, sent when faults were over, has no answer: {message:?}");
            }
            let vendor = message.emissions.last().map_or(0, |emission| emission.vendor);
            let expected = u32::from(vendors[vendor].bind_type == BindType::Transceiver);
            if message.receipts_taken.min(1) != expected {
                let taken = message.receipts_taken;
                violation!(self, "message {number}, sent when faults were over, has {taken} receipts: {message:?}");
            }
        }
    }
}
