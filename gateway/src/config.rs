//! Every setting with its unit, default and range: one TOML file, a few overrides from the command line.
//!
//! Unknown settings are refused: a misspelt limit must not silently be the default.

mod store;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use store::{Postgres, Secret, Sqlite, Store, Synchronous};

use serde::{Deserialize, Serialize};

/// `sluis.toml`. Relative paths are relative to the file's folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Public base URL without trailing slash, as clients see it: `https://localhost:8443/fhir`. It is the issuer and
    /// audience of tokens, so it must be exact.
    pub base: String,
    /// Address to listen on.
    pub listen: SocketAddr,
    /// `[store]`: the database.
    pub store: Store,
    /// TLS; without it only loopback addresses may be listened on.
    pub tls: Option<Tls>,
    /// Private key (PKCS#8 PEM, P-256) that signs access tokens.
    pub token_key: PathBuf,
    /// Private key (PKCS#8 PEM, Ed25519) that signs audit checkpoints.
    pub audit_key: PathBuf,
    /// Organisations: URA, name, kind (`orgs.toml`).
    pub organisations: PathBuf,
    /// Clients: keys, organisations, purposes, scopes (`clients.toml`).
    pub clients: PathBuf,
    /// Policy folder; default: the policy built in.
    pub policy: Option<PathBuf>,
    /// Mapping folders; default: those built in.
    pub mappings: Option<PathBuf>,
    /// Folder of FHIR packages, unpacked: its ValueSets and CodeSystems (`*.json`, sub-folders included) serve `:in`,
    /// `:not-in`, `:above` and `:below`; default: none but those stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<PathBuf>,
    /// `[search]`: what is indexed.
    #[serde(default)]
    pub search: Search,
    /// `[[mllp]]`: addresses that take HL7v2 messages over MLLP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mllp: Vec<Mllp>,
    /// Overrides of the table of limits.
    #[serde(default)]
    pub limits: crate::connection::limits::Limits,
    /// Smallest cohort a research export may be made of (default 10).
    #[serde(default = "cohort_min")]
    pub cohort_min: u32,
}

fn cohort_min() -> u32 {
    10
}

/// What is indexed. A change has every row indexed anew, in the background, while the gateway serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Search {
    /// Words of narratives and other texts, for `_text` and `_content`; default: none (docs/decisions/0021).
    pub content: bool,
}

/// TLS files, PEM.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Server certificate chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities of client certificates; with it, mutual TLS is offered.
    pub client_authorities: Option<PathBuf>,
}

/// An address that takes HL7v2 messages over MLLP, and whose they may be.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mllp {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// With the certificate of `[tls]` (default); without it only loopback addresses may be listened on.
    #[serde(default = "yes")]
    pub tls: bool,
    /// `[[mllp.peer]]`: who may send. A connection no line fits is answered AR.
    #[serde(rename = "peer")]
    pub peers: Vec<MllpPeer>,
}

/// A sender of an MLLP listener: by what it is known, and for whom it speaks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MllpPeer {
    /// Registered client (`clients.toml`) that the messages are of.
    pub client: String,
    /// URA of the organisation it acts for.
    pub organisation: String,
    /// Purpose of use the messages are sent for.
    #[serde(default = "treatment")]
    pub purpose: String,
    /// Its client certificate: SHA-256 of the DER, base64url. Needs `tls.client_authorities`.
    pub certificate: Option<String>,
    /// Its address. With a certificate, both must fit.
    pub address: Option<std::net::IpAddr>,
}

fn yes() -> bool {
    true
}

fn treatment() -> String {
    "TREAT".to_owned()
}

