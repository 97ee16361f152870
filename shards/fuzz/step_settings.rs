//! The configuration of the shards that the fuzz target `step` drives: small windows and limits, so that few operations reach
//! them.

use std::sync::Arc;

use smpp_shards::Snapshot;
use smpp_shards::settings::{
    CustomerSettings, GatewaySettings, RequestReceipts, RuleSettings, Settings, VendorSettings,
};

pub(super) const CUSTOMERS: u32 = 2;
const VENDORS: [&str; 3] = ["north", "south", "west"];
pub(super) const WINDOW: u32 = 3;
pub(super) const DELIVER_WINDOW: u32 = 2;
pub(super) const RESPONSE_MS: u64 = 1_000;

/// As the bits of `setup` say, for a process that starts.
pub(super) fn snapshot(setup: u8, shards: u16, version: u64) -> Arc<Snapshot> {
    let snapshot = Snapshot::build(settings(setup), shards, version);
    Arc::new(snapshot.expect("the settings are good"))
}

/// As the bits of `setup` say.
pub(super) fn settings(setup: u8) -> Settings {
    let customer = |index: u32| CustomerSettings {
        smpp_system_id: format!("customer{index}"),
        smpp_password: Some("secret12".into()),
        allowed_source_addresses: vec!["*".into()],
        smpp_window: if setup & 0x10 != 0 { 4 } else { 0 },
        smpp_throughput: if setup & 0x20 != 0 { 5 } else { 0 },
        smpp_max_binds: 3,
        ..CustomerSettings::default()
    };
    let vendor = |(index, name): (usize, &&str)| VendorSettings {
        instance_name: (*name).into(),
        host: "vendor.invalid".into(),
        port: 2775,
        username: "gateway".into(),
        password: "secret12".into(),
        binds: 1 + (index == 0) as u32,
        window_size: WINDOW,
        response_timeout_ms: RESPONSE_MS,
        queue_messages: if setup & 0x40 != 0 { 4 } else { 100 },
        queue_seconds: if setup & 0x80 != 0 { 2 } else { 0 },
        request_receipts: if setup & 8 != 0 { RequestReceipts::Always } else { RequestReceipts::AsAsked },
        ..VendorSettings::default()
    };
    let rule = |dest: &str, vendor: &str| RuleSettings {
        dest_pattern: Some(dest.into()),
        vendor: vendor.into(),
        ..RuleSettings::default()
    };
    Settings {
        gateway: GatewaySettings {
            deliver_window: DELIVER_WINDOW,
            late_answer_ms: if setup & 4 != 0 { 0 } else { 3_600_000 },
            ..GatewaySettings::default()
        },
        customers: (0..CUSTOMERS).map(customer).collect(),
        vendors: VENDORS.iter().enumerate().map(vendor).collect(),
        routing_rules: vec![rule("^1", "north"), rule("^1555", "south"), rule("^44", "south"), rule("^1", "west")],
        ..Settings::default()
    }
}
