//! When the messages of a steady rate are due.
//!
//! Message n is due at start + n/rate, moved to the next point of a fixed grid (250 µs unless told), and its
//! latency counts from that point whether or not it could be sent then: waiting for room in a window, or for
//! this process to be scheduled, is part of the latency (no coordinated omission).

/// The schedule of one worker. It has no clock of its own.
#[derive(Clone, Debug)]
pub(super) struct Pacer {
    start: u64,
    period: f64,
    tick: u64,
    count: u64,
    next: u64,
}

impl Pacer {
    /// `rate` messages a second from `start` (nanoseconds) on, on a grid of `tick` nanoseconds.
    pub(super) fn new(start: u64, rate: f64, tick: u64) -> Self {
        Self { start, period: 1e9 / rate, tick: tick.max(1), count: 0, next: start }
    }

    /// When the next message is due.
    #[inline]
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The next message has been sent.
    #[inline]
    pub(super) fn advance(&mut self) {
        self.count += 1;
        let exact = (self.count as f64 * self.period) as u64;
        self.next = self.start + exact.div_ceil(self.tick) * self.tick;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_as_many_as_the_rate_says() {
        for rate in [3.0, 1000.0, 20_000.0, 333_333.0] {
            let mut pacer = Pacer::new(5, rate, 250_000);
            let mut count = 0;
            while pacer.next() < 5 + 1_000_000_000 {
                pacer.advance();
                count += 1;
            }
            assert!((count as f64 - rate).abs() <= 1.0 + rate * 0.0003, "{count} for {rate}");
        }
    }

    #[test]
    fn messages_are_due_in_order_and_on_the_grid() {
        let mut pacer = Pacer::new(0, 20_000.0, 250_000);
        let mut last = 0;
        for _ in 0..1000 {
            pacer.advance();
            assert!(pacer.next() >= last && pacer.next().is_multiple_of(250_000));
            last = pacer.next();
        }
    }
}
