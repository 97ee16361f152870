//! Certificates made for a test, and a TLS customer that tells which one it was shown.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use smpp_pdu::CommandId;

use super::esme::bind_pdu;
use super::folder::Folder;
use super::setup::PASSWORD;
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

/// An authority that signs customers' and servers' certificates, and its own as a PEM file.
pub(crate) struct Authority {
    pub(crate) ca: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What a customer shows for itself.
pub(crate) struct ClientCertificate {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    /// The file `name.pem`.
    pub(crate) fn make(folder: &Folder, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { ca: folder.write(&format!("{name}.pem"), &issuer.pem()), issuer }
    }

    /// What a server of that domain name or address shows, as files `name.pem` and `name.key`.
    pub(crate) fn sign_server(&self, folder: &Folder, name: &str, domain: &str) -> Certificate {
        self.sign_server_until(folder, name, domain, 2100)
    }

    /// One that was good until the year began.
    pub(crate) fn sign_server_until(&self, folder: &Folder, name: &str, domain: &str, year: i32) -> Certificate {
        let mut params = CertificateParams::new([domain.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2015, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        let cert = folder.write(&format!("{name}.pem"), &pem);
        let key = folder.write(&format!("{name}.key"), &key.serialize_pem());
        Certificate { cert, key, pem }
    }

    /// A certificate made out for that domain name.
    pub(crate) fn sign(&self, domain: &str) -> ClientCertificate {
        self.sign_until(domain, 2100)
    }

    /// One that was good until the year began.
    pub(crate) fn sign_until(&self, domain: &str, year: i32) -> ClientCertificate {
        let mut params = CertificateParams::new([domain.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2015, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        ClientCertificate { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }
}

impl ClientCertificate {
    /// As an operator would ask for it.
    pub(crate) fn fingerprint(&self, folder: &Folder) -> String {
        let file = folder.write("fingerprint.pem", &self.certificate.pem());
        let mut openssl = Command::new("openssl");
        let output = openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(file).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        told.trim().split_once('=').unwrap().1.to_owned()
    }
}

/// Connects by TLS to a server under that name, and trusts this one certificate alone.
///
/// # Errors
/// When the handshake fails, as it does where another certificate is shown.
pub(crate) fn connect_tls(address: SocketAddr, domain: &str, trusted: &Certificate) -> Result<Esme, rustls::Error> {
    connect_tls_as(address, domain, trusted, None)
}

/// [`connect_tls`], showing a certificate if the server asks for one.
///
/// # Errors
/// As there. With TLS 1.3 a server that does not like the certificate says so after the handshake.
pub(crate) fn connect_tls_as(
    address: SocketAddr,
    domain: &str,
    trusted: &Certificate,
    shown: Option<&ClientCertificate>,
) -> Result<Esme, rustls::Error> {
    Ok(Esme::over(Wire::new(shake_hands(address, domain, trusted, shown)?)))
}

/// Whether the server ends the connection, with or right after the handshake, rather than answer a bind.
pub(crate) fn is_turned_away(
    address: SocketAddr,
    domain: &str,
    trusted: &Certificate,
    shown: Option<&ClientCertificate>,
) -> bool {
    let Ok(mut stream) = shake_hands(address, domain, trusted, shown) else { return true };
    let bind = bind_pdu(CommandId::BIND_TRANSCEIVER, 1, "nobody", PASSWORD, 0x34);
    let mut answer = Vec::new();
    stream.write_all(&bind).is_err() || stream.read_to_end(&mut answer).is_err() || answer.is_empty()
}

fn shake_hands(
    address: SocketAddr,
    domain: &str,
    trusted: &Certificate,
    shown: Option<&ClientCertificate>,
) -> Result<StreamOwned<ClientConnection, TcpStream>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = match shown {
        None => config.with_no_client_auth(),
        Some(shown) => {
            let key = PrivateKeyDer::try_from(shown.key.serialize_der()).unwrap();
            config.with_client_auth_cert(vec![shown.certificate.der().clone()], key)?
        }
    };
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
    Ok(StreamOwned::new(connection, stream))
}
