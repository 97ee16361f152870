//! The message store in Redis, database 0: `dlr:msg:{message_id}` holds the message as JSON, and
//! `dlr:idx:{vendor_id}:{vendor_message_id}` the message_id that a vendor means by its own.
//!
//! Lives on the thread of the store. One pipeline for each batch; nothing is read back to be changed.

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult, Script};
use smpp_shards::feed::Happening;
use smpp_shards::message_id::{IdStyle, MessageId};

use super::message::{StoredMessage, normal_id};
use super::pending::Pending;
use super::{Asked, StoreError, TTL_SECONDS};

/// The database of messages.
pub(super) const DATABASE: i64 = 0;

const MESSAGE: &[u8] = b"dlr:msg:";
const INDEX: &[u8] = b"dlr:idx:";

/// Both steps of a look-up in one round trip.
const LOOK_UP: &str = "local id = redis.call('GET', KEYS[1])
if not id then return false end
return redis.call('GET', ARGV[1] .. id)";

/// Writes all of it with one pipeline; a message that was only accepted does not replace what is known of it.
pub(super) async fn write(connection: &mut MultiplexedConnection, pending: &Pending) -> RedisResult<()> {
    if pending.is_empty() {
        return redis::cmd("PING").exec_async(connection).await;
    }
    pipeline(pending).exec_async(connection).await
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

fn pipeline(pending: &Pending) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(2 * pending.len());
    let (mut key, mut json) = (Vec::with_capacity(128), Vec::with_capacity(1024));
    for known in pending.iter() {
        let id = known.latest.id.text(IdStyle::Uuid);
        key.clear();
        key.extend_from_slice(MESSAGE);
        key.extend_from_slice(&id);
        json.clear();
        // Writing numbers and texts to memory cannot fail.
        let _ = serde_json::to_writer(&mut json, &known.message());
        let set = pipeline.cmd("SET").arg(&key[..]).arg(&json[..]).arg("EX").arg(TTL_SECONDS);
        if known.latest.happening == Happening::Accepted {
            set.arg("NX");
        }
        set.ignore();
        let Some(sent) = known.sent else { continue };
        let normal = normal_id(sent.vendor_message_id, sent.vendor_id_format);
        if !normal.is_empty() {
            let index = index_key(sent.vendor, &normal);
            pipeline.cmd("SET").arg(index).arg(&id[..]).arg("EX").arg(TTL_SECONDS).ignore();
        }
    }
    pipeline
}

fn index_key(vendor: &[u8], normal_id: &[u8]) -> Vec<u8> {
    [INDEX, vendor, b":", normal_id].concat()
}
