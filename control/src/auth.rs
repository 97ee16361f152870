//! Checks binds: who it is, from where, with which password, and on which shard that customer lives.
//!
//! Lives on the control thread; bcrypt runs on the threads of [`pool`]. Must never keep, format or log a
//! password: what is remembered of a successful check is a keyed hash whose key dies with the process.

mod certificate;
mod failing;
mod homes;
mod pool;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ring::hmac;
use ring::rand::SystemRandom;
use smpp_pdu::CommandStatus;
use smpp_shards::{AuthRequest, Conn, CustomerId, ShardId, Snapshot, Verdict};
use subtle::ConstantTimeEq as _;

use crate::channel::ControlWaker;
use failing::{Failing, Held};
pub(crate) use failing::{FailingAddress, FailingFigures};
pub(crate) use homes::Homes;
use pool::{Job, Outcome, Pool};

/// Successful checks that are remembered. Beyond it the oldest is forgotten, and costs bcrypt again.
const VERIFIED_MAX: usize = 16_384;

/// Binds that may wait for bcrypt, those that share one check included. Beyond it ESME_RSYSERR.
const WAITING_MAX: usize = 8_192;

/// A bind waits for bcrypt at least that long, however short the bind timer is: clients wait 5 to 30 seconds for an answer, and one who
/// has given up finds the password known when it comes again. Beyond it ESME_RSYSERR.
const PATIENCE_LEAST: Duration = Duration::from_secs(30);

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
    failing: Failing,
    held: Held,
    figures: Arc<FailingFigures>,
    news: Vec<FailingAddress>,
}

/// One bind that waits for bcrypt.
struct Waiting {
    shard: ShardId,
    conn: Conn,
    ticket: u32,
    peer: IpAddr,
    /// Whose it is if the password turns out right; the refusal where it makes no difference.
    claim: Result<CustomerId, Refusal>,
}

/// What a bind gets that is not let in.
#[derive(Clone, Copy)]
struct Refusal {
    status: CommandStatus,
    /// For the log, where the status alone does not tell.
    reason: Option<&'static str>,
}

impl From<CommandStatus> for Refusal {
    fn from(status: CommandStatus) -> Self {
        Self { status, reason: None }
    }
}

impl Authenticator {
    /// Starts the bcrypt threads. `waker` is woken when [`Authenticator::finish`] has something to tell.
    ///
    /// # Errors
    /// When the system gives no random numbers or no thread.
    pub(crate) fn start(snapshot: Arc<Snapshot>, shards: usize, waker: ControlWaker) -> io::Result<Self> {
        let homes = Homes::new(shards, snapshot.vendors.iter().filter(|vendor| vendor.is_active()));
        let decoy = decoy(&snapshot);
        let patience = patience(&snapshot);
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
            failing: Failing::default(),
            held: Held::default(),
            figures: Arc::default(),
            news: Vec::new(),
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
        self.patience = patience(&snapshot);
        self.snapshot = snapshot;
    }

    /// How many binds a customer may have; 0 is no limit.
    pub(crate) fn binds_max(&self, customer: CustomerId) -> u32 {
        self.snapshot.customer(customer).map_or(0, |customer| customer.settings.smpp_max_binds)
    }

    /// Where customers live.
    pub(crate) fn homes(&self) -> Homes {
        self.homes.clone()
    }

    /// How it stands with addresses whose binds fail.
    pub(crate) fn failing_figures(&self) -> Arc<FailingFigures> {
        Arc::clone(&self.figures)
    }

    /// What there is to tell of addresses whose binds fail, since the last call.
    pub(crate) fn take_news(&mut self) -> Vec<FailingAddress> {
        core::mem::take(&mut self.news)
    }

    /// When [`Authenticator::finish`] has something to tell even if nobody wakes the control thread.
    pub(crate) fn next_release(&self) -> Option<Instant> {
        self.held.next()
    }

    /// To be called once a second: forgets addresses that have been quiet for long enough.
    pub(crate) fn end_second(&mut self, now: Instant) {
        self.failing.forget_quiet(&self.snapshot.gateway.auth, now);
        self.figures.set_now(self.failing.len(), self.held.len());
    }

    /// Looks at a bind. `None`: the answer comes out of [`Authenticator::finish`], once bcrypt is through or the time has come
    /// for which refusals to that address are held back.
    pub(crate) fn check(&mut self, request: AuthRequest, now: Instant) -> Option<Answer> {
        let peer = request.peer;
        let answer = self.examine(request, now)?;
        self.settle(answer, peer, now)
    }

    fn examine(&mut self, request: AuthRequest, now: Instant) -> Option<Answer> {
        let snapshot = Arc::clone(&self.snapshot);
        let customer = snapshot.customer_by_system_id(&request.system_id).filter(|customer| customer.is_active());
        let Some(customer) = customer else {
            return self.refuse_slowly(request, CommandStatus::ESME_RINVSYSID.into(), now);
        };
        if !customer.allows_ip(request.peer.to_canonical()) {
            return Some(refuse(&request, CommandStatus::ESME_RBINDFAIL.into()));
        }
        if let Err(reason) = certificate::check(customer, request.tls, request.certificate.as_deref()) {
            // To the peer it is a wrong password, in what it says and in the time it takes.
            let refusal = Refusal { status: CommandStatus::ESME_RINVPASWD, reason: Some(reason) };
            return self.refuse_slowly(request, refusal, now);
        }
        let Some(hash) = &customer.settings.smpp_password_hash else {
            let expected = customer.settings.smpp_password.as_deref();
            let is_right = is_same(&self.key, &request.password, expected.unwrap_or_default().as_bytes());
            return match is_right && expected.is_some() {
                true => Some(self.acceptance(request.shard, request.conn, request.ticket, customer.id)),
                false => self.refuse_slowly(request, CommandStatus::ESME_RINVPASWD.into(), now),
            };
        };
        let proof = self.proof(&request, hash);
        if self.verified.contains(&proof) {
            return Some(self.acceptance(request.shard, request.conn, request.ticket, customer.id));
        }
        self.wait_for_bcrypt(request, proof, hash.as_str().into(), Ok(customer.id), now)
    }

