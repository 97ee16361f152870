//! Sessions of customers: listed shard by shard, page by page, and ended.

use schemars::JsonSchema;
use serde::Serialize;
use smpp_shards::{Command, Conn, CustomerId, Reply, SessionFacts, SessionName, ShardId, Snapshot};

use super::answer::{self, Answer, Refusal};
use super::call::Call;
use super::messages::customer_of;
use super::vendors::{SHARD_PATIENCE, shard_silent, too_many_commands};
use crate::log::rfc3339;

/// Sessions of one page where no limit is given.
const PAGE: usize = 100;

/// Questions to shards for one page. A page may be shorter than its limit, even empty, and still have a next one.
const ASKED_PER_PAGE: usize = 8;

/// A page of sessions.
#[derive(Serialize, JsonSchema)]
pub(super) struct SessionList {
    success: bool,
    sessions: Vec<SessionView>,
    /// How many are on this page.
    count: usize,
    /// To be given back as `cursor` for the next page; null on the last one. Sessions that come and go between two pages
    /// may be missed.
    next_cursor: Option<String>,
}

/// One session.
#[derive(Serialize, JsonSchema)]
struct SessionView {
    session_id: String,
    customer_id: String,
    smpp_system_id: String,
    /// `bind_transceiver`, `bind_transmitter` or `bind_receiver`.
    bind_type: &'static str,
    /// What the peer says it speaks, such as 0x34.
    interface_version: String,
    peer: String,
    /// `bound`, `leaving` or `unbinding`.
    state: &'static str,
    /// UTC.
    bound_at: String,
    /// Milliseconds since the peer last sent something.
    silent_ms: u64,
    /// Submits without an answer, and how many there may be.
    unanswered: u32,
    smpp_window: u32,
    /// Receipts and messages that the peer has not answered.
    deliveries_unanswered: u32,
    /// False while the peer does not take what is sent to it.
    is_reading: bool,
    shard: u16,
}

/// What comes of ending a session.
#[derive(Serialize, JsonSchema)]
pub(super) struct SessionEnded {
    success: bool,
    session_id: String,
    /// A sentence.
    message: &'static str,
}

pub(super) async fn list(call: Call) -> Answer {
    let snapshot = call.site.snapshot();
    let customer = call.text("customer_id").map(|name| customer_of(&snapshot, name)).transpose()?;
    let limit = call.number("limit").unwrap_or(PAGE);
    let mut at = match call.text("cursor") {
        None => Some((ShardId(0), 0)),
        // A shard that cannot be has no sessions.
        Some(text) => read_cursor(text),
    };
    let mut sessions = Vec::new();
    for _ in 0..ASKED_PER_PAGE {
        let Some((shard, from)) = at.filter(|_| sessions.len() < limit) else { break };
        if shard.index() >= call.site.desk.shards() {
            at = None;
            break;
        }
        let (found, next) = ask(&call, shard, customer, from, limit - sessions.len()).await?;
        sessions.extend(found.iter().map(|facts| view(&snapshot, shard, facts)));
        let following = ShardId(shard.0 + 1);
        let behind = (following.index() < call.site.desk.shards()).then_some((following, 0));
        at = next.map(|next| (shard, next)).or(behind);
    }
    let count = sessions.len();
    let next_cursor = at.map(|(shard, slot)| format!("{shard}-{slot}"));
    answer::ok(&SessionList { success: true, sessions, count, next_cursor })
}

pub(super) async fn end(call: Call) -> Answer {
    let id = call.variable();
    let (shard, session) = session_of(&call)?;
    let command = Command::EndSession { session };
    let mut asked = call.site.desk.ask(shard, command, 1).map_err(|_| too_many_commands())?;
    match asked.next(SHARD_PATIENCE).await {
        Some(Reply::Ended(true)) => {
            let message = "unbind has been sent; the session closes when it is answered, or after two seconds.";
            answer::ok(&SessionEnded { success: true, session_id: id.to_owned(), message })
        }
        Some(Reply::Ended(false)) => Err(no_such_session(id)),
        _ => Err(shard_silent()),
    }
}

async fn ask(
    call: &Call,
    shard: ShardId,
    customer: Option<CustomerId>,
    from: u32,
    limit: usize,
) -> Result<(Vec<SessionFacts>, Option<u32>), Refusal> {
    let command = Command::ListSessions { customer, from, limit };
    let mut asked = call.site.desk.ask(shard, command, 1).map_err(|_| too_many_commands())?;
    match asked.next(SHARD_PATIENCE).await {
        Some(Reply::Sessions { sessions, next }) => Ok((sessions, next)),
        _ => Err(shard_silent()),
    }
}

fn view(snapshot: &Snapshot, shard: ShardId, facts: &SessionFacts) -> SessionView {
    let customer = snapshot.customer(facts.customer);
    SessionView {
        session_id: session_id((shard, facts.name)),
        customer_id: customer.map(|customer| customer.name.clone()).unwrap_or_default(),
        smpp_system_id: customer.map(|customer| customer.settings.smpp_system_id.clone()).unwrap_or_default(),
        bind_type: facts.bind,
        interface_version: format!("{:#04x}", facts.interface_version),
        peer: facts.peer.to_string(),
        state: facts.state,
        bound_at: rfc3339(facts.bound_unix_ms),
        silent_ms: facts.silent_ms,
        unanswered: facts.unanswered,
        smpp_window: facts.window,
        deliveries_unanswered: facts.deliveries_unanswered,
        is_reading: facts.is_reading,
        shard: shard.0,
    }
}

/// The session that a path names, as far as there can be one: its shard knows.
pub(super) fn session_of(call: &Call) -> Result<(ShardId, SessionName), Refusal> {
    let session = read_session_id(call.variable()).filter(|(shard, _)| shard.index() < call.site.desk.shards());
    session.ok_or_else(|| no_such_session(call.variable()))
}

pub(super) fn no_such_session(id: &str) -> Refusal {
    Refusal::not_found(format!("There is no session {id:?}; GET /api/v1/sessions lists them."))
}

/// As lists give it out.
pub(super) fn session_id((shard, session): (ShardId, SessionName)) -> String {
    format!("{shard}-{}-{}", session.conn, session.generation)
}

fn read_session_id(text: &str) -> Option<(ShardId, SessionName)> {
    let mut numbers = text.split('-');
    let shard = ShardId(plain(numbers.next()?)?);
    let (conn, generation) = (Conn(plain(numbers.next()?)?), plain(numbers.next()?)?);
    numbers.next().is_none().then_some((shard, SessionName { conn, generation }))
}

fn read_cursor(text: &str) -> Option<(ShardId, u32)> {
    let (shard, slot) = text.split_once('-')?;
    Some((ShardId(plain(shard)?), plain(slot)?))
}

/// A number without a sign.
fn plain<T: core::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_and_cursors_are_read_as_they_are_written() {
        let name = SessionName { conn: Conn(17), generation: 3 };
        assert_eq!(read_session_id("1-17-3"), Some((ShardId(1), name)));
        for bad in ["", "1-17", "1-17-3-4", "a-1-1", "1--3", "-1-1-1", "70000-1-1", "1-+1-3"] {
            assert_eq!(read_session_id(bad), None, "{bad}");
        }
        assert_eq!(read_cursor("0-9"), Some((ShardId(0), 9)));
        assert_eq!(read_cursor("9"), None);
    }
}
