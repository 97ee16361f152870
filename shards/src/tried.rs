//! The vendors that a message has been offered to already.

use crate::bounds::ROUTE_CANDIDATES_MAX;
use crate::names::VendorId;

/// At most as many vendors as a route has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tried {
    vendors: [VendorId; ROUTE_CANDIDATES_MAX],
    length: u8,
}

impl Tried {
    /// Whether that vendor had it.
    #[inline]
    pub fn contains(&self, vendor: VendorId) -> bool {
        self.vendors[..usize::from(self.length)].contains(&vendor)
    }

    /// Adds a vendor; `false` when no more fit, and the message must not be offered any further.
    #[inline]
    pub fn add(&mut self, vendor: VendorId) -> bool {
        if self.contains(vendor) {
            return true;
        }
        let Some(place) = self.vendors.get_mut(usize::from(self.length)) else { return false };
        *place = vendor;
        self.length += 1;
        true
    }

    /// For ring records: the number of vendors, then each.
    #[inline]
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&u32::from(self.length).to_le_bytes());
        for vendor in &self.vendors[..usize::from(self.length)] {
            out.extend_from_slice(&vendor.0.to_le_bytes());
        }
    }

    #[inline]
    pub(crate) fn read(mut word: impl FnMut() -> u32) -> Self {
        let length = (word() as usize).min(ROUTE_CANDIDATES_MAX);
        let mut tried = Self { length: length as u8, ..Self::default() };
        tried.vendors[..length].fill_with(|| VendorId(word()));
        tried
    }
}
