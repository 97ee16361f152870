//! Who gets in, who gets which answer, and what it costs.

use super::failing::HELD_MAX;
use super::pool::JOBS_MAX;
use super::*;
use crate::config;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A low cost keeps the tests quick; the decoy takes its cost from here too.
fn quick_hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

/// In which refusals are not held back.
fn snapshot(shards: u16, extra: &str) -> Arc<Snapshot> {
    snapshot_with_delay(0, shards, extra)
}

fn snapshot_with_delay(delay_ms: u64, shards: u16, extra: &str) -> Arc<Snapshot> {
    let text = format!(
        r#"
        gateway.accept = "relay"
        auth.failure_delay_ms = {delay_ms}
        [[customers]]
        smpp_system_id = "plain"
        smpp_password = "secret12"
        [[customers]]
        smpp_system_id = "hashed"
        smpp_password_hash = "{}"
        [[customers]]
        smpp_system_id = "fenced"
        smpp_password = "secret12"
        smpp_allowed_ips = ["10.0.0.0/8"]
        [[customers]]
        smpp_system_id = "gone"
        smpp_password = "secret12"
        active = false
        [[vendors]]
        instance_name = "north"
        host = "127.0.0.1"
        port = 3601
        {extra}"#,
        quick_hash("secret12")
    );
    let configuration = config::parse(Path::new("test.toml"), &text, &|_| None).unwrap();
    Arc::new(configuration.snapshot(shards, 1).unwrap())
}

fn request(system_id: &str, password: &str, peer: IpAddr, ticket: u32) -> AuthRequest {
    AuthRequest {
        shard: ShardId(1),
        conn: Conn(5),
        ticket,
        system_id: system_id.into(),
        password: password.into(),
        peer,
        tls: false,
        certificate: None,
    }
}

struct Bench {
    authenticator: Authenticator,
    waker: ControlWaker,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new(snapshot: Arc<Snapshot>, shards: usize) -> Self {
        let waker = ControlWaker::default();
        let authenticator = Authenticator::start(snapshot, shards, waker.clone()).unwrap();
        Self { authenticator, waker, runtime: tokio::runtime::Builder::new_current_thread().build().unwrap() }
    }

    /// Waits until so many answers are there.
    fn finished(&mut self, count: usize) -> Vec<Answer> {
        let mut answers = Vec::new();
        while answers.len() < count {
            self.runtime.block_on(self.waker.woken());
            self.authenticator.finish(Instant::now(), &mut answers);
        }
        answers
    }

    fn result(&mut self, system_id: &str, password: &str, peer: IpAddr) -> Result<CustomerId, CommandStatus> {
        let answer = match self.authenticator.check(request(system_id, password, peer, 9), Instant::now()) {
            Some(answer) => answer,
            None => self.finished(1).remove(0),
        };
        assert_eq!((answer.0, answer.1.conn, answer.1.ticket), (ShardId(1), Conn(5), 9));
        answer.1.result.map(|(customer, _)| customer)
    }
}

#[test]
fn every_bind_gets_the_status_that_the_specification_names() {
    let mut bench = Bench::new(snapshot(2, ""), 2);
    let ten = IpAddr::from([10, 1, 2, 3]);
    let mapped = IpAddr::V6(Ipv4Addr::new(10, 1, 2, 3).to_ipv6_mapped());
    for (system_id, password, peer, expected) in [
        ("plain", "secret12", LOCAL, Ok(CustomerId(0))),
        ("plain", "secret1", LOCAL, Err(CommandStatus::ESME_RINVPASWD)),
        ("plain", "", LOCAL, Err(CommandStatus::ESME_RINVPASWD)),
        ("hashed", "secret12", LOCAL, Ok(CustomerId(1))),
        ("hashed", "secret13", LOCAL, Err(CommandStatus::ESME_RINVPASWD)),
        ("fenced", "secret12", ten, Ok(CustomerId(2))),
        ("fenced", "secret12", mapped, Ok(CustomerId(2))),
        ("fenced", "secret12", LOCAL, Err(CommandStatus::ESME_RBINDFAIL)),
        ("fenced", "secret12", IpAddr::V6(Ipv6Addr::LOCALHOST), Err(CommandStatus::ESME_RBINDFAIL)),
        ("gone", "secret12", LOCAL, Err(CommandStatus::ESME_RINVSYSID)),
        ("nobody", "secret12", LOCAL, Err(CommandStatus::ESME_RINVSYSID)),
        ("", "", LOCAL, Err(CommandStatus::ESME_RINVSYSID)),
        ("Plain", "secret12", LOCAL, Err(CommandStatus::ESME_RINVSYSID)),
    ] {
        assert_eq!(bench.result(system_id, password, peer), expected, "{system_id} {password} {peer}");
    }
}

