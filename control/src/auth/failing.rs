//! Addresses whose binds keep failing: how often, how long their next refusal is held back, and the refusals that are held.
//!
//! Lives on the control thread, which holds verdicts back so that no shard has to: meanwhile a shard has one connection in its
//! lobby, from which it does not read. Must never grow with the number of those who fail, and knows no password.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use smpp_shards::settings::AuthSettings;

use super::Answer;

/// Addresses that are remembered. Beyond it one that has failed only once since the hand last passed it makes room.
pub(super) const ADDRESSES_MAX: usize = 8_192;

/// Refusals that are held back at one time, a quarter of one shard's lobby. Beyond it a refusal leaves at once.
pub(super) const HELD_MAX: usize = 1_024;

/// Addresses looked at each second for those that have been quiet for long enough.
const FORGET_PER_SECOND: usize = 1_024;

/// Failures in a row with which an address gets a line in the log, and again with ten times as many, and so on.
const TOLD_FIRST: u64 = 5;

/// How it stands with addresses that fail, for the metrics.
#[derive(Debug, Default)]
pub(crate) struct FailingFigures {
    /// Binds that failed authentication.
    pub(crate) failed: AtomicU64,
    /// Refusals that were held back.
    pub(crate) delayed: AtomicU64,
    /// Refusals that should have been held back, and found no room.
    pub(crate) undelayed: AtomicU64,
    /// Refusals that are held back now.
    pub(crate) held: AtomicU64,
    /// Addresses that are remembered now.
    pub(crate) addresses: AtomicU64,
}

/// What an operator is told of an address, now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FailingAddress {
    /// Which; of IPv6 the first address of its /64.
    pub(crate) address: IpAddr,
    /// Failed binds in a row.
    pub(crate) failures: u64,
    /// By how much its refusals are held back now.
    pub(crate) delay: Duration,
}

/// What a failed bind brings with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Penalty {
    /// By how much the refusal is to be held back.
    pub(super) delay: Duration,
    /// What an operator should be told.
    pub(super) news: Option<FailingAddress>,
}

/// The addresses that have failed of late.
#[derive(Debug, Default)]
pub(super) struct Failing {
    places: HashMap<IpAddr, usize>,
    entries: Vec<Entry>,
    /// Where the search for room, and for what may be forgotten, goes on.
    hand: usize,
}

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    failures: u64,
    last: Instant,
    /// It has failed again since the hand last passed.
    again: bool,
}

impl Failing {
    /// Notes a failed bind.
    pub(super) fn note(&mut self, peer: IpAddr, settings: &AuthSettings, now: Instant) -> Penalty {
        let address = network_of(peer);
        let failures = match self.places.get(&address) {
            Some(place) => self.entries[*place].fail(settings, now),
            None => {
                self.insert(address, now);
                1
            }
        };
        let delay = delay_after(failures, settings);
        let news = is_told(failures).then_some(FailingAddress { address, failures, delay });
        Penalty { delay, news }
    }

    /// Forgets an address: a bind from there was right.
    pub(super) fn forgive(&mut self, peer: IpAddr) {
        if let Some(place) = self.places.get(&network_of(peer)) {
            self.remove(*place);
        }
    }

    /// Forgets some of those that have been quiet for long enough. To be called once a second.
    pub(super) fn forget_quiet(&mut self, settings: &AuthSettings, now: Instant) {
        for _ in 0..FORGET_PER_SECOND.min(self.entries.len()) {
            if self.hand >= self.entries.len() {
                self.hand = 0;
            }
            match self.entries.get(self.hand).is_some_and(|entry| entry.is_over(settings, now)) {
                // Another one stands there now.
                true => self.remove(self.hand),
                false => self.hand += 1,
            }
        }
    }

    /// Addresses that are remembered.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn insert(&mut self, address: IpAddr, now: Instant) {
        if self.entries.len() >= ADDRESSES_MAX {
            self.make_room();
        }
        self.places.insert(address, self.entries.len());
        self.entries.push(Entry { address, failures: 1, last: now, again: false });
    }

    /// Drops the first one that has not failed again since the hand last passed it; after one round that is any.
    fn make_room(&mut self) {
        loop {
            if self.hand >= self.entries.len() {
                self.hand = 0;
            }
            if !core::mem::replace(&mut self.entries[self.hand].again, false) {
                return self.remove(self.hand);
            }
            self.hand += 1;
        }
    }

    fn remove(&mut self, place: usize) {
        let gone = self.entries.swap_remove(place);
        self.places.remove(&gone.address);
        if let Some(moved) = self.entries.get(place) {
            self.places.insert(moved.address, place);
        }
    }
}

