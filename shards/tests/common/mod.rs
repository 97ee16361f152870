//! One shard under a hand-held clock, with its customers and vendors played by the test: octets in, PDUs out.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the stage")]
#![allow(clippy::unwrap_used, reason = "a test may end so")]

pub mod kept;

use std::net::SocketAddr;
use std::sync::Arc;

use smpp_pdu::bind::Bind;
use smpp_pdu::encode::{self, Encoder};
use smpp_pdu::{Address, CommandId, CommandStatus, Deframed, Header, ShortMessage, Tlvs, deframe};
use smpp_shards::restore::Restored;
use smpp_shards::settings::{CustomerSettings, InboundRouteSettings, RuleSettings, VendorSettings};
use smpp_shards::{
    Action, Conn, CustomerId, FeedEnd, JournalSetup, LinkId, Now, Output, ReadMode, Settings, Shard, ShardId,
    ShardSetup, Snapshot, Time, Verdict, feed, mesh,
};

/// A shard and everything around it.
pub struct Stage {
    pub shard: Shard,
    pub out: Output,
    pub now: Now,
    pub actions: Vec<Action>,
    next_conn: u32,
}

/// One PDU that the shard has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdu {
    pub command: CommandId,
    pub status: CommandStatus,
    pub sequence: u32,
    pub bytes: Vec<u8>,
}

/// The settings most tests start from: customer `acme`, vendor `north`, everything to it.
pub fn settings() -> Settings {
    Settings {
        customers: vec![customer("acme")],
        vendors: vec![vendor("north")],
        routing_rules: vec![rule("^1.*", "north")],
        ..Settings::default()
    }
}

/// The usual settings, and what comes to that number is the usual customer's.
pub fn settings_with_inbound(did: &str) -> Settings {
    let route =
        InboundRouteSettings { did: did.into(), smpp_system_id: "acme".into(), ..InboundRouteSettings::default() };
    Settings { inbound_routes: vec![route], ..settings() }
}

pub fn customer(system_id: &str) -> CustomerSettings {
    CustomerSettings {
        smpp_system_id: system_id.into(),
        smpp_password: Some("secret12".into()),
        allowed_source_addresses: vec!["*".into()],
        ..CustomerSettings::default()
    }
}

pub fn vendor(name: &str) -> VendorSettings {
    VendorSettings {
        instance_name: name.into(),
        host: "127.0.0.1".into(),
        port: 3601,
        username: "gateway".into(),
        password: "gateway1".into(),
        window_size: 100,
        ..VendorSettings::default()
    }
}

pub fn rule(dest: &str, vendor: &str) -> RuleSettings {
    RuleSettings { dest_pattern: Some(dest.into()), vendor: vendor.into(), ..RuleSettings::default() }
}

impl Stage {
    pub fn new(settings: Settings) -> Self {
        Self::with_journal(settings, None, Restored::default())
    }

    pub fn with_journal(settings: Settings, journal: Option<JournalSetup>, restored: Restored) -> Self {
        Self::with_parts(settings, journal, restored, None)
    }

    /// A stage with a message store, which the test plays.
    pub fn with_store(settings: Settings, journal: Option<JournalSetup>) -> (Self, FeedEnd) {
        let (feed, end) = feed::feed();
        (Self::with_parts(settings, journal, Restored::default(), Some(feed)), end)
    }

    fn with_parts(
        settings: Settings,
        journal: Option<JournalSetup>,
        restored: Restored,
        store: Option<feed::Feed>,
    ) -> Self {
        let snapshot = Arc::new(Snapshot::build(settings, 1, 1).unwrap());
        let rings = mesh(1).pop().unwrap();
        Self::of(ShardSetup { shard: ShardId(0), shards: 1, seed: 7, snapshot, rings, journal, restored, store })
    }

    /// A stage of one shard of several.
    pub fn of(setup: ShardSetup) -> Self {
        let now = Now { mono: Time(1_000_000_000), unix_ms: 1_700_000_000_000 };
        let mut stage =
            Self { shard: Shard::new(setup, now), out: Output::new(), now, actions: Vec::new(), next_conn: 0 };
        stage.shard.start(now, &mut stage.out);
        stage
    }

