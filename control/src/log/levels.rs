//! Which lines are written: a level for each component, changed while the gateway runs.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::config::LogLevel;

/// Whatever writes lines of its own.
pub(crate) const COMPONENTS: [&str; 10] = [
    "gateway",
    "smpp_server",
    "smpp_client",
    "dlr",
    "journal",
    "control",
    "configuration",
    "postgresql",
    "store",
    "nodes",
];

const LEVELS: [LogLevel; 4] = [LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error];

/// The level of each of [`COMPONENTS`], and of all others.
#[derive(Debug)]
pub(super) struct Levels {
    components: [AtomicU8; COMPONENTS.len()],
    others: AtomicU8,
}

impl Levels {
    pub(super) fn new(level: LogLevel) -> Self {
        let of = || AtomicU8::new(level as u8);
        Self { components: core::array::from_fn(|_| of()), others: of() }
    }

    /// Below it a component's lines are left out.
    pub(super) fn of(&self, component: &str) -> LogLevel {
        let place = COMPONENTS.iter().position(|known| *known == component);
        let octet = place.map_or(&self.others, |place| &self.components[place]).load(Ordering::Relaxed);
        LEVELS.get(usize::from(octet)).copied().unwrap_or_default()
    }

    /// Sets one component's level, or that of all; `false` where there is no such component.
    pub(super) fn set(&self, component: Option<&str>, level: LogLevel) -> bool {
        let Some(component) = component else {
            self.components.iter().chain([&self.others]).for_each(|place| place.store(level as u8, Ordering::Relaxed));
            return true;
        };
        let place = COMPONENTS.iter().position(|known| *known == component);
        place.inspect(|place| self.components[*place].store(level as u8, Ordering::Relaxed)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_set_for_one_component_or_for_all() {
        let levels = Levels::new(LogLevel::Info);
        assert!(levels.set(Some("dlr"), LogLevel::Error));
        assert_eq!(
            (levels.of("dlr"), levels.of("journal"), levels.of("new")),
            (LogLevel::Error, LogLevel::Info, LogLevel::Info)
        );
        assert!(levels.set(None, LogLevel::Debug));
        assert_eq!((levels.of("dlr"), levels.of("new")), (LogLevel::Debug, LogLevel::Debug));
        assert!(!levels.set(Some("nothing"), LogLevel::Warn));
    }
}
