//! Several gateways and one Redis: limits and binds that count over all of them, whichever node the load is on, while a node
//! dies, and while Redis does not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use smpp_pdu::{CommandId, CommandStatus};

use crate::harness::esme::bind_pdu;
use crate::harness::message::submit_sm;
use crate::harness::redis::Redis;
use crate::harness::setup::PASSWORD;
use crate::harness::{Esme, Gateway, Setup, Shards, Vendor, ask_until, message, smsc, with_one_shard_and_with_two};
use crate::store::sent;

with_one_shard_and_with_two![
    a_customer_s_limit_holds_over_all_nodes_and_is_usable_wherever_the_load_is,
    a_vendor_s_limit_holds_over_all_nodes_and_what_waits_is_sent,
    a_node_alone_with_redis_has_the_whole_limit_at_once,
    binds_count_over_all_nodes_and_those_of_a_dead_node_end,
    of_many_binds_at_once_exactly_as_many_pass_as_may,
    a_node_that_stops_well_leaves_its_binds_free_at_once,
    without_redis_each_node_counts_its_own_binds_and_says_so,
];

/// Messages a second, and at once: so many that a machine which stands still for two seconds loses nothing of the limit.
const RATE: u64 = 150;
const BURST: u64 = 600;

/// `lease_ms` where nothing else is set, in seconds.
const LEASE: f64 = 0.2;

fn setup(shards: Shards, redis: &Redis, customer: &str, vendor: (&str, &str)) -> Setup {
    Setup::new(shards)
        .gateway("relay_deadline_ms = 60000")
        .smpp("enquire_link_ms = 0")
        .customer("acme", customer)
        .vendor("north", vendor.0.parse().unwrap(), vendor.1)
        .rule("north", "")
        .rows(&redis.rows())
        .rows("[store]\nkind = \"none\"")
}

/// Waits until each of them knows that there are so many.
fn wait_until_known(gateways: &[Gateway]) {
    for gateway in gateways {
        gateway.wait_for_metric("smpp_gateway_nodes", &[], |nodes| nodes == gateways.len() as f64);
    }
}

