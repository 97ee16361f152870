//! How many commits a second a folder's disk takes: each way of bringing octets to stable storage, with and without the
//! page cache, one commit under way at a time as a shard has it.
//!
//! The last line is the journal itself: through its appender and from segment to segment, with files made ahead while
//! it runs, freed and used again. One thread and the journal's; makes a file and a folder in the folder it is given and
//! removes them. It must never touch a journal that is there.
//!
//! ```text
//! cargo run --release -p smpp-gateway --example commits -- FOLDER [KiB of a commit] [seconds of each] [CORE]
//! ```
//!
//! With a core, the thread stays on it and is busy while it waits, as a shard is under load: what the kernel wants to do
//! on that core for a commit has to fight for it.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use smpp_gateway::journal::{Appender, Begun, Maker, MakerSettings, News, Outcome, SEGMENT_BYTES, Store};
use smpp_gateway::net::{AlignedBuffer, Completion, Doorbell, Durability, Net, Wait};
use smpp_shards::journal::Batch;

const WAIT: Wait = Wait::AtMost(Duration::from_secs(1));

/// Rounds in which every way has its turn, so that none has the disk's good hour to itself.
const ROUNDS: u32 = 6;

/// From one look at the ring to the next of a thread that is busy.
const TURN: Duration = Duration::from_micros(50);

/// Whether the thread is busy while it waits.
static IS_BUSY: OnceLock<()> = OnceLock::new();

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("which folder?")?;
    let octets = arguments.next().map_or(Ok(256), |text| text.parse::<usize>())?.max(4) / 4 * 4096;
    let seconds = arguments.next().map_or(Ok(3), |text| text.parse::<u32>())?;
    if let Some(core) = arguments.next() {
        let mut set = CpuSet::new();
        set.set(core.parse()?);
        sched_setaffinity(None, &set)?;
        IS_BUSY.get_or_init(|| ());
    }
    let path = Path::new(&folder).join("commits.tmp");
    let span = Duration::from_secs(u64::from(seconds));
    let result = measure_all(&path, octets, span / ROUNDS);
    fs::remove_file(&path)?;
    result?;
    let data_dir = Path::new(&folder).join("commits.tmp.d");
    fs::create_dir(&data_dir)?;
    let result = measure_journal(&data_dir, octets, span);
    fs::remove_dir_all(&data_dir)?;
    result
}

fn measure_all(path: &Path, octets: usize, span: Duration) -> Result<(), Box<dyn Error>> {
    fill(path)?;
    let ways = [
        ("direct,   write, then fdatasync", true, Durability::WriteAndSync),
        ("direct,   RWF_DSYNC", true, Durability::WriteThrough),
        ("buffered, write, then fdatasync", false, Durability::WriteAndSync),
        ("buffered, RWF_DSYNC", false, Durability::WriteThrough),
    ];
    let mut taken: Vec<Taken> = ways.iter().map(|_| Taken::default()).collect();
    for _ in 0..ROUNDS {
        for (index, (name, direct, durability)) in ways.iter().enumerate() {
            match measure(path, octets, span, *direct, *durability, &mut taken[index]) {
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
    /// Processor time of the process, the ring's workers among it.
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
    durability: Durability,
    taken: &mut Taken,
) -> Result<(), Box<dyn Error>> {
    let flags = if direct { rustix::fs::OFlags::DIRECT.bits() as i32 } else { 0 };
    let file = Arc::new(OpenOptions::new().write(true).custom_flags(flags).open(path)?);
    let mut net = Net::new(Arc::new(Doorbell::new()?))?;
    let bytes: Vec<u8> = (0..octets).map(|index| (index / 3) as u8).collect();
    let (mut offset, begin) = (0, Instant::now());
    let (thread, process) = (cpu(ClockId::ThreadCPUTime), cpu(ClockId::ProcessCPUTime));
    while begin.elapsed() < span {
        if offset + octets as u64 > SEGMENT_BYTES {
            offset = 0;
        }
        let start = Instant::now();
        net.append(&file, offset, &bytes, durability);
        wait(&mut net)?;
        taken.times.push(start.elapsed());
        offset += octets as u64;
    }
    taken.thread += cpu(ClockId::ThreadCPUTime) - thread;
    taken.process += cpu(ClockId::ProcessCPUTime) - process;
    Ok(())
}

/// Segments that stay before they are freed.
const SEGMENTS_KEPT: u32 = 3;

fn measure_journal(data_dir: &Path, octets: usize, span: Duration) -> Result<(), Box<dyn Error>> {
    let store = Store::open(data_dir, 1)?;
    let bell = Arc::new(Doorbell::new()?);
    let (maker, ends) = Maker::start(&store, MakerSettings::default(), std::slice::from_ref(&bell))?;
    let mut appender = Appender::new(ends.into_iter().next().ok_or("one shard has one end")?);
    let mut net = Net::new(bell)?;
    let mut batch =
        Batch { segment: 0, offset: 0, bytes: Arc::new((0..octets).map(|index| (index / 3) as u8).collect()) };
    let (mut taken, mut waited, begin) = (Taken::default(), Duration::ZERO, Instant::now());
    let (thread, process) = (cpu(ClockId::ThreadCPUTime), cpu(ClockId::ProcessCPUTime));
    while begin.elapsed() < span {
        let start = Instant::now();
        while appender.begin(&mut net, &batch) != Begun::Started {
            if let Some(News::NoFile(_, reason)) = appender.next_news() {
                return Err(reason.into());
            }
            std::thread::yield_now();
        }
        let begun = Instant::now();
        waited += begun - start;
        let outcome = appender.completed(wait(&mut net));
        if outcome != Outcome::Written {
            return Err(format!("{outcome:?}").into());
        }
        taken.times.push(begun.elapsed());
        while appender.next_news().is_some() {}
        batch.offset += octets as u64;
        if batch.offset + octets as u64 > SEGMENT_BYTES {
            batch.segment += 1;
            batch.offset = 0;
            appender.free_below(batch.segment.saturating_sub(SEGMENTS_KEPT));
        }
    }
    taken.thread = cpu(ClockId::ThreadCPUTime) - thread;
    taken.process = cpu(ClockId::ProcessCPUTime) - process;
    report("journal", &mut taken, octets);
    println!("journal: {}; {} segments; {waited:.1?} waited for files", store.access(), batch.segment + 1);
    drop(appender);
    maker.join();
    Ok(())
}

fn wait(net: &mut Net) -> io::Result<()> {
    net.enter(Wait::No)?;
    loop {
        while let Some(completion) = net.next() {
            if let Completion::Appended(result) = completion {
                return result;
            }
        }
        turn(net)?;
    }
}

fn turn(net: &mut Net) -> io::Result<()> {
    if IS_BUSY.get().is_none() {
        return net.enter(WAIT);
    }
    let start = Instant::now();
    while start.elapsed() < TURN {
        std::hint::spin_loop();
    }
    net.enter(Wait::No)
}
