//! `[auth]`: how long refusals are held back from addresses whose binds keep failing; and what `[smpp]` says of customers'
//! certificates.
//!
//! As the other sections: read before any thread is started, and again with each reload.

use std::path::PathBuf;

use smpp_shards::settings::AuthSettings;
use toml::Spanned;
use toml::de::DeValue;

use super::document::Reader;
use super::sections::section;
use super::{Certificate, ClientCertificates};

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

/// Checks that customers' certificates can be asked for where they are wanted.
pub(super) fn check_client_certificates(
    reader: &mut Reader<'_>,
    authority: &Option<PathBuf>,
    wanted: Option<ClientCertificates>,
    certificates: &[Certificate],
) {
    match authority {
        None if wanted.is_some() => {
            let reason = "is set, and there is no tls_client_ca";
            let cure = "name the PEM file of the authorities that sign customers' certificates";
            reader.fault("smpp", 0, "tls_client_certificates", reason, cure);
        }
        Some(path) if path.as_os_str().is_empty() => {
            reader.fault("smpp", 0, "tls_client_ca", "is empty", "name a PEM file, or leave it out");
        }
        Some(_) if certificates.is_empty() => {
            let cure = "add [[smpp.certificates]] with domain, cert and key";
            reader.fault("smpp", 0, "tls_client_ca", "is set, and the gateway has no certificate itself", cure);
        }
        _ => {}
    }
}
