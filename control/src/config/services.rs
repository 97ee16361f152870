//! The services that a node may use, and where they are: `[redis]` and `[store]`, and the variables of the environment
//! over them.
//!
//! A URL may hold a password, so no fault ever shows one.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use redis::{ConnectionAddr, IntoConnectionInfo};
use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use super::Secret;
use super::document::Reader;
use super::fault::Fault;

/// What to write where Redis is.
const REDIS_CURE: &str = "write redis://host:6379, rediss:// for TLS, redis://user:password@host:port, or host:port";

/// `[redis]`: where Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSettings {
    /// Its name or address.
    pub host: String,
    /// Its port. Default 6379.
    pub port: u16,
    /// Whether TLS is spoken; the server's certificate is checked, and must be for `host`.
    pub use_tls: bool,
    /// `tls_ca`: PEM file of the authorities that it is checked against; left out: the system's. Read with every connection.
    pub tls_ca: Option<PathBuf>,
    /// As whom; the default user where there is none.
    pub username: Option<String>,
    /// With which password.
    pub password: Option<Secret>,
    /// `lease_ms`: of limits that count over all nodes a node has so many milliseconds' worth ahead, renewed twice in that time;
    /// 50 to 2,000. Default 200.
    pub lease_ms: u64,
    /// `node_timeout_ms`: a node that was silent that long counts as dead, and its customers' binds as ended, milliseconds; 5
    /// leases to 300,000. Default 5,000.
    pub node_timeout_ms: u64,
}

impl RedisSettings {
    /// `lease_ms` where it is left out.
    pub const LEASE_MS: u64 = 200;
    /// `node_timeout_ms` where it is left out.
    pub const NODE_TIMEOUT_MS: u64 = 5_000;
}

/// What `lease_ms` may be.
const LEASE_MS: RangeInclusive<u64> = 50..=2_000;

/// Leases that `node_timeout_ms` must last at the least.
const TIMEOUT_LEASES_MIN: u64 = 5;

/// The most that `node_timeout_ms` may be.
const NODE_TIMEOUT_MS_MAX: u64 = 300_000;

