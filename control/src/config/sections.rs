//! The sections of the file, one after the other, and what must hold between them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use smpp_shards::bounds::{JOURNAL_SEGMENT_BYTES_MIN, LATE_ANSWER_MS_MAX, MESSAGES_KEPT_MAX};
use smpp_shards::settings::{CustomerSettings, GatewaySettings};
use smpp_shards::{Problem, Settings, Snapshot};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::addresses::{self, ADDRESS_CURE, OneOrMany};
use super::auth::{check_client_certificates, read_auth};
use super::document::Reader;
use super::environment::{self, Listeners};
use super::fault::Fault;
use super::listeners::check_listeners;
use super::postgres;
use super::served::{LEAVE_OUT, NOT_YET, is_table_to_come, nearest};
use super::services::{read_redis, read_store};
use super::statuses::read_statuses;
use super::{
    Accept, Certificate, ClientCertificates, Configuration, ControlSettings, DATA_DIR, Gateway, JournalSettings,
    LogLevel, LogSettings, Secret, ShardsSettings, SmppSettings, node_number,
};

const TABLES: [&str; 16] = [
    "gateway",
    "journal",
    "shards",
    "smpp",
    "statuses",
    "auth",
    "control",
    "log",
    "redis",
    "store",
    "postgres",
    "secrets",
    "customers",
    "vendors",
    "routing_rules",
    "inbound_routes",
];

/// Hours for which a message or receipt may be kept at the most: a month.
const VALIDITY_HOURS_MAX: u32 = 31 * 24;

/// The longest `commit_wait_us`: what customers may wait for their answers beside the disk.
const COMMIT_WAIT_US_MAX: u32 = 10_000;

/// MiB of one segment of the journal, at the least and at the most.
const SEGMENT_MB: (u32, u32) = ((JOURNAL_SEGMENT_BYTES_MIN >> 20) as u32, 1_024);

/// Segments that the journal may have at the least: the present one and those made ahead of it.
const SEGMENTS_LEAST: u32 = 8;

/// Octets of a node's name at the most.
const NODE_ID_MAX: usize = 64;

/// Shards at the most: what fits into a shard's number with room to spare.
const SHARDS_MAX: usize = 1_024;

/// Microseconds of spinning at the most.
const SPIN_US_MAX: u32 = 10_000;

