//! The gateway as a child process: its configuration, its start, its readiness, its end.
//!
//! Used on the demonstration's thread. The child's working folder is a fresh one under the system's folder for
//! temporary files; it goes when the demonstration ends well, and its log is kept when not.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// How often readiness is asked for; the gateway offers no event to wait for.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// What is written into the gateway's configuration.
#[derive(Clone, Debug)]
pub(super) struct Configuration {
    pub(super) cores: Vec<u32>,
    pub(super) customer: (&'static str, &'static str),
    pub(super) window: u32,
    pub(super) vendor: (&'static str, &'static str),
    pub(super) vendor_address: SocketAddr,
}

/// Why the gateway did not start or did not end.
#[derive(Debug)]
pub enum GatewayError {
    /// There is no such program.
    Missing(PathBuf),
    /// It could not be started or watched.
    System {
        /// What was being done.
        what: String,
        /// Why it did not work.
        error: io::Error,
    },
    /// It ended by itself before it was ready.
    Ended {
        /// How.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// It was not ready in time.
    NotReady {
        /// What `/ready` said last.
        last: String,
        /// The end of its log.
        log: String,
    },
    /// It did not end in time, and was killed.
    DoesNotEnd(Duration),
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => {
                write!(f, "{}: no such program; build it, or name it with --gateway", path.display())
            }
            Self::System { what, error } => write!(f, "{what}: {error}"),
            Self::Ended { status, log } => write!(f, "the gateway ended before it was ready ({status}):\n{log}"),
            Self::NotReady { last, log } => write!(f, "the gateway is not ready in time ({last}):\n{log}"),
            Self::DoesNotEnd(time) => write!(f, "the gateway did not end within {} s of SIGTERM", time.as_secs()),
        }
    }
}

impl std::error::Error for GatewayError {}

/// What the gateway's process has used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU seconds, user and system, all threads.
    pub cpu_seconds: f64,
    /// The largest resident memory, octets.
    pub memory_bytes_max: u64,
}

/// The program to start: the one named, or `smpp-gateway` beside our own.
pub(super) fn find(named: Option<&PathBuf>) -> Result<PathBuf, GatewayError> {
    let path = match named {
        Some(path) => path.clone(),
        None => std::env::current_exe().map_err(system("finding our own program"))?.with_file_name("smpp-gateway"),
    };
    if path.is_file() { Ok(path) } else { Err(GatewayError::Missing(path)) }
}

/// A running gateway. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Gateway {
    child: Child,
    folder: PathBuf,
    smpp: SocketAddr,
    control: SocketAddr,
    keep: bool,
}

