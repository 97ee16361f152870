//! What happens on the shards, as lines of the log.
//!
//! The names of fields are those of the tables and metrics: `customer_id` is the account_id (or system_id),
//! `vendor_id` the row's id (or instance_name).

use core::fmt::Write as _;

use smpp_pdu::CommandStatus;
use smpp_shards::trace::Direction;
use smpp_shards::{CloseCause, CustomerId, EndReason, Event, PduPeer, ShardId, Snapshot, VendorId};

use super::{Field, Log};
use crate::config::LogLevel;

const SERVER: &str = "smpp_server";
const CLIENT: &str = "smpp_client";
const JOURNAL: &str = "journal";

/// What helps against a journal that is full by its bound.
pub(crate) const ROOM_CURE: &str =
    "raise [journal] max_mb and restart, or let end what stays open: `smpp-gateway journal inspect` tells it";

/// Writes one event.
pub(super) fn write(log: &Log, shard: ShardId, event: &Event, snapshot: &Snapshot) {
    let names = Names { snapshot };
    match event {
        Event::AcceptFailed { reason } => {
            let fields = [("reason", Field::Text(reason)), ("shard", number(shard))];
            log.write(LogLevel::Error, SERVER, "connections cannot be accepted", &fields);
        }
        Event::JournalFails { reason } => {
            let fields = [("reason", Field::Text(reason)), ("shard", number(shard))];
            log.write(LogLevel::Error, JOURNAL, "the journal cannot be written: new messages are refused", &fields);
        }
        Event::JournalTrouble { reason } => {
            let fields = [("reason", Field::Text(reason)), ("shard", number(shard))];
            log.write(LogLevel::Warn, JOURNAL, "trouble with the journal's files", &fields);
        }
        Event::JournalWorks => {
            log.write(LogLevel::Info, JOURNAL, "the journal is written again", &[("shard", number(shard))]);
        }
        Event::JournalFull { bytes, bytes_max } => {
            let fields = [
                ("bytes", Field::Number(*bytes)),
                ("bytes_max", Field::Number(*bytes_max)),
                ("cure", Field::Text(ROOM_CURE)),
                ("shard", number(shard)),
            ];
            log.write(LogLevel::Error, JOURNAL, "the journal is full: new messages are refused", &fields);
        }
        Event::JournalHasRoom { bytes, bytes_max } => {
            let fields = [
                ("bytes", Field::Number(*bytes)),
                ("bytes_max", Field::Number(*bytes_max)),
                ("cure", Field::Text(ROOM_CURE)),
                ("shard", number(shard)),
            ];
            log.write(LogLevel::Info, JOURNAL, "the journal has room: new messages are accepted again", &fields);
        }
        Event::SessionBound { .. }
        | Event::BindRejected { .. }
        | Event::LobbyClosed { .. }
        | Event::HandshakeFailed { .. }
        | Event::SessionClosed { .. } => write_session(log, shard, event, names),
        Event::LinkBound { .. }
        | Event::LinkConnectFailed { .. }
        | Event::LinkDown { .. }
        | Event::VendorAlert { .. } => write_link(log, shard, event, names),
        Event::PduShown { .. } => write_pdu(log, shard, event, names),
        Event::MessageAnswered { .. } => write_message(log, shard, event, names),
        Event::ReceiptUnknown { vendor, message_id } => {
            let mut fields = names.fields_of(*vendor);
            fields.extend([("vendor_message_id", Field::Text(message_id)), ("shard", number(shard))]);
            log.write(LogLevel::Warn, "dlr", "receipt matches no message", &fields);
        }
        Event::DeliverRejected { vendor, dest, status } => {
            let status = status_name(*status);
            let mut fields = names.fields_of(*vendor);
            fields.extend([("dest", Field::Text(dest)), ("status", Field::Text(&status)), ("shard", number(shard))]);
            log.write(LogLevel::Warn, CLIENT, "deliver_sm rejected", &fields);
        }
    }
}

fn write_pdu(log: &Log, shard: ShardId, event: &Event, names: Names<'_>) {
    let Event::PduShown { direction, peer, command, status, sequence_number, pdu } = event else { return };
    let (component, mut fields) = match peer {
        PduPeer::Customer(customer) => (SERVER, vec![("customer_id", Field::Text(names.customer(*customer)))]),
        PduPeer::Vendor(vendor) => (CLIENT, names.fields_of(*vendor).into_iter().collect()),
    };
    let (command, status, hex) = (command.to_string(), status_name(*status), hex(pdu));
    fields.extend([
        ("command", Field::Text(&command)),
        ("status", Field::Text(&status)),
        ("sequence_number", Field::Number(u64::from(*sequence_number))),
        ("pdu", Field::Text(&hex)),
        ("shard", number(shard)),
    ]);
    let message = match direction {
        Direction::Received => "PDU received",
        Direction::Sent => "PDU sent",
    };
    log.write(LogLevel::Debug, component, message, &fields);
}

