//! How long messages wait, and how long the shards' turns take: Prometheus histograms with fixed buckets.
//!
//! What messages wait for is put together over the shards, for the time between two shards belongs to neither.

use smpp_shards::histogram::Histogram;

use super::Picture;
use super::exposition::{Exposition, Kind};

pub(super) fn write(out: &mut Exposition, picture: &Picture<'_>) {
    let latencies = &picture.latencies;
    let name = "smpp_gateway_submit_response_seconds";
    let help = "From a submit_sm that passed every check to its submit_sm_resp, in whole milliseconds.";
    milliseconds(out, name, help, &latencies.submit_response);
    let name = "smpp_gateway_vendor_answer_seconds";
    let help = "From a customer's submit_sm to each answer of a vendor to it, in whole milliseconds.";
    milliseconds(out, name, help, &latencies.vendor_answer);
    let name = "smpp_gateway_delivery_seconds";
    let help = "From a receipt or MO at hand to its deliver_sm to the customer, in whole milliseconds.";
    milliseconds(out, name, help, &latencies.delivery);
    let help = "How long a shard's turns took, waiting for work left out.";
    out.family("smpp_gateway_turn_seconds", Kind::Histogram, help);
    for shard in &picture.shards {
        let sum = shard.turns.sum as f64 / 1e9;
        out.histogram(&[("shard", &shard.shard)], &shard.turns, Histogram::bound_of_nanos, sum);
    }
}

fn milliseconds(out: &mut Exposition, name: &'static str, help: &str, histogram: &Histogram) {
    out.family(name, Kind::Histogram, help);
    out.histogram(&[], histogram, Histogram::bound_of_ms, histogram.sum as f64 / 1e3);
}