/// bcrypt's cost at the most: one check takes several seconds there, and it doubles with each step.
const BCRYPT_COST_MAX: u32 = 16;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GatewaySection {
    node_id: Option<String>,
    accept: Accept,
    data_dir: Option<PathBuf>,
    relay_deadline_ms: Option<u64>,
    receipt_hold_ms: Option<u64>,
    receipt_early_ms: Option<u64>,
    receipts_awaited: Option<u32>,
    validity_hours: Option<u32>,
    messages_kept: Option<u32>,
    receipts_kept: Option<u32>,
    unknown_outcome_retries: Option<u32>,
    late_answer_ms: Option<u64>,
    log_sample: Option<u32>,
    retry_count: Option<u32>,
    retry_interval_ms: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct JournalSection {
    segment_mb: Option<u32>,
    max_mb: Option<u32>,
    commit_wait_us: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ShardsSection {
    cores: Option<Vec<usize>>,
    pin: Option<bool>,
    spin_us: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SmppSection {
    listen: Option<OneOrMany>,
    tls_listen: Option<OneOrMany>,
    tls_client_ca: Option<PathBuf>,
    tls_client_certificates: Option<ClientCertificates>,
    system_id: Option<String>,
    bind_timeout_ms: Option<u64>,
    enquire_link_ms: Option<u64>,
    inactivity_timeout_ms: Option<u64>,
    deliver_window: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ControlSection {
    listen: Option<String>,
    metrics_listen: Option<String>,
    token: Option<String>,
    ready_requires_vendor: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogSection {
    level: LogLevel,
}

/// Reads the whole file. `None`, and at least one fault, where it does not even parse; otherwise a configuration
/// that is only good if there is no fault. With `is_whole` the rows are compiled, to find what is wrong with their values
/// and between them; without, that is left to whoever compiles them.
pub(super) fn read(
    path: &Path,
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    is_whole: bool,
    faults: &mut Vec<Fault>,
) -> Option<Configuration> {
    let mut reader = Reader::new(path, text, faults);
    let mut tables = split(text, &mut reader)?;
    let mut settings = Settings::default();
    let gateway = read_gateway(&mut reader, tables.remove("gateway"), &mut settings.gateway);
    let journal = read_journal(&mut reader, tables.remove("journal"));
    let shards = read_shards(&mut reader, tables.remove("shards"));
    let mut smpp = read_smpp(&mut reader, tables.remove("smpp"), &mut settings.gateway);
    let mut control = read_control(&mut reader, tables.remove("control"));
    let log: LogSection = section(&mut reader, "log", tables.remove("log"));
    let redis = read_redis(&mut reader, tables.remove("redis"), environment);
    let store = read_store(&mut reader, tables.remove("store"), redis.as_ref());
    settings.gateway.statuses = read_statuses(&mut reader, tables.remove("statuses"));
    settings.gateway.auth = read_auth(&mut reader, tables.remove("auth"));
    settings.customers = tables.remove("customers").map_or_else(Vec::new, |rows| reader.rows("customers", rows));
    settings.vendors = tables.remove("vendors").map_or_else(Vec::new, |rows| reader.rows("vendors", rows));
    settings.routing_rules =
        tables.remove("routing_rules").map_or_else(Vec::new, |rows| reader.rows("routing_rules", rows));
    settings.inbound_routes =
        tables.remove("inbound_routes").map_or_else(Vec::new, |rows| reader.rows("inbound_routes", rows));
    let secrets = postgres::read_secrets(&mut reader, tables.remove("secrets"), environment);
    let postgres = postgres::read_postgres(&mut reader, tables.remove("postgres"), environment, &gateway.node_id);
    if postgres.is_some() {
        check_rows_left_to_postgres(&mut reader, &settings);
    }
    let listeners = Listeners {
        smpp: &mut smpp.listen,
        smpp_tls: &mut smpp.tls_listen,
        control: &mut control.listen,
        metrics: &mut control.metrics_listen,
    };
    let changed = environment::apply(environment, listeners, reader.faults);
    check_listeners(&mut reader, &smpp, &control, &changed);
    if is_whole {
        for problem in customer_problems(&settings.customers) {
            reader.fault(problem.table, problem.index, problem.key, problem.reason, problem.cure);
        }
        if let Err(problems) = Snapshot::build(settings.clone(), 1, 1) {
            reader.problems(problems);
        }
    }
    let locations = core::mem::take(&mut reader.locations);
    let log = LogSettings { level: log.level };
    Some(Configuration {
        path: path.to_owned(),
        gateway,
        journal,
        shards,
        smpp,
        control,
        log,
        redis,
        store,
        postgres,
        secrets,
        settings,
        locations,
    })
}

/// Rows come from one source.
fn check_rows_left_to_postgres(reader: &mut Reader<'_>, settings: &Settings) {
    for (table, rows) in [
        ("customers", settings.customers.len()),
        ("vendors", settings.vendors.len()),
        ("routing_rules", settings.routing_rules.len()),
        ("inbound_routes", settings.inbound_routes.len()),
    ] {
        if rows > 0 {
            let reason = "stands beside [postgres], where these rows are read from";
            reader.fault(table, 0, "", reason, "put them into PostgreSQL, or leave one of the two out");
        }
    }
}

/// The file's tables by name. Tables that are unknown or not served are noted and left out.
fn split<'text>(text: &'text str, reader: &mut Reader<'_>) -> Option<HashMap<String, Spanned<DeValue<'text>>>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let line = error.span().map(|span| reader.line_of(span.start));
        let reason = format!("this is not TOML: {}", error.message().replace('\n', ", "));
        reader.fault_at(line, String::new(), reason, "correct the line");
    }
    if !errors.is_empty() {
        return None;
    }
    let mut tables = HashMap::new();
    for (key, value) in document.into_inner() {
        let line = Some(reader.line_of(key.span().start));
        let name = key.into_inner().into_owned();
        if TABLES.contains(&name.as_str()) {
            tables.insert(name, value);
            continue;
        }
        let shown = match value.get_ref() {
            DeValue::Table(_) => format!("[{name}]"),
            DeValue::Array(_) => format!("[[{name}]]"),
            _ => name.clone(),
        };
        if is_table_to_come(&name) {
            reader.fault_at(line, shown, NOT_YET, LEAVE_OUT);
        } else {
            let cure = match nearest(&name, TABLES) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("leave it out; known are {}", TABLES.join(", ")),
            };
            reader.fault_at(line, shown, "is no known table", &cure);
        }
    }
    Some(tables)
}

pub(super) fn section<T: serde::de::DeserializeOwned + Default>(
    reader: &mut Reader<'_>,
    table: &'static str,
    value: Option<Spanned<DeValue<'_>>>,
) -> T {
    value.map_or_else(T::default, |value| reader.row(table, 0, value))
}

fn put<T>(into: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *into = value;
    }
}

fn read_gateway(
    reader: &mut Reader<'_>,
    value: Option<Spanned<DeValue<'_>>>,
    settings: &mut GatewaySettings,
) -> Gateway {
    let section: GatewaySection = section(reader, "gateway", value);
    let node_id = section.node_id.unwrap_or_else(|| "gateway".to_owned());
    if node_id.is_empty() || node_id.len() > NODE_ID_MAX {
        let reason = format!("has {} octets", node_id.len());
        reader.fault("gateway", 0, "node_id", reason, format!("give 1 to {NODE_ID_MAX}"));
    }
    settings.node = node_number(&node_id);
    put(&mut settings.relay_deadline_ms, section.relay_deadline_ms);
    put(&mut settings.receipt_hold_ms, section.receipt_hold_ms);
    put(&mut settings.receipt_early_ms, section.receipt_early_ms);
    put(&mut settings.receipts_awaited, section.receipts_awaited);
    put(&mut settings.validity_hours, section.validity_hours);
    if settings.validity_hours == 0 || settings.validity_hours > VALIDITY_HOURS_MAX {
        let reason = format!("is {}", settings.validity_hours);
        reader.fault("gateway", 0, "validity_hours", reason, format!("give 1 to {VALIDITY_HOURS_MAX} hours"));
    }
    put(&mut settings.messages_kept, section.messages_kept);
    if settings.messages_kept == 0 || settings.messages_kept > MESSAGES_KEPT_MAX {
        let reason = format!("is {}", settings.messages_kept);
        reader.fault("gateway", 0, "messages_kept", reason, format!("give 1 to {MESSAGES_KEPT_MAX}"));
    }
    put(&mut settings.receipts_kept, section.receipts_kept);
    put(&mut settings.unknown_outcome_retries, section.unknown_outcome_retries);
    put(&mut settings.late_answer_ms, section.late_answer_ms);
    if settings.late_answer_ms > LATE_ANSWER_MS_MAX {
        let reason = format!("is {}", settings.late_answer_ms);
        reader.fault("gateway", 0, "late_answer_ms", reason, format!("give at most {LATE_ANSWER_MS_MAX}: a day"));
    }
    put(&mut settings.log_sample, section.log_sample);
    put(&mut settings.retry_count, section.retry_count);
    put(&mut settings.retry_interval_ms, section.retry_interval_ms);
    let data_dir = section.data_dir.unwrap_or_else(|| PathBuf::from(DATA_DIR));
    if data_dir.as_os_str().is_empty() {
        reader.fault("gateway", 0, "data_dir", "is empty", "name a folder, or leave it out");
    }
    Gateway { node_id, accept: section.accept, data_dir }
}

fn read_journal(reader: &mut Reader<'_>, value: Option<Spanned<DeValue<'_>>>) -> JournalSettings {
    let section: JournalSection = section(reader, "journal", value);
    let mut settings = JournalSettings::default();
    put(&mut settings.segment_mb, section.segment_mb);
    put(&mut settings.max_mb, section.max_mb);
    let (least, most) = SEGMENT_MB;
    if !(least..=most).contains(&settings.segment_mb) {
        let reason = format!("is {}", settings.segment_mb);
        reader.fault("journal", 0, "segment_mb", reason, format!("give {least} to {most} MiB"));
    } else if settings.max_mb / settings.segment_mb < SEGMENTS_LEAST {
        let reason = format!("is {}", settings.max_mb);
        let cure = format!("give at least {} MiB: {SEGMENTS_LEAST} segments", settings.segment_mb * SEGMENTS_LEAST);
        reader.fault("journal", 0, "max_mb", reason, cure);
    }
    put(&mut settings.commit_wait_us, section.commit_wait_us);
    if settings.commit_wait_us > COMMIT_WAIT_US_MAX {
        let reason = format!("is {}", settings.commit_wait_us);
        reader.fault("journal", 0, "commit_wait_us", reason, format!("give at most {COMMIT_WAIT_US_MAX}: 10 ms"));
    }
    settings
}

fn read_shards(reader: &mut Reader<'_>, value: Option<Spanned<DeValue<'_>>>) -> ShardsSettings {
    let section: ShardsSection = section(reader, "shards", value);
    if let Some(cores) = &section.cores {
        let mut sorted = cores.clone();
        sorted.sort_unstable();
        if cores.is_empty() {
            reader.fault("shards", 0, "cores", "is empty", "name at least one core, or leave it out");
        } else if cores.len() > SHARDS_MAX {
            let reason = format!("names {} cores", cores.len());
            reader.fault("shards", 0, "cores", reason, format!("name at most {SHARDS_MAX}"));
        } else if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            reader.fault("shards", 0, "cores", format!("names core {} twice", twice[0]), "name each core once");
        }
    }
    if let Some(spin_us) = section.spin_us.filter(|spin_us| *spin_us > SPIN_US_MAX) {
        let cure = format!("give at most {SPIN_US_MAX} microseconds");
        reader.fault("shards", 0, "spin_us", format!("is {spin_us}"), cure);
    }
    ShardsSettings { cores: section.cores, pin: section.pin.unwrap_or(true), spin_us: section.spin_us }
}

