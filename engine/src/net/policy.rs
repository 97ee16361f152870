//! How the kernel schedules a shard's thread. Called on that thread.

/// Which of the kernel's ordinary policies a thread has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// SCHED_OTHER: woken on a core that another thread uses, it interrupts that one.
    Other,
    /// SCHED_BATCH: it waits for the other one's pause, or for the end of its turn.
    Batch,
}

/// The calling thread's policy; `None` where it has one of the operator's choice (real-time, idle).
pub fn policy() -> Option<Policy> {
    // SAFETY: the call takes a plain value.
    match unsafe { libc::sched_getscheduler(0) } {
        libc::SCHED_OTHER => Some(Policy::Other),
        libc::SCHED_BATCH => Some(Policy::Batch),
        _ => None,
    }
}

/// Gives the calling thread a policy, which those that it starts have as well. Tells whether it has it now: a container may
/// forbid that.
pub fn set_policy(policy: Policy) -> bool {
    let number = match policy {
        Policy::Other => libc::SCHED_OTHER,
        Policy::Batch => libc::SCHED_BATCH,
    };
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: the call takes plain values and a pointer to a structure of the right type that outlives it.
    unsafe { libc::sched_setscheduler(0, number, &raw const parameter) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_thread(what: impl FnOnce() + Send + 'static) {
        std::thread::spawn(what).join().expect("the thread ends");
    }

    #[test]
    fn a_thread_changes_its_policy() {
        on_a_thread(|| {
            assert_eq!(policy(), Some(Policy::Other));
            assert!(set_policy(Policy::Batch));
            assert_eq!(policy(), Some(Policy::Batch));
            assert!(set_policy(Policy::Other));
            assert_eq!(policy(), Some(Policy::Other));
        });
    }

    #[test]
    fn a_policy_of_the_operators_choice_is_told_apart() {
        on_a_thread(|| {
            let parameter = libc::sched_param { sched_priority: 0 };
            // SAFETY: as above.
            assert_eq!(unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameter) }, 0);
            assert_eq!(policy(), None);
        });
    }
}
