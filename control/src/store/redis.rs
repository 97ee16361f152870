//! The message store in Redis, database 0: `dlr:msg:{message_id}` holds the message as JSON, and
//! `dlr:idx:{vendor_id}:{vendor_message_id}` the message_id that a vendor means by its own.
//!
//! Lives on the thread of the store. One pipeline for each batch; nothing is read back to be changed.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisResult, Script};
use smpp_shards::feed::Happening;
use smpp_shards::message_id::{IdStyle, MessageId};
use tokio::task::JoinSet;

use super::message::{Known, StoredMessage, normal_id};
use super::pending::Pending;
use super::{Asked, StoreError, TTL_SECONDS};

/// The database of messages.
pub(crate) const DATABASE: i64 = 0;

const MESSAGE: &[u8] = b"dlr:msg:";
const INDEX: &[u8] = b"dlr:idx:";

/// Messages of one pipeline: few enough for it to stay in the cache until it is sent.
const PIPELINE_MESSAGES: usize = 256;

/// Both steps of a look-up in one round trip.
const LOOK_UP: &str = "local id = redis.call('GET', KEYS[1])
if not id then return false end
return redis.call('GET', ARGV[1] .. id)";

/// Writes all of it, in pipelines that are sent one after the other without waiting for answers in between; a message that
/// was only accepted does not replace what is known of it.
pub(super) async fn write(connection: &mut MultiplexedConnection, pending: &Pending) -> RedisResult<()> {
    if pending.is_empty() {
        return redis::cmd("PING").exec_async(connection).await;
    }
    let mut under_way = JoinSet::new();
    let mut messages = pending.iter();
    loop {
        let next = pipeline(messages.by_ref().take(PIPELINE_MESSAGES));
        if next.is_empty() {
            break;
        }
        let mut connection = connection.clone();
        under_way.spawn(async move { next.exec_async(&mut connection).await });
        // It is on its way while the next one is put together, and still in the cache.
        tokio::task::yield_now().await;
    }
    let mut result = Ok(());
    while let Some(ended) = under_way.join_next().await {
        // A task that panics ends the process.
        result = result.and(ended.unwrap_or(Ok(())));
    }
    result
}

/// The message of that id.
pub(super) async fn message(
    connection: &mut MultiplexedConnection,
    id: MessageId,
) -> Result<Option<StoredMessage<'static>>, StoreError> {
    let key = [MESSAGE, &id.text(IdStyle::Uuid)].concat();
    read(redis::cmd("GET").arg(key).query_async(connection).await)
}

/// The message that a vendor knows by that id.
pub(super) async fn by_vendor_id(
    connection: &mut MultiplexedConnection,
    asked: &Asked,
) -> Result<Option<StoredMessage<'static>>, StoreError> {
    let script = Script::new(LOOK_UP);
    let key = index_key(&asked.vendor, &asked.normal_id);
    read(script.key(key).arg(MESSAGE).invoke_async(connection).await)
}

fn read(found: RedisResult<Option<Vec<u8>>>) -> Result<Option<StoredMessage<'static>>, StoreError> {
    match found {
        Err(error) if crate::redis::ends_connection(&error) => Err(StoreError::Away),
        Err(error) => Err(StoreError::Failed(crate::redis::reason(&error))),
        Ok(None) => Ok(None),
        // Something else stands there: it is no message of ours.
        Ok(Some(json)) => Ok(serde_json::from_slice(&json).ok()),
    }
}

fn pipeline<'a>(messages: impl Iterator<Item = Known<'a>>) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(2 * PIPELINE_MESSAGES);
    let mut json = Vec::with_capacity(1024);
    for known in messages {
        let id = known.latest.id.text(IdStyle::Uuid);
        json.clear();
        // Writing numbers and texts to memory cannot fail.
        let _ = serde_json::to_writer(&mut json, &known.message());
        let mut set = new_set(MESSAGE.len() + id.len() + json.len());
        set.arg([MESSAGE, &id].concat()).arg(&json[..]).arg("EX").arg(TTL_SECONDS);
        if known.latest.happening == Happening::Accepted {
            set.arg("NX");
        }
        pipeline.add_command(set).ignore();
        let Some(sent) = known.sent else { continue };
        let normal = normal_id(sent.vendor_message_id, sent.vendor_id_format);
        if !normal.is_empty() {
            let index = index_key(sent.vendor, &normal);
            let mut set = new_set(index.len() + id.len());
            set.arg(index).arg(&id[..]).arg("EX").arg(TTL_SECONDS);
            pipeline.add_command(set).ignore();
        }
    }
    pipeline
}

/// A `SET` with room for so many octets of key and value, and for its options.
fn new_set(octets: usize) -> Cmd {
    const OPTIONS: usize = 32;
    let mut set = Cmd::with_capacity(6, octets + OPTIONS);
    set.arg("SET");
    set
}

fn index_key(vendor: &[u8], normal_id: &[u8]) -> Vec<u8> {
    [INDEX, vendor, b":", normal_id].concat()
}
