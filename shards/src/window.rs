//! The window of unanswered requests in one direction of one connection, and its sequence numbers.

use smpp_pdu::frame::SEQUENCE_MAX;

/// Requests that wait for their answers, found by sequence_number.
///
/// Sequence numbers count up and index a ring of at least twice the window. A request that is never answered keeps
/// its place; numbers that would fall on it are skipped, so that finding stays one look.
#[derive(Debug, Default)]
pub struct Window {
    places: Vec<Place>,
    last: u32,
    open: u32,
}

/// How many places ahead are touched: those that come from memory at once.
const PLACES_AHEAD: usize = 64 / size_of::<Place>();

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    sequence: u32,
    slot: u32,
}

impl Window {
    /// Makes room for `limit` requests; a window that has not been used yet allocates nothing before. Numbers that do not
    /// fall on each other in a smaller ring do not in a larger one.
    #[cold]
    fn reserve(&mut self, limit: u32) {
        let size = (limit.max(1) as usize * 2).next_power_of_two();
        if self.places.len() < size {
            let before = core::mem::replace(&mut self.places, vec![Place::default(); size]);
            for place in before.into_iter().filter(|place| place.sequence != 0) {
                self.places[place.sequence as usize & (size - 1)] = place;
            }
        }
    }

    /// How many wait.
    #[inline]
    pub const fn open(&self) -> u32 {
        self.open
    }

    /// The next sequence_number, for a request that is not kept here.
    #[inline]
    pub fn next_sequence(&mut self) -> u32 {
        self.last = if self.last >= SEQUENCE_MAX { 1 } else { self.last + 1 };
        self.last
    }

    /// Opens a request for `slot` and gives its sequence_number. The caller has seen that fewer than `limit` are
    /// open.
    ///
    /// # Panics
    /// When `limit` or more are open.
    #[inline]
    pub fn open_request(&mut self, slot: u32, limit: u32) -> u32 {
        assert!(self.open < limit.max(1), "the caller looks at the window first");
        if self.places.len() < limit as usize * 2 {
            self.reserve(limit);
        }
        let mask = self.places.len() - 1;
        loop {
            let sequence = self.next_sequence();
            let place = &mut self.places[sequence as usize & mask];
            if place.sequence == 0 {
                *place = Place { sequence, slot };
                self.open += 1;
                // In a large window the next places are far from the core: asked for now, they are here in time.
                core::hint::black_box(self.places[(sequence as usize + PLACES_AHEAD) & mask].sequence);
                return sequence;
            }
        }
    }

    /// The slot of the open request of that number.
    #[inline]
    pub fn slot_of(&self, sequence: u32) -> Option<u32> {
        let place = self.places.get(sequence as usize & self.places.len().wrapping_sub(1))?;
        (place.sequence == sequence && sequence != 0).then_some(place.slot)
    }

    /// Closes the request of that number and gives its slot; `None` when there is none.
    #[inline]
    pub fn close_request(&mut self, sequence: u32) -> Option<u32> {
        if self.places.is_empty() || sequence == 0 {
            return None;
        }
        let mask = self.places.len() - 1;
        let place = &mut self.places[sequence as usize & mask];
        if place.sequence != sequence {
            return None;
        }
        place.sequence = 0;
        self.open -= 1;
        Some(place.slot)
    }

    /// Closes all requests and appends their slots to `into`, in the order in which they were opened.
    pub fn close_all(&mut self, into: &mut Vec<u32>) {
        let mut open: Vec<Place> = self.places.iter().copied().filter(|place| place.sequence != 0).collect();
        // Numbers above the last one given were given before the wrap, so they are the older ones.
        open.sort_by_key(|place| (place.sequence <= self.last, place.sequence));
        into.extend(open.iter().map(|place| place.slot));
        self.places.iter_mut().for_each(|place| place.sequence = 0);
        self.open = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_find_their_requests_in_any_order() {
        let mut window = Window::default();
        let mut open = Vec::new();
        for round in 0..10_000u32 {
            if open.len() < 8 {
                open.push((window.open_request(round, 8), round));
            } else {
                let (sequence, slot) = open.remove((round as usize * 7) % 8);
                assert_eq!(window.slot_of(sequence), Some(slot));
                assert_eq!(window.close_request(sequence), Some(slot));
                assert_eq!(window.slot_of(sequence), None);
                assert_eq!(window.close_request(sequence), None);
            }
        }
        assert_eq!(window.open() as usize, open.len());
    }

    #[test]
    fn a_request_that_is_never_answered_keeps_its_place() {
        let mut window = Window::default();
        assert_eq!(window.slot_of(1), None, "a window that was never used has no places");
        let stuck = window.open_request(1, 2);
        for slot in 2..100 {
            let sequence = window.open_request(slot, 2);
            assert_eq!(window.close_request(sequence), Some(slot));
        }
        assert_eq!(window.close_request(stuck), Some(1));
    }

    #[test]
    fn numbers_wrap_to_one_and_close_all_keeps_the_order() {
        let mut window = Window { last: SEQUENCE_MAX - 2, ..Window::default() };
        let numbers: Vec<u32> = (0..4).map(|slot| window.open_request(slot, 4)).collect();
        assert_eq!(numbers, [SEQUENCE_MAX - 1, SEQUENCE_MAX, 1, 2]);
        let mut slots = Vec::new();
        window.close_all(&mut slots);
        assert_eq!(slots, [0, 1, 2, 3]);
        assert_eq!(window.open(), 0);
    }

    #[test]
    fn a_window_grows_and_shrinks_with_its_limit_and_keeps_what_is_open() {
        let mut window = Window::default();
        let mut open: Vec<u32> = (0..3).map(|slot| window.open_request(slot, 3)).collect();
        open.extend((3..100).map(|slot| window.open_request(slot, 100)));
        for (slot, sequence) in open.into_iter().enumerate().rev() {
            assert_eq!(window.close_request(sequence), Some(slot as u32));
        }
        let again = window.open_request(7, 1);
        assert_eq!(window.close_request(again), Some(7));
    }

    #[test]
    fn an_unknown_number_finds_nothing() {
        let mut window = Window::default();
        assert_eq!(window.close_request(1), None);
        window.open_request(1, 4);
        assert_eq!(window.close_request(0), None);
        assert_eq!(window.close_request(0xFFFF_FFFF), None);
    }
}
