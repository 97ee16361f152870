//! A customer made of bare octets.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};

use smpp_pdu::bind::Bind;
use smpp_pdu::{CommandId, CommandStatus, ShortMessage, encode};
use socket2::{Domain, Socket, Type};

use super::message::submit_sm;
use super::setup::PASSWORD;
use super::wire::{Pdu, Wire};
use super::{Gateway, PATIENCE};

/// A customer's connection.
pub(crate) struct Esme(Wire);

impl Esme {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self(Wire::new(TcpStream::connect_timeout(&address, PATIENCE).unwrap()))
    }

    /// Connects from an address of its own, such as another one of the loopback network.
    pub(crate) fn connect_from(local: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((local, 0)).into()).unwrap();
        socket.connect_timeout(&address.into(), PATIENCE).unwrap();
        Self(Wire::new(TcpStream::from(socket)))
    }

    /// Over a stream that stands, such as one of TLS.
    pub(crate) fn over(wire: Wire) -> Self {
        Self(wire)
    }

    /// Connects and binds as a transceiver.
    pub(crate) fn bound(gateway: &Gateway, system_id: &str) -> Self {
        Self::bound_as(gateway, system_id, CommandId::BIND_TRANSCEIVER)
    }

    pub(crate) fn bound_as(gateway: &Gateway, system_id: &str, command: CommandId) -> Self {
        let mut esme = Self::connect(gateway.address());
        let answer = esme.bind(command, system_id, PASSWORD);
        assert_eq!(answer.status, CommandStatus::ESME_ROK, "{answer:?}");
        esme
    }

    /// Binds, version 3.4; the answer.
    pub(crate) fn bind(&mut self, command: CommandId, system_id: &str, password: &str) -> Pdu {
        self.bind_version(command, system_id, password, 0x34)
    }

    pub(crate) fn bind_version(
        &mut self,
        command: CommandId,
        system_id: &str,
        password: &str,
        interface_version: u8,
    ) -> Pdu {
        let sequence = self.sequence();
        let bind = bind_pdu(command, sequence, system_id, password, interface_version);
        self.send(&bind);
        let answer = self.expect(command.response());
        assert_eq!(answer.sequence, sequence);
        answer
    }

    /// Sends a submit_sm; its sequence_number.
    pub(crate) fn submit(&mut self, message: &ShortMessage<'_>) -> u32 {
        let sequence = self.sequence();
        self.send(&submit_sm(sequence, message));
        sequence
    }

    /// Sends a submit_sm; its answer, which is the next PDU.
    pub(crate) fn submitted(&mut self, message: &ShortMessage<'_>) -> Pdu {
        let sequence = self.submit(message);
        let answer = self.expect(CommandId::SUBMIT_SM_RESP);
        assert_eq!(answer.sequence, sequence);
        answer
    }

    /// Takes a deliver_sm and answers it.
    pub(crate) fn take_delivery(&mut self) -> Pdu {
        let delivery = self.expect(CommandId::DELIVER_SM);
        self.answer_delivery(&delivery, CommandStatus::ESME_ROK);
        delivery
    }

    pub(crate) fn answer_delivery(&mut self, delivery: &Pdu, status: CommandStatus) {
        let mut out = Vec::new();
        encode::deliver_sm_resp(&mut out, status, delivery.sequence);
        self.send(&out);
    }

    /// Unbinds; the answer has come and the connection is closed.
    pub(crate) fn unbind(mut self) {
        let sequence = self.sequence();
        self.send_header(CommandId::UNBIND, CommandStatus::ESME_ROK, sequence);
        self.expect_answer(CommandId::UNBIND_RESP, sequence, CommandStatus::ESME_ROK);
        self.expect_end();
    }
}

impl Deref for Esme {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.0
    }
}

impl DerefMut for Esme {
    fn deref_mut(&mut self) -> &mut Wire {
        &mut self.0
    }
}

pub(crate) fn bind_pdu(
    command: CommandId,
    sequence: u32,
    system_id: &str,
    password: &str,
    interface_version: u8,
) -> Vec<u8> {
    let body = Bind {
        system_id: system_id.as_bytes(),
        password: password.as_bytes(),
        system_type: b"",
        interface_version,
        addr_ton: 0,
        addr_npi: 0,
        address_range: b"",
    };
    let mut out = Vec::new();
    encode::bind(&mut out, command, sequence, &body);
    out
}
