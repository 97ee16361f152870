//! The commands that work on PostgreSQL: `migrate` and `rotate-keys`.
//!
//! Run on the main thread of a process of their own, beside gateways that run.

use std::path::Path;
use std::process::ExitCode;

use smpp_control::Configuration;
use smpp_control::config::PostgresSettings;
use smpp_control::postgres::{self, MIGRATIONS};

use super::{load, refuse};

/// Applies what is missing of the schema, a line for each step.
pub(super) fn migrate(path: &Path, seed: bool) -> ExitCode {
    let (_, settings) = match load_postgres(path) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    match postgres::block_on(postgres::migrate(&settings, seed)) {
        Ok(done) => {
            for migration in &done.applied {
                println!("applied {} {}", migration.version, migration.name);
            }
            let newest = MIGRATIONS.last().map_or(0, |migration| migration.version);
            match done.version {
                version if version > newest => {
                    println!("the schema is version {version}, of a later program than this one ({newest})");
                }
                version => println!("the schema is version {version}"),
            }
            ExitCode::SUCCESS
        }
        Err(error) => refuse(&error),
    }
}

/// Encrypts every vendor's password under the newest key.
pub(super) fn rotate_keys(path: &Path) -> ExitCode {
    let (configuration, settings) = match load_postgres(path) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let Some(newest) = configuration.secrets.newest() else {
        return refuse(&"no key is configured; set [secrets] key_file");
    };
    match postgres::block_on(postgres::rotate_keys(&settings, &configuration.secrets)) {
        Ok(done) => {
            println!("{} encrypted under {newest}, {} left as they are", done.encrypted, done.left);
            for (vendor, reason) in &done.failed {
                eprintln!("smpp-gateway: the password of vendor {vendor} cannot be decrypted: {reason}");
            }
            if done.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => refuse(&error),
    }
}

fn load_postgres(path: &Path) -> Result<(Configuration, PostgresSettings), ExitCode> {
    let configuration = load(path)?;
    match configuration.postgres.clone() {
        Some(settings) => Ok((configuration, settings)),
        None => Err(refuse(&"PostgreSQL is not configured; set [postgres] url, or POSTGRES_HOST")),
    }
}
