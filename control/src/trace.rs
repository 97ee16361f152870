//! Traces of sessions, customers' and vendors': begun through the control port, filled from the shards' rings, kept for a
//! while as pcap files.
//!
//! Lives on the control thread. Every bound is here: how many run, how many are kept, how large all of them are together. It
//! must never hold a shard up: one that writes faster than this reads leaves PDUs out, and counts them.

mod pcap;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use smpp_shards::trace::TraceEnd;
use smpp_shards::{
    SessionName, ShardId, TraceOrder, TraceReader, TraceRecord, TraceTarget, Traced, VendorId, trace_ring,
};

use pcap::Pcap;

/// Traces that run at one time.
pub(crate) const RUNNING_MAX: usize = 4;

/// Traces that are kept, those that run among them. Beyond it the one that ended first is forgotten.
const KEPT_MAX: usize = 8;

/// Octets of all of them, with what those that run may still come to. Beyond it likewise.
const KEPT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long a trace is kept after its end.
const KEPT_TIME: Duration = Duration::from_secs(3_600);

/// Octets that are taken out of one ring before other work has its turn.
const TURN_BYTES: usize = 256 * 1024;

/// Octets of one trace's file at the most.
pub(crate) const BYTES_MAX: u32 = 16 * 1024 * 1024;

const _: () = assert!(RUNNING_MAX * BYTES_MAX as usize <= KEPT_BYTES_MAX && RUNNING_MAX < KEPT_MAX);
const _: () = assert!(RUNNING_MAX <= smpp_shards::bounds::TRACES_MAX);

/// By what a trace is asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TraceKey {
    /// A customer's session, by the name that its shard knows it by.
    Session(ShardId, SessionName),
    /// A vendor, whichever of its binds is traced.
    Vendor(VendorId),
}

/// How far a trace may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceLimits {
    pub(crate) seconds: u32,
    /// Octets of the file.
    pub(crate) max_bytes: u32,
}

/// Why a trace is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BeginError {
    /// One of this key runs.
    Running,
    /// [`RUNNING_MAX`] run.
    TooMany,
}

/// How a trace stands.
#[derive(Clone, Debug)]
pub(crate) struct TraceState {
    pub(crate) key: TraceKey,
    pub(crate) traced: Traced,
    pub(crate) limits: TraceLimits,
    pub(crate) began_unix_ms: u64,
    /// Why it has ended: `time`, `size`, `session` or `stopped`; `None` while it runs.
    pub(crate) ended: Option<&'static str>,
    pub(crate) pdus: u64,
    pub(crate) dropped: u64,
    /// Octets of the file.
    pub(crate) bytes: usize,
}

/// All traces.
#[derive(Default)]
pub(crate) struct Traces {
    /// The oldest first.
    table: Mutex<Vec<Trace>>,
}

struct Trace {
    key: TraceKey,
    limits: TraceLimits,
    began_unix_ms: u64,
    /// Until it ends.
    reader: Option<TraceReader>,
    /// As soon as the shard has said that it has begun.
    content: Option<Content>,
    ended: Option<(&'static str, Instant)>,
}

struct Content {
    traced: Traced,
    pcap: Pcap,
    pdus: u64,
    dropped: u64,
}

/// A trace that the shard is still to begin. Dropping it is giving it up.
pub(crate) struct Beginning {
    traces: Arc<Traces>,
    key: TraceKey,
}

impl Traces {
    /// Makes room for a trace; the order is for the shard.
    ///
    /// # Errors
    /// A [`BeginError`]; then everything is as it was.
    pub(crate) fn begin(
        self: &Arc<Self>,
        key: TraceKey,
        target: TraceTarget,
        limits: TraceLimits,
    ) -> Result<(Beginning, TraceOrder), BeginError> {
        self.fill();
        let mut table = self.table();
        let is_running = |trace: &Trace| trace.ended.is_none();
        if table.iter().any(|trace| trace.key == key && is_running(trace)) {
            return Err(BeginError::Running);
        }
        if table.iter().filter(|trace| is_running(trace)).count() >= RUNNING_MAX {
            return Err(BeginError::TooMany);
        }
        table.retain(|trace| trace.key != key);
        while !has_room(&table, limits) {
            let Some(first) = first_ended(&table) else { return Err(BeginError::TooMany) };
            table.remove(first);
        }
        let (tap, reader) = trace_ring();
        let began_unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        table.push(Trace { key, limits, began_unix_ms, reader: Some(reader), content: None, ended: None });
        let order = TraceOrder { target, millis: u64::from(limits.seconds) * 1_000, tap };
        Ok((Beginning { traces: Arc::clone(self), key }, order))
    }

