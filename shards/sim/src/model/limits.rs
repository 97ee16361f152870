//! The limits once more, told from outside: the most that a token bucket could have let pass, and the windows.

use smpp_shards::Time;

use super::{Message, Model, violation};

/// A token bucket that starts full and is only ever taken from: the upper bound of what a limit allows over any
/// stretch of time (rate × time + burst).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReferenceBucket {
    rate: u128,
    burst: u128,
    level: u128,
    at: Time,
}

const SECOND: u128 = 1_000_000_000;

impl ReferenceBucket {
    /// `rate` 0 is no limit, `burst` 0 one second's worth.
    pub(crate) fn new(rate: u32, burst: u32) -> Self {
        let burst = u128::from(if burst == 0 { rate } else { burst }) * SECOND;
        Self { rate: u128::from(rate), burst, level: burst, at: Time::default() }
    }

    /// As [`ReferenceBucket::new`], full at that time.
    pub(crate) fn starting_at(rate: u32, burst: u32, at: Time) -> Self {
        Self { at, ..Self::new(rate, burst) }
    }

    /// Whether one more may have passed at that time; times never go back.
    pub(crate) fn take(&mut self, now: Time) -> bool {
        if self.rate == 0 {
            return true;
        }
        let filled = self.level + u128::from(now.nanos_since(self.at)) * self.rate;
        self.level = filled.min(self.burst);
        self.at = now;
        match self.level.checked_sub(SECOND) {
            Some(level) => {
                self.level = level;
                true
            }
            None => false,
        }
    }
}

impl Model {
    /// Checks what can only be told when the run is over: the customers' rates and windows.
    pub(crate) fn check_limits(&self) {
        for customer in 0..self.scenario.customers.len() {
            if !self.blurred[customer] {
                self.check_rate(customer);
                self.check_window(customer);
            }
        }
    }

    fn check_rate(&self, customer: usize) {
        let settings = &self.scenario.settings.customers[customer];
        // At the bound of what is kept a message is refused before its customer's rate is looked at.
        let is_told_apart = !self.keeps_few();
        let took = |message: &&Message| message.customer == customer && message.took_a_token(is_told_apart);
        let passed = self.messages.iter().filter(took);
        let mut times: Vec<(u32, Time)> = passed.filter_map(|message| Some((message.life, message.fed_at?))).collect();
        times.sort_unstable();
        let mut bucket = ReferenceBucket::new(settings.smpp_throughput, settings.smpp_burst);
        let mut present = 0;
        for (life, time) in times {
            if life != present {
                // Every process begins with a full one.
                present = life;
                bucket = ReferenceBucket::starting_at(settings.smpp_throughput, settings.smpp_burst, time);
            }
            if !bucket.take(time) {
                violation!(
                    self,
                    "customer {customer} sent more than its {} messages/s, at {} ms",
                    settings.smpp_throughput,
                    time.0 / 1_000_000
                );
            }
        }
    }

    fn check_window(&self, customer: usize) {
        let window = self.scenario.settings.customers[customer].smpp_window;
        if window == 0 {
            return;
        }
        // (connection, time, closing before opening, change)
        let mut changes = Vec::new();
        for message in self.messages.iter().filter(|message| message.customer == customer && message.was_open()) {
            if let Some(opened) = message.fed_at {
                changes.push((message.net, opened, 1));
                let closed = message.answer.map_or(Time::NEVER, |answer| answer.at);
                changes.push((message.net, closed, -1));
            }
        }
        changes.sort_unstable();
        let mut open = 0;
        let mut place = None;
        for (net, at, change) in changes {
            if place != Some(net) {
                (place, open) = (Some(net), 0);
            }
            open += change;
            if open > i64::from(window) {
                violation!(
                    self,
                    "a session of customer {customer} had {open} open submits in a window of {window}, at {} ms",
                    at.0 / 1_000_000
                );
            }
        }
    }
}
