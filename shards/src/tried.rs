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
        self.as_slice().contains(&vendor)
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

    /// Those it was offered to, in order.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[VendorId] {
        &self.vendors[..usize::from(self.length)]
    }

    /// Of vendors that were in one before.
    #[inline]
    pub(crate) fn of(vendors: impl Iterator<Item = VendorId>) -> Self {
        let mut tried = Self::default();
        for vendor in vendors {
            tried.add(vendor);
        }
        tried
    }
}
