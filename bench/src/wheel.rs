//! Things to do later: a hashed timer wheel of quarter milliseconds, for delays of any length.
//!
//! Inserting and taking out cost the same however many wait. Used by one thread; it has no clock of its own.

/// Nanoseconds of one slot.
pub const TICK: u64 = 250_000;
const SLOTS: usize = 4096;

/// Entries of type `T`, each with the time (nanoseconds of the monotonic clock) at which it is due.
#[derive(Debug)]
pub struct Wheel<T> {
    slots: Vec<Vec<(u64, T)>>,
    occupied: [u64; SLOTS / 64],
    /// The tick whose slot is looked at next; all before it are done.
    tick: u64,
    waiting: usize,
    later: Vec<(u64, T)>,
}

impl<T> Wheel<T> {
    /// An empty wheel that starts at `now`.
    pub fn new(now: u64) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            occupied: [0; SLOTS / 64],
            tick: now / TICK,
            waiting: 0,
            later: Vec::new(),
        }
    }

    /// How many entries wait.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Has `entry` come out at the first look at or after `due`, rounded up to a whole tick.
    #[inline]
    pub fn insert(&mut self, due: u64, entry: T) {
        let tick = due.div_ceil(TICK).max(self.tick);
        let slot = tick as usize % SLOTS;
        self.slots[slot].push((tick, entry));
        self.occupied[slot / 64] |= 1 << (slot % 64);
        self.waiting += 1;
    }

    /// Moves everything due at `now` to the end of `out`, in the order of the ticks.
    pub fn take_due(&mut self, now: u64, out: &mut Vec<T>) {
        let last = now / TICK;
        if self.waiting == 0 {
            self.tick = self.tick.max(last + 1);
            return;
        }
        while self.tick <= last {
            let slot = self.tick as usize % SLOTS;
            if self.occupied[slot / 64] >> (slot % 64) & 1 == 1 {
                self.empty_slot(slot, out);
            }
            self.tick += 1;
        }
    }

    /// When to look next: the start of the first tick whose slot holds anything (which may be an entry of a
    /// later round); `None` when nothing waits.
    pub fn next_due(&self) -> Option<u64> {
        if self.waiting == 0 {
            return None;
        }
        let first = self.tick as usize % SLOTS;
        let words = SLOTS / 64;
        for step in 0..=words {
            let word = (first / 64 + step) % words;
            let mask = match step {
                0 => u64::MAX << (first % 64),
                _ if step == words => !(u64::MAX << (first % 64)),
                _ => u64::MAX,
            };
            let bits = self.occupied[word] & mask;
            if bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                let ahead = (slot + SLOTS - first) % SLOTS;
                return Some((self.tick + ahead as u64) * TICK);
            }
        }
        None
    }

    fn empty_slot(&mut self, slot: usize, out: &mut Vec<T>) {
        for (tick, entry) in self.slots[slot].drain(..) {
            if tick <= self.tick {
                out.push(entry);
                self.waiting -= 1;
            } else {
                self.later.push((tick, entry));
            }
        }
        if self.later.is_empty() {
            self.occupied[slot / 64] &= !(1 << (slot % 64));
        } else {
            self.slots[slot].append(&mut self.later);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(wheel: &mut Wheel<u32>, now: u64) -> Vec<u32> {
        let mut out = Vec::new();
        wheel.take_due(now, &mut out);
        out
    }

    #[test]
    fn nothing_comes_out_before_it_is_due() {
        let mut wheel = Wheel::new(0);
        wheel.insert(10 * TICK, 1);
        assert_eq!(wheel.next_due(), Some(10 * TICK));
        assert!(take(&mut wheel, 10 * TICK - 1).is_empty());
        assert_eq!(take(&mut wheel, 10 * TICK), [1]);
        assert_eq!(wheel.next_due(), None);
    }

    #[test]
    fn an_entry_of_a_later_round_stays() {
        let mut wheel = Wheel::new(0);
        let round = SLOTS as u64 * TICK;
        wheel.insert(round + 5 * TICK, 2);
        wheel.insert(5 * TICK, 1);
        assert_eq!(take(&mut wheel, 6 * TICK), [1]);
        assert!(take(&mut wheel, round + 4 * TICK).is_empty());
        assert_eq!(wheel.next_due(), Some(round + 5 * TICK));
        assert_eq!(take(&mut wheel, round + 5 * TICK), [2]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn what_is_past_comes_out_at_the_next_look() {
        let mut wheel = Wheel::new(100 * TICK);
        wheel.insert(3, 1);
        assert_eq!(take(&mut wheel, 100 * TICK), [1]);
    }

    #[test]
    fn every_entry_comes_out_once_and_in_time() {
        let mut wheel = Wheel::new(0);
        let mut random = crate::random::Random::new(3);
        let dues: Vec<u64> = (0..2000).map(|_| random.between(0, 9000) * TICK / 2).collect();
        for (entry, &due) in dues.iter().enumerate() {
            wheel.insert(due, entry as u32);
        }
        let mut seen = vec![0; dues.len()];
        while let Some(now) = wheel.next_due() {
            for entry in take(&mut wheel, now) {
                seen[entry as usize] += 1;
                assert!(dues[entry as usize] <= now && now < dues[entry as usize] + TICK);
            }
        }
        assert!(seen.iter().all(|&times| times == 1));
    }
}
