//! The two scripts. Nodes here are models of what a shard does between two rounds, so that whole minutes pass at once.

use redis::Script;

use super::server::Server;

const LEASE_US: u64 = 200_000;
const ROUND_US: u64 = LEASE_US / 2;
const SILENCE_US: u64 = 5_000_000;
const SECOND_US: u64 = 1_000_000;

/// A Redis with a limit, and its clock.
struct World {
    connection: redis::Connection,
    leases: Script,
    now: u64,
    rate: u64,
    burst: u64,
    _server: Server,
}

/// A node of which the limit is wanted so many times a second.
struct Node {
    name: String,
    turn: u64,
    last: u64,
    tokens: i64,
    made: u64,
    is_short: bool,
    wanted: u64,
    owed: f64,
    spent: u64,
    share: i64,
    asked_at: u64,
}

impl Node {
    fn new(name: &str, wanted: u64) -> Self {
        let name = name.to_owned();
        let (turn, last, tokens, made, is_short) = (0, 0, 0, 0, false);
        Self { name, turn, last, tokens, made, is_short, wanted, owed: 0.0, spent: 0, share: 0, asked_at: 0 }
    }

    /// Messages of so long a time come.
    fn spend(&mut self, micros: u64) {
        self.owed += (self.wanted * micros) as f64 / 1e6;
        let wanted = self.owed as i64;
        self.owed -= wanted as f64;
        let spent = wanted.min(self.tokens.max(0));
        self.tokens -= spent;
        self.spent += spent.unsigned_abs();
        self.is_short |= spent < wanted;
    }

    /// Tokens that a shard makes itself, all of them spent.
    fn make(&mut self, tokens: u64) {
        self.made += tokens;
        self.spent += tokens;
    }
}

impl World {
    fn new(rate: u64, burst: u64) -> Self {
        let server = Server::start();
        let connection = server.connect();
        let leases = Script::new(include_str!("../lease.lua"));
        // As late as a real clock, for a number is a double there.
        World { connection, leases, now: 1_763_000_000_000_000, rate, burst, _server: server }
    }

    /// What the script answers a node.
    fn ask(&mut self, node: &mut Node) -> Vec<i64> {
        let quiet = if node.last == 0 { 0 } else { self.now - node.asked_at };
        self.ask_quiet(node, quiet)
    }

    /// The same of one that says it had no answer for so long.
    fn ask_quiet(&mut self, node: &mut Node, quiet: u64) -> Vec<i64> {
        node.turn += 1;
        let told = format!(
            "[[{},{},{},{},{},{}]]",
            self.rate,
            self.burst,
            node.tokens,
            node.made,
            u8::from(node.is_short),
            node.last
        );
        node.is_short = false;
        let mut call = self.leases.key("rate:nodes");
        call.key("rate:customer:acme:1s").arg(&node.name).arg(node.turn).arg(LEASE_US).arg(SILENCE_US).arg(quiet);
        call.arg(self.now).arg(told).invoke(&mut self.connection).unwrap()
    }

    /// One round of a node, whose answer arrives.
    fn renew(&mut self, node: &mut Node) {
        let answer = self.ask(node);
        node.tokens += answer[2];
        node.share = answer[3];
        node.last = node.turn;
        node.asked_at = self.now;
    }

    /// So much time passes, in which all of them ask in turn, at times that differ a little.
    fn run(&mut self, nodes: &mut [Node], micros: u64, random: &mut u64) {
        let end = self.now + micros;
        let mut due: Vec<u64> = nodes.iter().map(|_| self.now + next(random) % ROUND_US).collect();
        while self.now < end {
            let first = (0..nodes.len()).min_by_key(|place| due[*place]).unwrap();
            let step = due[first].saturating_sub(self.now);
            self.now += step;
            nodes.iter_mut().for_each(|node| node.spend(step));
            self.renew(&mut nodes[first]);
            due[first] = self.now + ROUND_US + next(random) % (ROUND_US / 4);
        }
    }

    /// The most that may be spent in that time.
    fn most(&self, micros: u64) -> u64 {
        self.burst + self.rate * (micros + LEASE_US) / SECOND_US + 1
    }
}

