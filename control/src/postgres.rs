//! PostgreSQL: the rows of the configuration, their changes, and the vendors' health written back.
//!
//! One task of the control thread owns one connection and does one thing at a time on it, so that a server that is slow
//! or silent costs that task its time and nobody else. Losing the server changes nothing but that: what was read last
//! stays in force, here and in a file for the next start. Must never log or format a password.

mod connect;
mod kept;
mod migrate;
mod rotate;
mod rows;
mod tables;
mod tls;

pub use connect::{CHANNEL, PostgresError};
pub use migrate::{MIGRATIONS, Migrated, Migration, migrate};
pub use rotate::{Rotated, rotate_keys};
pub use tables::ROWS_MAX;

#[cfg(test)]
mod tests;
