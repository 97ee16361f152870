//! Which vendor a message would go to, and why: asked of the configuration in force and the vendors' latest state.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smpp_shards::routing::{Considered, Match};
use smpp_shards::{Customer, Snapshot, Vendor, VendorCounters, VendorState};

use super::answer::{self, Answer};
use super::call::Call;
use super::messages::{customer_of, field_fault};
use super::vendors::{counters_of, key_of};
use crate::texting;

/// Rules that match, and rules that do not, that one answer tells of at the most.
const RULES_MAX: usize = 100;

/// A message that is not sent.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteQuestion {
    /// The sender.
    #[schemars(schema_with = "super::messages::sender_schema")]
    from: String,
    /// The destination: digits, with or without a leading +.
    #[schemars(length(min = 1, max = 16), regex(pattern = r"^\+?[0-9]{1,15}$"))]
    to: String,
    /// Whose: a customer_id or smpp_system_id.
    customer_id: String,
}

/// Where it would go.
#[derive(Serialize, JsonSchema)]
pub(super) struct RouteFound {
    success: bool,
    customer_id: String,
    /// The vendor that would get it; null when it would be refused.
    vendor_id: Option<String>,
    /// Why, in a sentence.
    reason: String,
    /// The checks before the choice, in their order.
    checks: Vec<Check>,
    /// The vendors that would be offered it, first choice first.
    candidates: Vec<Candidate>,
    /// Active rules in the order in which they are tried: those that match, and those that do not, up to 100 of each.
    rules: Vec<RuleLook>,
    /// Active rules in all.
    rules_total: usize,
}

#[derive(Serialize, JsonSchema)]
struct Check {
    /// `customer` or `source`.
    check: &'static str,
    passed: bool,
    reason: String,
}

#[derive(Serialize, JsonSchema)]
struct Candidate {
    vendor_id: String,
    /// `connected`, `receiver_only`, `disconnected` or `off`.
    status: &'static str,
    queue_depth: u32,
    /// Whether its queue has room.
    has_room: bool,
}

#[derive(Serialize, JsonSchema)]
struct RuleLook {
    priority: i32,
    vendor_id: String,
    is_primary: bool,
    /// The vendor's own priority.
    vendor_priority: i32,
    /// The share among rules that rank alike; which of them comes first is drawn for each message.
    weight: u32,
    /// What each short message costs that goes this way; 0 where the rule has no rate.
    rate_per_msg: f64,
    /// The customer for whom the rule is alone.
    customer_id: Option<String>,
    dest_pattern: String,
    source_pattern: String,
    matches: bool,
    /// What does not match; null when all does.
    reason: Option<&'static str>,
}

pub(super) async fn test(call: Call) -> Answer {
    let question: RouteQuestion = call.json()?;
    let snapshot = call.site.snapshot();
    let customer = &snapshot.customers[customer_of(&snapshot, &question.customer_id)?.index()];
    let source = texting::source_address(&question.from).map_err(field_fault)?.addr;
    let dest = texting::dest_address(&question.to).map_err(field_fault)?.addr;
    let checks = checks(customer, source);
    let source = customer.settings.force_source_address.as_deref().map_or(source, str::as_bytes);
    let found = snapshot.routes.candidates(customer.id, source, dest, || 0);
    let shards = call.site.state.shards();
    let vendors: Vec<(&Vendor, VendorCounters)> = found
        .as_slice()
        .iter()
        .filter_map(|id| snapshot.vendor(*id))
        .map(|vendor| (vendor, counters_of(&shards, vendor).0))
        .collect();
    drop(shards);
    let is_refused = checks.iter().any(|check| !check.passed);
    let (vendor_id, reason) = match checks.iter().find(|check| !check.passed) {
        Some(check) => (None, check.reason.clone()),
        None => choose(&vendors),
    };
    let candidates = vendors.iter().map(|(vendor, counters)| candidate(vendor, counters)).collect();
    answer::ok(&RouteFound {
        success: true,
        customer_id: customer.name.clone(),
        vendor_id: vendor_id.filter(|_| !is_refused),
        reason,
        checks,
        candidates,
        rules: rules(&snapshot, customer, source, dest),
        rules_total: snapshot.routes.len(),
    })
}

