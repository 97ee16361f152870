//! The command line: `smpp-bench load | smsc | demo`.
//!
//! Parses, runs one of the library's engines on this thread, prints its report. Exit status 0 only when all
//! was as it should be; 1 when the report has problems, 2 when there is no report.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use smpp_bench::demo::{self, DemoOptions, Event};
use smpp_bench::load::{self, LoadOptions};
use smpp_bench::smsc::{Server, SmscOptions};
use smpp_bench::stop::Stop;

mod progress;

/// Load, a vendor simulator and a demonstration for SMPP gateways and servers.
#[derive(Debug, Parser)]
#[command(name = "smpp-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Submit from many sessions to any SMPP server, and report
    Load(Box<LoadOptions>),
    /// Be a vendor's SMSC that answers well or badly as told
    Smsc(Box<SmscOptions>),
    /// Run a gateway between the two and check every message
    Demo(DemoOptions),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Load(options) => run_load(&options),
        Command::Smsc(options) => run_smsc(*options),
        Command::Demo(options) => run_demo(&options),
    };
    result.unwrap_or_else(|sentence| {
        eprintln!("smpp-bench: {sentence}");
        ExitCode::from(2)
    })
}

fn run_load(options: &LoadOptions) -> Result<ExitCode, String> {
    let stop = Stop::on_signals().map_err(|error| format!("catching signals: {error}"))?;
    writable([&options.json, &options.svg])?;
    let mut progress = progress::Line::new(options.quiet);
    let report = load::run(options, &stop, &mut |tick| progress.show(tick)).map_err(|error| error.to_string())?;
    progress.end();
    print!("{}", report.to_text());
    if let Some(path) = &options.json {
        write_file(path, &(report.to_json().to_string() + "\n"))?;
    }
    if let Some(path) = &options.svg {
        write_file(path, &report.to_svg())?;
    }
    Ok(ExitCode::from(u8::from(!report.problems.is_empty())))
}

fn run_smsc(options: SmscOptions) -> Result<ExitCode, String> {
    let stop = Stop::on_signals().map_err(|error| format!("catching signals: {error}"))?;
    let json = options.json.clone();
    writable([&json])?;
    let server = Server::bind(options).map_err(|error| error.to_string())?;
    for address in server.addresses() {
        println!("listening on {address}");
    }
    let mut last = (0, 0.0);
    let mut watch = |counters: &smpp_bench::smsc::Counters| {
        let rate = (counters.submits - last.0) as f64 / (counters.seconds - last.1).max(1e-3);
        last = (counters.submits, counters.seconds);
        println!("{}", progress::vendor_line(counters, rate));
    };
    let counters = server.run(&stop, &mut watch).map_err(|error| error.to_string())?;
    print!("{}", counters.to_text());
    if let Some(path) = &json {
        write_file(path, &(counters.to_json().to_string() + "\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn run_demo(options: &DemoOptions) -> Result<ExitCode, String> {
    let stop = Stop::on_signals().map_err(|error| format!("catching signals: {error}"))?;
    writable([&options.json, &options.svg])?;
    let mut progress = progress::Line::new(options.quiet);
    let mut watch = |event: Event<'_>| match event {
        Event::Step(text) => println!("{text}"),
        Event::Tick(tick) => progress.show(tick),
    };
    let report = demo::run(options, &stop, &mut watch).map_err(|error| error.to_string())?;
    progress.end();
    print!("{}", report.to_text());
    if let Some(path) = &options.json {
        write_file(path, &(report.to_json().to_string() + "\n"))?;
    }
    if let Some(path) = &options.svg {
        write_file(path, &report.load.to_svg())?;
    }
    Ok(ExitCode::from(u8::from(!report.problems.is_empty())))
}

/// Opens the files that the report will go to, so that what is wrong with one is told before the run.
fn writable<const N: usize>(paths: [&Option<PathBuf>; N]) -> Result<(), String> {
    for path in paths.into_iter().flatten() {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn write_file(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
