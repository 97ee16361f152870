//! The certificates that the TLS listeners show and the authorities that vendors are checked against.
//!
//! Read on the main thread at start, and beside the control thread with every reload, into values that are then only shared. Nothing here runs on a
//! shard but the choice of a certificate by name.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::{Resumption, WantsClientCert, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, version};
use smpp_control::config::{Certificate, ClientCertificates, SmppSettings};
use smpp_control::tls::Unverified;
use smpp_shards::settings::VendorSettings;

static VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

/// What TLS needs to know, for listeners and vendors.
#[derive(Clone, Debug, Default)]
pub struct TlsConfigs {
    /// For connections that are accepted; `None` without certificates.
    pub(crate) server: Option<Arc<ServerConfig>>,
    /// By [`smpp_shards::VendorId`]; `None` for vendors without TLS.
    pub(crate) vendors: Vec<Option<Arc<ClientConfig>>>,
}

/// Whose certificates customers may present, and whether they must.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clients<'c> {
    authority: &'c Path,
    wanted: ClientCertificates,
}

impl<'c> Clients<'c> {
    /// `None` where no customer is asked for one.
    pub(crate) fn of(smpp: &'c SmppSettings) -> Option<Self> {
        let authority = smpp.tls_client_ca.as_deref()?;
        Some(Self { authority, wanted: smpp.tls_client_certificates })
    }

    /// What checks them.
    ///
    /// # Errors
    /// When the file of authorities cannot be used.
    pub(crate) fn verifier(self) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
        let roots = Arc::new(authorities(Some(self.authority))?);
        let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::new(provider()));
        let builder = match self.wanted {
            ClientCertificates::Optional => builder.allow_unauthenticated(),
            ClientCertificates::Required => builder,
        };
        builder.build().map_err(|error| CertificateError::new(self.authority, error))
    }
}

/// What is wrong with a certificate, key or authority.
#[derive(Clone, Debug)]
pub struct CertificateError {
    path: PathBuf,
    reason: String,
}

impl CertificateError {
    fn new(path: &Path, reason: impl fmt::Display) -> Self {
        Self { path: path.to_owned(), reason: reason.to_string() }
    }