fn next(random: &mut u64) -> u64 {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *random >> 33
}

fn spent(nodes: &[Node]) -> u64 {
    nodes.iter().map(|node| node.spent).sum()
}

#[test]
fn whichever_nodes_the_load_is_on_the_whole_limit_is_usable_and_no_more() {
    let mut random = 7;
    let loads: [&[u64]; 6] =
        [&[1_000], &[1_000, 0, 0], &[0, 0, 1_000], &[1_000; 3], &[90, 20, 60], &[1_000, 30, 0, 5, 1]];
    for (rate, burst) in [(100, 100), (150, 60), (7, 7), (5_000, 5_000)] {
        for load in loads {
            let mut world = World::new(rate, burst);
            let wanted = |load: &u64| load * rate / 100;
            let mut nodes: Vec<Node> =
                load.iter().enumerate().map(|(place, load)| Node::new(&format!("n{place}"), wanted(load))).collect();
            let begun = world.now;
            world.run(&mut nodes, 20 * SECOND_US, &mut random);
            let (micros, all) = (world.now - begun, spent(&nodes));
            assert!(all <= world.most(micros), "{rate}/s, {load:?}: {all}");
            // Without the burst, and from any time on.
            let (begun, before) = (world.now, all);
            world.run(&mut nodes, 20 * SECOND_US, &mut random);
            let all = spent(&nodes) - before;
            let usable = rate * (world.now - begun) / SECOND_US;
            assert!(all * 100 >= usable * 98, "{rate}/s, {load:?}: {all} of {usable}");
        }
    }
}

#[test]
fn nodes_that_all_want_more_get_as_much_one_as_the_other() {
    let mut world = World::new(300, 300);
    let mut nodes: Vec<Node> = ["a", "b", "c"].map(|name| Node::new(name, 1_000)).into();
    world.run(&mut nodes, 5 * SECOND_US, &mut 3);
    let before: Vec<u64> = nodes.iter().map(|node| node.spent).collect();
    world.run(&mut nodes, 10 * SECOND_US, &mut 4);
    for (node, before) in nodes.iter().zip(before) {
        let got = node.spent - before;
        assert!((900..=1_100).contains(&got), "{}: {got}", node.name);
        assert!((320..=340).contains(&node.share), "{}: {}", node.name, node.share);
    }
}

#[test]
fn a_node_that_wants_little_gets_it_and_the_others_share_the_rest() {
    let mut world = World::new(300, 300);
    let mut nodes = [Node::new("a", 1_000), Node::new("b", 30), Node::new("c", 1_000)];
    world.run(&mut nodes, 5 * SECOND_US, &mut 3);
    let before: Vec<u64> = nodes.iter().map(|node| node.spent).collect();
    world.run(&mut nodes, 10 * SECOND_US, &mut 4);
    let got: Vec<u64> = nodes.iter().zip(before).map(|(node, before)| node.spent - before).collect();
    assert!(got[1] >= 285, "{got:?}");
    assert!(got[0] >= 1_250 && got[2] >= 1_250, "{got:?}");
}

#[test]
fn one_lease_after_a_node_died_the_others_have_its_share() {
    let mut world = World::new(300, 300);
    let mut nodes = vec![Node::new("a", 1_000), Node::new("b", 1_000), Node::new("c", 1_000)];
    world.run(&mut nodes, 5 * SECOND_US, &mut 3);
    nodes.pop();
    world.run(&mut nodes, LEASE_US, &mut 4);
    let (begun, before) = (world.now, spent(&nodes));
    world.run(&mut nodes, 4 * SECOND_US, &mut 4);
    let usable = 300 * (world.now - begun) / SECOND_US;
    assert!((spent(&nodes) - before) * 100 >= usable * 98, "{} of {usable}", spent(&nodes) - before);
}

