//! `[store]`: where records are kept.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::store::postgres::SslMode;

/// Which database, and how it is reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Store {
    /// The embedded one: one file of this machine, one gateway.
    Sqlite(Sqlite),
    /// A PostgreSQL server (14 or later), for one gateway or several.
    Postgres(Postgres),
}

/// `kind = "sqlite"`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sqlite {
    /// Database file.
    pub file: PathBuf,
    /// `full` (default): an acknowledged write survives power loss. `normal`: the last commits may be lost then, never
    /// corrupted.
    #[serde(default)]
    pub synchronous: Synchronous,
}

/// Durability of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// fsync at every commit.
    #[default]
    Full,
    /// fsync at checkpoints.
    Normal,
}

/// `kind = "postgres"`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// libpq connection string or `postgresql://` URL. A password had better be in `password_file`.
    pub connection: Option<Secret>,
    /// Environment variable that holds the connection string, instead.
    pub connection_env: Option<String>,
    /// File whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// `disable`, `prefer`, `require` or `verify-full`. Default: `verify-full`, and `prefer` for this machine.
    pub sslmode: Option<SslMode>,
    /// PEM file of the authorities that the server's certificate must come from.
    pub authorities: Option<PathBuf>,
    /// PEM file of the certificate chain that this gateway shows the server, its own first.
    pub certificate: Option<PathBuf>,
    /// PEM file of its private key.
    pub key: Option<PathBuf>,
    /// Reading connections, 1 to 500 (default 8); the writer has one more.
    #[serde(default = "connections")]
    pub connections: u32,
    /// Milliseconds to connect, 100 to 60,000 (default 5,000).
    #[serde(default = "milliseconds")]
    pub connect_ms: u64,
    /// Milliseconds for a query or one work of a write, 100 to 600,000 (default 5,000).
    #[serde(default = "milliseconds")]
    pub query_ms: u64,
}

fn connections() -> u32 {
    8
}

fn milliseconds() -> u64 {
    5_000
}

/// A text that may hold a password: it is written to the file it came from, and shown nowhere.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(not shown)")
    }
}

impl Store {
    /// Judges the settings by themselves; the text names the one that is wrong and what to do.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Store::Sqlite(_) => Ok(()),
            Store::Postgres(postgres) => postgres.check(),
        }
    }

    pub(super) fn resolve(&mut self, folder: &Path) {
        let fix = |path: &mut PathBuf| *path = folder.join(&*path);
        match self {
            Store::Sqlite(sqlite) => fix(&mut sqlite.file),
            Store::Postgres(postgres) => {
                let Postgres { password_file, authorities, certificate, key, .. } = postgres;
                [password_file, authorities, certificate, key].into_iter().flatten().for_each(fix);
            }
        }
    }
}

impl Postgres {
    fn check(&self) -> Result<(), String> {
        match (&self.connection, &self.connection_env) {
            (Some(_), Some(_)) => {
                return Err("store: give connection or connection_env, not both".to_owned());
            }
            (None, None) => {
                return Err("store.connection: where is the database? For example \"host=db.example.org \
                            dbname=sluis user=sluis\", or name an environment variable in connection_env"
                    .to_owned());
            }
            _ => {}
        }
        if self.connection.as_ref().is_some_and(|text| text.expose().contains("sslmode")) {
            return Err("store.connection: take sslmode out of it and say it as store.sslmode".to_owned());
        }
        if self.sslmode == Some(SslMode::VerifyFull) && self.authorities.is_none() {
            return Err(
                "store.sslmode = \"verify-full\" needs store.authorities: the PEM file of the database's \
                        authority, or the system's bundle (/etc/ssl/certs/ca-certificates.crt)"
                    .to_owned(),
            );
        }
        if self.authorities.is_some() && matches!(self.sslmode, Some(SslMode::Disable | SslMode::Prefer)) {
            return Err("store.authorities: with sslmode disable or prefer no certificate is judged; say \
                        require or verify-full"
                .to_owned());
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err("store: certificate and key belong together, give both or neither".to_owned());
        }
        if self.certificate.is_some() && self.sslmode == Some(SslMode::Disable) {
            return Err(
                "store.certificate: with sslmode disable nobody is shown it; say verify-full".to_owned()
            );
        }
        let ranges = [
            ("connections", u64::from(self.connections), 1, 500),
            ("connect_ms", self.connect_ms, 100, 60_000),
            ("query_ms", self.query_ms, 100, 600_000),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(format!("store.{name} = {value}: it must be from {least} to {most}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;

    fn judged(text: &str) -> String {
        match toml::from_str::<Store>(text) {
            Ok(store) => store.check().err().unwrap_or_default(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_wrong_with_the_store_is_named_with_what_to_do() {
        let postgres = "kind = \"postgres\"\nconnection = \"host=db password=geheim\"\n";
        assert_eq!(judged("kind = \"sqlite\"\nfile = \"a.db\""), "");
        assert_eq!(judged(postgres), "");
        for (more, said) in [
            ("connection_env = \"X\"", "not both"),
            ("sslmode = \"verify-full\"", "store.authorities"),
            ("sslmode = \"prefer\"\nauthorities = \"ca.pem\"", "verify-full"),
            ("sslmode = \"allow\"", "unknown variant `allow`"),
            ("certificate = \"gateway.pem\"", "belong together"),
            ("key = \"gateway.key\"", "belong together"),
            ("sslmode = \"disable\"\ncertificate = \"c\"\nkey = \"k\"", "store.certificate"),
            ("connections = 0", "from 1 to 500"),
            ("query_ms = 5", "from 100 to 600000"),
            ("file = \"a.db\"", "unknown field `file`"),
        ] {
            let text = judged(&format!("{postgres}{more}"));
            assert!(text.contains(said), "{more}: {text}");
        }
        assert!(judged("kind = \"postgres\"").contains("store.connection"));
        assert!(
            judged("kind = \"postgres\"\nconnection = \"host=db sslmode=require\"").contains("store.sslmode")
        );
        assert!(judged("kind = \"mysql\"").contains("expected `sqlite` or `postgres`"));
        assert!(judged("kind = \"sqlite\"").contains("missing field `file`"));
    }

    #[test]
    fn a_connection_is_shown_nowhere() {
        let text = "kind = \"postgres\"\nconnection = \"host=db password=geheim\"\n";
        let store: Store = toml::from_str(text).unwrap();
        assert!(!format!("{store:?}").contains("geheim"));
    }
}
