//! Certificates made for a test, and a TLS customer that tells which one it was shown.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::folder::Folder;
use super::wire::Wire;
use super::{Esme, PATIENCE};

/// A certificate that stands for itself, and its key, as PEM files.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pem: String,
}

impl Certificate {
    /// Files `name.pem` and `name.key`, written over what was there.
    pub(crate) fn make(folder: &Folder, name: &str, domain: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([domain.to_owned()]).unwrap();
        let pem = made.cert.pem();
        let cert = folder.write(&format!("{name}.pem"), &pem);
        let key = folder.write(&format!("{name}.key"), &made.signing_key.serialize_pem());
        Self { cert, key, pem }
    }

    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()
    }
}

/// Connects by TLS to a server under that name, and trusts this one certificate alone.
///
/// # Errors
/// When the handshake fails, as it does where another certificate is shown.
pub(crate) fn connect_tls(address: SocketAddr, domain: &str, trusted: &Certificate) -> Result<Esme, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(domain.to_owned()).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name)?;
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut stream) {
            return match error.downcast::<rustls::Error>() {
                Ok(error) => Err(error),
                Err(error) => panic!("no handshake: {error}"),
            };
        }
    }
    Ok(Esme::over(Wire::new(StreamOwned::new(connection, stream))))
}
