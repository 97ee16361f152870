//! Checks binds: who it is, from where, with which password, and on which shard that customer lives.
//!
//! Lives on the control thread; bcrypt runs on the threads of [`pool`]. Must never keep, format or log a
//! password: what is remembered of a successful check is a keyed hash whose key dies with the process.

mod homes;
mod pool;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ring::hmac;
use ring::rand::SystemRandom;
use smpp_pdu::CommandStatus;
use smpp_shards::{AuthRequest, Conn, CustomerId, ShardId, Snapshot, Verdict};
use subtle::ConstantTimeEq as _;

use crate::channel::ControlWaker;
pub(crate) use homes::Homes;
use pool::{Job, Outcome, Pool};

/// Successful checks that are remembered. Beyond it the oldest is forgotten, and costs bcrypt again.
const VERIFIED_MAX: usize = 16_384;

/// Binds that may wait for bcrypt, those that share one check included. Beyond it ESME_RSYSERR.
const WAITING_MAX: usize = 8_192;

/// The cost of [`hash_password`]: some tens of milliseconds a check.
const HASH_COST: u32 = 10;

/// A keyed hash of a system_id, a password and the customer's hash.
type Proof = [u8; 32];

/// A shard and the verdict to be sent there.
pub(crate) type Answer = (ShardId, Verdict);

/// Makes a bcrypt hash for `smpp_password_hash`.
///
/// # Panics
/// When the system has no random numbers to give, in which case nothing should be hashed.
pub fn hash_password(password: &str) -> String {
    bcrypt::hash(password, HASH_COST).expect("the cost is allowed, and the system's random source answers")
}

/// Compares two texts in a time that tells nothing of either but, perhaps, the length of the first.
pub(crate) fn is_same(key: &hmac::Key, given: &[u8], expected: &[u8]) -> bool {
    let given = hmac::sign(key, given);
    let expected = hmac::sign(key, expected);
    given.as_ref().ct_eq(expected.as_ref()).into()
}

/// A key that lasts as long as the process.
pub(crate) fn random_key() -> io::Result<hmac::Key> {
    hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
        .map_err(|_| io::Error::other("the system gives no random numbers; see that /dev/urandom can be read"))
}

/// Checks binds against one snapshot.
pub(crate) struct Authenticator {
    snapshot: Arc<Snapshot>,
    key: hmac::Key,
    homes: Homes,
    verified: Verified,
    checking: HashMap<Proof, Vec<Waiting>>,
    waiting: usize,
    pool: Pool,
    decoy: Option<Arc<str>>,
    patience: Duration,
}

/// One bind that waits for bcrypt.
struct Waiting {
    shard: ShardId,
    conn: Conn,
    ticket: u32,
    /// Whose it is if the password turns out right; the refusal where it makes no difference.
    claim: Result<CustomerId, CommandStatus>,
}

impl Authenticator {
    /// Starts the bcrypt threads. `waker` is woken when [`Authenticator::finish`] has something to tell.
    ///
    /// # Errors
    /// When the system gives no random numbers or no thread.
    pub(crate) fn start(snapshot: Arc<Snapshot>, shards: usize, waker: ControlWaker) -> io::Result<Self> {
        let homes = Homes::new(shards, snapshot.vendors.iter().filter(|vendor| vendor.is_active()));
        let decoy = decoy(&snapshot);
        let patience = Duration::from_millis(snapshot.gateway.bind_timeout_ms);
        Ok(Self {
            snapshot,
            key: random_key()?,
            homes,
            verified: Verified::default(),
            checking: HashMap::new(),
            waiting: 0,
            pool: Pool::start(waker)?,
            decoy,
            patience,
        })
    }

    /// The version that binds are checked against.
    pub(crate) fn version(&self) -> u64 {
        self.snapshot.version
    }

    /// Checks binds against another configuration from now on. Passwords that were right stay known as such where they are
    /// the same; binds that wait for bcrypt are judged by what they were asked about.
    pub(crate) fn switch(&mut self, snapshot: Arc<Snapshot>) {
        self.decoy = decoy(&snapshot);
        self.patience = Duration::from_millis(snapshot.gateway.bind_timeout_ms);
        self.snapshot = snapshot;
    }

    /// Where customers live.
    pub(crate) fn homes(&self) -> Homes {
        self.homes.clone()
    }