#[test]
fn hashes_of_all_three_prefixes_are_understood() {
    for prefix in ["$2a$", "$2b$", "$2y$"] {
        let hash = quick_hash("geheim").replace("$2b$", prefix);
        let extra = format!("[[customers]]\nsmpp_system_id = \"other\"\nsmpp_password_hash = \"{hash}\"");
        let mut bench = Bench::new(snapshot(1, &extra), 1);
        assert_eq!(bench.result("other", "geheim", LOCAL), Ok(CustomerId(4)), "{prefix}");
    }
}

#[test]
fn a_password_that_was_right_once_is_not_hashed_again() {
    let mut bench = Bench::new(snapshot(1, ""), 1);
    assert!(bench.authenticator.check(request("hashed", "secret12", LOCAL, 1), Instant::now()).is_none());
    assert!(bench.finished(1)[0].1.result.is_ok());
    assert!(
        bench
            .authenticator
            .check(request("hashed", "secret12", LOCAL, 2), Instant::now())
            .is_some_and(|it| it.1.result.is_ok())
    );
    assert!(bench.authenticator.check(request("hashed", "wrong", LOCAL, 3), Instant::now()).is_none());
    assert_eq!(bench.finished(1)[0].1.result, Err(CommandStatus::ESME_RINVPASWD));
    assert!(bench.authenticator.check(request("hashed", "wrong", LOCAL, 4), Instant::now()).is_none());
    bench.finished(1);
    assert_eq!(bench.authenticator.waiting, 0);
}

#[test]
fn equal_binds_of_a_storm_share_one_check() {
    let mut bench = Bench::new(snapshot(1, ""), 1);
    let mut quick = 0;
    for ticket in 0..200 {
        quick += usize::from(
            bench.authenticator.check(request("hashed", "secret12", LOCAL, ticket), Instant::now()).is_some(),
        );
        assert!(bench.authenticator.checking.len() <= 1);
    }
    assert_eq!(quick, 0);
    let answers = bench.finished(200);
    assert!(answers.iter().all(|(_, verdict)| verdict.result.is_ok()));
    let mut tickets: Vec<u32> = answers.iter().map(|(_, verdict)| verdict.ticket).collect();
    tickets.sort_unstable();
    assert_eq!(tickets, (0..200).collect::<Vec<_>>());
}

#[test]
fn an_unknown_name_costs_a_hash_where_passwords_are_hashed() {
    let mut bench = Bench::new(snapshot(1, ""), 1);
    for (system_id, password) in [("nobody", "secret12"), ("gone", "secret12"), ("plain", "wrong")] {
        assert!(
            bench.authenticator.check(request(system_id, password, LOCAL, 1), Instant::now()).is_none(),
            "{system_id}"
        );
        bench.finished(1);
    }
    // The decoy is a real customer's hash, and its password opens no other name.
    assert_eq!(bench.result("nobody", "secret12", LOCAL), Err(CommandStatus::ESME_RINVSYSID));
    assert!(bench.authenticator.verified.order.is_empty());
}

