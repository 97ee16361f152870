//! What `smpp-bench load` can be told, and the checks on it.
//!
//! Read once at start; nothing here runs while messages flow.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use smpp_pdu::Address;
use smpp_pdu::bind::{PASSWORD_LENIENT_MAX, SYSTEM_ID_MAX, SYSTEM_TYPE_MAX};

/// The operation that binds a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BindType {
    /// bind_transceiver: submits, and takes receipts and messages.
    Trx,
    /// bind_transmitter: submits. With --receipts, one receiver session more for each customer.
    Tx,
    /// bind_receiver: takes receipts and messages only.
    Rx,
}

/// Load for any SMPP server: many sessions that submit, closed loop or at a steady rate, and what came of it.
#[derive(Clone, Debug, Parser)]
#[command(name = "smpp-bench load", disable_version_flag = true)]
pub struct LoadOptions {
    /// The server, host:port
    #[arg(long, value_name = "HOST:PORT")]
    pub target: String,
    /// system_id of the sessions (15 octets at most)
    #[arg(long, default_value = "load")]
    pub system_id: String,
    /// Password; `{}` in it stands for the customer's number
    #[arg(long, default_value = "secret")]
    pub password: String,
    /// system_type
    #[arg(long, default_value = "")]
    pub system_type: String,
    /// Sessions that submit
    #[arg(long, default_value_t = 10)]
    pub sessions: u32,
    /// Unanswered submits of a session at the most
    #[arg(long, default_value_t = 100)]
    pub window: u32,
    /// Messages a second over all sessions, evenly spread; left out: as fast as the answers come
    #[arg(long, value_name = "MSG/S")]
    pub rate: Option<f64>,
    /// The grid on which a rate sends, microseconds; a message is due at the first grid point behind its time
    #[arg(long, default_value_t = 250, value_name = "MICROSECONDS")]
    pub tick_us: u64,
    /// How long to measure, seconds (10 unless --count is given)
    #[arg(long, value_name = "SECONDS", conflicts_with = "count")]
    pub duration: Option<f64>,
    /// How many messages to send in all, instead of a time
    #[arg(long, value_name = "MESSAGES")]
    pub count: Option<u64>,
    /// Sending before the measurement, seconds
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS")]
    pub warmup: f64,
    /// Octets of text in a message; above 254 it goes as message_payload
    #[arg(long, default_value_t = 60, value_name = "OCTETS", conflicts_with = "text")]
    pub body: usize,
    /// The text itself
    #[arg(long)]
    pub text: Option<String>,
    /// data_coding; with --text 8 means UCS-2, 3 Latin-1, others ASCII
    #[arg(long, default_value_t = 0)]
    pub data_coding: u8,
    /// Source address: digits, or up to 11 letters
    #[arg(long, default_value = "12025550100")]
    pub source: String,
    /// What destination numbers begin with; the rest counts up
    #[arg(long, default_value = "1555")]
    pub destination_prefix: String,
    /// Digits of a destination number in all
    #[arg(long, default_value_t = 11)]
    pub destination_digits: usize,
    /// How the sessions bind
    #[arg(long, value_enum, default_value_t = BindType::Trx)]
    pub bind_type: BindType,
    /// Ask for receipts, wait for them, and match each to its message
    #[arg(long)]
    pub receipts: bool,
    /// How long to wait for the last receipts, seconds
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    pub receipt_wait: f64,
    /// Spread the sessions over this many customers, named by --system-id-pattern
    #[arg(long, default_value_t = 1)]
    pub customers: u32,
    /// system_id of customer n (from 1), with `{}` for n
    #[arg(long, default_value = "c{}", value_name = "PATTERN")]
    pub system_id_pattern: String,
    /// Sessions more that are bound and only send enquire_link
    #[arg(long, default_value_t = 0)]
    pub idle_sessions: u32,
    /// Seconds between two enquire_links of a session; 0: none
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    pub enquire_interval: f64,
    /// A submit without an answer for so long counts as lost, seconds
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    pub answer_timeout: f64,
    /// Connecting, TLS and binding may take so long each, seconds
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    pub bind_timeout: f64,
    /// Sessions that connect at the same time, at the most
    #[arg(long, default_value_t = 100)]
    pub connect_parallel: u32,
    /// Connect again, after a second, what is dropped while messages flow
    #[arg(long)]
    pub reconnect: bool,
    /// TLS
    #[arg(long)]
    pub tls: bool,
    /// Check the server's certificate by this PEM file
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub tls_ca: Option<PathBuf>,
    /// Take any certificate
    #[arg(long, requires = "tls", conflicts_with = "tls_ca")]
    pub tls_insecure: bool,
    /// Event loops, each on a thread of its own
    #[arg(long, default_value_t = 1)]
    pub threads: u32,
    /// Misbehave: never read once bound
    #[arg(long)]
    pub never_read: bool,
    /// Misbehave: send one octet a second once bound
    #[arg(long)]
    pub slow_bytes: bool,
    /// Misbehave: submit without regard to the window
    #[arg(long)]
    pub flood: bool,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the percentiles as a picture
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// No progress lines
    #[arg(long)]
    pub quiet: bool,
}

impl LoadOptions {
    /// Options from arguments as on the command line (without the program's name), for use inside a process.
    ///
    /// # Errors
    /// A sentence on the argument that is wrong.
    pub fn from_arguments(arguments: &[&str]) -> Result<Self, String> {
        Self::try_parse_from(std::iter::once("load").chain(arguments.iter().copied()))
            .map_err(|error| error.to_string())
    }

