//! Random streams: one per concern, so that a draw more in one place does not change what happens in another.
//! Single thread; never reads anything but its own state.

/// A stream of random numbers (splitmix64), a pure function of seed and name.
#[derive(Clone, Debug)]
pub(crate) struct Stream(u64);

impl Stream {
    /// The stream of that name under that seed.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let mut state = seed ^ 0xCBF2_9CE4_8422_2325;
        for octet in name.bytes() {
            state = (state ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        let mut stream = Self(state);
        stream.next_u64();
        stream
    }

    /// The next 64 bits.
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// A number from 0 up to, not including, `end` (0 where `end` is 0).
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// A number from `least` to `most`, both included.
    pub(crate) fn range(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// A number from `least` to `most` of which small ones are as likely as large ones, by order of magnitude.
    pub(crate) fn spread(&mut self, least: u64, most: u64) -> u64 {
        let magnitudes = u64::from((most / least.max(1)).max(1).ilog2());
        let top = least.max(1) << self.range(0, magnitudes);
        self.range(least, top.saturating_mul(2).min(most).max(least))
    }

    /// True in `per_mille` of a thousand cases.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of them, which must not be none.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// `most` at the most in `per_mille` of a thousand cases, else 0: the strength of a fault that a seed may have.
    pub(crate) fn fault(&mut self, per_mille: u64, most: u64) -> u64 {
        if self.chance(per_mille) { self.spread(1, most) } else { 0 }
    }
}
