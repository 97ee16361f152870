//! Certificates made on the spot, for these tests and those of the pump.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::Error;
use rustls::pki_types::ServerName;

use super::*;
use crate::tls::TlsSession;

/// An authority that signs certificates.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// A client that trusts this authority alone.
    pub(crate) fn client(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
        let mut store = RootCertStore::empty();
        store.add(self.issuer.der().clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(store)
            .with_no_client_auth()
    }
}

/// A folder of PEM files that goes with this value.
pub(crate) struct Files {
    folder: PathBuf,
    count: AtomicU32,
}

impl Files {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("smpp-gateway-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self { folder, count: AtomicU32::new(0) }
    }

    pub(crate) fn write(&self, text: &str) -> PathBuf {
        let path = self.folder.join(format!("{}.pem", self.count.fetch_add(1, Ordering::Relaxed)));
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn authority(&self, authority: &Authority) -> PathBuf {
        self.write(&authority.issuer.pem())
    }

    pub(crate) fn certificate(&self, authority: &Authority, domain: &str) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![domain.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority.issuer).unwrap();
        let (cert, key) = (self.write(&certificate.pem()), self.write(&key.serialize_pem()));
        Certificate { domain: domain.to_owned(), cert, key }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Shakes hands in memory; tells what the client thinks of it.
fn shake_hands(server: &Arc<ServerConfig>, client: ClientConfig, name: &str) -> Result<(), Error> {
    let mut server = TlsSession::server(server.clone()).unwrap();
    let mut client = TlsSession::client(Arc::new(client), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    let mut plain = Vec::new();
    while client.wants_write() || server.wants_write() {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        client.write_wire(&mut up);
        server.receive(&up, &mut plain)?;
        server.write_wire(&mut down);
        client.receive(&down, &mut plain)?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    let mut wire = Vec::new();
    client.send(&[7; 100_000], &mut wire);
    for part in wire.chunks(999) {
        server.receive(part, &mut plain)?;
    }
    assert!(plain == [7; 100_000]);
    Ok(())
}

#[test]
fn each_domain_gets_its_certificate_and_others_the_first() {
    let files = Files::new("domains");
    let authority = Authority::new();
    let domains = ["first.test", "second.test", "*.third.test"];
    let certificates = domains.map(|domain| files.certificate(&authority, domain));
    let server = TlsConfigs::read(&certificates, &[]).unwrap().server.unwrap();
    for name in ["first.test", "second.test", "a.third.test", "SECOND.test"] {
        for version in VERSIONS {
            shake_hands(&server, authority.client(&[version]), name).unwrap();
        }
    }
    let error = shake_hands(&server, authority.client(VERSIONS), "fourth.test").unwrap_err();
    assert!(matches!(error, Error::InvalidCertificate(_)), "{error}");
}

#[test]
fn a_key_of_another_certificate_is_refused_by_name() {
    let files = Files::new("mixed");
    let authority = Authority::new();
    let (one, other) = (files.certificate(&authority, "one.test"), files.certificate(&authority, "other.test"));
    let mixed = Certificate { key: other.key.clone(), ..one };
    let errors = TlsConfigs::read(&[mixed, other], &[]).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().contains("does not go with"), "{}", errors[0]);
}

#[test]
fn what_is_no_certificate_is_refused() {
    let files = Files::new("garbage");
    let (empty, missing) = (files.write("nothing\n"), Path::new("/nonexistent/cert.pem"));
    for cert in [empty.as_path(), missing] {
        let certificate = Certificate { domain: "x.test".into(), cert: cert.into(), key: empty.clone() };
        assert!(read_certificate(&certificate).is_err());
    }
}

#[test]
fn a_vendor_that_is_not_verified_may_show_any_certificate() {
    let files = Files::new("unverified");
    let server = TlsConfigs::read(&[files.certificate(&Authority::new(), "x.test")], &[]).unwrap().server.unwrap();
    let vendor = VendorSettings { use_tls: true, tls_verify: false, ..VendorSettings::default() };
    let configs = TlsConfigs::read(&[], &[VendorSettings::default(), vendor]).unwrap();
    assert!(configs.vendors[0].is_none());
    let client = configs.vendors[1].as_deref().unwrap().clone();
    shake_hands(&server, client, "whatever.test").unwrap();
}
