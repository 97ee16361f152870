//! What must hold for a journal whatever was written and whatever happened to its octets. Fuzz targets call
//! [`journal`] with what libFuzzer makes up, `tests/journal.rs` each check by itself; whatever does not hold is a panic.

#![allow(dead_code, reason = "each user calls some of them")]

#[path = "journal_log.rs"]
mod log;

use log::{LOG, Log, Model, Writer, replay, seen};
use smpp_shards::journal::{
    BATCH_HEADER, BLOCK, Inspector, LogName, Reason, SegmentReader, Step, reseal, segment_file, segment_header,
};

/// Octets of a segment's header that mean something.
const SEGMENT_HEADER: usize = 36;

/// Any octets at all: the first one says what is checked.
pub(crate) fn journal(octets: &[u8]) {
    raw(octets);
    let Some(([kind, high, middle, low], script)) = octets.split_first_chunk() else { return };
    let place = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
    match kind % 6 {
        0 => cut(script, place),
        1 => flipped(script, place, *kind / 6),
        2 => torn(script, place as u64, *kind >= 128),
        3 => recycled(&script[script.len() / 2..], script),
        4 => repeated(script, place as u64),
        _ => written_again(script, place),
    }
}

/// Octets that nobody wrote hold nothing, and reading them ends.
pub(crate) fn raw(octets: &[u8]) {
    for is_followed in [false, true] {
        let mut reader = SegmentReader::new(LOG, 0, octets, Some(1), is_followed);
        let mut doubt = None;
        while let Some(step) = reader.step(octets) {
            match step {
                Step::Entry { offset, .. } => assert!((offset as usize) < octets.len()),
                Step::Damage(damage) => assert!(damage.offset as usize <= octets.len()),
                Step::Doubt(last) => doubt = Some(last),
            }
        }
        if let Some(mut doubt) = doubt {
            assert!(!is_followed);
            let octets = &octets[doubt.octets.clone()];
            while doubt.reader.step(octets).is_some() {}
        }
    }
    let mut inspector = Inspector::new();
    inspector.add(LOG, 0, "first", octets);
    inspector.add(LOG, 1, "second", octets);
    assert!(!inspector.finish().to_string().is_empty());
}

/// A log that was cut at any octet of its last segment has all that stands in front, and nothing is called damaged.
pub(crate) fn cut(script: &[u8], at: usize) {
    let mut log = Log::write(script);
    let Some(last) = log.segments.last_mut() else { return };
    last.truncate(at % (last.len() + 1));
    let left = last.len();
    log.check_prefix(left, &format!("cut at {left}"));
}

/// The sectors of the last batch were written or not, over zeros or an older use of the file: what stands in
/// front of the first missing octet is there, and nothing is called damaged.
pub(crate) fn torn(script: &[u8], sectors: u64, is_used: bool) {
    const SECTOR: usize = 512;
    let mut log = Log::write(script);
    let Some(batch) = log.batches.last().copied() else { return };
    let before = if is_used { log.older_use() } else { Vec::new() };
    let last = &mut log.segments[batch.segment];
    let whole = last.clone();
    for (index, at) in (batch.start..batch.end).step_by(SECTOR).enumerate() {
        if sectors >> (index % 64) & 1 == 0 {
            let older = before.get(at..at + SECTOR).unwrap_or(&[0; SECTOR]);
            last[at..at + SECTOR].copy_from_slice(older);
        }
    }
    let good = whole.iter().zip(&*last).position(|(new, old)| new != old).unwrap_or(whole.len());
    log.check_prefix(good, &format!("good up to {good}"));
}