fn read_smpp(
    reader: &mut Reader<'_>,
    value: Option<Spanned<DeValue<'_>>>,
    settings: &mut GatewaySettings,
) -> SmppSettings {
    let mut certificates = Vec::new();
    let value = value.map(|mut value| {
        if let DeValue::Table(keys) = value.get_mut()
            && let Some(rows) = keys.remove("certificates")
        {
            certificates = reader.rows::<Certificate>("smpp.certificates", rows);
        }
        value
    });
    let mut section: SmppSection = section(reader, "smpp", value);
    put(&mut settings.system_id, section.system_id);
    put(&mut settings.bind_timeout_ms, section.bind_timeout_ms);
    put(&mut settings.enquire_link_ms, section.enquire_link_ms);
    put(&mut settings.inactivity_timeout_ms, section.inactivity_timeout_ms);
    put(&mut settings.deliver_window, section.deliver_window);
    check_certificates(reader, &certificates);
    let listen = read_addresses(reader, "listen", section.listen.take(), Some("0.0.0.0:2775"));
    let tls_default = (!certificates.is_empty()).then_some("0.0.0.0:2776");
    let tls_listen = read_addresses(reader, "tls_listen", section.tls_listen.take(), tls_default);
    check_client_certificates(reader, &section.tls_client_ca, section.tls_client_certificates, &certificates);
    SmppSettings {
        listen,
        tls_listen,
        certificates,
        tls_client_ca: section.tls_client_ca,
        tls_client_certificates: section.tls_client_certificates.unwrap_or_default(),
    }
}

