//! Every bound of a shard in one place, its unit in its name. What happens at a bound stands beside it.

use crate::journal::BLOCK;

/// Octets of one PDU: a message_payload of 65,535 octets and every other field fit. Beyond it generic_nack with
/// ESME_RINVCMDLEN and the connection is closed, for the framing is lost.
pub const PDU_BYTES_MAX: usize = 70_000;

/// Octets waiting to be sent to one customer session. Beyond it the session's reading stops until half is gone.
pub const SESSION_OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// Octets waiting to be sent to one connection that is not bound yet. Beyond it its reading stops until half is gone.
pub const LOBBY_OUTPUT_BYTES_MAX: usize = 4 * 1024;

/// Octets waiting to be sent to one vendor link. Beyond it the link's window counts as full.
pub const LINK_OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// Capacity that an output buffer keeps when its connection closes; what it grew beyond is given back.
pub const OUTPUT_KEEP_BYTES: usize = 64 * 1024;

/// Capacity that a message's body keeps when its slot is freed.
pub const BODY_KEEP_BYTES: usize = 1024;

/// Unanswered submits of one session where the customer's `smpp_window` sets no smaller one. Beyond it
/// ESME_RTHROTTLED.
pub const SESSION_WINDOW_MAX: u32 = 10_000;

/// Unanswered deliver_sm of one session. Beyond it receipts wait in the customer's queue.
pub const DELIVER_WINDOW_MAX: u32 = 1_024;

/// Unanswered submits of one link at the most (`window_size` is refused above half of it).
pub const LINK_WINDOW_MAX: u32 = 65_536;

/// Links of one vendor at the most (`binds` is refused above it).
pub const VENDOR_BINDS_MAX: u32 = 64;

/// Connections of one shard that are not bound yet. Beyond it a new connection is closed at once.
pub const LOBBY_MAX: usize = 4_096;

/// Customers of one process's life, those that were removed among them: each name keeps its place. Beyond it a new one is
/// refused with a sentence, and the others are used all the same.
pub const CUSTOMER_PLACES_MAX: usize = 1 << 17;

/// Vendors of one process's life, likewise.
pub const VENDOR_PLACES_MAX: usize = 1 << 14;

/// Customers and vendors for which a shard makes room in one turn, when a snapshot brings new ones.
pub const PLACES_PER_TURN: usize = 1024;

/// Places that a shard looks at in one turn for what a snapshot has changed.
pub const CHANGES_LOOKED_AT_PER_TURN: usize = 2048;

/// Customers whose limits and sessions a shard brings up to date in one turn.
pub const CUSTOMERS_CHANGED_PER_TURN: usize = 256;

/// Vendors whose limits and links a shard brings up to date in one turn.
pub const VENDORS_CHANGED_PER_TURN: usize = 8;

/// Messages that a shard takes out of the queues of vendors that are no longer used, in one turn.
pub const MOVED_ON_PER_TURN: usize = 256;

/// Milliseconds until messages that wait for a vendor which is no longer used, and for which no other had room, are offered
/// again.
pub const MOVE_ON_AGAIN_MS: u64 = 1_000;

/// Connections of one shard in all. Beyond it a new connection is closed at once.
pub const CONNECTIONS_MAX: usize = 65_536;

/// Messages of one shard that wait for a vendor's answer or in a vendor's queue. Beyond it ESME_RMSGQFUL.
pub const MESSAGES_MAX: usize = 1 << 20;

/// Messages of its own customers that a shard has given to one other shard first and that are not answered yet. Beyond it
/// that shard's vendors count as full.
pub const RING_OUTSTANDING_MAX: u32 = 1 << 17;

/// Octets staged for one other shard because its ring is full. Beyond it that shard's vendors count as full.
pub const RING_STAGED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Octets of one ring between two shards.
pub const RING_BYTES: usize = 256 * 1024;

/// Octets that go into or come out of a ring with one copy, as far as they are there: few enough to stay in the nearest cache.
pub const RING_COPY_BYTES: usize = 16 * 1024;

/// Octets taken out of one ring in one turn: some hundred and fifty messages. What they cause leaves with the turn, and whoever waits
/// for it works beside this shard instead of after it.
pub const RING_TURN_BYTES: usize = 32 * 1024;

/// Messages for which receipts may be awaited, per shard, at the most (`receipts_awaited` is refused above it). Beyond
/// the setting the oldest is forgotten, and counted. About 120 octets each, taken as they come.
pub const RECEIPTS_AWAITED_MAX: usize = 1 << 24;

/// Receipts of one vendor that wait for their submit_sm_resp. Beyond it the receipt is answered ESME_RX_T_APPN.
pub const EARLY_RECEIPTS_MAX: usize = 1_024;

/// Receipts and MO of one vendor that wait for a customer. Beyond it ESME_RX_T_APPN.
pub const DELIVERIES_PER_VENDOR_MAX: u32 = 16_384;

