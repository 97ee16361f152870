//! The latest of each vendor's links as the log has it: which step failed, from which address, and when it is tried again.
//!
//! Lives on the control thread; at most one of each kind is kept for a vendor.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use smpp_shards::{Event, VendorId};

use crate::log::{reason_text, unix_ms};

/// What went wrong with a vendor's link last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// When, milliseconds since 1970.
    pub(crate) unix_ms: u64,
    /// `name`, `tcp`, `tls`, `bind` or `link`.
    pub(crate) step: &'static str,
    /// From which address.
    pub(crate) local: Option<SocketAddr>,
    /// In words.
    pub(crate) reason: String,
    /// When it was to be tried again, milliseconds from then.
    pub(crate) again_ms: Option<u64>,
}

/// What is known of one vendor's links.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    /// The last thing that went wrong.
    pub(crate) trouble: Option<Trouble>,
    /// From which address the last link came up.
    pub(crate) local: Option<SocketAddr>,
}

/// By vendor.
#[derive(Debug, Default)]
pub(crate) struct VendorNews {
    vendors: Mutex<Vec<News>>,
}

impl VendorNews {
    /// Takes note of an event that is about a link.
    pub(crate) fn note(&self, event: &Event) {
        let now = unix_ms(SystemTime::now());
        match event {
            Event::LinkBound { vendor, local, .. } => self.news(*vendor, |news| news.local = *local),
            Event::LinkConnectFailed { vendor, failure, again_ms, .. } => {
                let trouble = Trouble {
                    unix_ms: now,
                    step: failure.step.name(),
                    local: failure.local,
                    reason: failure.reason.clone(),
                    again_ms: Some(*again_ms),
                };
                self.news(*vendor, |news| news.trouble = Some(trouble));
            }
            Event::LinkDown { vendor, local, reason, again_ms, .. } => {
                use smpp_shards::EndReason::{BindRefused, BindUnanswered};
                let step = if matches!(reason, BindRefused(_) | BindUnanswered) { "bind" } else { "link" };
                let reason = reason_text(*reason);
                let trouble = Trouble { unix_ms: now, step, local: *local, reason, again_ms: *again_ms };
                self.news(*vendor, |news| news.trouble = Some(trouble));
            }
            _ => {}
        }
    }

    /// What is known of a vendor.
    pub(crate) fn of(&self, vendor: VendorId) -> News {
        self.vendors().get(vendor.index()).cloned().unwrap_or_default()
    }

    fn news(&self, vendor: VendorId, change: impl FnOnce(&mut News)) {
        let mut vendors = self.vendors();
        if vendors.len() <= vendor.index() {
            vendors.resize(vendor.index() + 1, News::default());
        }
        change(&mut vendors[vendor.index()]);
    }

    fn vendors(&self) -> MutexGuard<'_, Vec<News>> {
        self.vendors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smpp_pdu::CommandStatus;
    use smpp_shards::{ConnectFailure, ConnectStep, EndReason, LinkId};

    #[test]
    fn the_last_trouble_of_each_vendor_is_known_with_its_step() {
        let news = VendorNews::default();
        let vendor = VendorId(2);
        let failure = ConnectFailure { step: ConnectStep::Tcp, local: None, reason: "refused".into() };
        news.note(&Event::LinkConnectFailed { vendor, link: LinkId(0), failure, again_ms: 3_000 });
        let trouble = news.of(vendor).trouble.unwrap();
        assert_eq!((trouble.step, trouble.reason.as_str(), trouble.again_ms), ("tcp", "refused", Some(3_000)));
        let local = "127.0.0.1:9".parse().ok();
        let reason = EndReason::BindRefused(CommandStatus::ESME_RINVPASWD);
        news.note(&Event::LinkDown { vendor, link: LinkId(0), local, reason, again_ms: None, unanswered: 0 });
        let trouble = news.of(vendor).trouble.unwrap();
        assert_eq!((trouble.step, trouble.local, trouble.again_ms), ("bind", local, None));
        assert!(trouble.reason.contains("ESME_RINVPASWD"), "{trouble:?}");
        assert!(news.of(VendorId(0)).trouble.is_none());
        assert!(news.of(VendorId(9)).trouble.is_none());
    }
}
