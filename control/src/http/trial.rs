//! One trial bind to a vendor over a connection of its own, told step by step: name, TCP, TLS, bind, answer, unbind.
//!
//! A running link is never used, and nothing is submitted. The whole is over within ten seconds.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use schemars::JsonSchema;
use serde::Serialize;
use smpp_pdu::bind::Bind;
use smpp_pdu::{CommandId, Deframed, Header, deframe, encode};
use smpp_shards::settings::{BindType, VendorSettings};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::answer::{self, Answer, Refusal};
use super::call::Call;
use super::vendors::{find, key_of};
use crate::attachments::VendorTls;
use crate::log::status_name;

/// The whole trial.
const TIME_MAX: Duration = Duration::from_secs(10);

/// How long the vendor may take to answer our unbind; after it we close all the same.
const UNBIND_TIME_MAX: Duration = Duration::from_secs(2);

/// Octets that are read in all: a vendor may say something else before it answers.
const READ_BYTES_MAX: usize = 64 * 1024;

/// What came of a trial.
#[derive(Serialize, JsonSchema)]
pub(super) struct Trial {
    /// Whether the trial was made; whether the vendor took the bind is told by `bound`.
    success: bool,
    vendor_id: String,
    /// Whether the vendor took the bind.
    bound: bool,
    /// In the order in which they were taken; the last one is where it ended.
    steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Serialize, JsonSchema)]
struct Step {
    /// `name`, `tcp`, `tls`, `bind_sent`, `bind_answer` or `unbind`.
    step: &'static str,
    passed: bool,
    /// How long it took, milliseconds.
    ms: f64,
    /// From which local address, where there is one by then.
    local_address: Option<String>,
    /// The vendor's command_status, where it answered.
    command_status: Option<String>,
    /// In words.
    reason: String,
}

pub(super) async fn test(call: Call) -> Answer {
    let snapshot = call.site.snapshot();
    let vendor = find(&snapshot, call.variable())?;
    let Ok(_place) = call.site.trials.try_acquire() else {
        return Err(Refusal::busy("Other vendors are being tried; try again in a few seconds."));
    };
    let mut steps = Steps { steps: Vec::new(), local: None, end: Instant::now() + TIME_MAX };
    let outcome = steps.run(&vendor.settings, call.site.attachments.vendor_tls.as_ref()).await;
    answer::ok(&Trial { success: true, vendor_id: key_of(vendor), bound: outcome.is_some(), steps: steps.steps })
}

struct Steps {
    steps: Vec<Step>,
    local: Option<SocketAddr>,
    end: Instant,
}

/// Why a step did not pass.
type Reason = String;

impl Steps {
    /// All steps; `None` when one did not pass before the vendor took the bind.
    async fn run(&mut self, vendor: &VendorSettings, tls: Option<&VendorTls>) -> Option<()> {
        let start = Instant::now();
        let names = tokio::net::lookup_host((vendor.host.as_str(), vendor.port));
        let addresses: Result<Vec<SocketAddr>, Reason> = match tokio::time::timeout_at(self.end, names).await {
            Err(_) => Err("the name was not looked up in time".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(found)) => Ok(found.collect()),
        };
        let addresses = addresses.and_then(|found| match found.is_empty() {
            true => Err("the name has no address".to_owned()),
            false => Ok(found),
        });
        let told = addresses.as_ref().map(|found| {
            let texts: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
            format!("{} is {}", vendor.host, texts.join(", "))
        });
        self.note("name", start, told.map_err(Clone::clone));
        let stream = self.connect(addresses.ok()?).await?;
        if !vendor.use_tls {
            return self.bind(stream, vendor).await;
        }
        let start = Instant::now();
        let stream = tokio::time::timeout_at(self.end, shake_hands(stream, vendor, tls)).await;
        let stream = stream.unwrap_or_else(|_| Err("the handshake did not end in time".to_owned()));
        let told = stream.as_ref().map(|stream| {
            let version = stream.get_ref().1.protocol_version();
            format!("the handshake is done: {}", version.and_then(|version| version.as_str()).unwrap_or("TLS"))
        });
        self.note("tls", start, told.map_err(Clone::clone));
        self.bind(stream.ok()?, vendor).await
    }

    /// The first of the addresses that can be connected.
    async fn connect(&mut self, addresses: Vec<SocketAddr>) -> Option<TcpStream> {
        let start = Instant::now();
        let mut reasons = Vec::new();
        for address in addresses {
            let mut twin = None;
            let outcome = tokio::time::timeout_at(self.end, connect_to(address, &mut twin)).await;
            // Where it was tried from is known of one that failed as well.
            let local = twin.and_then(|twin| std::net::TcpStream::from(twin).local_addr().ok());
            self.local = local.filter(|local| !local.ip().is_unspecified());
            match outcome {
                Err(_) => reasons.push(format!("{address}: not connected in time")),
                Ok(Err(error)) => reasons.push(format!("{address}: {error}")),
                Ok(Ok(stream)) => {
                    self.note("tcp", start, Ok(format!("connected to {address}")));
                    return Some(stream);
                }
            }
        }
        self.note("tcp", start, Err(reasons.join("; ")));
        None
    }

