//! The model disk: segment files by start, shard and number; writes that fail, fill the disk, tear or vanish at a crash;
//! files that are used again with their old octets in them. Single thread; it decides by its own stream alone.

use std::collections::{BTreeMap, BTreeSet};

use smpp_shards::journal::{BLOCK, Batch, Live, LogName, Replay, segment_file};

use crate::random::Stream;
use crate::scenario::JournalPlan;

/// Octets that a disk writes as a whole, whatever happens.
const SECTOR: usize = 512;

/// Old files that are kept to be used again.
const SPARES_MAX: usize = 8;

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is on stable storage.
    Whole,
    /// There was no room.
    Full,
    /// It failed; nobody knows how much is there.
    Failed,
}

impl Written {
    /// As the host tells it to its shard.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::Full => "no space left on device",
            Self::Failed => "input/output error",
        }
    }
}

/// One file: its log and its segment.
pub(crate) type FileName = (LogName, u32);

/// One disk for all shards.
pub(crate) struct Disk {
    plan: JournalPlan,
    files: BTreeMap<FileName, Vec<u8>>,
    /// Where in each file the batches stand that are known to be written.
    whole: BTreeMap<FileName, Vec<u64>>,
    /// Files to which a write has failed, or was cut.
    torn: BTreeSet<FileName>,
    /// What was given to the disk and is not known to be written, by shard.
    flying: BTreeMap<usize, (FileName, Batch, Vec<u8>)>,
    /// Octets of files that are not wanted any more, to be written over.
    spares: Vec<Vec<u8>>,
    /// The start whose files hold all that is live.
    complete: Option<u64>,
    random: Stream,
}

impl Disk {
    /// An empty disk.
    pub(crate) fn new(plan: JournalPlan, random: Stream) -> Self {
        let (files, flying, spares) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let (whole, torn) = (BTreeMap::new(), BTreeSet::new());
        Self { plan, files, whole, torn, flying, spares, complete: None, random }
    }

    /// A write begins; gives the microseconds that it takes.
    pub(crate) fn begin(&mut self, host: usize, log: LogName, mut batch: Batch) -> u64 {
        let octets = batch.seal().to_vec();
        let before = self.flying.insert(host, ((log, batch.segment()), batch, octets));
        assert!(before.is_none(), "shard {host} writes two batches at one time");
        self.random.spread(self.plan.write_us.0, self.plan.write_us.1)
    }

    /// The write of that host ends; `may_fail` says that faults are not over, `now_ms` when it is. Gives the batch back.
    pub(crate) fn end(&mut self, host: usize, may_fail: bool, now_ms: u64) -> (Written, Batch) {
        let (name, batch, octets) = self.flying.remove(&host).expect("a write that ends has begun");
        let is_full = self.plan.full.iter().any(|(from, length)| (*from..from + length).contains(&now_ms));
        let written = match may_fail {
            true if is_full => Written::Full,
            true if self.random.chance(self.plan.failures) => Written::Failed,
            _ => Written::Whole,
        };
        match written {
            Written::Whole => {
                self.write(name, batch.offset(), &octets, |_| true);
                self.whole.entry(name).or_default().push(batch.offset());
            }
            Written::Full | Written::Failed => self.tear(name, batch.offset(), &octets),
        }
        (written, batch)
    }

    /// The process or the machine stops: what is being written is there, or not, or in part.
    pub(crate) fn crash(&mut self) {
        for (name, batch, octets) in core::mem::take(&mut self.flying).into_values() {
            self.tear(name, batch.offset(), &octets);
        }
    }

    fn tear(&mut self, name: FileName, offset: u64, octets: &[u8]) {
        let length = octets.len();
        self.torn.insert(name);
        match self.random.below(4) {
            0 => {}
            1 => self.write(name, offset, octets, |_| true),
            2 => {
                let sectors = self.random.below((length / SECTOR) as u64 + 1) as usize;
                self.write(name, offset, octets, |sector| sector < sectors);
            }
            _ => {
                let blocks: Vec<bool> = (0..length / BLOCK).map(|_| self.random.chance(500)).collect();
                self.write(name, offset, octets, |sector| blocks[sector * SECTOR / BLOCK]);
            }
        }
    }

