//! Whether a connection has shown the TLS client certificate that its customer demands.
//!
//! Pure; used on the control thread. That a certificate is genuine, in date and signed by an authority of the listener was settled
//! with the handshake; here it is only told whose it is.

use ring::digest::{SHA256, digest};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use smpp_shards::snapshot::Customer;

/// `Err`: why a connection that showed this certificate, or none, is not the customer's; for the log.
pub(super) fn check(customer: &Customer, tls: bool, certificate: Option<&[u8]>) -> Result<(), &'static str> {
    if !customer.needs_certificate() {
        return Ok(());
    }
    match certificate {
        None if !tls => Err("the customer must present a client certificate, and the bind came without TLS"),
        None => Err("the customer must present a client certificate, and there was none"),
        Some(shown) if is_known(customer, shown) || has_name(customer, shown) => Ok(()),
        Some(_) => Err("the client certificate is not one of the customer's"),
    }
}

fn is_known(customer: &Customer, certificate: &[u8]) -> bool {
    let shown = digest(&SHA256, certificate);
    customer.certificate_fingerprints.iter().any(|known| known == shown.as_ref())
}

/// Whether it is made out for one of the names, which its subject alternative names tell.
fn has_name(customer: &Customer, certificate: &[u8]) -> bool {
    let certificate = CertificateDer::from(certificate);
    let Ok(certificate) = ParsedCertificate::try_from(&certificate) else { return false };
    customer.settings.tls_client_certificate_names.iter().any(|name| {
        ServerName::try_from(name.as_str()).is_ok_and(|name| verify_server_name(&certificate, &name).is_ok())
    })
}
