//! The configuration of a gateway under test, put together piece by piece.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use super::folder::Folder;
use super::{Gateway, Shards};

/// The password of every customer.
pub(crate) const PASSWORD: &str = "secret12";

/// A configuration. Keys are added to a section as lines of TOML.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) folder: Folder,
    pub(crate) ports: Ports,
    shards: Shards,
    files: Option<u32>,
    is_journaled: bool,
    shards_keys: String,
    gateway: String,
    smpp: String,
    control: String,
    rows: String,
}

/// Where the gateway listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) smpp: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) control: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

impl Setup {
    /// Nothing but a gateway.
    pub(crate) fn new(shards: Shards) -> Self {
        let ports =
            Ports { smpp: free_address(), tls: free_address(), control: free_address(), metrics: free_address() };
        Self {
            folder: Folder::new(),
            ports,
            shards,
            files: None,
            is_journaled: false,
            shards_keys: String::new(),
            gateway: String::new(),
            smpp: String::new(),
            control: String::new(),
            rows: String::new(),
        }
    }

    /// The customer `acme`, the vendor `north` at that address, and everything to it.
    pub(crate) fn usual(shards: Shards, vendor: SocketAddr) -> Self {
        Self::new(shards).customer("acme", "").vendor("north", vendor, "").rule("north", "")
    }

    /// Keys of `[gateway]`.
    pub(crate) fn gateway(mut self, keys: &str) -> Self {
        self.gateway += keys;
        self.gateway += "\n";
        self
    }

    /// Leaves `accept` at its default: acknowledged when it is in the journal. Without this the vendor's answer is the
    /// customer's.
    pub(crate) fn journaled(mut self) -> Self {
        self.is_journaled = true;
        self
    }

    /// A limit of open files.
    pub(crate) fn files(mut self, files: u32) -> Self {
        self.files = Some(files);
        self
    }

    /// Keys of `[shards]`.
    pub(crate) fn shards(mut self, keys: &str) -> Self {
        self.shards_keys += keys;
        self.shards_keys += "\n";
        self
    }

    /// Keys of `[smpp]`.
    pub(crate) fn smpp(mut self, keys: &str) -> Self {
        self.smpp += keys;
        self.smpp += "\n";
        self
    }

    /// Keys of `[control]`.
    pub(crate) fn control(mut self, keys: &str) -> Self {
        self.control += keys;
        self.control += "\n";
        self
    }

    /// A customer with the usual password and, unless the keys say otherwise, any source address.
    pub(crate) fn customer(mut self, system_id: &str, keys: &str) -> Self {
        let _ = writeln!(self.rows, "[[customers]]\nsmpp_system_id = {system_id:?}");
        if !keys.contains("smpp_password") {
            let _ = writeln!(self.rows, "smpp_password = {PASSWORD:?}");
        }
        if !keys.contains("allowed_source_addresses") {
            self.rows += "allowed_source_addresses = [\"*\"]\n";
        }
        let _ = writeln!(self.rows, "{keys}\n");
        self
    }

    pub(crate) fn vendor(mut self, name: &str, address: SocketAddr, keys: &str) -> Self {
        let (host, port) = (address.ip(), address.port());
        let _ = writeln!(
            self.rows,
            "[[vendors]]\ninstance_name = {name:?}\nhost = \"{host}\"\nport = {port}\nusername = \"gateway\"\npassword = \"gateway1\"\n{keys}\n"
        );
        self
    }

    /// A routing rule to a vendor; with other keys, such as dest_pattern, as they are given.
    pub(crate) fn rule(mut self, vendor: &str, keys: &str) -> Self {
        let _ = writeln!(self.rows, "[[routing_rules]]\nvendor = {vendor:?}\n{keys}\n");
        self
    }

    /// Messages to `did` go to that customer.
    pub(crate) fn inbound(mut self, did: &str, system_id: &str) -> Self {
        let _ = writeln!(
            self.rows,
            "[[inbound_routes]]\ndid = {did:?}\ndelivery_method = \"smpp\"\nsmpp_system_id = {system_id:?}\n"
        );
        self
    }

    /// A certificate of the TLS listener, which is there once there is one.
    pub(crate) fn certificate(mut self, domain: &str, cert: &Path, key: &Path) -> Self {
        let _ = writeln!(self.rows, "[[smpp.certificates]]\ndomain = {domain:?}\ncert = {cert:?}\nkey = {key:?}\n");
        self
    }

    /// Rows as they are.
    pub(crate) fn rows(mut self, text: &str) -> Self {
        self.rows += text;
        self.rows += "\n";
        self
    }

    /// Starts the gateway and waits until a vendor is bound and `/ready` says so.
    pub(crate) fn start(self) -> Gateway {
        let gateway = self.launch();
        gateway.wait_until_ready();
        gateway
    }

    /// Starts the gateway and waits until it accepts; vendors may be missing.
    pub(crate) fn start_without_vendors(self) -> Gateway {
        let gateway = self.launch();
        gateway.wait_until_accepting();
        gateway
    }

    /// Starts the program and waits for nothing.
    pub(crate) fn launch(self) -> Gateway {
        let text = self.text();
        Gateway::launch(self.folder, self.ports, &text, self.files)
    }

    /// The file.
    pub(crate) fn text(&self) -> String {
        self.text_with(self.shards)
    }

    /// The file for another number of shards.
    pub(crate) fn text_with(&self, shards: Shards) -> String {
        let Self { ports, shards_keys, gateway, smpp, control, rows, .. } = self;
        let tls = match rows.contains("[[smpp.certificates]]") {
            true => format!("tls_listen = \"{}\"", ports.tls),
            false => String::new(),
        };
        let accept = if self.is_journaled { "" } else { "accept = \"relay\"\n" };
        format!(
            "[gateway]\nnode_id = \"test\"\n{accept}data_dir = {data_dir:?}\n{gateway}\n\
             [shards]\ncores = {cores}\npin = false\n{shards_keys}\n\
             [smpp]\nlisten = \"{smpp_address}\"\n{tls}\n{smpp}\n\
             [control]\nlisten = \"{control_address}\"\nmetrics_listen = \"{metrics_address}\"\n{control}\n\
             {rows}",
            data_dir = self.folder.path().join("data"),
            cores = shards.cores(),
            smpp_address = ports.smpp,
            control_address = ports.control,
            metrics_address = ports.metrics,
        )
    }
}

/// A loopback address on which nobody listens, below the ports that the kernel gives to outgoing connections, and
/// a different one at each call. It is looked up, not tried: a listener that was made to try it would stay open for a moment in whatever
/// program another test starts just then.
pub(crate) fn free_address() -> SocketAddr {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(211);
    for _ in 0..COUNT {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, (FIRST + offset) as u16));
        if !is_taken(address.port()) {
            return address;
        }
    }
    panic!("no port is free");
}

/// Whether some socket of this machine has that port, by the kernel's tables: the local address is the second column, in
/// hexadecimal, and the state the fourth.
fn is_taken(port: u16) -> bool {
    const TIME_WAIT: &str = "06";
    let end = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().filter_map(|table| std::fs::read_to_string(table).ok()).any(
        |table| {
            table.lines().skip(1).any(|line| {
                let mut columns = line.split_ascii_whitespace().skip(1);
                let (local, state) = (columns.next(), columns.nth(1));
                local.is_some_and(|local| local.ends_with(&end)) && state != Some(TIME_WAIT)
            })
        },
    )
}