impl Gateway {
    /// Writes the configuration and starts the program.
    pub(super) fn start(program: &Path, configuration: &Configuration) -> Result<Self, GatewayError> {
        let folder = std::env::temp_dir().join(format!("smpp-bench-demo-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(system(folder.display()))?;
        let [smpp, control, metrics] = free_addresses().map_err(system("finding free ports"))?;
        let file = folder.join("gateway.toml");
        let text = toml(configuration, &folder, smpp, control, metrics);
        fs::write(&file, text).map_err(system(file.display()))?;
        let log = File::create(folder.join("gateway.log")).map_err(system(folder.display()))?;
        let errors = log.try_clone().map_err(system(folder.display()))?;
        let spawned = Command::new(program)
            .arg("run")
            .arg("--config")
            .arg(&file)
            // A group of its own: what a terminal sends to end the demonstration is not for the gateway.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn();
        let child = spawned.map_err(|error| {
            let _ = fs::remove_dir_all(&folder);
            system(program.display())(error)
        })?;
        Ok(Self { child, folder, smpp, control, keep: false })
    }

    /// Where customers connect.
    pub(super) fn smpp_address(&self) -> SocketAddr {
        self.smpp
    }

    /// Waits until `/ready` answers 200, which it does once the vendor is bound.
    pub(super) fn wait_until_ready(&mut self, within: Duration) -> Result<(), GatewayError> {
        let until = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().map_err(system("watching the gateway"))? {
                return Err(GatewayError::Ended { status: status.to_string(), log: self.log_end() });
            }
            let last = match ready(self.control) {
                Ok(200) => return Ok(()),
                Ok(status) => format!("/ready answers {status}"),
                Err(error) => format!("/ready: {error}"),
            };
            if Instant::now() >= until {
                return Err(GatewayError::NotReady { last, log: self.log_end() });
            }
            thread::sleep(ASK_EVERY);
        }
    }

    /// CPU time and memory so far; zeros where the system does not tell.
    pub(super) fn usage(&self) -> Usage {
        let read = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap_or_default();
        // Fields 14 and 15 of stat, counted behind the name, which may hold spaces.
        let stat = read("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = [11, 12].iter().filter_map(|&at| fields.get(at)?.parse::<u64>().ok()).sum();
        let status = read("status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        Usage {
            cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            memory_bytes_max: peak.unwrap_or(0u64) * 1024,
        }
    }

    /// Sends SIGTERM and waits for the end; its exit status, or `None` when a signal ended it.
    pub(super) fn terminate(&mut self, within: Duration) -> Result<Option<i32>, GatewayError> {
        let pid = Pid::from_child(&self.child);
        let watched =
            pidfd_open(pid, PidfdFlags::empty()).map_err(|error| system("watching the gateway")(error.into()))?;
        kill_process(pid, Signal::TERM).map_err(|error| system("ending the gateway")(error.into()))?;
        let timeout = Timespec { tv_sec: within.as_secs() as i64, tv_nsec: 0 };
        let ended = poll(&mut [PollFd::new(&watched, PollFlags::IN)], Some(&timeout))
            .map_err(|error| system("watching the gateway")(error.into()))?;
        if ended == 0 {
            return Err(GatewayError::DoesNotEnd(within));
        }
        Ok(self.child.wait().map_err(system("watching the gateway"))?.code())
    }

    /// Keeps the folder beyond the end of the demonstration; where the log is.
    pub(super) fn keep_log(&mut self) -> PathBuf {
        self.keep = true;
        self.folder.join("gateway.log")
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(self.folder.join("gateway.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // It may have ended between the two calls.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if !self.keep {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn toml(
    configuration: &Configuration,
    folder: &Path,
    smpp: SocketAddr,
    control: SocketAddr,
    metrics: SocketAddr,
) -> String {
    let data_dir = folder.join("data");
    let Configuration { cores, customer, window, vendor, vendor_address } = configuration;
    let cores: Vec<String> = cores.iter().map(u32::to_string).collect();
    format!(
        r#"[gateway]
node_id = "demo"
accept = "relay"
data_dir = {data_dir:?}

[shards]
cores = [{cores}]

[smpp]
listen = "{smpp}"

[control]
listen = "{control}"
metrics_listen = "{metrics}"

[[customers]]
smpp_system_id = "{customer_name}"
smpp_password = "{customer_password}"
smpp_window = {window}
allowed_source_addresses = ["*"]

[[vendors]]
instance_name = "north"
host = "{vendor_host}"
port = {vendor_port}
username = "{vendor_name}"
password = "{vendor_password}"
bind_type = "transceiver"
binds = 2
window_size = 1000

[[routing_rules]]
priority = 10
dest_pattern = "^1.*"
vendor = "north"
"#,
        cores = cores.join(", "),
        customer_name = customer.0,
        customer_password = customer.1,
        vendor_host = vendor_address.ip(),
        vendor_port = vendor_address.port(),
        vendor_name = vendor.0,
        vendor_password = vendor.1,
    )
}

/// Three loopback addresses that nobody listens on; all are held until all are found, so that they differ.
fn free_addresses() -> io::Result<[SocketAddr; 3]> {
    let held = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let [first, second, third] = held;
    Ok([first?.local_addr()?, second?.local_addr()?, third?.local_addr()?])
}

/// The status code of GET /ready.
fn ready(control: SocketAddr) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&control, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    // One write: a server that answers and closes after the first piece of several resets the connection.
    let request = format!("GET /ready HTTP/1.1\r\nHost: {control}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    let code = std::str::from_utf8(&head[9..]).ok().and_then(|code| code.parse().ok());
    code.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer"))
}

fn system(what: impl fmt::Display) -> impl FnOnce(io::Error) -> GatewayError {
    let what = what.to_string();
    move |error| GatewayError::System { what, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_addresses_differ() {
        let [first, second, third] = free_addresses().unwrap();
        assert!(first != second && second != third && first != third);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = find(Some(&PathBuf::from("/nowhere/smpp-gateway"))).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/smpp-gateway: no such program"));
    }

    #[test]
    fn the_status_of_ready_is_read() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut octet = [0];
                stream.read_exact(&mut octet).unwrap();
                request.push(octet[0]);
            }
            stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap();
        });
        assert_eq!(ready(address).unwrap(), 503);
        server.join().unwrap();
    }
}
