//! `[postgres]` and `[secrets]`, with the environment over them.
//!
//! Read with the rest of the configuration. Must never show a URL, for there may be a password in it.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tokio_postgres::config::{Host, SslMode};
use toml::Spanned;
use toml::de::DeValue;

use super::document::Reader;
use super::environment::set_variable;
use super::fault::Fault;
use super::sections::section;
use crate::secrets::{KeyRing, SecretError};

/// Seconds from one reading of the tables to the next, where nothing has been notified.
const REREAD_SECONDS: (u64, u64) = (1, 86_400);

/// Milliseconds that a timeout may be.
const TIMEOUT_MS: (u64, u64) = (100, 60_000);

const URL_CURE: &str = "write postgres://USER:PASSWORD@HOST:5432/DATABASE, with %40 for @ and the like in a password";

/// `[postgres]` with the environment over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresSettings {
    /// Where and as whom; formatting it shows no password.
    pub connection: tokio_postgres::Config,
    /// `sslmode`.
    pub sslmode: PostgresTls,
    /// `tls_ca`: PEM file of the authorities for `verify-full`; left out: the system's.
    pub tls_ca: Option<PathBuf>,
    /// `vendors_relation`: the table or view with the shape of messaging.vendors, as `schema.name`.
    pub vendors_relation: String,
    /// `reread_seconds`: from one reading to the next where nothing was notified. Default 60.
    pub reread: Duration,
    /// `connect_timeout_ms`: for a connection to be made and let in. Default 10,000: seven answers of a second each.
    pub connect_timeout: Duration,
    /// `statement_timeout_ms`: for one statement. Default 10,000.
    pub statement_timeout: Duration,
}

/// `[postgres] sslmode`, with libpq's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PostgresTls {
    /// Plain TCP.
    Disable,
    /// TLS where the server has it; its certificate is not checked.
    #[default]
    Prefer,
    /// TLS or nothing; the certificate is not checked.
    Require,
    /// TLS, and the certificate is the host's.
    VerifyFull,
}

