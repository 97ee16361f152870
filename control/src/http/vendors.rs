//! Vendors: the list, the status of one with its links, and reconnecting it.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use smpp_shards::settings::BindType;
use smpp_shards::{Command, Reply, Snapshot, Vendor, VendorCounters};

use super::Site;
use super::answer::{self, Answer, Refusal};
use super::call::Call;
use crate::log::{reason_text, rfc3339, status_name};
use crate::metrics::RECEIPT_STATES;
use crate::state::ShardState;

/// Vendors of one page where no limit is given: all of them, on most gateways.
const PAGE: usize = 1_000;

/// How long a shard may take to answer.
pub(super) const SHARD_PATIENCE: Duration = Duration::from_secs(3);

/// A page of vendors.
#[derive(Serialize, JsonSchema)]
pub(super) struct VendorList {
    success: bool,
    /// By vendor_id.
    vendors: BTreeMap<String, VendorView>,
    /// How many are on this page.
    count: usize,
    /// How many there are in all, those not on this page included.
    total: usize,
    /// To be given back as `cursor` for the next page; null on the last one.
    next_cursor: Option<String>,
}

/// One vendor.
#[derive(Serialize, JsonSchema)]
pub(super) struct VendorView {
    vendor_id: String,
    /// For people: display_name, else instance_name.
    vendor_name: String,
    /// `connected`, `receiver_only`, `disconnected` or `off`.
    status: &'static str,
    /// Since when it is connected, UTC; null while it is not.
    connected_at: Option<String>,
    /// What went wrong last; null when nothing did.
    last_error: Option<String>,
    /// submit_sm sent since the start, retries included.
    messages_sent: u64,
    /// Those it took.
    messages_success: u64,
    /// Those it refused, throttled, or of which nobody knows.
    messages_failed: u64,
    /// Receipts since the start.
    dlrs_received: u64,
    /// The configured limit, messages a second; 0 is none.
    throughput: u32,
    /// submit_sm a second now.
    throughput_current: f64,
    /// Unanswered submits that each bind may have.
    window_size: u32,
    /// Unanswered submits now, over all binds.
    in_flight: u32,
    /// The share of its answers in the last while that were no success, 0 to 1.
    error_rate: f64,
    /// Messages that wait for it.
    queue_depth: u32,
    /// Octets that wait for it.
    queue_depth_bytes: u64,
    /// Configured binds, and those that are up.
    binds: u32,
    binds_bound: u32,
    host: String,
    port: u16,
    /// The shard on which it lives.
    shard: u16,
    is_active: bool,
}

/// One vendor with everything that is known.
#[derive(Serialize, JsonSchema)]
pub(super) struct VendorStatusAnswer {
    success: bool,
    vendor: VendorView,
    detail: VendorDetail,
}

#[derive(Serialize, JsonSchema)]
struct VendorDetail {
    /// `transceiver`, `transmitter` or `receiver`.
    bind_type: &'static str,
    use_tls: bool,
    /// Binds that came up since the start, and that ended.
    connects: u64,
    disconnects: u64,
    /// Binds in a row that failed, those among them that were dropped within ten seconds.
    failures_in_a_row: u32,
    /// From which local address the last bind came up.
    local_address: Option<String>,
    last_failure: Option<LastFailure>,
    /// The last status with which it refused a submit, and why its last link ended.
    last_refusal: Option<String>,
    last_end: Option<String>,
    /// Of messages_failed: refused, throttled, and those of which nobody knows.
    refused: u64,
    throttled: u64,
    unknown_outcomes: u64,
    /// Sent again although it may have them.
    possible_duplicates: u64,
    /// Messages that found its queue full.
    queue_full: u64,
    /// Answers to nothing that was asked.
    stray_answers: u64,
    /// Receipts by the state they tell.
    receipts: BTreeMap<&'static str, u64>,
    receipts_matched: u64,
    receipts_unknown: u64,
    mobile_originated: u64,
    /// Receipts and messages to customers that wait for them.
    deliveries_waiting: u32,
}

