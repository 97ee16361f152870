//! Limits that count over all nodes, as one shard meets them: what it tells, what it passes, when what waits goes on.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

mod common;

use common::*;
use smpp_pdu::{CommandId, CommandStatus};
use smpp_shards::settings::{CustomerSettings, VendorSettings};
use smpp_shards::{
    Action, Command, Conn, CustomerId, Grant, Leases, LimitKey, LimitUse, Reply, Settings, ShardId, VendorId, Verdict,
};

const THROTTLED: CommandStatus = CommandStatus::ESME_RTHROTTLED;
const CUSTOMER: LimitKey = LimitKey::Customer(CustomerId(0));
const VENDOR: LimitKey = LimitKey::Vendor(VendorId(0));

fn limited(smpp_throughput: u32, throughput: u32) -> Settings {
    Settings {
        customers: vec![CustomerSettings { smpp_throughput, ..customer("acme") }],
        vendors: vec![VendorSettings { throughput, ..vendor("north") }],
        ..settings()
    }
}

impl Stage {
    fn ask(&mut self, command: Command) -> Reply {
        self.shard.command(1, command, self.now, &mut self.out);
        self.drain_actions();
        match self.actions.pop() {
            Some(Action::Reply { ticket: 1, reply }) => reply,
            other => panic!("no reply: {other:?}"),
        }
    }

    fn lease(&mut self, grants: &[(LimitKey, u64, i64)]) {
        let grant = |(key, turn, tokens)| Grant { key, turn, tokens, share_permille: 0 };
        let grants = grants.iter().copied().map(grant).collect();
        let leases = Leases { nodes: 3, lease_ms: 200, fresh_ms: 400, grants };
        assert_eq!(self.ask(Command::Lease(leases)), Reply::Leased);
    }

    fn used(&mut self, limit: usize) -> Vec<LimitUse> {
        match self.ask(Command::UsedLimits { limit }) {
            Reply::UsedLimits(used) => used,
            other => panic!("no list: {other:?}"),
        }
    }

    /// Binds that the shard has told the end of.
    fn binds_over(&mut self) -> usize {
        self.drain_actions();
        let before = self.actions.len();
        self.actions.retain(|action| !matches!(action, Action::BindOver { customer: CustomerId(0) }));
        before - self.actions.len()
    }

    /// Submits so many at once; how many have gone to the vendor, and how many were throttled.
    fn submits(&mut self, customer: Conn, link: Conn, count: u32) -> (usize, usize) {
        (1..=count).for_each(|sequence| self.feed(customer, &submit(sequence, &message(b"hello"))));
        let throttled = self.pdus(customer);
        assert!(throttled.iter().all(|answer| answer.status == THROTTLED), "{throttled:?}");
        (self.pdus(link).len(), throttled.len())
    }
}

#[test]
fn a_customer_s_shard_spends_its_lease_and_tells_what_it_did() {
    let (mut stage, links) = Stage::with_vendors(limited(100, 0));
    stage.lease(&[]);
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    assert_eq!(stage.used(9), [], "nobody has sent anything");
    assert_eq!(stage.submits(customer, links[0], 10), (1, 9), "what a node may spend before its first lease");
    let told = LimitUse { key: CUSTOMER, rate: 100, burst: 100, tokens: 0, made: 1, is_short: true, turn: 0 };
    assert_eq!(stage.used(9), [told]);
    assert_eq!(stage.used(9), []);
    stage.lease(&[(CUSTOMER, 5, 7)]);
    assert_eq!(stage.submits(customer, links[0], 10), (7, 3));
    assert_eq!(stage.used(9), [LimitUse { turn: 5, ..told }]);
}

#[test]
fn what_waits_for_a_vendor_goes_when_a_lease_comes_and_is_asked_for_until_then() {
    let (mut stage, links) = Stage::with_vendors(limited(0, 100));
    stage.lease(&[]);
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    assert_eq!(stage.submits(customer, links[0], 10), (1, 0));
    let told = LimitUse { key: VENDOR, rate: 100, burst: 100, tokens: 0, made: 1, is_short: true, turn: 0 };
    assert_eq!(stage.used(9), [told]);
    assert_eq!(stage.used(9), [told], "messages wait");
    stage.lease(&[(VENDOR, 1, 4)]);
    assert_eq!(stage.pdus(links[0]).len(), 4);
    stage.lease(&[(VENDOR, 2, 20)]);
    assert_eq!(stage.pdus(links[0]).len(), 5);
    assert_eq!(stage.used(9), [LimitUse { tokens: 15, is_short: false, turn: 2, ..told }]);
    assert_eq!(stage.used(9), [], "nothing waits any more");
}

#[test]
fn what_waits_for_a_vendor_goes_on_at_the_node_s_share_when_nothing_is_heard() {
    let (mut stage, links) = Stage::with_vendors(limited(0, 100));
    stage.lease(&[]);
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    assert_eq!(stage.submits(customer, links[0], 90), (1, 0));
    stage.pass_ms(390);
    assert_eq!(stage.pdus(links[0]).len(), 0, "leases are fresh");
    stage.pass_ms(1_510);
    let passed = stage.pdus(links[0]).len();
    assert!((49..=51).contains(&passed), "a third of the limit for a second and a half: {passed}");
}

#[test]
fn limits_beyond_the_bound_are_told_the_next_time() {
    let (mut stage, links) = Stage::with_vendors(limited(100, 100));
    stage.lease(&[]);
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.submits(customer, links[0], 1);
    let keys = |used: Vec<LimitUse>| used.iter().map(|used| used.key).collect::<Vec<_>>();
    assert_eq!(keys(stage.used(1)), [CUSTOMER]);
    assert_eq!(keys(stage.used(1)), [VENDOR]);
    assert_eq!(keys(stage.used(1)), []);
}

#[test]
fn every_counted_bind_is_told_the_end_of_once() {
    let mut settings = settings();
    settings.customers[0].smpp_max_binds = 1;
    let (mut stage, _) = Stage::with_vendors(settings);
    stage.lease(&[]);
    let first = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let second = stage.accept();
    assert_eq!(stage.bind(second, 0, CommandId::BIND_RECEIVER, 0x34).status, CommandStatus::ESME_RBINDFAIL);
    assert_eq!(stage.binds_over(), 1, "it was refused here after all");
    stage.feed(first, &header_only(CommandId::UNBIND, 2));
    assert_eq!(stage.pdu(first).command, CommandId::UNBIND_RESP);
    assert_eq!(stage.binds_over(), 1);
    assert!(stage.was_closed(first));
    let verdict = Verdict { reason: None, conn: second, ticket: 7, result: Ok((CustomerId(0), ShardId(0))) };
    stage.shard.authenticated(verdict, stage.now, &mut stage.out);
    assert_eq!(stage.binds_over(), 1, "nobody waits for that verdict any more");
}

#[test]
fn without_other_nodes_no_bind_is_told_of() {
    let (mut stage, _) = Stage::with_vendors(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.feed(customer, &header_only(CommandId::UNBIND, 2));
    assert_eq!(stage.binds_over(), 0);
}