/// `[store] kind`: where messages are remembered for seven days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreChoice {
    /// Nowhere: a receipt finds its message as long as this process's index or journal knows it.
    #[default]
    None,
    /// In `data_dir`.
    Embedded,
    /// In Redis.
    Redis,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RedisSection {
    url: Option<String>,
    tls_ca: Option<PathBuf>,
    lease_ms: Option<u64>,
    node_timeout_ms: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StoreSection {
    kind: Option<StoreChoice>,
}

/// Reads `[redis]`, and the environment over it.
pub(super) fn read_redis(
    reader: &mut Reader<'_>,
    value: Option<Spanned<DeValue<'_>>>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Option<RedisSettings> {
    let mut tls_ca = None;
    let mut redis = value.and_then(|value| {
        let has_url = matches!(value.get_ref(), DeValue::Table(keys) if keys.contains_key("url"));
        let mut section: RedisSection = reader.row("redis", 0, value);
        tls_ca = section.tls_ca.take();
        match section.url.as_deref().map(parse) {
            Some(Ok(settings)) => Some(with_times(reader, &section, settings)),
            Some(Err(reason)) => {
                reader.fault("redis", 0, "url", reason, REDIS_CURE);
                None
            }
            None if has_url => None,
            None => {
                reader.fault("redis", 0, "url", "is left out", REDIS_CURE);
                None
            }
        }
    });
    apply_environment(&mut redis, environment, reader.faults);
    read_tls_ca(reader, redis.as_mut(), tls_ca, environment);
    redis
}

/// The authorities: `REDIS_TLS_CA` goes before the file's. Whether TLS is spoken is known by then.
fn read_tls_ca(
    reader: &mut Reader<'_>,
    redis: Option<&mut RedisSettings>,
    of_file: Option<PathBuf>,
    environment: &dyn Fn(&str) -> Option<String>,
) {
    const NAME: &str = "REDIS_TLS_CA";
    const UNUSED: &str = "is set, and nothing is checked against it";
    let variable = environment(NAME).filter(|value| !value.trim().is_empty());
    match (redis, variable, of_file) {
        (Some(redis), variable, of_file) if redis.use_tls => {
            redis.tls_ca = variable.map(|path| path.trim().into()).or(of_file);
        }
        (Some(_), Some(_), _) => {
            let cure = "write rediss:// or set REDIS_TLS=true, or unset it";
            reader.faults.push(Fault::in_environment(NAME, UNUSED, cure));
        }
        (Some(_), None, Some(_)) => {
            reader.fault("redis", 0, "tls_ca", UNUSED, "write rediss:// in url, or leave it out");
        }
        (None, Some(_), _) => {
            let cure = "set REDIS_HOST, or unset it";
            reader.faults.push(Fault::in_environment(NAME, "is set, and no Redis is configured", cure));
        }
        (Some(_) | None, None, _) => {}
    }
}

/// The times of the section, those that can be.
fn with_times(reader: &mut Reader<'_>, section: &RedisSection, settings: RedisSettings) -> RedisSettings {
    let lease_ms = section.lease_ms.unwrap_or(settings.lease_ms);
    if !LEASE_MS.contains(&lease_ms) {
        let reason = format!("is {lease_ms}, out of range");
        let cure = format!("give {} to {} milliseconds", LEASE_MS.start(), LEASE_MS.end());
        reader.fault("redis", 0, "lease_ms", reason, cure);
        return settings;
    }
    let least = TIMEOUT_LEASES_MIN * lease_ms;
    let node_timeout_ms = section.node_timeout_ms.unwrap_or(settings.node_timeout_ms.max(least));
    if !(least..=NODE_TIMEOUT_MS_MAX).contains(&node_timeout_ms) {
        let reason = format!("is {node_timeout_ms}, out of range");
        let cure = format!("give {least} (five times lease_ms) to {NODE_TIMEOUT_MS_MAX} milliseconds");
        reader.fault("redis", 0, "node_timeout_ms", reason, cure);
        return settings;
    }
    RedisSettings { lease_ms, node_timeout_ms, ..settings }
}

/// Reads `[store]`; what is left out is Redis where there is one, else none.
pub(super) fn read_store(
    reader: &mut Reader<'_>,
    value: Option<Spanned<DeValue<'_>>>,
    redis: Option<&RedisSettings>,
) -> StoreChoice {
    let section: StoreSection = value.map_or_else(StoreSection::default, |value| reader.row("store", 0, value));
    match section.kind {
        Some(StoreChoice::Redis) if redis.is_none() => {
            let cure = "add [redis] with its url, or set \"embedded\" or \"none\"";
            reader.fault("store", 0, "kind", "is \"redis\", and no Redis is configured", cure);
            StoreChoice::None
        }
        Some(kind) => kind,
        None if redis.is_some() => StoreChoice::Redis,
        None => StoreChoice::None,
    }
}

/// `REDIS_HOST` puts another server in place of the file's; the rest changes what is there.
fn apply_environment(
    redis: &mut Option<RedisSettings>,
    environment: &dyn Fn(&str) -> Option<String>,
    faults: &mut Vec<Fault>,
) {
    let set = |name: &str| environment(name).filter(|value| !value.trim().is_empty());
    // Kubernetes sets NAME_PORT=tcp://... for every service beside the pod; nobody asked for that.
    let port = set("REDIS_PORT").filter(|value| !value.starts_with("tcp://"));
    if let Some(host) = set("REDIS_HOST") {
        match parse(&host) {
            Ok(mut settings) => {
                if let Some(before) = redis.take() {
                    settings.username = settings.username.or(before.username);
                    settings.password = settings.password.or(before.password);
                    settings.use_tls |= before.use_tls && !host.contains("://");
                    (settings.lease_ms, settings.node_timeout_ms) = (before.lease_ms, before.node_timeout_ms);
                }
                *redis = Some(settings);
            }
            Err(reason) => faults.push(Fault::in_environment("REDIS_HOST", reason, REDIS_CURE)),
        }
    }
    let changes = [("REDIS_PORT", port), ("REDIS_USER", set("REDIS_USER")), ("REDIS_TLS", set("REDIS_TLS"))];
    let password = ("REDIS_PASSWORD", set("REDIS_PASSWORD"));
    for (name, value) in changes.into_iter().chain([password]) {
        let Some(value) = value else { continue };
        let Some(redis) = redis else {
            faults.push(Fault::in_environment(
                name,
                "is set, and no Redis is configured",
                "set REDIS_HOST, or unset it",
            ));
            continue;
        };
        match (name, value.trim()) {
            ("REDIS_PORT", port) => match port.parse() {
                Ok(port) if port != 0 => redis.port = port,
                _ => faults.push(Fault::in_environment(
                    name,
                    format!("is {port:?}, which is no port"),
                    "give 1 to 65535",
                )),
            },
            ("REDIS_USER", _) => redis.username = Some(value),
            ("REDIS_PASSWORD", _) => redis.password = Some(Secret::new(value)),
            (_, "true" | "1" | "yes") => redis.use_tls = true,
            (_, "false" | "0" | "no") => redis.use_tls = false,
            (_, other) => {
                faults.push(Fault::in_environment(name, format!("is {other:?}"), "give true or false"));
            }
        }
    }
}

/// Reads a URL, or a host with or without a port, user and password.
fn parse(text: &str) -> Result<RedisSettings, &'static str> {
    let text = text.trim();
    let url = if text.contains("://") { text.to_owned() } else { format!("redis://{text}") };
    if !url.starts_with("redis://") && !url.starts_with("rediss://") {
        return Err("is no URL of Redis");
    }
    let info = url.into_connection_info().map_err(|_| "is no URL of Redis")?;
    let (host, port, use_tls) = match info.addr() {
        ConnectionAddr::Tcp(host, port) => (host, *port, false),
        ConnectionAddr::TcpTls { host, port, .. } => (host, *port, true),
        _ => return Err("is no URL of Redis"),
    };
    let settings = info.redis_settings();
    if settings.db() != 0 {
        return Err("names a database; the gateway's are fixed: 0 for messages, 1 for limits");
    }
    if host.is_empty() || port == 0 {
        return Err("names no host, or no port");
    }
    Ok(RedisSettings {
        host: host.clone(),
        port,
        use_tls,
        tls_ca: None,
        username: settings.username().map(str::to_owned),
        password: settings.password().map(Secret::new),
        lease_ms: RedisSettings::LEASE_MS,
        node_timeout_ms: RedisSettings::NODE_TIMEOUT_MS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(host: &str, port: u16, use_tls: bool, user: Option<&str>, password: Option<&str>) -> RedisSettings {
        let (username, password) = (user.map(str::to_owned), password.map(Secret::new));
        let (lease_ms, node_timeout_ms) = (RedisSettings::LEASE_MS, RedisSettings::NODE_TIMEOUT_MS);
        let host = host.into();
        RedisSettings { host, port, use_tls, tls_ca: None, username, password, lease_ms, node_timeout_ms }
    }

    #[test]
    fn every_form_of_an_address_is_read() {
        for (text, wanted) in [
            ("redis.example", settings("redis.example", 6379, false, None, None)),
            ("redis.example:7000", settings("redis.example", 7000, false, None, None)),
            ("10.0.0.9:7000", settings("10.0.0.9", 7000, false, None, None)),
            ("redis://redis.example", settings("redis.example", 6379, false, None, None)),
            ("rediss://redis.example:7000", settings("redis.example", 7000, true, None, None)),
            ("redis://gw:p%40ss@redis.example", settings("redis.example", 6379, false, Some("gw"), Some("p@ss"))),
            ("redis://:secret@redis.example/0", settings("redis.example", 6379, false, None, Some("secret"))),
        ] {
            assert_eq!(parse(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_shown() {
        for text in ["http://redis.example", "redis://", "redis://host:port", "redis://host/3", "unix:///run/redis"] {
            let reason = parse(text).unwrap_err();
            assert!(!reason.contains("host:"), "{reason}");
        }
    }

    fn applied(before: Option<&str>, variables: &[(&str, &str)]) -> (Option<RedisSettings>, Vec<String>) {
        let mut redis = before.map(|text| parse(text).unwrap());
        let mut faults = Vec::new();
        let value =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        apply_environment(&mut redis, &value, &mut faults);
        (redis, faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn variables_go_before_the_file() {
        let variables = [("REDIS_HOST", "other:7000"), ("REDIS_PASSWORD", "new"), ("REDIS_TLS", "true")];
        let (redis, faults) = applied(Some("redis://gw:old@redis.example"), &variables);
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(redis, Some(settings("other", 7000, true, Some("gw"), Some("new"))));
        let (redis, _) = applied(None, &[("REDIS_HOST", "alone"), ("REDIS_PORT", "7001"), ("REDIS_USER", "gw")]);
        assert_eq!(redis, Some(settings("alone", 7001, false, Some("gw"), None)));
        let (redis, faults) = applied(None, &[("REDIS_PORT", "tcp://10.0.0.9:6379")]);
        assert_eq!((redis, faults), (None, Vec::new()));
    }

    #[test]
    fn variables_that_make_no_sense_are_refused() {
        for (before, name, value, words) in [
            (None, "REDIS_HOST", "http://x", "is no URL of Redis"),
            (None, "REDIS_PASSWORD", "hidden", "no Redis is configured"),
            (Some("redis.example"), "REDIS_PORT", "many", "which is no port"),
            (Some("redis.example"), "REDIS_TLS", "perhaps", "give true or false"),
        ] {
            let (_, faults) = applied(before, &[(name, value)]);
            assert_eq!(faults.len(), 1, "{name}");
            assert!(faults[0].contains(words) && !faults[0].contains("hidden"), "{}", faults[0]);
        }
    }

    /// With the environment over a file that holds nothing but this.
    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Option<RedisSettings>, String> {
        let value =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let parsed = crate::config::parse(std::path::Path::new("test.toml"), text, &value);
        parsed.map(|configuration| configuration.redis).map_err(|error| error.to_string())
    }

    #[test]
    fn the_authorities_are_those_of_the_environment_or_of_the_file() {
        let text = "[redis]\nurl = \"rediss://h\"\ntls_ca = \"file.pem\"\n";
        let of_file = read(text, &[]).unwrap().unwrap();
        assert_eq!(of_file.tls_ca, Some("file.pem".into()));
        let of_environment = read(text, &[("REDIS_TLS_CA", "other.pem")]).unwrap().unwrap();
        assert_eq!(of_environment.tls_ca, Some("other.pem".into()));
        let plain = "[redis]\nurl = \"h\"\ntls_ca = \"file.pem\"\n";
        assert!(read(plain, &[("REDIS_TLS", "true")]).unwrap().is_some_and(|redis| redis.tls_ca.is_some()));
        for (text, variables, words) in [
            (plain, &[][..], "tls_ca is set, and nothing is checked against it; write rediss://"),
            ("[redis]\nurl = \"h\"\n", &[("REDIS_TLS_CA", "a.pem")][..], "REDIS_TLS_CA is set, and nothing is checked"),
            ("", &[("REDIS_TLS_CA", "a.pem")][..], "REDIS_TLS_CA is set, and no Redis is configured"),
        ] {
            let error = read(text, variables).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