    /// Checks what the command line cannot.
    ///
    /// # Errors
    /// A sentence that names the option.
    pub fn check(&self) -> Result<(), String> {
        let fail = |wrong: bool, sentence: &str| if wrong { Err(sentence.to_owned()) } else { Ok(()) };
        fail(self.sessions == 0 && self.idle_sessions == 0, "--sessions: at least one session is needed")?;
        fail(self.window == 0 || self.window > 65_536, "--window: from 1 to 65536")?;
        fail(self.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())), "--rate: above 0")?;
        fail(self.bind_type == BindType::Rx && self.count.is_some(), "--count: sessions bound with rx send nothing")?;
        fail(self.duration.is_some_and(|seconds| !(seconds > 0.0 && seconds.is_finite())), "--duration: above 0")?;
        for (option, seconds) in [
            ("--warmup", self.warmup),
            ("--receipt-wait", self.receipt_wait),
            ("--enquire-interval", self.enquire_interval),
            ("--answer-timeout", self.answer_timeout),
            ("--bind-timeout", self.bind_timeout),
        ] {
            fail(!(seconds >= 0.0 && seconds.is_finite()), &format!("{option}: 0 or more seconds"))?;
        }
        fail(self.tick_us == 0, "--tick-us: above 0")?;
        fail(self.customers == 0, "--customers: at least 1")?;
        fail(self.threads == 0 || self.threads > 256, "--threads: from 1 to 256")?;
        fail(self.connect_parallel == 0, "--connect-parallel: at least 1")?;
        fail(self.tls && self.tls_ca.is_none() && !self.tls_insecure, "--tls: give --tls-ca FILE or --tls-insecure")?;
        fail(self.body > 60_000, "--body: at most 60000 octets")?;
        fail(
            !self.destination_prefix.bytes().all(|octet| octet.is_ascii_digit()),
            "--destination-prefix: digits only",
        )?;
        fail(
            self.destination_digits > 20 || self.destination_digits <= self.destination_prefix.len(),
            "--destination-digits: more than the prefix has, and at most 20",
        )?;
        let is_number =
            self.source.len() <= 20 && self.source.bytes().all(|octet| octet.is_ascii_digit() || octet == b'+');
        fail(
            !is_number && Address::of_name(&self.source).is_none(),
            "--source: at most 20 digits, or a name of at most 11 characters with a letter in it",
        )?;
        fail(
            self.receipts && self.misbehaves(),
            "--receipts: cannot be reconciled with --never-read, --slow-bytes or --flood",
        )?;
        fail(
            self.customers > 1 && !self.system_id_pattern.contains("{}"),
            "--system-id-pattern: needs {} for the customer's number",
        )?;
        // The longest names are the last customer's; what is longer would go out cut, as somebody else's.
        let last = self.customers - 1;
        for (option, text, most) in [
            ("--system-id", self.customer_name(last), SYSTEM_ID_MAX),
            ("--password", self.customer_password(last), PASSWORD_LENIENT_MAX),
            ("--system-type", self.system_type.clone(), SYSTEM_TYPE_MAX),
        ] {
            fail(text.len() > most, &format!("{option}: at most {most} octets, not {text:?}"))?;
        }
        Ok(())
    }

    /// Whether any of the misbehaviours is on: unanswered submits are then no fault of the server.
    pub fn misbehaves(&self) -> bool {
        self.never_read || self.slow_bytes || self.flood
    }

    /// The system_id of customer `number`, from 0.
    pub fn customer_name(&self, number: u32) -> String {
        match self.customers {
            1 => self.system_id.clone(),
            _ => self.system_id_pattern.replace("{}", &(number + 1).to_string()),
        }
    }

    /// The password of customer `number`, from 0.
    pub fn customer_password(&self, number: u32) -> String {
        self.password.replace("{}", &(number + 1).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str]) -> Result<(), String> {
        let target = ["--target", "127.0.0.1:2775"];
        LoadOptions::from_arguments(&[&target, arguments].concat()).and_then(|options| options.check())
    }

    #[test]
    fn seconds_are_numbers_that_come_to_an_end() {
        assert_eq!(check(&["--duration", "0.5", "--warmup", "0"]), Ok(()));
        for wrong in ["NaN", "inf", "0"] {
            assert_eq!(check(&["--duration", wrong]), Err("--duration: above 0".into()));
        }
        for wrong in ["NaN", "inf"] {
            assert_eq!(check(&["--warmup", wrong]), Err("--warmup: 0 or more seconds".into()));
        }
        assert!(check(&["--bind-timeout=-1"]).is_err());
    }

    #[test]
    fn a_source_is_a_number_or_a_name() {
        for right in ["12025550100", "+12025550100", "4711", "", "BRAND 24"] {
            assert_eq!(check(&["--source", right]), Ok(()), "{right:?}");
        }
        for wrong in ["+1202 555", "TWELVELETTERS", "123456789012345678901"] {
            assert!(check(&["--source", wrong]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn receivers_alone_cannot_count_messages() {
        assert_eq!(check(&["--bind-type", "rx", "--duration", "1"]), Ok(()));
        assert!(check(&["--bind-type", "rx", "--count", "5"]).is_err());
    }

    #[test]
    fn a_name_that_would_go_out_cut_is_refused() {
        assert_eq!(check(&["--system-id", "fifteen-octets1"]), Ok(()));
        assert!(check(&["--system-id", "sixteen-octets-1"]).is_err());
        assert_eq!(check(&["--customers", "9", "--system-id-pattern", "fourteen-octe{}"]), Ok(()));
        assert!(check(&["--customers", "100", "--system-id-pattern", "fourteen-octe{}"]).is_err());
        assert!(check(&["--system-type", "thirteen-octe"]).is_err());
    }
}
