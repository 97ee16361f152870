//! What is counted over all nodes: leases of limits, and binds. Nothing without Redis.

use smpp_shards::LimitKey;

use super::exposition::{Exposition, Kind};
use crate::state::State;

pub(super) fn write(out: &mut Exposition, state: &State) {
    let Some(stats) = state.nodes() else { return };
    let help = "Nodes that share limits and binds, this one included; 0 before Redis has answered.";
    out.single("smpp_gateway_nodes", Kind::Gauge, help, stats.nodes.get());
    let help = "Rounds of leases that Redis has answered.";
    out.single("smpp_gateway_lease_renewals_total", Kind::Counter, help, stats.renewals.get());
    let help = "Rounds of leases that came to nothing, or took too long, and attempts to connect that failed.";
    out.single("smpp_gateway_lease_failures_total", Kind::Counter, help, stats.failures.get());
    let help = "Limits of the last round: those that messages met since the one before.";
    out.single("smpp_gateway_lease_limits", Kind::Gauge, help, stats.limits.get());
    out.family(
        "smpp_gateway_lease_share_ratio",
        Kind::Gauge,
        "The share of a limit that this node wanted and could have, 0 to 1, when messages met it last.",
    );
    let snapshot = state.snapshot();
    for (key, permille) in stats.shares().iter() {
        let share = f64::from(*permille) / 1_000.0;
        match key {
            LimitKey::Customer(id) => {
                let Some(customer) = snapshot.customer(*id).filter(|it| !it.is_removed) else { continue };
                out.sample_real(&[("customer_id", &customer.name)], share);
            }
            LimitKey::Vendor(id) => {
                let Some(vendor) = snapshot.vendor(*id).filter(|it| !it.is_removed) else { continue };
                out.sample_real(&[("vendor_id", vendor.settings.vendor_id())], share);
            }
        }
    }
    let help = "Binds of customers with smpp_max_binds, by whether they were counted over all nodes.";
    out.family("smpp_gateway_binds_counted_total", Kind::Counter, help);
    out.sample(&[("outcome", "admitted")], stats.binds_admitted.get());
    out.sample(&[("outcome", "refused")], stats.binds_refused.get());
    out.sample(&[("outcome", "unchecked")], stats.binds_unchecked.get());
}
