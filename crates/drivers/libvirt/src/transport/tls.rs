//! TLS as libvirt sets it up: a CA both sides trust, a client certificate, and one byte by which the server says that
//! it accepted that certificate.

use std::{
    io::ErrorKind,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::{io::AsyncReadExt, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::unreachable;
use crate::error::{Error, Result};

const ACCEPTED: u8 = 1;
/// The client's key in a folder of `pkipath`, and where it lies without one.
const KEY: &str = "clientkey.pem";
const STANDARD_KEY: &str = "/etc/pki/libvirt/private/clientkey.pem";

/// Where the client's private key lies.
pub(crate) fn key_file(pki_path: Option<&Path>) -> PathBuf {
    pki_path.map_or_else(|| STANDARD_KEY.into(), |folder| folder.join(KEY))
}

/// Everything of ours that a handshake needs. Made before anybody is asked, so that what is missing here is not taken for a
/// fault over there.
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    pub(super) fn prepare(host: &str, pki_path: Option<&Path>, verify: bool) -> Result<Self> {
        let unasked = |why: String| Error::Unasked { target: host.to_owned(), why, source: None };
        let config = configuration(&Files::new(pki_path), verify).map_err(unasked)?;
        let name = match host.parse::<IpAddr>() {
            Ok(address) => ServerName::from(address),
            Err(_) => ServerName::try_from(host.to_owned())
                .map_err(|_| unasked("is no host name that a certificate can carry".to_owned()))?,
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    pub(super) async fn connect(self, stream: TcpStream, host: &str) -> Result<TlsStream<TcpStream>> {
        let refused = |why: String| Error::Auth { target: host.to_owned(), why };
        let mut stream = self.connector.connect(self.name, stream).await.map_err(|source| match source.kind() {
            // What rustls itself finds wrong, or the other side's alert.
            ErrorKind::InvalidData => {
                refused(format!("TLS handshake failed ({source}); check both sides' certificates, their dates and CA"))
            }
            _ => unreachable(host, "the TLS handshake broke off", source),
        })?;
        // libvirtd checks the client's certificate after the handshake and tells the verdict in one byte (or hangs up).
        match stream.read_u8().await {
            Ok(ACCEPTED) => Ok(stream),
            Ok(other) => Err(refused(format!(
                "libvirtd did not accept our certificate (answered {other}); see tls_allowed_dn_list there"
            ))),
            Err(source) => {
                // rustls is long about a server that hangs up.
                let how =
                    if source.kind() == ErrorKind::UnexpectedEof { "it hung up".into() } else { source.to_string() };
                let why = format!("libvirtd refused our certificate ({how}); is it in date, and signed by its CA?");
                Err(refused(why))
            }
        }
    }
}

/// The three PEM files, at libvirt's standard places or together in `pkipath`.
struct Files {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new(pki_path: Option<&Path>) -> Self {
        match pki_path {
            Some(folder) => Self {
                authority: folder.join("cacert.pem"),
                certificate: folder.join("clientcert.pem"),
                key: key_file(pki_path),
            },
            None => Self {
                authority: "/etc/pki/CA/cacert.pem".into(),
                certificate: "/etc/pki/libvirt/clientcert.pem".into(),
                key: key_file(None),
            },
        }
    }
}

fn configuration(files: &Files, verify: bool) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS can't be set up: {error}"))?;
    let builder = if verify {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&files.authority)? {
            roots.add(certificate).map_err(|error| format!("{}: {error}", files.authority.display()))?;
        }
        builder.with_root_certificates(roots)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
    };
    // A client certificate is optional for libvirtd (`tls_no_verify_certificate`), so its absence is no error here.
    if !files.certificate.exists() {
        return Ok(builder.with_no_client_auth());
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| format!("{}: {error}", files.key.display()))?;
    builder
        .with_client_auth_cert(certificates(&files.certificate)?, key)
        .map_err(|error| format!("{} and {}: {error}", files.certificate.display(), files.key.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let refuse = |error: rustls::pki_types::pem::Error| format!("{}: {error}", path.display());
    CertificateDer::pem_file_iter(path).map_err(refuse)?.collect::<Result<_, _>>().map_err(refuse)
}

/// `no_verify=1`: any certificate will do; the handshake's signatures are still checked.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