#[test]
fn a_full_queue_answers_system_error_at_once() {
    let mut bench = Bench::new(snapshot(1, ""), 1);
    // So that on a slow machine none of them is given up.
    bench.authenticator.patience = Duration::from_secs(3_600);
    let flood = JOBS_MAX + 200;
    let refused: Vec<Answer> = (0..flood)
        .filter_map(|number| {
            bench
                .authenticator
                .check(request("hashed", &format!("guess{number}"), LOCAL, number as u32), Instant::now())
        })
        .collect();
    assert!(!refused.is_empty());
    assert!(refused.iter().all(|(_, verdict)| verdict.result == Err(CommandStatus::ESME_RSYSERR)));
    let answers = bench.finished(flood - refused.len());
    assert!(answers.iter().all(|(_, verdict)| verdict.result == Err(CommandStatus::ESME_RINVPASWD)));
    assert_eq!((bench.authenticator.waiting, bench.authenticator.checking.len()), (0, 0));
}

#[test]
fn a_check_that_comes_too_late_is_not_made() {
    let mut bench = Bench::new(snapshot(1, ""), 1);
    bench.authenticator.patience = Duration::ZERO;
    assert!(bench.authenticator.check(request("hashed", "secret12", LOCAL, 1), Instant::now()).is_none());
    assert_eq!(bench.finished(1)[0].1.result, Err(CommandStatus::ESME_RSYSERR));
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut verified = Verified::default();
    for number in 0..VERIFIED_MAX as u32 + 10 {
        let mut proof = Proof::default();
        proof[..4].copy_from_slice(&number.to_le_bytes());
        verified.insert(proof);
        verified.insert(proof);
    }
    assert_eq!((verified.order.len(), verified.proofs.len()), (VERIFIED_MAX, VERIFIED_MAX));
    assert!(!verified.contains(&Proof::default()));
}

#[test]
fn a_customer_gets_the_emptiest_shard_and_keeps_it() {
    // The one vendor lives on shard 0, so that the first customer goes to shard 1.
    let mut bench = Bench::new(snapshot(2, ""), 2);
    let mut home = |system_id: &str, peer: IpAddr| {
        let verdict = bench.authenticator.check(request(system_id, "secret12", peer, 1), Instant::now());
        verdict.and_then(|answer| answer.1.result.ok()).map(|(_, home)| home)
    };
    let ten = IpAddr::from([10, 0, 0, 1]);
    assert_eq!(home("plain", LOCAL), Some(ShardId(1)));
    assert_eq!(home("fenced", ten), Some(ShardId(0)));
    assert_eq!(home("plain", LOCAL), Some(ShardId(1)));
    assert_eq!(home("fenced", ten), Some(ShardId(0)));
}

#[test]
fn a_hash_made_here_opens_its_own_customer() {
    assert!(bcrypt::verify("geheim", &hash_password("geheim")).unwrap());
}

/// Fails so often with a customer whose password is not hashed, no customer having a hash; what each refusal waits.
fn fail(authenticator: &mut Authenticator, peer: IpAddr, times: usize, now: Instant) -> Vec<Option<Duration>> {
    let mut fail_once = || {
        let before = authenticator.held.len();
        let answer = authenticator.check(request("plain", "wrong", peer, 1), now);
        match answer {
            Some(_) => None,
            None => {
                assert_eq!(authenticator.held.len(), before + 1);
                authenticator.held.last().map(|until| until - now)
            }
        }
    };
    (0..times).map(|_| fail_once()).collect()
}

fn without_hashes() -> Authenticator {
    let text = "gateway.accept = \"relay\"\n[[customers]]\nsmpp_system_id = \"plain\"\nsmpp_password = \"secret12\"\n";
    let configuration = config::parse(Path::new("test.toml"), text, &|_| None).unwrap();
    Authenticator::start(Arc::new(configuration.snapshot(1, 1).unwrap()), 1, ControlWaker::default()).unwrap()
}

