//! One connection's TLS: octets of the wire in and out, plain octets in and out, no I/O of its own.
//!
//! Lives on the shard's thread and moves with its connection to another shard.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, Error, ServerConfig, ServerConnection};

/// The state of a connection's TLS.
#[derive(Debug)]
pub(crate) struct TlsSession {
    connection: Connection,
    /// Octets of the wire that wait for their turn while the handshake goes on.
    waiting: Vec<u8>,
    closing: bool,
}

impl TlsSession {
    /// The side that was connected to.
    pub(crate) fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self::new(ServerConnection::new(config)?.into()))
    }

    /// The side that connects, to a server of that name.
    pub(crate) fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Error> {
        Ok(Self::new(ClientConnection::new(config, name)?.into()))
    }

    fn new(mut connection: Connection) -> Self {
        // What may be buffered is bounded by the shard's own bounds for each connection.
        connection.set_buffer_limit(None);
        Self { connection, waiting: Vec::new(), closing: false }
    }

    /// Whether no plain octets can go either way yet.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// The certificate that the other side has shown for itself, if it has (DER).
    pub(crate) fn peer_certificate(&self) -> Option<Box<[u8]>> {
        self.connection.peer_certificates()?.first().map(|certificate| certificate.as_ref().into())
    }

    /// Whether there is something for the wire.
    pub(crate) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Keeps octets of the wire until [`TlsSession::shake_hands`].
    pub(crate) fn keep(&mut self, wire: &[u8]) {
        self.waiting.extend_from_slice(wire);
    }

    /// Works on the octets that were kept.
    ///
    /// # Errors
    /// As [`TlsSession::receive`].
    pub(crate) fn shake_hands(&mut self, plain: &mut Vec<u8>) -> Result<(), Error> {
        let waiting = core::mem::take(&mut self.waiting);
        self.receive(&waiting, plain)
    }

    /// Takes octets of the wire; appends the plain ones they hold.
    ///
    /// # Errors
    /// When the peer breaks the protocol or is not trusted. An alert for it is then to be sent.
    pub(crate) fn receive(&mut self, mut wire: &[u8], plain: &mut Vec<u8>) -> Result<(), Error> {
        while !wire.is_empty() {
            let taken = self.connection.read_tls(&mut wire).map_err(|error| Error::General(error.to_string()))?;
            let state = self.connection.process_new_packets()?;
            let (start, count) = (plain.len(), state.plaintext_bytes_to_read());
            if count > 0 {
                plain.resize(start + count, 0);
                let read = self.connection.reader().read(&mut plain[start..]).unwrap_or(0);
                plain.truncate(start + read);
            }
            if taken == 0 || state.peer_has_closed() {
                break;
            }
        }
        Ok(())
    }

    /// Takes plain octets; appends octets for the wire, with whatever else is to be said.
    pub(crate) fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) {
        // Writing to memory does not fail; the connection's own limit is off.
        let _ = self.connection.writer().write_all(plain);
        self.write_wire(wire);
    }

    /// Appends what is to be said without plain octets: handshake, alerts.
    pub(crate) fn write_wire(&mut self, wire: &mut Vec<u8>) {
        while self.connection.wants_write() {
            if self.connection.write_tls(wire).is_err() {
                return;
            }
        }
    }

    /// Says goodbye, once.
    pub(crate) fn close(&mut self) {
        if !core::mem::replace(&mut self.closing, true) {
            self.connection.send_close_notify();
        }
    }
}
