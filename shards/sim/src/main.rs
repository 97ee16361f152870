//! `smpp-sim`: runs seeds. Prints how many a second, and, when one fails, its number and how to replay it.
//! Each thread runs whole seeds by itself.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use smpp_sim::{Counts, Mode};

const USAGE: &str = "usage: smpp-sim [--seed N | --seeds A..B | --count N] [--jobs N] [--verbose]

  --seed N      one seed
  --seeds A..B  the seeds from A up to, not including, B
  --count N     as many seeds, from one that differs each time
  --jobs N      threads (as many as there are cores)
  --mode M      relay or journal, instead of what each seed says
  --verbose     prints every step (use it with --seed)";

struct Options {
    first: u64,
    end: u64,
    jobs: u64,
    mode: Mode,
    verbose: bool,
}

thread_local! {
    static SEED: core::cell::Cell<u64> = const { core::cell::Cell::new(0) };
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(words) => {
            eprintln!("smpp-sim: {words}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    tell_seed_on_panic();
    let started = Instant::now();
    let next = AtomicU64::new(options.first);
    let counts = Mutex::new(Counts::default());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| work(&next, &counts, &options));
        }
    });
    print!("{}", counts.into_inner().unwrap_or_default());
    let (seeds, seconds) = (options.end - options.first, started.elapsed().as_secs_f64());
    println!("{seeds} seeds passed in {seconds:.1} s, {:.1} seeds/s", seeds as f64 / seconds.max(1e-9));
    ExitCode::SUCCESS
}

fn work(next: &AtomicU64, counts: &Mutex<Counts>, options: &Options) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= options.end {
            return;
        }
        SEED.set(seed);
        let outcome = smpp_sim::run(seed, options.mode, options.verbose);
        if let Ok(mut counts) = counts.lock() {
            counts.merge(&outcome.counts);
        }
        let done = seed - options.first + 1;
        if options.verbose || options.end - options.first == 1 {
            println!(
                "seed {seed}: {} events, {} messages, {} deliveries in {} ms; quiet {} ms after the faults; trace {:016x}",
                outcome.events,
                outcome.messages,
                outcome.attempts,
                outcome.virtual_ms,
                outcome.settle_ms,
                outcome.trace_hash
            );
        } else if done.is_multiple_of(1_000) {
            println!("{done} seeds, up to {seed}");
        }
    }
}

/// A failing seed ends the process, with its number and the way to see it again.
fn tell_seed_on_panic() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        usual(info);
        let seed = SEED.get();
        eprintln!("\nseed {seed} failed; replay it with: cargo run --release -p smpp-sim -- --seed {seed} --verbose");
        std::process::exit(1);
    }));
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let mut options = Options { first: 0, end: 200, jobs: cores, mode: Mode::Drawn, verbose: false };
    while let Some(argument) = arguments.next() {
        if argument == "--verbose" {
            options.verbose = true;
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{argument} wants a value, or is not known"))?;
        if argument == "--mode" {
            options.mode = match value.as_str() {
                "relay" => Mode::Relay,
                "journal" => Mode::Journal,
                _ => return Err(format!("{value:?} is no mode")),
            };
            continue;
        }
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is no number"));
        match argument.as_str() {
            "--seed" => (options.first, options.end) = (number(&value)?, number(&value)? + 1),
            "--seeds" => {
                let (first, end) = value.split_once("..").ok_or("--seeds wants A..B")?;
                (options.first, options.end) = (number(first)?, number(end)?);
            }
            "--count" => {
                let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                options.first = clock.map_or(0, |since| since.as_millis() as u64 * 1_000);
                options.end = options.first + number(&value)?;
            }
            "--jobs" => options.jobs = number(&value)?.max(1),
            _ => return Err(format!("{argument} is not known")),
        }
    }
    if options.end <= options.first {
        return Err("there is no seed to run".into());
    }
    Ok(options)
}