impl Entry {
    fn fail(&mut self, settings: &AuthSettings, now: Instant) -> u64 {
        self.failures = if self.is_over(settings, now) { 1 } else { self.failures + 1 };
        self.last = now;
        self.again = true;
        self.failures
    }

    fn is_over(&self, settings: &AuthSettings, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= Duration::from_secs(settings.failure_forget_seconds.into())
    }
}

/// Refusals that wait for their time.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// By the time at which it leaves, and the order in which they came.
    answers: BTreeMap<(Instant, u64), Answer>,
    count: u64,
}

impl Held {
    /// Holds a refusal until then.
    ///
    /// # Errors
    /// The refusal, when there are too many.
    pub(super) fn hold(&mut self, answer: Answer, until: Instant) -> Result<(), Answer> {
        if self.answers.len() >= HELD_MAX {
            return Err(answer);
        }
        self.count += 1;
        self.answers.insert((until, self.count), answer);
        Ok(())
    }

    /// Lets go of those whose time has come.
    pub(super) fn release(&mut self, now: Instant, answers: &mut Vec<Answer>) {
        while let Some(first) = self.answers.first_entry()
            && first.key().0 <= now
        {
            answers.push(first.remove());
        }
    }

    /// When the next one leaves.
    pub(super) fn next(&self) -> Option<Instant> {
        self.answers.first_key_value().map(|((until, _), _)| *until)
    }

    /// When the last one leaves.
    #[cfg(test)]
    pub(super) fn last(&self) -> Option<Instant> {
        self.answers.last_key_value().map(|((until, _), _)| *until)
    }

    /// Those that are held.
    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }
}

impl FailingFigures {
    /// Notes what stands now.
    pub(super) fn set_now(&self, addresses: usize, held: usize) {
        self.addresses.store(addresses as u64, Ordering::Relaxed);
        self.held.store(held as u64, Ordering::Relaxed);
    }
}

/// How long the refusal is held back that answers the failure of that number in a row.
fn delay_after(failures: u64, settings: &AuthSettings) -> Duration {
    let Some(beyond) = failures.checked_sub(u64::from(settings.failures_undelayed) + 1) else {
        return Duration::ZERO;
    };
    let doublings = u32::try_from(beyond).unwrap_or(u32::MAX);
    let delay_ms = settings.failure_delay_ms.saturating_mul(1_u64.checked_shl(doublings).unwrap_or(u64::MAX));
    Duration::from_millis(delay_ms.min(settings.failure_delay_max_ms))
}

/// 5, 50, 500, …
fn is_told(failures: u64) -> bool {
    let mut step = TOLD_FIRST;
    while step < failures {
        step = step.saturating_mul(10);
    }
    step == failures
}