/// Receipts and MO of one vendor that wait for customers which are absent or silent. Beyond it ESME_RX_T_APPN at
/// once, so that they do not fill the vendor's window (often 10) and other customers' receipts pass.
pub const DELIVERIES_HELD_PER_VENDOR_MAX: u32 = 8;

/// Milliseconds without an answer after which a customer with a full deliver window counts as silent.
pub const CUSTOMER_SILENT_MS: u64 = 1_000;

/// Milliseconds after which an unanswered deliver_sm no longer counts against its session's window, and one that the journal
/// has goes to the customer again.
pub const DELIVER_RESPONSE_MS_MAX: u64 = 60_000;

/// Messages that go to one link of a vendor before the next link's turn: batches make fewer, larger sends.
pub const LINK_RUN: u32 = 32;

/// Milliseconds that a vendor's lane rests after it throttled us: the first time, and doubled up to the second.
pub const THROTTLE_PAUSE_MS_MIN: u64 = 50;
/// See [`THROTTLE_PAUSE_MS_MIN`].
pub const THROTTLE_PAUSE_MS_MAX: u64 = 2_000;

/// Milliseconds between attempts to reach a vendor that cannot be reached at all.
pub const PROBE_MS: u64 = 3_000;

/// Seconds between attempts to bind at a vendor that refused or dropped a bind; the last one repeats.
pub const REBIND_SECONDS: [u64; 6] = [1, 2, 4, 8, 16, 30];

/// Milliseconds for which a bind must have stood to count as a good one: a vendor that takes a bind and drops it at once
/// is tried again after as long as one that refuses it.
pub const STEADY_BIND_MS: u64 = 10_000;

/// Failures in a row after which an alert is given.
pub const ALERT_FAILURES: u32 = 5;

/// Milliseconds that a peer gets to answer our unbind.
pub const UNBIND_MS_MAX: u64 = 2_000;

/// Sessions that one list holds at the most.
pub const SESSIONS_LISTED_MAX: usize = 1_000;

/// Connection slots that are looked through for one list; the next one goes on behind them.
pub const SESSION_SLOTS_PER_LIST: usize = 16_384;

/// Messages of the control port that wait for their answers, per shard. Beyond it ESME_RMSGQFUL.
pub const CONTROL_SUBMITS_MAX: usize = 4_096;

/// Vendors that one message may be offered to.
pub const ROUTE_CANDIDATES_MAX: usize = 8;

/// Milliseconds without progress after which a peer that takes nothing is cut off.
pub const WRITE_STALL_MS_MAX: u64 = 30_000;

/// Milliseconds that a closing connection may take for its last octets.
pub const CLOSE_FLUSH_MS_MAX: u64 = 5_000;

/// The coarsest granularity of session timers, milliseconds.
pub const SESSION_TIMER_STEP_MS: u64 = 50;

/// Milliseconds that a message has been here before they are taken off a relative validity_period, which counts whole seconds.
pub const VALIDITY_STEP_MS: u64 = 1_000;

/// The granularity of message deadlines, milliseconds.
pub const MESSAGE_TIMER_STEP_MS: u64 = 10;

/// Octets of records at which a batch of the journal is full; what comes then is in the next one.
pub const JOURNAL_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Microseconds for which a batch of the journal that waits for more records waits for the next one: where none comes in that
/// time, none is under way.
pub const JOURNAL_COMPANY_US: u64 = 200;

/// Octets at which a batch of the journal waits for no more. Batches are written in whole blocks of 4 KiB: beyond two, no more
/// than a third of what is written is empty.
pub const JOURNAL_COMPANY_BYTES: usize = 2 * BLOCK;

/// Octets free in its last block with which a batch waits for no more: one more record might begin another block.
pub const JOURNAL_COMPANY_FREE_BYTES: usize = 512;

/// Batches of the journal that the host has at the most: one that it writes, and the one after it, which it has not begun.
pub const JOURNAL_BATCHES_OUT: usize = 2;

/// Octets of records that wait for the disk beside those batches. Beyond it new messages are refused, and receipts are not
/// taken over from vendors.
pub const JOURNAL_WAITING_BYTES: usize = 16 * JOURNAL_BATCH_BYTES;

/// Octets of memory that outlive a batch; what a larger one took goes back.
pub const JOURNAL_BATCH_BYTES_KEPT: usize = 2 * JOURNAL_BATCH_BYTES;

/// Milliseconds until a batch that could not be written is tried again.
pub const JOURNAL_REST_MS: u64 = 500;

/// Milliseconds for which a journal that was full by its bound has room before that is told: one that is full again within
/// that time is told once.
pub const JOURNAL_ROOM_MS: u64 = 5_000;

/// Octets of one segment of the journal at the least: any batch fits one.
pub const JOURNAL_SEGMENT_BYTES_MIN: u64 = 8 * 1024 * 1024;

/// Messages kept in the journal, per shard, at the most (`messages_kept` is refused above it). Beyond the setting new ones are
/// refused. About 80 octets each.
pub const MESSAGES_KEPT_MAX: u32 = 1 << 24;

