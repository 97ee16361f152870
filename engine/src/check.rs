//! `smpp-gateway check`, and the same look at kernel and limits at start: each line says what is the case, and
//! where that will not do, what to set.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use smpp_control::config::{Accept, Certificate, PostgresSettings, RedisSettings, StoreChoice};
use smpp_control::{Configuration, look_at_redis, postgres};

use crate::certificates::{Clients, TlsConfigs, VendorConfigs, fault_in_use, read_certificate};
use crate::net;
use crate::platform::{self, KERNEL_MIN, MEMLOCK_BYTES_MIN, OPEN_FILES_MIN};
use crate::top::client::Client;
use crate::{listen, live, resolve};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Fine,
    /// The gateway runs, but not as well as it could.
    Warning,
    /// The gateway does not run, or not as configured.
    Failure,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What is the case.
    pub text: String,
    /// What to do about it; empty when it is fine.
    pub cure: String,
}

impl Finding {
    fn fine(text: impl Into<String>) -> Self {
        Self { severity: Severity::Fine, text: text.into(), cure: String::new() }
    }

    fn warning(text: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, text: text.into(), cure: cure.into() }
    }

    fn failure(text: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { severity: Severity::Failure, text: text.into(), cure: cure.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.severity {
            Severity::Fine => "ok  ",
            Severity::Warning => "warn",
            Severity::Failure => "FAIL",
        };
        write!(f, "{mark} {}", self.text)?;
        if !self.cure.is_empty() {
            write!(f, ": {}", self.cure)?;
        }
        Ok(())
    }
}

/// What the kernel and the limits of the process are like. Raises RLIMIT_NOFILE as far as that goes.
pub fn machine() -> Vec<Finding> {
    vec![kernel(), io_uring_sysctl(), io_uring(), locked_memory(), open_files()]
}

/// What the configuration asks of the machine and the network; looks names up, and so may take its time.
pub fn configuration(configuration: &Configuration) -> Vec<Finding> {
    let mut findings = cores(configuration);
    let smpp = &configuration.smpp;
    let runs = is_running(configuration);
    for (key, addresses) in [("smpp.listen", &smpp.listen), ("smpp.tls_listen", &smpp.tls_listen)] {
        findings.extend(addresses.iter().map(|address| address_is_free(key, *address, runs)));
    }
    findings.push(address_is_free("control.listen", configuration.control.listen, runs));
    findings.push(address_is_free("control.metrics_listen", configuration.control.metrics_listen, runs));
    findings.extend(nothing_to_do(configuration));
    findings.extend(smpp.certificates.iter().map(certificate));
    findings.extend(Clients::of(smpp).map(client_authority));
    findings.extend(data_folder(configuration));
    findings.extend(journal_room(configuration));
    findings.extend(configuration.postgres.as_ref().map(|settings| rows(configuration, settings)));
    findings.extend(configuration.redis.as_ref().map(redis));
    for vendor in configuration.settings.vendors.iter().filter(|vendor| vendor.is_active) {
        findings.push(vendor_name(&vendor.instance_name, &vendor.host, vendor.port));
    }
    if let Err(errors) = TlsConfigs::read(&[], &configuration.settings.vendors) {
        findings.extend(errors.iter().map(|error| Finding::failure(error.to_string(), "set the vendor's tls_ca")));
    }
    findings
}

fn kernel() -> Finding {
    let (release, numbers) = platform::kernel();
    let text = format!("kernel {release}");
    match numbers {
        Some(numbers) if numbers < KERNEL_MIN => {
            Finding::failure(text, format!("run Linux {}.{} or later", KERNEL_MIN.0, KERNEL_MIN.1))
        }
        _ => Finding::fine(text),
    }
}

fn io_uring_sysctl() -> Finding {
    match platform::io_uring_disabled() {
        Some(2) => Finding::failure("kernel.io_uring_disabled is 2", "sysctl -w kernel.io_uring_disabled=0"),
        Some(1) if !rustix::process::geteuid().is_root() => Finding::failure(
            "kernel.io_uring_disabled is 1 and this process is not privileged",
            "sysctl -w kernel.io_uring_disabled=0, or put this user into the group of kernel.io_uring_group",
        ),
        Some(value) => Finding::fine(format!("kernel.io_uring_disabled is {value}")),
        None => Finding::fine("this kernel has no setting that disables io_uring"),
    }
}

fn io_uring() -> Finding {
    match net::probe() {
        Ok(()) => Finding::fine("io_uring can be set up and has every operation that is needed"),
        Err(error) => {
            let text = error.to_string();
            let (cause, cure) = text.split_once(": ").unwrap_or((&text, ""));
            Finding::failure(cause, cure)
        }
    }
}

