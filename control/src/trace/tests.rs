//! Traces with the test in the shard's place.

use smpp_shards::trace::{Direction, TraceTap};
use smpp_shards::{Conn, CustomerId};

use super::pcap::FILE_HEADER_BYTES;
use super::*;

const LIMITS: TraceLimits = TraceLimits { seconds: 60, max_bytes: 1_000 };

fn name(number: u32) -> SessionName {
    SessionName { conn: Conn(number), generation: 0 }
}

fn session(number: u32) -> TraceKey {
    TraceKey::Session(ShardId(0), name(number))
}

fn traced() -> Traced {
    let (peer, local) = ("192.0.2.1:40000".parse().unwrap(), "192.0.2.2:2775".parse().unwrap());
    Traced { customer: Some(CustomerId(0)), peer, local }
}

fn begun(traces: &Arc<Traces>, number: u32, limits: TraceLimits) -> TraceTap {
    let (beginning, order) = traces
        .begin(session(number), TraceTarget::Session(name(number)), limits)
        .map_err(|error| panic!("{error:?}"))
        .unwrap();
    assert_eq!(order.millis, u64::from(limits.seconds) * 1_000);
    let state = beginning.begun(traced()).unwrap();
    assert_eq!((state.key, state.ended, state.pdus), (session(number), None, 0));
    order.tap
}

fn refused(traces: &Arc<Traces>, number: u32) -> Option<BeginError> {
    traces.begin(session(number), TraceTarget::Session(name(number)), LIMITS).err()
}

fn state(traces: &Traces, number: u32) -> TraceState {
    traces.states().into_iter().find(|state| state.key == session(number)).unwrap()
}

fn sessions(traces: &Traces) -> Vec<u32> {
    let number = |state: &TraceState| match state.key {
        TraceKey::Session(_, name) => name.conn.0,
        TraceKey::Vendor(vendor) => panic!("nobody traces {vendor:?}"),
    };
    traces.states().iter().map(number).collect()
}

#[test]
fn a_trace_grows_while_it_runs_and_is_kept_when_it_has_ended() {
    let traces = Arc::new(Traces::default());
    assert!(traces.file(session(1)).is_none());
    let mut tap = begun(&traces, 1, LIMITS);
    assert_eq!(traces.file(session(1)).map(|file| file.len()), Some(FILE_HEADER_BYTES));
    tap.put(Direction::Received, 1, &[0; 16]);
    assert_eq!(traces.file(session(1)).map(|file| file.len()), Some(FILE_HEADER_BYTES + 16 + 40 + 16));
    tap.put(Direction::Sent, 1, &[0; 16]);
    tap.end(TraceEnd::Session);
    let ended = state(&traces, 1);
    assert_eq!((ended.pdus, ended.dropped, ended.ended), (2, 0, Some("session")));
    assert_eq!(traces.file(session(1)).map(|file| file.len()), Some(ended.bytes));
    let later = Instant::now() + KEPT_TIME - Duration::from_secs(60);
    traces.end_second(later);
    assert!(traces.file(session(1)).is_some());
    traces.end_second(later + Duration::from_secs(61));
    assert!(traces.file(session(1)).is_none());
}

#[test]
fn a_trace_ends_when_its_file_is_as_large_as_it_may_be() {
    let traces = Arc::new(Traces::default());
    let mut tap = begun(&traces, 1, LIMITS);
    (0..20).for_each(|_| tap.put(Direction::Received, 1, &[0; 16]));
    assert!(tap.is_wanted());
    let ended = state(&traces, 1);
    let fitting = (1_000 - FILE_HEADER_BYTES) / 72;
    assert_eq!((ended.pdus, ended.ended), (fitting as u64, Some("size")));
    assert!(ended.bytes <= 1_000);
    assert!(!tap.is_wanted(), "the shard notices");
    begun(&traces, 1, LIMITS);
    assert_eq!(state(&traces, 1).pdus, 0, "another one takes its place");
}

