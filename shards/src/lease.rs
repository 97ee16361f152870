//! Limits that count over all nodes: what this node may spend of each before the control thread must ask again.
//!
//! Lives on the shard's thread. A shard never waits for a lease: it spends the tokens it has, and refuses, or has the message
//! wait, when there are none. While nothing is heard of the others for a while it makes tokens itself, at the rate of its last
//! share; they are told with the next lease and charged then.

use crate::bucket::TokenBucket;
use crate::names::{CustomerId, VendorId};
use crate::time::Time;

/// Nanoseconds in a second times the permille of a whole share: the unit in which made tokens are counted.
const TOKEN: u128 = 1_000_000_000 * 1_000;

/// A limit of which less than half of the lease was used is told of again after that long, where messages meet it.
const TELL_AGAIN_MS: u64 = 1_000;

/// Whose limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LimitKey {
    /// `smpp_throughput` of a customer, on its home shard.
    Customer(CustomerId),
    /// `throughput` of a vendor, on its home shard.
    Vendor(VendorId),
}

/// What a shard tells of a limit that was looked at since it was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitUse {
    /// Whose.
    pub key: LimitKey,
    /// Messages a second, never 0.
    pub rate: u32,
    /// Messages at once.
    pub burst: u32,
    /// What is left of the leases; below 0 when more was taken back than was left.
    pub tokens: i64,
    /// Tokens that the shard has made itself so far.
    pub made: u64,
    /// A message found no token since the last time, and there is still none.
    pub is_short: bool,
    /// The turn of the last lease that came; 0 before the first one.
    pub turn: u64,
}

/// A change of what a shard may spend of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose.
    pub key: LimitKey,
    /// Counts up; one that is not above the last one is passed over.
    pub turn: u64,
    /// Tokens given; below 0 when some are taken back.
    pub tokens: i64,
    /// The share of the limit at which the shard goes on when it hears nothing, in thousandths.
    pub share_permille: u16,
}

/// What comes of one round of leases, for one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// Nodes that are alive, this one included; at least 1 is taken.
    pub nodes: u32,
    /// What a lease is worth, in milliseconds.
    pub lease_ms: u64,
    /// For how long from now on leases are renewed in time, in milliseconds: no tokens are made before.
    pub fresh_ms: u64,
    /// Changes.
    pub grants: Vec<Grant>,
}

/// What holds for all limits of a shard.
#[derive(Debug)]
pub(crate) struct Leasing {
    /// Limits count over all nodes; else each is this node's alone.
    pub(crate) is_on: bool,
    nodes: u32,
    lease_ms: u64,
    fresh_until: Time,
    /// Limits that were looked at since they were told last.
    touched: Vec<LimitKey>,
}

impl Leasing {
    pub(crate) const fn off() -> Self {
        Self { is_on: false, nodes: 1, lease_ms: 0, fresh_until: Time(0), touched: Vec::new() }
    }

    /// Takes over what is said of all limits.
    pub(crate) fn renew(&mut self, leases: &Leases, now: Time) {
        self.is_on = true;
        self.nodes = leases.nodes.max(1);
        self.lease_ms = leases.lease_ms;
        self.fresh_until = now.after_ms(leases.fresh_ms);
    }

    /// Takes up to so many of the limits that were looked at, those that were first.
    pub(crate) fn take_touched(&mut self, most: usize) -> Vec<LimitKey> {
        let most = most.min(self.touched.len());
        self.touched.drain(..most).collect()
    }

    /// What a node may spend of a limit of which it has no lease yet: little enough that all nodes together spend no more
    /// than a quarter of a lease's worth so. The one node that there is has all of it.
    fn advance(&self, rate: u32, burst: u32) -> u64 {
        if self.nodes == 1 {
            return u64::from(burst);
        }
        let worth = u64::from(rate) * self.lease_ms / 4_000 / u64::from(self.nodes);
        worth.min(u64::from(burst)).max(1)
    }
}

/// A limit of messages a second: this node's own pace, and its lease where the limit counts over all nodes.
#[derive(Debug)]
pub(crate) struct Limit {
    bucket: TokenBucket,
    lease: Lease,
}

#[derive(Debug, Default)]
struct Lease {
    tokens: i64,
    made: u64,
    is_begun: bool,
    is_listed: bool,
    is_short: bool,
    share_permille: u16,
    turn: u64,
    /// Told of when so many tokens are left, or at that time.
    low: i64,
    tell_at: Time,
    /// Until when tokens have been made, and what of the next one.
    made_until: Time,
    rest: u128,
}

impl Limit {
    /// A full one. `rate` 0 is no limit; `burst` 0 is one second's worth.
    pub(crate) fn new(rate: u32, burst: u32, now: Time) -> Self {
        Self { bucket: TokenBucket::new(rate, burst, now), lease: Lease::default() }
    }

