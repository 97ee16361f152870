//! What the tests of load and simulator share: starting both on loopback, and an ESME made of bare octets.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "tests end at what they did not expect")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use smpp_bench::load::{self, LoadError, LoadOptions, LoadReport};
use smpp_bench::smsc::{Smsc, SmscOptions};
use smpp_bench::stop::Stop;
use smpp_pdu::bind::Bind;
use smpp_pdu::command::CommandId;
use smpp_pdu::message::{Address, ShortMessage};
use smpp_pdu::{CommandStatus, Header, encode};

/// A simulated SMSC on a free port.
pub(crate) fn smsc(arguments: &[&str]) -> Smsc {
    let arguments: Vec<&str> = ["--listen", "127.0.0.1:0"].iter().chain(arguments).copied().collect();
    Smsc::start(SmscOptions::from_arguments(&arguments).unwrap()).unwrap()
}

/// Runs a load against a simulated SMSC.
pub(crate) fn load(smsc: &Smsc, arguments: &[&str]) -> LoadReport {
    try_load(smsc.address(), arguments).unwrap()
}

/// Runs a load against any address.
pub(crate) fn try_load(address: SocketAddr, arguments: &[&str]) -> Result<LoadReport, LoadError> {
    let target = address.to_string();
    let arguments: Vec<&str> = ["--target", target.as_str()].iter().chain(arguments).copied().collect();
    load::run(&LoadOptions::from_arguments(&arguments).unwrap(), &Stop::new(), &mut |_| {})
}

/// An ESME that sends what the test says and nothing by itself. Reads time out after ten seconds.
pub(crate) struct Esme {
    stream: TcpStream,
    sequence: u32,
}

impl Esme {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { stream, sequence: 0 }
    }

    /// Connects and binds.
    pub(crate) fn bound(address: SocketAddr, command: CommandId) -> Self {
        let mut esme = Self::connect(address);
        assert_eq!(esme.bind(command), CommandStatus::ESME_ROK);
        esme
    }

    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).unwrap();
    }

    /// The next PDU; `None` when the peer has closed.
    pub(crate) fn receive(&mut self) -> Option<(Header, Vec<u8>)> {
        receive(&mut self.stream)
    }

    pub(crate) fn bind(&mut self, command: CommandId) -> CommandStatus {
        self.sequence += 1;
        let body = Bind {
            system_id: b"esme",
            password: b"secret",
            system_type: b"",
            interface_version: 0x34,
            addr_ton: 0,
            addr_npi: 0,
            address_range: b"",
        };
        let mut out = Vec::new();
        encode::bind(&mut out, command, self.sequence, &body);
        self.send(&out);
        let (header, _) = self.receive().unwrap();
        assert_eq!(header.command_id, command.response());
        header.command_status
    }

    /// Writes enquire_links, a thousand at a time, until a write takes longer than half a second; how many
    /// octets went. The peer's answers are not read meanwhile.
    pub(crate) fn send_until_stuck(&mut self) -> usize {
        self.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut batch = Vec::new();
        (1..=1000).for_each(|sequence| {
            encode::header_only(&mut batch, CommandId::ENQUIRE_LINK, CommandStatus::ESME_ROK, sequence);
        });
        let mut sent = 0;
        while sent < 1 << 30 {
            match self.stream.write(&batch[sent % batch.len()..]) {
                Ok(count) => sent += count,
                Err(_) => return sent,
            }
        }
        sent
    }

    /// Sends a submit_sm and gives its sequence number.
    pub(crate) fn submit(&mut self, registered_delivery: u8) -> u32 {
        self.sequence += 1;
        let bare = [0; 33];
        let number = Address { ton: 1, npi: 1, addr: b"15550000001" };
        let message = ShortMessage {
            source: number,
            dest: number,
            registered_delivery,
            short_message: b"hi",
            ..ShortMessage::decode(&bare).unwrap()
        };
        let mut out = Vec::new();
        encode::short_message(&mut out, CommandId::SUBMIT_SM, self.sequence, &message);
        self.send(&out);
        self.sequence
    }
}

/// A server that does what the test says and nothing by itself.
pub(crate) struct Server(TcpListener);

impl Server {
    pub(crate) fn listen() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Accepts the next connection and takes its bind.
    pub(crate) fn accept_bound(&self) -> Accepted {
        let (stream, _) = self.0.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut accepted = Accepted { stream };
        let sequence = accepted.expect(CommandId::BIND_TRANSCEIVER);
        accepted.send(CommandId::BIND_TRANSCEIVER_RESP, sequence);
        accepted
    }
}

/// A connection to a [`Server`]. Reads time out after ten seconds.
pub(crate) struct Accepted {
    stream: TcpStream,
}

impl Accepted {
    /// The sequence number of the next PDU, which is that command.
    pub(crate) fn expect(&mut self, command: CommandId) -> u32 {
        let (header, _) = self.receive().unwrap();
        assert_eq!(header.command_id, command);
        header.sequence_number
    }

    /// The next PDU; `None` when the peer has closed.
    pub(crate) fn receive(&mut self) -> Option<(Header, Vec<u8>)> {
        receive(&mut self.stream)
    }

    /// Sends a header alone, or with an empty message_id or system_id where one belongs.
    pub(crate) fn send(&mut self, command: CommandId, sequence: u32) {
        let mut out = Vec::new();
        match command {
            CommandId::SUBMIT_SM_RESP | CommandId::BIND_TRANSCEIVER_RESP => {
                encode::Encoder::new(&mut out, command, CommandStatus::ESME_ROK, sequence).u8(0).finish();
            }
            _ => encode::header_only(&mut out, command, CommandStatus::ESME_ROK, sequence),
        }
        self.stream.write_all(&out).unwrap();
    }
}

fn receive(stream: &mut TcpStream) -> Option<(Header, Vec<u8>)> {
    let mut pdu = vec![0; 16];
    stream.read_exact(&mut pdu).ok()?;
    let header = Header::read(&pdu).unwrap();
    pdu.resize(header.command_length as usize, 0);
    stream.read_exact(&mut pdu[16..]).ok()?;
    Some((header, pdu))
}
