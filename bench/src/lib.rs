//! A fleet of ESMEs, a vendor simulator and a demonstration, for any SMPP 3.4 peer.
//!
//! - [`load`]: binds many sessions to a server and submits, closed loop or at a steady rate; measures.
//! - [`smsc`]: listens as a vendor's SMSC and answers, well or badly as told; sends receipts and MO.
//! - [`demo`]: a gateway between the two, with a live view and a check of every message.
//!
//! Both engines are single-threaded event loops over epoll (`mio`) that make one read per readiness and one
//! write per turn and connection, and allocate nothing per message once warm, so that what is measured is
//! the peer and not the instrument. They run on the thread that calls them: tests start them on threads of
//! their own, or as child processes of the `smpp-bench` program.
//!
//! No file of this crate may use io_uring, glommio or `unsafe`.

pub mod clock;
pub mod demo;
pub mod latency;
pub mod load;
pub mod picture;
pub mod random;
pub mod smsc;
pub mod stop;
pub mod table;
pub mod tls;
pub mod wheel;
pub mod wire;
