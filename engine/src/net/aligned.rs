//! Memory that begins on a block boundary, as direct I/O wants it.
//!
//! Lives wherever files are written: on a shard's thread for its appends, on the journal's thread for filling files.
//! It must never move its octets while the kernel reads them: whoever lends it to the kernel does not touch it meanwhile.

/// The boundary, octets: no file system that has direct I/O asks for more than a page.
pub const ALIGNMENT: usize = 4096;

/// A run of octets whose first one lies on a boundary of [`ALIGNMENT`].
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
        buffer.reserve(length);
        buffer.length = length;
        buffer
    }

    /// How many octets there is room for without asking for memory.
    pub const fn capacity(&self) -> usize {
        self.memory.len().saturating_sub(ALIGNMENT)
    }

    /// Replaces what is in it.
    pub fn fill(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.memory[self.start..self.start + bytes.len()].copy_from_slice(bytes);
        self.length = bytes.len();
    }

    /// What is in it.
    pub fn as_slice(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
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
        self.memory = vec![0; length.next_power_of_two().max(ALIGNMENT) + ALIGNMENT];
        self.start = self.memory.as_ptr().align_offset(ALIGNMENT);
        assert!(self.start < ALIGNMENT, "octets lie at every address");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_begin_on_the_boundary_however_often_it_grows() {
        let mut buffer = AlignedBuffer::zeroed(10);
        for length in [1, 4096, 100, 12_288, 300_000] {
            let bytes: Vec<u8> = (0..length).map(|index: usize| index as u8).collect();
            buffer.fill(&bytes);
            assert_eq!(buffer.as_slice(), bytes);
            assert_eq!(buffer.as_slice().as_ptr().align_offset(ALIGNMENT), 0);
        }
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
