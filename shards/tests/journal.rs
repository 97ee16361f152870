//! What holds for a journal whatever was written, wherever it was cut, whatever octets went bad. The checks
//! themselves are those of the fuzz targets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use proptest::collection::vec;
use proptest::prelude::*;

#[path = "../fuzz/journal.rs"]
mod checks;

fn script() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..250)
}

proptest! {
    #[test]
    fn a_cut_at_any_octet_loses_only_what_stands_behind_it(script in script(), at in 0..1_000_000usize) {
        checks::cut(&script, at);
    }

    #[test]
    fn a_torn_last_batch_is_cut_at_its_first_missing_octet(
        script in script(),
        sectors in any::<u64>(),
        is_used in any::<bool>(),
    ) {
        checks::torn(&script, sectors, is_used);
    }

    #[test]
    fn a_flipped_bit_costs_one_record_at_the_most_and_is_reported(
        script in script(),
        at in 0..1_000_000usize,
        bit in 0..8u8,
    ) {
        checks::flipped(&script, at, bit);
    }

    #[test]
    fn an_older_use_of_a_file_is_never_taken_for_ours(old in script(), new in script()) {
        checks::recycled(&old, &new);
        checks::recycled(&new, &new);
    }

    #[test]
    fn repetition_changes_nothing_and_freed_segments_are_not_missed(script in script(), seed in any::<u64>()) {
        checks::repeated(&script, seed);
    }

    #[test]
    fn a_batch_written_again_after_a_failure_is_no_damage(script in script(), at in 0..1_000_000usize) {
        checks::written_again(&script, at);
    }

    #[test]
    fn octets_that_nobody_wrote_hold_nothing(octets in vec(any::<u8>(), 0..20_000)) {
        checks::raw(&octets);
    }

    #[test]
    fn a_fuzz_target_takes_any_octets(octets in vec(any::<u8>(), 0..300)) {
        checks::journal(&octets);
    }
}
