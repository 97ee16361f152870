//! How long a large configuration takes: 10,000 customers, 1,000 vendors and 10,000 rules compiled, and put in force on a
//! shard turn by turn. Prints each figure beside its bar and, with one that is missed, exits 1.
//!
//!     cargo run --release -p smpp-shards --example swap

use std::sync::Arc;
use std::time::{Duration, Instant};

use smpp_pdu::{CommandId, CommandStatus};
use smpp_shards::routing::Patterns;
use smpp_shards::settings::RuleSettings;
use smpp_shards::{Action, Settings, Snapshot};

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Stage, customer, message, rule, settings, submit, submit_resp, vendor};

const CUSTOMERS: usize = 10_000;
const VENDORS: usize = 1_000;
const RULES: usize = 10_000;

/// What the whole of it may take.
const COMPILE_MAX: Duration = Duration::from_secs(2);

/// What one turn may take.
const TURN_MAX: Duration = Duration::from_millis(1);

/// Runs of each kind, of which the shortest longest turn counts: what the machine did meanwhile is no turn's fault.
const ROUNDS: usize = 5;

/// Messages of the comparison.
const MESSAGES: u32 = 200_000;

/// The least part of the small configuration's speed.
const SPEED_LEAST: f64 = 0.9;

fn main() {
    let mut is_missed = false;
    let mut tell = |what: &str, took: Duration, most: Duration| {
        let mark = if took > most { "   MISSED" } else { "" };
        println!("{what:<56} {:>9.3} ms of {:>6} ms{mark}", took.as_secs_f64() * 1e3, most.as_millis());
        is_missed |= took > most;
    };
    let (first, compiled) = timed(|| Snapshot::build(large(0), 2, 1).expect("it is right"));
    tell("compiled for the first time", compiled, COMPILE_MAX);
    let mut patterns = Patterns::default();
    let (second, _) = timed(|| first.succeed(large(0), &mut patterns).expect("it is right"));
    let (_, compiled) = timed(|| second.succeed(large(1), &mut patterns).expect("it is right"));
    tell("compiled after the one before", compiled, COMPILE_MAX);
    let kinds: [(&str, Settings, Settings); 5] = [
        ("longest turn: everybody is new", settings(), large(0)),
        ("longest turn: nothing changes", large(0), large(0)),
        ("longest turn: one vendor changes", large(0), one_changed()),
        ("longest turn: every limit changes", large(0), large(1)),
        ("longest turn: everybody is removed", large(0), settings()),
    ];
    for (what, before, after) in kinds {
        let turn = (0..ROUNDS).map(|_| longest_turn(before.clone(), after.clone())).min();
        tell(what, turn.unwrap_or_default(), TURN_MAX);
    }
    let stage = Stage::new(large(0));
    let report = (0..ROUNDS).map(|_| timed(|| stage.shard.report()).1).min();
    tell("a report", report.unwrap_or_default(), TURN_MAX);
    let (_, freed) = timed(|| drop(first));
    println!("{:<56} {:>9.3} ms, not on a shard's thread", "a configuration freed", freed.as_secs_f64() * 1e3);
    // In turn, so that both see the same machine.
    let mut speeds: Vec<f64> =
        (0..ROUNDS).map(|_| speed(settings()).as_secs_f64() / speed(large(0)).as_secs_f64()).collect();
    speeds.sort_by(f64::total_cmp);
    let speed = speeds[ROUNDS / 2];
    println!("{:<56} {speed:>9.3} of {SPEED_LEAST:>6}", "messages a second, against the smallest configuration");
    if is_missed || speed < SPEED_LEAST {
        std::process::exit(1);
    }
}

/// The usual customer and vendor in front, so that messages go as with the small one. A tenth of the rules are for everybody,
/// the others for one customer each; one in fifty is an expression that no trie holds.
fn large(variant: u32) -> Settings {
    let mut settings = settings();
    settings.customers.extend((1..CUSTOMERS).map(|number| {
        let mut customer = customer(&format!("c{number}"));
        customer.smpp_throughput = 100 + variant;
        customer.smpp_allowed_ips = vec!["10.0.0.0/8".into()];
        customer.allowed_source_addresses = vec![format!("1202{number:07}"), format!("ACME{number}*")];
        customer
    }));
    settings.vendors.extend((1..VENDORS).map(|number| {
        let mut vendor = vendor(&format!("v{number}"));
        vendor.throughput = 1_000 + variant;
        vendor
    }));
    settings.routing_rules.extend((1..RULES).map(|number| {
        let dest = match number % 50 {
            0 => format!("^44(1|2)[{}-9]{number}$", number % 9),
            _ => format!("^9{number}"),
        };
        let is_own = number % 10 != 0 || number % 50 == 0;
        let customer = is_own.then(|| format!("c{}", 1 + number % (CUSTOMERS - 1)));
        RuleSettings { customer, ..rule(&dest, &format!("v{}", 1 + number % (VENDORS - 1))) }
    }));
    settings
}

fn one_changed() -> Settings {
    let mut settings = large(0);
    settings.vendors[500].throughput = 7;
    settings
}

fn longest_turn(before: Settings, after: Settings) -> Duration {
    let mut stage = Stage::new(before);
    stage.drain_actions();
    stage.actions.clear();
    let next = stage.shard.snapshot().succeed(after, &mut Patterns::default()).expect("it is right");
    let version = next.version;
    let (_, mut longest) = timed(|| stage.shard.apply(Arc::new(next), &mut stage.out));
    let mut given_back = Vec::new();
    for _ in 0..10_000 {
        let (_, turn) = timed(|| stage.shard.tick(stage.now, &mut stage.out));
        longest = longest.max(turn);
        // What a host hands to the control thread.
        stage.drain_actions();
        given_back.extend(stage.actions.drain(..).filter(|action| matches!(action, Action::Retire { .. })));
        if !given_back.is_empty() {
            break;
        }
    }
    assert_eq!(stage.shard.report().snapshot_version, version);
    longest
}

fn speed(settings: Settings) -> Duration {
    let (mut stage, links) = Stage::with_vendors(settings);
    let session = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let mut exchange = |count: u32| {
        for number in 1..=count {
            stage.feed(session, &submit(number, &message(b"hello")));
            let sent = stage.pdu(links[0]);
            stage.feed(links[0], &submit_resp(sent.sequence, b"1"));
            assert_eq!(stage.pdu(session).status, CommandStatus::ESME_ROK);
        }
    };
    exchange(MESSAGES / 10);
    timed(|| exchange(MESSAGES)).1
}

fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = what();
    (value, start.elapsed())
}
