//! What the simulated SMSC makes of PDUs, and how it misbehaves when told to.
//!
//! Part of the event loop; makes no system call.

use std::io::Write;

use smpp_pdu::bind::Bind;
use smpp_pdu::command::CommandId;
use smpp_pdu::message::ShortMessage;
use smpp_pdu::{CommandStatus, Deframed, Header, deframe, encode};

use super::connection::{Bound, Connection};
use super::delivery::{Delivery, answer_id};
use super::options::Receipts;
use super::server::{Later, Server};
use crate::clock::{self, MILLISECOND};
use crate::wire::PDU_BYTES_MAX;

/// What we call ourselves in bind_resp.
const OUR_NAME: &[u8] = b"smpp-bench";

impl Server {
    /// Handles every whole PDU at the front of `octets` and says how many octets that were.
    #[inline]
    pub(super) fn take_pdus(&mut self, index: usize, connection: &mut Connection, octets: &[u8], now: u64) -> usize {
        let mut used = 0;
        while !connection.closing {
            match deframe(&octets[used..], PDU_BYTES_MAX) {
                Deframed::Pdu { header, pdu } => {
                    used += pdu.len();
                    if header.command_id == CommandId::SUBMIT_SM {
                        self.on_submit(index, connection, header.sequence_number, pdu, now);
                    } else {
                        self.on_other(index, connection, header, pdu);
                    }
                }
                Deframed::NeedMore { .. } => break,
                Deframed::Fatal { sequence_number, .. } => {
                    self.counters.bad_frames += 1;
                    nack(connection, CommandStatus::ESME_RINVCMDLEN, sequence_number);
                    connection.closing = true;
                }
            }
        }
        used
    }

    #[inline]
    fn on_submit(&mut self, index: usize, connection: &mut Connection, sequence: u32, pdu: &[u8], now: u64) {
        self.counters.submits += 1;
        connection.submits += 1;
        connection.unanswered += 1;
        self.counters.unanswered_max = self.counters.unanswered_max.max(connection.unanswered);
        let message = match ShortMessage::decode(pdu) {
            Ok(message) if connection.can_submit() => message,
            Ok(_) => return self.answer(connection, sequence, CommandStatus::ESME_RINVBNDSTS, 0),
            Err(error) => return self.answer(connection, sequence, error.status(), 0),
        };
        if self.plain && !self.wants_receipt(&message) {
            let id = self.take_id();
            return self.answer(connection, sequence, CommandStatus::ESME_ROK, id);
        }
        self.on_submit_with_care(index, connection, sequence, &message, now);
    }

    /// A submit that gets more than an answer at once.
    fn on_submit_with_care(
        &mut self,
        index: usize,
        connection: &mut Connection,
        sequence: u32,
        message: &ShortMessage<'_>,
        now: u64,
    ) {
        let status = self.judge(now);
        let id = if status.is_ok() { self.take_id() } else { 0 };
        self.write_record(message, status, id);
        if self.random.chance(self.options.silent_percent) {
            self.counters.silent += 1;
            return;
        }
        let answer_after = self.random.between(self.options.answer_delay_ms.low, self.options.answer_delay_ms.high);
        let receipt = (status.is_ok() && self.wants_receipt(message)).then(|| {
            let delivered = !self.random.chance(self.options.undelivered_percent);
            Delivery::receipt(id, message, delivered, self.today.date())
        });
        if let Some(receipt) = receipt.filter(|_| self.options.receipts_early) {
            self.deliver_before_answer(connection, receipt);
        }
        self.answer_after(index, connection, sequence, status, id, now, answer_after);
        if let Some(receipt) = receipt.filter(|_| !self.options.receipts_early) {
            let delay = self.options.receipt_delay_ms;
            let after = answer_after + self.random.between(delay.low, delay.high);
            let times = 1 + u8::from(self.random.chance(self.options.double_receipt_percent));
            for _ in 0..times {
                self.deliver_after(connection.account, receipt, now, after);
            }
        }
        self.drop_if_told(connection);
    }

    #[inline]
    fn wants_receipt(&self, message: &ShortMessage<'_>) -> bool {
        match self.options.receipts {
            Receipts::None => false,
            Receipts::Asked => message.registered_delivery & 0x03 != 0,
            Receipts::Always => true,
        }
    }

    /// The status that chance and capacity give a submit.
    fn judge(&mut self, now: u64) -> CommandStatus {
        if self.random.chance(self.options.fail_percent) {
            return CommandStatus(self.options.fail_status);
        }
        let throttled = self.random.chance(self.options.throttle_percent)
            || self.bucket.as_mut().is_some_and(|bucket| !bucket.take(now));
        if throttled { CommandStatus::ESME_RTHROTTLED } else { CommandStatus::ESME_ROK }
    }

