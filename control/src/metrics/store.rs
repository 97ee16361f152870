//! The message store: what it has taken, what it was not told, how far it is behind. Nothing without one.

use std::time::{SystemTime, UNIX_EPOCH};

use smpp_shards::FeedReport;

use super::exposition::{Exposition, Kind};
use crate::state::State;

pub(super) fn write(out: &mut Exposition, state: &State) {
    let Some(stats) = state.store().map(|store| store.stats()) else { return };
    let shards = state.shards();
    let reports: Vec<(String, FeedReport)> = shards
        .iter()
        .filter_map(|shard| shard.report.as_ref())
        .filter_map(|report| Some((report.shard.to_string(), report.store?)))
        .collect();
    drop(shards);
    type Figure = fn(&FeedReport) -> u64;
    let families: [(&'static str, Kind, &str, Figure); 5] = [
        ("smpp_gateway_store_records_skipped_total", Kind::Counter, "Notes left out: the ring was full.", |it| {
            it.skipped
        }),
        ("smpp_gateway_store_lookups_total", Kind::Counter, "Receipts looked up in the store.", |it| it.lookups),
        ("smpp_gateway_store_found_total", Kind::Counter, "Receipts that the store matched.", |it| it.found),
        ("smpp_gateway_store_unanswered_total", Kind::Counter, "Look-ups without an answer.", |it| it.unanswered),
        ("smpp_gateway_store_lookups_open", Kind::Gauge, "Look-ups under way.", |it| u64::from(it.open)),
    ];
    for (name, kind, help, figure) in families {
        out.family(name, kind, help);
        for (shard, report) in &reports {
            out.sample(&[("shard", shard)], figure(report));
        }
    }
    let given: u64 = reports.iter().map(|(_, report)| report.records).sum();
    let behind = given.saturating_sub(stats.records()).max(stats.waiting());
    out.single("smpp_gateway_store_records_total", Kind::Counter, "Notes of shards in the store.", stats.records());
    out.single("smpp_gateway_store_messages_total", Kind::Counter, "Messages written to the store.", stats.messages());
    out.single("smpp_gateway_store_failures_total", Kind::Counter, "Batches that failed.", stats.failures());
    out.single("smpp_gateway_store_lag_records", Kind::Gauge, "Notes that are not in the store yet.", behind);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    out.family("smpp_gateway_store_lag_seconds", Kind::Gauge, "How old the oldest of them is.");
    out.sample_real(&[], stats.lag(now).as_secs_f64());
    out.single(
        "smpp_gateway_store_up",
        Kind::Gauge,
        "1 while it takes what is written.",
        u64::from(stats.trouble().is_none()),
    );
}
