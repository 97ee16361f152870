//! `[statuses]`: with which command_status each refusal is told.

use smpp_shards::settings::StatusSettings;
use toml::Spanned;
use toml::de::DeValue;

use super::document::Reader;

/// Reads the section; a refusal that would say ESME_ROK is a fault.
pub(super) fn read_statuses(reader: &mut Reader<'_>, value: Option<Spanned<DeValue<'_>>>) -> StatusSettings {
    let read: Option<StatusSettings> = value.map(|table| reader.row("statuses", 0, table));
    let statuses = read.unwrap_or_default();
    for (key, status) in [
        ("source_not_allowed", statuses.source_not_allowed),
        ("no_route", statuses.no_route),
        ("throttled", statuses.throttled),
        ("queue_full", statuses.queue_full),
        ("unavailable", statuses.unavailable),
        ("unknown_outcome", statuses.unknown_outcome),
        ("expired", statuses.expired),
        ("schedule", statuses.schedule),
    ] {
        if status == 0 {
            let reason = "is 0, ESME_ROK: what is refused would be acknowledged";
            reader.fault("statuses", 0, key, reason, "give the command_status of a refusal, or leave it out");
        }
    }
    statuses
}
