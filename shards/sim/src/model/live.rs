//! What must hold when the configuration changes: who is not in use any more gets nothing new and is taken nothing from.

use std::collections::BTreeMap;

use smpp_shards::{Snapshot, Time};

use super::{Model, violation};

/// Who is not in use, as far as every shard knows it.
#[derive(Debug, Default)]
pub(super) struct Unused {
    /// By customer: since when.
    customers: Vec<Option<Time>>,
    /// By vendor.
    vendors: Vec<bool>,
    /// By vendor that some shard may have put out of use: since when it is surely back, and tries there count anew.
    back: BTreeMap<usize, Option<Time>>,
}

impl Model {
    /// Another configuration is on its way to the shards: whoever is in use in it may be used from now on.
    pub(crate) fn may_change(&mut self, snapshot: &Snapshot) {
        for customer in snapshot.customers.iter().filter(|customer| customer.is_active()) {
            if let Some(since) = self.unused.customers.get_mut(customer.id.index()) {
                *since = None;
            }
        }
        for vendor in snapshot.vendors.iter().filter(|vendor| vendor.is_active()) {
            if let Some(is_unused) = self.unused.vendors.get_mut(vendor.id.index()) {
                *is_unused = false;
            }
        }
        for vendor in snapshot.vendors.iter().filter(|vendor| !vendor.is_active()) {
            self.unused.back.insert(vendor.id.index(), None);
        }
    }

    /// It is in force on every shard.
    pub(crate) fn has_changed(&mut self, snapshot: &Snapshot, now: Time) {
        self.unused.customers.resize(snapshot.customers.len(), None);
        self.unused.vendors.resize(snapshot.vendors.len(), false);
        for customer in snapshot.customers.iter().filter(|customer| !customer.is_active()) {
            self.unused.customers[customer.id.index()].get_or_insert(now);
        }
        for vendor in snapshot.vendors.iter().filter(|vendor| !vendor.is_active()) {
            self.unused.vendors[vendor.id.index()] = true;
        }
        for vendor in snapshot.vendors.iter().filter(|vendor| vendor.is_active()) {
            if let Some(since) = self.unused.back.get_mut(&vendor.id.index()) {
                since.get_or_insert(now);
            }
        }
    }

    /// Since when tries at a vendor count: one that was put out of use gave back what waited for it, and what comes to it
    /// again begins anew. `None` while it may still be out of use.
    pub(super) fn tries_count_since(&self, vendor: usize) -> Option<Time> {
        self.unused.back.get(&vendor).copied().unwrap_or(Some(Time(0)))
    }

    /// The process is gone; the next one begins with everybody.
    pub(super) fn all_in_use(&mut self) {
        self.unused = Unused::default();
    }

    /// A message goes to a vendor.
    pub(super) fn check_vendor_in_use(&self, vendor: usize, number: usize) {
        if self.unused.vendors.get(vendor) == Some(&true) {
            violation!(self, "message {number} goes to vendor {vendor}, which is not in use any more");
        }
    }

    /// A message is accepted.
    pub(super) fn check_customer_in_use(&self, number: usize) {
        let message = &self.messages[number];
        let since = self.unused.customers.get(message.customer).copied().flatten();
        if let (Some(since), Some(fed_at)) = (since, message.fed_at)
            && message.life == self.life
            && fed_at > since
        {
            violation!(
                self,
                "message {number} is accepted from customer {}, who is not in use any more",
                message.customer
            );
        }
    }
}
