//! The thread as a whole: started, spoken to over its channels and its sockets, and ended.

use super::*;
use crate::channel::{Bell, ControlSender, ShardHandle, control_channels, shard_channel};
use crate::config::{self, LogLevel, LogSettings};
use smpp_pdu::CommandStatus;
use smpp_shards::{
    AuthRequest, Command, Conn, CustomerId, EndReason, Event, Reply, ShardId, VendorCounters, VendorId, VendorState,
};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Mutex;

use crate::live::{Loaded, Loading, ReloadError, RowFault, RowKeys, RowSource, Source};
use smpp_shards::settings::VendorSettings;
use smpp_shards::{Settings, Snapshot};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(10);

struct Silent;

impl Bell for Silent {
    fn ring(&self) {}
}

#[derive(Clone, Default)]
pub(crate) struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Page {
    pub(crate) fn lines(&self) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A control thread with one pretended shard.
pub(crate) struct Bench {
    pub(crate) control: Control,
    pub(crate) sender: ControlSender,
    pub(crate) verdicts: Receiver<ToShard>,
    pub(crate) page: Page,
}

impl Bench {
    /// `extra` is added to `[control]`.
    pub(crate) fn start(extra: &str) -> Self {
        Self::start_attached(extra, Attachments::default())
    }

    /// `attachments` are what the control port can make use of.
    pub(crate) fn start_attached(extra: &str, attachments: Attachments) -> Self {
        Self::start_from(&configuration(extra), Source::Toml, attachments)
    }

    fn start_from(configuration: &Configuration, source: Source, attachments: Attachments) -> Self {
        let snapshot = Arc::new(configuration.snapshot(1, 1).unwrap());
        let (to_shard, verdicts) = shard_channel();
        let (channels, sender) = control_channels(vec![ShardHandle { sender: to_shard, bell: Arc::new(Silent) }]);
        let page = Page::default();
        let log = Log::to(LogSettings { level: LogLevel::Info }, Box::new(page.clone())).unwrap();
        let live = LiveSetup { source, ..LiveSetup::of_file(configuration, snapshot) };
        let control = Control::start_with_log(configuration, live, channels, log, attachments).unwrap();
        Self { control, sender, verdicts, page }
    }

    /// Has a bind checked; everything sent before has been handled when it returns.
    pub(crate) fn bind(&self, password: &str) -> Result<(CustomerId, ShardId), CommandStatus> {
        let request = AuthRequest {
            shard: ShardId(0),
            conn: Conn(3),
            ticket: 8,
            system_id: b"acme".to_vec(),
            password: password.into(),
            peer: PEER,
            tls: false,
            certificate: None,
        };
        self.sender.try_authenticate(request).unwrap();
        match self.verdicts.recv_timeout(PATIENCE).unwrap() {
            ToShard::Verdict(verdict) => {
                assert_eq!((verdict.conn, verdict.ticket), (Conn(3), 8));
                verdict.result
            }
            other => panic!("no verdict: {other:?}"),
        }
    }

    /// Answers the next command that a shard is given.
    pub(crate) fn answer(&self, answers: impl FnOnce(Command) -> Vec<Reply>) {
        match self.verdicts.recv_timeout(PATIENCE).unwrap() {
            ToShard::Command(ticket, command) => {
                answers(*command).into_iter().for_each(|reply| self.sender.reply(ticket, reply));
            }
            other => panic!("no command: {other:?}"),
        }
    }

    /// The pretended shard takes the next version over.
    fn take_over(&self) -> Arc<Snapshot> {
        let ToShard::Snapshot(snapshot) = self.verdicts.recv_timeout(PATIENCE).unwrap() else { panic!("no snapshot") };
        self.sender.retire(ShardId(0), snapshot.version, Arc::clone(&snapshot)).unwrap();
        snapshot
    }

    /// Sends a report, and waits until it has been taken.
    pub(crate) fn report(&self, state: VendorState, is_quiet: bool) {
        let vendor = VendorCounters { state, failures_in_a_row: 5, ..VendorCounters::default() };
        self.take(Report { snapshot_version: 1, is_quiet, vendors: vec![vendor], ..Report::default() });
    }

    /// As [`Bench::report`], with that report.
    pub(crate) fn take(&self, report: Report) {
        self.sender.report(Box::new(report));
        self.bind("wrong").unwrap_err();
    }
}

fn configuration(extra: &str) -> Configuration {
    let text = format!(
        r#"
        gateway.accept = "relay"
        [smpp]
        listen = "127.0.0.1:0"
        [control]
        listen = "127.0.0.1:0"
        metrics_listen = "127.0.0.1:0"
        {extra}
        [[customers]]
        smpp_system_id = "acme"
        smpp_password = "secret12"
        [[vendors]]
        instance_name = "north"
        host = "127.0.0.1"
        port = 3601"#
    );
    config::parse(Path::new("test.toml"), &text, &|_| None).unwrap()
}

/// Sends octets and reads to the end.
pub(crate) fn exchange(address: SocketAddr, request: &str) -> String {
    String::from_utf8(exchange_octets(address, request)).unwrap()
}

/// [`exchange`], where what comes back is no text.
pub(crate) fn exchange_octets(address: SocketAddr, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn a_bind_is_answered_on_the_asking_shard_s_channel() {
    let bench = Bench::start("");
    assert_eq!(bench.bind("secret12"), Ok((CustomerId(0), ShardId(0))));
    assert_eq!(bench.bind("secret13"), Err(CommandStatus::ESME_RINVPASWD));
    assert!(bench.control.stop());
}

#[test]
fn events_are_lines_of_the_log_and_the_last_ones_too() {
    let bench = Bench::start("");
    bench.sender.event(ShardId(0), Event::VendorAlert { vendor: VendorId(0), failures: 5 });
    bench.sender.event(ShardId(0), Event::LobbyClosed { peer: PEER, reason: EndReason::BindTimer });
    let Bench { control, page, .. } = bench;
    assert!(control.stop());
    let lines = page.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!((&lines[0]["level"], &lines[0]["vendor_id"]), (&"ERROR".into(), &"north".into()));
}

#[test]
fn reports_and_phases_are_told_to_the_main_thread() {
    let bench = Bench::start("");
    assert_eq!(bench.control.phase(), Phase::Starting);
    assert!(bench.control.reports()[0].is_none());
    bench.report(VendorState::Bound, false);
    assert_eq!(bench.control.phase(), Phase::Accepting);
    assert_eq!(bench.control.reports()[0].as_ref().map(|report| report.snapshot_version), Some(1));
    bench.control.begin_drain();
    assert_eq!(bench.control.phase(), Phase::Draining);
}

#[test]
fn a_drain_phase_is_through_when_a_later_report_says_so() {
    let bench = Bench::start("");
    bench.report(VendorState::Bound, true);
    let drain = bench.control.drain_state();
    assert!(!drain.is_quiet(), "the report is older than the phase");
    bench.report(VendorState::Bound, true);
    assert!(!drain.is_quiet(), "the report may have been under way already");
    bench.report(VendorState::Bound, false);
    assert!(!drain.is_quiet());
    bench.report(VendorState::Bound, true);
    assert!(drain.is_quiet());
}

/// A file of its own for one test.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("smpp-control-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn load(&self) -> Configuration {
        config::load_with(&self.0, &|_| None).unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn text(password: &str) -> String {
    format!(
        r#"
        gateway.accept = "relay"
        smpp.listen = "127.0.0.1:0"
        control = {{ listen = "127.0.0.1:0", metrics_listen = "127.0.0.1:0" }}
        [[customers]]
        smpp_system_id = "acme"
        smpp_password = "{password}"
        "#
    )
}

#[test]
fn a_reload_is_through_when_every_shard_has_it_and_binds_are_checked_against_it_from_then_on() {
    let file = File::new("through", &text("secret12"));
    let bench = Bench::start_from(&file.load(), Source::Toml, Attachments::default());
    std::fs::write(&file.0, text("another1")).unwrap();
    let outcome = bench.control.reload_handle().request().unwrap();
    let ToShard::Snapshot(snapshot) = bench.verdicts.recv_timeout(PATIENCE).unwrap() else { panic!("no snapshot") };
    assert!(bench.bind("secret12").is_ok(), "no shard has it yet");
    bench.sender.retire(ShardId(0), snapshot.version, snapshot).unwrap();
    let reloaded = outcome.blocking_recv().unwrap().unwrap();
    assert_eq!((reloaded.version, reloaded.is_changed, reloaded.faults), (2, true, Vec::new()));
    assert!(bench.bind("another1").is_ok());
    assert_eq!(bench.bind("secret12"), Err(CommandStatus::ESME_RINVPASWD));
    let again = bench.control.reload_handle().request().unwrap().blocking_recv().unwrap().unwrap();
    assert_eq!((again.version, again.is_changed), (2, false));
}

#[test]
fn a_file_that_is_gone_is_told_and_changes_nothing() {
    let file = File::new("gone", &text("secret12"));
    let bench = Bench::start_from(&file.load(), Source::Toml, Attachments::default());
    drop(file);
    let outcome = bench.control.reload_handle().request().unwrap().blocking_recv().unwrap();
    assert!(matches!(outcome, Err(ReloadError::Source(_))), "{outcome:?}");
    assert!(bench.bind("secret12").is_ok());
    let health = exchange(bench.control.control_address(), "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(health.contains(r#""part":"configuration""#) && health.contains("cannot be read"), "{health}");
}

/// Rows of a service: one vendor, and a second one that cannot be read.
struct Rows;

impl RowSource for Rows {
    fn load(&mut self) -> Loading<'_> {
        let vendor = VendorSettings {
            instance_name: "south".into(),
            host: "127.0.0.1".into(),
            port: 3602,
            ..VendorSettings::default()
        };
        let settings = Settings { vendors: vec![vendor], ..Settings::default() };
        let keys = RowKeys { vendors: vec!["south".into()], ..RowKeys::default() };
        let fault = RowFault {
            table: "vendors",
            key: "west".into(),
            column: "password".into(),
            reason: "cannot be decrypted".into(),
        };
        Box::pin(async { Ok(Loaded { settings, keys, faults: vec![fault], ..Loaded::default() }) })
    }
}

#[test]
fn rows_of_a_service_are_put_in_force_with_the_sections_of_the_file() {
    let file = File::new("service", &text("secret12"));
    let bench = Bench::start_from(&file.load(), Source::Rows(Box::new(Rows)), Attachments::default());
    std::fs::write(&file.0, format!("gateway.retry_count = 7\n{}", text("another1"))).unwrap();
    let outcome = bench.control.reload_handle().request().unwrap();
    let snapshot = bench.take_over();
    assert_eq!(snapshot.gateway.retry_count, 7);
    assert!(snapshot.vendor_by_name("south").is_some() && snapshot.customer_by_system_id(b"acme").is_none());
    let faults = outcome.blocking_recv().unwrap().unwrap().faults;
    assert_eq!(faults.iter().map(|fault| fault.key.as_str()).collect::<Vec<_>>(), ["west"]);
    assert_eq!(bench.bind("secret12"), Err(CommandStatus::ESME_RINVSYSID));
    let metrics = exchange(bench.control.metrics_address(), "GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(metrics.contains("smpp_gateway_configuration_version 2"), "{metrics}");
    assert!(metrics.contains("smpp_gateway_configuration_faults{table=\"vendors\"} 1"), "{metrics}");
}

#[test]
fn on_the_way_down_nothing_is_reloaded() {
    let bench = Bench::start("");
    bench.control.begin_drain();
    let outcome = bench.control.reload_handle().request().unwrap().blocking_recv().unwrap();
    assert_eq!(outcome, Err(ReloadError::Stopping));
}

#[test]
fn a_port_that_is_taken_is_named_with_a_cure() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut configuration = configuration("");
    configuration.control.metrics_listen = taken.local_addr().unwrap();
    let (channels, _sender) = control_channels(Vec::new());
    let snapshot = Arc::new(configuration.snapshot(1, 1).unwrap());
    let live = LiveSetup::of_file(&configuration, snapshot);
    let error = Control::start(&configuration, live, channels).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let address = configuration.control.metrics_listen;
    assert!(error.to_string().starts_with(&format!("[control] metrics_listen {address} cannot be")), "{error}");
    assert!(error.to_string().contains("ss -ltnp"), "{error}");
}