    #[allow(clippy::too_many_arguments, reason = "one submit's whole answer; a struct would only rename them")]
    fn answer_after(
        &mut self,
        index: usize,
        connection: &mut Connection,
        sequence: u32,
        status: CommandStatus,
        id: u64,
        now: u64,
        after: u64,
    ) {
        let sequence =
            if self.random.chance(self.options.unknown_sequence_percent) { sequence ^ 0x4000_0000 } else { sequence };
        let times = 1 + u8::from(self.random.chance(self.options.twice_percent));
        for _ in 0..times {
            if after == 0 {
                self.answer(connection, sequence, status, id);
            } else {
                let later =
                    Later::Answer { connection: index, generation: connection.generation, sequence, status, id };
                self.wheel.insert(now + after, later);
            }
        }
    }

    /// Writes the answer to a submit into the connection's output.
    #[inline]
    pub(super) fn answer(&mut self, connection: &mut Connection, sequence: u32, status: CommandStatus, id: u64) {
        connection.unanswered = connection.unanswered.saturating_sub(1);
        if status.is_ok() {
            self.counters.accepted += 1;
            let id = answer_id(id, &self.options);
            encode::submit_sm_resp(&mut connection.wire.out, sequence, id.as_bytes());
        } else {
            *self.counters.refused.entry(status.0).or_default() += 1;
            encode::header_only(&mut connection.wire.out, CommandId::SUBMIT_SM_RESP, status, sequence);
        }
    }

    #[inline]
    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// A receipt that overtakes its answer: on the same connection where that can be, else as soon as it may.
    fn deliver_before_answer(&mut self, connection: &mut Connection, receipt: Delivery) {
        if connection.has_room(&self.options) {
            self.counters.count_sent(&receipt);
            connection.deliver(receipt, self.today.date(), &self.options);
        } else {
            self.enqueue(connection.account, receipt);
        }
    }

    fn deliver_after(&mut self, account: usize, delivery: Delivery, now: u64, after: u64) {
        if after == 0 {
            self.enqueue(account, delivery);
        } else {
            self.wheel.insert(now + after, Later::Deliver { account, delivery });
        }
    }

    /// Puts a delivery at the end of an account's queue, if there is room.
    pub(super) fn enqueue(&mut self, account: usize, delivery: Delivery) {
        let queue = &mut self.accounts[account].queue;
        if queue.len() >= self.options.receipt_queue {
            self.counters.receipts_dropped += 1;
            return;
        }
        queue.push_back(delivery);
        self.pump_later(account);
    }

    /// Something has changed on a connection that may let its account's queue move.
    pub(super) fn wake_account(&mut self, connection: &Connection) {
        if connection.can_receive() {
            self.pump_later(connection.account);
        }
    }

    /// Has an account's queue looked at before the turn ends.
    #[inline]
    pub(super) fn pump_later(&mut self, account: usize) {
        if !std::mem::replace(&mut self.accounts[account].wants_pump, true) {
            self.to_pump.push(account);
        }
    }

    fn drop_if_told(&mut self, connection: &mut Connection) {
        if self.options.drop_after.is_some_and(|limit| connection.submits >= limit) {
            self.counters.drops += 1;
            connection.closing = true;
        }
        if self.options.cut_after.is_some_and(|limit| connection.submits >= limit) {
            self.counters.drops += 1;
            connection.closing = true;
            let whole = connection.wire.out.len();
            if connection.wire.unsent() > 5 {
                connection.wire.out.truncate(whole - 5);
            }
        }
    }

    fn write_record(&mut self, message: &ShortMessage<'_>, status: CommandStatus, id: u64) {
        let Some(record) = &mut self.record else { return };
        let id = answer_id(id, &self.options);
        let (source, dest) = (message.source.addr.escape_ascii(), message.dest.addr.escape_ascii());
        // A full disk shows itself at the flush that ends the turn.
        let _ = write!(record, "{} {source} {dest} ", id.as_bytes().escape_ascii());
        for octet in message.text() {
            let _ = write!(record, "{octet:02x}");
        }
        let _ = writeln!(record, " 0x{:08x}", status.0);
    }