#[test]
fn a_small_limit_goes_round_in_whole_tokens() {
    let mut world = World::new(1, 1);
    let mut nodes = [Node::new("a", 10), Node::new("b", 10), Node::new("c", 10)];
    let begun = world.now;
    world.run(&mut nodes, 60 * SECOND_US, &mut 11);
    let (all, micros) = (spent(&nodes), world.now - begun);
    assert!(all >= 59, "{all}");
    assert!(all <= world.most(micros) + 1, "{all}");
}

#[test]
fn what_never_arrived_is_given_again() {
    let mut world = World::new(100, 100);
    let mut node = Node::new("a", 0);
    for _ in 0..50 {
        let answer = world.ask(&mut node);
        assert_eq!((answer[0], answer[2]), (1, 100));
        world.now += 1_000;
    }
    world.renew(&mut node);
    assert_eq!(node.tokens, 100);
    world.now += SECOND_US;
    world.renew(&mut node);
    assert_eq!(node.tokens, 100, "what it has counts");
}

#[test]
fn a_request_that_was_overtaken_changes_nothing() {
    let mut world = World::new(100, 100);
    let mut node = Node::new("a", 0);
    world.renew(&mut node);
    node.turn = 0;
    node.is_short = true;
    assert_eq!(world.ask(&mut node)[2..], [0, 0]);
    node.turn = 1;
    node.is_short = false;
    node.tokens = 40;
    world.now += 2 * LEASE_US;
    world.renew(&mut node);
    assert_eq!(node.tokens, 50, "what half a lease has brought: there was no room before");
}

#[test]
fn a_request_that_was_long_under_way_changes_nothing() {
    let mut world = World::new(100, 100);
    let mut node = Node::new("a", 0);
    world.renew(&mut node);
    node.tokens = 0;
    world.now += 3 * SECOND_US;
    node.is_short = true;
    assert_eq!(world.ask_quiet(&mut node, ROUND_US), [] as [i64; 0]);
    node.make(260);
    node.is_short = true;
    world.renew(&mut node);
    assert_eq!(node.tokens, 30, "what gathered until the node helped itself, as far as there was room");
}

#[test]
fn what_a_node_made_while_others_could_ask_is_paid_for() {
    let mut world = World::new(100, 100);
    let mut nodes = [Node::new("a", 1_000), Node::new("b", 1_000)];
    let begun = world.now;
    world.run(&mut nodes, 2 * SECOND_US, &mut 5);
    let [a, b] = &mut nodes;
    // For two seconds a hears nothing and goes on with its half.
    for _ in 0..20 {
        world.now += ROUND_US;
        a.make(5);
        b.spend(ROUND_US);
        world.renew(b);
    }
    world.renew(a);
    world.run(&mut nodes, 20 * SECOND_US, &mut 6);
    let (all, micros) = (spent(&nodes), world.now - begun);
    // What is more than a lease's worth of debt is forgiven.
    assert!(all <= world.most(micros) + 100, "{all} in {micros}");
}

#[test]
fn after_a_time_in_which_nobody_could_ask_nobody_gets_it_twice() {
    for seconds in [1, 3, 60] {
        let mut world = World::new(100, 100);
        let mut nodes = [Node::new("a", 1_000), Node::new("b", 1_000), Node::new("c", 1_000)];
        let begun = world.now;
        world.run(&mut nodes, 2 * SECOND_US, &mut 5);
        let asked_at = world.now;
        world.now += seconds * SECOND_US;
        for node in &mut nodes {
            let away = world.now - asked_at - 2 * LEASE_US;
            node.make(away * 100 / 3 / SECOND_US);
            node.is_short = true;
            world.renew(node);
            world.now += 20_000;
        }
        world.run(&mut nodes, 5 * SECOND_US, &mut 6);
        let (all, micros) = (spent(&nodes), world.now - begun);
        assert!(all <= world.most(micros), "{seconds} s: {all} in {micros}");
        assert!(all * 100 >= 98 * 100 * (micros / SECOND_US), "{seconds} s: {all} in {micros}");
    }
}

