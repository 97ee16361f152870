//! What a shard counts, copied out once a second for metrics, health and status answers.

use smpp_pdu::CommandStatus;

use crate::amount::Amount;
use crate::event::EndReason;
use crate::feed::FeedReport;
use crate::histogram::{Histogram, Latencies};
use crate::lane::PRIORITIES;
use crate::names::ShardId;

/// Counters of one customer on its home shard, since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomerCounters {
    /// Sessions bound now.
    pub sessions: u32,
    /// Binds that succeeded.
    pub binds: u64,
    /// submit_sm taken in.
    pub submits: u64,
    /// submit_sm answered ESME_ROK.
    pub submits_ok: u64,
    /// submit_sm answered with an error, throttles included.
    pub submits_failed: u64,
    /// What the messages cost that vendors have taken, each once, when the last of it was taken.
    pub cost: Amount,
    /// submit_sm above the customer's rate.
    pub throttled_rate: u64,
    /// submit_sm beyond the session's window.
    pub throttled_window: u64,
    /// Receipts and MO the customer took.
    pub delivered: u64,
    /// Receipts and MO handed back to the vendor because the customer was absent, silent or refused.
    pub undelivered: u64,
    /// Receipts and MO that wait now.
    pub deliveries_waiting: u32,
}

/// State of a vendor as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VendorState {
    /// Not in the configuration, or not active.
    #[default]
    Off,
    /// No bind is up; being connected.
    Connecting,
    /// At least one bind that can submit is up.
    Bound,
    /// Only receiver binds are up.
    ReceiverOnly,
}

impl VendorState {
    /// As it stands in status answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Connecting => "disconnected",
            Self::Bound => "connected",
            Self::ReceiverOnly => "receiver_only",
        }
    }
}

/// Counters and state of one vendor on its home shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VendorCounters {
    /// Now.
    pub state: VendorState,
    /// Binds that are up now.
    pub links_bound: u32,
    /// When the first of them came up, milliseconds since 1970; of the last time while none is up, 0 before the first.
    pub connected_unix_ms: u64,
    /// When one of them came up last, milliseconds since 1970; 0 before the first.
    pub last_bind_unix_ms: u64,
    /// Binds that succeeded.
    pub connects: u64,
    /// Bound links that ended.
    pub disconnects: u64,
    /// Failed attempts in a row, binds that did not stand for a while among them.
    pub failures_in_a_row: u32,
    /// submit_sm sent, retries included.
    pub submits: u64,
    /// What those took from the customer's submit_sm until they were written to the vendor, together, milliseconds.
    pub routed_ms: u64,
    /// Answered ESME_ROK.
    pub submits_ok: u64,
    /// Answered with an error other than a throttle.
    pub submits_failed: u64,
    /// Answered ESME_RTHROTTLED or ESME_RMSGQFUL.
    pub throttled: u64,
    /// Submits whose outcome is unknown: no answer in time, or the link broke.
    pub unknown_outcomes: u64,
    /// Submits of messages whose outcome was unknown already: a vendor may have them twice, or two vendors have them.
    pub possible_duplicates: u64,
    /// Answers to no submit of ours: late, doubled or never asked for.
    pub stray_answers: u64,
    /// Messages refused because the queue was full.
    pub queue_full: u64,
    /// Unanswered submits now.
    pub in_flight: u32,
    /// Messages waiting now.
    pub queued: u32,
    /// The same by priority_flag (SMPP 3.4 section 5.2.14), 0 to 3.
    pub queued_by_priority: [u32; PRIORITIES],
    /// Octets waiting now.
    pub queued_bytes: u64,
    /// Receipts by state: enroute, delivered, expired, deleted, undeliverable, accepted, unknown, rejected
    /// (the message_state values 1 to 8, less one).
    pub receipts: [u64; 8],
    /// Receipts matched through the index.
    pub receipts_matched: u64,
    /// Receipts that were there before their submit_sm_resp and found it.
    pub receipts_early: u64,
    /// Receipts that match no message.
    pub receipts_unknown: u64,
    /// Awaited receipts that were forgotten because the index was full.
    pub receipts_forgotten: u64,
    /// MO taken in.
    pub mobile_originated: u64,
    /// Receipts and MO that wait for a customer now.
    pub deliveries_waiting: u32,
    /// Why the last link ended.
    pub last_end: Option<EndReason>,
    /// The last status with which it refused a submit.
    pub last_refusal: Option<CommandStatus>,
}

/// A shard's journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalReport {
    /// Batches on disk since the start.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Octets written, headers and padding included.
    pub bytes_written: u64,
    /// Batches that could not be written.
    pub failures: u64,
    /// Octets of the segments that are wanted.
    pub bytes: u64,
    /// Nothing new is accepted because it cannot be written, or does not keep up.
    pub is_unwritten: bool,
    /// Nothing new is accepted because the segments take up all the room that they may have.
    pub is_full: bool,
}

impl JournalReport {
    /// Whether nothing new is accepted at present, for one reason or the other.
    pub const fn is_failing(&self) -> bool {
        self.is_unwritten || self.is_full
    }
}

/// Everything one shard tells about itself.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Which shard.
    pub shard: ShardId,
    /// Version of the configuration in force, altogether.
    pub snapshot_version: u64,
    /// Bound customer sessions.
    pub sessions: u32,
    /// Connections that are not bound yet.
    pub lobby: u32,
    /// Binds refused on this shard.
    pub binds_refused: u64,
    /// Answers to submits whose session was gone by then.
    pub answers_without_session: u64,
    /// Messages that wait for a vendor: in its window, in its queue, or, after a restart, for room there.
    pub messages_open: u32,
    /// Receipts and MO that wait for customers.
    pub deliveries_open: u32,
    /// Receipts that are awaited.
    pub receipts_awaited: u32,
    /// Messages in the journal that have not reached their end.
    pub messages_kept: u64,
    /// Receipts and MO that wait for customers, in the journal or at their vendors.
    pub receipts_kept: u64,
    /// Of what an older journal held: how much is still to be taken over, and how much there was.
    pub to_restore: (u64, u64),
    /// Messages that were sent again though a vendor may have them.
    pub possible_duplicates: u64,
    /// Messages that a vendor's late answer has settled.
    pub late_answers_reconciled: u64,
    /// What messages had to wait for, since the start.
    pub latencies: Latencies,
    /// How long the shard's turns took, nanoseconds, since the start; its host counts them.
    pub turns: Histogram,
    /// In journal mode.
    pub journal: Option<JournalReport>,
    /// Where there is a message store.
    pub store: Option<FeedReport>,
    /// Nothing is open: a drain may go on.
    pub is_quiet: bool,
    /// By [`crate::CustomerId`]; those whose home is another shard stay at zero.
    pub customers: Vec<CustomerCounters>,
    /// By [`crate::VendorId`]; those whose home is another shard stay at zero.
    pub vendors: Vec<VendorCounters>,
}