fn locked_memory() -> Finding {
    match platform::locked_memory() {
        None => Finding::fine("RLIMIT_MEMLOCK is unlimited"),
        Some(limit) if limit < MEMLOCK_BYTES_MIN => Finding::failure(
            format!("RLIMIT_MEMLOCK is {} KiB", limit / 1024),
            "give it 512 KiB or more (ulimit -l 8192; LimitMEMLOCK=8M in systemd; --ulimit memlock=8388608 in Docker)",
        ),
        Some(limit) => Finding::fine(format!("RLIMIT_MEMLOCK is {} KiB", limit / 1024)),
    }
}

fn open_files() -> Finding {
    match platform::raise_open_files() {
        None => Finding::fine("RLIMIT_NOFILE is unlimited"),
        Some(limit) if limit < OPEN_FILES_MIN => Finding::warning(
            format!("RLIMIT_NOFILE is {limit}, one descriptor a connection"),
            "raise the hard limit (ulimit -Hn 65536; LimitNOFILE=65536 in systemd)",
        ),
        Some(limit) => Finding::fine(format!("RLIMIT_NOFILE is {limit}")),
    }
}

/// Whether the shards' cores are there and enough.
pub(crate) fn cores(configuration: &Configuration) -> Vec<Finding> {
    let (allowed, quota) = (platform::allowed_cores(), platform::cpu_quota());
    let shards = crate::start::shard_cores(&configuration.shards);
    let mut findings = vec![Finding::fine(format!("{} shard(s), on cores {shards:?} of {allowed:?}", shards.len()))];
    for core in shards.iter().filter(|core| !allowed.contains(core)) {
        findings.push(Finding::failure(
            format!("core {core} of shards.cores is not one that this process may use"),
            format!("name cores of {allowed:?}, or leave shards.cores out"),
        ));
    }
    if let Some(quota) = quota
        && (quota as usize) < shards.len()
    {
        findings.push(Finding::warning(
            format!("the CPU quota is {quota:.1} processors for {} shard(s)", shards.len()),
            "raise the quota or run fewer shards, or they are stopped in the middle of their work",
        ));
    }
    findings
}

/// Whether this node's gateway is the one that answers on the control port: a configuration may be looked at beside it, before
/// it reads it.
fn is_running(configuration: &Configuration) -> bool {
    let client = Client::new(&format!("http://{}", configuration.control.listen), None);
    let health = client.and_then(|client| client.get("/health"));
    health.is_ok_and(|health| health["node_id"] == *configuration.gateway.node_id)
}

/// What nobody can do with this configuration, where its rows stand in the file.
fn nothing_to_do(configuration: &Configuration) -> Vec<Finding> {
    let settings = &configuration.settings;
    let missing = [
        ("customers", settings.customers.is_empty(), "nobody can bind"),
        ("vendors", settings.vendors.is_empty(), "no message can go anywhere"),
        ("routing_rules", settings.routing_rules.is_empty(), "every submit_sm is refused for want of a route"),
    ];
    missing
        .into_iter()
        .filter(|(_, is_missing, _)| *is_missing && configuration.postgres.is_none())
        .map(|(table, _, effect)| {
            Finding::warning(format!("there are no [[{table}]]: {effect}"), format!("add a [[{table}]] row"))
        })
        .collect()
}

fn address_is_free(key: &str, address: SocketAddr, runs: bool) -> Finding {
    match listen::probe_listener(address) {
        Ok(()) => Finding::fine(format!("{key} {address} is free")),
        Err(error) if runs && error.kind() == io::ErrorKind::AddrInUse => {
            Finding::fine(format!("{key} {address} is in use; this node's gateway runs"))
        }
        Err(error) => Finding::failure(format!("{key} {address} cannot be had ({error})"), listen::cure(&error)),
    }
}

/// Whether what the node must not forget can be written where it is to stand; nothing where it has nothing to write.
fn data_folder(configuration: &Configuration) -> Option<Finding> {
    let is_kept = configuration.gateway.accept == Accept::Journal
        || configuration.store == StoreChoice::Embedded
        || configuration.postgres.is_some();
    is_kept.then(|| {
        let folder = &configuration.gateway.data_dir;
        match can_be_written(folder) {
            Ok(()) => Finding::fine(format!("gateway.data_dir {} can be written", folder.display())),
            Err(error) => Finding::failure(
                format!("gateway.data_dir {} cannot be written ({error})", folder.display()),
                "name a folder on a disk that this user may write to, or make it and give it to this user",
            ),
        }
    })
}

