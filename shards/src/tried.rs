//! The vendors that a message has been offered to already.

use crate::bounds::ROUTE_CANDIDATES_MAX;
use crate::names::VendorId;
use crate::wire::Head;

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

    /// Octets in a ring record at the most.
    pub(crate) const OCTETS_MAX: usize = 4 * (ROUTE_CANDIDATES_MAX + 1);

    /// For ring records: the number of vendors, then each.
    #[inline]
    pub(crate) fn write(&self, head: &mut Head) {
        head.put(u32::from(self.length).to_le_bytes());
        for vendor in &self.vendors[..usize::from(self.length)] {
            head.put(vendor.0.to_le_bytes());
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