/// A customer that sends faster than it may, while it is told to.
struct Load {
    sends: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Load {
    fn start(gateway: &Gateway) -> Self {
        let (sends, ends, accepted) = (Arc::default(), Arc::default(), Arc::default());
        let esme = Esme::bound(gateway, "acme");
        let (its_sends, its_ends, its_accepted) = (Arc::clone(&sends), Arc::clone(&ends), Arc::clone(&accepted));
        let thread = thread::spawn(move || send(esme, &its_sends, &its_ends, &its_accepted));
        Self { sends, ends, accepted, thread }
    }

    fn set(&self, sends: bool) {
        self.sends.store(sends, Ordering::Relaxed);
    }

    fn end(self) -> u64 {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.accepted.load(Ordering::Relaxed)
    }
}

/// At most a thousand messages a second, five at a time, until it is told to end or the gateway has gone.
fn send(mut esme: Esme, sends: &AtomicBool, ends: &AtomicBool, accepted: &AtomicU64) {
    const AT_ONCE: usize = 5;
    while !ends.load(Ordering::Relaxed) {
        if sends.load(Ordering::Relaxed) {
            let octets: Vec<u8> = (0..AT_ONCE).flat_map(|_| submit_sm(esme.sequence(), &message(b"hello"))).collect();
            if esme.try_send(&octets).is_err() {
                return;
            }
            for _ in 0..AT_ONCE {
                let Some(answer) = esme.receive() else { return };
                assert_eq!(answer.command, CommandId::SUBMIT_SM_RESP);
                match answer.status {
                    CommandStatus::ESME_ROK => drop(accepted.fetch_add(1, Ordering::Relaxed)),
                    status => assert_eq!(status, CommandStatus::ESME_RTHROTTLED),
                }
            }
        }
        thread::sleep(Duration::from_millis(AT_ONCE as u64));
    }
}

fn a_customer_s_limit_holds_over_all_nodes_and_is_usable_wherever_the_load_is(shards: Shards) {
    let redis = Redis::start();
    let vendor = smsc(&[]);
    let limit = format!("smpp_throughput = {RATE}\nsmpp_burst = {BURST}");
    let address = vendor.address().to_string();
    let start = || setup(shards, &redis, &limit, (&address, "")).start();
    let mut gateways = vec![start(), start(), start()];
    wait_until_known(&gateways);
    let mut loads: Vec<Load> = gateways.iter().map(Load::start).collect();
    let begun = Instant::now();
    let set = |loads: &[Load], sending: &[bool]| loads.iter().zip(sending).for_each(|(load, sends)| load.set(*sends));

    // The burst is spent first; from then on the rate is all there is.
    set(&loads, &[true; 3]);
    ask_until("a burst that is spent", || (vendor.live().submits() > BURST + RATE).then_some(()));
    let (steady, before) = (Instant::now(), vendor.live().submits());
    thread::sleep(Duration::from_secs(3));
    set(&loads, &[false, true, false]);
    thread::sleep(Duration::from_secs(3));
    set(&loads, &[true; 3]);
    thread::sleep(Duration::from_secs(1));
    // One dies in the middle of it.
    drop(gateways.remove(0));
    loads.remove(0).thread.join().unwrap();
    thread::sleep(Duration::from_secs(3));
    redis.signal(Signal::STOP);
    gateways.iter().for_each(|gateway| gateway.wait_until_told(Some("this node goes on with its share")));
    thread::sleep(Duration::from_secs(1));
    redis.signal(Signal::CONT);
    gateways.iter().for_each(|gateway| gateway.wait_until_told(None));
    thread::sleep(Duration::from_secs(3));

    let (passed, steadily) = (vendor.live().submits() - before, steady.elapsed().as_secs_f64());
    let accepted: u64 = loads.into_iter().map(Load::end).sum();
    assert!(accepted > 0, "customers see what passes");
    let (all, seconds) = (vendor.live().submits(), begun.elapsed().as_secs_f64());
    let most = BURST as f64 + RATE as f64 * (seconds + LEASE);
    assert!(all as f64 <= most, "{all} passed in {seconds} s, and {most} may");
    // A lease was lost with the node that died, another one may have been spent before the count began.
    let least = 0.98 * RATE as f64 * steadily - 2.0 * LEASE * RATE as f64;
    assert!(passed as f64 >= least, "{passed} passed in {steadily} s, and {least} must");
    for gateway in gateways {
        assert!(gateway.metric("smpp_gateway_lease_renewals_total", &[]) > 0.0);
        assert!(gateway.metric("smpp_gateway_lease_failures_total", &[]) > 0.0);
        let (away, again) =
            (gateway.log.count(&["cannot be counted over all"]), gateway.log.count(&["over all nodes again"]));
        assert!(away >= 1 && away == again, "told once each time: {away}, {again}");
        gateway.end_well();
    }
}

fn a_vendor_s_limit_holds_over_all_nodes_and_what_waits_is_sent(shards: Shards) {
    const MESSAGES: usize = 300;
    let redis = Redis::start();
    let vendor = smsc(&[]);
    let address = vendor.address().to_string();
    let start = || setup(shards, &redis, "", (&address, "throughput = 100")).start();
    let gateways = [start(), start()];
    wait_until_known(&gateways);
    let mut esmes: Vec<Esme> = gateways.iter().map(|gateway| Esme::bound(gateway, "acme")).collect();
    let begun = Instant::now();
    for esme in &mut esmes {
        let octets: Vec<u8> = (0..MESSAGES).flat_map(|_| submit_sm(esme.sequence(), &message(b"hello"))).collect();
        esme.send(&octets);
    }
    for esme in &mut esmes {
        for _ in 0..MESSAGES {
            assert_eq!(esme.pdu().status, CommandStatus::ESME_ROK);
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let most = 100.0 + 100.0 * (seconds + LEASE);
    assert!((2 * MESSAGES) as f64 <= most, "{} passed in {seconds} s, and {most} may", 2 * MESSAGES);
    drop(esmes);
    gateways.into_iter().for_each(Gateway::end_well);
}

fn a_node_alone_with_redis_has_the_whole_limit_at_once(shards: Shards) {
    let redis = Redis::start();
    let vendor = Vendor::listen();
    let address = vendor.address().to_string();
    let gateway = setup(shards, &redis, "smpp_throughput = 20\nsmpp_burst = 40", (&address, "")).launch();
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    gateway.wait_for_metric("smpp_gateway_nodes", &[], |nodes| nodes == 1.0);
    let mut esme = Esme::bound(&gateway, "acme");
    for number in 0..40 {
        sent(&mut esme, &mut link, &number.to_string());
    }
    gateway.wait_for_metric("smpp_gateway_lease_share_ratio", &["customer_id=\"acme\""], |share| share > 0.0);
    assert_eq!(redis.command_in(1, &["EXISTS", "rate:customer:acme:1s"]), "1");
    gateway.end_well_without((esme, link));
}

/// Two gateways that share the customer's two binds.
fn two_with_two_binds(shards: Shards, redis: &Redis) -> [Gateway; 2] {
    two_with_binds(shards, redis, 2)
}

fn two_with_binds(shards: Shards, redis: &Redis, most: usize) -> [Gateway; 2] {
    let start = || {
        let rows = format!("{}\nnode_timeout_ms = 1500\n[store]\nkind = \"none\"", redis.rows());
        Setup::new(shards).customer("acme", &format!("smpp_max_binds = {most}")).rows(&rows).start_without_vendors()
    };
    let gateways = [start(), start()];
    wait_until_known(&gateways);
    gateways
}

fn try_bind(gateway: &Gateway) -> Result<Esme, CommandStatus> {
    let mut esme = Esme::connect(gateway.address());
    let answer = esme.bind(CommandId::BIND_TRANSCEIVER, "acme", PASSWORD);
    if answer.status.is_ok() { Ok(esme) } else { Err(answer.status) }
}

/// Binds as soon as there is room; a node hears of another one's end a moment later.
fn bind_in_the_end(gateway: &Gateway) -> Esme {
    ask_until("room for a bind", || try_bind(gateway).ok())
}

fn binds_count_over_all_nodes_and_those_of_a_dead_node_end(shards: Shards) {
    let redis = Redis::start();
    let [one, other] = two_with_two_binds(shards, &redis);
    let (first, second) = (Esme::bound(&one, "acme"), Esme::bound(&other, "acme"));
    for gateway in [&one, &other] {
        assert_eq!(try_bind(gateway).err(), Some(CommandStatus::ESME_RBINDFAIL));
        assert_eq!(gateway.metric("smpp_gateway_binds_counted_total", &["refused"]), 1.0);
    }
    one.log.wait_for(1, &["bind rejected", "too many binds over all nodes"]);
    // One that ends makes room at the other node, and a connection that is cut as well.
    first.unbind();
    let third = bind_in_the_end(&other);
    assert_eq!(try_bind(&one).err(), Some(CommandStatus::ESME_RBINDFAIL));
    drop(third);
    let fourth = bind_in_the_end(&one);
    assert_eq!(try_bind(&other).err(), Some(CommandStatus::ESME_RBINDFAIL));
    drop(one);
    let fifth = bind_in_the_end(&other);
    assert_eq!(try_bind(&other).err(), Some(CommandStatus::ESME_RBINDFAIL));
    other.end_well_without((second, fourth, fifth));
}

fn of_many_binds_at_once_exactly_as_many_pass_as_may(shards: Shards) {
    let redis = Redis::start();
    let gateways = two_with_binds(shards, &redis, 70);
    let mut esmes: Vec<Esme> = (0..100).map(|place| Esme::connect(gateways[place % 2].address())).collect();
    for esme in &mut esmes {
        esme.send(&bind_pdu(CommandId::BIND_TRANSCEIVER, 1, "acme", PASSWORD, 0x34));
    }
    let answers = esmes.iter_mut().map(|esme| esme.expect(CommandId::BIND_TRANSCEIVER_RESP).status);
    let (passed, refused): (Vec<_>, Vec<_>) = answers.partition(|status| status.is_ok());
    assert_eq!(passed.len(), 70);
    assert!(refused.iter().all(|status| *status == CommandStatus::ESME_RBINDFAIL), "{refused:?}");
    drop(esmes);
    gateways.into_iter().for_each(Gateway::end_well);
}

fn a_node_that_stops_well_leaves_its_binds_free_at_once(shards: Shards) {
    let redis = Redis::start();
    let [one, other] = two_with_two_binds(shards, &redis);
    let bound = [Esme::bound(&one, "acme"), Esme::bound(&one, "acme")];
    assert_eq!(try_bind(&other).err(), Some(CommandStatus::ESME_RBINDFAIL));
    one.end_well_without(bound);
    let esme = Esme::bound(&other, "acme");
    other.end_well_without(esme);
}

fn without_redis_each_node_counts_its_own_binds_and_says_so(shards: Shards) {
    let redis = Redis::start();
    let [one, other] = two_with_two_binds(shards, &redis);
    let first = [Esme::bound(&one, "acme"), Esme::bound(&one, "acme")];
    redis.signal(Signal::STOP);
    one.wait_until_told(Some("smpp_max_binds counts this node's binds alone"));
    assert_eq!(try_bind(&one).err(), Some(CommandStatus::ESME_RBINDFAIL));
    let second = Esme::bound(&other, "acme");
    redis.signal(Signal::CONT);
    one.wait_until_told(None);
    other.wait_until_told(None);
    // What was not counted is, once Redis has been told: three are there, and one more is too many though one of them ends.
    let nodes_with_binds = || redis.command_in(1, &["HLEN", "binds:customer:acme"]);
    ask_until("all binds in Redis", || (nodes_with_binds() == "2").then_some(()));
    drop(second);
    ask_until("one bind less", || (nodes_with_binds() == "1").then_some(()));
    assert_eq!(try_bind(&other).err(), Some(CommandStatus::ESME_RBINDFAIL));
    one.end_well_without(first);
    other.end_well();
}
