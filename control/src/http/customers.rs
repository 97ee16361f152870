//! Customers: who they are, what they send, what waits for them.

use std::cmp::Reverse;

use schemars::JsonSchema;
use serde::Serialize;
use smpp_shards::{Amount, Customer, CustomerCounters};

use super::answer::{self, Answer};
use super::call::Call;
use crate::state::ShardState;

/// Customers of one page where no limit is given.
const PAGE: usize = 100;

/// A page of customers.
#[derive(Serialize, JsonSchema)]
pub(super) struct CustomerList {
    success: bool,
    customers: Vec<CustomerView>,
    /// How many are on this page.
    count: usize,
    /// How many there are in all, those not on this page included.
    total: usize,
    /// To be given back as `cursor` for the next page; null on the last one.
    next_cursor: Option<String>,
}

/// One customer.
#[derive(Serialize, JsonSchema)]
struct CustomerView {
    /// account_id, or the smpp_system_id where there is none.
    customer_id: String,
    smpp_system_id: String,
    active: bool,
    /// Sessions bound now, and how many there may be; 0 is no limit.
    sessions: u32,
    smpp_max_binds: u32,
    /// The limit, messages a second; 0 is none.
    smpp_throughput: u32,
    /// submit_sm a second now.
    throughput_current: f64,
    /// submit_sm since the start, those accepted, and those refused.
    messages_submitted: u64,
    messages_accepted: u64,
    messages_refused: u64,
    /// What the messages cost that vendors have taken since the start, in the currency of rate_per_msg.
    cost: f64,
    /// Of those refused: above the limit, and beyond a session's window.
    throttled_rate: u64,
    throttled_window: u64,
    /// Receipts and messages it has taken, and those that wait for it.
    deliveries_taken: u64,
    deliveries_waiting: u32,
}

pub(super) async fn list(call: Call) -> Answer {
    let snapshot = call.site.snapshot();
    let shards = call.site.state.shards();
    let search = call.text("search").map(str::to_lowercase);
    let is_wanted = |customer: &&Customer| {
        search.as_deref().is_none_or(|search| {
            let system_id = &customer.settings.smpp_system_id;
            system_id.to_lowercase().contains(search) || customer.name.to_lowercase().contains(search)
        })
    };
    let mut found: Vec<&Customer> = snapshot.present_customers().filter(is_wanted).collect();
    if call.text("order") == Some("activity") {
        found.sort_by_cached_key(|customer| {
            let (counters, rate) = activity_of(&shards, customer);
            let (sessions, submits) = counters.map_or((0, 0), |it| (it.sessions, it.submits));
            // Rates are never negative, so that their bits sort as they do.
            Reverse((rate.to_bits(), sessions, submits))
        });
    }
    let (limit, from) = (call.number("limit").unwrap_or(PAGE), call.number("cursor").unwrap_or(0));
    let customers: Vec<CustomerView> = found.iter().skip(from).take(limit).map(|it| view(&shards, it)).collect();
    let next_cursor = (from.saturating_add(limit) < found.len()).then(|| (from + limit).to_string());
    let count = customers.len();
    answer::ok(&CustomerList { success: true, customers, count, total: found.len(), next_cursor })
}

/// A customer's counters stand with its home shard and are zero on the others.
fn activity_of<'s>(shards: &'s [ShardState], customer: &Customer) -> (Option<&'s CustomerCounters>, f64) {
    let index = customer.id.index();
    for shard in shards {
        let counters = shard.report.as_ref().and_then(|report| report.customers.get(index));
        if let Some(counters) = counters.filter(|it| it.binds > 0 || it.submits > 0 || it.cost > Amount::default()) {
            return (Some(counters), shard.submit_rates.get(index).copied().unwrap_or(0.0));
        }
    }
    (None, 0.0)
}

fn view(shards: &[ShardState], customer: &Customer) -> CustomerView {
    let (counters, throughput_current) = activity_of(shards, customer);
    let counters = counters.cloned().unwrap_or_default();
    let settings = &customer.settings;
    CustomerView {
        customer_id: customer.name.clone(),
        smpp_system_id: settings.smpp_system_id.clone(),
        active: settings.active,
        sessions: counters.sessions,
        smpp_max_binds: settings.smpp_max_binds,
        smpp_throughput: settings.smpp_throughput,
        throughput_current,
        messages_submitted: counters.submits,
        messages_accepted: counters.submits_ok,
        messages_refused: counters.submits_failed,
        cost: counters.cost.into(),
        throttled_rate: counters.throttled_rate,
        throttled_window: counters.throttled_window,
        deliveries_taken: counters.delivered,
        deliveries_waiting: counters.deliveries_waiting,
    }
}