    /// Takes the right to send one message; `false` when there is none.
    #[inline]
    pub(crate) fn take(&mut self, key: LimitKey, leasing: &mut Leasing, now: Time) -> bool {
        match leasing.is_on && self.bucket.rate() != 0 {
            false => self.bucket.take(now),
            true => self.take_leased(key, leasing, now),
        }
    }

    fn take_leased(&mut self, key: LimitKey, leasing: &mut Leasing, now: Time) -> bool {
        let is_news = self.lease.tokens <= self.lease.low || now >= self.lease.tell_at;
        if is_news && !self.lease.is_listed {
            self.lease.is_listed = true;
            leasing.touched.push(key);
        }
        if self.lease.tokens < 1 && !self.make_tokens(leasing, now) {
            self.lease.is_short = true;
            return false;
        }
        if !self.bucket.take(now) {
            return false;
        }
        self.lease.tokens -= 1;
        true
    }

    /// When the next message may go, given that none is taken before, and that no lease comes meanwhile.
    pub(crate) fn next_at(&mut self, leasing: &Leasing, now: Time) -> Time {
        let at = self.bucket.next_at(now);
        if !leasing.is_on || self.bucket.rate() == 0 || self.lease.tokens >= 1 {
            return at;
        }
        let begin = leasing.fresh_until.max(self.lease.made_until).max(now);
        let tokens = u128::from(self.lease.tokens.min(0).unsigned_abs()) + 1;
        let missing = (tokens * TOKEN).saturating_sub(self.lease.rest).div_ceil(self.making_rate(leasing));
        let missing = u64::try_from(missing).unwrap_or(u64::MAX);
        at.max(Time(begin.0.saturating_add(missing)))
    }

    /// Changes the limit; what has been saved up stays, cut to the new burst.
    pub(crate) fn reshape(&mut self, rate: u32, burst: u32, now: Time) {
        self.bucket.reshape(rate, burst, now);
    }

    /// Takes over a change; it is told of again where there was something in it.
    pub(crate) fn grant(&mut self, grant: &Grant, leasing: &mut Leasing) {
        let lease = &mut self.lease;
        if grant.turn <= lease.turn {
            return;
        }
        lease.turn = grant.turn;
        lease.tokens = lease.tokens.saturating_add(grant.tokens);
        lease.low = (lease.tokens / 2).max(0);
        lease.share_permille = grant.share_permille.min(1_000);
        if grant.tokens != 0 && !lease.is_listed {
            lease.is_listed = true;
            leasing.touched.push(grant.key);
        }
    }

    /// What is told of it; `None` when it is no limit any more. While messages wait for a token it is told again and again.
    pub(crate) fn tell(
        &mut self,
        key: LimitKey,
        has_waiting: bool,
        leasing: &mut Leasing,
        now: Time,
    ) -> Option<LimitUse> {
        let lease = &mut self.lease;
        lease.tell_at = now.after_ms(TELL_AGAIN_MS);
        let is_short = lease.is_short && lease.tokens < 1;
        lease.is_short = is_short && has_waiting;
        lease.is_listed = lease.is_short;
        if lease.is_listed {
            leasing.touched.push(key);
        }
        let (rate, burst) = (self.bucket.rate(), self.bucket.burst());
        let Lease { tokens, made, turn, .. } = *lease;
        (rate != 0).then_some(LimitUse { key, rate, burst, tokens, made, is_short, turn })
    }

    /// The first tokens, and those of a node that hears nothing; `true` when there is one then.
    #[cold]
    fn make_tokens(&mut self, leasing: &Leasing, now: Time) -> bool {
        let (rate, burst) = (self.bucket.rate(), self.bucket.burst());
        let making_rate = self.making_rate(leasing);
        let lease = &mut self.lease;
        if !lease.is_begun {
            lease.is_begun = true;
            lease.made_until = now;
            lease.make(leasing.advance(rate, burst));
        } else if now > leasing.fresh_until {
            let begin = leasing.fresh_until.max(lease.made_until);
            lease.rest += u128::from(now.nanos_since(begin)) * making_rate;
            lease.made_until = now;
            // What was not made in time is not made at once later, but for the share of a burst.
            let most = (u128::from(burst) * TOKEN / u128::from(leasing.nodes)).max(TOKEN);
            lease.rest = lease.rest.min(most);
            let tokens = (lease.rest / TOKEN) as u64;
            lease.rest %= TOKEN;
            lease.make(tokens);
        }
        lease.tokens >= 1
    }

    /// In units of [`TOKEN`] a nanosecond; at least the share of one among all nodes.
    fn making_rate(&self, leasing: &Leasing) -> u128 {
        let share = u128::from(self.lease.share_permille).max(1_000_u128.div_ceil(u128::from(leasing.nodes)));
        u128::from(self.bucket.rate()) * share
    }
}

impl Lease {
    fn make(&mut self, tokens: u64) {
        self.made += tokens;
        self.tokens = self.tokens.saturating_add_unsigned(tokens);
    }
}

#[cfg(test)]
mod tests;