/// Slots of kept messages and receipts that a shard looks at in one turn while it carries a segment forward.
pub const CARRY_LOOK_PER_TURN: u32 = 8192;

/// Records of a segment that it goes through in one turn then.
pub const CARRY_RECORDS_PER_TURN: usize = 512;

/// Messages whose receipts never came that a shard ends in one turn.
pub const OVERDUE_PER_TURN: usize = 1024;

/// Messages and receipts of an older journal that a shard takes over in one turn.
pub const RESTORED_PER_TURN: usize = 1024;

/// Octets staged for another shard beyond which taking over waits.
pub const RESTORED_STAGED_BYTES: usize = 1024 * 1024;

/// Milliseconds until a message that was taken over, and for which no vendor had room, is offered again.
pub const RESTORE_AGAIN_MS: u64 = 100;

/// Submits of one shard that got no answer in time and whose late answers still count. Beyond it the oldest is forgotten: its
/// late answer is counted and settles nothing. About 200 octets each, taken as they come.
pub const LATE_ANSWERS_MAX: usize = 1 << 16;

/// Messages settled by a late answer while another shard had them, that a shard remembers not to send. Beyond it the oldest
/// is forgotten, and sent again.
pub const SETTLED_MAX: usize = 1 << 14;

/// Milliseconds for which a late answer may count at the most (`late_answer_ms` is refused above it).
pub const LATE_ANSWER_MS_MAX: u64 = 24 * 3_600_000;

/// Milliseconds after which a receipt whose message's customer is still to be told looks whether it has been, should nobody
/// have called it.
pub const UNTOLD_REST_MS: u64 = 100;

/// Milliseconds until a receipt that its customer refused for the moment is given again.
pub const DELIVERY_REST_MS: u64 = 5_000;

/// Lines a second that a shard gives the log of single messages (`log_sample`); messages beyond it have none.
pub const SAMPLES_PER_SECOND_MAX: u32 = 50;

/// PDUs a second that a shard shows the log where a component's level is DEBUG, so many received and so many sent; those
/// beyond it are not shown.
pub const SHOWN_PER_SECOND_MAX: u32 = 50;

/// Octets of such a PDU, or of a single message's, that go along; the rest of it is not shown.
pub const SAMPLE_BYTES_MAX: usize = 1_024;

/// Octets of the ring from a shard to the message store. Beyond it what happens to messages is not told to the store, and
/// counted.
pub const FEED_RING_BYTES: usize = 4 * 1024 * 1024;

/// Octets that a turn puts together for that ring before they go into it.
pub const FEED_STAGED_BYTES: usize = 64 * 1024;

/// Places for marks of messages whose last receipt was passed on, so that one which comes again is not looked up and
/// delivered again; a mark goes when newer ones take its place.
pub const RECEIPTS_ENDED: usize = 1 << 16;

/// Receipts of one shard that are being looked up in the message store. Beyond it ESME_RX_T_APPN.
pub const LOOKUPS_MAX: usize = 1_024;

/// Receipts of one vendor of which the store said that it does not know their message, and which are looked up once more.
/// Beyond it ESME_RX_T_APPN.
pub const LOOKUPS_AGAIN_PER_VENDOR_MAX: u32 = 8;

/// Milliseconds until such a receipt is looked up again: another node may have been about to write it.
pub const LOOKUP_AGAIN_MS: u64 = 250;

/// Limits that a shard tells of at one time where they count over all nodes; more of them are told the
/// next time.
pub const LIMITS_TOLD_MAX: usize = 2_048;

/// Sessions of one shard that are traced at one time. Beyond it none is begun.
pub const TRACES_MAX: usize = 4;

/// Octets of the ring of one trace. Beyond it PDUs are left out of the trace, and counted.
pub const TRACE_RING_BYTES: usize = 1024 * 1024;

const _: () = {
    assert!(FEED_RING_BYTES > 4 * FEED_STAGED_BYTES);
    assert!(JOURNAL_SEGMENT_BYTES_MIN as usize > JOURNAL_BATCH_BYTES + 2 * PDU_BYTES_MAX);
    assert!(SESSION_OUTPUT_BYTES_MAX > 2 * PDU_BYTES_MAX);
    assert!(RING_STAGED_BYTES_MAX > RING_BYTES);
    assert!(RING_BYTES > 2 * PDU_BYTES_MAX);
    assert!(LINK_WINDOW_MAX.is_power_of_two());
    assert!(DELIVER_WINDOW_MAX.is_power_of_two());
    assert!(DELIVERIES_HELD_PER_VENDOR_MAX < DELIVERIES_PER_VENDOR_MAX);
    assert!(THROTTLE_PAUSE_MS_MIN < THROTTLE_PAUSE_MS_MAX);
};

/// Problems that are kept with their places; beyond it they are only counted.
pub const PROBLEMS_KEPT_MAX: usize = 1_000;