/// A bit that flips in front of the last batch costs one record at the most, and is reported where it is.
pub(crate) fn flipped(script: &[u8], at: usize, bit: u8) {
    let mut log = Log::write(script);
    let Some(last) = log.batches.last().copied() else { return };
    let (segment, at) = log.place(at);
    if (segment, at) >= (last.segment, if last.start == BLOCK { 0 } else { last.start }) {
        return;
    }
    log.segments[segment][at] ^= 1 << (bit % 8);
    let hit = log.records.iter().position(|record| record.segment == segment && record.has(at));
    let batch = log.batches.iter().find(|batch| batch.segment == segment && batch.has(at));
    let expected = match (hit, batch) {
        (Some(hit), _) => Some((log.records[hit].start, Reason::Record)),
        (None, Some(batch)) if at < batch.start + BATCH_HEADER => Some((batch.start, Reason::BatchHeader)),
        (None, None) if at < SEGMENT_HEADER => Some((0, Reason::SegmentHeader)),
        _ => None,
    };
    let live = log.replay();
    let problems: Vec<_> =
        live.problems.iter().map(|problem| (&*problem.file, problem.offset, problem.reason)).collect();
    let file = segment_file(LOG.shard, segment as u32);
    let expected: Vec<_> = expected.iter().map(|(offset, reason)| (&*file, *offset as u64, *reason)).collect();
    assert_eq!(problems, expected, "flipped at {at} of segment {segment}");
    let kept = log.records.iter().enumerate().filter(|(index, _)| Some(*index) != hit);
    assert_eq!(seen(&live), Model::of(kept.map(|(_, record)| record.operation)).seen());
}

/// What stood in files before they were used again is not taken for ours, wherever the new octets end.
pub(crate) fn recycled(old: &[u8], new: &[u8]) {
    let clean = Log::write(new);
    for log in [LOG, LogName { start: LOG.start - 1, ..LOG }, LogName { shard: 0, ..LOG }] {
        // The same log has used its files before under lower segment and batch numbers.
        let old = Log::write_as(old, log, 1_000, 1_000);
        let mut used = clean.clone();
        for (index, segment) in used.segments.iter_mut().enumerate() {
            let older = &old.segments.get(index).map_or(&[][..], |older| older);
            segment.extend_from_slice(older.get(segment.len()..).unwrap_or_default());
        }
        let unused = used.segments.len();
        used.segments.extend(old.segments.iter().cloned());
        let live = used.replay();
        assert_eq!((live.problem_count, live.logs.iter().map(|log| log.torn_octets).sum::<u64>()), (0, 0));
        assert_eq!(seen(&live), clean.model().seen());
        let unused = used.segments.len() - unused;
        assert_eq!(live.logs.iter().map(|log| log.unused_segments).sum::<u64>(), unused as u64);
    }
}

/// Records that stand there again later change nothing, and neither does the end of segments whose live entries do.
pub(crate) fn repeated(script: &[u8], seed: u64) {
    let log = Log::write(script);
    let mut random = seed | 1;
    let mut operations = Vec::new();
    for record in &log.records {
        operations.push(record.operation);
        random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        if random >> 62 == 0 {
            operations.push(operations[(random >> 32) as usize % operations.len()]);
        }
    }
    let mut writer = Writer::new(LOG, 1, 0);
    operations.iter().for_each(|operation| writer.append(*operation));
    let again = writer.finish();
    let live = again.replay();
    assert_eq!(live.problem_count, 0);
    assert_eq!(seen(&live), log.model().seen());
    let first = log.free_below();
    for first in [first / 2, first] {
        let freed = log.replay_from(first);
        assert_eq!(freed.problem_count, 0);
        assert_eq!(seen(&freed), log.model().seen(), "from segment {first}");
    }
}

/// A batch whose write failed half-way and that was written again to the next segment, with all that came after it.
pub(crate) fn written_again(script: &[u8], at: usize) {
    let log = Log::write(script);
    if log.batches.is_empty() {
        return;
    }
    let failed = log.batches[at % log.batches.len()];
    let mut segments = log.segments[..=failed.segment].to_vec();
    let mut rest = segments[failed.segment].split_off(failed.start);
    segments[failed.segment].extend_from_slice(&rest[..at % (failed.end - failed.start)]);
    segments[failed.segment].resize(failed.end, 0);
    let again = log.batches.iter().filter(|batch| batch.segment == failed.segment && batch.start >= failed.start);
    for batch in again {
        let octets = &mut rest[batch.start - failed.start..batch.end - failed.start];
        reseal(LOG, failed.segment as u32 + 1, batch.number, octets);
    }
    let mut next = Vec::new();
    segment_header(LOG, failed.segment as u32 + 1, 1 << 20, &mut next);
    next.extend_from_slice(&rest);
    segments.push(next);
    let later = log.batches.iter().any(|batch| batch.segment > failed.segment);
    let live = replay(&segments, 0);
    assert_eq!(live.problem_count, 0, "{:?}", live.problems);
    let records = log.records.iter().filter(|record| !later || record.segment <= failed.segment);
    assert_eq!(seen(&live), Model::of(records.map(|record| record.operation)).seen());
}