fn read_addresses(
    reader: &mut Reader<'_>,
    key: &'static str,
    texts: Option<OneOrMany>,
    default: Option<&str>,
) -> Vec<SocketAddr> {
    let texts = texts.map_or_else(|| default.map(str::to_owned).into_iter().collect(), |texts| texts.0);
    let mut found = Vec::new();
    for text in &texts {
        match addresses::parse(text) {
            Some(address) => found.push(address),
            None => reader.fault("smpp", 0, key, format!("holds {text:?}, which is no address"), ADDRESS_CURE),
        }
    }
    found
}

fn check_certificates(reader: &mut Reader<'_>, certificates: &[Certificate]) {
    const TABLE: &str = "smpp.certificates";
    for (index, certificate) in certificates.iter().enumerate() {
        for (key, is_empty, cure) in [
            ("domain", certificate.domain.is_empty(), "name the domain that clients connect to"),
            ("cert", certificate.cert.as_os_str().is_empty(), "name a PEM file"),
            ("key", certificate.key.as_os_str().is_empty(), "name a PEM file"),
        ] {
            if is_empty {
                reader.fault(TABLE, index, key, "is empty or left out", cure);
            }
        }
        let is_double =
            certificates[..index].iter().any(|other| other.domain.eq_ignore_ascii_case(&certificate.domain));
        if is_double && !certificate.domain.is_empty() {
            reader.fault(TABLE, index, "domain", "is there twice", "keep one certificate for each domain");
        }
    }
}

