//! The gateway as a child process: its start, what it tells over HTTP and in its log, its memory, its end.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::folder::Folder;
use super::log::Log;
use super::setup::Ports;
use super::{PATIENCE, ask_until};

/// The gateway's program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_smpp-gateway");

/// A running gateway. Dropping it kills it; when the test has failed its log is shown.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    pub(crate) ports: Ports,
    pub(crate) log: Log,
    pub(crate) folder: Folder,
}

/// How a gateway ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// From the signal to the end.
    pub(crate) after: Duration,
}

impl Gateway {
    /// Starts the program, with a limit of open files if one is given.
    pub(crate) fn launch(folder: Folder, ports: Ports, configuration: &str, files: Option<u32>) -> Self {
        let file = folder.write("gateway.toml", configuration);
        let mut program = match files {
            None => Command::new(PROGRAM),
            Some(files) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", "ulimit -n $0 && exec \"$@\"", &files.to_string(), PROGRAM]);
                shell
            }
        };
        let mut child = program
            .arg("run")
            .arg("--config")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log::default();
        log.follow(child.stdout.take().unwrap());
        log.follow(child.stderr.take().unwrap());
        Self { child, ports, log, folder }
    }

    /// Waits until `/ready` answers 200, which it does once a vendor is bound.
    pub(crate) fn wait_until_ready(&self) {
        ask_until("a gateway that is ready", || {
            (self.try_get(self.ports.control, "/ready", "")?.0 == 200).then_some(())
        });
    }

    /// Waits until so many binds to vendors are up.
    pub(crate) fn wait_until_bound(&self, binds: usize) {
        self.log.wait_for(binds, &["\"vendor bound\""]);
    }

    /// Waits until every shard is at work, with vendors or without.
    pub(crate) fn wait_until_accepting(&self) {
        ask_until("a gateway that accepts", || {
            let (_, body) = self.try_get(self.ports.control, "/health", "")?;
            body.contains("\"phase\":\"accepting\"").then_some(())
        });
    }

    /// Waits until `/health` says of a service what these words are, or says nothing of any.
    pub(crate) fn wait_until_told(&self, words: Option<&str>) {
        ask_until(&format!("a /health that says {words:?} of a service"), || {
            let (_, body) = self.try_get(self.ports.control, "/health", "")?;
            let service = body.contains("\"service\"");
            words.map_or(!service, |words| service && body.contains(words)).then_some(())
        });
    }

    /// Where customers connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.ports.smpp
    }

    /// Status and body of a GET on the control port.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.try_get(self.ports.control, path, "").unwrap()
    }

    /// Status and body of a GET on any of the two ports, with more header lines, each ended by CR LF.
    pub(crate) fn try_get(&self, address: SocketAddr, path: &str, headers: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// The sum of a metric's samples whose labels hold all of these texts, such as `vendor_id="north"`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (status, text) = self.try_get(self.ports.metrics, "/metrics", "").unwrap();
        assert_eq!(status, 200);
        assert!(text.contains(&format!("# TYPE {name} ")), "there is no metric {name}");
        let samples = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let of_name = series.strip_prefix(name)?;
            let ours = of_name.is_empty() || of_name.starts_with('{');
            (ours && labels.iter().all(|label| of_name.contains(label))).then(|| value.parse::<f64>().unwrap())
        });
        samples.sum()
    }

    /// Waits until a metric is as it should be; shards report once a second.
    pub(crate) fn wait_for_metric(&self, name: &str, labels: &[&str], is_right: impl Fn(f64) -> bool) -> f64 {
        ask_until(&format!("the right value of {name}"), || {
            let value = self.metric(name, labels);
            is_right(value).then_some(value)
        })
    }

    /// Resident memory now, octets.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.status_kib("VmRSS:") * 1024
    }

    /// The largest resident memory so far, octets.
    pub(crate) fn resident_bytes_max(&self) -> u64 {
        self.status_kib("VmHWM:") * 1024
    }

    fn status_kib(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn terminate(&mut self) -> Ended {
        let start = Instant::now();
        self.signal(Signal::TERM);
        let status = self.wait_for_end();
        Ended { status, after: start.elapsed() }
    }

    /// Kills it with SIGKILL, as a crash would end it; what it leaves behind and where it listened, for the next start.
    pub(crate) fn kill(mut self) -> (Folder, Ports) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // An empty one in its place goes with this value.
        (std::mem::replace(&mut self.folder, Folder::new()), self.ports)
    }

    /// Waits for the end, which must come within 40 s.
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        let watched = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()).unwrap();
        let timeout = Timespec { tv_sec: 40, tv_nsec: 0 };
        let ended = poll(&mut [PollFd::new(&watched, PollFlags::IN)], Some(&timeout)).unwrap();
        assert_eq!(ended, 1, "the gateway did not end within 40 s");
        self.child.wait().unwrap()
    }

    /// Takes the gateway down and checks that it went as it should; the end of most tests.
    pub(crate) fn end_well(mut self) {
        let ended = self.terminate();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    }

    /// [`Gateway::end_well`] when those have hung up, who would not answer its unbind.
    pub(crate) fn end_well_without<T>(self, peers: T) {
        drop(peers);
        self.end_well();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the gateway's log, in {}:\n{}", self.folder.path().display(), self.log.end());
        }
    }
}