    fn on_other(&mut self, index: usize, connection: &mut Connection, header: Header, pdu: &[u8]) {
        let sequence = header.sequence_number;
        let ok = CommandStatus::ESME_ROK;
        match header.command_id {
            CommandId::DELIVER_SM_RESP => self.on_delivered(connection, header),
            command if command.is_bind() => self.on_bind(index, connection, header, pdu),
            CommandId::ENQUIRE_LINK => {
                self.counters.enquire_links += 1;
                encode::header_only(&mut connection.wire.out, CommandId::ENQUIRE_LINK_RESP, ok, sequence);
            }
            CommandId::UNBIND => {
                encode::header_only(&mut connection.wire.out, CommandId::UNBIND_RESP, ok, sequence);
                connection.closing = true;
            }
            CommandId::GENERIC_NACK => self.on_delivered(connection, header),
            command if command.is_response() => {}
            _ => {
                self.counters.unknown_requests += 1;
                nack(connection, CommandStatus::ESME_RINVCMDID, sequence);
            }
        }
    }

    fn on_bind(&mut self, index: usize, connection: &mut Connection, header: Header, pdu: &[u8]) {
        let response = header.command_id.response();
        let (status, body) = self.judge_bind(connection, pdu);
        let (true, Some(body)) = (status.is_ok(), body) else {
            self.counters.binds_refused += 1;
            encode::header_only(&mut connection.wire.out, response, status, header.sequence_number);
            // A second bind on a bound connection is refused and changes nothing.
            connection.closing = connection.bound == Bound::No;
            return;
        };
        self.counters.binds += 1;
        connection.bound = match header.command_id {
            CommandId::BIND_TRANSMITTER => Bound::Transmitter,
            CommandId::BIND_RECEIVER => Bound::Receiver,
            _ => Bound::Transceiver,
        };
        connection.account = self.account(body.system_id);
        if self.options.enquire_interval > 0.0 {
            connection.next_enquire = clock::now() + clock::from_seconds(self.options.enquire_interval);
        }
        if connection.can_receive() {
            self.accounts[connection.account].receivers.push(index);
            self.wake_account(connection);
        }
        let version = (body.interface_version >= 0x34).then_some(0x34);
        encode::bind_resp(&mut connection.wire.out, response, header.sequence_number, OUR_NAME, version);
    }

    fn judge_bind<'a>(&self, connection: &Connection, pdu: &'a [u8]) -> (CommandStatus, Option<Bind<'a>>) {
        let body = match Bind::decode(pdu) {
            Ok(body) => body,
            Err(error) => return (error.status(), None),
        };
        let differs =
            |wanted: &Option<String>, given: &[u8]| wanted.as_ref().is_some_and(|text| text.as_bytes() != given);
        let status = if connection.bound != Bound::No {
            CommandStatus::ESME_RALYBND
        } else if clock::to_seconds(clock::now() - self.started) < self.options.refuse_binds_for {
            CommandStatus::ESME_RBINDFAIL
        } else if differs(&self.options.system_id, body.system_id) {
            CommandStatus::ESME_RINVSYSID
        } else if differs(&self.options.password, body.password) {
            CommandStatus::ESME_RINVPASWD
        } else {
            CommandStatus::ESME_ROK
        };
        (status, Some(body))
    }

    fn account(&mut self, system_id: &[u8]) -> usize {
        if let Some(&account) = self.accounts_by_name.get(system_id) {
            return account;
        }
        self.accounts.push(Default::default());
        self.accounts_by_name.insert(system_id.to_vec(), self.accounts.len() - 1);
        self.accounts.len() - 1
    }

    fn on_delivered(&mut self, connection: &mut Connection, header: Header) {
        let Some(delivery) = connection.answered(header.sequence_number) else {
            self.counters.stray_answers += 1;
            return;
        };
        self.wake_account(connection);
        let status = header.command_status;
        if status.is_ok() {
            match delivery.is_receipt() {
                true => self.counters.receipts_acknowledged += 1,
                false => self.counters.messages_acknowledged += 1,
            }
            return;
        }
        let temporary = [CommandStatus::ESME_RX_T_APPN, CommandStatus::ESME_RMSGQFUL, CommandStatus::ESME_RTHROTTLED]
            .contains(&status);
        if temporary && delivery.tries < self.options.receipt_tries {
            self.counters.deliveries_retried += 1;
            let after = self.options.receipt_retry_ms * MILLISECOND;
            self.deliver_after(connection.account, delivery, clock::now(), after);
        } else {
            self.counters.deliveries_refused += 1;
        }
    }
}

fn nack(connection: &mut Connection, status: CommandStatus, sequence: u32) {
    encode::header_only(&mut connection.wire.out, CommandId::GENERIC_NACK, status, sequence);
}
