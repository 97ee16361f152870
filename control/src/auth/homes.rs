//! Which shard a customer lives on: given once, to the shard with the least on it, and kept for the process's
//! life.
//!
//! Lives on the control thread.

use smpp_shards::{CustomerId, ShardId, snapshot::Vendor};

/// The homes of all customers.
pub(super) struct Homes {
    homes: Vec<Option<ShardId>>,
    /// By shard: customers and vendors that live there.
    load: Vec<u32>,
}

impl Homes {
    /// For that many shards, on which those vendors live already.
    pub(super) fn new<'v>(shards: usize, vendors: impl Iterator<Item = &'v Vendor>) -> Self {
        let mut load = vec![0; shards.max(1)];
        for vendor in vendors {
            if let Some(count) = load.get_mut(vendor.home.index()) {
                *count += 1;
            }
        }
        Self { homes: Vec::new(), load }
    }

    /// Fixes the home of a customer of which a shard holds something already.
    pub(super) fn fix(&mut self, customer: CustomerId, home: ShardId) {
        let index = customer.index();
        if index >= self.homes.len() {
            self.homes.resize(index + 1, None);
        }
        self.homes[index] = Some(home);
        self.load[home.index()] += 1;
    }

    /// The customer's home; found now if it has none yet.
    pub(super) fn of(&mut self, customer: CustomerId) -> ShardId {
        let index = customer.index();
        if index >= self.homes.len() {
            self.homes.resize(index + 1, None);
        }
        *self.homes[index].get_or_insert_with(|| {
            let least = (0..self.load.len()).min_by_key(|shard| self.load[*shard]).unwrap_or(0);
            self.load[least] += 1;
            ShardId(least as u16)
        })
    }
}