    /// Looks at a bind. `None`: the answer comes out of [`Authenticator::finish`] once bcrypt is through.
    pub(crate) fn check(&mut self, request: AuthRequest) -> Option<Answer> {
        let snapshot = Arc::clone(&self.snapshot);
        let customer = snapshot.customer_by_system_id(&request.system_id).filter(|customer| customer.is_active());
        let Some(customer) = customer else {
            return self.refuse_slowly(request, CommandStatus::ESME_RINVSYSID);
        };
        if !customer.allows_ip(request.peer.to_canonical()) {
            return Some(refusal(&request, CommandStatus::ESME_RBINDFAIL));
        }
        let Some(hash) = &customer.settings.smpp_password_hash else {
            let expected = customer.settings.smpp_password.as_deref();
            let is_right = is_same(&self.key, &request.password, expected.unwrap_or_default().as_bytes());
            return match is_right && expected.is_some() {
                true => Some(self.acceptance(request.shard, request.conn, request.ticket, customer.id)),
                false => self.refuse_slowly(request, CommandStatus::ESME_RINVPASWD),
            };
        };
        let proof = self.proof(&request, hash);
        if self.verified.contains(&proof) {
            return Some(self.acceptance(request.shard, request.conn, request.ticket, customer.id));
        }
        self.wait_for_bcrypt(request, proof, hash.as_str().into(), Ok(customer.id))
    }

    /// Takes what bcrypt has found since the last call.
    pub(crate) fn finish(&mut self, answers: &mut Vec<Answer>) {
        while let Some((proof, outcome)) = self.pool.take_result() {
            let waiting = self.checking.remove(&proof).unwrap_or_default();
            self.waiting -= waiting.len();
            for bind in waiting {
                if outcome == Outcome::Right && bind.claim.is_ok() {
                    self.verified.insert(proof);
                }
                answers.push(match (outcome, bind.claim) {
                    (Outcome::Right, Ok(customer)) => self.acceptance(bind.shard, bind.conn, bind.ticket, customer),
                    (Outcome::Wrong, Ok(_)) => bind.refusal(CommandStatus::ESME_RINVPASWD),
                    (Outcome::TooLate, _) => bind.refusal(CommandStatus::ESME_RSYSERR),
                    (_, Err(status)) => bind.refusal(status),
                });
            }
        }
    }

    /// Refuses after as much work as a wrong password costs, so that the time does not tell which names exist.
    fn refuse_slowly(&mut self, request: AuthRequest, status: CommandStatus) -> Option<Answer> {
        let Some(decoy) = self.decoy.clone() else {
            // No customer has a hash: the work of a wrong password is one comparison.
            let _ = is_same(&self.key, &request.password, b"");
            return Some(refusal(&request, status));
        };
        let proof = self.proof(&request, &decoy);
        self.wait_for_bcrypt(request, proof, decoy, Err(status))
    }

    fn wait_for_bcrypt(
        &mut self,
        request: AuthRequest,
        proof: Proof,
        hash: Arc<str>,
        claim: Result<CustomerId, CommandStatus>,
    ) -> Option<Answer> {
        if self.waiting >= WAITING_MAX {
            return Some(refusal(&request, CommandStatus::ESME_RSYSERR));
        }
        let waiting = Waiting { shard: request.shard, conn: request.conn, ticket: request.ticket, claim };
        if let Some(others) = self.checking.get_mut(&proof) {
            others.push(waiting);
        } else {
            let deadline = Instant::now() + self.patience;
            if !self.pool.submit(Job { proof, password: request.password, hash, deadline }) {
                return Some(waiting.refusal(CommandStatus::ESME_RSYSERR));
            }
            self.checking.insert(proof, vec![waiting]);
        }
        self.waiting += 1;
        None
    }

    fn acceptance(&mut self, shard: ShardId, conn: Conn, ticket: u32, customer: CustomerId) -> Answer {
        let home = self.homes.of(customer);
        (shard, Verdict { conn, ticket, result: Ok((customer, home)) })
    }

    fn proof(&self, request: &AuthRequest, hash: &str) -> Proof {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [request.system_id.as_slice(), request.password.as_slice(), hash.as_bytes()] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut proof = Proof::default();
        proof.copy_from_slice(context.sign().as_ref());
        proof
    }
}

impl Waiting {
    fn refusal(&self, status: CommandStatus) -> Answer {
        (self.shard, Verdict { conn: self.conn, ticket: self.ticket, result: Err(status) })
    }
}

fn refusal(request: &AuthRequest, status: CommandStatus) -> Answer {
    (request.shard, Verdict { conn: request.conn, ticket: request.ticket, result: Err(status) })
}

/// The costliest hash there is: what a bind that cannot succeed is checked against.
fn decoy(snapshot: &Snapshot) -> Option<Arc<str>> {
    let present = snapshot.present_customers();
    let hashes = present.filter_map(|customer| customer.settings.smpp_password_hash.as_deref());
    let cost = |hash: &&str| hash.parse::<bcrypt::HashParts>().map_or(0, |parts| parts.get_cost());
    hashes.max_by_key(cost).map(Arc::from)
}

/// Successful checks, oldest first out.
#[derive(Default)]
struct Verified {
    proofs: HashSet<Proof>,
    order: VecDeque<Proof>,
}

impl Verified {
    fn contains(&self, proof: &Proof) -> bool {
        self.proofs.contains(proof)
    }

    fn insert(&mut self, proof: Proof) {
        if !self.proofs.insert(proof) {
            return;
        }
        self.order.push_back(proof);
        if self.order.len() > VERIFIED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.proofs.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
