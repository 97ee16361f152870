//! What `smpp-bench smsc` can be told.
//!
//! Read once at start; nothing here runs while messages flow.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, ValueEnum};
use smpp_pdu::CommandStatus;

use crate::clock::MILLISECOND;

/// Which submits get a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Receipts {
    /// None.
    None,
    /// Those whose registered_delivery asks for one.
    Asked,
    /// All that are accepted.
    Always,
}

/// The receipts of different vendors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReceiptFormat {
    /// Text as in SMPP 3.4 appendix B, and the TLVs receipted_message_id and message_state.
    Standard,
    /// The text without sub, dlvrd and text; no TLVs.
    NoSub,
    /// The text with ten-digit dates, which are the specification's; no TLVs. (Standard has seconds, as most vendors.)
    ShortDates,
    /// The id in hex in submit_sm_resp and in decimal in the text; no TLVs.
    HexInRespDecimalInReceipt,
    /// The TLVs alone, no text.
    TlvOnly,
    /// The text alone, no TLVs.
    TextOnly,
    /// The id's letters small in submit_sm_resp and capital in the text; no TLVs.
    OddCase,
    /// The id with four zeros before it in the text; no TLVs.
    LeadingZeros,
}

/// How message ids are written in submit_sm_resp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MessageIdFormat {
    /// 14 digits of hex, small letters.
    Hex,
    /// 16 decimal digits.
    Decimal,
    /// 36 characters.
    Uuid,
}

/// A time between two bounds, both included; nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// The shortest.
    pub low: u64,
    /// The longest.
    pub high: u64,
}

impl FromStr for Delay {
    type Err = String;

    /// Milliseconds: `20`, or `5..50` for anything between.
    fn from_str(text: &str) -> Result<Self, String> {
        let (low, high) = text.split_once("..").unwrap_or((text, text));
        let read = |text: &str| match text.parse::<f64>() {
            Ok(value) if value >= 0.0 && value.is_finite() => Ok((value * MILLISECOND as f64) as u64),
            _ => Err(format!("{text}: not a number of milliseconds")),
        };
        let delay = Self { low: read(low)?, high: read(high)? };
        if delay.low <= delay.high { Ok(delay) } else { Err(format!("{text}: the first is above the second")) }
    }
}

fn status(text: &str) -> Result<u32, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok().or_else(|| CommandStatus::from_name(text).map(|status| status.0)),
    };
    number.ok_or_else(|| format!("{text}: neither a number nor the name of a command_status"))
}

/// A vendor's SMSC: answers submits, well or badly as told, and sends receipts and messages.
#[derive(Clone, Debug, Parser)]
#[command(name = "smpp-bench smsc", disable_version_flag = true)]
pub struct SmscOptions {
    /// Where to listen, host:port; may be given several times; port 0 picks a free one
    #[arg(long, value_name = "HOST:PORT", required = true)]
    pub listen: Vec<String>,
    /// Take only this system_id
    #[arg(long)]
    pub system_id: Option<String>,
    /// Take only this password
    #[arg(long)]
    pub password: Option<String>,
    /// Milliseconds before a submit is answered, D or A..B
    #[arg(long, default_value = "0", value_name = "MILLISECONDS")]
    pub answer_delay_ms: Delay,
    /// So many of 100 submits get ESME_RTHROTTLED
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    pub throttle_percent: f64,
    /// So many of 100 submits get --fail-status
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    pub fail_percent: f64,
    /// The status of those, a number, 0x…, or a name
    #[arg(long, default_value = "ESME_RSUBMITFAIL", value_parser = status)]
    pub fail_status: u32,
    /// So many of 100 submits are never answered
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    pub silent_percent: f64,
    /// So many of 100 submits are answered twice
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    pub twice_percent: f64,
    /// So many of 100 submits are answered under a sequence number that nobody used
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    pub unknown_sequence_percent: f64,
    /// Accept so many submits a second, with bursts of a tenth of a second; ESME_RTHROTTLED to the rest
    #[arg(long, value_name = "MSG/S")]
    pub capacity_rate: Option<f64>,
    /// Close a connection after so many submits on it
    #[arg(long, value_name = "MESSAGES")]
    pub drop_after: Option<u64>,
    /// Close a connection after so many submits on it, in the middle of the last answer
    #[arg(long, value_name = "MESSAGES")]
    pub cut_after: Option<u64>,
    /// Close all connections every so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub drop_every: Option<f64>,
    /// Refuse binds with ESME_RBINDFAIL for so many seconds from the start
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS")]
    pub refuse_binds_for: f64,
    /// Which submits get a receipt
    #[arg(long, value_enum, default_value_t = Receipts::Asked)]
    pub receipts: Receipts,
    /// Milliseconds from the answer to the receipt, D or A..B
    #[arg(long, default_value = "0", value_name = "MILLISECONDS")]
    pub receipt_delay_ms: Delay,
    /// Send the receipt before the answer (as far as the deliver window has room)
    #[arg(long)]
    pub receipts_early: bool,
    /// How receipts look
    #[arg(long, value_enum, default_value_t = ReceiptFormat::Standard)]
    pub receipt_format: ReceiptFormat,
    /// So many of 100 receipts say UNDELIV instead of DELIVRD
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    pub undelivered_percent: f64,
    /// So many of 100 receipts are sent twice
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    pub double_receipt_percent: f64,
    /// Milliseconds before a receipt answered ESME_RX_T_APPN (or a queue-full status) is sent again
    #[arg(long, default_value_t = 1000, value_name = "MILLISECONDS")]
    pub receipt_retry_ms: u64,
    /// How often a receipt is sent at the most
    #[arg(long, default_value_t = 10)]
    pub receipt_tries: u8,
    /// Receipts and messages waiting for a customer at the most; what is more is dropped and counted
    #[arg(long, default_value_t = 2_000_000)]
    pub receipt_queue: usize,
    /// Unanswered deliver_sm on a connection at the most
    #[arg(long, default_value_t = 100)]
    pub deliver_window: u32,
    /// How message ids look
    #[arg(long, value_enum, default_value_t = MessageIdFormat::Hex)]
    pub message_id_format: MessageIdFormat,
    /// Mobile-originated messages a second, in turn to every system_id bound for receiving
    #[arg(long, value_name = "MSG/S")]
    pub mo_rate: Option<f64>,
    /// Their destination
    #[arg(long, default_value = "12025550100", value_name = "ADDRESS")]
    pub mo_to: String,
    /// Their source
    #[arg(long, default_value = "12025550199", value_name = "ADDRESS")]
    pub mo_from: String,
    /// Their text
    #[arg(long, default_value = "hello")]
    pub mo_text: String,
    /// Seconds between two enquire_links on a connection; 0: none
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS")]
    pub enquire_interval: f64,
    /// Seed of everything that is left to chance
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// PEM certificate chain; with --tls-key every listener speaks TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// PEM key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Write a line per submit: our message id, source, destination, short_message in hex, status
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Write the counters at exit as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Print a line of counters every so many seconds; 0: none
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS")]
    pub stats_interval: f64,
}

