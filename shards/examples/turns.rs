//! Takes one shard through many messages a turn, as it meets them at full load, and tells the time of a message: `turns
//! [MESSAGES_OF_A_TURN] [TURNS]`, for a profiler or for comparing two builds. Unlike `callgrind_step` it has as much in flight as a
//! busy gateway has, so that it feels the cache; what customers and vendors do in between is not counted. For each way of
//! running (relay and journal, without receipts and with) the median and the least of the turns are printed, in nanoseconds a message.

use std::time::{Duration, Instant};

use smpp_pdu::encode::Encoder;
use smpp_pdu::{Address, CommandId, CommandStatus, Deframed, Header, ShortMessage, Tag, deframe};
use smpp_shards::journal::{Batch, LogName};
use smpp_shards::restore::Restored;
use smpp_shards::settings::{CustomerSettings, Settings, VendorSettings};
use smpp_shards::{Conn, JournalSetup};

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Stage, customer, deliver_resp, message, rule, submit, submit_resp, vendor};

const SESSIONS: u32 = 10;
const LINKS: u32 = 2;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |otherwise: u32| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (messages, turns) = (number(500).div_ceil(SESSIONS) * SESSIONS, number(2000).max(10));
    let only: Option<String> = arguments.next();
    for (name, journal, receipts) in [
        ("relay", false, false),
        ("journal", true, false),
        ("relay_receipts", false, true),
        ("journal_receipts", true, true),
    ] {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let mut times = run(messages, turns, journal, receipts);
        times.sort();
        let of = |time: Duration| time.as_nanos() as f64 / f64::from(messages);
        println!("{name:18} {:7.0} {:7.0}", of(times[times.len() / 2]), of(times[times.len() / 20]));
    }
}

/// The times of the turns, the first tenth left out.
fn run(messages: u32, turns: u32, journal: bool, receipts: bool) -> Vec<Duration> {
    let mut world = World::new(messages, journal, receipts);
    let times: Vec<Duration> = (0..turns).map(|_| world.turn()).collect();
    let answered = world.stage.shard.report().customers[0].submits_ok;
    assert!(answered > u64::from(messages * (turns - 10)), "{answered} answered");
    times[turns as usize / 10..].to_vec()
}

struct World {
    stage: Stage,
    customers: Vec<Peer>,
    links: Vec<Peer>,
    messages: u32,
    receipts: bool,
    writing: Option<Batch>,
    next_id: u64,
    sequence: u32,
    /// Ids of messages answered in the turn before.
    answered: Vec<u64>,
    dirty: Vec<Conn>,
}

/// A connection from its other end.
struct Peer {
    conn: Conn,
    /// What it sends in this turn.
    feed: Vec<u8>,
    /// What it got in the last one.
    got: Vec<u8>,
}

impl World {
    fn new(messages: u32, journal: bool, receipts: bool) -> Self {
        let settings = Settings {
            customers: vec![CustomerSettings { smpp_window: 10_000, ..customer("acme") }],
            vendors: vec![VendorSettings { binds: LINKS, window_size: 20_000, ..vendor("north") }],
            routing_rules: vec![rule("^1.*", "north")],
            ..Settings::default()
        };
        let journal = journal.then_some(JournalSetup {
            log: LogName { start: 1, shard: 0 },
            segment_bytes: 64 << 20,
            bytes_max: 1 << 30,
            commit_wait_us: 0,
        });
        let mut stage = Stage::with_journal(settings, journal, Restored::default());
        let links = stage.bind_links();
        assert_eq!(links.len(), LINKS as usize);
        let customers = (0..SESSIONS).map(|_| stage.bound(0, CommandId::BIND_TRANSCEIVER)).collect::<Vec<_>>();
        Self {
            stage,
            customers: customers.into_iter().map(Peer::new).collect(),
            links: links.into_iter().map(Peer::new).collect(),
            messages,
            receipts,
            writing: None,
            next_id: 0x0069_2000_0000_0000,
            sequence: 0,
            answered: Vec::new(),
            dirty: Vec::new(),
        }
    }

