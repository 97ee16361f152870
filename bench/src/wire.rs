//! One nonblocking connection, plain or TLS: octets in through the loop's shared buffer, octets out through
//! the connection's own.
//!
//! Belongs to one event loop. It never blocks, and it never makes a system call that the last one has shown
//! to be useless: a plain read that returned less than was asked for has drained the socket, and the next
//! edge from epoll tells of more.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

/// The largest PDU that is taken, octets.
pub const PDU_BYTES_MAX: usize = 65_536;
/// The size of the loop's shared receive buffer, octets: one read's worth and a PDU cut by the last one.
pub const INBOX_BYTES: usize = 256 * 1024 + PDU_BYTES_MAX;
/// Octets waiting to be written beyond which nothing more is read: a peer that sends and never reads costs
/// this much and no more.
pub const UNSENT_BYTES_MAX: usize = 4 << 20;

/// What one read has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// How much of the buffer holds octets, what was left over from last time included.
    pub filled: usize,
    /// Whether another read may bring more at once.
    pub more: bool,
    /// Whether there was nothing to read.
    pub idle: bool,
    /// Whether the peer has closed its side.
    pub closed: bool,
}

/// A connection and its two buffers.
#[derive(Debug)]
pub struct Wire {
    socket: TcpStream,
    tls: Option<Box<Connection>>,
    /// The front of a PDU whose rest has not come yet.
    tail: Vec<u8>,
    /// Octets to send. Append PDUs here, then call [`Wire::flush`].
    pub out: Vec<u8>,
    written: usize,
    blocked: bool,
    held: bool,
}

impl Wire {
    /// A plain connection.
    pub fn plain(socket: TcpStream) -> Self {
        Self { socket, tls: None, tail: Vec::new(), out: Vec::new(), written: 0, blocked: false, held: false }
    }

    /// A TLS client; the handshake begins with the first flush.
    ///
    /// # Errors
    /// What rustls says of the settings.
    pub fn tls_client(socket: TcpStream, config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<Self> {
        let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        Ok(Self { tls: Some(Box::new(connection.into())), ..Self::plain(socket) })
    }

    /// A TLS server.
    ///
    /// # Errors
    /// What rustls says of the settings.
    pub fn tls_server(socket: TcpStream, config: Arc<ServerConfig>) -> io::Result<Self> {
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Self { tls: Some(Box::new(connection.into())), ..Self::plain(socket) })
    }

    /// Registers the socket for both directions, once and for all. Edge-triggered: the writable edge comes
    /// only after a write has found the socket full.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Whether the TLS handshake is not finished; false on a plain connection.
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Octets in [`Wire::out`] that have not been written yet.
    #[inline]
    pub fn unsent(&self) -> usize {
        self.out.len() - self.written
    }

    /// Whether the socket took less than there was: wait for the writable edge.
    #[inline]
    pub fn blocked(&self) -> bool {
        self.blocked
    }

    /// Whether reading must wait, because more than [`UNSENT_BYTES_MAX`] octets wait to be written even after a
    /// try to write them. The writable edge will come; ask [`Wire::take_held`] then.
    ///
    /// # Errors
    /// As [`Wire::flush`].
    #[inline]
    pub fn holds_back(&mut self) -> io::Result<bool> {
        if self.unsent() > UNSENT_BYTES_MAX {
            self.flush()?;
            self.held = self.unsent() > UNSENT_BYTES_MAX;
        }
        Ok(self.held)
    }

    /// Whether a read was put off by [`Wire::holds_back`] and has to be made up for; forgets that.
    #[inline]
    pub fn take_held(&mut self) -> bool {
        std::mem::take(&mut self.held)
    }

    /// Puts what was left over at the front of `inbox` and reads behind it, once.
    ///
    /// # Errors
    /// A broken connection, or a TLS fault. That nothing is there is no error.
    #[inline]
    pub fn receive(&mut self, inbox: &mut [u8]) -> io::Result<Received> {
        let kept = self.tail.len();
        inbox[..kept].copy_from_slice(&self.tail);
        self.tail.clear();
        let space = &mut inbox[kept..];
        let asked = space.len();
        let result = match &mut self.tls {
            None => self.socket.read(space),
            Some(tls) => {
                let result = read_tls(&mut self.socket, tls, space);
                self.blocked |= tls.wants_write();
                result
            }
        };
        let nothing = Received { filled: kept, more: false, idle: false, closed: false };
        match result {
            Ok(0) => Ok(Received { closed: true, ..nothing }),
            Ok(count) => {
                let more = count == asked || self.tls.is_some();
                Ok(Received { filled: kept + count, more, ..nothing })
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Received { idle: true, ..nothing }),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Received { more: true, ..nothing }),
            Err(error) => Err(error),
        }
    }

    /// Keeps the front of a PDU until its rest comes.
    #[inline]
    pub fn keep(&mut self, rest: &[u8]) {
        self.tail.extend_from_slice(rest);
    }

    /// Writes what the socket takes.
    ///
    /// # Errors
    /// A broken connection. A full socket is no error: see [`Wire::blocked`].
    #[inline]
    pub fn flush(&mut self) -> io::Result<()> {
        self.flush_up_to(usize::MAX)
    }

    /// Writes at most `limit` octets.
    ///
    /// # Errors
    /// As [`Wire::flush`].
    pub fn flush_up_to(&mut self, limit: usize) -> io::Result<()> {
        self.blocked = false;
        let end = self.out.len().min(self.written.saturating_add(limit));
        while self.written < end {
            let result = match &mut self.tls {
                None => self.socket.write(&self.out[self.written..end]),
                Some(tls) => write_tls(&mut self.socket, tls, &self.out[self.written..end]),
            };
            match result {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        if let Some(tls) = &mut self.tls {
            push_tls(&mut self.socket, tls)?;
            self.blocked |= tls.wants_write();
        }
        Ok(())
    }

    /// Tells a TLS peer that nothing more will come. What the socket does not take at once is let be.
    pub fn say_goodbye(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = push_tls(&mut self.socket, tls);
        }
    }
}

fn read_tls(socket: &mut TcpStream, tls: &mut Connection, space: &mut [u8]) -> io::Result<usize> {
    loop {
        match tls.reader().read(space) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // A peer that closes without close_notify is common in this trade and means an end like any other.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
            other => return other,
        }
        if tls.read_tls(socket)? == 0 {
            return if tls.is_handshaking() { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(0) };
        }
        if let Err(error) = tls.process_new_packets() {
            let _ = push_tls(socket, tls);
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        push_tls(socket, tls)?;
    }
}

fn write_tls(socket: &mut TcpStream, tls: &mut Connection, octets: &[u8]) -> io::Result<usize> {
    let taken = tls.writer().write(octets)?;
    push_tls(socket, tls)?;
    if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
}

fn push_tls(socket: &mut TcpStream, tls: &mut Connection) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(socket) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
