//! One request, one answer, over HTTP or HTTPS.

use std::path::Path;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;

/// The server under test.
pub(crate) struct Server {
    base: String,
    host: String,
    port: u16,
    tls: Option<Arc<rustls::ClientConfig>>,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Server {
    pub(crate) fn new(base: &str, authority: Option<&Path>) -> Result<Server, String> {
        let uri: Uri = base.parse().map_err(|e| format!("{base}: {e}"))?;
        let host = uri.host().ok_or_else(|| format!("{base}: no host"))?.to_owned();
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = if secure { Some(Arc::new(client_config(authority)?)) } else { None };
        Ok(Server { base: base.to_owned(), host, port, tls })
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// `target` is an absolute URL of this server, or a path below the base.
    pub(crate) async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
    ) -> Result<Answer, String> {
        let absolute = target.starts_with("https://") || target.starts_with("http://");
        let url = if absolute { target.to_owned() } else { format!("{}/{target}", self.base) };
        let uri: Uri = encoded(&url).parse().map_err(|e| format!("{url}: {e}"))?;
        let path = uri.path_and_query().map_or("/", |p| p.as_str());
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).map_err(|e| e.to_string())?)
            .uri(path)
            .header("host", format!("{}:{}", self.host, self.port));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body.into())).map_err(|e| e.to_string())?;
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|e| e.to_string())?;
        let response = match &self.tls {
            None => exchange(tcp, request).await?,
            Some(config) => {
                let name = ServerName::try_from(self.host.clone()).map_err(|e| e.to_string())?;
                let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
                exchange(connector.connect(name, tcp).await.map_err(|e| e.to_string())?, request).await?
            }
        };
        Ok(response)
    }
}

/// Percent-encodes what a URI cannot hold (RFC 3986 section 2), so that scripts read as FHIR is written: `system|code`.
fn encoded(url: &str) -> String {
    let mut out = String::with_capacity(url.len());
    for byte in url.bytes() {
        if byte.is_ascii_graphic() && !b"|\"<>^`{}\\".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

async fn exchange<S>(stream: S, request: Request<Full<bytes::Bytes>>) -> Result<Answer, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes().to_vec();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

fn client_config(authority: Option<&Path>) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    if let Some(path) = authority {
        let certificates =
            CertificateDer::pem_file_iter(path).map_err(|e| format!("{}: {e}", path.display()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|e| format!("{}: {e}", path.display()))?;
            roots.add(certificate).map_err(|e| e.to_string())?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_uri_cannot_hold_is_encoded() {
        assert_eq!(encoded("Patient?identifier=http://a|1&x=%7C"), "Patient?identifier=http://a%7C1&x=%7C");
        assert_eq!(encoded("patiënt"), "pati%C3%ABnt");
    }
}