impl PostgresTls {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "disable" => Self::Disable,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-full" => Self::VerifyFull,
            _ => return None,
        })
    }

    /// As tokio-postgres has it, which knows nothing of certificates.
    const fn mode(self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::VerifyFull => SslMode::Require,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PostgresSection {
    url: Option<String>,
    sslmode: Option<PostgresTls>,
    tls_ca: Option<PathBuf>,
    vendors_relation: Option<String>,
    reread_seconds: Option<u64>,
    connect_timeout_ms: Option<u64>,
    statement_timeout_ms: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SecretsSection {
    key_file: Option<PathBuf>,
}

/// Reads `[secrets]`: SECRETS_KEYS goes before SECRETS_KEY_FILE, and that before key_file.
pub(super) fn read_secrets(
    reader: &mut Reader<'_>,
    value: Option<Spanned<DeValue<'_>>>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> KeyRing {
    let section: SecretsSection = section(reader, "secrets", value);
    let cure = "give lines NAME:BASE64, oldest key first; `openssl rand -base64 32` makes a key";
    let in_environment =
        |name: &str, error: SecretError| Fault::in_environment(name, format!("is wrong: {error}"), cure);
    if let Some(text) = set_variable(environment, "SECRETS_KEYS") {
        return KeyRing::parse(&text).unwrap_or_else(|error| {
            reader.faults.push(in_environment("SECRETS_KEYS", error));
            KeyRing::default()
        });
    }
    if let Some(path) = set_variable(environment, "SECRETS_KEY_FILE") {
        return KeyRing::read(path.as_ref()).unwrap_or_else(|error| {
            reader.faults.push(in_environment("SECRETS_KEY_FILE", error));
            KeyRing::default()
        });
    }
    let Some(path) = section.key_file else { return KeyRing::default() };
    KeyRing::read(&path).unwrap_or_else(|error| {
        reader.fault("secrets", 0, "key_file", format!("is wrong: {error}"), cure);
        KeyRing::default()
    })
}

/// Reads `[postgres]`. `None` where neither the file nor the environment asks for it.
pub(super) fn read_postgres(
    reader: &mut Reader<'_>,
    value: Option<Spanned<DeValue<'_>>>,
    environment: &dyn Fn(&str) -> Option<String>,
    node_id: &str,
) -> Option<PostgresSettings> {
    let variables = Variables::read(environment, reader.faults);
    let is_in_file = value.is_some();
    let section: PostgresSection = section(reader, "postgres", value);
    if !is_in_file && variables.host.is_none() {
        for name in variables.alone() {
            let reason = "is set, and nothing says where PostgreSQL is";
            reader.faults.push(Fault::in_environment(name, reason, "set POSTGRES_HOST too, or unset it"));
        }
        return None;
    }
    let (url, mode_of_url) = match section.url.as_deref().map(parse_url) {
        Some(Some((url, mode))) => (Some(url), mode),
        Some(None) => {
            reader.fault("postgres", 0, "url", "is no URL of PostgreSQL", URL_CURE);
            (None, None)
        }
        None if variables.host.is_none() => {
            reader.fault("postgres", 0, "url", "is left out, and POSTGRES_HOST is not set", URL_CURE);
            (None, None)
        }
        None => (None, None),
    };
    let sslmode = variables.sslmode.or(section.sslmode).or(mode_of_url).unwrap_or_default();
    let tls_ca = variables.tls_ca.clone().or(section.tls_ca);
    if tls_ca.is_some() && sslmode != PostgresTls::VerifyFull {
        let reason = "is set, and nothing is checked against it";
        reader.fault("postgres", 0, "tls_ca", reason, "set sslmode = \"verify-full\", or leave it out");
    }
    let mut connection = variables.over(url.as_ref());
    connection.ssl_mode(sslmode.mode()).application_name(format!("smpp-gateway {node_id}"));
    let vendors_relation = section.vendors_relation.unwrap_or_else(|| "messaging.vendors".to_owned());
    if !is_relation(&vendors_relation) {
        let cure = "write schema.name in small letters, digits and underscores, such as messaging.vendors";
        reader.fault("postgres", 0, "vendors_relation", format!("is {vendors_relation:?}"), cure);
    }
    let mut time = |key: &'static str, value: Option<u64>, default: u64, (least, most): (u64, u64), unit: &str| {
        let value = value.unwrap_or(default);
        if !(least..=most).contains(&value) {
            reader.fault("postgres", 0, key, format!("is {value}"), format!("give {least} to {most} {unit}"));
        }
        value
    };
    let reread = time("reread_seconds", section.reread_seconds, 60, REREAD_SECONDS, "seconds");
    let connect = time("connect_timeout_ms", section.connect_timeout_ms, 10_000, TIMEOUT_MS, "milliseconds");
    let statement = time("statement_timeout_ms", section.statement_timeout_ms, 10_000, TIMEOUT_MS, "milliseconds");
    Some(PostgresSettings {
        connection,
        sslmode,
        tls_ca,
        vendors_relation,
        reread: Duration::from_secs(reread),
        connect_timeout: Duration::from_millis(connect),
        statement_timeout: Duration::from_millis(statement),
    })
}

/// What the environment says of PostgreSQL.
#[derive(Default)]
struct Variables {
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<String>,
    dbname: Option<String>,
    sslmode: Option<PostgresTls>,
    tls_ca: Option<PathBuf>,
}

impl Variables {
    fn read(environment: &dyn Fn(&str) -> Option<String>, faults: &mut Vec<Fault>) -> Self {
        let set = |name: &str| set_variable(environment, name);
        let mut variables = Self::default();
        let mut port_of_host = None;
        if let Some(host) = set("POSTGRES_HOST") {
            let (host, port) = split_port(host.trim());
            (variables.host, port_of_host) = (Some(host.to_owned()), port);
        }
        // Kubernetes sets NAME_PORT=tcp://ADDRESS:PORT for a service of that name, which is as good as the port of the host that is
        // named beside it; of another one, such as the url's, it says nothing.
        if let Some(text) = set("POSTGRES_PORT") {
            match text.trim().rsplit(':').next().and_then(|port| port.parse().ok()) {
                Some(port) if text.starts_with("tcp://") => {
                    port_of_host = port_of_host.or(Some(port).filter(|_| variables.host.is_some()));
                }
                Some(port) if !text.contains(':') => variables.port = Some(port),
                _ => {
                    let reason = format!("is {text:?}, which is no port");
                    faults.push(Fault::in_environment("POSTGRES_PORT", reason, "give a port from 1 to 65535"));
                }
            }
        }
        variables.port = variables.port.or(port_of_host);
        variables.user = set("POSTGRES_USER");
        variables.password = set("POSTGRES_PASSWORD");
        variables.dbname = set("POSTGRES_DB");
        variables.tls_ca = set("POSTGRES_TLS_CA").map(PathBuf::from);
        if let Some(text) = set("POSTGRES_SSLMODE") {
            variables.sslmode = PostgresTls::parse(text.trim());
            if variables.sslmode.is_none() {
                let cure = "give disable, prefer, require or verify-full";
                faults.push(Fault::in_environment("POSTGRES_SSLMODE", format!("is {text:?}"), cure));
            }
        }
        variables
    }

    /// Those that are set and mean nothing without a host.
    fn alone(&self) -> impl Iterator<Item = &'static str> {
        let set = [
            ("POSTGRES_USER", self.user.is_some()),
            ("POSTGRES_PASSWORD", self.password.is_some()),
            ("POSTGRES_DB", self.dbname.is_some()),
        ];
        set.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name)
    }

    /// A connection as the URL has it, but for what is said here.
    fn over(&self, url: Option<&tokio_postgres::Config>) -> tokio_postgres::Config {
        let mut connection = tokio_postgres::Config::new();
        match (&self.host, url) {
            (Some(host), _) => drop(connection.host(host)),
            (None, Some(url)) => url.get_hosts().iter().for_each(|host| match host {
                Host::Tcp(name) => drop(connection.host(name)),
                Host::Unix(path) => drop(connection.host_path(path)),
            }),
            (None, None) => {}
        }
        match (self.port, url) {
            (Some(port), _) => drop(connection.port(port)),
            // A port of another host says nothing, and 5432 is what is left.
            (None, Some(url)) if self.host.is_none() => url.get_ports().iter().for_each(|port| {
                connection.port(*port);
            }),
            (None, _) => {}
        }
        let of_url = |get: fn(&tokio_postgres::Config) -> Option<&str>| url.and_then(get).map(str::to_owned);
        if let Some(user) = self.user.clone().or_else(|| of_url(tokio_postgres::Config::get_user)) {
            connection.user(user);
        }
        let of_url_password = || url.and_then(tokio_postgres::Config::get_password).map(<[u8]>::to_vec);
        if let Some(password) = self.password.clone().map(String::into_bytes).or_else(of_url_password) {
            connection.password(password);
        }
        if let Some(dbname) = self.dbname.clone().or_else(|| of_url(tokio_postgres::Config::get_dbname)) {
            connection.dbname(dbname);
        }
        if let Some(options) = of_url(tokio_postgres::Config::get_options) {
            connection.options(options);
        }
        connection.keepalives_idle(Duration::from_secs(10)).tcp_user_timeout(Duration::from_secs(20));
        connection
    }
}

