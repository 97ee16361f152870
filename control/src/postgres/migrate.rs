//! The schema, step by step: each migration once, in a transaction of its own, and only by one node at a time.
//!
//! The scripts are in `deploy/migrations` and built into the program. Used by the command `migrate`.

use ring::digest::{SHA256, digest};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::connect::{Connection, PostgresError};
use crate::config::PostgresSettings;

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Counts up from 1.
    pub version: i32,
    /// The file's name without its number.
    pub name: &'static str,
    script: &'static str,
}

macro_rules! migrations {
    ($($version:literal $name:literal),+ $(,)?) => {
        &[$(Migration {
            version: $version,
            name: $name,
            script: include_str!(concat!("../../../deploy/migrations/000", $version, "_", $name, ".sql")),
        }),+]
    };
}

/// All steps, in their order.
pub const MIGRATIONS: &[Migration] =
    migrations![1 "tables", 2 "notifications", 3 "older_vendors", 4 "client_certificates"];

const SEED: &str = include_str!("../../../deploy/seed.sql");

/// The oldest server whose SQL this is.
const SERVER_VERSION_MIN: u32 = 140_000;

/// Names the lock that a migrating node holds; any number that nobody else uses.
const LOCK: i64 = 0x736D_7070_6777_0001;

/// How long another node's migrations are waited for.
const LOCK_WAIT: &str = "60s";

/// What a run of migrations did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Steps that were applied now.
    pub applied: Vec<Migration>,
    /// The version that the schema had before.
    pub before: i32,
    /// The version that it has now; above the last of [`MIGRATIONS`] when a later version of the program was here.
    pub version: i32,
}

/// Applies what is missing, and with `seed` puts the trial's rows in.
///
/// # Errors
/// [`PostgresError`] with the migration's name and the script's line; the steps before it stay applied.
pub async fn migrate(settings: &PostgresSettings, seed: bool) -> Result<Migrated, PostgresError> {
    // A script may take longer than a statement of the gateway's.
    let settings = PostgresSettings { statement_timeout: std::time::Duration::from_secs(600), ..settings.clone() };
    let mut connection = Connection::open(&settings, false).await?;
    check_server(&connection).await?;
    connection.client.batch_execute(&format!("SET lock_timeout = '{LOCK_WAIT}'")).await?;
    prepare(&mut connection.client).await.map_err(|error| named("the table of migrations", None, error))?;
    let mut done = Migrated::default();
    for (index, migration) in MIGRATIONS.iter().enumerate() {
        let version = apply(&mut connection.client, migration, &mut done).await?;
        if index == 0 {
            done.before = version;
        }
    }
    run(&mut connection.client, "SELECT messaging.smpp_gateway_map_vendors()")
        .await
        .map_err(|error| named("the views of older vendor tables", None, error))?;
    if seed {
        run(&mut connection.client, SEED).await.map_err(|error| named("seed.sql", Some(SEED), error))?;
    }
    Ok(done)
}

async fn check_server(connection: &Connection) -> Result<(), PostgresError> {
    let answer = connection.ask("SHOW server_version_num").await?;
    let version = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse::<u32>().ok(),
        _ => None,
    });
    match version {
        Some(version) if version < SERVER_VERSION_MIN => {
            Err(PostgresError::Refused(format!("the server is version {}; 14 or later is needed", version / 10_000)))
        }
        _ => Ok(()),
    }
}

/// The schema and the table that tells what was applied.
async fn prepare(client: &mut Client) -> Result<(), tokio_postgres::Error> {
    let text = "DO $$ BEGIN
             -- To make a schema that is there takes a privilege that is not needed otherwise.
             IF to_regnamespace('messaging') IS NULL THEN CREATE SCHEMA messaging; END IF;
             IF to_regclass('messaging.smpp_gateway_migrations') IS NULL THEN
                 CREATE TABLE messaging.smpp_gateway_migrations (
                     version integer PRIMARY KEY,
                     name text NOT NULL,
                     checksum text NOT NULL,
                     applied_at timestamptz NOT NULL DEFAULT now());
             END IF;
         END $$;";
    run(client, text).await
}

/// Runs a script in a transaction, while no other node does.
async fn run(client: &mut Client, script: &str) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(&format!("SELECT pg_advisory_xact_lock({LOCK})")).await?;
    transaction.batch_execute(script).await?;
    transaction.commit().await
}

/// Applies one step unless it is there; the schema's version before.
async fn apply(client: &mut Client, migration: &Migration, done: &mut Migrated) -> Result<i32, PostgresError> {
    let refused = |error| named(migration.name, None, error);
    let transaction = client.transaction().await?;
    transaction.batch_execute(&format!("SELECT pg_advisory_xact_lock({LOCK})")).await.map_err(refused)?;
    let rows = transaction
        .query("SELECT version, checksum FROM messaging.smpp_gateway_migrations ORDER BY version", &[])
        .await
        .map_err(refused)?;
    let before = rows.last().map_or(0, |row| row.get::<_, i32>(0));
    done.version = before;
    let checksum = checksum(migration.script);
    if let Some(row) = rows.iter().find(|row| row.get::<_, i32>(0) == migration.version) {
        let is_same = row.get::<_, &str>(1) == checksum;
        return match is_same {
            true => Ok(before),
            false => Err(PostgresError::Refused(format!(
                "migration {} ({}) was applied in another form than this program has; use the program that applied it, \
                 or a later one",
                migration.version, migration.name
            ))),
        };
    }
    transaction
        .batch_execute(migration.script)
        .await
        .map_err(|error| named(migration.name, Some(migration.script), error))?;
    transaction
        .execute(
            "INSERT INTO messaging.smpp_gateway_migrations (version, name, checksum) VALUES ($1, $2, $3)",
            &[&migration.version, &migration.name, &checksum],
        )
        .await
        .map_err(refused)?;
    transaction.commit().await.map_err(refused)?;
    done.applied.push(*migration);
    done.version = before.max(migration.version);
    Ok(before)
}

/// An error with the step's name and the line of the script.
fn named(name: &str, script: Option<&str>, error: tokio_postgres::Error) -> PostgresError {
    use tokio_postgres::error::ErrorPosition;
    let position = error.as_db_error().and_then(|said| said.position());
    let line = match (script, position) {
        (Some(script), Some(ErrorPosition::Original(at))) => {
            let before: String = script.chars().take(*at as usize).collect();
            format!(", line {}", before.matches('\n').count() + 1)
        }
        _ => String::new(),
    };
    let context = error.as_db_error().and_then(|said| said.where_()).map(|text| text.replace('\n', ", "));
    match PostgresError::from(error) {
        PostgresError::Refused(reason) => {
            let context = context.map_or_else(String::new, |context| format!(" [{context}]"));
            PostgresError::Refused(format!("{name}{line}: {reason}{context}"))
        }
        away => away,
    }
}

fn checksum(script: &str) -> String {
    digest(&SHA256, script.as_bytes()).as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_count_up_from_one() {
        let versions: Vec<i32> = MIGRATIONS.iter().map(|migration| migration.version).collect();
        assert_eq!(versions, (1..=MIGRATIONS.len() as i32).collect::<Vec<_>>());
    }
}
