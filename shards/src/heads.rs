//! The buckets of a hash index that grows and shrinks one bucket at a time (linear hashing): it is never built anew on a
//! message's way, and takes as much memory, and as much of the cache, as what is in it needs and not as what might be.
//!
//! Lives on a shard's thread. What is chained to a bucket, and how, is its owner's matter: a bucket is the name of its first entry.

/// Names no entry.
pub(crate) const NOBODY: u32 = u32::MAX;

/// Buckets of one piece of memory, and the fewest that there are.
const CHUNK: usize = 4096;

/// The first entry of each bucket.
#[derive(Debug)]
pub(crate) struct Heads {
    chunks: Vec<Box<[u32]>>,
    used: usize,
    /// The least power of two that is not below `used`, less one.
    mask: usize,
}

impl Heads {
    pub(crate) fn new() -> Self {
        Self { chunks: vec![empty_chunk()], used: CHUNK, mask: CHUNK - 1 }
    }

    /// How many buckets there are.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.used
    }

    /// Whether there are no fewer than at the start.
    #[inline]
    pub(crate) const fn can_merge(&self) -> bool {
        self.used > CHUNK
    }

    /// The bucket of what has that hash.
    #[inline]
    pub(crate) const fn bucket(&self, hash: u64) -> usize {
        let bucket = hash as usize & self.mask;
        if bucket < self.used { bucket } else { bucket & (self.mask >> 1) }
    }

    #[inline]
    pub(crate) fn first(&self, bucket: usize) -> u32 {
        self.chunks[bucket / CHUNK][bucket % CHUNK]
    }

    #[inline]
    pub(crate) fn set_first(&mut self, bucket: usize, name: u32) {
        self.chunks[bucket / CHUNK][bucket % CHUNK] = name;
    }

    /// Adds a bucket. Tells the one whose entries are now to be shared out between the two.
    pub(crate) fn split(&mut self) -> usize {
        if self.used == self.chunks.len() * CHUNK {
            self.chunks.push(empty_chunk());
        }
        let added = self.used;
        self.resize(added + 1);
        buddy(added)
    }

    /// Takes the last bucket away. Tells the one that its entries now belong to, and the first of them. There must be one to
    /// take away: see [`Heads::can_merge`].
    pub(crate) fn merge(&mut self) -> (usize, u32) {
        let gone = self.used - 1;
        let first = self.first(gone);
        self.set_first(gone, NOBODY);
        self.resize(gone);
        if gone.is_multiple_of(CHUNK) {
            self.chunks.pop();
        }
        (buddy(gone), first)
    }

    const fn resize(&mut self, used: usize) {
        self.used = used;
        self.mask = used.next_power_of_two() - 1;
    }
}

fn empty_chunk() -> Box<[u32]> {
    vec![NOBODY; CHUNK].into_boxed_slice()
}

/// The bucket that a bucket's entries were in before it was there.
const fn buddy(bucket: usize) -> usize {
    bucket & !(1 << bucket.ilog2())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_moves_entries_of_one_bucket_to_the_new_one_and_no_others() {
        let mut heads = Heads::new();
        let hashes: Vec<u64> = (0..100_000u64).map(|number| number.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
        for _ in 0..3 * CHUNK {
            let before: Vec<usize> = hashes.iter().take(1000).map(|hash| heads.bucket(*hash)).collect();
            let shared = heads.split();
            for (hash, before) in hashes.iter().zip(before) {
                let after = heads.bucket(*hash);
                assert!(after == before || (before == shared && after == heads.len() - 1));
            }
        }
        assert!(hashes.iter().all(|hash| heads.bucket(*hash) < heads.len()));
    }

    #[test]
    fn a_merge_undoes_a_split() {
        let mut heads = Heads::new();
        let shared = heads.split();
        heads.set_first(CHUNK, 7);
        assert!(heads.can_merge());
        assert_eq!(heads.merge(), (shared, 7));
        assert!(!heads.can_merge());
        assert_eq!((heads.len(), heads.chunks.len()), (CHUNK, 1));
        assert_eq!(heads.split(), shared);
        assert_eq!(heads.first(CHUNK), NOBODY);
    }
}
