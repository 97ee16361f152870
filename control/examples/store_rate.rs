//! How many messages a second the message store takes, and what each costs: notes as a shard makes them, through the same
//! ring, thread and batches as in the gateway, into a Redis or a folder.
//!
//!     store_rate --redis 127.0.0.1:6379 | --embedded FOLDER [--seconds 5] [--receipts]
//!
//! Prints one line of JSON. With --receipts each message is written twice: once when its vendor has taken it, and once when
//! its receipt comes, later than any batch. The processor time is that of all threads but the one that plays the shard.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use smpp_control::config::{LogLevel, LogSettings, RedisSettings};
use smpp_control::{ControlWaker, Log, Store, StoreChannels, StoreKind};
use smpp_pdu::Address;
use smpp_shards::feed::{Feed, Happening, Note, feed};
use smpp_shards::message_id::{IdStyle, MessageId, MessageIds};
use smpp_shards::random::Random;
use smpp_shards::settings::VendorIdFormat;
use smpp_shards::{Amount, ShardId};

/// Messages between one and the receipt that comes at the same time: more than two batches.
const RECEIPT_AFTER: usize = 50_000;

/// Messages that the played shard notes in a turn.
const TURN: usize = 64;

struct Options {
    kind: StoreKind,
    seconds: u64,
    has_receipts: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let (feed, end) = feed();
    let bell = ControlWaker::default();
    let channels = StoreChannels { feeds: vec![end], bell: bell.clone() };
    let log = Log::to_stdout(LogSettings { level: LogLevel::Error })?;
    let (store, thread) = Store::start(options.kind, channels, Vec::new(), log)?;
    let is_over = Arc::new(AtomicBool::new(false));
    let player = {
        let is_over = Arc::clone(&is_over);
        let player = std::thread::Builder::new().name("player".into());
        player.spawn(move || play(feed, &bell, options.has_receipts, &is_over))?
    };
    // Until connections and files are there.
    while store.stats().records() == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let (start, cpu, records, messages) =
        (Instant::now(), processor_time()?, store.stats().records(), store.stats().messages());
    std::thread::sleep(Duration::from_secs(options.seconds));
    let elapsed = start.elapsed().as_secs_f64();
    let cpu = processor_time()?.saturating_sub(cpu);
    let records = store.stats().records() - records;
    let messages = store.stats().messages() - messages;
    let lag = store.stats().lag(unix_ms()).as_secs_f64();
    is_over.store(true, Ordering::Relaxed);
    let skipped = player.join().map_err(|_| "the player failed")?;
    thread.stop(Duration::from_secs(5));
    println!(
        "{{\"messages_per_second\": {:.0}, \"records_per_second\": {:.0}, \"cpu_us\": {:.2}, \"lag_seconds\": {lag:.3}, \
         \"failures\": {}, \"turned_away\": {skipped}}}",
        messages as f64 / elapsed,
        records as f64 / elapsed,
        cpu.as_secs_f64() * 1e6 / messages.max(1) as f64,
        store.stats().failures(),
    );
    Ok(())
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut kind = None;
    let (mut seconds, mut has_receipts) = (5, false);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
        match argument.as_str() {
            "--redis" => {
                let address = value()?;
                let (host, port) = address.rsplit_once(':').ok_or("--redis wants host:port")?;
                let (host, port) = (host.to_owned(), port.parse()?);
                kind = Some(StoreKind::Redis(RedisSettings {
                    host,
                    port,
                    use_tls: false,
                    username: None,
                    password: None,
                    lease_ms: RedisSettings::LEASE_MS,
                    node_timeout_ms: RedisSettings::NODE_TIMEOUT_MS,
                    tls_ca: None,
                }));
            }
            "--embedded" => kind = Some(StoreKind::Embedded(PathBuf::from(value()?))),
            "--seconds" => seconds = value()?.parse()?,
            "--receipts" => has_receipts = true,
            other => return Err(format!("{other} is no option of this program").into()),
        }
    }
    Ok(Options { kind: kind.ok_or("give --redis host:port or --embedded FOLDER")?, seconds, has_receipts })
}

/// Notes messages as fast as the ring takes them; how often it was full.
fn play(mut feed: Feed, bell: &ControlWaker, has_receipts: bool, is_over: &AtomicBool) -> u64 {
    let mut random = Random::new(unix_ms());
    let mut ids = MessageIds::new(1, ShardId(0), &mut random);
    let mut before: Vec<(MessageId, u64)> = Vec::new();
    let mut count = 0;
    let mut skipped = 0;
    while !is_over.load(Ordering::Relaxed) {
        let now = unix_ms();
        for _ in 0..TURN {
            count += 1;
            let id = ids.next(now);
            put(&mut feed, id, Happening::Sent, now, count);
            if !has_receipts {
                continue;
            }
            if before.len() < RECEIPT_AFTER {
                before.push((id, count));
            } else {
                let place = count as usize % RECEIPT_AFTER;
                let (earlier, theirs) = std::mem::replace(&mut before[place], (id, count));
                put(&mut feed, earlier, Happening::Receipt(2), now, theirs);
            }
        }
        feed.flush();
        bell.wake();
        let turned_away = feed.counts().1;
        if turned_away != skipped {
            skipped = turned_away;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    skipped
}

fn put(feed: &mut Feed, id: MessageId, happening: Happening, now: u64, count: u64) {
    let theirs = count.to_string();
    feed.note(&Note {
        happening,
        at_unix_ms: now,
        id,
        style: IdStyle::Uuid,
        registered_delivery: 1,
        data_coding: 0,
        segments: 1,
        cost: Amount::of_millionths(7_500),
        sent_unix_ms: now,
        source: Address { ton: 5, npi: 0, addr: b"Acme" },
        dest: Address { ton: 1, npi: 1, addr: b"15551234567" },
        customer: b"acme",
        account: b"",
        vendor: b"north",
        vendor_id: b"",
        vendor_id_format: VendorIdFormat::Decimal,
        vendor_message_id: theirs.as_bytes(),
    });
}

/// Of all threads of this process but the one that plays the shard.
fn processor_time() -> Result<Duration, Box<dyn Error>> {
    let ticks_per_second = 100;
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let Ok(stat) = std::fs::read_to_string(task?.path().join("stat")) else { continue };
        let (front, behind) = stat.rsplit_once(')').ok_or("a stat without a name")?;
        if front.ends_with("(player") {
            continue;
        }
        let fields: Vec<&str> = behind.split_whitespace().collect();
        ticks += fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    }
    Ok(Duration::from_millis(ticks * 1000 / ticks_per_second))
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