/// What went wrong with a link last.
#[derive(Serialize, JsonSchema)]
struct LastFailure {
    /// UTC.
    at: String,
    /// `name`, `tcp`, `tls`, `bind` or `link`.
    step: &'static str,
    /// From which local address, where there was one.
    local_address: Option<String>,
    reason: String,
    /// When it was to be tried again, milliseconds later.
    again_ms: Option<u64>,
}

/// What comes of reconnecting.
#[derive(Serialize, JsonSchema)]
pub(super) struct Reconnecting {
    success: bool,
    vendor_id: String,
    /// Binds that were up: unbound, to come back within a second or two.
    unbound: u32,
    /// Binds that waited: connected now.
    hastened: u32,
    /// Binds that were in the middle of it already.
    busy: u32,
}

pub(super) async fn list(call: Call) -> Answer {
    let snapshot = call.site.snapshot();
    let search = call.text("search").map(str::to_lowercase);
    let is_wanted = |vendor: &&Vendor| {
        let settings = &vendor.settings;
        search.as_deref().is_none_or(|search| {
            let display = settings.display_name.as_deref().unwrap_or_default();
            settings.instance_name.to_lowercase().contains(search) || display.to_lowercase().contains(search)
        })
    };
    let found: Vec<&Vendor> = snapshot.present_vendors().filter(is_wanted).collect();
    let (limit, from) = (call.number("limit").unwrap_or(PAGE), call.number("cursor").unwrap_or(0));
    let shards = call.site.state.shards();
    let page = found.iter().skip(from).take(limit);
    let vendors: BTreeMap<String, VendorView> =
        page.map(|vendor| (key_of(vendor), view(&call.site, &shards, vendor))).collect();
    let next_cursor = (from.saturating_add(limit) < found.len()).then(|| (from + limit).to_string());
    let count = vendors.len();
    answer::ok(&VendorList { success: true, vendors, count, total: found.len(), next_cursor })
}

pub(super) async fn status(call: Call) -> Answer {
    let snapshot = call.site.snapshot();
    let vendor = find(&snapshot, call.variable())?;
    let site = &call.site;
    let shards = site.state.shards();
    let (counters, _) = counters_of(&shards, vendor);
    let vendor_view = view(site, &shards, vendor);
    drop(shards);
    answer::ok(&VendorStatusAnswer { success: true, vendor: vendor_view, detail: detail(site, vendor, counters) })
}

pub(super) async fn reconnect(call: Call) -> Answer {
    let snapshot = call.site.snapshot();
    let vendor = find(&snapshot, call.variable())?;
    if !vendor.settings.is_active {
        let message = format!("The vendor {} is not active; set is_active first.", call.variable());
        return Err(Refusal::new(hyper::StatusCode::CONFLICT, "vendor_not_active", message));
    }
    let command = Command::Reconnect { vendor: vendor.id };
    let mut asked = call.site.desk.ask(vendor.home, command, 1).map_err(|_| too_many_commands())?;
    match asked.next(SHARD_PATIENCE).await {
        Some(Reply::Reconnecting { unbound, hastened, busy }) => {
            answer::ok(&Reconnecting { success: true, vendor_id: key_of(vendor), unbound, hastened, busy })
        }
        _ => Err(shard_silent()),
    }
}

/// By what the platform knows a vendor.
pub(super) fn key_of(vendor: &Vendor) -> String {
    vendor.settings.vendor_id().to_owned()
}

/// The vendor of that id, or of that instance_name.
pub(super) fn find<'s>(snapshot: &'s Snapshot, id: &str) -> Result<&'s Vendor, Refusal> {
    let by_id = snapshot.present_vendors().find(|vendor| vendor.settings.vendor_id() == id);
    by_id
        .or_else(|| snapshot.vendor_by_name(id))
        .ok_or_else(|| Refusal::not_found(format!("There is no vendor {id:?}.")))
}

pub(super) fn too_many_commands() -> Refusal {
    Refusal::busy("Too many calls wait for the shards; try again in a second.")
}

pub(super) fn shard_silent() -> Refusal {
    Refusal::unavailable("shard_silent", "The shard did not answer in time.")
}

