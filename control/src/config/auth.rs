//! `[auth]`: how long refusals are held back from addresses whose binds keep failing.
//!
//! As the other sections: read before any thread is started, and again with each reload.

use smpp_shards::settings::AuthSettings;
use toml::Spanned;
use toml::de::DeValue;

use super::document::Reader;
use super::sections::section;

/// Milliseconds by which a refused bind is held back at the most: clients give up after 5 seconds and more.
const FAILURE_DELAY_MS_MAX: u64 = 4_000;

/// Seconds after which an address that failed counts as new, at the most: a day.
const FAILURE_FORGET_SECONDS_MAX: u32 = 86_400;

/// Reads the section and checks it.
pub(super) fn read_auth(reader: &mut Reader<'_>, value: Option<Spanned<DeValue<'_>>>) -> AuthSettings {
    let settings: AuthSettings = section(reader, "auth", value);
    let (first, most) = (settings.failure_delay_ms, settings.failure_delay_max_ms);
    if most > FAILURE_DELAY_MS_MAX {
        let cure = format!("give at most {FAILURE_DELAY_MS_MAX} milliseconds: clients wait 5 seconds for an answer");
        reader.fault("auth", 0, "failure_delay_max_ms", format!("is {most}"), cure);
    } else if first > most {
        let cure = format!("give at most failure_delay_max_ms, {most}");
        reader.fault("auth", 0, "failure_delay_ms", format!("is {first}"), cure);
    }
    let forget = settings.failure_forget_seconds;
    if forget == 0 || forget > FAILURE_FORGET_SECONDS_MAX {
        let cure = format!("give 1 to {FAILURE_FORGET_SECONDS_MAX} seconds");
        reader.fault("auth", 0, "failure_forget_seconds", format!("is {forget}"), cure);
    }
    settings
}