    /// Takes what bcrypt has found since the last call, and refusals that were held back for long enough.
    pub(crate) fn finish(&mut self, now: Instant, answers: &mut Vec<Answer>) {
        while let Some((proof, outcome)) = self.pool.take_result() {
            let waiting = self.checking.remove(&proof).unwrap_or_default();
            self.waiting -= waiting.len();
            for bind in waiting {
                if outcome == Outcome::Right && bind.claim.is_ok() {
                    self.verified.insert(proof);
                }
                let answer = match (outcome, bind.claim) {
                    (Outcome::Right, Ok(customer)) => self.acceptance(bind.shard, bind.conn, bind.ticket, customer),
                    (Outcome::Wrong, Ok(_)) => bind.refuse(CommandStatus::ESME_RINVPASWD.into()),
                    (Outcome::TooLate, _) => bind.refuse(CommandStatus::ESME_RSYSERR.into()),
                    (_, Err(refusal)) => bind.refuse(refusal),
                };
                answers.extend(self.settle(answer, bind.peer, now));
            }
        }
        self.held.release(now, answers);
    }

    /// Counts a failed bind against its address, which may have to wait for the refusal; a right one makes good for those
    /// before it.
    fn settle(&mut self, answer: Answer, peer: IpAddr, now: Instant) -> Option<Answer> {
        match answer.1.result {
            Ok(_) => self.failing.forgive(peer),
            // It was not looked at, which is no failure of the peer's.
            Err(CommandStatus::ESME_RSYSERR) => {}
            Err(_) => return self.hold_back(answer, peer, now),
        }
        Some(answer)
    }

    fn hold_back(&mut self, answer: Answer, peer: IpAddr, now: Instant) -> Option<Answer> {
        let penalty = self.failing.note(peer, &self.snapshot.gateway.auth, now);
        self.news.extend(penalty.news);
        self.figures.failed.fetch_add(1, Ordering::Relaxed);
        if penalty.delay.is_zero() {
            return Some(answer);
        }
        match self.held.hold(answer, now + penalty.delay) {
            Ok(()) => {
                self.figures.delayed.fetch_add(1, Ordering::Relaxed);
                None
            }
            Err(answer) => {
                self.figures.undelayed.fetch_add(1, Ordering::Relaxed);
                Some(answer)
            }
        }
    }

    /// Refuses after as much work as a wrong password costs, so that the time does not tell which names exist.
    fn refuse_slowly(&mut self, request: AuthRequest, refusal: Refusal, now: Instant) -> Option<Answer> {
        let Some(decoy) = self.decoy.clone() else {
            // No customer has a hash: the work of a wrong password is one comparison.
            let _ = is_same(&self.key, &request.password, b"");
            return Some(refuse(&request, refusal));
        };
        let proof = self.proof(&request, &decoy);
        self.wait_for_bcrypt(request, proof, decoy, Err(refusal), now)
    }

    fn wait_for_bcrypt(
        &mut self,
        request: AuthRequest,
        proof: Proof,
        hash: Arc<str>,
        claim: Result<CustomerId, Refusal>,
        now: Instant,
    ) -> Option<Answer> {
        if self.waiting >= WAITING_MAX {
            return Some(refuse(&request, CommandStatus::ESME_RSYSERR.into()));
        }
        let AuthRequest { shard, conn, ticket, peer, .. } = request;
        let waiting = Waiting { shard, conn, ticket, peer, claim };
        if let Some(others) = self.checking.get_mut(&proof) {
            others.push(waiting);
        } else {
            let deadline = now + self.patience;
            if !self.pool.submit(Job { proof, password: request.password, hash, deadline }) {
                return Some(waiting.refuse(CommandStatus::ESME_RSYSERR.into()));
            }
            self.checking.insert(proof, vec![waiting]);
        }
        self.waiting += 1;
        None
    }

    fn acceptance(&mut self, shard: ShardId, conn: Conn, ticket: u32, customer: CustomerId) -> Answer {
        let home = self.homes.of(customer);
        (shard, Verdict { conn, ticket, result: Ok((customer, home)), reason: None })
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
    fn refuse(&self, refusal: Refusal) -> Answer {
        let Refusal { status, reason } = refusal;
        (self.shard, Verdict { conn: self.conn, ticket: self.ticket, result: Err(status), reason })
    }
}

fn refuse(request: &AuthRequest, refusal: Refusal) -> Answer {
    let Refusal { status, reason } = refusal;
    (request.shard, Verdict { conn: request.conn, ticket: request.ticket, result: Err(status), reason })
}

fn patience(snapshot: &Snapshot) -> Duration {
    Duration::from_millis(snapshot.gateway.bind_timeout_ms).max(PATIENCE_LEAST)
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