    async fn bind(&mut self, mut stream: impl AsyncRead + AsyncWrite + Unpin, vendor: &VendorSettings) -> Option<()> {
        let start = Instant::now();
        let mut pdu = Vec::new();
        let command = match vendor.bind_type {
            BindType::Transceiver => CommandId::BIND_TRANSCEIVER,
            BindType::Transmitter => CommandId::BIND_TRANSMITTER,
            BindType::Receiver => CommandId::BIND_RECEIVER,
        };
        encode::bind(&mut pdu, command, 1, &bind_of(vendor));
        let told = match tokio::time::timeout_at(self.end, send(&mut stream, &pdu)).await {
            Err(_) => Err("the bind was not taken in time".to_owned()),
            Ok(sent) => sent.map(|()| format!("{} as {:?}", command.name().unwrap_or("bind"), vendor.username)),
        };
        let is_sent = told.is_ok();
        self.note("bind_sent", start, told);
        if !is_sent {
            return None;
        }
        let start = Instant::now();
        let mut buffer = Vec::new();
        let answer = read_pdu(&mut stream, &mut buffer, |header| {
            header.command_id == command.response() || header.command_id == CommandId::GENERIC_NACK
        });
        let answer = match tokio::time::timeout_at(self.end, answer).await {
            Err(_) => Err("the bind was not answered in time".to_owned()),
            Ok(answer) => answer,
        };
        let is_bound = answer.as_ref().is_ok_and(|it| it.command_status.is_ok() && it.command_id == command.response());
        self.note(
            "bind_answer",
            start,
            match &answer {
                Ok(_) if is_bound => Ok("the vendor took the bind".to_owned()),
                Ok(header) => Err(format!("the vendor refused the bind with {}", status_name(header.command_status))),
                Err(reason) => Err(reason.clone()),
            },
        );
        if let (Some(step), Ok(header)) = (self.steps.last_mut(), &answer) {
            step.command_status = Some(status_name(header.command_status));
        }
        if !is_bound {
            return None;
        }
        self.unbind(stream, buffer).await;
        Some(())
    }

    async fn unbind(&mut self, mut stream: impl AsyncRead + AsyncWrite + Unpin, mut buffer: Vec<u8>) {
        let start = Instant::now();
        let mut pdu = Vec::new();
        encode::header_only(&mut pdu, CommandId::UNBIND, smpp_pdu::CommandStatus::ESME_ROK, 2);
        let answered = async {
            send(&mut stream, &pdu).await?;
            read_pdu(&mut stream, &mut buffer, |header| header.command_id == CommandId::UNBIND_RESP).await
        };
        let end = self.end.min(start + UNBIND_TIME_MAX);
        let answer = match tokio::time::timeout_at(end, answered).await {
            Err(_) => Err("the unbind was not answered in time; the connection is closed".to_owned()),
            Ok(answer) => answer,
        };
        let status = answer.as_ref().ok().map(|header| status_name(header.command_status));
        self.note("unbind", start, answer.map(|_| "unbound".to_owned()));
        if let Some(step) = self.steps.last_mut() {
            step.command_status = status;
        }
        // Whatever the peer makes of it, we are through.
        let _ = tokio::time::timeout_at(end.max(Instant::now()), stream.shutdown()).await;
    }

    fn note(&mut self, step: &'static str, start: Instant, outcome: Result<String, Reason>) {
        let micros = start.elapsed().as_micros() as f64;
        let passed = outcome.is_ok();
        let reason = outcome.unwrap_or_else(|reason| reason);
        let local_address = self.local.map(|local| local.to_string());
        self.steps.push(Step { step, passed, ms: micros / 1000.0, local_address, command_status: None, reason });
    }
}

fn bind_of(vendor: &VendorSettings) -> Bind<'_> {
    Bind {
        system_id: vendor.username.as_bytes(),
        password: vendor.password.as_bytes(),
        system_type: vendor.system_type.as_bytes(),
        interface_version: vendor.interface_version,
        addr_ton: 0,
        addr_npi: 0,
        address_range: b"",
    }
}

/// Connects; `twin` is the same socket once more, which outlives a connect that fails.
async fn connect_to(address: SocketAddr, twin: &mut Option<OwnedFd>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    *twin = socket.as_fd().try_clone_to_owned().ok();
    socket.connect(address).await
}

async fn shake_hands(
    stream: TcpStream,
    vendor: &VendorSettings,
    tls: Option<&VendorTls>,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Reason> {
    let Some(tls) = tls.map(Arc::clone) else { return Err("TLS towards vendors is not set up".to_owned()) };
    let settings = vendor.clone();
    // Authorities are read from files.
    let config = tokio::task::spawn_blocking(move || tls(&settings));
    let config = config.await.map_err(|error| error.to_string())??;
    let name = ServerName::try_from(vendor.host.clone()).map_err(|error| error.to_string())?;
    TlsConnector::from(config).connect(name, stream).await.map_err(|error| error.to_string())
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), pdu: &[u8]) -> Result<(), Reason> {
    stream.write_all(pdu).await.map_err(|error| error.to_string())?;
    stream.flush().await.map_err(|error| error.to_string())
}

/// Reads until a PDU comes that is wanted; what else comes is passed over.
async fn read_pdu(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    is_wanted: impl Fn(&Header) -> bool,
) -> Result<Header, Reason> {
    let mut read = 0;
    loop {
        match deframe(buffer, READ_BYTES_MAX) {
            Deframed::Pdu { header, pdu } => {
                let length = pdu.len();
                buffer.drain(..length);
                if is_wanted(&header) {
                    return Ok(header);
                }
                continue;
            }
            Deframed::NeedMore { .. } => {}
            Deframed::Fatal { .. } => {
                return Err("the vendor does not speak SMPP: what it sent cannot be framed".to_owned());
            }
        }
        if read >= READ_BYTES_MAX {
            return Err("the vendor sent much, but no answer".to_owned());
        }
        match stream.read_buf(buffer).await {
            Ok(0) => return Err("the vendor closed the connection".to_owned()),
            Ok(count) => read += count,
            Err(error) => return Err(error.to_string()),
        }
    }
}
