//! TLS between gateway and database, by rustls, as `sslmode` asks for it.
//!
//! `verify-full` proves chain and name; `require` encrypts, and proves the chain when authorities are named (what libpq
//! calls `verify-ca`); `prefer` takes what the server has. With SCRAM the password exchange is bound to the server's
//! certificate where its signature names a hash (RFC 5929 section 4), so that nobody between can pass it on.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_lc_rs::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use x509_parser::oid_registry as oid;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// How much of TLS is asked for (libpq `sslmode`, without its weaker names).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// None.
    Disable,
    /// If the server has it; nothing is proved.
    Prefer,
    /// Always; the server's chain is proved when authorities are named, its name never.
    Require,
    /// Always; chain and name are proved.
    VerifyFull,
}

/// What this gateway proves itself with to the server: PEM files of a certificate chain, its own first, and of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// Certificate chain.
    pub certificate: PathBuf,
    /// Private key: PKCS #8, PKCS #1 or SEC1.
    pub key: PathBuf,
}

/// Makes the handshake of a connection.
#[derive(Clone)]
pub(super) struct Connector(Option<Arc<ClientConfig>>);

impl Connector {
    /// Errors: what is wrong with the authorities or the gateway's own certificate, naming the file.
    pub(super) fn new(
        mode: SslMode,
        authorities: Option<&Path>,
        identity: Option<&ClientIdentity>,
    ) -> Result<Connector, String> {
        if mode == SslMode::Disable {
            return Ok(Connector(None));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = match authorities {
            None if mode == SslMode::VerifyFull => {
                return Err(
                    "sslmode verify-full needs authorities: the PEM file of the database's authority, or \
                            the system's bundle (/etc/ssl/certs/ca-certificates.crt)"
                        .to_owned(),
                );
            }
            None => None,
            Some(path) => Some(
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots(path)?), Arc::clone(&provider))
                    .build()
                    .map_err(|error| format!("{}: {error}", path.display()))?,
            ),
        };
        let verifier: Arc<dyn ServerCertVerifier> = match (mode, chain) {
            (SslMode::VerifyFull, Some(chain)) => chain,
            (_, chain) => Arc::new(NameUnproved { chain, provider: Arc::clone(&provider) }),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::from_pem_file(&identity.key)
                    .map_err(|error| format!("{}: {error}", identity.key.display()))?;
                // Also when the key is of another certificate.
                config
                    .with_client_auth_cert(certificates(&identity.certificate)?, key)
                    .map_err(|error| format!("{}: {error}", identity.certificate.display()))?
            }
        };
        Ok(Connector(Some(Arc::new(config))))
    }
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(roots)
}

/// The certificates of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(&error))?;
    if found.is_empty() {
        return Err(unreadable(&"no certificate in it"));
    }
    Ok(found)
}

/// Proves the chain when there are authorities, and never the name.
#[derive(Debug)]
struct NameUnproved {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for NameUnproved {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        // The chain is judged before the name.
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A handshake to come.
pub(super) struct Handshake {
    config: Option<Arc<ClientConfig>>,
    name: Option<ServerName<'static>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Connector {
    type Stream = Sealed<S>;
    type TlsConnect = Handshake;
    type Error = rustls::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Handshake, rustls::Error> {
        // A socket of this machine has no name, and no TLS.
        let name = ServerName::try_from(domain.to_owned()).ok();
        Ok(Handshake { config: self.0.clone(), name })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Handshake {
    type Stream = Sealed<S>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Sealed<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let (Some(config), Some(name)) = (self.config, self.name) else {
                return Err(std::io::Error::other("the host has no name that a certificate could bear"));
            };
            tokio_rustls::TlsConnector::from(config).connect(name, stream).await.map(Sealed)
        })
    }
}

/// A connection inside TLS.
pub(super) struct Sealed<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Sealed<S> {
    fn channel_binding(&self) -> ChannelBinding {
        let certificates = self.0.get_ref().1.peer_certificates();
        match certificates.and_then(|chain| end_point(chain.first()?)) {
            Some(hash) => ChannelBinding::tls_server_end_point(hash),
            None => ChannelBinding::none(),
        }
    }
}

/// `tls-server-end-point`: the certificate's hash, by the hash of its signature, SHA-256 in place of MD5 and SHA-1
/// (RFC 5929 section 4.1). `None` for signatures that name no one hash.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let signed = &parsed.signature_algorithm.algorithm;
    let table: [(&[oid::Oid<'_>], &digest::Algorithm); 3] = [
        (
            &[
                oid::OID_PKCS1_MD5WITHRSAENC,
                oid::OID_PKCS1_SHA1WITHRSA,
                oid::OID_PKCS1_SHA256WITHRSA,
                oid::OID_SIG_ECDSA_WITH_SHA256,
            ],
            &digest::SHA256,
        ),
        (&[oid::OID_PKCS1_SHA384WITHRSA, oid::OID_SIG_ECDSA_WITH_SHA384], &digest::SHA384),
        (&[oid::OID_PKCS1_SHA512WITHRSA, oid::OID_SIG_ECDSA_WITH_SHA512], &digest::SHA512),
    ];
    let (_, hash) = table.into_iter().find(|(names, _)| names.contains(signed))?;
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Sealed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Sealed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
