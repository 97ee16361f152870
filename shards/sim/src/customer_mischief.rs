//! What a model customer's session does wrong: garbage, broken lengths, unknown requests, floods. Single thread.

use smpp_pdu::{CommandId, CommandStatus, encode};

use crate::customer::{Session, SessionStep, State};
use crate::customer_habits::Mischief;
use crate::ground::Ground;

impl Session {
    /// Does once what its habits say.
    pub(crate) fn misbehave(&mut self, ground: &mut Ground) {
        let Some(mischief) = self.habits.mischief else { return };
        let sequence = self.next_sequence();
        let random = &mut self.random;
        let Some(end) = &mut self.end else { return };
        let (net, ok) = (end.net, CommandStatus::ESME_ROK);
        match mischief {
            Mischief::SubmitBeforeBind | Mischief::Hasty => {}
            Mischief::BindTwice => self.bind(ground),
            Mischief::Garbage => {
                ground.model.customer_sends_garbage(net);
                let length = random.spread(1, 300);
                let octets: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
                end.output().extend_from_slice(&octets);
            }
            Mischief::Length(length) => {
                ground.model.customer_sends_garbage(net);
                end.output().extend_from_slice(&length.to_be_bytes());
                end.output().extend_from_slice(&[0; 12]);
            }
            Mischief::HalfHeader => {
                ground.model.customer_sends_garbage(net);
                end.output().extend_from_slice(&[0, 0, 0, 40, 0, 0, 0]);
                // Whatever it sent now would be taken for the rest of that PDU.
                self.state = State::Leaving;
            }
            Mischief::UnknownCommand => {
                let command = CommandId(0x0000_0777);
                ground.model.customer_requests(net, command, sequence);
                encode::header_only(end.output(), command, ok, sequence);
            }
            Mischief::Unserved(command) => {
                ground.model.customer_requests(net, command, sequence);
                encode::header_only(end.output(), command, ok, sequence);
            }
            Mischief::StrayAnswer => {
                // Not the number of any request that the gateway has made.
                let sequence = sequence | 0x6000_0000;
                encode::header_only(end.output(), CommandId::SUBMIT_SM_RESP, ok, sequence);
                encode::deliver_sm_resp(end.output(), ok, sequence);
            }
        }
        self.flush(ground);
    }

    /// Sends enquire_links, as fast as they can be written, until there are as many as its habits say.
    pub(crate) fn flood(&mut self, ground: &mut Ground) {
        let sent = self.flooded;
        if self.state != State::Bound || ground.healed || sent >= self.habits.enquiries {
            return;
        }
        let Some(end) = &mut self.end else { return };
        if end.waiting() < 20_000 {
            for _ in 0..2_000 {
                self.sequence = self.sequence.wrapping_add(1);
                ground.model.customer_requests(end.net, CommandId::ENQUIRE_LINK, self.sequence);
                encode::header_only(end.output(), CommandId::ENQUIRE_LINK, CommandStatus::ESME_ROK, self.sequence);
            }
            self.flooded += 2_000;
            end.flush(ground);
        }
        self.later(10_000, SessionStep::Flood, ground);
    }
}
