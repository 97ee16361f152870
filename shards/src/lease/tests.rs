//! Leases as a shard sees them, at times that the tests make up.

use super::*;

const KEY: LimitKey = LimitKey::Customer(CustomerId(0));
const MS: u64 = 1_000_000;

fn at_ms(ms: u64) -> Time {
    Time(ms * MS)
}

fn leasing(nodes: u32, fresh_ms: u64) -> Leasing {
    let mut leasing = Leasing::off();
    leasing.renew(&Leases { nodes, lease_ms: 200, fresh_ms, grants: Vec::new() }, Time(0));
    leasing
}

fn grant(turn: u64, tokens: i64) -> Grant {
    Grant { key: KEY, turn, tokens, share_permille: 0 }
}

/// How many of so many messages pass at that time.
fn passed(limit: &mut Limit, leasing: &mut Leasing, tries: u32, at: Time) -> usize {
    (0..tries).filter(|_| limit.take(KEY, leasing, at)).count()
}

#[test]
fn without_leases_the_limit_is_the_bucket_s_alone() {
    let (mut limit, mut leasing) = (Limit::new(100, 0, Time(0)), Leasing::off());
    assert_eq!(passed(&mut limit, &mut leasing, 500, Time(1)), 100);
    assert_eq!(leasing.take_touched(9), []);
}

#[test]
fn no_limit_lets_everything_pass_and_is_never_told_of() {
    let (mut limit, mut leasing) = (Limit::new(0, 0, Time(0)), leasing(3, 400));
    assert_eq!(passed(&mut limit, &mut leasing, 500, Time(1)), 500);
    assert_eq!(leasing.take_touched(9), []);
    assert_eq!(limit.next_at(&leasing, Time(1)), Time(1));
}

#[test]
fn a_node_alone_has_the_whole_burst_before_its_first_lease() {
    let (mut limit, mut leasing) = (Limit::new(100, 0, Time(0)), leasing(1, 400));
    assert_eq!(passed(&mut limit, &mut leasing, 500, Time(1)), 100);
}

#[test]
fn many_nodes_spend_little_together_before_their_first_leases() {
    for (rate, nodes, each) in [(400, 4, 5), (1_000_000, 2, 25_000), (3, 3, 1), (1, 100, 1)] {
        let (mut limit, mut leasing) = (Limit::new(rate, 0, Time(0)), leasing(nodes, 400));
        assert_eq!(passed(&mut limit, &mut leasing, 30_000, Time(1)), each, "{rate} over {nodes}");
    }
}

#[test]
fn what_is_granted_is_spent_and_no_more_while_leases_are_fresh() {
    let (mut limit, mut leasing) = (Limit::new(400, 0, Time(0)), leasing(2, 400));
    assert_eq!(passed(&mut limit, &mut leasing, 50, Time(1)), 10);
    limit.grant(&grant(1, 7), &mut leasing);
    limit.grant(&grant(1, 7), &mut leasing);
    assert_eq!(passed(&mut limit, &mut leasing, 50, at_ms(200)), 7, "the same grant counts once");
    assert_eq!(passed(&mut limit, &mut leasing, 50, at_ms(400)), 0);
}

#[test]
fn this_node_s_own_pace_holds_whatever_is_granted() {
    let (mut limit, mut leasing) = (Limit::new(100, 10, Time(0)), leasing(2, 400));
    limit.grant(&grant(1, 1000), &mut leasing);
    assert_eq!(passed(&mut limit, &mut leasing, 50, Time(1)), 10);
    assert_eq!(passed(&mut limit, &mut leasing, 50, at_ms(55)), 5);
}

#[test]
fn a_node_that_hears_nothing_goes_on_with_its_share_and_at_least_with_one_among_all() {
    for (nodes, share_permille, a_second) in [(4, 0, 25), (4, 900, 90), (4, 100, 25), (1, 0, 100), (3, 0, 33)] {
        let (mut limit, mut leasing) = (Limit::new(100, 0, Time(0)), leasing(nodes, 400));
        passed(&mut limit, &mut leasing, 200, Time(1));
        limit.grant(&Grant { share_permille, ..grant(1, 0) }, &mut leasing);
        let all: usize = (400..10_400).step_by(10).map(|ms| passed(&mut limit, &mut leasing, 5, at_ms(ms))).sum();
        let wanted = a_second * 10;
        assert!((wanted - 1..=wanted + 5).contains(&all), "{nodes} nodes, {share_permille}: {all}");
    }
}

