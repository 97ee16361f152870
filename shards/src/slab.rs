//! Slots for values that come and go by the million: made in chunks, never moved, the one freed last used first.
//!
//! Lives on a shard's thread. It allocates a chunk at a time and only while more slots are wanted than ever before.

/// Slots made at a time.
const CHUNK: usize = 1024;

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

    /// The slots that [`Slab::allocate`] gives next, as far as they are made already.
    #[inline]
    pub(crate) fn next_free(&self) -> impl Iterator<Item = u32> + '_ {
        self.free.iter().rev().copied()
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