    /// A stage whose vendor links are all bound, in the order of their numbers.
    pub fn with_vendors(settings: Settings) -> (Self, Vec<Conn>) {
        let mut stage = Self::new(settings);
        let links = stage.bind_links();
        (stage, links)
    }

    /// Connects and binds every link that the shard asks for.
    pub fn bind_links(&mut self) -> Vec<Conn> {
        let mut conns = Vec::new();
        for link in self.connects() {
            let conn = self.connect_link(link);
            let bind = self.pdus(conn).pop().unwrap();
            assert!(bind.command.is_bind());
            let mut answer = Vec::new();
            encode::bind_resp(&mut answer, bind.command.response(), bind.sequence, b"smsc", Some(0x34));
            self.feed(conn, &answer);
            conns.push(conn);
        }
        conns
    }

    /// The links that the shard has asked to connect.
    pub fn connects(&mut self) -> Vec<LinkId> {
        self.drain_actions();
        let mut links = Vec::new();
        self.actions.retain(|action| match action {
            Action::Connect { link, .. } => {
                links.push(*link);
                false
            }
            _ => true,
        });
        links
    }

    pub fn connect_link(&mut self, link: LinkId) -> Conn {
        let conn = self.conn();
        self.shard.connected(conn, link, None, self.now, &mut self.out);
        conn
    }

    pub fn conn(&mut self) -> Conn {
        self.next_conn += 1;
        Conn(self.next_conn - 1)
    }

    pub fn accept(&mut self) -> Conn {
        let conn = self.conn();
        let peer: SocketAddr = "192.0.2.1:40000".parse().unwrap();
        self.shard.accepted(conn, peer, false, self.now, &mut self.out);
        conn
    }

    /// A customer's connection, bound; its bind_resp has been taken.
    pub fn bound(&mut self, customer: u32, command: CommandId) -> Conn {
        let conn = self.accept();
        let answer = self.bind(conn, customer, command, 0x34);
        assert_eq!(answer.status, CommandStatus::ESME_ROK);
        conn
    }

    /// Sends a bind and gives the verdict on it; the answer.
    pub fn bind(&mut self, conn: Conn, customer: u32, command: CommandId, version: u8) -> Pdu {
        self.feed(conn, &bind_pdu(command, 1, version));
        self.verdict(Ok((CustomerId(customer), ShardId(0))));
        let mut pdus = self.pdus(conn);
        assert_eq!(pdus.len(), 1, "{pdus:?}");
        pdus.remove(0)
    }

    /// Answers the one bind that is being checked.
    pub fn verdict(&mut self, result: Result<(CustomerId, ShardId), CommandStatus>) {
        self.drain_actions();
        let place = self.actions.iter().position(|action| matches!(action, Action::Authenticate(_))).unwrap();
        let Action::Authenticate(request) = self.actions.remove(place) else { unreachable!() };
        let verdict = Verdict { conn: request.conn, ticket: request.ticket, result, reason: None };
        self.shard.authenticated(verdict, self.now, &mut self.out);
    }

    pub fn feed(&mut self, conn: Conn, bytes: &[u8]) {
        self.shard.received(conn, bytes, self.now, &mut self.out);
    }

    /// What the shard has written to a connection since the last look, as PDUs.
    pub fn pdus(&mut self, conn: Conn) -> Vec<Pdu> {
        let mut bytes = Vec::new();
        self.out.take(conn, &mut bytes);
        self.out.sent(conn, bytes.len());
        let mut pdus = Vec::new();
        let mut rest = &bytes[..];
        while let Deframed::Pdu { header, pdu } = deframe(rest, 1 << 20) {
            pdus.push(Pdu {
                command: header.command_id,
                status: header.command_status,
                sequence: header.sequence_number,
                bytes: pdu.to_vec(),
            });
            rest = &rest[pdu.len()..];
        }
        assert!(rest.is_empty(), "the shard writes whole PDUs");
        pdus
    }