fn hex(octets: &[u8]) -> String {
    let mut text = String::with_capacity(2 * octets.len());
    for octet in octets {
        // Writing to a String cannot fail.
        let _ = write!(text, "{octet:02x}");
    }
    text
}

fn write_message(log: &Log, shard: ShardId, event: &Event, names: Names<'_>) {
    let Event::MessageAnswered { customer, vendor, message_id, source, dest, segments, latency_ms, status, pdu } =
        event
    else {
        return;
    };
    let text = status_name(*status);
    let mut fields =
        vec![("message_id", Field::Text(message_id)), ("customer_id", Field::Text(names.customer(*customer)))];
    fields.extend(names.fields_of(*vendor));
    fields.extend([
        ("source", Field::Text(source)),
        ("dest", Field::Text(dest)),
        ("segments", Field::Number(u64::from(*segments))),
        ("latency_ms", Field::Number(*latency_ms)),
        ("status", Field::Text(&text)),
        ("shard", number(shard)),
    ]);
    let message = if status.is_ok() { "message sent" } else { "message refused by its vendor" };
    log.write(LogLevel::Info, CLIENT, message, &fields);
    if log.level_of(CLIENT) == LogLevel::Debug {
        let hex = hex(pdu);
        let fields = [("message_id", Field::Text(message_id)), ("pdu", Field::Text(&hex)), ("shard", number(shard))];
        log.write(LogLevel::Debug, CLIENT, "submit_sm", &fields);
    }
}

fn write_session(log: &Log, shard: ShardId, event: &Event, names: Names<'_>) {
    match event {
        Event::SessionBound { customer, peer, bind, interface_version } => {
            let peer = peer.to_string();
            let fields = [
                ("customer_id", Field::Text(names.customer(*customer))),
                ("peer", Field::Text(&peer)),
                ("bind", Field::Text(bind)),
                ("interface_version", Field::Number(u64::from(*interface_version))),
                ("shard", number(shard)),
            ];
            log.write(LogLevel::Info, SERVER, "customer bound", &fields);
        }
        Event::BindRejected { system_id, peer, status, reason } => {
            let (peer, status) = (peer.to_string(), status_name(*status));
            let fields = [
                ("system_id", Field::Text(system_id)),
                ("peer", Field::Text(&peer)),
                ("status", Field::Text(&status)),
                ("reason", Field::Text(reason)),
                ("shard", number(shard)),
            ];
            log.write(LogLevel::Warn, SERVER, "bind rejected", &fields);
        }
        Event::LobbyClosed { peer, reason } => {
            let (peer, text) = (peer.to_string(), reason_text(*reason));
            // Health checks and port scanners come and go without a bind.
            let level = match reason {
                EndReason::Connection(CloseCause::EndOfStream | CloseCause::Reset) => LogLevel::Debug,
                reason => level_of(*reason),
            };
            let fields = [("peer", Field::Text(&peer)), ("reason", Field::Text(&text)), ("shard", number(shard))];
            log.write(level, SERVER, "connection closed before a bind", &fields);
        }
        Event::HandshakeFailed { peer, reason } => {
            let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
            let fields = [("peer", Field::Text(&peer)), ("reason", Field::Text(reason)), ("shard", number(shard))];
            log.write(LogLevel::Warn, SERVER, "TLS handshake failed", &fields);
        }
        Event::SessionClosed { customer, peer, reason } => {
            let (peer, text) = (peer.to_string(), reason_text(*reason));
            let fields = [
                ("customer_id", Field::Text(names.customer(*customer))),
                ("peer", Field::Text(&peer)),
                ("reason", Field::Text(&text)),
                ("shard", number(shard)),
            ];
            log.write(level_of(*reason), SERVER, "customer's session ended", &fields);
        }
        _ => {}
    }
}