#[test]
fn what_is_made_is_told_once_it_is_asked_for_and_ends_with_fresh_leases() {
    let (mut limit, mut leasing) = (Limit::new(100, 0, Time(0)), leasing(2, 400));
    passed(&mut limit, &mut leasing, 20, Time(1));
    assert_eq!(passed(&mut limit, &mut leasing, 20, at_ms(600)), 10);
    let told = leasing.take_touched(9).into_iter().filter_map(|key| limit.tell(key, false, &mut leasing, at_ms(600)));
    let wanted = LimitUse { key: KEY, rate: 100, burst: 100, tokens: 0, made: 12, is_short: true, turn: 0 };
    assert_eq!(told.collect::<Vec<_>>(), [wanted]);
    leasing.renew(&Leases { nodes: 2, lease_ms: 200, fresh_ms: 400, grants: Vec::new() }, at_ms(600));
    assert_eq!(passed(&mut limit, &mut leasing, 20, at_ms(1_000)), 0);
}

#[test]
fn what_is_taken_back_after_it_was_spent_is_owed() {
    let (mut limit, mut leasing) = (Limit::new(100, 0, Time(0)), leasing(1, 400));
    assert_eq!(passed(&mut limit, &mut leasing, 95, Time(1)), 95);
    limit.grant(&grant(1, -20), &mut leasing);
    assert_eq!(passed(&mut limit, &mut leasing, 20, at_ms(200)), 0);
    limit.grant(&grant(2, 18), &mut leasing);
    assert_eq!(passed(&mut limit, &mut leasing, 20, at_ms(300)), 3);
}

#[test]
fn the_next_time_is_when_a_message_passes_though_nothing_is_heard() {
    let (mut limit, mut leasing) = (Limit::new(7, 1, Time(0)), leasing(3, 400));
    assert!(limit.take(KEY, &mut leasing, Time(0)));
    let at = limit.next_at(&leasing, at_ms(1));
    assert!(at > at_ms(400), "{at:?}");
    assert!(!limit.take(KEY, &mut leasing, Time(at.0 - 1)));
    assert!(limit.take(KEY, &mut leasing, at));
}

#[test]
fn a_limit_is_told_once_for_all_that_it_was_looked_at_and_again_while_messages_wait() {
    let (mut limit, mut leasing) = (Limit::new(10, 0, Time(0)), leasing(2, 400));
    passed(&mut limit, &mut leasing, 20, Time(1));
    assert_eq!(leasing.take_touched(9), [KEY]);
    assert!(limit.tell(KEY, true, &mut leasing, Time(1)).is_some_and(|told| told.is_short));
    assert_eq!(leasing.take_touched(9), [KEY]);
    assert!(limit.tell(KEY, false, &mut leasing, Time(1)).is_some_and(|told| told.is_short));
    assert_eq!(leasing.take_touched(9), []);
    limit.grant(&grant(1, 1), &mut leasing);
    assert_eq!(leasing.take_touched(9), [KEY], "what was given is told of, so that it can be taken back");
}

#[test]
fn a_limit_is_told_of_when_half_of_its_lease_is_gone_or_a_second_has_passed() {
    let (mut limit, mut leasing) = (Limit::new(100, 0, Time(0)), leasing(1, 400));
    assert!(limit.take(KEY, &mut leasing, Time(1)));
    assert_eq!(leasing.take_touched(9), [KEY]);
    assert!(limit.tell(KEY, false, &mut leasing, Time(1)).is_some());
    limit.grant(&grant(1, 1), &mut leasing);
    assert_eq!(leasing.take_touched(9), [KEY]);
    assert!(limit.tell(KEY, false, &mut leasing, Time(1)).is_some());
    assert_eq!(passed(&mut limit, &mut leasing, 49, Time(2)), 49);
    assert_eq!(leasing.take_touched(9), []);
    assert_eq!(passed(&mut limit, &mut leasing, 2, Time(2)), 2);
    assert_eq!(leasing.take_touched(9), [KEY]);
    assert!(limit.tell(KEY, false, &mut leasing, Time(2)).is_some());
    limit.grant(&grant(2, 60), &mut leasing);
    leasing.take_touched(9);
    limit.tell(KEY, false, &mut leasing, Time(2));
    assert_eq!(passed(&mut limit, &mut leasing, 1, at_ms(900)), 1);
    assert_eq!(leasing.take_touched(9), []);
    assert_eq!(passed(&mut limit, &mut leasing, 1, at_ms(1_100)), 1);
    assert_eq!(leasing.take_touched(9), [KEY]);
}
