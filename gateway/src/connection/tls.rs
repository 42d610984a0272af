//! TLS 1.3 with optional client certificates.
//!
//! A client without a certificate gets through the handshake, so that `/metadata` and the token endpoint stay open to
//! those who bind tokens otherwise; one with a certificate that does not verify gets no connection at all. What a
//! certificate says about an organisation is read in `identity::certificate`. Renewal while running is not here: a
//! restart reads new files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::clock::Clock;

/// PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Server certificate and the authorities between it and the root, leaf first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities of client certificates; `None`: client certificates are not asked for.
    pub client_authorities: Option<PathBuf>,
}

/// Why TLS cannot be offered. Paths are the operator's own.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or holds no such PEM section.
    #[error("{path}: no {what} can be read: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// Cause.
        cause: rustls::pki_types::pem::Error,
    },
    /// A file holds no certificate.
    #[error("{path}: no certificate in it")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Certificate, key or authorities do not fit together.
    #[error("the certificate, key or authorities do not fit: {0}")]
    Unfit(String),
}

/// Makes the acceptor: TLS 1.3 only, ALPN `h2` and `http/1.1`, certificates judged by `clock`.
///
/// Errors: [`TlsError`]; nothing listens yet.
pub fn acceptor(files: &TlsFiles, clock: Arc<dyn Clock>) -> Result<TlsAcceptor, TlsError> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|cause| TlsError::File {
        path: files.key.clone(),
        what: "private key",
        cause,
    })?;
    let authorities = files.client_authorities.as_deref().map(certificates).transpose()?;
    acceptor_from(chain, key, authorities, clock)
}

/// As [`acceptor`], from what the files hold. `authorities` `None`: client certificates are not asked for.
pub fn acceptor_from(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authorities: Option<Vec<CertificateDer<'static>>>,
    clock: Arc<dyn Clock>,
) -> Result<TlsAcceptor, TlsError> {
    let unfit = |cause: &dyn fmt::Display| TlsError::Unfit(cause.to_string());
    // Named here, so that no other crate's choice of a process-wide provider can take its place.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_details(provider.clone(), Arc::new(TlsClock(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|cause| unfit(&cause))?;
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in authorities {
                roots.add(authority).map_err(|cause| unfit(&cause))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|cause| unfit(&cause))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|cause| unfit(&cause))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A resumed session would carry a client certificate past its end; whole handshakes judge it every time.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = |cause| TlsError::File { path: path.to_owned(), what: "certificate", cause };
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(file)?.collect::<Result<_, _>>().map_err(file)?;
    if found.is_empty() {
        return Err(TlsError::Empty { path: path.to_owned() });
    }
    Ok(found)
}

/// The gateway's clock, as rustls asks for it.
struct TlsClock(Arc<dyn Clock>);

impl fmt::Debug for TlsClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsClock")
    }
}

impl TimeProvider for TlsClock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().seconds()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}
