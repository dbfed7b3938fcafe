//! TLS of the API: the server's certificate, and a client that trusts a file of certificates.

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use std::{fmt, io, path::Path, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// Why a certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct TlsError {
    what: String,
}

impl TlsError {
    fn at(path: &Path, why: impl fmt::Display) -> TlsError {
        TlsError { what: format!("`{}`: {why}", path.display()) }
    }
}

/// The server's side.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(…)")
    }
}

impl Tls {
    /// A server with this certificate and key (PEM).
    ///
    /// # Errors
    /// If one of them cannot be read, or they do not belong together.
    pub fn server(certificate: &Path, key: &Path) -> Result<Tls, TlsError> {
        let chain = certificates(certificate)?;
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::at(key, error))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
            .map_err(|error| TlsError::at(certificate, format_args!("with its key {}: {error}", key.display())))?;
        Ok(Tls(TlsAcceptor::from(Arc::new(config))))
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<server::TlsStream<TcpStream>> {
        self.0.accept(stream).await
    }
}

/// The client's side.
#[derive(Clone)]
pub struct TlsClient(TlsConnector);

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsClient(…)")
    }
}

impl TlsClient {
    /// A client that trusts the certificates in a file: as authorities, and the server that shows one of them itself (so that
    /// a self-signed certificate is trusted by its copy).
    ///
    /// # Errors
    /// If the file cannot be used.
    pub fn trusting(file: &Path) -> Result<TlsClient, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let trusted = certificates(file)?;
        let mut roots = RootCertStore::empty();
        for certificate in &trusted {
            roots.add(certificate.clone()).map_err(|error| TlsError::at(file, error))?;
        }
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| TlsError::at(file, error))?;
        let verifier = Trusting { trusted, authorities, provider: Arc::clone(&provider) };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::at(file, error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(TlsClient(TlsConnector::from(Arc::new(config))))
    }

    /// Connects to the server of that name or address.
    ///
    /// # Errors
    /// If it cannot show a certificate that is trusted.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<client::TlsStream<TcpStream>> {
        let wrong = |_| io::Error::new(io::ErrorKind::InvalidInput, format!("`{host}` is no name of a server"));
        self.0.connect(ServerName::try_from(host.to_owned()).map_err(wrong)?, stream).await
    }
}

/// Why there is no TLS with a server, and what to do.
pub fn no_tls(error: &io::Error) -> String {
    use rustls::{CertificateError as Wrong, Error::*};
    let told = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match told {
        Some(InvalidCertificate(Wrong::Expired | Wrong::ExpiredContext { .. })) => {
            "its certificate has expired; put a new one on the controller, and restart that".to_owned()
        }
        Some(InvalidCertificate(Wrong::NotValidYet | Wrong::NotValidYetContext { .. })) => {
            "its certificate is not valid yet; compare the clocks of both machines".to_owned()
        }
        Some(InvalidCertificate(Wrong::NotValidForName | Wrong::NotValidForNameContext { .. })) => {
            "its certificate is for another name; use the name that stands in it, or make one for this address"
                .to_owned()
        }
        Some(InvalidCertificate(wrong)) => {
            format!(
                "--api-ca does not vouch for its certificate ({wrong}); is that the certificate of this controller?"
            )
        }
        Some(InvalidMessage(_)) => "it answers, but not by TLS; is that the port of its API, served by TLS?".to_owned(),
        Some(other) => other.to_string(),
        None if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            "it hung up during the TLS handshake; is that the port of its API, served by TLS?".to_owned()
        }
        None => error.to_string(),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |error: rustls::pki_types::pem::Error| TlsError::at(path, error);
    let found: Vec<_> = CertificateDer::pem_file_iter(path).map_err(wrong)?.collect::<Result<_, _>>().map_err(wrong)?;
    if found.is_empty() { Err(TlsError::at(path, "there is no certificate in it")) } else { Ok(found) }
}

#[derive(Debug)]
struct Trusting {
    trusted: Vec<CertificateDer<'static>>,
    authorities: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.trusted.iter().any(|trusted| trusted == certificate) {
            return Ok(ServerCertVerified::assertion());
        }
        self.authorities.verify_server_cert(certificate, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{CertificateError, Error, InvalidMessage};

    #[test]
    fn each_reason_for_no_tls_has_its_own_words() {
        let told = |error: Error| no_tls(&io::Error::new(io::ErrorKind::InvalidData, error));
        for (error, words) in [
            (Error::InvalidCertificate(CertificateError::Expired), "has expired"),
            (Error::InvalidCertificate(CertificateError::NotValidYet), "clocks"),
            (Error::InvalidCertificate(CertificateError::NotValidForName), "another name"),
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), "--api-ca does not vouch"),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), "not by TLS"),
        ] {
            let shown = told(error);
            assert!(shown.contains(words), "{shown}");
        }
        assert!(no_tls(&io::ErrorKind::UnexpectedEof.into()).contains("hung up"));
    }
}