/// The URL, and the sslmode in it, which tokio-postgres knows only in part.
fn parse_url(url: &str) -> Option<(tokio_postgres::Config, Option<PostgresTls>)> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return None;
    }
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut rest) = (None, Vec::new());
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("sslmode", value)) => mode = Some(PostgresTls::parse(value)?),
            _ => rest.push(parameter),
        }
    }
    let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    let connection: tokio_postgres::Config = url.parse().ok()?;
    (!connection.get_hosts().is_empty()).then_some((connection, mode))
}

/// `db`, `db:5432`, `[::1]:5432`, `::1`.
fn split_port(text: &str) -> (&str, Option<u16>) {
    if let Some((host, port)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, port.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (text, None),
        },
        _ => (text, None),
    }
}

/// Whether that may stand in a statement as it is.
fn is_relation(text: &str) -> bool {
    let is_name = |name: &str| {
        let mut octets = name.bytes();
        octets.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
            && name.len() <= 63
            && octets.all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'_')
    };
    text.split_once('.').is_some_and(|(schema, name)| is_name(schema) && is_name(name))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{ConfigError, Configuration, parse};
    use super::*;

    fn parsed(text: &str, variables: &[(&str, &str)]) -> Result<Configuration, ConfigError> {
        let environment =
            |name: &str| variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned());
        parse(Path::new("gateway.toml"), text, &environment)
    }

    fn postgres(text: &str, variables: &[(&str, &str)]) -> PostgresSettings {
        parsed(text, variables).unwrap().postgres.unwrap()
    }

    fn said(text: &str, variables: &[(&str, &str)]) -> String {
        parsed(text, variables).unwrap_err().to_string()
    }

    const URL: &str = "[postgres]\nurl = \"postgres://gw:pass%40word@db:6000/smpp?sslmode=verify-full\"\n";

    fn host(settings: &PostgresSettings) -> String {
        match &settings.connection.get_hosts()[0] {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        }
    }

    #[test]
    fn a_url_says_where_and_as_whom_and_shows_no_password() {
        let settings = postgres(URL, &[]);
        assert_eq!((host(&settings).as_str(), settings.connection.get_ports()), ("db", [6000].as_slice()));
        assert_eq!(settings.connection.get_user(), Some("gw"));
        assert_eq!(settings.connection.get_password(), Some(b"pass@word".as_slice()));
        assert_eq!(settings.connection.get_dbname(), Some("smpp"));
        assert_eq!((settings.sslmode, settings.reread), (PostgresTls::VerifyFull, Duration::from_secs(60)));
        assert_eq!(settings.vendors_relation, "messaging.vendors");
        assert!(!format!("{settings:?}").contains("pass@word"));
    }

    #[test]
    fn the_environment_overrides_the_file_part_by_part() {
        let variables = [
            ("POSTGRES_HOST", "other:7000"),
            ("POSTGRES_USER", "someone"),
            ("POSTGRES_PASSWORD", "else"),
            ("POSTGRES_SSLMODE", "disable"),
        ];
        let settings = postgres(URL, &variables);
        assert_eq!((host(&settings).as_str(), settings.connection.get_ports()), ("other", [7000].as_slice()));
        assert_eq!((settings.connection.get_user(), settings.connection.get_dbname()), (Some("someone"), Some("smpp")));
        assert_eq!(settings.connection.get_password(), Some(b"else".as_slice()));
        assert_eq!(settings.sslmode, PostgresTls::Disable);
        let settings = postgres(URL, &[("POSTGRES_HOST", "[::1]"), ("POSTGRES_PORT", "7001")]);
        assert_eq!((host(&settings).as_str(), settings.connection.get_ports()), ("::1", [7001].as_slice()));
        let settings = postgres(URL, &[("POSTGRES_HOST", "other")]);
        assert!(settings.connection.get_ports().is_empty(), "another host's port is not this one's");
    }

    #[test]
    fn the_environment_alone_is_enough_and_a_service_of_kubernetes_asks_for_nothing() {
        let settings = postgres("", &[("POSTGRES_HOST", "db"), ("POSTGRES_PORT", "tcp://10.0.0.9:5433")]);
        assert_eq!((host(&settings).as_str(), settings.connection.get_ports()), ("db", [5433].as_slice()));
        assert!(parsed("", &[("POSTGRES_PORT", "tcp://10.0.0.9:5433")]).unwrap().postgres.is_none());
        let settings = postgres(URL, &[("POSTGRES_PORT", "tcp://10.0.0.9:5433")]);
        assert_eq!(settings.connection.get_ports(), postgres(URL, &[("", "")]).connection.get_ports());
    }

    #[test]
    fn what_is_wrong_is_told_without_the_url() {
        for (text, variables, words) in [
            ("[postgres]\n", [("", "")], "[postgres] url is left out, and POSTGRES_HOST is not set"),
            ("[postgres]\nurl = \"db:87654321@x\"", [("", "")], "[postgres] url is no URL of PostgreSQL"),
            ("[postgres]\nurl = \"postgres:///x?sslmode=all\"", [("", "")], "[postgres] url is no URL"),
            ("[postgres]\nurl = \"postgres://u@h/x\"\nsslmode = \"on\"", [("", "")], "sslmode is \"on\"; write one of"),
            (
                "[postgres]\nurl = \"postgres://h\"\nvendors_relation = \"a b\"",
                [("", "")],
                "vendors_relation is \"a b\"",
            ),
            ("[postgres]\nurl = \"postgres://h\"\nvendors_relation = \"v\"", [("", "")], "vendors_relation is \"v\""),
            ("[postgres]\nurl = \"postgres://h\"\nreread_seconds = 0", [("", "")], "reread_seconds is 0; give 1 to"),
            ("[postgres]\nurl = \"postgres://h\"\nconnect_timeout_ms = 1", [("", "")], "connect_timeout_ms is 1; give"),
            ("[postgres]\nurl = \"postgres://h\"\nstatement_timeout_ms = 1", [("", "")], "statement_timeout_ms is 1"),
            ("[postgres]\nurl = \"postgres://h\"\ntls_ca = \"a.pem\"", [("", "")], "tls_ca is set, and nothing is"),
            ("[postgres]\nurl = 87654321", [("", "")], "[postgres] url is not text"),
            ("", [("POSTGRES_PASSWORD", "87654321")], "POSTGRES_PASSWORD is set, and nothing says where"),
            ("", [("POSTGRES_PORT", "five")], "POSTGRES_PORT is \"five\", which is no port"),
            ("", [("POSTGRES_SSLMODE", "on")], "POSTGRES_SSLMODE is \"on\"; give disable"),
            ("", [("SECRETS_KEYS", "a:87654321")], "SECRETS_KEYS is wrong: line 1"),
            ("", [("SECRETS_KEY_FILE", "no-such-file")], "SECRETS_KEY_FILE is wrong: no-such-file cannot be read"),
            ("[secrets]\nkey_file = \"no-such-file\"", [("", "")], "[secrets] key_file is wrong: no-such-file cannot"),
        ] {
            let said = said(text, &variables);
            assert!(said.contains(words), "{text}: {said}");
            assert!(!said.contains("87654321"), "a secret is shown: {said}");
        }
    }

    #[test]
    fn rows_in_the_file_do_not_go_with_postgresql() {
        let said = said(&format!("{URL}[[vendors]]\ninstance_name = \"a\"\nhost = \"h\"\nport = 1\n"), &[]);
        assert!(said.contains("gateway.toml:3: [[vendors]] stands beside [postgres]"), "{said}");
    }

    #[test]
    fn keys_come_from_the_environment_before_the_file() {
        let keys = format!("one:{}", "A".repeat(43) + "=");
        let configuration = parsed("[secrets]\nkey_file = \"no-such-file\"", &[("SECRETS_KEYS", &keys)]).unwrap();
        assert_eq!(configuration.secrets.newest(), Some("one"));
    }
}
