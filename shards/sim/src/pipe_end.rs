//! A model peer's end of a connection: octets in, PDUs out, and what the kernel has no room for. Single thread.

use smpp_pdu::{Deframed, deframe};

use crate::ground::Ground;
use crate::network::{NetId, Readable, Side};

/// Octets that a model peer takes for a PDU at the most.
const PDU_BYTES_MAX: usize = 100_000;

/// One peer's end.
#[derive(Debug)]
pub(crate) struct PipeEnd {
    /// Of which connection.
    pub net: NetId,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// What was there to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Octets, or nothing at all.
    Open,
    /// The gateway has closed the connection, or it was reset.
    Ended,
}

impl PipeEnd {
    /// The peer's end of that connection.
    pub(crate) fn new(net: NetId) -> Self {
        Self { net, input: Vec::new(), output: Vec::new() }
    }

    /// Reads at most `most` octets.
    pub(crate) fn read(&mut self, most: usize, ground: &mut Ground) -> Input {
        let now = ground.schedule.now();
        match ground.network.readable(self.net, Side::Peer, now) {
            Readable::Nothing => Input::Open,
            Readable::Octets(_) => {
                let octets = ground.network.read(self.net, Side::Peer, most, &mut ground.schedule);
                ground.trace.octets(20, self.net.0 as u64, &octets);
                self.input.extend_from_slice(&octets);
                Input::Open
            }
            Readable::End | Readable::Reset => Input::Ended,
        }
    }

    /// The next whole PDU that was read.
    pub(crate) fn next_pdu(&mut self, seed: u64) -> Option<Vec<u8>> {
        match deframe(&self.input, PDU_BYTES_MAX) {
            Deframed::Pdu { pdu, .. } => {
                let length = pdu.len();
                Some(self.input.drain(..length).collect())
            }
            Deframed::NeedMore { .. } => None,
            Deframed::Fatal { command_length, .. } => {
                panic!("seed {seed}: connection {} gets a command_length of {command_length}", self.net.0)
            }
        }
    }

    /// Where PDUs to be written are put; [`PipeEnd::flush`] sends them.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Octets that wait for room.
    pub(crate) fn waiting(&self) -> usize {
        self.output.len()
    }

    /// Hands to the kernel what it takes.
    pub(crate) fn flush(&mut self, ground: &mut Ground) {
        if self.output.is_empty() {
            return;
        }
        let sent = ground.network.write(self.net, Side::Peer, &self.output, &mut ground.schedule);
        self.output.drain(..sent);
    }
}
