//! Slots for values that come and go by the million: made in chunks, never moved, the one freed last used first.
//!
//! Lives on a shard's thread. It allocates a chunk at a time and only while more slots are wanted than ever before.

/// Slots made at a time.
const CHUNK: usize = 1024;

/// Octets that come from memory at once.
const LINE_BYTES: usize = 64;

/// Octets of which each stands in another one's line, for reading them all from memory.
#[inline]
pub(crate) fn lines(octets: &[u8]) -> impl Iterator<Item = u64> + '_ {
    octets.iter().step_by(LINE_BYTES).map(|octet| u64::from(*octet))
}

/// Up to a bound of slots, each holding a value that its next user overwrites.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    chunks: Vec<Box<[T]>>,
    free: Vec<u32>,
    most: usize,
}

impl<T: Default> Slab<T> {
    /// No slots yet, and at most `most` (rounded up to whole chunks).
    pub(crate) const fn new(most: usize) -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), most }
    }

    /// How many slots are in use.
    pub(crate) fn open(&self) -> usize {
        self.chunks.len() * CHUNK - self.free.len()
    }

    /// How many slots there are, used or not.
    pub(crate) fn slots(&self) -> u32 {
        (self.chunks.len() * CHUNK) as u32
    }

    /// A slot, its value as the last user left it; `None` at the bound.
    #[inline]
    pub(crate) fn allocate(&mut self) -> Option<u32> {
        if self.free.is_empty() {
            self.grow();
        }
        self.free.pop()
    }

    /// Has the memory of as many slots as are about to be allocated come from far, as far as they are made already: `read` reads of
    /// each what its next user needs. What it gives means nothing.
    #[inline]
    pub(crate) fn warm_free(&self, count: usize, read: impl Fn(&T) -> u64) -> u64 {
        self.free.iter().rev().take(count).fold(0, |all, slot| all ^ read(self.get(*slot)))
    }

    #[cold]
    fn grow(&mut self) {
        let first = self.chunks.len() * CHUNK;
        if first < self.most {
            self.chunks.push((0..CHUNK).map(|_| T::default()).collect());
            self.free.extend((first as u32..(first + CHUNK) as u32).rev());
        }
    }

    /// Gives a slot back.
    #[inline]
    pub(crate) fn free(&mut self, slot: u32) {
        self.free.push(slot);
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> &T {
        &self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> &mut T {
        &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }
}
