//! Where the rows come from.

use std::future::Future;
use std::pin::Pin;

use super::{Loaded, ReloadError, RowFault};

/// Rows on their way.
pub type Loading<'a> = Pin<Box<dyn Future<Output = Result<Loaded, ReloadError>> + Send + 'a>>;

/// From a table of [`RowFault`] to what whoever mends its rows calls it.
pub type TableName = fn(&'static str) -> &'static str;

/// A service that holds customers, vendors, rules and routes.
pub trait RowSource: Send {
    /// Reads all rows. It must come to an end in a time of its own, and never compute for long: it runs on the control
    /// thread. `settings.gateway` is filled in by whoever asked.
    ///
    /// # Errors
    /// [`ReloadError::Source`]; then everything stays as it is.
    fn load(&mut self) -> Loading<'_>;

    /// What the service calls a table of faults.
    fn table_name(&self) -> TableName {
        |table| table
    }

    /// What was loaded last is in force, but for the rows that these faults name.
    fn applied(&mut self, _faults: &[RowFault]) {}
}

/// Where the rows come from. The sections of the file are the file's in any case.
pub enum Source {
    /// From the file as well.
    Toml,
    /// From a service.
    Rows(Box<dyn RowSource>),
    /// From a service that has given none yet: nothing is reloaded.
    Awaited,
}

impl Source {
    /// What the tables of faults are called where their rows are.
    pub(crate) fn table_name(&self) -> TableName {
        match self {
            Self::Rows(source) => source.table_name(),
            Self::Toml | Self::Awaited => |table| table,
        }
    }
}
