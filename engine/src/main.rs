//! The command line: `run`, `check`, `migrate`, `journal inspect`, `top`, `hash-password`, `encrypt-password`, `rotate-keys`.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use smpp_control::Configuration;
use smpp_gateway::check::{self, Severity};
use smpp_gateway::inspect;
use smpp_gateway::rows::{self, Rows};
use smpp_gateway::start::{Gateway, StartError};
use smpp_gateway::stop::{self, Ending, StartSignals};
use smpp_gateway::top::{self, TopOptions};
use smpp_pdu::bind::PASSWORD_LENIENT_MAX;

mod commands;

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
    /// Look at the journal on disk.
    #[command(subcommand)]
    Journal(Journal),
    /// Bring PostgreSQL's schema up to what this version needs. May be run again, and by several nodes at once.
    Migrate {
        /// The TOML configuration that says where PostgreSQL is.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Put in a customer, a vendor and a rule to try the gateway with.
        #[arg(long)]
        seed: bool,
    },
    /// Show what a running gateway tells, live in the terminal; `q` ends it.
    Top {
        /// Its control port.
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
        url: String,
        /// A file that holds the token of [control] token.
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// Print it once as plain text, and end.
        #[arg(long)]
        once: bool,
    },
    /// Read a password from the terminal or standard input and print its bcrypt hash.
    HashPassword,
    /// Read a vendor's password from the terminal or standard input and print it encrypted under the newest key.
    EncryptPassword {
        /// The TOML configuration that names the keys.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Encrypt the passwords of all vendors in PostgreSQL under the newest key. Exit status 1 when one could not be.
    RotateKeys {
        /// The TOML configuration that names the keys and says where PostgreSQL is.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

#[derive(Subcommand)]
enum Journal {
    /// Print what a journal holds, beside a gateway that runs or after a crash; nothing is changed.
    ///
    /// For each start and shard: segments, records by kind, what is live, the oldest of it, damage with file and offset,
    /// and a torn tail. Exit status 0; 1 when something is damaged; 2 when the journal cannot be read.
    Inspect {
        /// The TOML configuration whose data_dir is meant.
        #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
        config: Option<PathBuf>,
        /// The data_dir itself; the default is that of a configuration without one.
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
}

/// The exit status of an inspection that found damage, and of one that was not possible.
const DAMAGED: u8 = 1;
const UNREADABLE: u8 = 2;

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config } => run(&config),
        Command::Check { config } => check(&config),
        Command::Journal(Journal::Inspect { config, data_dir }) => inspect_journal(config.as_deref(), data_dir),
        Command::Migrate { config, seed } => commands::migrate(&config, seed),
        Command::Top { url, token_file, once } => match top::run(&TopOptions { url, token_file, once }) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(&error),
        },
        Command::HashPassword => hash_password(),
        Command::EncryptPassword { config } => encrypt_password(&config),
        Command::RotateKeys { config } => commands::rotate_keys(&config),
    }
}

fn run(path: &Path) -> ExitCode {
    let mut signals = match stop::catch_signals() {
        Ok(signals) => signals,
        Err(error) => return refuse(&format!("signals cannot be caught: {error}")),
    };
    let configuration = match load(path) {
        Ok(configuration) => configuration,
        Err(code) => return code,
    };
    let rows = match rows::open(&configuration, &mut signals) {
        Ok(Rows::Stopped) => return ExitCode::SUCCESS,
        Ok(Rows::OfFile) => None,
        Ok(Rows::OfPostgres(opened)) => Some(*opened),
        Err(error) => return refuse(&error),
    };
    let mut signals = StartSignals::new(&mut signals);
    match Gateway::start(configuration, rows, &mut signals) {
        Ok(gateway) => match stop::run_until_stopped(gateway, signals) {
            Ending::Drained => ExitCode::SUCCESS,
            Ending::Cut => ExitCode::FAILURE,
        },
        Err(StartError::Stopped) => ExitCode::SUCCESS,
        Err(error) => refuse(&error),
    }
}

fn check(path: &Path) -> ExitCode {
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

fn inspect_journal(config: Option<&Path>, data_dir: Option<PathBuf>) -> ExitCode {
    let data_dir = match config.map(load).transpose() {
        Ok(configuration) => configuration.map(|it| it.gateway.data_dir).or(data_dir),
        Err(_) => return ExitCode::from(UNREADABLE),
    };
    match inspect::inspect(&data_dir.unwrap_or_else(|| PathBuf::from(smpp_control::config::DATA_DIR))) {
        Ok(report) => {
            // Whoever closes the pipe has read enough.
            let _ = write!(io::stdout(), "{report}");
            if report.is_damaged() { ExitCode::from(DAMAGED) } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            eprintln!("smpp-gateway: {error}");
            ExitCode::from(UNREADABLE)
        }
    }
}

fn load(path: &Path) -> Result<Configuration, ExitCode> {
    smpp_control::load(path).map_err(|error| refuse(&error))
}

fn refuse(reason: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("smpp-gateway: {reason}");
    ExitCode::FAILURE
}

fn hash_password() -> ExitCode {
    match read_password() {
        Ok(password) if password.is_empty() => refuse(&"no password was given"),
        Ok(password) if password.len() > PASSWORD_LENIENT_MAX => refuse(&format!(
            "the password has {} octets; a bind carries {PASSWORD_LENIENT_MAX} at most",
            password.len()
        )),
        Ok(password) => {
            println!("{}", smpp_control::auth::hash_password(&password));
            ExitCode::SUCCESS
        }
        Err(error) => refuse(&format!("the password cannot be read: {error}")),
    }
}

fn encrypt_password(path: &Path) -> ExitCode {
    let configuration = match load(path) {
        Ok(configuration) => configuration,
        Err(code) => return code,
    };
    match read_password() {
        Ok(password) if password.is_empty() => refuse(&"no password was given"),
        Ok(password) => match configuration.secrets.encrypt(&password) {
            Ok(text) => {
                println!("{text}");
                ExitCode::SUCCESS
            }
            Err(error) => refuse(&format!("the password cannot be encrypted: {error}")),
        },
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
