//! How the kernel schedules a shard's thread.
//!
//! A shard that is woken while the waker still has more for it does best to let it finish: the work of one wake-up grows
//! and their number falls. That is what SCHED_BATCH says. Called once, on the shard's own thread, at its start.

/// Makes the calling thread a SCHED_BATCH one: woken on a core that another thread uses, it waits for that thread's
/// pause instead of interrupting it. Threads that it starts are ordinary ones. A thread that already has a policy of the
/// operator's choice (real-time, idle) keeps it. Tells whether the thread is a batch one now; where a container forbids
/// it, nothing but speed is lost.
pub fn schedule_as_batch() -> bool {
    // SAFETY: both calls take plain values, and a pointer to a structure of the right type that lives longer.
    unsafe {
        if libc::sched_getscheduler(0) != libc::SCHED_OTHER {
            return false;
        }
        let parameter = libc::sched_param { sched_priority: 0 };
        libc::sched_setscheduler(0, libc::SCHED_BATCH | libc::SCHED_RESET_ON_FORK, &raw const parameter) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_becomes_a_batch_one_and_what_it_starts_does_not() {
        // SAFETY: the call takes a plain value.
        let policy = || unsafe { libc::sched_getscheduler(0) } & !libc::SCHED_RESET_ON_FORK;
        std::thread::spawn(move || {
            assert!(schedule_as_batch());
            assert_eq!(policy(), libc::SCHED_BATCH);
            let child = std::thread::spawn(policy).join().expect("the child ends");
            assert_eq!(child, libc::SCHED_OTHER);
        })
        .join()
        .expect("the thread ends");
    }

    #[test]
    fn a_policy_of_the_operators_choice_is_kept() {
        std::thread::spawn(|| {
            let parameter = libc::sched_param { sched_priority: 0 };
            // SAFETY: as above.
            assert_eq!(unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameter) }, 0);
            assert!(!schedule_as_batch());
            // SAFETY: the call takes a plain value.
            assert_eq!(unsafe { libc::sched_getscheduler(0) }, libc::SCHED_IDLE);
        })
        .join()
        .expect("the thread ends");
    }
}
