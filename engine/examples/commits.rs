//! How many commits a second a folder's disk takes: each way of bringing octets to stable storage, with and without the
//! page cache, one commit under way at a time as a shard has it.
//!
//! The last lines are the journal itself: through its appender and from segment to segment, with files made ahead while
//! it runs, freed and used again; each batch offered when the one before is written, and with one more offered all the time.
//! Makes a file and a folder in the folder it is given and removes them. It must never touch a journal that is there.
//!
//! ```text
//! cargo run --release -p smpp-gateway --example commits -- FOLDER [KiB of a commit] [seconds of each] [CORE]
//! ```
//!
//! With a core, the thread that offers stays on it and is busy while it waits, as a shard is under load: it looks for what has
//! come of a batch every 50 microseconds.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::io::{ReadWriteFlags, pwritev2};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use smpp_gateway::journal::{Appender, Maker, MakerSettings, News, Offered, Outcome, SEGMENT_BYTES, Store};
use smpp_gateway::net::{Doorbell, Net, Wait};
use smpp_shards::journal::{AlignedBuffer, BLOCK, Batch, Entry, LogName, Receipt};

const WAIT: Wait = Wait::AtMost(Duration::from_secs(1));

/// Rounds in which every way has its turn, so that none has the disk's good hour to itself.
const ROUNDS: u32 = 6;

/// From one look at what has come to the next of a thread that is busy.
const TURN: Duration = Duration::from_micros(50);

/// Whether the thread is busy while it waits.
static IS_BUSY: OnceLock<()> = OnceLock::new();

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("which folder?")?;
    let octets = arguments.next().map_or(Ok(256), |text| text.parse::<usize>())?.max(8) / 4 * 4096;
    let seconds = arguments.next().map_or(Ok(3), |text| text.parse::<u32>())?;
    let core = arguments.next().map(|core| core.parse()).transpose()?;
    let path = Path::new(&folder).join("commits.tmp");
    let span = Duration::from_secs(u64::from(seconds));
    let result = measure_all(&path, octets, span / ROUNDS);
    fs::remove_file(&path)?;
    result?;
    for ahead in [0, 1] {
        let data_dir = Path::new(&folder).join("commits.tmp.d");
        fs::create_dir(&data_dir)?;
        let result = measure_journal(&data_dir, octets, span, core, ahead);
        fs::remove_dir_all(&data_dir)?;
        result?;
    }
    Ok(())
}

/// Stays on that core from now on, and is busy while it waits.
fn keep_busy(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set)?;
    IS_BUSY.get_or_init(|| ());
    Ok(())
}

fn measure_all(path: &Path, octets: usize, span: Duration) -> Result<(), Box<dyn Error>> {
    fill(path)?;
    let ways = [
        ("direct,   write, then fdatasync", true, false),
        ("direct,   RWF_DSYNC", true, true),
        ("buffered, write, then fdatasync", false, false),
        ("buffered, RWF_DSYNC", false, true),
    ];
    let mut taken: Vec<Taken> = ways.iter().map(|_| Taken::default()).collect();
    for _ in 0..ROUNDS {
        for (index, (name, direct, through)) in ways.iter().enumerate() {
            match measure(path, octets, span, *direct, *through, &mut taken[index]) {
                Ok(()) => {}
                Err(error) => println!("{name}: {error}"),
            }
        }
    }
    println!("commits of {} KiB, {:.1} s of each", octets / 1024, (span * ROUNDS).as_secs_f64());
    for ((name, ..), taken) in ways.iter().zip(&mut taken).filter(|(_, taken)| !taken.times.is_empty()) {
        report(name, taken, octets);
    }
    Ok(())
}

/// What one way has taken.
#[derive(Default)]
struct Taken {
    times: Vec<Duration>,
    /// Processor time of the thread that appends.
    thread: Duration,
    /// Processor time of the process, the thread that writes among it.
    process: Duration,
}

fn report(name: &str, taken: &mut Taken, octets: usize) {
    let times = &mut taken.times;
    times.sort();
    let count = times.len() as f64;
    let rate = count / times.iter().sum::<Duration>().as_secs_f64();
    let at = |part: f64| times[((count - 1.0) * part) as usize].as_secs_f64() * 1e3;
    println!(
        "{name:36} {rate:6.0}/s {:5.0} MB/s   p50 {:.3}  p99 {:.3}  max {:.3} ms   CPU {:.0} us on the thread, {:.0} in all",
        rate * octets as f64 / 1e6,
        at(0.5),
        at(0.99),
        at(1.0),
        taken.thread.as_secs_f64() * 1e6 / count,
        taken.process.as_secs_f64() * 1e6 / count,
    );
}

