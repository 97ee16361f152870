//! What one shard of the gateway decides: sessions, links, routing, limits, windows, queues, receipts.
//!
//! Sans-I/O: octets, events and the time come in; octets, actions and the next deadline go out. Nothing here
//! has a clock, a thread, a socket or a random source of its own, so that the whole gateway runs in a simulator from
//! one seed. A [`Shard`] is owned by value by one host (a pinned thread of the engine, or the simulator); it
//! shares nothing with other shards but the byte rings of [`ring`].
//!
//! The way of a message through the files: [`stream`] cuts it out of the customer's octets, `shard/submit.rs` checks
//! and routes it ([`routing`]), `shard/dispatch.rs` gives it to a vendor's lane and link (on this shard or over
//! [`ring`]), `shard/answer.rs` takes the vendor's answer and gives the customer its own, `shard/receipt.rs` matches
//! the receipt ([`wire`] carries it home) and `shard/deliver.rs` hands it to the customer.

pub mod addresses;
pub mod amount;
pub mod bounds;
pub mod bucket;
pub mod command;
pub mod deadlines;
mod deliveries;
mod early;
pub mod event;
pub mod facts;
pub mod feed;
mod heads;
pub mod histogram;
pub mod journal;
pub mod kept;
mod lane;
mod late;
pub mod lease;
mod ledger;
mod link;
mod lookups;
pub mod message_id;
mod messages;
pub mod names;
pub mod output;
mod pending;
pub mod random;
mod receipts;
mod records;
pub mod report;
pub mod restore;
pub mod ring;
pub mod routing;
mod segments;
pub mod session;
pub mod settings;
mod shard;
mod slab;
pub mod snapshot;
pub mod stream;
pub mod time;
pub mod trace;
pub mod tried;
pub mod window;
pub mod wire;

pub use amount::Amount;
pub use command::{Command, Reply, SessionFacts, SessionName};
pub use event::{EndReason, Event, PduPeer};
pub use feed::{Feed, FeedEnd, FeedReport, StoreAnswer, StoreFinding};
pub use lease::{Grant, Leases, LimitKey, LimitUse};
pub use names::{Conn, CustomerId, LinkId, ShardId, VendorId};
pub use output::{Action, AuthRequest, CloseCause, ConnectFailure, ConnectStep, Output, ReadMode, Verdict};
pub use report::{CustomerCounters, Report, VendorCounters, VendorState};
pub use ring::{Rings, mesh};
pub use session::SessionSeed;
pub use settings::{Accept, GatewaySettings, Settings};
pub use shard::{DrainPhase, JournalSetup, Shard, ShardSetup};
pub use snapshot::{Customer, Problem, Snapshot, Vendor};
pub use time::{Now, Time};
pub use trace::{TraceOrder, TraceReader, TraceRecord, TraceTarget, Traced, trace_ring};
