//! Opens the store that the settings name.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use crate::config::{self, Config, Synchronous};
use crate::store::postgres::{self, PostgresStore};
use crate::store::sqlite::{self, SqliteStore};
use crate::store::{Store, StoreError};

/// The store of these settings, its tables made or brought up to date.
///
/// Errors: what cannot be read or reached, by the name of its setting; no text holds a password.
pub(super) fn store(config: &Config) -> Result<Arc<dyn Store>> {
    Ok(match &config.store {
        config::Store::Sqlite(settings) => {
            let file = settings.file.display();
            let store = SqliteStore::open(sqlite(config, settings));
            Arc::new(store.with_context(|| format!("store.file = {file}"))?)
        }
        config::Store::Postgres(settings) => {
            let store = PostgresStore::open(postgres(config, settings)?).map_err(|error| match error {
                StoreError::Database(text) => StoreError::Database(format!(
                    "{text}; check store.connection, that the server runs and lets this user in, and store.sslmode"
                )),
                other => other,
            });
            Arc::new(store.context("store: PostgreSQL")?)
        }
    })
}

pub(super) fn sqlite(config: &Config, settings: &config::Sqlite) -> sqlite::Settings {
    let mut made = sqlite::Settings::at(&settings.file, &config.base);
    made.synchronous_full = settings.synchronous == Synchronous::Full;
    made.content = config.search.content;
    made
}

pub(super) fn postgres(config: &Config, settings: &config::Postgres) -> Result<postgres::Settings> {
    let connection = match (&settings.connection, &settings.connection_env) {
        (Some(text), _) => text.expose().to_owned(),
        (None, Some(name)) => std::env::var(name)
            .with_context(|| format!("store.connection_env: the environment variable {name}"))?,
        (None, None) => bail!("store.connection: where is the database?"),
    };
    let password = settings.password_file.as_deref().map(|path| -> Result<String> {
        let text = config::read_text(path).context("store.password_file")?;
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(line.to_owned()),
            _ => bail!("store.password_file: the first line of {} is empty", path.display()),
        }
    });
    Ok(postgres::Settings {
        password: password.transpose()?,
        sslmode: settings.sslmode,
        authorities: settings.authorities.clone(),
        identity: settings
            .certificate
            .clone()
            .zip(settings.key.clone())
            .map(|(certificate, key)| postgres::ClientIdentity { certificate, key }),
        readers: usize::try_from(settings.connections).unwrap_or(usize::MAX),
        connect_ms_max: settings.connect_ms,
        query_ms_max: settings.query_ms,
        content: config.search.content,
        ..postgres::Settings::at(connection, &config.base)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use std::path::Path;

    use super::*;

    #[test]
    fn a_password_is_the_first_line_of_its_file_and_in_no_error() {
        let folder = std::env::temp_dir().join(format!("sluis-open-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/sluis.toml");
        let config = Config::read(&example).unwrap();
        let settings =
            |text: &str| -> Result<postgres::Settings> { postgres(&config, &toml::from_str(text).unwrap()) };
        let file = folder.join("password");
        let with_file = format!("connection = \"host=db\"\npassword_file = {:?}", file.to_str().unwrap());
        assert!(format!("{:#}", settings(&with_file).unwrap_err()).contains("store.password_file"));
        std::fs::write(&file, "\n").unwrap();
        assert!(format!("{:#}", settings(&with_file).unwrap_err()).contains("is empty"));
        std::fs::write(&file, "geheim\r\nnot this\n").unwrap();
        let read = settings(&with_file).unwrap();
        assert_eq!(read.password.as_deref(), Some("geheim"));
        assert!(!format!("{read:?}").contains("geheim"));
        let missing = settings("connection_env = \"SLUIS_TEST_NO_SUCH_VARIABLE\"").unwrap_err();
        assert!(format!("{missing:#}").contains("SLUIS_TEST_NO_SUCH_VARIABLE"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