impl SmscOptions {
    /// Options from arguments as on the command line (without the program's name), for use inside a process.
    ///
    /// # Errors
    /// A sentence on the argument that is wrong.
    pub fn from_arguments(arguments: &[&str]) -> Result<Self, String> {
        Self::try_parse_from(std::iter::once("smsc").chain(arguments.iter().copied()))
            .map_err(|error| error.to_string())
    }

    /// Checks what the command line cannot.
    ///
    /// # Errors
    /// A sentence that names the option.
    pub fn check(&self) -> Result<(), String> {
        let fail = |wrong: bool, sentence: &str| if wrong { Err(sentence.to_owned()) } else { Ok(()) };
        for (option, percent) in [
            ("--throttle-percent", self.throttle_percent),
            ("--fail-percent", self.fail_percent),
            ("--silent-percent", self.silent_percent),
            ("--twice-percent", self.twice_percent),
            ("--unknown-sequence-percent", self.unknown_sequence_percent),
            ("--undelivered-percent", self.undelivered_percent),
            ("--double-receipt-percent", self.double_receipt_percent),
        ] {
            fail(!(0.0..=100.0).contains(&percent), &format!("{option}: from 0 to 100"))?;
        }
        fail(self.fail_percent > 0.0 && self.fail_status == 0, "--fail-status: 0 is ESME_ROK, no failure")?;
        fail(self.deliver_window == 0 || self.deliver_window > 65_536, "--deliver-window: from 1 to 65536")?;
        fail(self.mo_rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1e6)), "--mo-rate: above 0, at most a million")?;
        fail(self.capacity_rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())), "--capacity-rate: above 0")?;
        fail(self.drop_every.is_some_and(|seconds| seconds.is_nan() || seconds <= 0.0), "--drop-every: above 0")?;
        fail(self.drop_after == Some(0) || self.cut_after == Some(0), "--drop-after, --cut-after: above 0")?;
        fail(self.receipt_tries == 0, "--receipt-tries: at least 1")?;
        fail(self.mo_text.len() > 254, "--mo-text: at most 254 octets")?;
        fail(self.mo_to.is_empty(), "--mo-to: at least one digit")?;
        fail(self.mo_to.len() > 20 || self.mo_from.len() > 20, "--mo-to, --mo-from: at most 20 octets")
    }

    /// Whether every submit is simply answered at once: no delay, no fault, no limit.
    pub(super) fn is_plain(&self) -> bool {
        let chances = [self.throttle_percent, self.fail_percent, self.silent_percent, self.twice_percent];
        chances.iter().all(|&percent| percent <= 0.0)
            && self.unknown_sequence_percent <= 0.0
            && self.capacity_rate.is_none()
            && self.drop_after.is_none()
            && self.cut_after.is_none()
            && self.answer_delay_ms == Delay::default()
            && self.record.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_one_number_or_two() {
        assert_eq!("20".parse(), Ok(Delay { low: 20_000_000, high: 20_000_000 }));
        assert_eq!("0.5..2".parse(), Ok(Delay { low: 500_000, high: 2_000_000 }));
        assert!("2..1".parse::<Delay>().is_err());
        assert!("fast".parse::<Delay>().is_err());
    }

    #[test]
    fn a_status_is_a_number_or_a_name() {
        assert_eq!((status("0x45"), status("69"), status("ESME_RSUBMITFAIL")), (Ok(0x45), Ok(0x45), Ok(0x45)));
        assert!(status("nonsense").is_err());
    }

    #[test]
    fn a_percentage_is_from_0_to_100_and_a_failure_is_no_success() {
        let check = |arguments: &[&str]| {
            let listen = ["--listen", "127.0.0.1:0"];
            SmscOptions::from_arguments(&[&listen, arguments].concat()).and_then(|options| options.check())
        };
        assert_eq!(check(&["--throttle-percent", "100", "--fail-status", "0"]), Ok(()));
        for wrong in ["101", "NaN"] {
            assert_eq!(check(&["--silent-percent", wrong]), Err("--silent-percent: from 0 to 100".into()));
        }
        assert!(check(&["--fail-percent", "5", "--fail-status", "0"]).is_err());
    }
}
