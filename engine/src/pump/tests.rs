//! Whole pumps on threads of their own, with real shards in them, against plain sockets of the standard library.
//! The test plays the control thread.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use smpp_control::{Log, ShardHandle, ToControl, ToShard, control_channels, shard_channel};
use smpp_pdu::encode::Encoder;
use smpp_pdu::{CommandId, CommandStatus, Header};
use smpp_shards::settings::{CustomerSettings, VendorSettings};
use smpp_shards::{ConnectStep, CustomerId, DrainPhase, Event, Settings, ShardId, ShardSetup, Snapshot, Verdict, mesh};

use crate::certificates::TlsConfigs;
use crate::certificates::tests::{Authority, Files};
use crate::listen;
use crate::mail::{Mail, Post};
use crate::net::Doorbell;
use crate::resolve::Resolver;
use crate::start::BellOf;

use super::{DrainNews, Pump, PumpSetup};

const PATIENCE: Duration = Duration::from_secs(20);

/// Pumps that run. Only shard 0 listens; every customer's home is the last shard.
struct Rig {
    plain: SocketAddr,
    tls: SocketAddr,
    shards: Vec<ShardHandle>,
    events: Receiver<Event>,
    drain_news: Receiver<DrainNews>,
    threads: Vec<JoinHandle<()>>,
}

impl Rig {
    fn new(shards: usize, tls: TlsConfigs, vendors: Vec<VendorSettings>) -> Self {
        let count = shards as u16;
        let customer = CustomerSettings {
            smpp_system_id: "acme".into(),
            smpp_password: Some("secret".into()),
            ..CustomerSettings::default()
        };
        let settings = Settings { customers: vec![customer], vendors, ..Settings::default() };
        let snapshot = Arc::new(Snapshot::build(settings, count, 1).unwrap());
        let bells: Arc<[Arc<Doorbell>]> = (0..shards).map(|_| Arc::new(Doorbell::new().unwrap())).collect();
        let (post, mailboxes) = Post::new(bells.clone());
        let (senders, commands): (Vec<_>, Vec<_>) = (0..shards).map(|_| shard_channel()).unzip();
        let bell_of = |shard: usize| Arc::new(BellOf(bells[shard].clone()));
        let handles: Vec<_> = senders
            .into_iter()
            .enumerate()
            .map(|(shard, sender)| ShardHandle { sender, bell: bell_of(shard) })
            .collect();
        let (channels, control) = control_channels(handles.clone());
        let resolver = Resolver::start(&post).unwrap();
        let (news_sender, drain_news) = bounded(16);
        let listeners = [false, true].map(|tls| (listen::listener(([127, 0, 0, 1], 0).into()).unwrap(), tls));
        let address =
            |index: usize| socket2::SockRef::from(&listeners[index].0).local_addr().unwrap().as_socket().unwrap();
        let (plain, tls_address) = (address(0), address(1));
        let (restored, _) = bounded(16);
        let log = Log::to(smpp_control::config::LogSettings::default(), Box::new(std::io::sink())).unwrap();
        let (tls, origin) = (Arc::new(tls), Instant::now());
        let parts = mesh(count).into_iter().zip(mailboxes).zip(commands).enumerate();
        let threads = parts
            .map(|(index, ((rings, mail), commands))| {
                let shard = ShardId(index as u16);
                let setup = PumpSetup {
                    shard: ShardSetup {
                        shard,
                        shards: count,
                        seed: 7,
                        snapshot: snapshot.clone(),
                        rings,
                        journal: None,
                        restored: smpp_shards::restore::Restored::default(),
                        store: None,
                    },
                    bell: bells[index].clone(),
                    post: post.clone(),
                    mail,
                    commands,
                    control: control.clone(),
                    log: log.clone(),
                    resolver: resolver.clone(),
                    drain_news: news_sender.clone(),
                    appender: None,
                    restored: restored.clone(),
                    recovery: None,
                    tls: tls.clone(),
                    origin,
                    spin: Duration::ZERO,
                    store_bell: smpp_control::ControlWaker::default(),
                };
                std::thread::spawn(move || Pump::new(setup).unwrap().run())
            })
            .collect();
        post.send(ShardId(0), Mail::Open(listeners.into()));
        (1..count).for_each(|shard| post.send(ShardId(shard), Mail::Open(Vec::new())));
        let events = play_control(channels.incoming, handles.clone());
        Self { plain, tls: tls_address, shards: handles, events, drain_news, threads }
    }