    fn turn(&mut self) -> Duration {
        self.prepare();
        let Self { stage, .. } = self;
        let begun = Instant::now();
        for peer in self.customers.iter().chain(&self.links) {
            stage.shard.received(peer.conn, &peer.feed, stage.now, &mut stage.out);
        }
        if let Some(batch) = self.writing.take() {
            stage.shard.batch_written(batch, stage.now, &mut stage.out);
        }
        stage.shard.tick(stage.now, &mut stage.out);
        self.writing = stage.shard.take_batch(stage.now);
        let taken = begun.elapsed();
        for peer in self.customers.iter_mut().chain(&mut self.links) {
            peer.got.clear();
            stage.out.take(peer.conn, &mut peer.got);
            stage.out.sent(peer.conn, peer.got.len());
        }
        self.dirty.clear();
        stage.out.take_dirty(&mut self.dirty);
        stage.drain_actions();
        stage.actions.clear();
        stage.now.mono = stage.now.mono.after_ms(1);
        stage.now.unix_ms += 1;
        taken
    }

    /// Everybody's next octets.
    fn prepare(&mut self) {
        let text = *b"The quick brown fox jumps over the lazy dog 0123456789. The ";
        let submission = ShortMessage {
            source: Address { ton: 1, npi: 1, addr: b"12025550100" },
            dest: Address { ton: 1, npi: 1, addr: b"15550000000" },
            registered_delivery: u8::from(self.receipts),
            ..message(&text)
        };
        for peer in &mut self.customers {
            peer.feed.clear();
            for (header, _) in pdus(&peer.got) {
                if header.command_id == CommandId::DELIVER_SM {
                    peer.feed.extend(deliver_resp(header.sequence_number, CommandStatus::ESME_ROK));
                }
            }
            for _ in 0..self.messages / SESSIONS {
                self.sequence = (self.sequence + 1) & 0x3FFF_FFFF;
                peer.feed.extend(submit(self.sequence.max(1), &submission));
            }
        }
        let mut receipts = core::mem::take(&mut self.answered).into_iter();
        for peer in &mut self.links {
            peer.feed.clear();
            for (header, _) in pdus(&peer.got).filter(|(header, _)| header.command_id == CommandId::SUBMIT_SM) {
                self.next_id += 1;
                self.answered.push(self.next_id);
                peer.feed.extend(submit_resp(header.sequence_number, format!("{:014x}", self.next_id).as_bytes()));
            }
            if self.receipts {
                for id in receipts.by_ref().take((self.messages / LINKS) as usize) {
                    receipt(&mut peer.feed, id);
                }
            }
        }
    }
}

impl Peer {
    fn new(conn: Conn) -> Self {
        Self { conn, feed: Vec::new(), got: Vec::new() }
    }
}

fn pdus(mut octets: &[u8]) -> impl Iterator<Item = (Header, &[u8])> {
    core::iter::from_fn(move || match deframe(octets, 1 << 16) {
        Deframed::Pdu { header, pdu } => {
            octets = &octets[pdu.len()..];
            Some((header, pdu))
        }
        _ => None,
    })
}

/// A receipt as the simulated vendor of `smpp-bench` writes it.
fn receipt(into: &mut Vec<u8>, id: u64) {
    let text = format!(
        "id:{id:014x} sub:001 dlvrd:001 submit date:261121001500 done date:261121001501 stat:DELIVRD err:000 \
         text:The quick brown fox "
    );
    Encoder::new(into, CommandId::DELIVER_SM, CommandStatus::ESME_ROK, id as u32 & 0x3FFF_FFFF | 1 << 20)
        .u8(0)
        .octets(b"\x01\x0115550000000\0\x01\x0112025550100\0")
        .octets(&[4, 0, 0, 0, 0, 0, 0, 0, 0])
        .short_octets(text.as_bytes())
        .tlv(Tag::MESSAGE_STATE, &[2])
        .tlv(Tag::RECEIPTED_MESSAGE_ID, format!("{id:014x}\0").as_bytes())
        .finish();
}
