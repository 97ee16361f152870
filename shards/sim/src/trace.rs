//! The trace of a run: a hash over everything that happens, so that two runs can be compared, and the lines of a
//! verbose run. Single thread; never changes what happens.

use core::fmt;

use smpp_shards::Time;

/// Collects the hash; prints where that was asked for.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    verbose: bool,
}

impl Trace {
    /// An empty trace.
    pub(crate) fn new(verbose: bool) -> Self {
        Self { hash: 0xCBF2_9CE4_8422_2325, verbose }
    }

    /// The hash of what has happened so far.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Whether lines are printed.
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Something happened: a kind and two numbers.
    pub(crate) fn step(&mut self, kind: u8, first: u64, second: u64) {
        self.word(u64::from(kind));
        self.word(first);
        self.word(second);
    }

    /// Octets went somewhere.
    pub(crate) fn octets(&mut self, kind: u8, place: u64, octets: &[u8]) {
        self.step(kind, place, octets.len() as u64);
        let mut words = octets.chunks_exact(8);
        for word in &mut words {
            self.word(u64::from_le_bytes([word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7]]));
        }
        for octet in words.remainder() {
            self.word(u64::from(*octet));
        }
    }

    /// A line for a reader, in a verbose run.
    pub(crate) fn line(&self, now: Time, line: fmt::Arguments<'_>) {
        if self.verbose {
            println!("{:>12.6} {line}", now.0 as f64 / 1e9);
        }
    }

    fn word(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
    }
}