    /// Takes over what has come, a bounded part of it; tells whether there may be more.
    pub(crate) fn fill(&self) -> bool {
        let taken: usize = self.table().iter_mut().map(|trace| trace.fill(TURN_BYTES)).max().unwrap_or(0);
        taken >= TURN_BYTES
    }

    /// Takes over what has come, and forgets what was kept for long enough.
    pub(crate) fn end_second(&self, now: Instant) {
        self.fill();
        let is_kept = |trace: &Trace| trace.ended.is_none_or(|(_, at)| now.saturating_duration_since(at) < KEPT_TIME);
        self.table().retain(is_kept);
    }

    /// How each stands now, the oldest first.
    pub(crate) fn states(&self) -> Vec<TraceState> {
        self.fill();
        self.table().iter().filter_map(Trace::state).collect()
    }

    /// The file of a trace, with all that has come until now.
    pub(crate) fn file(&self, key: TraceKey) -> Option<Vec<u8>> {
        let mut table = self.table();
        let trace = table.iter_mut().find(|trace| trace.key == key)?;
        trace.fill(usize::MAX);
        trace.content.as_ref().map(|content| content.pcap.octets().to_vec())
    }

    /// Ends a trace, if it runs, and forgets it. Tells how it stood.
    pub(crate) fn forget(&self, key: TraceKey) -> Option<TraceState> {
        self.fill();
        let mut table = self.table();
        let place = table.iter().position(|trace| trace.key == key && trace.content.is_some())?;
        let state = table.remove(place).state()?;
        Some(TraceState { ended: state.ended.or(Some("stopped")), ..state })
    }

    fn table(&self) -> MutexGuard<'_, Vec<Trace>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Beginning {
    /// The shard has begun: tells how the trace stands.
    pub(crate) fn begun(self, traced: Traced) -> Option<TraceState> {
        let mut table = self.traces.table();
        let trace = table.iter_mut().find(|trace| trace.key == self.key)?;
        let pcap = Pcap::new(traced.peer, traced.local);
        trace.content = Some(Content { traced, pcap, pdus: 0, dropped: 0 });
        trace.state()
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        self.traces.table().retain(|trace| trace.key != self.key || trace.content.is_some());
    }
}

impl Trace {
    /// Takes over about so many octets of what has come; tells how many.
    fn fill(&mut self, bytes_max: usize) -> usize {
        let (Some(reader), Some(content)) = (&mut self.reader, &mut self.content) else { return 0 };
        let mut ended = None;
        let taken = reader.take(bytes_max, |record| {
            if ended.is_none() {
                ended = content.add(&record, self.limits.max_bytes as usize);
            }
        });
        let ended = ended.or(reader.is_over().then_some("session"));
        if let Some(reason) = ended {
            // The shard notices that nobody reads any more.
            self.reader = None;
            content.pcap.finish();
            self.ended = Some((reason, Instant::now()));
        }
        taken
    }

    /// Octets that it takes, or may still come to.
    fn bytes(&self) -> usize {
        match &self.content {
            Some(content) if self.ended.is_some() => content.pcap.octets().len(),
            _ => self.limits.max_bytes as usize,
        }
    }

    fn state(&self) -> Option<TraceState> {
        let content = self.content.as_ref()?;
        Some(TraceState {
            key: self.key,
            traced: content.traced,
            limits: self.limits,
            began_unix_ms: self.began_unix_ms,
            ended: self.ended.map(|(reason, _)| reason),
            pdus: content.pdus,
            dropped: content.dropped,
            bytes: content.pcap.octets().len(),
        })
    }
}

impl Content {
    /// Adds a record; the reason where the trace ends with it.
    fn add(&mut self, record: &TraceRecord<'_>, bytes_max: usize) -> Option<&'static str> {
        match *record {
            TraceRecord::Pdu { direction, at_unix_nanos, dropped, skipped, pdu } => {
                self.dropped = dropped;
                if self.pcap.octets().len() + self.pcap.growth(pdu.len()) > bytes_max {
                    return Some("size");
                }
                self.pcap.add(direction, at_unix_nanos, skipped, pdu);
                self.pdus += 1;
                None
            }
            TraceRecord::Ended { reason, dropped } => {
                self.dropped = dropped;
                Some(match reason {
                    TraceEnd::Time => "time",
                    TraceEnd::Session => "session",
                })
            }
        }
    }
}

fn has_room(table: &[Trace], limits: TraceLimits) -> bool {
    let bytes: usize = table.iter().map(Trace::bytes).sum();
    table.len() < KEPT_MAX && bytes + limits.max_bytes as usize <= KEPT_BYTES_MAX
}

/// The place of the trace that ended first.
fn first_ended(table: &[Trace]) -> Option<usize> {
    let ended = table.iter().enumerate().filter_map(|(place, trace)| Some((trace.ended?.1, place)));
    ended.min().map(|(_, place)| place)
}

#[cfg(test)]
mod tests;
