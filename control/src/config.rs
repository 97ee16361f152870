//! The configuration: one TOML file, a few environment variables over it, and everything that is wrong with them
//! said at once, each with its line and its cure.
//!
//! Runs before any thread is started (`run`, `check`), later on the control thread. Must never log or format a
//! password or token, nor let a key pass that it does not know.

mod addresses;
mod auth;
mod document;
mod environment;
mod fault;
mod listeners;
mod postgres;
mod reread;
mod sections;
mod served;
mod services;
mod statuses;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use smpp_shards::{Settings, Snapshot};

pub use smpp_shards::Accept;

use crate::secrets::KeyRing;
use document::Locations;
pub(crate) use document::{explain, field_names};
pub(crate) use sections::bcrypt_fault;

pub use fault::{ConfigError, Fault, Place};
pub use postgres::{PostgresSettings, PostgresTls};
pub use reread::{Reread, reread, reread_with};
pub(crate) use sections::customer_problems;
pub use services::{RedisSettings, StoreChoice};

/// A whole configuration, checked. Relative paths in it are relative to the working directory.
#[derive(Clone)]
pub struct Configuration {
    /// The file it came from.
    pub path: PathBuf,
    /// `[gateway]`.
    pub gateway: Gateway,
    /// `[journal]`.
    pub journal: JournalSettings,
    /// `[shards]`.
    pub shards: ShardsSettings,
    /// `[smpp]`, what concerns sockets; its timers are in `settings.gateway`.
    pub smpp: SmppSettings,
    /// `[control]`.
    pub control: ControlSettings,
    /// `[log]`.
    pub log: LogSettings,
    /// `[redis]`, where there is one.
    pub redis: Option<RedisSettings>,
    /// `[store] kind`.
    pub store: StoreChoice,
    /// `[postgres]`, where it is the source of the rows; then `settings` has none of its own.
    pub postgres: Option<PostgresSettings>,
    /// `[secrets]`: the keys under which vendors' passwords are encrypted.
    pub secrets: KeyRing,
    /// What the shards are told.
    pub settings: Settings,
    locations: Locations,
}

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configuration")
            .field("path", &self.path)
            .field("gateway", &self.gateway)
            .field("journal", &self.journal)
            .field("shards", &self.shards)
            .field("smpp", &self.smpp)
            .field("control", &self.control)
            .field("log", &self.log)
            .field("redis", &self.redis)
            .field("store", &self.store)
            .field("postgres", &self.postgres)
            .field("secrets", &self.secrets)
            .finish_non_exhaustive()
    }
}

/// `data_dir` where a file does not say it.
pub const DATA_DIR: &str = "data";

/// `[gateway]`, without what the shards are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// `node_id`: the node's name; its short number ([`node_number`]) is in `settings.gateway.node`.
    pub node_id: String,
    /// `accept`.
    pub accept: Accept,
    /// `data_dir`: where the node keeps what it must not forget.
    pub data_dir: PathBuf,
}

/// `[journal]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// `segment_mb`: one segment file, MiB, 8 to 1024. Default 64.
    pub segment_mb: u32,
    /// `max_mb`: all segment files of all shards together, MiB; beyond it new messages are refused. Default 16,384.
    pub max_mb: u32,
    /// `commit_wait_us`: how long less than 8 KiB of records wait for more before they are written, microseconds, 0 to
    /// 10,000. Default 1,000.
    pub commit_wait_us: u32,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self { segment_mb: 64, max_mb: 16_384, commit_wait_us: 1_000 }
    }
}

/// `[shards]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardsSettings {
    /// `cores`: one shard on each of these, none twice, never empty. Left out: the engine's choice.
    pub cores: Option<Vec<usize>>,
    /// `pin`: whether a shard's thread is bound to its core. Default true.
    pub pin: bool,
    /// `spin_us`: microseconds of looking for work before a shard sleeps, at most 10,000. Left out: the engine's
    /// choice.
    pub spin_us: Option<u32>,
}