fn checks(customer: &Customer, source: &[u8]) -> Vec<Check> {
    let active = match customer.settings.active {
        true => Check { check: "customer", passed: true, reason: "The customer is active.".into() },
        false => Check { check: "customer", passed: false, reason: "The customer is not active.".into() },
    };
    let passed = customer.sources.allows(source);
    let mut reason = match passed {
        true => "The sender is one of the customer's allowed_source_addresses.".to_owned(),
        false => "The sender is none of the customer's allowed_source_addresses.".to_owned(),
    };
    if let (true, Some(forced)) = (passed, &customer.settings.force_source_address) {
        reason.push_str(&format!(" It is replaced by {forced} (force_source_address)."));
    }
    vec![active, Check { check: "source", passed, reason }]
}

/// As a shard chooses: the first that is up and has room, else the first that has room.
fn choose(vendors: &[(&Vendor, VendorCounters)]) -> (Option<String>, String) {
    let with_room = || vendors.iter().filter(|(vendor, counters)| has_room(vendor, counters));
    let up = with_room().find(|(_, counters)| counters.state == VendorState::Bound);
    if let Some((vendor, _)) = up {
        let is_first = vendors.first().is_some_and(|(first, _)| first.id == vendor.id);
        let reason = match is_first {
            true => "It is the first choice of the rules that match, connected, and has room.",
            false => "It is the first of the rules' choices that is connected and has room.",
        };
        return (Some(key_of(vendor)), reason.to_owned());
    }
    if let Some((vendor, _)) = with_room().next() {
        let reason = "No vendor is connected; it is the first choice whose queue has room, to wait there.";
        return (Some(key_of(vendor)), reason.to_owned());
    }
    match vendors.is_empty() {
        true => (None, "No active rule matches.".to_owned()),
        false => (None, "The queue of every vendor is full.".to_owned()),
    }
}

fn has_room(vendor: &Vendor, counters: &VendorCounters) -> bool {
    counters.queued < vendor.settings.queue_messages && counters.queued_bytes < vendor.settings.queue_bytes
}

fn candidate(vendor: &Vendor, counters: &VendorCounters) -> Candidate {
    Candidate {
        vendor_id: key_of(vendor),
        status: counters.state.name(),
        queue_depth: counters.queued,
        has_room: has_room(vendor, counters),
    }
}

fn rules(snapshot: &Snapshot, customer: &Customer, source: &[u8], dest: &[u8]) -> Vec<RuleLook> {
    let (mut matching, mut others) = (0, 0);
    let looks = snapshot.routes.explain(customer.id, source, dest);
    let told = looks.filter(|look| {
        let count = if look.matches == Match::Yes { &mut matching } else { &mut others };
        *count += 1;
        *count <= RULES_MAX
    });
    told.map(|look| rule_look(snapshot, look)).collect()
}

fn rule_look(snapshot: &Snapshot, look: Considered) -> RuleLook {
    RuleLook {
        priority: look.priority,
        vendor_id: snapshot.vendor(look.vendor).map(key_of).unwrap_or_default(),
        is_primary: look.is_primary,
        vendor_priority: look.vendor_priority,
        weight: look.weight,
        rate_per_msg: look.rate_per_msg.into(),
        customer_id: look.customer.and_then(|id| snapshot.customer(id)).map(|customer| customer.name.clone()),
        dest_pattern: look.dest_pattern,
        source_pattern: look.source_pattern,
        matches: look.matches == Match::Yes,
        reason: match look.matches {
            Match::Yes => None,
            Match::OtherCustomer => Some("It is for another customer."),
            Match::Dest => Some("Its dest_pattern does not match."),
            Match::Source => Some("Its source_pattern does not match."),
        },
    }
}
