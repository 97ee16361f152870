//! Memory that begins on a block boundary, as direct I/O wants it.
//!
//! Lives wherever files are written: filled on a shard's thread, handed to the thread that writes its batches; and on the one that
//! fills files.

use super::BLOCK;

/// A run of octets whose first one lies on a boundary of [`BLOCK`]: no file system that has direct I/O asks for more.
#[derive(Debug, Default)]
pub struct AlignedBuffer {
    /// Longer than what is used of it, by the way to the boundary.
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// So many octets of zeros.
    pub fn zeroed(length: usize) -> Self {
        let mut buffer = Self::default();
        buffer.resize(length);
        buffer
    }

    /// How many octets there is room for without asking for memory.
    pub const fn capacity(&self) -> usize {
        self.memory.len().saturating_sub(BLOCK)
    }

    /// Whether nothing is in it.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Cuts it, or adds zeros to it, so that it holds so many octets.
    pub fn resize(&mut self, length: usize) {
        self.reserve(length);
        let before = self.length.min(length);
        self.length = length;
        self.as_mut_slice()[before..].fill(0);
    }

    /// Adds octets.
    pub fn extend(&mut self, octets: &[u8]) {
        let before = self.length;
        self.reserve(before + octets.len());
        self.length = before + octets.len();
        self.as_mut_slice()[before..].copy_from_slice(octets);
    }

    /// What is in it.
    pub fn as_slice(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    /// What is in it, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }

    /// Empties it, and gives memory back where it holds more than `capacity` octets.
    pub fn clear(&mut self, capacity: usize) {
        self.length = 0;
        if self.capacity() > capacity {
            *self = Self::default();
        }
    }

    fn reserve(&mut self, length: usize) {
        if length <= self.capacity() {
            return;
        }
        // Doubling, so that what grows little by little is soon large enough.
        let memory = vec![0; length.next_power_of_two().max(BLOCK) + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK);
        assert!(start < BLOCK, "octets lie at every address");
        let before = core::mem::replace(self, Self { memory, start, length: self.length });
        self.as_mut_slice().copy_from_slice(before.as_slice());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_begin_on_the_boundary_and_stay_however_often_it_grows() {
        let (mut buffer, mut expected) = (AlignedBuffer::default(), Vec::new());
        for length in [1, 4096, 100, 12_288, 300_000] {
            let octets: Vec<u8> = (0..length).map(|index: usize| index as u8).collect();
            buffer.extend(&octets);
            expected.extend_from_slice(&octets);
            assert_eq!(buffer.as_slice(), expected);
            assert_eq!(buffer.as_slice().as_ptr().align_offset(BLOCK), 0);
        }
    }

    #[test]
    fn what_is_added_by_a_size_is_zeros() {
        let mut buffer = AlignedBuffer::default();
        buffer.extend(&[7; 100]);
        buffer.resize(50);
        buffer.resize(200);
        assert_eq!(buffer.as_slice()[..50], [7; 50]);
        assert_eq!(buffer.as_slice()[50..], [0; 150]);
    }

    #[test]
    fn memory_is_kept_up_to_the_bound() {
        let mut buffer = AlignedBuffer::zeroed(100_000);
        let capacity = buffer.capacity();
        buffer.clear(capacity);
        assert_eq!(buffer.capacity(), capacity);
        buffer.clear(capacity - 1);
        assert_eq!(buffer.capacity(), 0);
    }
}