/// Whether the journal has its room where it is to stand: beside what it takes over, a start writes it anew.
fn journal_room(configuration: &Configuration) -> Option<Finding> {
    if configuration.gateway.accept != Accept::Journal {
        return None;
    }
    let there = nearest(&configuration.gateway.data_dir).ok()?;
    let system = rustix::fs::statvfs(&there).ok()?;
    let whole_mb = system.f_blocks.saturating_mul(system.f_frsize) >> 20;
    let max_mb = u64::from(configuration.journal.max_mb);
    let text = format!("journal.max_mb is {max_mb}, and the file system of gateway.data_dir has {whole_mb} MiB");
    Some(if max_mb > whole_mb / 2 {
        let cure = format!("give max_mb at most {}: a start needs room beside what it takes over", whole_mb / 2);
        Finding::warning(text, cure)
    } else {
        Finding::fine(text)
    })
}

/// Tries it out, in the folder or, as long as there is none, in the nearest one above it that is there.
fn can_be_written(folder: &Path) -> io::Result<()> {
    let there = nearest(folder)?;
    let trial = there.join(format!(".smpp-gateway-check-{}", std::process::id()));
    fs::create_dir(&trial)?;
    fs::remove_dir(trial)
}

/// The folder, or as long as there is none, the nearest one above it that is there.
fn nearest(folder: &Path) -> io::Result<PathBuf> {
    let folder = std::path::absolute(folder)?;
    let there = folder.ancestors().find(|above| above.symlink_metadata().is_ok());
    Ok(there.unwrap_or(&folder).to_owned())
}

fn rows(configuration: &Configuration, settings: &PostgresSettings) -> Finding {
    match postgres::look(configuration, settings) {
        Ok(mut loaded) => {
            let wrong = live::row_faults(&loaded, &mut VendorConfigs::default());
            loaded.faults.extend(wrong);
            let found = &loaded.settings;
            let text = format!(
                "PostgreSQL has {} customer(s), {} vendor(s), {} rule(s)",
                found.customers.len(),
                found.vendors.len(),
                found.routing_rules.len()
            );
            let wrong: Vec<String> = loaded
                .faults
                .iter()
                .take(10)
                .map(|fault| format!("{} {} {} {}", fault.table, fault.key, fault.column, fault.reason))
                .collect();
            match wrong.is_empty() {
                true => Finding::fine(text),
                false => {
                    Finding::warning(format!("{text}, and {} wrong row(s)", loaded.faults.len()), wrong.join("; "))
                }
            }
        }
        Err(error) => Finding::failure(
            error.to_string(),
            "see [postgres] url and the POSTGRES_ variables; the gateway starts from what is kept, or waits",
        ),
    }
}

fn redis(settings: &RedisSettings) -> Finding {
    let RedisSettings { host, port, .. } = settings;
    match look_at_redis(settings) {
        Ok(None) => Finding::fine(format!("Redis at {host}:{port} lets the gateway in")),
        Ok(Some(policy)) => Finding::warning(
            format!("Redis at {host}:{port} forgets keys by {policy} when its memory is full"),
            "set maxmemory-policy to noeviction, or to volatile-ttl where the oldest messages may go",
        ),
        Err(reason) => Finding::warning(
            format!("Redis at {host}:{port} {reason}"),
            "see [redis] and the REDIS_ variables; the gateway starts without it and keeps trying",
        ),
    }
}

fn certificate(certificate: &Certificate) -> Finding {
    match read_certificate(certificate) {
        Ok(key) => match fault_in_use(&key.cert, &certificate.domain) {
            None => Finding::fine(format!("the certificate for {} goes with its key", certificate.domain)),
            Some(fault) => Finding::warning(
                format!("the certificate for {} goes with its key, but {fault}", certificate.domain),
                "clients that check it refuse it: name one that is in force and made out to this domain",
            ),
        },
        Err(error) => Finding::failure(
            format!("the certificate for {} cannot be used ({error})", certificate.domain),
            "name PEM files that this user may read, the chain in cert and its own key in key",
        ),
    }
}

fn client_authority(clients: Clients<'_>) -> Finding {
    match clients.verifier() {
        Ok(_) => Finding::fine("customers' certificates can be checked against smpp.tls_client_ca"),
        Err(error) => Finding::failure(
            format!("customers' certificates cannot be checked ({error})"),
            "name a PEM file of authorities in tls_client_ca that this user may read",
        ),
    }
}

fn vendor_name(name: &str, host: &str, port: u16) -> Finding {
    match resolve::look_up(host, port) {
        Ok(addresses) => {
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            Finding::fine(format!("vendor {name} is at {}", list.join(", ")))
        }
        Err(reason) => Finding::warning(
            format!("vendor {name} has no address ({reason})"),
            "check its host and the name servers; the gateway keeps trying",
        ),
    }
}