    /// The same, with the name of the vendor whose it is.
    pub(crate) fn of_vendor(self, instance_name: &str) -> Self {
        Self { reason: format!("{} (tls_ca of vendor {instance_name})", self.reason), ..self }
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

impl std::error::Error for CertificateError {}

impl TlsConfigs {
    /// Reads everything.
    ///
    /// # Errors
    /// Every file that cannot be used.
    pub fn read(certificates: &[Certificate], vendors: &[VendorSettings]) -> Result<Self, Vec<CertificateError>> {
        let mut found = Self::default();
        let rows: Vec<Option<&VendorSettings>> = vendors.iter().map(Some).collect();
        let errors = found.renew(certificates, None, &rows);
        let named = errors.into_iter().map(|(place, error)| match place {
            Some(place) => error.of_vendor(&vendors[place].instance_name),
            None => error,
        });
        let errors: Vec<CertificateError> = named.collect();
        if errors.is_empty() { Ok(found) } else { Err(errors) }
    }

    /// Reads everything anew; of a vendor that was removed (`None`) nothing. What cannot be used stays as it was, and is told,
    /// with the place of each vendor whose it is; without one for what the listeners show.
    pub(crate) fn renew(
        &mut self,
        certificates: &[Certificate],
        clients: Option<Clients<'_>>,
        vendors: &[Option<&VendorSettings>],
    ) -> Vec<(Option<usize>, CertificateError)> {
        let mut errors: Vec<_> = self.renew_server(certificates, clients).into_iter().map(|it| (None, it)).collect();
        let vendors = self.renew_vendors(vendors, &mut VendorConfigs::default());
        errors.extend(vendors.into_iter().map(|(place, error)| (Some(place), error)));
        errors
    }

    /// Reads anew what the listeners show. What is wrong with it; then it stays as it was.
    pub(crate) fn renew_server(
        &mut self,
        certificates: &[Certificate],
        clients: Option<Clients<'_>>,
    ) -> Vec<CertificateError> {
        match server(certificates, clients) {
            Ok(server) => {
                self.server = server;
                Vec::new()
            }
            Err(errors) => errors,
        }
    }

    /// Takes up what was read for the vendors, or reads it now. What cannot be used stays as it was, and is told with the
    /// place of each vendor whose it is.
    pub(crate) fn renew_vendors(
        &mut self,
        vendors: &[Option<&VendorSettings>],
        read: &mut VendorConfigs,
    ) -> Vec<(usize, CertificateError)> {
        let mut errors = Vec::new();
        self.vendors.resize(vendors.len().max(self.vendors.len()), None);
        for (place, vendor) in vendors.iter().enumerate() {
            match vendor.filter(|vendor| vendor.use_tls).map(|vendor| read.of(vendor)) {
                None => self.vendors[place] = None,
                Some(Ok(config)) => self.vendors[place] = Some(config),
                Some(Err(error)) => errors.push((place, error)),
            }
        }
        errors
    }
}

/// The TLS settings towards vendors, read once for all who have the same.
#[derive(Debug, Default)]
pub(crate) struct VendorConfigs {
    /// By `tls_verify` and `tls_ca`.
    read: HashMap<(bool, Option<String>), Result<Arc<ClientConfig>, CertificateError>>,
}

impl VendorConfigs {
    /// Those of that vendor, read now where they were not before.
    fn of(&mut self, vendor: &VendorSettings) -> Result<Arc<ClientConfig>, CertificateError> {
        let key = (vendor.tls_verify, vendor.tls_ca.clone());
        self.read.entry(key).or_insert_with(|| towards(vendor)).clone()
    }

    /// The vendors that are to use TLS and cannot: the place of each, and why.
    pub(crate) fn look(&mut self, vendors: &[VendorSettings]) -> Vec<(usize, CertificateError)> {
        let those = vendors.iter().enumerate().filter(|(_, vendor)| vendor.use_tls);
        those.filter_map(|(place, vendor)| Some((place, self.of(vendor).err()?))).collect()
    }
}

/// The TLS settings towards one vendor, read now. Reads files, so not for a shard.
///
/// # Errors
/// Which file cannot be used, and why.
pub fn towards(vendor: &VendorSettings) -> Result<Arc<ClientConfig>, CertificateError> {
    client(vendor.tls_verify, vendor.tls_ca.as_deref().map(Path::new))
}

/// Reads one certificate with its key and checks that they belong together.
///
/// # Errors
/// Which file is at fault and why.
pub fn read_certificate(certificate: &Certificate) -> Result<Arc<CertifiedKey>, CertificateError> {
    let chain = read_chain(&certificate.cert)?;
    let key = PrivateKeyDer::from_pem_file(&certificate.key)
        .map_err(|error| CertificateError::new(&certificate.key, format_args!("no private key: {error}")))?;
    CertifiedKey::from_der(chain, key, &provider()).map(Arc::new).map_err(|error| {
        let reason = format!("does not go with {}: {error}", certificate.cert.display());
        CertificateError::new(&certificate.key, reason)
    })
}

/// What will keep clients from taking a certificate for that domain, of what can be told without their authorities.
pub(crate) fn fault_in_use(chain: &[CertificateDer<'static>], domain: &str) -> Option<String> {
    let (first, others) = chain.split_first()?;
    let parsed = ParsedCertificate::try_from(first).ok()?;
    // Whoever signed it is trusted here: what is looked at are its dates.
    let mut roots = RootCertStore::empty();
    roots.add(chain.last()?.clone()).ok()?;
    let algorithms = provider().signature_verification_algorithms.all;
    let dates = verify_server_cert_signed_by_trust_anchor(&parsed, &roots, others, UnixTime::now(), algorithms);
    match dates {
        Err(rustls::Error::InvalidCertificate(
            rustls::CertificateError::Expired | rustls::CertificateError::ExpiredContext { .. },
        )) => return Some("its time has passed".into()),
        Err(rustls::Error::InvalidCertificate(
            rustls::CertificateError::NotValidYet | rustls::CertificateError::NotValidYetContext { .. },
        )) => return Some("its time has not begun".into()),
        _ => {}
    }
    // For a wildcard any name that it stands for will do.
    let name = domain.strip_prefix("*.").map_or_else(|| domain.to_owned(), |rest| format!("any.{rest}"));
    let name = ServerName::try_from(name).ok()?;
    verify_server_name(&parsed, &name).is_err().then(|| "it is made out to other names".into())
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| CertificateError::new(path, format_args!("no certificate: {error}")))?;
    if chain.is_empty() {
        return Err(CertificateError::new(path, "holds no certificate in PEM form"));
    }
    Ok(chain)
}

fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

fn server(
    certificates: &[Certificate],
    clients: Option<Clients<'_>>,
) -> Result<Option<Arc<ServerConfig>>, Vec<CertificateError>> {
    let (mut by_domain, mut first, mut errors) = (HashMap::new(), None, Vec::new());
    let verifier = clients.map(Clients::verifier).transpose().unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    for certificate in certificates {
        match read_certificate(certificate) {
            Ok(key) => {
                first.get_or_insert_with(|| key.clone());
                by_domain.insert(certificate.domain.to_ascii_lowercase(), key);
            }
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let Some(first) = first else { return Ok(None) };
    let builder = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(VERSIONS)
        .map_err(|error| vec![CertificateError::new(Path::new("TLS"), error)])?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByDomain { by_domain, first }));
    // SMPP connections last: resumption would cost a lock shared by all shards and gain nothing.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Some(Arc::new(config)))
}

fn client(verify: bool, authority: Option<&Path>) -> Result<Arc<ClientConfig>, CertificateError> {
    let provider = Arc::new(provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(VERSIONS)
        .map_err(|error| CertificateError::new(Path::new("TLS"), error))?;
    let builder: ConfigBuilder<ClientConfig, WantsClientCert> = if verify {
        builder.with_root_certificates(authorities(authority)?)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified { provider }))
    };
    let mut config = builder.with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn authorities(path: Option<&Path>) -> Result<RootCertStore, CertificateError> {
    let mut store = RootCertStore::empty();
    match path {
        Some(path) => {
            for certificate in read_chain(path)? {
                store.add(certificate).map_err(|error| CertificateError::new(path, error))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                let reason =
                    "the system's certificate authorities cannot be read: install ca-certificates, or set tls_ca";
                return Err(CertificateError::new(Path::new("/etc/ssl/certs"), reason));
            }
        }
    }
    Ok(store)
}

/// Chooses by the name that the client asks for: exactly, then by a `*.` domain, then the first of all.
#[derive(Debug)]
struct ByDomain {
    by_domain: HashMap<String, Arc<CertifiedKey>>,
    first: Arc<CertifiedKey>,
}

impl ByDomain {
    fn choose(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let exact = name.and_then(|name| self.by_domain.get(&name.to_ascii_lowercase()));
        let wildcard = || {
            let (_, parent) = name?.split_once('.')?;
            self.by_domain.get(&format!("*.{}", parent.to_ascii_lowercase()))
        };
        exact.or_else(wildcard).unwrap_or(&self.first).clone()
    }
}

impl ResolvesServerCert for ByDomain {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name()))
    }
}

#[cfg(test)]
pub(crate) mod tests;
