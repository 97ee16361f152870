//! Random numbers from a seed that the host gives: jitter, weights, the random part of message ids. Not for secrets.

/// splitmix64: one word of state, and every run of one seed is the same.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A stream of its own for that seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// The next 32 bits.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// `millis` changed by up to a fifth, so that many who wait the same do not come back at once.
    pub fn jitter(&mut self, millis: u64) -> u64 {
        let fifth = millis / 5;
        if fifth == 0 {
            return millis;
        }
        millis - fifth + self.next_u64() % (2 * fifth)
    }
}
