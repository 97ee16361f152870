//! A PostgreSQL server of a test's own, from the machine's packages: in a temporary folder, on a free port of the loopback
//! address, as a user that is not root. And a proxy in front of it that is slow, or silent.
//!
//! Included by the tests of several crates, each of which uses a part. The server ends, and its folder goes, with the
//! process of the test, however that ends.

#![allow(dead_code, reason = "each of the crates that include it uses a part")]
#![allow(clippy::unwrap_used, reason = "tests end at what they did not expect")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

/// The superuser, whose password it is too.
const USER: &str = "gateway";

/// Does what it is told on standard input, and cleans up when that ends.
const KEEPER: &str = r#"
set -u
bin=$1 folder=$2 port=$3
umask 077
mkdir "$folder" || exit 1
printf '%s\n' "$4" > "$folder/password"
"$bin/initdb" -D "$folder/data" -U "$4" --pwfile="$folder/password" -A scram-sha-256 -E UTF8 --locale=C --no-sync \
    > "$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; exit 1; }
cat > "$folder/tls.cnf" <<END
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = localhost
[extensions]
subjectAltName = DNS:localhost
basicConstraints = critical, CA:FALSE
END
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -config "$folder/tls.cnf" \
    -keyout "$folder/data/server.key" -out "$folder/data/server.crt" 2> "$folder/tls.log" || cat "$folder/tls.log" >&2
cat >> "$folder/data/postgresql.conf" <<END
ssl = on
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 60
shared_buffers = 16MB
dynamic_shared_memory_type = mmap
END
server() { "$bin/pg_ctl" -D "$folder/data" -l "$folder/server.log" -w -t 120 "$@" > "$folder/pg_ctl.log" 2>&1; }
while read -r word; do
    case $word in
        start) server start || cat "$folder/pg_ctl.log" "$folder/server.log" >&2;;
        stop) server -m fast stop;;
    esac
    echo "$word"
done
server -m immediate stop
rm -rf "$folder"
"#;

/// A server that runs, unless it was stopped.
pub(crate) struct Server {
    bin: PathBuf,
    folder: PathBuf,
    port: u16,
    keeper: Mutex<(Child, ChildStdin, BufReader<ChildStdout>)>,
    databases: AtomicU32,
}

impl Server {
    /// The one that the tests of this process share; nobody may stop it.
    pub(crate) fn shared() -> &'static Server {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Server::start)
    }

    /// One of this test's own.
    pub(crate) fn start() -> Self {
        let server = Self::prepared();
        server.tell("start");
        server
    }

    /// One that does not run yet.
    pub(crate) fn prepared() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let bin = programs();
        let name = format!("smpp-postgres-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        let port = free_port();
        let mut command = match unprivileged_user() {
            None => Command::new("sh"),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups", "sh"]);
                command
            }
        };
        let mut keeper = command
            .arg("-c")
            .arg(KEEPER)
            .arg("keeper")
            .args([bin.as_os_str(), folder.as_os_str(), port.to_string().as_ref(), USER.as_ref()])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (commands, answers) = (keeper.stdin.take().unwrap(), BufReader::new(keeper.stdout.take().unwrap()));
        Self { bin, folder, port, keeper: Mutex::new((keeper, commands, answers)), databases: AtomicU32::new(0) }
    }

    /// Stops it; connections break.
    pub(crate) fn stop(&self) {
        self.tell("stop");
    }

    /// Starts it after [`Server::stop`], on the same port.
    pub(crate) fn start_again(&self) {
        self.tell("start");
    }

    fn tell(&self, word: &str) {
        let mut keeper = self.keeper.lock().unwrap();
        writeln!(keeper.1, "{word}").unwrap();
        let mut answer = String::new();
        keeper.2.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), word, "PostgreSQL could not be prepared");
    }

    /// PEM file: its certificate, which is for `localhost` and stands for itself.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("data/server.crt")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// A fresh, empty database.
    pub(crate) fn database(&self) -> Database<'_> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        Database { server: self, name }
    }

    /// Runs SQL as the superuser; what it prints, columns parted by `|`.
    fn sql(&self, database: &str, sql: &str) -> String {
        let output = Command::new(self.bin.join("psql"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER, "-d", database])
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .env("PGPASSWORD", USER)
            .output()
            .unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        // The end of its input ends it; a descriptor in place of the pipe closes the pipe.
        let spare = Command::new("true").stdin(Stdio::piped()).spawn().and_then(|mut child| {
            child.wait()?;
            Ok(child.stdin.take())
        });
        if let Ok(Some(other)) = spare {
            keeper.1 = other;
            let _ = keeper.0.wait();
        }
    }
}

/// One database of a server.
pub(crate) struct Database<'s> {
    server: &'s Server,
    pub(crate) name: String,
}

impl Database<'_> {
    /// As `[postgres] url` has it.
    pub(crate) fn url(&self) -> String {
        self.url_at(self.server.address())
    }

    /// As [`Database::url`], through a proxy.
    pub(crate) fn url_at(&self, address: SocketAddr) -> String {
        format!("postgres://{USER}:{USER}@{address}/{}", self.name)
    }

    /// Runs SQL; what it prints, columns parted by `|`.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.server.sql(&self.name, sql)
    }
}

/// Where initdb, pg_ctl and psql are: the newest version that is installed.
fn programs() -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort_by_key(|bin| {
        let version = bin.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        version.and_then(|version| version.parse::<u32>().ok())
    });
    found.pop().expect("PostgreSQL is not installed; engine/tests/interop/install.sh does it")
}

/// As whom the server runs, which refuses to be root.
fn unprivileged_user() -> Option<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let is_root = status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"));
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let is_there = |user: &&str| users.lines().any(|line| line.starts_with(&format!("{user}:")));
    is_root.then(|| ["postgres", "nobody"].into_iter().find(is_there).unwrap())
}

/// Below the ports that the kernel gives to outgoing connections, so that a server that is down can have it again.
fn free_port() -> u16 {
    const FIRST: u32 = 30_000;
    const COUNT: u32 = 2_700;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(61);
    (0..COUNT)
        .map(|_| (FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT) as u16)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a port is free")
}

/// A TCP proxy that can be slow and silent.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<ProxyState>,
}

#[derive(Default)]
struct ProxyState {
    delay_ms: AtomicU64,
    is_silent: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub(crate) fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(ProxyState::default());
        let state = Arc::clone(&shared);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(target) else { continue };
                let copies = [&near, &far].map(|stream| stream.try_clone().unwrap());
                state.streams.lock().unwrap().extend(copies);
                let (near_copy, far_copy) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let (one, other) = (Arc::clone(&state), Arc::clone(&state));
                thread::spawn(move || pass_on(near, far, &one, false));
                thread::spawn(move || pass_on(far_copy, near_copy, &other, true));
            }
        });
        Self { address, shared }
    }

    /// From now on every answer takes that long.
    pub(crate) fn delay(&self, delay: Duration) {
        self.shared.delay_ms.store(delay.as_millis() as u64, Ordering::Release);
    }

    /// From now on nothing passes, and nothing is closed; or it does again.
    pub(crate) fn silence(&self, is_silent: bool) {
        self.shared.is_silent.store(is_silent, Ordering::Release);
    }

    /// Breaks all connections.
    pub(crate) fn cut(&self) {
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, state: &ProxyState, is_answer: bool) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if is_answer {
            thread::sleep(Duration::from_millis(state.delay_ms.load(Ordering::Acquire)));
        }
        while state.is_silent.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(20));
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
