//! How the services beside the gateway do: told by whoever talks to one, read for `/health`, metrics and log.
//!
//! Lives on the control thread and is read by it; behind a lock that no shard ever sees.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A question that waits for its answer that long makes a service count as silent. With a question every half second it
/// is told within two seconds.
pub(crate) const SILENCE_MAX: Duration = Duration::from_millis(1_500);

/// From there on an answer is slow, unless much was asked for.
pub(crate) const SLOW: Duration = Duration::from_millis(500);

/// Whatever is wrong with a service is told within that.
pub(crate) const TOLD_MAX: Duration = Duration::from_secs(2);

/// One service.
#[derive(Debug)]
pub(crate) struct Service {
    /// What `/health`, metrics and log call it.
    pub(crate) name: &'static str,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Why it is away; `None` while it is there.
    away: Option<String>,
    /// Since when a question waits.
    asked: Option<Instant>,
    /// What the last answer to a question that asks for nothing took.
    took: Duration,
    /// What it does not do though it is there.
    refuses: Option<String>,
    /// What holds meanwhile, said behind the reason.
    meanwhile: Option<String>,
}

impl Service {
    /// One that counts as there until something else is told.
    pub(crate) fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self { name, state: Mutex::default() })
    }

    /// It is there and has answered. Tells whether it was away before.
    pub(crate) fn is_there(&self) -> bool {
        let mut state = self.state();
        state.asked = None;
        state.away.take().is_some()
    }

    /// It is away. Tells whether it was there before.
    pub(crate) fn is_away(&self, reason: String) -> bool {
        let mut state = self.state();
        state.asked = None;
        state.away.replace(reason).is_none()
    }

    /// A question is under way; [`Service::is_there`] or [`Service::is_away`] ends it.
    pub(crate) fn asks(&self) {
        self.state().asked.get_or_insert_with(Instant::now);
    }

    /// What an answer took to a question that asks for nothing.
    pub(crate) fn took(&self, time: Duration) {
        self.state().took = time;
    }

    /// What it does not do though it is there; `None`: nothing. Tells whether that is news.
    pub(crate) fn refuses(&self, what: Option<String>) -> bool {
        let mut state = self.state();
        let is_news = state.refuses.is_some() != what.is_some();
        state.refuses = what;
        is_news
    }

    /// What holds while it is away, such as which configuration; until it is there again for good.
    pub(crate) fn meanwhile(&self, what: Option<String>) {
        self.state().meanwhile = what;
    }

    /// Why it counts as degraded, if it does.
    pub(crate) fn complaint(&self) -> Option<String> {
        let state = self.state();
        let mut reason = match (&state.away, state.asked) {
            (Some(away), _) => away.clone(),
            (None, Some(asked)) if asked.elapsed() > SILENCE_MAX => {
                format!("has not answered for {} ms", asked.elapsed().as_millis())
            }
            (None, _) if state.refuses.is_some() => state.refuses.clone()?,
            (None, _) if state.took >= SLOW => format!("answers slowly: {} ms", state.took.as_millis()),
            (None, _) => return None,
        };
        if let Some(meanwhile) = &state.meanwhile {
            reason.push_str("; ");
            reason.push_str(meanwhile);
        }
        Some(reason)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_degraded_while_it_is_away_and_says_what_holds_meanwhile() {
        let service = Service::new("postgresql");
        assert_eq!(service.complaint(), None);
        assert!(service.is_away("connection refused".into()));
        assert!(!service.is_away("no route to host".into()), "it was away already");
        service.meanwhile(Some("what was read before is in force".into()));
        assert_eq!(service.complaint().as_deref(), Some("no route to host; what was read before is in force"));
        assert!(service.is_there());
        assert_eq!(service.complaint(), None);
        assert!(!service.is_there(), "it was there already");
    }

    #[test]
    fn a_service_that_is_slow_or_refuses_something_is_degraded() {
        let service = Service::new("postgresql");
        service.took(SLOW - Duration::from_millis(1));
        assert_eq!(service.complaint(), None);
        service.took(SLOW);
        assert_eq!(service.complaint().as_deref(), Some("answers slowly: 500 ms"));
        assert!(service.refuses(Some("has no room".into())));
        assert!(!service.refuses(Some("has no room at all".into())), "it had none before");
        assert_eq!(service.complaint().as_deref(), Some("has no room at all"));
        service.took(Duration::ZERO);
        assert!(service.refuses(None));
        assert_eq!(service.complaint(), None);
    }

    #[test]
    fn a_question_without_an_answer_counts_after_its_time() {
        let service = Service::new("postgresql");
        service.state().asked = Instant::now().checked_sub(SILENCE_MAX + Duration::from_millis(1));
        service.asks();
        assert!(service.complaint().is_some_and(|reason| reason.starts_with("has not answered for 15")));
        service.is_there();
        service.asks();
        assert_eq!(service.complaint(), None);
    }
}