    fn event(&self, mut wanted: impl FnMut(&Event) -> bool) -> Event {
        let end = Instant::now() + PATIENCE;
        loop {
            let event = self.events.recv_deadline(end).expect("the event comes");
            if wanted(&event) {
                return event;
            }
        }
    }

    fn send_all(&self, command: impl Fn() -> ToShard) {
        self.shards.iter().for_each(|shard| shard.send(command()).map_err(|_| "full").unwrap());
    }

    fn stop(self) {
        self.send_all(|| ToShard::Stop);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// Lets every bind pass, to the last shard; hands the events on.
fn play_control(incoming: Receiver<ToControl>, shards: Vec<ShardHandle>) -> Receiver<Event> {
    let (events, received) = bounded(10_000);
    std::thread::spawn(move || {
        for value in incoming {
            match value {
                ToControl::Authenticate(request) => {
                    let home = ShardId(shards.len() as u16 - 1);
                    let result = Ok((CustomerId(0), home));
                    let verdict = Verdict { conn: request.conn, ticket: request.ticket, result, reason: None };
                    shards[request.shard.index()].send(ToShard::Verdict(verdict)).map_err(|_| "full").unwrap();
                }
                ToControl::Event(_, event) => drop(events.try_send(event)),
                ToControl::Report(_) | ToControl::Reply(..) | ToControl::BindOver(_) | ToControl::Retired { .. } => {}
            }
        }
    });
    received
}

fn bind(sequence_number: u32) -> Vec<u8> {
    let mut pdu = Vec::new();
    Encoder::new(&mut pdu, CommandId::BIND_TRANSCEIVER, CommandStatus::ESME_ROK, sequence_number)
        .c_octets(b"acme", 15)
        .c_octets(b"secret", 8)
        .c_octets(b"", 12)
        .octets(&[0x34, 0, 0])
        .c_octets(b"", 40)
        .finish();
    pdu
}

fn enquire_links(sequence_numbers: std::ops::Range<u32>) -> Vec<u8> {
    let mut pdus = Vec::new();
    for sequence_number in sequence_numbers {
        Encoder::new(&mut pdus, CommandId::ENQUIRE_LINK, CommandStatus::ESME_ROK, sequence_number).finish();
    }
    pdus
}

fn read_pdu(stream: &mut impl Read) -> Header {
    let mut pdu = vec![0; 16];
    stream.read_exact(&mut pdu).unwrap();
    let header = Header::read(&pdu).unwrap();
    pdu.resize(header.command_length as usize, 0);
    stream.read_exact(&mut pdu[16..]).unwrap();
    header
}

fn expect(stream: &mut impl Read, command: CommandId, sequence_number: u32) {
    let header = read_pdu(stream);
    assert_eq!(
        (header.command_id, header.command_status, header.sequence_number),
        (command, CommandStatus::ESME_ROK, sequence_number)
    );
}

/// A bind with `behind` enquire_links right behind it, then as many after the answer.
fn bind_and_enquire(stream: &mut (impl Read + Write), behind: u32) {
    let mut octets = bind(1);
    octets.extend(enquire_links(2..2 + behind));
    stream.write_all(&octets).unwrap();
    expect(stream, CommandId::BIND_TRANSCEIVER_RESP, 1);
    for sequence_number in 2..2 + behind {
        expect(stream, CommandId::ENQUIRE_LINK_RESP, sequence_number);
    }
    stream.write_all(&enquire_links(1000..1000 + behind)).unwrap();
    for sequence_number in 1000..1000 + behind {
        expect(stream, CommandId::ENQUIRE_LINK_RESP, sequence_number);
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

#[test]
fn a_customer_is_served_by_its_home_wherever_it_was_accepted() {
    for shards in [1, 2] {
        let rig = Rig::new(shards, TlsConfigs::default(), Vec::new());
        let mut streams: Vec<TcpStream> = (0..20).map(|_| connect(rig.plain)).collect();
        for stream in &mut streams {
            bind_and_enquire(stream, 300);
        }
        rig.stop();
    }
}

#[test]
fn a_customer_over_tls_moves_to_its_home_with_what_is_left_over() {
    let files = Files::new("pump-moves");
    let authority = Authority::new();
    let certificates = [files.certificate(&authority, "gw.test")];
    for (shards, version) in [(1, &rustls::version::TLS13), (2, &rustls::version::TLS13), (2, &rustls::version::TLS12)]
    {
        let rig = Rig::new(shards, TlsConfigs::read(&certificates, &[]).unwrap(), Vec::new());
        let config = Arc::new(authority.client(&[version]));
        for _ in 0..5 {
            let name = ServerName::try_from("gw.test").unwrap();
            let connection = ClientConnection::new(config.clone(), name).unwrap();
            bind_and_enquire(&mut StreamOwned::new(connection, connect(rig.tls)), 2000);
        }
        rig.stop();
    }
}

#[test]
fn octets_that_come_one_by_one_make_a_session() {
    let rig = Rig::new(2, TlsConfigs::default(), Vec::new());
    let mut stream = connect(rig.plain);
    for octet in bind(1).into_iter().chain(enquire_links(2..4)) {
        stream.write_all(&[octet]).unwrap();
    }
    expect(&mut stream, CommandId::BIND_TRANSCEIVER_RESP, 1);
    expect(&mut stream, CommandId::ENQUIRE_LINK_RESP, 2);
    expect(&mut stream, CommandId::ENQUIRE_LINK_RESP, 3);
    rig.stop();
}

#[test]
fn the_last_answer_arrives_though_the_peer_goes_on_sending_garbage() {
    let rig = Rig::new(1, TlsConfigs::default(), Vec::new());
    for _ in 0..20 {
        let mut stream = connect(rig.plain);
        let mut garbage = vec![0; 1_000];
        garbage[..4].copy_from_slice(&3u32.to_be_bytes());
        stream.write_all(&garbage).unwrap();
        // More than the socket's buffers, so that the gateway has unread octets when it closes.
        let mut writer = stream.try_clone().unwrap();
        let flood = std::thread::spawn(move || while writer.write_all(&[0; 65_536]).is_ok() {});
        let header = read_pdu(&mut stream);
        assert_eq!(
            (header.command_id, header.command_status),
            (CommandId::GENERIC_NACK, CommandStatus::ESME_RINVCMDLEN)
        );
        drop(stream);
        drop(flood);
    }
    rig.stop();
}

#[test]
fn what_is_no_tls_is_closed_and_told() {
    let files = Files::new("pump-no-tls");
    let certificates = [files.certificate(&Authority::new(), "gw.test")];
    let rig = Rig::new(1, TlsConfigs::read(&certificates, &[]).unwrap(), Vec::new());
    let mut stream = connect(rig.tls);
    stream.write_all(&bind(1)).unwrap();
    let mut alert = Vec::new();
    stream.read_to_end(&mut alert).unwrap();
    assert_eq!(alert.first(), Some(&21), "a TLS alert");
    rig.event(|event| matches!(event, Event::LobbyClosed { .. }));
    rig.stop();
}

#[test]
fn a_thousand_connections_that_come_and_go_leave_nothing_behind() {
    let rig = Rig::new(2, TlsConfigs::default(), Vec::new());
    for round in 0..1000 {
        let mut stream = connect(rig.plain);
        match round % 4 {
            0 => bind_and_enquire(&mut stream, 1),
            1 => stream.write_all(&bind(1)[..20]).unwrap(),
            2 => socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
            _ => {}
        }
    }
    let mut stream = connect(rig.plain);
    bind_and_enquire(&mut stream, 10);
    rig.stop();
}

fn vendor(address: SocketAddr) -> VendorSettings {
    VendorSettings {
        instance_name: "north".into(),
        host: address.ip().to_string(),
        port: address.port(),
        username: "gateway".into(),
        password: "secret".into(),
        ..VendorSettings::default()
    }
}

fn failure(rig: &Rig) -> smpp_shards::ConnectFailure {
    match rig.event(|event| matches!(event, Event::LinkConnectFailed { .. })) {
        Event::LinkConnectFailed { failure, .. } => failure,
        _ => unreachable!("only that was waited for"),
    }
}

#[test]
fn a_vendor_by_name_or_address_is_bound_to() {
    for host in ["127.0.0.1", "localhost"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let settings = VendorSettings { host: host.into(), ..vendor(listener.local_addr().unwrap()) };
        let rig = Rig::new(1, TlsConfigs::default(), vec![settings]);
        let (mut stream, _) = listener.accept().unwrap();
        assert_eq!(read_pdu(&mut stream).command_id, CommandId::BIND_TRANSCEIVER);
        rig.stop();
    }
}

#[test]
fn a_vendor_that_refuses_connections_fails_at_tcp_with_its_address() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rig = Rig::new(1, TlsConfigs::default(), vec![vendor(address)]);
    let failure = failure(&rig);
    assert_eq!(failure.step, ConnectStep::Tcp);
    assert!(failure.reason.starts_with(&address.to_string()), "{}", failure.reason);
    rig.stop();
}

#[test]
fn a_vendor_whose_name_is_unknown_fails_at_the_name() {
    let settings = VendorSettings { host: "not a name".into(), ..vendor(([127, 0, 0, 1], 1).into()) };
    let rig = Rig::new(1, TlsConfigs::default(), vec![settings]);
    assert_eq!(failure(&rig).step, ConnectStep::Name);
    rig.stop();
}

#[test]
fn a_vendor_that_does_not_shake_hands_in_time_fails_at_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = VendorSettings {
        use_tls: true,
        tls_verify: false,
        bind_timeout_ms: 200,
        ..vendor(listener.local_addr().unwrap())
    };
    let tls = TlsConfigs::read(&[], std::slice::from_ref(&settings)).unwrap();
    let rig = Rig::new(1, tls, vec![settings]);
    let _silent = listener.accept().unwrap();
    let failure = failure(&rig);
    assert_eq!(failure.step, ConnectStep::Tls);
    assert!(failure.local.is_some_and(|local| local.ip().is_loopback()));
    rig.stop();
}

#[test]
fn a_vendor_over_tls_is_trusted_by_its_authority_alone() {
    let files = Files::new("pump-vendor");
    let (good, other) = (Authority::new(), Authority::new());
    for (authority, is_trusted) in [(&good, true), (&other, false)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let settings = VendorSettings {
            use_tls: true,
            tls_ca: Some(files.authority(authority).display().to_string()),
            ..vendor(listener.local_addr().unwrap())
        };
        let tls = TlsConfigs::read(&[], std::slice::from_ref(&settings)).unwrap();
        let rig = Rig::new(1, tls, vec![settings]);
        let server = TlsConfigs::read(&[files.certificate(&good, "127.0.0.1")], &[]).unwrap().server.unwrap();
        let (stream, _) = listener.accept().unwrap();
        if is_trusted {
            let connection = rustls::ServerConnection::new(server).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            assert_eq!(read_pdu(&mut stream).command_id, CommandId::BIND_TRANSCEIVER);
        } else {
            let mut stream = StreamOwned::new(rustls::ServerConnection::new(server).unwrap(), stream);
            assert!(stream.read(&mut [0; 16]).is_err());
            let failure = failure(&rig);
            assert_eq!(failure.step, ConnectStep::Tls);
            assert!(failure.reason.contains("invalid peer certificate"), "{}", failure.reason);
        }
        rig.stop();
    }
}

#[test]
fn a_drain_closes_the_listeners_and_tells_when_it_is_quiet() {
    let rig = Rig::new(2, TlsConfigs::default(), Vec::new());
    let mut stream = connect(rig.plain);
    bind_and_enquire(&mut stream, 1);
    rig.send_all(|| ToShard::Drain(DrainPhase::Refuse));
    let mut quiet = [false; 2];
    while quiet != [true; 2] {
        let news = rig.drain_news.recv_timeout(PATIENCE).unwrap();
        quiet[news.shard.index()] |= news.is_through;
    }
    assert!(TcpStream::connect(rig.plain).is_err());
    rig.send_all(|| ToShard::Drain(DrainPhase::UnbindCustomers));
    let header = read_pdu(&mut stream);
    assert_eq!(header.command_id, CommandId::UNBIND);
    let mut answer = Vec::new();
    Encoder::new(&mut answer, CommandId::UNBIND_RESP, CommandStatus::ESME_ROK, header.sequence_number).finish();
    stream.write_all(&answer).unwrap();
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "the gateway closes");
    let told = rig.drain_news.iter().find(|news| news.is_through).unwrap();
    assert_eq!(told.phase, DrainPhase::UnbindCustomers);
    rig.stop();
}