fn read_control(reader: &mut Reader<'_>, value: Option<Spanned<DeValue<'_>>>) -> ControlSettings {
    let section: ControlSection = section(reader, "control", value);
    let mut address = |key: &str, text: Option<String>, default: &str| {
        let text = text.unwrap_or_else(|| default.to_owned());
        addresses::parse(&text).unwrap_or_else(|| {
            reader.fault("control", 0, key, format!("is {text:?}, which is no address"), ADDRESS_CURE);
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    };
    let listen = address("listen", section.listen, "127.0.0.1:8080");
    let metrics_listen = address("metrics_listen", section.metrics_listen, "127.0.0.1:9090");
    let is_plain = |token: &str| !token.is_empty() && token.bytes().all(|octet| octet.is_ascii_graphic());
    if section.token.as_deref().is_some_and(|token| !is_plain(token)) {
        let reason = "is empty, or holds a blank or a letter outside ASCII";
        reader.fault("control", 0, "token", reason, "make one with `openssl rand -hex 32`");
    }
    ControlSettings {
        listen,
        metrics_listen,
        token: section.token.map(Secret::new),
        ready_requires_vendor: section.ready_requires_vendor.unwrap_or(true),
    }
}

/// What a snapshot does not look at: hashes that bcrypt cannot use, and names that metrics could not tell apart.
pub(crate) fn customer_problems(customers: &[CustomerSettings]) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut add = |index, key, reason: String, cure: &str| {
        found.push(Problem { table: "customers", index, key, reason, cure: cure.to_owned() });
    };
    let mut names = HashMap::new();
    for (index, customer) in customers.iter().enumerate() {
        if let Some((reason, cure)) = customer.smpp_password_hash.as_deref().and_then(bcrypt_fault) {
            add(index, "smpp_password_hash", reason, cure);
        }
        let name = customer.account_id.as_deref().unwrap_or(&customer.smpp_system_id);
        let other = names.insert(name, index);
        let same_system_id = other.is_some_and(|other| customers[other].smpp_system_id == customer.smpp_system_id);
        if other.is_some() && !same_system_id {
            let reason = format!("is {name:?}, which another customer goes by");
            add(index, "account_id", reason, "give every customer its own");
        }
    }
    found
}

/// What is wrong with a hash that bcrypt cannot use, or not in time; and what to do about it.
pub(crate) fn bcrypt_fault(hash: &str) -> Option<(String, &'static str)> {
    let reason = match hash.parse::<bcrypt::HashParts>() {
        Err(_) => "is no bcrypt hash".to_owned(),
        Ok(parts) if parts.get_cost() > BCRYPT_COST_MAX => {
            format!("has the cost {}: a check would take too long", parts.get_cost())
        }
        Ok(_) => return None,
    };
    Some((reason, "make one with `smpp-gateway hash-password`"))
}
