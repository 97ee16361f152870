//! A vendor that does what the test says and nothing by itself.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smpp_pdu::{CommandId, CommandStatus, ShortMessage, encode};

use super::PATIENCE;
use super::message::deliver_sm;
use super::wire::{Pdu, Wire};

/// A listening vendor.
#[derive(Debug)]
pub(crate) struct Vendor {
    listener: TcpListener,
}

impl Vendor {
    pub(crate) fn listen() -> Self {
        Self { listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next connection of the gateway; its bind is not answered.
    pub(crate) fn accept(&self) -> Link {
        assert!(self.has_caller(PATIENCE), "the gateway does not connect");
        Link(Wire::new(self.listener.accept().unwrap().0))
    }

    /// Whether the gateway connects within that time.
    pub(crate) fn has_caller(&self, within: Duration) -> bool {
        let timeout = Timespec { tv_sec: within.as_secs() as i64, tv_nsec: i64::from(within.subsec_nanos()) };
        poll(&mut [PollFd::new(&self.listener, PollFlags::IN)], Some(&timeout)).unwrap() == 1
    }

    /// The next connection of the gateway, whose bind has been answered ESME_ROK.
    pub(crate) fn accept_bound(&self) -> Link {
        let mut link = self.accept();
        let bind = link.take_bind();
        link.answer_bind(&bind);
        link
    }
}

/// A vendor's end of a link.
pub(crate) struct Link(Wire);

impl Link {
    pub(crate) fn take_bind(&mut self) -> Pdu {
        let bind = self.pdu();
        assert!(bind.command.is_bind(), "{bind:?}");
        bind
    }

    pub(crate) fn answer_bind(&mut self, bind: &Pdu) {
        let mut out = Vec::new();
        encode::bind_resp(&mut out, bind.command.response(), bind.sequence, b"smsc", Some(0x34));
        self.send(&out);
    }

    pub(crate) fn refuse_bind(&mut self, bind: &Pdu, status: CommandStatus) {
        self.send_header(bind.command.response(), status, bind.sequence);
    }

    /// The next submit_sm.
    pub(crate) fn take_submit(&mut self) -> Pdu {
        self.expect(CommandId::SUBMIT_SM)
    }

    /// Takes a submit_sm and answers it with that message id.
    pub(crate) fn accept_submit(&mut self, message_id: &str) -> Pdu {
        let submit = self.take_submit();
        self.answer_submit(&submit, message_id);
        submit
    }

    pub(crate) fn answer_submit(&mut self, submit: &Pdu, message_id: &str) {
        self.answer_sequence(submit.sequence, message_id);
    }

    pub(crate) fn answer_sequence(&mut self, sequence: u32, message_id: &str) {
        let mut out = Vec::new();
        encode::submit_sm_resp(&mut out, sequence, message_id.as_bytes());
        self.send(&out);
    }

    pub(crate) fn refuse_submit(&mut self, submit: &Pdu, status: CommandStatus) {
        self.send_header(CommandId::SUBMIT_SM_RESP, status, submit.sequence);
    }

    /// Sends a deliver_sm; its sequence_number.
    pub(crate) fn deliver(&mut self, message: &ShortMessage<'_>) -> u32 {
        let sequence = self.sequence();
        self.send(&deliver_sm(sequence, message));
        sequence
    }

    /// The answer to a deliver_sm is the next PDU, and has this status.
    pub(crate) fn expect_delivered(&mut self, sequence: u32, status: CommandStatus) {
        self.expect_answer(CommandId::DELIVER_SM_RESP, sequence, status);
    }
}

impl Deref for Link {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.0
    }
}

impl DerefMut for Link {
    fn deref_mut(&mut self) -> &mut Wire {
        &mut self.0
    }
}
