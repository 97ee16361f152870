//! What the gateway says, line by line, and waiting for it to say something.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;

/// Lines of standard output and standard error in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Log {
    /// Reads on a thread of its own until the end of the stream.
    pub(crate) fn follow(&self, stream: impl Read + Send + 'static) {
        let log = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                log.0.lines.lock().unwrap().push(line);
                log.0.more.notify_all();
            }
        });
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lines.lock().unwrap().clone()
    }

    /// How many lines hold all of these texts.
    pub(crate) fn count(&self, texts: &[&str]) -> usize {
        count(&self.0.lines.lock().unwrap(), texts)
    }

    /// Waits until so many lines hold all of these texts; the last of them.
    pub(crate) fn wait_for(&self, wanted: usize, texts: &[&str]) -> String {
        self.wait_for_within(PATIENCE, wanted, texts)
    }

    /// As [`Log::wait_for`], for what takes its time.
    pub(crate) fn wait_for_within(&self, patience: Duration, wanted: usize, texts: &[&str]) -> String {
        let until = Instant::now() + patience;
        let mut lines = self.0.lines.lock().unwrap();
        while count(&lines, texts) < wanted {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // The log is still wanted, to be shown.
                drop(lines);
                panic!("the log has no {wanted} lines with {texts:?} within {patience:?}");
            }
            lines = self.0.more.wait_timeout(lines, left).unwrap().0;
        }
        lines.iter().filter(|line| holds(line, texts)).nth(wanted - 1).cloned().unwrap()
    }

    /// The last lines, for a test that failed.
    pub(crate) fn end(&self) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

fn count(lines: &[String], texts: &[&str]) -> usize {
    lines.iter().filter(|line| holds(line, texts)).count()
}

fn holds(line: &str, texts: &[&str]) -> bool {
    texts.iter().all(|text| line.contains(text))
}
