//! A PDU as a message of the model keeps it: whole, and shown in a line of a violation by its beginning.

use core::fmt;
use core::ops::Deref;

/// Octets that are shown; the rest of a long text says nothing.
const SHOWN: usize = 80;

/// A PDU's octets.
#[derive(Clone)]
pub(crate) struct Octets(Vec<u8>);

impl From<Vec<u8>> for Octets {
    fn from(octets: Vec<u8>) -> Self {
        Self(octets)
    }
}

impl Deref for Octets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(SHOWN)];
        write!(f, "{} octets: {}", self.0.len(), shown.escape_ascii())
    }
}
