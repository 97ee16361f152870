//! What a journal held at start, shared out among the shards of this start, however many there were before.
//!
//! Runs on the starting thread, once, before the shards do.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::journal::{Live, LiveSent, NameId};
use crate::message_id::{IdStyle, MessageId};
use crate::names::{CustomerId, ShardId, VendorId};
use crate::snapshot::Snapshot;

/// What one shard takes over.
#[derive(Debug, Default)]
pub struct Restored {
    /// Messages that have not reached their end.
    pub messages: Vec<RestoredMessage>,
    /// Receipts and MO that their customers have not taken.
    pub receipts: Vec<RestoredReceipt>,
}

/// A message that has not reached its end.
#[derive(Debug)]
pub struct RestoredMessage {
    /// Our id for it.
    pub id: MessageId,
    /// How its customer sees the id.
    pub style: IdStyle,
    /// Whose it is.
    pub customer: CustomerId,
    /// When it was accepted, Unix milliseconds.
    pub accepted_unix_ms: u64,
    /// When its validity ends.
    pub expires_unix_ms: u64,
    /// The whole submit_sm.
    pub pdu: Box<[u8]>,
    /// Which vendor has it; `None` when none has said so.
    pub sent: Option<RestoredSent>,
    /// A vendor has it, configured or not, or its final receipt is there: it is not sent again.
    pub is_sent: bool,
}

/// The vendor that has a message.
#[derive(Debug)]
pub struct RestoredSent {
    /// Its instance_name.
    pub name: Arc<[u8]>,
    /// `None` when it is no longer configured: no receipt will come.
    pub vendor: Option<VendorId>,
    /// The id that it gave the message, as it wrote it.
    pub vendor_message_id: Box<[u8]>,
}

/// A receipt or MO that its customer has not taken.
#[derive(Debug)]
pub struct RestoredReceipt {
    /// The message that ends with it, as an index into [`Restored::messages`].
    pub ends: Option<u32>,
    /// Whose it is.
    pub customer: CustomerId,
    /// Who sent it; any, when that one is no longer configured.
    pub vendor: VendorId,
    /// Until when it is kept, Unix milliseconds.
    pub expires_unix_ms: u64,
    /// The whole deliver_sm.
    pub pdu: Box<[u8]>,
}

/// What a journal's content becomes.
#[derive(Debug)]
pub struct Shares {
    /// By shard.
    pub shards: Vec<Restored>,
    /// The homes of the customers that have something, fixed by that.
    pub homes: Vec<(CustomerId, ShardId)>,
}

/// What a journal holds of a customer that has no place in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strange {
    /// Messages that have not reached their end.
    pub messages: u64,
    /// Receipts and MO that it has not taken.
    pub receipts: u64,
}

/// Those customers by smpp_system_id.
pub fn strangers(live: &Live, snapshot: &Snapshot) -> BTreeMap<String, Strange> {
    let names = live.names();
    let is_strange: Vec<bool> = names.map(|(_, octets)| snapshot.customer_place(octets).is_none()).collect();
    let mut found: BTreeMap<NameId, Strange> = BTreeMap::new();
    let customers = live.messages.iter().map(|message| message.customer);
    for customer in customers.filter(|customer| is_strange[customer.index()]) {
        found.entry(customer).or_default().messages += 1;
    }
    let customers = live.receipts.iter().map(|receipt| receipt.customer);
    for customer in customers.filter(|customer| is_strange[customer.index()]) {
        found.entry(customer).or_default().receipts += 1;
    }
    let named = |(id, strange)| (String::from_utf8_lossy(live.name(id)).into_owned(), strange);
    found.into_iter().map(named).collect()
}

/// Shares out what a replay found.
///
/// # Errors
/// The customers that have something in the journal and have no place in the configuration
/// ([`Snapshot::remember_customers`]): what they were promised cannot be kept without them.
pub fn share(live: Live, snapshot: &Snapshot, shards: u16) -> Result<Shares, Vec<String>> {
    let name = |id: NameId| live.name(id);
    let customer = |id: NameId| snapshot.customer_place(name(id));
    let vendor = |id: NameId| {
        snapshot
            .vendors
            .iter()
            .find(|vendor| vendor.settings.instance_name.as_bytes() == name(id))
            .map(|found| found.id)
    };
    // Names are few and entries are many: each is looked up once.
    let count = live.names().len();
    let mut customers: Vec<Option<CustomerId>> = Vec::with_capacity(count);
    let mut vendors: Vec<Option<VendorId>> = Vec::with_capacity(count);
    let mut names: Vec<Arc<[u8]>> = Vec::with_capacity(count);
    for (id, octets) in live.names() {
        names.push(octets.into());
        customers.push(customer(id));
        vendors.push(vendor(id));
    }
    let owners = live.messages.iter().map(|message| message.customer);
    let mut missing: Vec<String> = owners
        .chain(live.receipts.iter().map(|receipt| receipt.customer))
        .filter(|owner| customers[owner.index()].is_none())
        .map(|owner| String::from_utf8_lossy(name(owner)).into_owned())
        .collect();
    if !missing.is_empty() {
        missing.sort_unstable();
        missing.dedup();
        return Err(missing);
    }
    let mut shares: Vec<Restored> = (0..shards).map(|_| Restored::default()).collect();
    let mut has_something = vec![false; snapshot.customers.len()];
    let mut places: Vec<u32> = Vec::with_capacity(live.messages.len());
    for message in live.messages {
        let Some(customer) = customers[message.customer.index()] else { continue };
        has_something[customer.index()] = true;
        let share = &mut shares[home_of(customer, shards).index()].messages;
        places.push(share.len() as u32);
        let is_sent = message.sent.is_some();
        let sent = message.sent.map(|sent| {
            let LiveSent { vendor, vendor_message_id, .. } = *sent;
            let name = names[vendor.index()].clone();
            RestoredSent { name, vendor: vendors[vendor.index()], vendor_message_id }
        });
        share.push(RestoredMessage {
            id: message.id,
            style: message.style,
            customer,
            accepted_unix_ms: message.accepted_unix_ms,
            expires_unix_ms: message.expires_unix_ms,
            pdu: message.pdu,
            sent,
            is_sent,
        });
    }
    for receipt in live.receipts {
        let Some(customer) = customers[receipt.customer.index()] else { continue };
        has_something[customer.index()] = true;
        let share = &mut shares[home_of(customer, shards).index()];
        let ends = receipt.message.filter(|_| receipt.is_final).map(|message| places[message as usize]);
        if let Some(message) = ends.and_then(|place| share.messages.get_mut(place as usize)) {
            // It has failed, or a vendor has it and the record of that is lost: it is not sent again in any case.
            message.is_sent = true;
        }
        share.receipts.push(RestoredReceipt {
            ends,
            customer,
            vendor: vendors[receipt.vendor.index()].unwrap_or_default(),
            expires_unix_ms: receipt.expires_unix_ms,
            pdu: receipt.pdu,
        });
    }
    let homes = snapshot.customers.iter().map(|customer| customer.id).filter(|id| has_something[id.index()]);
    let homes = homes.map(|id| (id, home_of(id, shards))).collect();
    Ok(Shares { shards: shares, homes })
}

fn home_of(customer: CustomerId, shards: u16) -> ShardId {
    ShardId((customer.0 % u32::from(shards.max(1))) as u16)
}