#[test]
fn an_address_that_keeps_failing_waits_ever_longer_and_no_other_does() {
    let (mut authenticator, now) = (without_hashes(), Instant::now());
    let waits = fail(&mut authenticator, LOCAL, 7, now);
    assert_eq!(
        waits,
        [0, 0, 250, 500, 1_000, 2_000, 2_000].map(|wait| (wait > 0).then_some(Duration::from_millis(wait)))
    );
    let other = IpAddr::from([127, 0, 0, 2]);
    assert!(authenticator.check(request("plain", "wrong", other, 2), now).is_some());
    // One that knows the password does not wait, and its address is as new afterwards.
    let now = now + Duration::from_secs(10);
    assert!(authenticator.check(request("plain", "secret12", LOCAL, 3), now).is_some_and(|it| it.1.result.is_ok()));
    assert_eq!(fail(&mut authenticator, LOCAL, 3, now), [None, None, Some(Duration::from_millis(250))]);
}

#[test]
fn a_refusal_that_was_held_back_leaves_when_its_time_has_come() {
    let (mut authenticator, now) = (without_hashes(), Instant::now());
    fail(&mut authenticator, LOCAL, 3, now);
    let due = now + Duration::from_millis(250);
    assert_eq!(authenticator.next_release(), Some(due));
    let mut answers = Vec::new();
    authenticator.finish(due - Duration::from_millis(1), &mut answers);
    assert!(answers.is_empty());
    authenticator.finish(due, &mut answers);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].1.result, Err(CommandStatus::ESME_RINVPASWD));
    assert_eq!(authenticator.next_release(), None);
}

#[test]
fn a_flood_of_failing_binds_is_held_back_within_a_bound_and_counted() {
    let (mut authenticator, now) = (without_hashes(), Instant::now());
    let waits = fail(&mut authenticator, LOCAL, 2 + HELD_MAX, now);
    assert!(waits[2..].iter().all(Option::is_some));
    assert_eq!(fail(&mut authenticator, LOCAL, 10, now), [None; 10], "answered at once");
    authenticator.end_second(now);
    let figures = authenticator.failing_figures();
    let figure = |figure: &std::sync::atomic::AtomicU64| figure.load(Ordering::Relaxed);
    let held = HELD_MAX as u64;
    assert_eq!((figure(&figures.failed), figure(&figures.delayed), figure(&figures.undelayed)), (held + 12, held, 10));
    assert_eq!((figure(&figures.held), figure(&figures.addresses)), (held, 1));
    let told: Vec<u64> = authenticator.take_news().iter().map(|news| news.failures).collect();
    assert_eq!(told, [5, 50, 500]);
}

#[test]
fn a_bind_that_could_not_be_checked_counts_against_nobody() {
    let mut bench = Bench::new(snapshot_with_delay(250, 1, ""), 1);
    bench.authenticator.patience = Duration::ZERO;
    for _ in 0..5 {
        assert!(bench.authenticator.check(request("hashed", "secret12", LOCAL, 1), Instant::now()).is_none());
        assert_eq!(bench.finished(1)[0].1.result, Err(CommandStatus::ESME_RSYSERR));
    }
    assert_eq!(bench.authenticator.failing.len(), 0);
}

#[test]
fn a_check_may_take_longer_than_the_bind_timer() {
    for (bind_timeout_ms, patience) in [(100, 30), (10_000, 30), (60_000, 60)] {
        let text = format!("gateway.accept = \"relay\"\nsmpp.bind_timeout_ms = {bind_timeout_ms}\n");
        let configuration = config::parse(Path::new("test.toml"), &text, &|_| None).unwrap();
        let snapshot = Arc::new(configuration.snapshot(1, 1).unwrap());
        let mut authenticator = Authenticator::start(Arc::clone(&snapshot), 1, ControlWaker::default()).unwrap();
        assert_eq!(authenticator.patience, Duration::from_secs(patience));
        authenticator.switch(snapshot);
        assert_eq!(authenticator.patience, Duration::from_secs(patience));
    }
}