    /// Writes those sectors of the batch for which `keeps` holds.
    fn write(&mut self, name: FileName, offset: u64, octets: &[u8], keeps: impl Fn(usize) -> bool) {
        let reused = if offset == 0 && !self.files.contains_key(&name) && self.random.chance(self.plan.reuse) {
            self.spares.pop()
        } else {
            None
        };
        let file = self.files.entry(name).or_insert_with(|| reused.unwrap_or_default());
        let start = offset as usize;
        if file.len() < start + octets.len() {
            file.resize(start + octets.len(), 0);
        }
        for (sector, octets) in octets.chunks(SECTOR).enumerate() {
            if keeps(sector) {
                file[start + sector * SECTOR..][..octets.len()].copy_from_slice(octets);
            }
        }
    }

    /// The segments of that log below `before` are not wanted any more.
    pub(crate) fn free(&mut self, log: LogName, before: u32) {
        let names: Vec<FileName> = self.files.range((log, 0)..(log, before)).map(|(name, _)| *name).collect();
        self.remove(names);
    }

    /// What stands in a segment's file.
    pub(crate) fn read(&self, log: LogName, segment: u32) -> Result<Vec<u8>, String> {
        self.files.get(&(log, segment)).cloned().ok_or_else(|| format!("there is no segment {segment}"))
    }

    /// Everything that older starts held stands in that start's files now.
    pub(crate) fn completed(&mut self, start: u64) {
        self.complete = Some(start);
        self.remove_others();
    }

    /// Removes what belongs to no complete start: one that did not get through its recovery.
    pub(crate) fn remove_others(&mut self) {
        let complete = self.complete;
        let names = self.files.keys().filter(|(log, _)| Some(log.start) != complete);
        let names = names.copied().collect();
        self.remove(names);
    }

    fn remove(&mut self, names: Vec<FileName>) {
        for name in names {
            let octets = self.files.remove(&name);
            self.whole.remove(&name);
            self.torn.remove(&name);
            if self.spares.len() < SPARES_MAX {
                self.spares.extend(octets);
            }
        }
    }

    /// What a start would find.
    pub(crate) fn replayed(&self) -> Live {
        let mut replay = Replay::new();
        for ((log, segment), octets) in self.complete_files() {
            replay.add(log, segment, &segment_file(log.shard, segment), octets);
        }
        replay.finish()
    }

    /// The files of the start that holds all that is live, in order.
    pub(crate) fn complete_files(&self) -> impl Iterator<Item = (FileName, &[u8])> {
        let files = self.files.iter().filter(|((log, _), _)| Some(log.start) == self.complete);
        files.map(|(name, octets)| (*name, octets.as_slice()))
    }

    /// Whether what stands there is of a batch that is known to be written, and of which a later one of its log is.
    pub(crate) fn is_in_the_middle(&self, log: LogName, segment: u32, offset: u64) -> bool {
        let Some(batches) = self.whole.get(&(log, segment)) else { return false };
        let is_after = |begin: &u64| *begin > offset;
        // A batch that failed stands behind all that were written to its file, and nothing behind it.
        let is_of_whole = batches.iter().any(is_after) || !self.has_torn(log, segment);
        let later = self.whole.range((log, segment + 1)..=(log, u32::MAX)).next().is_some();
        is_of_whole && (later || batches.iter().any(is_after))
    }

    /// Whether anything was written to that file that nobody knows to be whole.
    fn has_torn(&self, log: LogName, segment: u32) -> bool {
        self.torn.contains(&(log, segment))
    }

    /// Turns bits of one octet of a file.
    pub(crate) fn flip(&mut self, log: LogName, segment: u32, at: usize, bits: u8) {
        if let Some(octet) = self.files.get_mut(&(log, segment)).and_then(|octets| octets.get_mut(at)) {
            *octet ^= bits;
        }
    }

    /// How many files there are.
    pub(crate) fn files(&self) -> usize {
        self.files.len()
    }

    /// Octets of all files.
    pub(crate) fn octets(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }
}
