//! Distributions of times in fixed buckets, each twice as wide as the one before.
//!
//! Counted on a shard's thread, where taking one in is a leading-zero count and two additions, without allocation; copied
//! out with the shard's report and read by the control thread.

/// Buckets with an upper bound; one more holds what is above all of them.
pub const BOUNDS: usize = 18;

/// How many times fell into each bucket, and their sum. What a time of 1 means is said by whoever fills it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// By bucket: bucket `k` holds what is below 2^k and not in one before; the last one the rest.
    pub counts: [u64; BOUNDS + 1],
    /// Of all times, in the unit of [`Histogram::add`].
    pub sum: u64,
}

/// By how much nanoseconds are shifted to become the units of a turn's buckets.
const TURN_SHIFT: u32 = 10;

impl Histogram {
    /// Takes in a time in milliseconds; the buckets' bounds are 1, 2, 4 ... 131,072 ms.
    #[inline]
    pub fn add_ms(&mut self, millis: u64) {
        self.counts[bucket_of(millis)] += 1;
        self.sum += millis;
    }

    /// Takes in a time in nanoseconds; the buckets' bounds are 1,024, 2,048 ... 134,217,728 ns, and the sum is of nanoseconds.
    #[inline]
    pub fn add_nanos(&mut self, nanos: u64) {
        self.counts[bucket_of(nanos >> TURN_SHIFT)] += 1;
        self.sum += nanos;
    }

    /// How many times were taken in.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Another shard's beside this one's.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.sum += other.sum;
    }

    /// The upper bound of a bucket of [`Histogram::add_ms`], in seconds.
    pub fn bound_of_ms(bucket: usize) -> f64 {
        (1_u64 << bucket) as f64 / 1e3
    }

    /// The upper bound of a bucket of [`Histogram::add_nanos`], in seconds.
    pub fn bound_of_nanos(bucket: usize) -> f64 {
        (1_u64 << (bucket as u32 + TURN_SHIFT)) as f64 / 1e9
    }
}

#[inline]
const fn bucket_of(units: u64) -> usize {
    let bits = (u64::BITS - units.leading_zeros()) as usize;
    if bits < BOUNDS { bits } else { BOUNDS }
}

/// What messages had to wait for, in whole milliseconds: a shard has the time of its turn, and the time at which a message was
/// submitted stands in its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// From a customer's submit_sm that passed every check to the submit_sm_resp.
    pub submit_response: Histogram,
    /// From a customer's submit_sm to each answer of a vendor to it, whatever the answer.
    pub vendor_answer: Histogram,
    /// From a receipt or MO at hand on the customer's shard to its deliver_sm to the customer, each time it is sent.
    pub delivery: Histogram,
}

impl Latencies {
    /// Another shard's beside this one's.
    pub fn merge(&mut self, other: &Self) {
        self.submit_response.merge(&other.submit_response);
        self.vendor_answer.merge(&other.vendor_answer);
        self.delivery.merge(&other.delivery);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_below_the_first_bound_that_is_above_it() {
        for millis in (0..200_000).chain([u64::MAX]) {
            let mut one = Histogram::default();
            one.add_ms(millis);
            let bucket = one.counts.iter().position(|count| *count == 1).unwrap();
            let bound = |bucket: usize| if bucket < BOUNDS { 1 << bucket } else { u64::MAX };
            assert!(millis < bound(bucket) || bucket == BOUNDS, "{millis} ms in bucket {bucket}");
            assert!(bucket == 0 || millis >= bound(bucket - 1), "{millis} ms in bucket {bucket}");
        }
    }

    #[test]
    fn turns_have_buckets_from_a_microsecond_to_a_tenth_of_a_second() {
        let mut turns = Histogram::default();
        [0, 1_023, 1_024, 50_000_000, 200_000_000].into_iter().for_each(|nanos| turns.add_nanos(nanos));
        assert_eq!((turns.counts[0], turns.counts[1], turns.counts[16], turns.counts[BOUNDS]), (2, 1, 1, 1));
        assert_eq!((turns.count(), turns.sum), (5, 250_002_047));
        assert!((Histogram::bound_of_nanos(0) - 1.024e-6).abs() < 1e-12);
        assert!((Histogram::bound_of_nanos(BOUNDS - 1) - 0.134_217_728).abs() < 1e-12);
        assert!((Histogram::bound_of_ms(BOUNDS - 1) - 131.072).abs() < 1e-9);
    }

    #[test]
    fn histograms_of_shards_add_up() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        one.add_ms(3);
        other.add_ms(3);
        other.add_ms(0);
        one.merge(&other);
        assert_eq!((one.counts[2], one.counts[0], one.sum), (2, 1, 6));
    }
}