/// Whoever has one address of IPv6 has all of its /64.
fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smpp_pdu::CommandStatus;
    use smpp_shards::{Conn, ShardId, Verdict};

    fn address(number: u32) -> IpAddr {
        IpAddr::from((0x0A00_0000 + number).to_be_bytes())
    }

    fn settings() -> AuthSettings {
        AuthSettings::default()
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn answer(ticket: u32) -> Answer {
        (ShardId(0), Verdict { conn: Conn(1), ticket, result: Err(CommandStatus::ESME_RINVPASWD), reason: None })
    }

    #[test]
    fn each_failure_in_a_row_is_refused_later_up_to_the_bound() {
        let (mut failing, now) = (Failing::default(), Instant::now());
        let delays: Vec<u128> = (0..8).map(|_| failing.note(address(1), &settings(), now).delay.as_millis()).collect();
        assert_eq!(delays, [0, 0, 250, 500, 1_000, 2_000, 2_000, 2_000]);
        assert_eq!(failing.note(address(2), &settings(), now).delay, Duration::ZERO, "another address");
    }

    #[test]
    fn delays_stay_within_the_bound_however_often_an_address_fails() {
        let settings = AuthSettings { failures_undelayed: 0, ..settings() };
        for failures in [1, 63, 64, 65, 66, u64::from(u32::MAX) + 2, u64::MAX] {
            let delay = delay_after(failures, &settings);
            assert!((Duration::from_millis(250)..=seconds(2)).contains(&delay), "{failures}: {delay:?}");
        }
        let never = AuthSettings { failure_delay_ms: 0, ..settings };
        assert_eq!(delay_after(1_000, &never), Duration::ZERO);
    }

    #[test]
    fn a_right_bind_makes_an_address_new_again() {
        let (mut failing, now) = (Failing::default(), Instant::now());
        for _ in 0..5 {
            failing.note(address(1), &settings(), now);
        }
        failing.forgive(address(1));
        failing.forgive(address(2));
        assert_eq!(failing.len(), 0);
        assert_eq!(failing.note(address(1), &settings(), now).delay, Duration::ZERO);
    }

    #[test]
    fn a_quiet_time_makes_an_address_new_again_and_frees_its_place() {
        let (mut failing, start) = (Failing::default(), Instant::now());
        for _ in 0..5 {
            failing.note(address(1), &settings(), start);
            failing.note(address(2), &settings(), start);
        }
        let almost = start + seconds(599);
        assert_eq!(failing.note(address(1), &settings(), almost).delay, seconds(2));
        failing.forget_quiet(&settings(), start + seconds(600));
        assert_eq!((failing.len(), failing.places.get(&address(1))), (1, Some(&0)), "only the other one was quiet");
        assert_eq!(failing.note(address(1), &settings(), almost + seconds(600)).delay, Duration::ZERO);
    }

    #[test]
    fn an_ipv6_address_counts_with_its_neighbours_and_a_mapped_one_as_ipv4() {
        let (mut failing, now) = (Failing::default(), Instant::now());
        for text in ["2001:db8:1:2::7", "2001:db8:1:2:ffff::", "2001:db8:1:3::7", "10.0.0.1", "::ffff:10.0.0.1"] {
            failing.note(text.parse().unwrap(), &settings(), now);
        }
        let failures: Vec<(String, u64)> =
            failing.entries.iter().map(|entry| (entry.address.to_string(), entry.failures)).collect();
        let expected = [("2001:db8:1:2::", 2), ("2001:db8:1:3::", 1), ("10.0.0.1", 2)];
        assert_eq!(failures, expected.map(|(address, count)| (address.to_owned(), count)));
    }

    #[test]
    fn a_flood_of_addresses_takes_a_bounded_room_and_does_not_wash_out_one_that_goes_on_failing() {
        let (mut failing, now) = (Failing::default(), Instant::now());
        for number in 0..3 * ADDRESSES_MAX as u32 {
            failing.note(address(number + 1), &settings(), now);
            if number % 1_000 == 0 {
                failing.note(address(0), &settings(), now);
            }
        }
        assert_eq!((failing.len(), failing.places.len()), (ADDRESSES_MAX, ADDRESSES_MAX));
        assert_eq!(failing.note(address(0), &settings(), now).delay, seconds(2));
        for (place, entry) in failing.entries.iter().enumerate() {
            assert_eq!(failing.places.get(&entry.address), Some(&place));
        }
    }

    #[test]
    fn an_operator_is_told_with_the_fifth_failure_and_then_ever_less_often() {
        let (mut failing, now) = (Failing::default(), Instant::now());
        let told: Vec<u64> = (0..6_000)
            .filter_map(|_| failing.note(address(1), &settings(), now).news)
            .map(|news| news.failures)
            .collect();
        assert_eq!(told, [5, 50, 500, 5_000]);
    }

    #[test]
    fn held_refusals_leave_at_their_time_in_its_order() {
        let (mut held, start, mut left) = (Held::default(), Instant::now(), Vec::new());
        for (ticket, after) in [(1, 3), (2, 1), (3, 1), (4, 2)] {
            held.hold(answer(ticket), start + seconds(after)).unwrap();
        }
        assert_eq!(held.next(), Some(start + seconds(1)));
        held.release(start, &mut left);
        assert!(left.is_empty());
        held.release(start + seconds(2), &mut left);
        assert_eq!(left, [answer(2), answer(3), answer(4)]);
        assert_eq!((held.len(), held.next()), (1, Some(start + seconds(3))));
    }

    #[test]
    fn no_more_than_so_many_refusals_are_held() {
        let (mut held, start) = (Held::default(), Instant::now());
        for ticket in 0..HELD_MAX as u32 {
            assert!(held.hold(answer(ticket), start).is_ok());
        }
        assert_eq!(held.hold(answer(9), start), Err(answer(9)));
    }
}
