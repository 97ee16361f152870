//! Why a load could not be run. Each says in a sentence what was being done and whose word stopped it.

use std::fmt;
use std::io;

use smpp_pdu::CommandStatus;

/// How far a session had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Looking the host's name up.
    Name,
    /// Opening the TCP connection.
    Tcp,
    /// The TLS handshake.
    Tls,
    /// The bind request was sent, no answer has come.
    Bind,
    /// Bound, and messages flow.
    Traffic,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "name lookup",
            Self::Tcp => "TCP connect",
            Self::Tls => "TLS handshake",
            Self::Bind => "bind",
            Self::Traffic => "traffic",
        })
    }
}

/// Why a load ended without a report.
#[derive(Debug)]
pub enum LoadError {
    /// An option is wrong.
    Options(String),
    /// A session did not come up, or all were lost.
    Session {
        /// The server as it was given.
        target: String,
        /// Whose session.
        system_id: String,
        /// Where it failed.
        step: Step,
        /// How.
        detail: String,
    },
    /// The bind was answered with a status other than ESME_ROK.
    Refused {
        /// The server as it was given.
        target: String,
        /// Whose bind.
        system_id: String,
        /// The server's answer.
        status: CommandStatus,
    },
    /// The machine refuses something: descriptors, timers, threads, files.
    System {
        /// What was being done.
        what: &'static str,
        /// The refusal.
        error: io::Error,
    },
    /// It was asked to end before all sessions were bound.
    Stopped,
}

impl LoadError {
    pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> LoadError {
        move |error| LoadError::System { what, error }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(sentence) => f.write_str(sentence),
            Self::Session { target, system_id, step, detail } => {
                write!(f, "{target}, system_id {system_id}: {step} failed: {detail}")
            }
            Self::Refused { target, system_id, status } => {
                write!(f, "{target}, system_id {system_id}: bind refused with {status}")?;
                match status.description() {
                    Some(words) => write!(f, " (0x{:08X}, {words})", status.0),
                    None => Ok(()),
                }
            }
            Self::System { what, error } => write!(f, "{what}: {error}"),
            Self::Stopped => f.write_str("stopped before all sessions were bound"),
        }
    }
}

impl std::error::Error for LoadError {}
