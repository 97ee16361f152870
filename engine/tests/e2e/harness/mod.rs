//! What the end-to-end tests share: the gateway as a child process, customers and vendors made of bare octets, and
//! the load and the simulated SMSC of `smpp-bench`.
//!
//! Every test runs twice, with one shard and with two. With two, the first vendor lives on shard 0 and the first
//! customer on shard 1, so that messages cross.

pub(crate) mod bench;
pub(crate) mod capture;
pub(crate) mod certificates;
pub(crate) mod disk;
pub(crate) mod esme;
pub(crate) mod folder;
pub(crate) mod gateway;
pub(crate) mod log;
pub(crate) mod message;
pub(crate) mod redis;
pub(crate) mod setup;
pub(crate) mod vendor;
pub(crate) mod wire;

use std::time::{Duration, Instant};

use smpp_pdu::{CommandId, CommandStatus, ShortMessage};

pub(crate) use bench::{Background, load, smsc};
pub(crate) use esme::Esme;
pub(crate) use gateway::Gateway;
pub(crate) use message::{message, receipt, to};
pub(crate) use setup::Setup;
pub(crate) use vendor::{Link, Vendor};
pub(crate) use wire::Wire;

/// Submits; the vendor on this link gets it, and its answer is the customer's.
pub(crate) fn assert_goes_to(esme: &mut Esme, link: &mut Link, message: &ShortMessage<'_>) {
    let sequence = esme.submit(message);
    link.accept_submit("1");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
}

/// How long anything that is sure to come may take, on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How many shards the gateway runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shards {
    One,
    Two,
}

impl Shards {
    /// As `shards.cores` has it.
    pub(crate) fn cores(self) -> &'static str {
        match self {
            Self::One => "[0]",
            Self::Two => "[0, 1]",
        }
    }
}

/// Makes two tests of each function: one with one shard, one with two.
macro_rules! with_one_shard_and_with_two {
    ($($test:ident),+ $(,)?) => {
        $(mod $test {
            use crate::harness::Shards;

            #[test]
            fn with_one_shard() {
                super::$test(Shards::One);
            }

            #[test]
            fn with_two_shards() {
                super::$test(Shards::Two);
            }
        })+
    };
}
pub(crate) use with_one_shard_and_with_two;

/// Asks again and again for what no event tells, such as a metric; the first answer that there is.
pub(crate) fn ask_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "{what} did not come about within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
