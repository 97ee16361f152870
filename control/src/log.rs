//! The log: JSON lines on standard output, one object each.
//!
//! [`Log`] may be used from any thread but a shard's: it never waits, for a thread of its own does the writing,
//! and lines that this one cannot take are dropped and counted. No password ever comes here.

mod events;
mod levels;
mod line;
mod writer;

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use smpp_shards::{Event, ShardId, Snapshot};

use crate::config::{LogLevel, LogSettings};
pub(crate) use events::{ROOM_CURE, reason_text, status_name};
pub(crate) use levels::COMPONENTS;
use levels::Levels;
use line::Line;
pub(crate) use line::{rfc3339, unix_ms};
use writer::Writer;

/// Lines with one message that are written in one second. Beyond it they are counted, and one line tells how
/// many there were. Errors are not counted in.
const LINES_PER_SECOND_MAX: u32 = 50;

/// A value beside a log line's message.
#[derive(Clone, Copy, Debug)]
pub enum Field<'a> {
    /// A text.
    Text(&'a str),
    /// A number.
    Number(u64),
}

/// Writes the log. A clone writes to the same one.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    levels: Levels,
    writer: Writer,
    floods: Mutex<Vec<Flood>>,
}

/// Lines of one message within the current second.
struct Flood {
    message: &'static str,
    component: &'static str,
    level: LogLevel,
    written: u32,
    suppressed: u64,
}

impl Log {
    /// A log to standard output.
    ///
    /// # Errors
    /// When there is no thread to be had for it.
    pub fn to_stdout(settings: LogSettings) -> io::Result<Self> {
        Self::to(settings, Box::new(io::stdout()))
    }

    /// A log to anything that takes octets.
    ///
    /// # Errors
    /// When there is no thread to be had for it.
    pub fn to(settings: LogSettings, output: Box<dyn Write + Send>) -> io::Result<Self> {
        let writer = Writer::start(output)?;
        Ok(Self { shared: Arc::new(Shared { levels: Levels::new(settings.level), writer, floods: Mutex::default() }) })
    }

    /// Writes one line, unless its level is below the log's or there were too many alike within this second.
    pub fn write(
        &self,
        level: LogLevel,
        component: &'static str,
        message: &'static str,
        fields: &[(&'static str, Field<'_>)],
    ) {
        if level < self.shared.levels.of(component) || !self.may_pass(level, component, message) {
            return;
        }
        self.put(level, component, message, fields);
    }

    fn put(
        &self,
        level: LogLevel,
        component: &'static str,
        message: &'static str,
        fields: &[(&'static str, Field<'_>)],
    ) {
        let mut line = Line::new(level, component, message);
        for (name, value) in fields {
            match value {
                Field::Text(text) => line.text(name, text),
                Field::Number(number) => line.number(name, *number),
            }
        }
        self.shared.writer.put(line.finish());
    }

    /// Writes one line whatever the level is and however many there were: for what must be on record.
    pub(crate) fn record(&self, component: &'static str, message: &'static str, fields: &[(&'static str, Field<'_>)]) {
        self.put(LogLevel::Info, component, message, fields);
    }

    /// Below which level a component's lines are left out.
    pub(crate) fn level_of(&self, component: &str) -> LogLevel {
        self.shared.levels.of(component)
    }

    /// Sets the level of one of [`COMPONENTS`], or of all; `false` where there is no such component.
    pub(crate) fn set_level(&self, component: Option<&str>, level: LogLevel) -> bool {
        self.shared.levels.set(component, level)
    }

    /// Whether the PDUs exchanged with customers are shown, and those with vendors: at DEBUG of smpp_server and of smpp_client.
    pub fn shows_pdus(&self) -> (bool, bool) {
        let is_debug = |component| self.level_of(component) == LogLevel::Debug;
        (is_debug("smpp_server"), is_debug("smpp_client"))
    }

    /// Lines that found no room so far.
    pub fn dropped_lines(&self) -> u64 {
        self.shared.writer.dropped()
    }

    /// Waits until all lines so far are written, but no longer than `limit`; tells whether they are.
    pub fn flush(&self, limit: Duration) -> bool {
        self.shared.writer.flush(Instant::now() + limit)
    }

    /// Writes what happened on a shard, with names out of the snapshot.
    pub(crate) fn event(&self, shard: ShardId, event: &Event, snapshot: &Snapshot) {
        events::write(self, shard, event, snapshot);
    }

    /// Once a second: tells what was suppressed, and lets as many lines pass again.
    pub(crate) fn end_second(&self) {
        let floods = core::mem::take(&mut *self.floods());
        for flood in floods.into_iter().filter(|flood| flood.suppressed > 0) {
            let mut line = Line::new(flood.level, flood.component, "lines suppressed");
            line.text("suppressed_message", flood.message);
            line.number("suppressed", flood.suppressed);
            self.shared.writer.put(line.finish());
        }
    }

    fn may_pass(&self, level: LogLevel, component: &'static str, message: &'static str) -> bool {
        if level == LogLevel::Error {
            return true;
        }
        let mut floods = self.floods();
        let index = floods.iter().position(|flood| flood.message == message).unwrap_or_else(|| {
            floods.push(Flood { message, component, level, written: 0, suppressed: 0 });
            floods.len() - 1
        });
        let flood = &mut floods[index];
        let passes = flood.written < LINES_PER_SECOND_MAX;
        match passes {
            true => flood.written += 1,
            false => flood.suppressed += 1,
        }
        passes
    }

    fn floods(&self) -> std::sync::MutexGuard<'_, Vec<Flood>> {
        self.shared.floods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
