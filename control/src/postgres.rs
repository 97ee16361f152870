//! PostgreSQL: the rows of the configuration, their changes, vendors changed over the control port, and their health written
//! back.
//!
//! One task of the control thread owns one connection and does one thing at a time on it, so that a server that is slow
//! or silent costs that task its time and nobody else. Losing the server changes nothing but that: what was read last
//! stays in force, here and in a file for the next start. Must never log or format a password.

mod connect;
mod health;
mod kept;
mod migrate;
mod rotate;
mod rows;
mod source;
mod tables;
mod tls;
mod vendor_writes;
mod watch;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{Configuration, PostgresSettings};
use crate::live::ReloadHandle;
use crate::log::Log;
use crate::service::Service;
use crate::vendor_table::VendorTable;

pub use connect::{CHANNEL, PostgresError};
pub use migrate::{MIGRATIONS, Migrated, Migration, migrate};
pub use rotate::{Rotated, rotate_keys};
pub use source::{Opened, look, open};
pub use tables::ROWS_MAX;

pub(crate) use health::VendorHealth;
pub(crate) use source::PostgresSource;
pub(crate) use vendor_writes::NothingYet;
pub(crate) use watch::HealthNow;

/// Runs one of this module's commands to its end, on a runtime of its own.
///
/// # Errors
/// Those of the command; [`PostgresError::Away`] where there is no runtime to be had.
pub fn block_on<T>(work: impl Future<Output = Result<T, PostgresError>>) -> Result<T, PostgresError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| PostgresError::Away(format!("no runtime for the connection: {error}")))?;
    let outcome = runtime.block_on(work);
    // A name that is being looked up has a thread of its own, which nobody waits for.
    runtime.shutdown_background();
    outcome
}

/// What minds PostgreSQL, before it runs.
pub struct Minder {
    settings: PostgresSettings,
    data_dir: PathBuf,
    ends: source::Ends,
    service: Arc<Service>,
}

/// The source of rows for the reloader, and what minds it; `opened` is what the start began with.
pub(crate) fn source(
    configuration: &Configuration,
    settings: &PostgresSettings,
    opened: Opened,
) -> (PostgresSource, Minder) {
    let service = Service::new("postgresql");
    if let Some((reason, _)) = &opened.stale {
        service.is_away(reason.clone());
        service.meanwhile(opened.meanwhile());
    }
    let (source, ends) = PostgresSource::new(configuration, opened);
    let data_dir = configuration.gateway.data_dir.clone();
    (source, Minder { settings: settings.clone(), data_dir, ends, service })
}

impl Minder {
    /// How PostgreSQL does.
    pub(crate) fn service(&self) -> Arc<Service> {
        Arc::clone(&self.service)
    }

    /// Where the control port writes vendors.
    pub(crate) fn vendor_table(&self) -> Arc<dyn VendorTable> {
        Arc::new(vendor_writes::PostgresVendors::new(Arc::clone(&self.ends.shared)))
    }

    /// Starts the tasks, within the control thread's runtime. `reload` is asked whenever rows may have changed, and `health`
    /// tells what is to be written back.
    pub(crate) fn start(self, reload: ReloadHandle, health: HealthNow, log: Log) {
        let Self { settings, data_dir, mut ends, service } = self;
        tokio::spawn(source::write_kept(data_dir, ends.kept.take(), ends.to_write.clone(), log.clone()));
        tokio::spawn(watch::Watch { settings, service, ends, reload, health, log, has_told_plain: false }.run());
    }
}

#[cfg(test)]
mod tests;
