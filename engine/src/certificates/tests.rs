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
        self.client_builder(versions).with_no_client_auth()
    }

    /// The same with a certificate of its own.
    fn client_with(&self, versions: &[&'static rustls::SupportedProtocolVersion], own: &Certificate) -> ClientConfig {
        let key = PrivateKeyDer::from_pem_file(&own.key).unwrap();
        self.client_builder(versions).with_client_auth_cert(read_chain(&own.cert).unwrap(), key).unwrap()
    }

    fn client_builder(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ConfigBuilder<ClientConfig, WantsClientCert> {
        let mut store = RootCertStore::empty();
        store.add(self.issuer.der().clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(store)
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

/// Shakes hands in memory; tells which certificate the client has shown, or what one of them did not like.
fn shake_hands(server: &Arc<ServerConfig>, client: ClientConfig, name: &str) -> Result<Option<Box<[u8]>>, Error> {
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
    Ok(server.peer_certificate())
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

#[test]
fn a_client_s_certificate_is_checked_and_told_in_every_version() {
    let files = Files::new("clients");
    let (own, customers, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let authority = files.authority(&customers);
    let (shown, strange) = (files.certificate(&customers, "esme.test"), files.certificate(&strangers, "esme.test"));
    let certificates = [files.certificate(&own, "x.test")];
    for (wanted, may_be_absent) in [(ClientCertificates::Optional, true), (ClientCertificates::Required, false)] {
        let mut configs = TlsConfigs::default();
        let clients = Clients { authority: &authority, wanted };
        assert!(configs.renew(&certificates, Some(clients), &[]).is_empty());
        let server = configs.server.unwrap();
        for version in VERSIONS {
            let told = shake_hands(&server, own.client_with(&[version], &shown), "x.test").unwrap();
            assert_eq!(told.as_deref(), Some(read_chain(&shown.cert).unwrap()[0].as_ref()));
            let absent = shake_hands(&server, own.client(&[version]), "x.test");
            assert_eq!(absent.ok(), may_be_absent.then_some(None), "{wanted:?} {version:?}");
            let error = shake_hands(&server, own.client_with(&[version], &strange), "x.test").unwrap_err();
            assert!(matches!(error, Error::InvalidCertificate(_)), "{error}");
        }
    }
}

#[test]
fn authorities_that_cannot_be_read_leave_the_listener_as_it_was() {
    let files = Files::new("authorities");
    let certificates = [files.certificate(&Authority::new(), "x.test")];
    let mut configs = TlsConfigs::read(&certificates, &[]).unwrap();
    let before = configs.server.clone().unwrap();
    let garbage = files.write("nothing\n");
    let clients = Clients { authority: &garbage, wanted: ClientCertificates::Optional };
    let errors = configs.renew(&certificates, Some(clients), &[]);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].1.to_string().contains(garbage.to_str().unwrap()), "{}", errors[0].1);
    assert!(Arc::ptr_eq(&before, configs.server.as_ref().unwrap()));
}

#[test]
fn an_authority_that_several_vendors_have_is_told_for_each_of_them() {
    let files = Files::new("shared");
    let (good, bad) = (files.authority(&Authority::new()), files.write("nothing\n"));
    let vendor = |authority: &Path| VendorSettings {
        use_tls: true,
        tls_ca: Some(authority.display().to_string()),
        ..VendorSettings::default()
    };
    let plain = VendorSettings { use_tls: false, ..vendor(&bad) };
    let vendors = [vendor(&bad), vendor(&good), plain, vendor(&bad)];
    let mut configs = TlsConfigs::default();
    let told: Vec<_> = configs.renew(&[], None, &vendors.each_ref().map(Some)).into_iter().map(|it| it.0).collect();
    assert_eq!(told, [Some(0), Some(3)]);
    assert_eq!(configs.vendors.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false, false]);
    let found = VendorConfigs::default().look(&vendors);
    assert_eq!(found.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [0, 3]);
    assert!(found.iter().all(|(_, error)| error.to_string().contains(bad.to_str().unwrap())), "{found:?}");
}