/// The counters of a vendor, on its home shard, and what is derived from them.
pub(super) fn counters_of<'s>(shards: &'s [ShardState], vendor: &Vendor) -> (VendorCounters, Rates<'s>) {
    let home = shards.get(vendor.home.index());
    let report = home.and_then(|shard| shard.report.as_ref());
    let counters = report.and_then(|report| report.vendors.get(vendor.id.index())).cloned().unwrap_or_default();
    (counters, Rates { home, index: vendor.id.index() })
}

/// Rates of one vendor.
pub(super) struct Rates<'s> {
    home: Option<&'s ShardState>,
    index: usize,
}

impl Rates<'_> {
    /// submit_sm a second.
    pub(super) fn throughput(&self) -> f64 {
        self.home.and_then(|home| home.throughput.get(self.index)).copied().unwrap_or(0.0)
    }

    /// The share of answers that are no success.
    pub(super) fn error_rate(&self) -> f64 {
        self.home.and_then(|home| home.recent_answers.get(self.index)).map_or(0.0, |recent| recent.error_rate())
    }
}

fn view(site: &Site, shards: &[ShardState], vendor: &Vendor) -> VendorView {
    let (counters, rates) = counters_of(shards, vendor);
    let settings = &vendor.settings;
    let connected_at = (counters.links_bound > 0).then(|| rfc3339(counters.connected_unix_ms));
    VendorView {
        vendor_id: key_of(vendor),
        vendor_name: settings.display_name.clone().unwrap_or_else(|| settings.instance_name.clone()),
        status: counters.state.name(),
        connected_at,
        last_error: last_error(site, vendor, &counters),
        messages_sent: counters.submits,
        messages_success: counters.submits_ok,
        messages_failed: counters.submits_failed + counters.throttled + counters.unknown_outcomes,
        dlrs_received: counters.receipts.iter().sum(),
        throughput: settings.throughput,
        throughput_current: rates.throughput(),
        window_size: settings.window_size,
        in_flight: counters.in_flight,
        error_rate: rates.error_rate(),
        queue_depth: counters.queued,
        queue_depth_bytes: counters.queued_bytes,
        binds: settings.binds,
        binds_bound: counters.links_bound,
        host: settings.host.clone(),
        port: settings.port,
        shard: vendor.home.0,
        is_active: settings.is_active,
    }
}

/// The last thing that went wrong: with a link, else with a submit.
fn last_error(site: &Site, vendor: &Vendor, counters: &VendorCounters) -> Option<String> {
    if let Some(trouble) = site.state.vendor_news.of(vendor.id).trouble {
        return Some(format!("{}: {}", trouble.step, trouble.reason));
    }
    let refusal = counters.last_refusal.map(|status| format!("submit_sm refused with {}", status_name(status)));
    counters.last_end.map(reason_text).or(refusal)
}

fn detail(site: &Site, vendor: &Vendor, counters: VendorCounters) -> VendorDetail {
    let news = site.state.vendor_news.of(vendor.id);
    let last_failure = news.trouble.map(|trouble| LastFailure {
        at: rfc3339(trouble.unix_ms),
        step: trouble.step,
        local_address: trouble.local.map(|local| local.to_string()),
        reason: trouble.reason,
        again_ms: trouble.again_ms,
    });
    VendorDetail {
        bind_type: match vendor.settings.bind_type {
            BindType::Transceiver => "transceiver",
            BindType::Transmitter => "transmitter",
            BindType::Receiver => "receiver",
        },
        use_tls: vendor.settings.use_tls,
        connects: counters.connects,
        disconnects: counters.disconnects,
        failures_in_a_row: counters.failures_in_a_row,
        local_address: news.local.map(|local| local.to_string()),
        last_failure,
        last_refusal: counters.last_refusal.map(status_name),
        last_end: counters.last_end.map(reason_text),
        refused: counters.submits_failed,
        throttled: counters.throttled,
        unknown_outcomes: counters.unknown_outcomes,
        possible_duplicates: counters.possible_duplicates,
        queue_full: counters.queue_full,
        stray_answers: counters.stray_answers,
        receipts: RECEIPT_STATES.into_iter().zip(counters.receipts).collect(),
        receipts_matched: counters.receipts_matched,
        receipts_unknown: counters.receipts_unknown,
        mobile_originated: counters.mobile_originated,
        deliveries_waiting: counters.deliveries_waiting,
    }
}
