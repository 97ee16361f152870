//! How a model customer's session behaves. Drawn for each connection, pure values.

use smpp_pdu::CommandId;

use crate::random::Stream;

/// How a session reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// At once, everything.
    Prompt,
    /// So many octets, every so many milliseconds.
    Slow(usize, u64),
    /// Not at all once it is bound.
    Never,
}

/// How a session ends when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It unbinds, whatever is in flight, and waits for the answer.
    Unbind,
    /// It closes its sending side and reads on for a while.
    HalfClose,
    /// It closes the connection.
    Close,
    /// It resets the connection.
    Reset,
}

/// Something wrong that a session does once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mischief {
    /// Submits before it binds.
    SubmitBeforeBind,
    /// Submits right behind the bind, without waiting for its answer.
    Hasty,
    /// Binds again.
    BindTwice,
    /// Random octets.
    Garbage,
    /// A PDU with that command_length.
    Length(u32),
    /// Half a header, then nothing.
    HalfHeader,
    /// A request that nobody knows.
    UnknownCommand,
    /// A request that is not served.
    Unserved(CommandId),
    /// An answer to nothing.
    StrayAnswer,
}

/// One connection's ways. Chances are thousandths.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    /// Which of the three binds.
    pub command: CommandId,
    /// 0x33, 0x34 or 0x50.
    pub version: u8,
    /// Whether its system_id is one that is known.
    pub right_name: bool,
    /// Whether its password is right.
    pub right_password: bool,
    /// Unanswered submits that it allows itself.
    pub window: usize,
    /// Microseconds between bursts of submits.
    pub pause_us: u64,
    /// Submits of one burst.
    pub burst: u64,
    /// How it reads.
    pub reading: Reading,
    /// Milliseconds to its answer to a deliver_sm at the most; `None` is never.
    pub answer_ms: Option<u64>,
    /// Answers to deliver_sm that are refusals.
    pub refusals: u64,
    /// Answers to deliver_sm that come twice.
    pub doubled: u64,
    /// Whether it answers enquire_link.
    pub answers_enquiries: bool,
    /// Milliseconds between its own enquire_links; 0 is never.
    pub enquire_ms: u64,
    /// What it does wrong, once.
    pub mischief: Option<Mischief>,
    /// Whether it submits on a receiver's bind.
    pub submits_anyway: bool,
    /// enquire_links that it sends without waiting for answers: more than its output holds.
    pub enquiries: u32,
    /// Submits whose body is wrong.
    pub malformed: u64,
    /// Milliseconds of its life.
    pub life_ms: u64,
    /// How that ends.
    pub ending: Ending,
}

impl Habits {
    /// The ways of a session that does everything right.
    pub(crate) fn good() -> Self {
        Self {
            command: CommandId::BIND_TRANSCEIVER,
            version: 0x34,
            right_name: true,
            right_password: true,
            window: 10,
            pause_us: 10_000,
            burst: 1,
            reading: Reading::Prompt,
            answer_ms: Some(1),
            refusals: 0,
            doubled: 0,
            answers_enquiries: true,
            enquire_ms: 0,
            mischief: None,
            submits_anyway: false,
            enquiries: 0,
            malformed: 0,
            life_ms: u64::MAX / 4_000_000,
            ending: Ending::Unbind,
        }
    }

    /// Ways that may be decent or not: `mischief` is in thousandths of all connections.
    pub(crate) fn draw(random: &mut Stream, mischief: u64) -> Self {
        let commands = [
            CommandId::BIND_TRANSCEIVER,
            CommandId::BIND_TRANSCEIVER,
            CommandId::BIND_TRANSMITTER,
            CommandId::BIND_RECEIVER,
        ];
        let mut habits = Self {
            command: *random.pick(&commands),
            version: *random.pick(&[0x34, 0x34, 0x33, 0x50]),
            window: random.spread(1, 200) as usize,
            pause_us: random.spread(1_000, 300_000),
            burst: random.spread(1, 12),
            answer_ms: Some(random.spread(1, 100)),
            enquire_ms: if random.chance(400) { random.spread(5, 2_000) } else { 0 },
            life_ms: random.spread(50, 10_000),
            ending: *random.pick(&[Ending::Unbind, Ending::Unbind, Ending::HalfClose, Ending::Close, Ending::Reset]),
            ..Self::good()
        };
        if random.chance(mischief) {
            habits.misbehave(random);
        }
        habits
    }

    fn misbehave(&mut self, random: &mut Stream) {
        match random.below(16) {
            0 => self.right_name = false,
            1 => self.right_password = false,
            2 => self.window = usize::MAX,
            3 => (self.window, self.burst, self.pause_us) = (usize::MAX, 60, 20_000),
            4 => self.reading = Reading::Slow(random.spread(1, 200) as usize, random.range(1, 100)),
            5 => self.reading = Reading::Never,
            6 => self.answer_ms = None,
            7 => self.answer_ms = Some(random.range(500, 5_000)),
            8 => self.refusals = random.range(50, 1_000),
            9 => self.doubled = random.range(50, 1_000),
            10 => self.answers_enquiries = false,
            11 => self.malformed = random.range(50, 1_000),
            13 => (self.enquiries, self.reading) = (60_000, Reading::Slow(2_000, 20)),
            12 => (self.command, self.submits_anyway) = (CommandId::BIND_RECEIVER, true),
            _ => self.mischief = Some(draw_mischief(random)),
        }
    }
}

fn draw_mischief(random: &mut Stream) -> Mischief {
    match random.below(9) {
        0 => Mischief::SubmitBeforeBind,
        1 => Mischief::Hasty,
        2 => Mischief::BindTwice,
        3 => Mischief::Garbage,
        4 => Mischief::Length(*random.pick(&[0, 1, 15, 100_000, 0x7FFF_FFFF, u32::MAX])),
        5 => Mischief::HalfHeader,
        6 => Mischief::UnknownCommand,
        7 => Mischief::StrayAnswer,
        _ => {
            let commands = [
                CommandId::DATA_SM,
                CommandId::QUERY_SM,
                CommandId::CANCEL_SM,
                CommandId::REPLACE_SM,
                CommandId::SUBMIT_MULTI,
                CommandId::DELIVER_SM,
            ];
            Mischief::Unserved(*random.pick(&commands))
        }
    }
}
