//! Vendors' health on its way back to their table: `health_status` and `last_bind_time`, when they change and every
//! thirty seconds.
//!
//! Lives on the control thread. What cannot be written is dropped; the next time tells it anew.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use smpp_shards::settings::{BindType, VendorSettings};
use smpp_shards::{VendorCounters, VendorState};
use tokio_postgres::types::Type;

use super::connect::{Connection, PostgresError};

/// From one time to the next at which all vendors are told, changed or not.
const ALL_AGAIN: Duration = Duration::from_secs(30);

/// Failed binds in a row from which on a vendor that is up counts as degraded.
const FAILURES_MAX: u32 = 5;

/// One vendor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VendorHealth {
    /// Which.
    pub(crate) instance_name: String,
    /// `healthy`, `degraded`, `unhealthy` or `inactive`.
    pub(crate) health_status: &'static str,
    /// When a bind came up last, seconds since 1970; `None` if none has since the start.
    pub(crate) last_bind_time: Option<f64>,
}

impl VendorHealth {
    /// A vendor's, with what its home shard has reported last.
    pub(crate) fn of(vendor: &VendorSettings, counters: &VendorCounters) -> Self {
        let bound_unix_ms = Some(counters.last_bind_unix_ms).filter(|millis| *millis > 0);
        Self {
            instance_name: vendor.instance_name.clone(),
            health_status: status(vendor, counters),
            last_bind_time: bound_unix_ms.map(|millis| millis as f64 / 1_000.0),
        }
    }
}

fn status(vendor: &VendorSettings, counters: &VendorCounters) -> &'static str {
    let is_up = match counters.state {
        _ if !vendor.is_active => return "inactive",
        VendorState::Off => return "inactive",
        VendorState::Connecting => return "unhealthy",
        VendorState::Bound => true,
        VendorState::ReceiverOnly => vendor.bind_type == BindType::Receiver,
    };
    let is_whole = counters.links_bound >= vendor.binds && counters.failures_in_a_row < FAILURES_MAX;
    if is_up && is_whole { "healthy" } else { "degraded" }
}

/// Why the server does not take what is to be written.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// The next time it may: somebody has locked a row, another node writes too.
    Passing,
    /// Its disk is full.
    Full(String),
    /// Until somebody mends it, such as a grant that is missing.
    Lasting(String),
    /// The relation, such as a view of an older table, has no such columns that could be written.
    NoColumns(String),
}

/// What one connection has written.
#[derive(Default)]
pub(super) struct Ledger {
    written: HashMap<String, VendorHealth>,
    all_at: Option<Instant>,
    /// What is not worth being asked again each second, and when it was refused.
    refused: Option<(Instant, Refusal)>,
    has_said_no_columns: bool,
}

