//! The connection that leases and binds share, and the two scripts.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, Script};

use super::{DATABASE, NODES_KEY};
use crate::config::RedisSettings;

/// How long Redis may take for one call. Longer, and the connection is made anew.
const ANSWER_MAX: Duration = Duration::from_millis(1_500);

/// How long a node that stops tries to say so.
const LEAVE_MAX: Duration = Duration::from_millis(500);

/// The way to Redis; there or not.
pub(super) struct Link {
    settings: RedisSettings,
    connection: Mutex<Option<MultiplexedConnection>>,
    leases: Script,
    binds: Script,
}

impl Link {
    pub(super) fn new(settings: &RedisSettings) -> Self {
        Self {
            settings: settings.clone(),
            connection: Mutex::new(None),
            leases: Script::new(include_str!("lease.lua")),
            binds: Script::new(include_str!("binds.lua")),
        }
    }

    /// Whether there is a connection that has not failed yet.
    pub(super) fn is_there(&self) -> bool {
        self.connection().is_some()
    }

    /// Connects.
    ///
    /// # Errors
    /// A sentence without its subject.
    pub(super) async fn connect(&self) -> Result<(), String> {
        let made = crate::redis::connect(&self.settings, DATABASE, ANSWER_MAX).await?;
        *self.connection() = Some(made);
        Ok(())
    }

    /// Runs the script of leases: keys are those of limits.
    ///
    /// # Errors
    /// A sentence without its subject; the connection is given up where it is of no use any more.
    pub(super) async fn renew(&self, keys: &[String], arguments: &[String]) -> Result<Vec<i64>, String> {
        self.run(&self.leases, keys, arguments).await
    }

    /// Runs the script of binds: keys are those of customers.
    ///
    /// # Errors
    /// As [`Link::renew`].
    pub(super) async fn count(&self, keys: &[String], arguments: &[String]) -> Result<Vec<i64>, String> {
        self.run(&self.binds, keys, arguments).await
    }

    /// Removes a node from those that are alive, if there is a connection.
    pub(super) async fn leave(&self, node: &str) {
        let Some(mut connection) = self.connection().clone() else { return };
        let mut command = redis::cmd("ZREM");
        command.arg(NODES_KEY).arg(node);
        let _ = tokio::time::timeout(LEAVE_MAX, command.exec_async(&mut connection)).await;
    }

    async fn run(&self, script: &Script, keys: &[String], arguments: &[String]) -> Result<Vec<i64>, String> {
        let Some(mut connection) = self.connection().clone() else { return Err("is not connected".to_owned()) };
        let mut call = script.prepare_invoke();
        call.key(NODES_KEY);
        for key in keys {
            call.key(key);
        }
        for argument in arguments {
            call.arg(argument);
        }
        call.invoke_async(&mut connection).await.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &RedisError) -> String {
        if crate::redis::ends_connection(error) {
            *self.connection() = None;
        }
        crate::redis::reason(error)
    }

    fn connection(&self) -> MutexGuard<'_, Option<MultiplexedConnection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