    /// The one PDU that the shard has written to a connection since the last look.
    pub fn pdu(&mut self, conn: Conn) -> Pdu {
        let mut pdus = self.pdus(conn);
        assert_eq!(pdus.len(), 1, "{pdus:?}");
        pdus.remove(0)
    }

    /// Lets time pass in steps of at most 5 ms, with a tick at each.
    pub fn pass_ms(&mut self, millis: u64) {
        let end = self.now.mono.after_ms(millis);
        while self.now.mono < end {
            let step = (end.0 - self.now.mono.0).min(5_000_000);
            self.now.mono = Time(self.now.mono.0 + step);
            self.now.unix_ms += step / 1_000_000;
            self.shard.tick(self.now, &mut self.out);
        }
    }

    pub fn drain_actions(&mut self) {
        let mut actions = Vec::new();
        self.out.take_actions(&mut actions);
        self.actions.append(&mut actions);
    }

    /// Whether the shard has asked to close that connection; asked once for each close.
    pub fn was_closed(&mut self, conn: Conn) -> bool {
        self.drain_actions();
        let before = self.actions.len();
        self.actions.retain(|action| !matches!(action, Action::Close { conn: closed, .. } if *closed == conn));
        self.actions.len() != before
    }

    /// The last thing the shard said about how to read from a connection.
    pub fn read_mode(&mut self, conn: Conn) -> Option<ReadMode> {
        self.drain_actions();
        self.actions.iter().rev().find_map(|action| match action {
            Action::Read { conn: read, mode } if *read == conn => Some(*mode),
            _ => None,
        })
    }
}

pub fn bind_pdu(command: CommandId, sequence: u32, version: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let body = Bind {
        system_id: b"acme",
        password: b"secret12",
        system_type: b"",
        interface_version: version,
        addr_ton: 0,
        addr_npi: 0,
        address_range: b"",
    };
    encode::bind(&mut out, command, sequence, &body);
    out
}

pub fn header_only(command: CommandId, sequence: u32) -> Vec<u8> {
    answer(command, CommandStatus::ESME_ROK, sequence)
}

pub fn answer(command: CommandId, status: CommandStatus, sequence: u32) -> Vec<u8> {
    let mut out = Vec::new();
    encode::header_only(&mut out, command, status, sequence);
    out
}

/// A message with nothing special about it.
pub fn message(text: &[u8]) -> ShortMessage<'_> {
    let mut pdu = Vec::new();
    Encoder::new(&mut pdu, CommandId::SUBMIT_SM, CommandStatus::ESME_ROK, 1).octets(&[0; 17]).finish();
    let empty: &'static [u8] = pdu.leak();
    let blank = ShortMessage::decode(empty).unwrap();
    ShortMessage {
        source: Address { ton: 5, npi: 0, addr: b"ACME" },
        dest: Address { ton: 1, npi: 1, addr: b"15551234567" },
        short_message: text,
        tlvs: Tlvs::default(),
        ..blank
    }
}

pub fn submit(sequence: u32, message: &ShortMessage<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    encode::short_message(&mut out, CommandId::SUBMIT_SM, sequence, message);
    out
}

/// A submit whose text stands in message_payload and asks for a receipt.
pub fn submit_payload(sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut tlvs = vec![0x04, 0x24];
    tlvs.extend((payload.len() as u16).to_be_bytes());
    tlvs.extend(payload);
    submit(sequence, &ShortMessage { registered_delivery: 1, tlvs: smpp_pdu::Tlvs::new(&tlvs), ..message(b"") })
}

pub fn deliver(sequence: u32, message: &ShortMessage<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    encode::short_message(&mut out, CommandId::DELIVER_SM, sequence, message);
    out
}

pub fn submit_resp(sequence: u32, id: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::submit_sm_resp(&mut out, sequence, id);
    out
}

pub fn deliver_resp(sequence: u32, status: CommandStatus) -> Vec<u8> {
    let mut out = Vec::new();
    encode::deliver_sm_resp(&mut out, status, sequence);
    out
}

pub fn header(bytes: &[u8]) -> Header {
    Header::read(bytes).unwrap()
}