/// `[smpp]`, what concerns sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmppSettings {
    /// `listen`: plain TCP; may be empty when `tls_listen` is not. Default 0.0.0.0:2775.
    pub listen: Vec<SocketAddr>,
    /// `tls_listen`: TLS. Default 0.0.0.0:2776 where there are certificates, else none.
    pub tls_listen: Vec<SocketAddr>,
    /// `[[smpp.certificates]]`. The first one answers clients that name no domain or an unknown one.
    pub certificates: Vec<Certificate>,
    /// `tls_client_ca`: PEM file with the authorities that sign customers' certificates. Left out: none is asked for.
    pub tls_client_ca: Option<PathBuf>,
    /// `tls_client_certificates`: whether a connection without one is let in.
    pub tls_client_certificates: ClientCertificates,
}

/// `[smpp] tls_client_certificates`; counts where there is a `tls_client_ca`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// A connection without one is let in, and customers who demand one refuse its bind.
    #[default]
    Optional,
    /// A connection without one ends with the handshake.
    Required,
}

/// One of `[[smpp.certificates]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Certificate {
    /// The domain (SNI) for which it is shown.
    pub domain: String,
    /// PEM file: the certificate and what leads to its root.
    pub cert: PathBuf,
    /// PEM file: the private key.
    pub key: PathBuf,
}

/// `[control]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlSettings {
    /// `listen`: the HTTP control port. Default 127.0.0.1:8080.
    pub listen: SocketAddr,
    /// `metrics_listen`: `/metrics` alone, without a token. Default 127.0.0.1:9090.
    pub metrics_listen: SocketAddr,
    /// `token`: what `Authorization: Bearer` must carry; always there when `listen` is not a loopback address.
    pub token: Option<Secret>,
    /// `ready_requires_vendor`: whether `/ready` waits for a bound vendor. Default true.
    pub ready_requires_vendor: bool,
}

/// `[log]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// `level`: lines below it are left out. Default `info`.
    pub level: LogLevel,
}

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Detail for a search.
    Debug,
    /// What happens in the normal course.
    #[default]
    Info,
    /// What someone should look at some day.
    Warn,
    /// What someone should look at now.
    Error,
}

impl LogLevel {
    /// As it stands in a line of the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

/// A text that formatting never shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Configuration {
    /// The snapshot for that many shards; `version` counts up from 1.
    ///
    /// # Errors
    /// What is wrong with the settings, each with its line. [`load`] has already made sure that nothing is, for
    /// any number of shards.
    pub fn snapshot(&self, shards: u16, version: u64) -> Result<Snapshot, ConfigError> {
        Snapshot::build(self.settings.clone(), shards, version)
            .map_err(|problems| ConfigError::new(self.locations.faults_of(&self.path, problems)))
    }
}

/// Reads the file and the environment.
///
/// # Errors
/// Everything that is wrong, at once: what cannot be read or parsed, keys that are unknown or not served yet,
/// values of the wrong kind or out of range, and references to what is not there.
pub fn load(path: &Path) -> Result<Configuration, ConfigError> {
    load_with(path, &environment_variable)
}

fn environment_variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// [`load`] with the environment as a function, for tests and tools.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Configuration, ConfigError> {
    let text = read_text(path)?;
    parse(path, &text, environment)
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| {
        let cure = "give --config a readable file in UTF-8; deploy/gateway.toml shows every key";
        ConfigError::new(vec![Fault::in_file(path, None, "", format!("cannot be read: {error}"), cure)])
    })
}

/// [`load_with`] with the file's text already read; `path` is only named in errors.
///
/// # Errors
/// As [`load`].
pub fn parse(
    path: &Path,
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Configuration, ConfigError> {
    let mut faults = Vec::new();
    let configuration = sections::read(path, text, environment, true, &mut faults);
    match configuration {
        Some(configuration) if faults.is_empty() => Ok(configuration),
        _ => Err(ConfigError::new(faults)),
    }
}

/// The short number that stands for a node in message ids: its name's FNV-1a hash (64 bits) folded to 8 bits.
/// Two names may share a number; message ids stay unique all the same, for the number is only a hint in them.
pub fn node_number(node_id: &str) -> u8 {
    let hash = node_id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash.to_le_bytes().into_iter().fold(0, |folded, byte| folded ^ byte)
}

#[cfg(test)]
mod tests;