#[test]
fn a_redis_that_forgot_everything_gives_no_second_burst() {
    let mut world = World::new(100, 100);
    let mut nodes = [Node::new("a", 1_000), Node::new("b", 1_000)];
    let begun = world.now;
    world.run(&mut nodes, 3 * SECOND_US, &mut 5);
    redis::cmd("FLUSHALL").exec(&mut world.connection).unwrap();
    let answer = world.ask(&mut nodes[0]);
    assert_eq!(answer[..2], [1, 0], "it tells that it had forgotten the node");
    world.run(&mut nodes, 10 * SECOND_US, &mut 6);
    let micros = world.now - begun;
    assert!(spent(&nodes) <= world.most(micros), "{} in {micros}", spent(&nodes));
}

#[test]
fn what_another_program_left_under_a_limits_key_counts_for_nothing() {
    let key = "rate:customer:acme:1s";
    for left in [
        &["SET", key, "53"][..],
        &["SET", key, ""],
        &["SET", key, "x"],
        &["ZADD", key, "1", "a"],
        &["HSET", key, "a", "1"],
    ] {
        let mut world = World::new(100, 100);
        redis::Cmd::new().arg(left).exec(&mut world.connection).unwrap();
        let mut node = Node::new("a", 0);
        world.renew(&mut node);
        assert_eq!(node.tokens, 100, "{left:?}");
        world.now += ROUND_US;
        world.renew(&mut node);
        assert_eq!(node.tokens, 100, "{left:?}: it is written over");
    }
}

#[test]
fn who_holds_more_than_it_needs_gives_it_back() {
    let mut world = World::new(100, 100);
    let mut a = Node::new("a", 0);
    world.renew(&mut a);
    assert_eq!(a.tokens, 100, "who is alone has the whole burst");
    let mut b = Node::new("b", 0);
    b.is_short = true;
    world.renew(&mut b);
    world.now += ROUND_US;
    world.renew(&mut a);
    assert_eq!(a.tokens, 25, "the even part of half of it");
    b.is_short = true;
    world.renew(&mut b);
    assert!(b.tokens >= 75, "{}", b.tokens);
}

/// Binds over all nodes.
struct Binds {
    world: World,
    script: Script,
}

impl Binds {
    fn new() -> Self {
        Self { world: World::new(1, 1), script: Script::new(include_str!("../binds.lua")) }
    }

    fn ask(&mut self, node: &str, changes: &[&str]) -> Vec<i64> {
        let mut call = self.script.key("rate:nodes");
        call.arg(node).arg(SILENCE_US).arg(self.world.now);
        for change in changes {
            call.key("binds:customer:acme").arg(*change);
        }
        call.invoke(&mut self.world.connection).unwrap()
    }

    fn is_alive(&mut self, node: &mut Node) {
        self.world.renew(node);
    }
}

#[test]
fn binds_of_all_nodes_count_and_those_of_a_silent_node_end() {
    let mut binds = Binds::new();
    let (mut one, mut other) = (Node::new("one", 0), Node::new("other", 0));
    binds.is_alive(&mut one);
    binds.is_alive(&mut other);
    assert_eq!(binds.ask("one", &["b 2", "b 3"]), [1, 1]);
    assert_eq!(binds.ask("other", &["b 2"]), [0]);
    assert_eq!(binds.ask("other", &["b 3", "b 3"]), [1, 0]);
    assert_eq!(binds.ask("one", &["e 1", "b 3"]), [1, 1]);
    binds.world.now += SILENCE_US - 1;
    binds.is_alive(&mut other);
    assert_eq!(binds.ask("other", &["b 3"]), [0], "it is not silent for long enough");
    binds.world.now += 2;
    assert_eq!(binds.ask("other", &["b 3", "b 3", "b 3"]), [1, 1, 0]);
}

#[test]
fn a_count_that_is_set_holds_whatever_was_there() {
    let mut binds = Binds::new();
    binds.is_alive(&mut Node::new("one", 0));
    assert_eq!(binds.ask("one", &["e 1", "s 4", "b 4", "s 1", "b 2", "b 2", "e 1", "s 0"]), [1, 1, 0, 1, 1, 0, 1, 1]);
    let left: u32 = redis::cmd("EXISTS").arg("binds:customer:acme").query(&mut binds.world.connection).unwrap();
    assert_eq!(left, 0);
}
