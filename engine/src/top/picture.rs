//! What the control port tells, as lines and tables of text.

use serde_json::Value;

use super::client::{Client, TopError};

/// Customers that are asked for, busiest first.
const CUSTOMERS: usize = 100;

/// One moment of a gateway.
#[derive(Debug, Default)]
pub(super) struct Picture {
    /// Lines; what is not as it should be comes last, behind an exclamation mark.
    pub(super) summary: Vec<String>,
    pub(super) vendors: Table,
    pub(super) customers: Table,
}

/// Rows of text under a head.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
    /// How many columns from the left are words; the others are figures.
    pub(super) texts: usize,
}

impl Table {
    fn new(head: &[&str], texts: usize) -> Self {
        Self { head: head.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new(), texts }
    }

    /// By column: characters of its widest cell.
    pub(super) fn widths(&self) -> Vec<usize> {
        let width = |place: usize| {
            let cells = core::iter::once(&self.head).chain(&self.rows).filter_map(|row| row.get(place));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..self.head.len()).map(width).collect()
    }
}

impl Picture {
    /// Asks a control port.
    pub(super) fn ask(client: &Client) -> Result<Self, TopError> {
        let stats = client.get("/api/v1/stats")?;
        let vendors = client.get("/api/v1/vendors?limit=1000")?;
        let customers = client.get(&format!("/api/v1/customers?order=activity&limit={CUSTOMERS}"))?;
        Ok(Self::of(&stats, &vendors, &customers))
    }

    /// Of the port's answers.
    pub(super) fn of(stats: &Value, vendors: &Value, customers: &Value) -> Self {
        let degraded = stats["degraded"].as_array().into_iter().flatten();
        let mut summary = summary(stats);
        summary.extend(degraded.filter_map(Value::as_str).map(|line| format!("! {line}")));
        Self { summary, vendors: vendor_table(vendors), customers: customer_table(customers) }
    }
}

fn summary(stats: &Value) -> Vec<String> {
    let (from, to) = (&stats["customers"], &stats["vendors"]);
    vec![
        format!(
            "{} {}  {}  up {}  memory {} MiB",
            text(&stats["node_id"]),
            text(&stats["version"]),
            text(&stats["phase"]),
            duration(whole(&stats["uptime_seconds"])),
            whole(&stats["process"]["resident_bytes"]) >> 20,
        ),
        format!(
            "customers  {} msg/s  {} sessions  {} accepted  {} refused  {} waiting",
            rate(&from["throughput_current"]),
            count(&from["sessions"]),
            count(&from["messages_accepted"]),
            count(&from["messages_refused"]),
            count(&from["deliveries_waiting"]),
        ),
        format!(
            "vendors    {} msg/s  {} of {} connected  {} in flight  {} queued  {} receipts",
            rate(&to["throughput_current"]),
            count(&to["connected"]),
            count(&to["count"]),
            count(&to["in_flight"]),
            count(&to["queue_depth"]),
            count(&to["dlrs_received"]),
        ),
        format!(
            "p50/95/99  answer {} ms  vendor {} ms  receipt {} ms",
            quantiles(&stats["latencies"]["submit_response"]),
            quantiles(&stats["latencies"]["vendor_answer"]),
            quantiles(&stats["latencies"]["delivery"]),
        ),
    ]
}

/// `-` where there were none lately.
fn quantiles(times: &Value) -> String {
    let one =
        |name: &str| times[name].as_f64().map(|ms| if ms < 10.0 { format!("{ms:.1}") } else { format!("{ms:.0}") });
    let all: Option<Vec<String>> = ["p50_ms", "p95_ms", "p99_ms"].into_iter().map(one).collect();
    all.map_or_else(|| "-".to_owned(), |all| all.join("/"))
}

fn vendor_table(list: &Value) -> Table {
    let mut vendors: Vec<&Value> = list["vendors"].as_object().into_iter().flatten().map(|(_, it)| it).collect();
    let speed = |vendor: &Value| vendor["throughput_current"].as_f64().unwrap_or(0.0);
    vendors.sort_by(|one, other| speed(other).total_cmp(&speed(one)));
    let mut table = Table::new(&["VENDOR", "STATUS", "BINDS", "MSG/S", "FLIGHT", "QUEUE", "SENT", "FAILED", "ERR%"], 2);
    table.rows.extend(vendors.into_iter().map(|vendor| {
        vec![
            shortened(text(&vendor["vendor_name"])),
            text(&vendor["status"]).to_owned(),
            format!("{}/{}", whole(&vendor["binds_bound"]), whole(&vendor["binds"])),
            rate(&vendor["throughput_current"]),
            count(&vendor["in_flight"]),
            count(&vendor["queue_depth"]),
            count(&vendor["messages_sent"]),
            count(&vendor["messages_failed"]),
            format!("{:.1}", vendor["error_rate"].as_f64().unwrap_or(0.0) * 100.0),
        ]
    }));
    table
}

fn customer_table(list: &Value) -> Table {
    let mut table =
        Table::new(&["CUSTOMER", "SESS", "MSG/S", "ACCEPTED", "REFUSED", "THROTTLED", "TAKEN", "WAITING"], 1);
    let customers = list["customers"].as_array().into_iter().flatten();
    table.rows.extend(customers.map(|customer| {
        let throttled = whole(&customer["throttled_rate"]) + whole(&customer["throttled_window"]);
        vec![
            shortened(text(&customer["customer_id"])),
            count(&customer["sessions"]),
            rate(&customer["throughput_current"]),
            count(&customer["messages_accepted"]),
            count(&customer["messages_refused"]),
            thousands(throttled),
            count(&customer["deliveries_taken"]),
            count(&customer["deliveries_waiting"]),
        ]
    }));
    table
}

/// Characters of a name that a column has room for.
const NAME_MAX: usize = 16;

fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME_MAX {
        return name.to_owned();
    }
    name.chars().take(NAME_MAX - 1).chain(['…']).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn whole(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn count(value: &Value) -> String {
    thousands(whole(value))
}

fn rate(value: &Value) -> String {
    thousands(value.as_f64().unwrap_or(0.0).round() as u64)
}

/// Few characters for any figure: 12,345 as it is, more in thousands, millions and so on.
fn thousands(value: u64) -> String {
    match value {
        0..100_000 => value.to_string(),
        100_000..10_000_000 => format!("{}k", value / 1_000),
        10_000_000..10_000_000_000 => format!("{}M", value / 1_000_000),
        _ => format!("{}G", value / 1_000_000_000),
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
