//! GET over plain HTTP/1.1, one connection each: all that `top` and `check` need of it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

/// To connect, and from one octet to the next.
const PATIENCE: Duration = Duration::from_secs(3);

/// Octets of one answer.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why there is no picture.
#[derive(Debug)]
pub enum TopError {
    /// The address is none that this program can ask.
    Url(String),
    /// The file of the token.
    Token(PathBuf, io::Error),
    /// The port cannot be reached.
    Unreachable(String, io::Error),
    /// The token is missing or wrong.
    Unauthorized,
    /// What answered is no control port of a gateway.
    Answer(String),
    /// The terminal.
    Terminal(io::Error),
}

impl fmt::Display for TopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => write!(f, "--url {url:?} is none of the form http://HOST:PORT (TLS is not spoken here)"),
            Self::Token(path, error) => write!(f, "the token cannot be read from {}: {error}", path.display()),
            Self::Unreachable(address, error) => {
                write!(
                    f,
                    "{address} does not answer ({error}): is the gateway running, and is this its [control] listen?"
                )
            }
            Self::Unauthorized => {
                f.write_str("the control port wants its token: give --token-file with what [control] token says")
            }
            Self::Answer(reason) => write!(f, "this is no control port of a gateway: {reason}"),
            Self::Terminal(error) => write!(f, "the terminal: {error}"),
        }
    }
}

impl std::error::Error for TopError {}

/// Asks one control port.
#[derive(Clone)]
pub(crate) struct Client {
    address: String,
    token: Option<String>,
}

impl Client {
    /// For `http://HOST:PORT`, with or without a final slash; the port is 8080 where it is left out.
    pub(crate) fn new(url: &str, token: Option<String>) -> Result<Self, TopError> {
        let wrong = || TopError::Url(url.to_owned());
        let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
        let host = rest.strip_suffix('/').unwrap_or(rest);
        if host.is_empty() || host.contains(['/', '@', ' ', '\r', '\n']) {
            return Err(wrong());
        }
        let behind = host.rsplit(']').next().unwrap_or(host);
        let address = if behind.contains(':') { host.to_owned() } else { format!("{host}:8080") };
        if token.as_ref().is_some_and(|token| !token.bytes().all(|octet| octet.is_ascii_graphic())) {
            return Err(TopError::Answer("a token holds neither blanks nor letters outside ASCII".to_owned()));
        }
        Ok(Self { address, token })
    }

    /// Whom it asks.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The JSON under a path.
    pub(crate) fn get(&self, path: &str) -> Result<Value, TopError> {
        let answer = self.exchange(path).map_err(|error| TopError::Unreachable(self.address.clone(), error))?;
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| TopError::Answer("no HTTP".to_owned()))?;
        match head.split(' ').nth(1) {
            Some("200") => {}
            Some("401") => return Err(TopError::Unauthorized),
            _ => return Err(TopError::Answer(head.lines().next().unwrap_or_default().to_owned())),
        }
        serde_json::from_str(body).map_err(|error| TopError::Answer(error.to_string()))
    }

    fn exchange(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in self.address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => return self.speak(stream, path),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn speak(&self, mut stream: TcpStream, path: &str) -> io::Result<Vec<u8>> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let token = self.token.as_ref().map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{token}Connection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        Ok(answer)
    }
}
