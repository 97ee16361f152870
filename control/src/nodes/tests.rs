//! The scripts against a real Redis, at times that the tests make up: nodes that ask, fall silent, come back.

mod scripts;
pub(crate) mod server;
