//! The gateway's program as a library: everything but the command line.
//!
//! The thin half: sockets, TLS, threads, start and stop. What a message means and where it goes is decided in
//! `smpp-shards`; what is slow is done in `smpp-control`.

pub mod certificates;
pub mod check;
pub mod clock;
mod connections;
mod courtesy;
pub mod inspect;
pub mod journal;
pub mod listen;
mod live;
mod mail;
pub mod net;
pub mod platform;
mod pump;
mod recovery;
mod resolve;
pub mod rows;
pub mod start;
pub mod stop;
mod tls;
pub mod top;