#[test]
fn what_the_shard_left_out_is_told() {
    let traces = Arc::new(Traces::default());
    let mut tap = begun(&traces, 1, TraceLimits { max_bytes: BYTES_MAX, ..LIMITS });
    let put = 2 * smpp_shards::bounds::TRACE_RING_BYTES / 1_000;
    (0..put).for_each(|_| tap.put(Direction::Received, 1, &[0; 1_000]));
    while traces.fill() {}
    tap.end(TraceEnd::Time);
    let ended = state(&traces, 1);
    assert_eq!((ended.pdus + ended.dropped, ended.ended), (put as u64, Some("time")));
    assert!(ended.dropped > 0);
}

#[test]
fn one_that_runs_is_ended_when_it_is_forgotten() {
    let traces = Arc::new(Traces::default());
    let tap = begun(&traces, 1, LIMITS);
    assert_eq!(traces.forget(session(1)).and_then(|state| state.ended), Some("stopped"));
    assert!(!tap.is_wanted());
    assert!(traces.forget(session(1)).is_none());
    begun(&traces, 2, LIMITS).end(TraceEnd::Time);
    assert_eq!(traces.forget(session(2)).and_then(|state| state.ended), Some("time"));
}

#[test]
fn a_shard_that_has_gone_without_a_word_ends_its_traces() {
    let traces = Arc::new(Traces::default());
    drop(begun(&traces, 1, LIMITS));
    assert_eq!(state(&traces, 1).ended, Some("session"));
}

#[test]
fn one_of_a_session_runs_at_a_time_and_a_few_in_all() {
    let traces = Arc::new(Traces::default());
    let mut taps: Vec<TraceTap> = (0..RUNNING_MAX as u32).map(|number| begun(&traces, number, LIMITS)).collect();
    assert_eq!(refused(&traces, 1), Some(BeginError::Running));
    assert_eq!(refused(&traces, 9), Some(BeginError::TooMany));
    taps.remove(1).end(TraceEnd::Time);
    taps.push(begun(&traces, 9, LIMITS));
    assert_eq!(refused(&traces, 1), Some(BeginError::TooMany));
    assert!(traces.file(session(1)).is_some(), "what is refused takes nothing away");
}

#[test]
fn one_that_the_shard_has_not_begun_counts_and_leaves_nothing_when_it_is_given_up() {
    let traces = Arc::new(Traces::default());
    let begin = |number| {
        traces
            .begin(session(number), TraceTarget::Session(name(number)), LIMITS)
            .map_err(|error| panic!("{error:?}"))
            .unwrap()
    };
    let mut begun: Vec<_> = (0..RUNNING_MAX as u32).map(begin).collect();
    assert_eq!(refused(&traces, 0), Some(BeginError::Running));
    assert_eq!(refused(&traces, 9), Some(BeginError::TooMany));
    assert!(traces.states().is_empty() && traces.file(session(0)).is_none() && traces.forget(session(0)).is_none());
    let (beginning, order) = begun.remove(0);
    drop(beginning);
    assert!(!order.tap.is_wanted());
    begin(9);
}

#[test]
fn the_one_that_ended_first_makes_room_for_others() {
    let traces = Arc::new(Traces::default());
    let ended_at = |number: u32| {
        let tap = begun(&traces, number, LIMITS);
        move || tap.end(TraceEnd::Time)
    };
    let (first, second) = (ended_at(1), ended_at(2));
    second();
    traces.fill();
    first();
    traces.fill();
    (3..=KEPT_MAX as u32 + 1).for_each(|number| ended_at(number)());
    assert!(!sessions(&traces).contains(&2) && sessions(&traces).contains(&1), "{:?}", sessions(&traces));
    assert_eq!(sessions(&traces).len(), KEPT_MAX);
}

#[test]
fn large_ones_make_room_before_they_are_many() {
    let traces = Arc::new(Traces::default());
    let large = TraceLimits { max_bytes: BYTES_MAX, ..LIMITS };
    for number in 0..6 {
        let mut tap = begun(&traces, number, large);
        for _ in 0..BYTES_MAX / 70_000 {
            tap.put(Direction::Sent, 1, &[0; 69_000]);
            traces.fill();
        }
        tap.end(TraceEnd::Time);
    }
    assert_eq!(sessions(&traces), [2, 3, 4, 5]);
    let bytes: usize = traces.states().iter().map(|state| state.bytes).sum();
    assert!(bytes > 60_000_000 && bytes <= KEPT_BYTES_MAX, "{bytes}");
}
