//! Which shard a customer lives on: given once, to the shard with the least on it, and kept for the process's
//! life.
//!
//! Lives on the control thread; a clone knows the same homes.

use std::sync::{Arc, Mutex, PoisonError};

use smpp_shards::{CustomerId, ShardId, snapshot::Vendor};

/// The homes of all customers.
#[derive(Clone, Debug)]
pub(crate) struct Homes {
    shared: Arc<Mutex<Table>>,
}

#[derive(Debug)]
struct Table {
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
        Self { shared: Arc::new(Mutex::new(Table { homes: Vec::new(), load })) }
    }

    /// Fixes the home of a customer of which a shard holds something already.
    pub(crate) fn fix(&mut self, customer: CustomerId, home: ShardId) {
        let mut table = self.table();
        *table.place(customer) = Some(home);
        table.load[home.index()] += 1;
    }

    /// The customer's home; found now if it has none yet.
    pub(crate) fn of(&mut self, customer: CustomerId) -> ShardId {
        let mut table = self.table();
        if let Some(home) = *table.place(customer) {
            return home;
        }
        let least = (0..table.load.len()).min_by_key(|shard| table.load[*shard]).unwrap_or(0);
        table.load[least] += 1;
        let home = ShardId(least as u16);
        *table.place(customer) = Some(home);
        home
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn place(&mut self, customer: CustomerId) -> &mut Option<ShardId> {
        let index = customer.index();
        if index >= self.homes.len() {
            self.homes.resize(index + 1, None);
        }
        &mut self.homes[index]
    }
}