impl Mllp {
    fn check(&self, tls: Option<&Tls>) -> Result<(), String> {
        let at = self.listen;
        if !self.tls && !at.ip().is_loopback() {
            return Err(format!("mllp.listen = {at}: without TLS only a loopback address is allowed"));
        }
        if self.tls && tls.is_none() {
            return Err(format!("mllp.listen = {at}: TLS is wanted and there is no [tls]"));
        }
        let authorities = self.tls && tls.is_some_and(|tls| tls.client_authorities.is_some());
        for peer in &self.peers {
            let who = &peer.client;
            if crate::ids::Ura::parse(&peer.organisation).is_none() {
                return Err(format!("mllp.peer {who}: {:?} is no URA (8 digits)", peer.organisation));
            }
            if peer.certificate.is_none() && peer.address.is_none() {
                return Err(format!("mllp.peer {who}: name its certificate, its address or both"));
            }
            if peer.certificate.is_some() && !authorities {
                return Err(format!("mllp.peer {who}: a certificate needs tls and tls.client_authorities"));
            }
        }
        Ok(())
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {cause}")]
    Unreadable {
        /// File.
        path: String,
        /// Cause.
        cause: std::io::Error,
    },
    /// The file is not as it should be; the text names line and column.
    #[error("{path}: {cause}")]
    Invalid {
        /// File.
        path: String,
        /// Cause.
        cause: String,
    },
}

impl Config {
    /// Reads `path` and makes its relative paths absolute.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let text = read_text(path)?;
        let mut config: Config = toml::from_str(&text).map_err(|cause| ConfigError::Invalid {
            path: path.display().to_string(),
            cause: cause.to_string(),
        })?;
        config.check().map_err(|cause| ConfigError::Invalid { path: path.display().to_string(), cause })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        config.resolve(folder);
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        if self.base.ends_with('/') || !self.base.starts_with("http") {
            return Err(format!("base = {:?}: an http(s) URL without trailing slash is needed", self.base));
        }
        let loopback = self.listen.ip().is_loopback();
        if self.tls.is_none() && !loopback {
            return Err(format!(
                "listen = {}: without [tls] only a loopback address is allowed",
                self.listen
            ));
        }
        for mllp in &self.mllp {
            mllp.check(self.tls.as_ref())?;
        }
        self.store.check()?;
        self.limits.check().map_err(|error| error.to_string())?;
        Ok(())
    }

    fn resolve(&mut self, folder: &Path) {
        let fix = |path: &mut PathBuf| *path = folder.join(&*path);
        fix(&mut self.token_key);
        fix(&mut self.audit_key);
        fix(&mut self.organisations);
        fix(&mut self.clients);
        self.store.resolve(folder);
        for path in [&mut self.policy, &mut self.mappings, &mut self.packages].into_iter().flatten() {
            fix(path);
        }
        if let Some(tls) = &mut self.tls {
            fix(&mut tls.certificate);
            fix(&mut tls.key);
            if let Some(path) = &mut tls.client_authorities {
                fix(path);
            }
        }
    }
}

/// Text of a settings file, or which file could not be read and why.
pub fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|cause| ConfigError::Unreadable { path: path.display().to_string(), cause })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;

    #[test]
    fn a_listener_for_messages_says_who_may_send_and_is_safe_by_itself() {
        let check = |mllp: &str, tls: bool| {
            let mllp: Mllp = toml::from_str(mllp).unwrap();
            let tls =
                Tls { certificate: "c".into(), key: "k".into(), client_authorities: tls.then(|| "a".into()) };
            mllp.check(Some(&tls)).err().unwrap_or_default()
        };
        let peer = "[[peer]]\nclient = \"lab\"\norganisation = \"90000101\"\n";
        let by_certificate = format!("listen = \"0.0.0.0:2575\"\n{peer}certificate = \"x\"");
        assert_eq!(check(&by_certificate, true), "");
        assert!(check(&by_certificate, false).contains("client_authorities"));
        assert!(check(&format!("listen = \"0.0.0.0:2575\"\n{peer}"), true).contains("its address"));
        let plain = format!("tls = false\nlisten = \"0.0.0.0:2575\"\n{peer}address = \"10.0.0.1\"");
        assert!(check(&plain, true).contains("loopback"));
        assert!(check(&by_certificate.replace("90000101", "1"), true).contains("URA"));
    }

    #[test]
    fn the_annotated_example_names_every_setting_and_is_as_safe_as_the_defaults() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/sluis.toml");
        let config = Config::read(&path).unwrap();
        assert_eq!(config.limits, crate::connection::limits::Limits::default());
        let Store::Sqlite(sqlite) = &config.store else { unreachable!("the example keeps one file") };
        assert_eq!(sqlite.synchronous, Synchronous::Full);
        assert!(config.tls.is_some());
        let text = read_text(&path).unwrap();
        let postgres: Postgres = toml::from_str(
            "connection = \"\"\nconnection_env = \"\"\npassword_file = \"\"\nsslmode = \"require\"\nauthorities = \"\"\ncertificate = \"\"\nkey = \"\"",
        )
        .unwrap();
        let other = toml::Table::try_from(Store::Postgres(postgres)).unwrap();
        let whole = Config { policy: Some("policy".into()), ..config };
        for (name, value) in toml::Table::try_from(&whole).unwrap().into_iter().chain(other) {
            let inner = value.as_table().map(|table| table.keys().cloned().collect()).unwrap_or(vec![name]);
            for name in inner {
                let named = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{name} = "));
                assert!(text.lines().any(named), "{name}");
            }
        }
    }
}