fn cpu(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

/// A segment's file, as the journal makes them: zeros in every place.
fn fill(path: &Path) -> io::Result<()> {
    let zeros = AlignedBuffer::zeroed(1024 * 1024);
    let mut file = File::create(path)?;
    for _ in 0..SEGMENT_BYTES / zeros.as_slice().len() as u64 {
        io::Write::write_all(&mut file, zeros.as_slice())?;
    }
    file.sync_all()
}

fn measure(
    path: &Path,
    octets: usize,
    span: Duration,
    direct: bool,
    through: bool,
    taken: &mut Taken,
) -> Result<(), Box<dyn Error>> {
    let flags = if direct { rustix::fs::OFlags::DIRECT.bits() as i32 } else { 0 };
    let file = OpenOptions::new().write(true).custom_flags(flags).open(path)?;
    let mut memory = AlignedBuffer::zeroed(octets);
    memory.as_mut_slice().iter_mut().enumerate().for_each(|(index, octet)| *octet = (index / 3) as u8);
    let (mut offset, begin) = (0, Instant::now());
    let (thread, process) = (cpu(ClockId::ThreadCPUTime), cpu(ClockId::ProcessCPUTime));
    while begin.elapsed() < span {
        if offset + octets as u64 > SEGMENT_BYTES {
            offset = 0;
        }
        let start = Instant::now();
        if through {
            let written = pwritev2(&file, &[IoSlice::new(memory.as_slice())], offset, ReadWriteFlags::DSYNC)?;
            assert_eq!(written, octets);
        } else {
            file.write_all_at(memory.as_slice(), offset)?;
            file.sync_data()?;
        }
        taken.times.push(start.elapsed());
        offset += octets as u64;
    }
    taken.thread += cpu(ClockId::ThreadCPUTime) - thread;
    taken.process += cpu(ClockId::ProcessCPUTime) - process;
    Ok(())
}

/// Segments that stay before they are freed.
const SEGMENTS_KEPT: u32 = 3;

/// Batches of so many octets, one after the other.
struct Batches {
    octets: usize,
    segment: u32,
    offset: u64,
    number: u64,
}

impl Batches {
    fn next(&mut self) -> Batch {
        let log = LogName { start: 1, shard: 0 };
        let octets = if self.offset == 0 { self.octets + BLOCK } else { self.octets };
        if self.offset + octets as u64 > SEGMENT_BYTES {
            (self.segment, self.offset) = (self.segment + 1, 0);
            return self.next();
        }
        self.number += 1;
        let mut batch = Batch::new(log, SEGMENT_BYTES).at(self.segment, self.offset, self.number);
        let record = Entry::Receipt(Receipt {
            number: self.number,
            message: 0,
            is_final: false,
            taken_unix_ms: 0,
            expires_unix_ms: 0,
            customer: b"acme",
            vendor: b"north",
            pdu: &[0x5A; 3000],
        });
        while batch.whole_len() < octets {
            batch.append(&record);
        }
        self.offset += batch.whole_len() as u64;
        batch
    }
}

fn measure_journal(
    data_dir: &Path,
    octets: usize,
    span: Duration,
    core: Option<usize>,
    ahead: usize,
) -> Result<(), Box<dyn Error>> {
    let store = Store::open(data_dir, 1)?;
    let bell = Arc::new(Doorbell::new()?);
    let (maker, ends) = Maker::start(&store, MakerSettings::default(), std::slice::from_ref(&bell))?;
    // The threads of the journal stay where they like.
    core.map_or(Ok(()), keep_busy)?;
    let mut appender = Appender::new(ends.into_iter().next().ok_or("one shard has one end")?);
    let mut net = Net::new(bell.clone())?;
    let mut batches = Batches { octets, segment: 0, offset: 0, number: 0 };
    let mut ready: Vec<Batch> = Vec::new();
    let (mut taken, mut out, begin, mut last) = (Taken::default(), 0, Instant::now(), Instant::now());
    while begin.elapsed() < span || out > 0 {
        if ready.is_empty() {
            ready.push(batches.next());
        }
        while out <= ahead && begin.elapsed() < span && !appender.has_offered() {
            let Some(batch) = ready.pop() else { break };
            let segment = batch.segment();
            match appender.offer(batch) {
                Offered::Taken => out += 1,
                Offered::NoFile(batch) => {
                    ready.push(batch);
                    break;
                }
            }
            appender.free_below(segment.saturating_sub(SEGMENTS_KEPT));
        }
        turn(&mut net, &bell, &appender)?;
        while let Some(news) = appender.next_news() {
            if let News::NoFile(_, reason) = news {
                return Err(reason.into());
            }
        }
        while let Some(outcome) = appender.next_outcome() {
            let Outcome::Written(_) = outcome else { return Err(format!("{outcome:?}").into()) };
            out -= 1;
            taken.times.push(last.elapsed());
            last = Instant::now();
        }
    }
    report(if ahead == 0 { "journal" } else { "journal, one more offered" }, &mut taken, octets);
    println!("journal: {}; {} segments", store.access(), batches.segment + 1);
    drop(appender);
    maker.join();
    Ok(())
}

fn turn(net: &mut Net, bell: &Doorbell, appender: &Appender) -> io::Result<()> {
    let mut wait = Wait::No;
    if IS_BUSY.get().is_some() {
        let start = Instant::now();
        while start.elapsed() < TURN {
            std::hint::spin_loop();
        }
    } else {
        bell.going_to_sleep();
        if !appender.has_news() {
            wait = WAIT;
        }
    }
    net.enter(wait)?;
    bell.awake();
    while net.next().is_some() {}
    Ok(())
}
