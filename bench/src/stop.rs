//! Asking an engine to end: from a signal, from another thread, or from a test.
//!
//! A [`Stop`] is shared; an engine registers a waker of its event loop with it and looks at [`Stop::asked`]
//! once a turn. A signal is waited for by one small thread that blocks in a pipe read and does nothing else.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use mio::Waker;
use signal_hook::consts::{SIGINT, SIGTERM};

/// A request to end, shared between threads. Clones are the same request.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    asked: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Stop {
    /// A request not yet made.
    pub fn new() -> Self {
        Self::default()
    }

    /// A request that SIGTERM or SIGINT makes. A second signal ends the process at once with status 130.
    ///
    /// # Errors
    /// When the signals cannot be caught or the thread cannot be started.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::new();
        let (mut receiver, sender) = UnixStream::pair()?;
        signal_hook::low_level::pipe::register(SIGTERM, sender.try_clone()?)?;
        signal_hook::low_level::pipe::register(SIGINT, sender)?;
        let asked = stop.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            let mut signal = [0];
            while receiver.read_exact(&mut signal).is_ok() {
                if asked.asked() {
                    std::process::exit(130);
                }
                asked.ask();
            }
        })?;
        Ok(stop)
    }

    /// Makes the request and wakes every registered event loop.
    pub fn ask(&self) {
        self.inner.asked.store(true, Ordering::Release);
        for waker in self.inner.wakers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // A loop that is gone cannot be woken and need not be.
            let _ = waker.wake();
        }
    }

    /// Whether the request has been made.
    pub fn asked(&self) -> bool {
        self.inner.asked.load(Ordering::Acquire)
    }

    /// Has `waker` woken when the request is made; at once when it has been made already.
    pub fn wakes(&self, waker: Waker) {
        if self.asked() {
            let _ = waker.wake();
        }
        self.inner.wakers.lock().unwrap_or_else(PoisonError::into_inner).push(waker);
    }
}
