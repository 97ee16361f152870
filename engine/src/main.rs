//! The command line: `run`, `check`, `hash-password`.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use smpp_control::Configuration;
use smpp_gateway::check::{self, Severity};
use smpp_gateway::start::Gateway;
use smpp_gateway::stop::{self, Ending};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An SMPP 3.4 gateway.
#[derive(Parser)]
#[command(name = "smpp-gateway", version, about = "An SMPP 3.4 gateway: customers in, vendors out, receipts back")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM.
    Run {
        /// The TOML configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Look at kernel, limits and configuration; a line each, with the cure where something is wrong.
    Check {
        /// The TOML configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Read a password from the terminal or standard input and print its bcrypt hash.
    HashPassword,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config } => run(&config),
        Command::Check { config } => check(&config),
        Command::HashPassword => hash_password(),
    }
}

fn run(path: &std::path::Path) -> ExitCode {
    let mut signals = match stop::catch_signals() {
        Ok(signals) => signals,
        Err(error) => return refuse(&format!("signals cannot be caught: {error}")),
    };
    let configuration = match load(path) {
        Ok(configuration) => configuration,
        Err(code) => return code,
    };
    match Gateway::start(configuration) {
        Ok(gateway) => match stop::run_until_stopped(gateway, &mut signals) {
            Ending::Drained => ExitCode::SUCCESS,
            Ending::Cut => ExitCode::FAILURE,
        },
        Err(error) => refuse(&error),
    }
}

fn check(path: &std::path::Path) -> ExitCode {
    let mut findings = check::machine();
    let loaded = load(path);
    if let Ok(configuration) = &loaded {
        println!("ok   {} is understood", path.display());
        findings.extend(check::configuration(configuration));
    }
    for finding in &findings {
        println!("{finding}");
    }
    match loaded {
        Err(code) => code,
        Ok(_) if findings.iter().any(|finding| finding.severity == Severity::Failure) => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
    }
}

fn load(path: &std::path::Path) -> Result<Configuration, ExitCode> {
    smpp_control::load(path).map_err(|error| refuse(&error))
}

fn refuse(reason: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("smpp-gateway: {reason}");
    ExitCode::FAILURE
}

fn hash_password() -> ExitCode {
    match read_password() {
        Ok(password) if password.is_empty() => refuse(&"no password was given"),
        Ok(password) => {
            println!("{}", smpp_control::auth::hash_password(&password));
            ExitCode::SUCCESS
        }
        Err(error) => refuse(&format!("the password cannot be read: {error}")),
    }
}

/// One line; without echo where a person types it.
fn read_password() -> io::Result<String> {
    let stdin = io::stdin();
    let mut line = String::new();
    if !stdin.is_terminal() {
        stdin.lock().read_line(&mut line)?;
    } else {
        eprint!("Password: ");
        io::stderr().flush()?;
        let before = rustix::termios::tcgetattr(&stdin)?;
        let mut silent = before.clone();
        silent.local_modes.remove(rustix::termios::LocalModes::ECHO);
        rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Flush, &silent)?;
        let outcome = stdin.lock().read_line(&mut line);
        rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Flush, &before)?;
        eprintln!();
        outcome?;
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
