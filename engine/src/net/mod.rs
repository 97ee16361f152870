//! The network half of a shard: one io_uring ring, its provided buffers, its sockets, its doorbell,
//! and how the kernel schedules its thread.
//!
//! Lives on the shard's thread (the doorbell's ringing side on any). It knows sockets and octets and nothing of
//! SMPP. It is the only place of the program where `unsafe` is allowed: the kernel writes to and reads from memory
//! that this module lends it, and each block says why that memory outlives the operation. It must never block
//! except in [`Net::enter`].

#![allow(unsafe_code)]

mod buffers;
mod doorbell;
mod policy;
mod ring;
mod slots;
mod sockets;
mod transfer;

pub use buffers::Chunk;
pub use doorbell::Doorbell;
pub use policy::{Policy, policy, set_policy};
pub use ring::{REQUIRED_OPERATIONS, SetupError, Wait, probe};
pub use slots::{Detached, Reading, Slot};
pub use sockets::{Completion, Net};

#[cfg(test)]
mod tests;
