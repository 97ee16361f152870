//! The thread that writes the log, so that a slow reader of standard output delays nobody.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

/// Lines that may wait for the writer. Beyond it they are dropped and counted.
const LINES_WAITING_MAX: usize = 8_192;

enum Order {
    Line(String),
    Flush(Sender<()>),
}

/// The way to the writing thread, which ends when this is dropped.
pub(super) struct Writer {
    orders: Sender<Order>,
    dropped: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(output: Box<dyn Write + Send>) -> io::Result<Self> {
        let (orders, queue) = bounded(LINES_WAITING_MAX);
        thread::Builder::new().name("log".into()).spawn(move || work(&queue, output))?;
        Ok(Self { orders, dropped: Arc::default() })
    }

    /// Hands over a line; drops and counts it where there is no room.
    pub(super) fn put(&self, line: String) {
        if self.orders.try_send(Order::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until all lines so far are written; `false` when the deadline comes first.
    pub(super) fn flush(&self, deadline: Instant) -> bool {
        let (done, wait) = bounded(1);
        self.orders.send_deadline(Order::Flush(done), deadline).is_ok() && wait.recv_deadline(deadline).is_ok()
    }
}

/// A log that cannot be written (standard output was closed) must not end the gateway: its lines are lost.
fn work(queue: &Receiver<Order>, mut output: Box<dyn Write + Send>) {
    while let Ok(order) = queue.recv() {
        match order {
            Order::Line(line) => drop(output.write_all(line.as_bytes())),
            Order::Flush(done) => {
                let _ = output.flush();
                let _ = done.try_send(());
            }
        }
        if queue.is_empty() {
            let _ = output.flush();
        }
    }
}