fn write_link(log: &Log, shard: ShardId, event: &Event, names: Names<'_>) {
    match event {
        Event::LinkBound { vendor, link, local } => {
            let local = local.map(|local| local.to_string()).unwrap_or_default();
            let mut fields = names.fields_of(*vendor);
            fields.extend([
                ("link", Field::Number(u64::from(link.0))),
                ("local", Field::Text(&local)),
                ("shard", number(shard)),
            ]);
            log.write(LogLevel::Info, CLIENT, "vendor bound", &fields);
        }
        Event::LinkConnectFailed { vendor, link, failure, again_ms } => {
            let local = failure.local.map(|local| local.to_string()).unwrap_or_default();
            let mut fields = names.fields_of(*vendor);
            fields.extend([
                ("link", Field::Number(u64::from(link.0))),
                ("step", Field::Text(failure.step.name())),
                ("local", Field::Text(&local)),
                ("reason", Field::Text(&failure.reason)),
                ("again_ms", Field::Number(*again_ms)),
                ("shard", number(shard)),
            ]);
            log.write(LogLevel::Warn, CLIENT, "vendor could not be connected", &fields);
        }
        Event::LinkDown { vendor, link, local, reason, again_ms, unanswered } => {
            let local = local.map(|local| local.to_string()).unwrap_or_default();
            let text = reason_text(*reason);
            let mut fields = names.fields_of(*vendor);
            fields.extend([
                ("link", Field::Number(u64::from(link.0))),
                ("local", Field::Text(&local)),
                ("reason", Field::Text(&text)),
                ("unanswered", Field::Number(u64::from(*unanswered))),
                ("shard", number(shard)),
            ]);
            fields.extend(again_ms.map(|again_ms| ("again_ms", Field::Number(again_ms))));
            let level = if *unanswered > 0 { LogLevel::Warn } else { level_of(*reason) };
            log.write(level, CLIENT, "vendor's link is down", &fields);
        }
        Event::VendorAlert { vendor, failures } => {
            let mut fields = names.fields_of(*vendor);
            fields.extend([("failures", Field::Number(u64::from(*failures))), ("shard", number(shard))]);
            log.write(LogLevel::Error, CLIENT, "vendor keeps failing", &fields);
        }
        _ => {}
    }
}

/// A status as the specification calls it, else as a number.
pub(crate) fn status_name(status: CommandStatus) -> String {
    status.name().map_or_else(|| format!("{:#010x}", status.0), str::to_owned)
}

/// Why something ended, in words.
pub(crate) fn reason_text(reason: EndReason) -> String {
    match reason {
        EndReason::Unbound => "the peer unbound".into(),
        EndReason::Connection(CloseCause::EndOfStream) => "the peer closed the connection".into(),
        EndReason::Connection(CloseCause::Reset) => "the connection was reset".into(),
        EndReason::Connection(CloseCause::Tls) => "TLS broke".into(),
        EndReason::Connection(CloseCause::WriteStalled) => "the peer took nothing of what was sent".into(),
        EndReason::BindTimer => "no bind in time".into(),
        EndReason::Inactive => "the peer was silent and answered no enquire_link".into(),
        EndReason::Framing { command_length } => format!("framing lost: command_length {command_length}"),
        EndReason::BindRefused(status) => format!("bind refused with {}", status_name(status)),
        EndReason::BindUnanswered => "the bind was not answered in time".into(),
        EndReason::Draining => "the gateway stops".into(),
        EndReason::Ended => "an operator ended it".into(),
        EndReason::Removed => "the configuration no longer has it".into(),
        EndReason::Changed => "its settings have changed".into(),
    }
}

fn level_of(reason: EndReason) -> LogLevel {
    match reason {
        EndReason::Unbound | EndReason::Draining | EndReason::Ended | EndReason::Removed | EndReason::Changed => {
            LogLevel::Info
        }
        _ => LogLevel::Warn,
    }
}

fn number(shard: ShardId) -> Field<'static> {
    Field::Number(u64::from(shard.0))
}

#[derive(Clone, Copy)]
struct Names<'s> {
    snapshot: &'s Snapshot,
}

impl<'s> Names<'s> {
    fn customer(self, id: CustomerId) -> &'s str {
        self.snapshot.customer(id).map_or("?", |customer| customer.name.as_str())
    }

    fn vendor(self, id: VendorId) -> &'s str {
        self.snapshot.vendor(id).map_or("?", |vendor| vendor.settings.vendor_id())
    }

    /// Who a vendor is: its vendor_id, and its name where that is another.
    fn fields_of(self, id: VendorId) -> Vec<(&'static str, Field<'s>)> {
        let vendor_id = self.vendor(id);
        let name = self.snapshot.vendor(id).map(|vendor| vendor.settings.instance_name.as_str());
        let name = name.filter(|name| *name != vendor_id).map(|name| ("instance_name", Field::Text(name)));
        [("vendor_id", Field::Text(vendor_id))].into_iter().chain(name).collect()
    }
}
