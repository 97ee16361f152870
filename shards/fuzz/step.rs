//! What must hold for shards whatever comes in and in whatever order. The octets are a list of operations: connections of
//! both sides, octets on them split anywhere and garbled, time, verdicts, the disk, restarts, configurations. The fuzz target
//! calls [`step`] with what libFuzzer makes up, `tests/step.rs` with the corpus; whatever does not hold is a panic.

#![allow(dead_code, reason = "each user calls some of it")]

#[path = "step_world.rs"]
mod world;

use smpp_pdu::{CommandId, CommandStatus};
use smpp_shards::DrainPhase;
use world::World;

/// Operations of one run at the most: more show nothing new, and time is better spent on another run.
const OPERATIONS_MAX: usize = 2_000;

/// What a vendor says to a submit.
const ANSWERS: [CommandStatus; 8] = [
    CommandStatus::ESME_ROK,
    CommandStatus::ESME_ROK,
    CommandStatus::ESME_ROK,
    CommandStatus::ESME_ROK,
    CommandStatus::ESME_RTHROTTLED,
    CommandStatus::ESME_RSYSERR,
    CommandStatus::ESME_RINVDSTADR,
    CommandStatus::ESME_RMSGQFUL,
];

/// What a customer says to a delivery.
const TAKINGS: [CommandStatus; 4] =
    [CommandStatus::ESME_ROK, CommandStatus::ESME_ROK, CommandStatus::ESME_RX_T_APPN, CommandStatus::ESME_RX_P_APPN];

/// Octets that say what is done, one after the other; 0 behind the end.
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn octet(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn octets(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// Any octets at all: the first one says how the process is set up.
pub(crate) fn step(octets: &[u8]) {
    let Some((setup, rest)) = octets.split_first() else { return };
    let mut world = World::new(*setup);
    let mut script = Script(rest);
    for _ in 0..OPERATIONS_MAX {
        if script.0.is_empty() {
            break;
        }
        operate(&mut world, &mut script);
        world.check();
    }
    world.come_to_rest();
}

fn operate(world: &mut World, script: &mut Script<'_>) {
    let (operation, place) = (script.octet(), script.octet());
    match operation % 32 {
        0 | 1 => world.accept(place),
        2 => {
            let octets = script.octets(usize::from(operation / 32) * 8 + 1);
            world.garble(place, octets);
        }
        3 | 4 => {
            let commands = [CommandId::BIND_TRANSCEIVER, CommandId::BIND_TRANSMITTER, CommandId::BIND_RECEIVER];
            world.bind(place, commands[usize::from(operation / 32) % 3]);
        }
        5..=9 => world.submit(place, script.octet(), script.octet()),
        10 | 11 => world.vendor_binds(place, operation / 32 != 7),
        12..=14 => {
            let status = ANSWERS[usize::from(operation / 32)];
            world.vendor_answers(place, script.octet(), status);
        }
        15 | 16 => world.vendor_delivers(place, script.octet(), script.octet()),
        17 | 18 => {
            let status = TAKINGS[usize::from(operation / 64)];
            world.customer_takes(place, script.octet(), status);
        }
        19 => {
            let commands = [CommandId::ENQUIRE_LINK, CommandId::UNBIND, CommandId::QUERY_SM, CommandId::GENERIC_NACK];
            world.request(place, commands[usize::from(operation / 64)]);
        }
        20 | 21 => world.hand_over(place, usize::from(script.octet()) + 1),
        22 => world.hand_over(place, usize::MAX),
        23 => world.pass_ms(u64::from(place)),
        24 => world.pass_ms(u64::from(place) << (operation / 32)),
        25 => world.take(place, usize::from(script.octet()) * 16),
        26 => world.lose(place),
        27 => world.verdict(place),
        28 => world.connect(place),
        29 => world.disk(place),
        30 if operation / 32 == 7 => world.restart(place),
        30 if operation / 32 == 6 => {
            let phases =
                [DrainPhase::Refuse, DrainPhase::UnbindCustomers, DrainPhase::UnbindVendors, DrainPhase::Settle];
            world.drain(phases[usize::from(place) % phases.len()]);
        }
        30 => world.reconfigure(place),
        31 if operation / 32 == 7 => world.trace(place),
        _ => world.let_run(usize::from(place % 16)),
    }
}