impl Ledger {
    /// Writes what has changed by now, and everything when it is time. `Some` where the server does not take it; what it
    /// refuses for good is tried again when it is time.
    ///
    /// # Errors
    /// [`PostgresError::Away`].
    pub(super) async fn write(
        &mut self,
        connection: &Connection,
        relation: &str,
        vendors: Vec<VendorHealth>,
        now: Instant,
    ) -> Result<Option<Refusal>, PostgresError> {
        let is_past = |at: Instant| now.saturating_duration_since(at) >= ALL_AGAIN;
        if let Some((at, refusal)) = &self.refused
            && !is_past(*at)
        {
            return Ok(Some(refusal.clone()));
        }
        // After a refusal too: what was told as a whole was so before it.
        let is_time = self.all_at.is_none_or(is_past);
        let changed: Vec<VendorHealth> =
            vendors.into_iter().filter(|it| is_time || self.written.get(&it.instance_name) != Some(it)).collect();
        if changed.is_empty() {
            self.refused = None;
            return Ok(None);
        }
        let statement = format!(
            "UPDATE {relation} AS vendor
                SET health_status = told.health, last_bind_time = coalesce(to_timestamp(told.at), vendor.last_bind_time)
               FROM unnest($1::text[], $2::text[], $3::float8[]) AS told (name, health, at)
              WHERE vendor.instance_name = told.name
                AND (vendor.health_status IS DISTINCT FROM told.health
                     OR to_timestamp(told.at) IS DISTINCT FROM vendor.last_bind_time AND told.at IS NOT NULL)"
        );
        let names: Vec<&str> = changed.iter().map(|it| it.instance_name.as_str()).collect();
        let health: Vec<&str> = changed.iter().map(|it| it.health_status).collect();
        let at: Vec<Option<f64>> = changed.iter().map(|it| it.last_bind_time).collect();
        let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
            [(&names, Type::TEXT_ARRAY), (&health, Type::TEXT_ARRAY), (&at, Type::FLOAT8_ARRAY)];
        match connection.in_time(connection.client.query_typed(&statement, &parameters)).await {
            Ok(_) => {
                if is_time {
                    self.all_at = Some(now);
                    self.written.clear();
                }
                self.refused = None;
                self.written.extend(changed.into_iter().map(|it| (it.instance_name.clone(), it)));
                Ok(None)
            }
            Err(PostgresError::Refused(reason)) => {
                let refusal = refusal(reason);
                let is_lasting = matches!(refusal, Refusal::Lasting(_) | Refusal::NoColumns(_));
                self.refused = is_lasting.then(|| (now, refusal.clone()));
                Ok(Some(refusal))
            }
            Err(away) => Err(away),
        }
    }

    /// Whether [`Refusal::NoColumns`] is news on this connection.
    pub(super) fn says_no_columns(&mut self) -> bool {
        !core::mem::replace(&mut self.has_said_no_columns, true)
    }
}

fn refusal(reason: String) -> Refusal {
    let is_one_of = |codes: &[&str]| codes.iter().any(|code| reason.contains(code));
    match () {
        () if is_one_of(&["(53100)"]) => Refusal::Full(reason),
        () if is_one_of(&["(55P03)", "(40P01)", "(40001)", "(57014)"]) => Refusal::Passing,
        () if is_one_of(&["(42703)", "(0A000)", "(55000)"]) => Refusal::NoColumns(reason),
        () => Refusal::Lasting(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(state: VendorState, links_bound: u32, failures_in_a_row: u32) -> &'static str {
        let vendor = VendorSettings { binds: 2, ..VendorSettings::default() };
        status(&vendor, &VendorCounters { state, links_bound, failures_in_a_row, ..VendorCounters::default() })
    }

    #[test]
    fn health_follows_binds_and_failures() {
        assert_eq!(health(VendorState::Bound, 2, 0), "healthy");
        assert_eq!(health(VendorState::Bound, 1, 0), "degraded");
        assert_eq!(health(VendorState::Bound, 2, 5), "degraded");
        assert_eq!(health(VendorState::ReceiverOnly, 2, 0), "degraded");
        assert_eq!(health(VendorState::Connecting, 0, 1), "unhealthy");
        assert_eq!(health(VendorState::Off, 0, 0), "inactive");
        let off = VendorSettings { is_active: false, ..VendorSettings::default() };
        assert_eq!(
            status(&off, &VendorCounters { state: VendorState::Bound, ..VendorCounters::default() }),
            "inactive"
        );
    }

    #[test]
    fn the_time_of_a_bind_is_its_own_however_late_it_is_seen() {
        let vendor = VendorSettings { instance_name: "north".into(), ..VendorSettings::default() };
        let last_bind_time = |connects, last_bind_unix_ms: u64| {
            let connected_unix_ms = last_bind_unix_ms.min(1_700_000_000_250);
            let counters =
                VendorCounters { connects, connected_unix_ms, last_bind_unix_ms, ..VendorCounters::default() };
            VendorHealth::of(&vendor, &counters).last_bind_time
        };
        assert_eq!(last_bind_time(0, 0), None);
        assert_eq!(last_bind_time(1, 1_700_000_000_250), Some(1_700_000_000.25));
        assert_eq!(last_bind_time(2, 1_700_000_500_000), Some(1_700_000_500.0), "beside one that was up");
    }
}
