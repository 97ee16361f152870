//! One SMPP connection made of bare octets: it sends what the test says and nothing by itself.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rustls::{ClientConnection, ServerConnection, StreamOwned};
use smpp_pdu::message::resp_message_id;
use smpp_pdu::{CommandId, CommandStatus, Header, ShortMessage, encode};

use super::PATIENCE;

/// A byte stream, plain or TLS.
pub(crate) trait Stream: Read + Write + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}

impl Stream for StreamOwned<ServerConnection, TcpStream> {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}

/// One PDU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pdu {
    pub(crate) command: CommandId,
    pub(crate) status: CommandStatus,
    pub(crate) sequence: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Pdu {
    /// As a submit_sm or deliver_sm.
    pub(crate) fn message(&self) -> ShortMessage<'_> {
        ShortMessage::decode(&self.bytes).unwrap()
    }

    /// As a submit_sm_resp.
    pub(crate) fn message_id(&self) -> String {
        String::from_utf8(resp_message_id(&self.bytes).to_vec()).unwrap()
    }

    /// The short_message, or the message_payload, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.message().text()).into_owned()
    }
}

/// A connection. Whatever does not come within [`PATIENCE`] ends the test.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    next_sequence: u32,
}

impl Wire {
    pub(crate) fn new(stream: impl Stream + 'static) -> Self {
        stream.tcp().set_read_timeout(Some(PATIENCE)).unwrap();
        stream.tcp().set_nodelay(true).unwrap();
        Self { stream: Box::new(stream), next_sequence: 0 }
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        self.stream.tcp()
    }

    /// The next sequence_number of ours.
    pub(crate) fn sequence(&mut self) -> u32 {
        self.next_sequence += 1;
        self.next_sequence
    }

    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).unwrap();
        self.stream.flush().unwrap();
    }

    /// Sends octets to a peer that may close meanwhile.
    pub(crate) fn try_send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets)?;
        self.stream.flush()
    }

    /// Sends a PDU that is its header alone.
    pub(crate) fn send_header(&mut self, command: CommandId, status: CommandStatus, sequence: u32) {
        let mut out = Vec::new();
        encode::header_only(&mut out, command, status, sequence);
        self.send(&out);
    }

    /// The next PDU; `None` when the peer has closed.
    pub(crate) fn receive(&mut self) -> Option<Pdu> {
        let mut bytes = vec![0; 16];
        self.read(&mut bytes)?;
        let header = Header::read(&bytes).unwrap();
        assert!((16..100_000).contains(&header.command_length), "{header:?}");
        bytes.resize(header.command_length as usize, 0);
        self.read(&mut bytes[16..])?;
        let Header { command_id: command, command_status: status, sequence_number: sequence, .. } = header;
        Some(Pdu { command, status, sequence, bytes })
    }

    /// The next PDU.
    pub(crate) fn pdu(&mut self) -> Pdu {
        self.receive().expect("the peer has closed")
    }

    /// The next PDU, which is of that kind.
    pub(crate) fn expect(&mut self, command: CommandId) -> Pdu {
        let pdu = self.pdu();
        assert_eq!(pdu.command, command, "{pdu:?}");
        pdu
    }

    /// The next PDU, which is of that kind and the answer to that request, with this outcome.
    pub(crate) fn expect_answer(&mut self, command: CommandId, sequence: u32, status: CommandStatus) -> Pdu {
        let pdu = self.expect(command);
        assert_eq!((pdu.sequence, pdu.status), (sequence, status), "{pdu:?}");
        pdu
    }

    /// Asks for an enquire_link_resp, which must be the next thing to come: all before has had its answers.
    pub(crate) fn expect_nothing_more(&mut self) {
        let sequence = self.sequence();
        self.send_header(CommandId::ENQUIRE_LINK, CommandStatus::ESME_ROK, sequence);
        self.expect_answer(CommandId::ENQUIRE_LINK_RESP, sequence, CommandStatus::ESME_ROK);
    }

    /// The peer closes without another PDU.
    pub(crate) fn expect_end(&mut self) {
        let pdu = self.receive();
        assert_eq!(pdu, None, "the peer should have closed");
    }

    /// Nothing comes for that long.
    pub(crate) fn expect_silence(&mut self, time: Duration) {
        self.tcp().set_read_timeout(Some(time)).unwrap();
        let mut octet = [0];
        let outcome = self.stream.read(&mut octet);
        self.tcp().set_read_timeout(Some(PATIENCE)).unwrap();
        let kind = outcome.map(|count| (count, octet)).map_err(|error| error.kind());
        assert!(matches!(kind, Err(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)), "{kind:?}");
    }

    /// Closes our half; the peer's can still be read.
    pub(crate) fn finish(&mut self) {
        self.tcp().shutdown(Shutdown::Write).unwrap();
    }

    fn read(&mut self, into: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(into) {
            Ok(()) => Some(()),
            Err(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => None,
                _ => panic!("nothing came: {error}"),
            },
        }
    }
}
