//! The control thread of the gateway: what supplies the shards and informs the operator.
//!
//! One thread with a tokio runtime of its own, not on a shard's core, and a small bounded pool of threads for
//! bcrypt. It reads the configuration, checks binds, writes the log, and answers on the HTTP control port. No
//! message passes through it, and none waits for it: all that crosses to and from the shards goes over the
//! bounded channels of [`channel`].

pub mod attachments;
pub mod auth;
pub mod channel;
pub mod config;
mod control;
mod http;
pub mod live;
pub mod log;
mod metrics;
mod nodes;
pub mod postgres;
mod process;
mod rates;
mod recovery;
mod redis;
pub mod secrets;
mod service;
mod shard_desk;
mod state;
pub mod store;
pub mod store_lookup;
mod texting;
pub mod tls;
mod trace;
mod vendor_news;
pub mod vendor_table;

pub use attachments::{Attachments, VendorTls};
pub use auth::hash_password;
pub use channel::{
    Bell, ControlChannels, ControlSender, ControlWaker, ShardHandle, ToControl, ToShard, control_channels,
    shard_channel,
};
pub use config::{ConfigError, Configuration, load};
pub use control::{Control, DrainState, Waiting};
pub use live::{Companion, InForce, LiveSetup, ReloadHandle, RowFault};
pub use log::{Field, Log};
pub use recovery::{RecoveryFigures, RecoveryProgress};
pub use redis::look as look_at_redis;
pub use state::Phase;
pub use store::{Store, StoreChannels, StoreKind};
