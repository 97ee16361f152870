//! The simulator: the real shard code under a virtual clock, with a network of byte streams that splits, stalls and
//! resets, and model customers, vendors and a control thread that misbehave as their seed says. A reference model
//! watches the octets that cross each shard's border. One thread; a seed and a commit replay everything.

mod control;
mod counts;
mod customer;
mod customer_habits;
mod customer_mischief;
mod damage;
mod days;
mod disk;
mod ground;
mod host;
mod idle;
mod live;
mod lives;
mod mailbox;
mod model;
mod network;
mod pipe_end;
mod random;
mod scenario;
mod schedule;
mod trace;
mod traffic;
mod vendor;
mod vendor_habits;
mod vendor_receipts;
mod world;

pub use counts::Counts;
pub use scenario::Mode;
pub use world::{Outcome, World};

/// Runs one seed; `verbose` prints every step. Half of all seeds run with a journal, unless `mode` says otherwise.
///
/// # Panics
/// With a sentence that names the seed, when something that must hold does not.
pub fn run(seed: u64, mode: Mode, verbose: bool) -> Outcome {
    World::new(seed, mode, verbose).run()
}
