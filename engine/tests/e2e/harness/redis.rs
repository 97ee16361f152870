//! A real Redis server on a free port, and a way to it that is slow.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::certificates::Certificate;
use super::folder::Folder;
use super::setup::free_address;
use super::{PATIENCE, ask_until};

/// A running server without anything on disk. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Redis {
    server: Child,
    pub(crate) address: SocketAddr,
    _folder: Folder,
}

impl Redis {
    pub(crate) fn start() -> Self {
        Self::start_at(free_address())
    }

    /// At an address where nobody listens; answers when this returns.
    pub(crate) fn start_at(address: SocketAddr) -> Self {
        Self::start_with(address, &[])
    }

    /// One that speaks TLS at the second address as well, with that certificate.
    pub(crate) fn start_with_tls(tls: SocketAddr, certificate: &Certificate) -> Self {
        let [cert, key] = [&certificate.cert, &certificate.key].map(|path| path.to_str().unwrap());
        let port = tls.port().to_string();
        let options = ["--tls-port", &port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no"];
        Self::start_with(free_address(), &options)
    }

    fn start_with(address: SocketAddr, options: &[&str]) -> Self {
        let folder = Folder::new();
        let server = Command::new("redis-server")
            .args(["--port", &address.port().to_string(), "--bind", &address.ip().to_string()])
            .args(options)
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is there: engine/tests/interop/install.sh installs it");
        let redis = Self { server, address, _folder: folder };
        ask_until("a Redis that answers", || redis.try_command(&["PING"]).filter(|answer| answer == "PONG"));
        redis
    }

    /// Stops it without ending it, or has it go on: connections stay, and nothing is answered.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.server), signal).unwrap();
    }

    /// `[redis]` of a configuration.
    pub(crate) fn rows(&self) -> String {
        format!("[redis]\nurl = \"redis://{}\"", self.address)
    }

    /// The text or number that a command is answered with; empty for nil.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        self.try_command(words).unwrap()
    }

    /// As [`Redis::command`], with a password.
    pub(crate) fn command_as(&self, password: &str, words: &[&str]) -> String {
        self.ask(Some(&["AUTH", password]), words).unwrap()
    }

    /// As [`Redis::command`], in that database.
    pub(crate) fn command_in(&self, database: u8, words: &[&str]) -> String {
        self.ask(Some(&["SELECT", &database.to_string()]), words).unwrap()
    }

    fn try_command(&self, words: &[&str]) -> Option<String> {
        self.ask(None, words)
    }

    fn ask(&self, first: Option<&[&str]>, words: &[&str]) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = String::new();
        for words in first.into_iter().chain([words]) {
            request += &format!("*{}\r\n", words.len());
            words.iter().for_each(|word| request += &format!("${}\r\n{word}\r\n", word.len()));
        }
        // The server hangs up behind the second answer, so that all of the first has come then.
        request += "*1\r\n$4\r\nQUIT\r\n";
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let answer = answer.strip_suffix("+OK\r\n")?;
        let answer = if first.is_some() { answer.strip_prefix("+OK\r\n")? } else { answer };
        let (first, rest) = answer.split_once("\r\n")?;
        match first.split_at(1) {
            ("$", "-1") => Some(String::new()),
            ("$", _) => Some(rest.strip_suffix("\r\n")?.to_owned()),
            (_, line) => Some(line.to_owned()),
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A way to a server on which every answer takes a while.
#[derive(Debug)]
pub(crate) struct SlowWay {
    pub(crate) address: SocketAddr,
    delay_ms: Arc<AtomicU64>,
}

impl SlowWay {
    /// As quick as any, at first.
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let delay_ms = Arc::new(AtomicU64::new(0));
        let delay = Arc::clone(&delay_ms);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) else { continue };
                let (to_server, from_server) = (server.try_clone().unwrap(), server);
                let to_client = client.try_clone().unwrap();
                let none = Arc::new(AtomicU64::new(0));
                carry(client, to_server, none);
                carry(from_server, to_client, Arc::clone(&delay));
            }
        });
        Self { address, delay_ms }
    }

    /// From now on every answer takes that long.
    pub(crate) fn set_delay(&self, delay: Duration) {
        self.delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
    }
}

/// Carries octets one way, each as long under way as the delay was when it came.
fn carry(mut from: TcpStream, mut to: TcpStream, delay_ms: Arc<AtomicU64>) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut octets = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut octets) {
            let due = Instant::now() + Duration::from_millis(delay_ms.load(Ordering::Relaxed));
            if sender.send((due, octets[..length].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, octets) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&octets).is_err() {
                return;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}
