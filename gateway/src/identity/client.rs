//! Registry of clients: who may ask for tokens, with which keys, for which organisations.
//!
//! A list of settings, checked as a whole when read: one faulty line and none of it counts. It can be replaced while the
//! gateway runs; a client switched off is refused from the next request on, whatever token it still holds.
//! Keys stand in the registry itself. An address to fetch keys from is not part of this version.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, Serialize};

use super::actor::Scope;
use super::context::Context;
use super::signing::{KeyError, PublicJwk};
use crate::connection::request::PeerCertificate;
use crate::ids::Ura;

/// `clients.toml`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientsFile {
    /// `[[client]]`
    #[serde(default, rename = "client")]
    pub clients: Vec<ClientSettings>,
}

/// One registered client, as the operator writes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientSettings {
    /// `client_id`: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// URAs it may act for, one per token.
    pub organisations: Vec<String>,
    /// Widest scopes a token may have.
    pub scopes: Vec<String>,
    /// Purposes of use it may state.
    pub purposes: Vec<String>,
    /// UZI role codes of professionals it may vouch for; none: it vouches for no one.
    #[serde(default)]
    pub role_codes: Vec<String>,
    /// A portal: it may vouch that a patient is who asks.
    #[serde(default)]
    pub portal: bool,
    /// Tokens are given only over a connection with a client certificate.
    #[serde(default)]
    pub certificate_required: bool,
    /// The certificates it may use (SHA-256 of the DER, base64url); none named: any that verifies.
    #[serde(default)]
    pub certificate_thumbprints: Vec<String>,
    /// Switched off.
    #[serde(default)]
    pub disabled: bool,
    /// `[[client.key]]`: its public keys.
    #[serde(default, rename = "key")]
    pub keys: Vec<PublicJwk>,
}

/// A registered client.
#[derive(Debug)]
pub struct Client {
    settings: ClientSettings,
    organisations: Vec<Ura>,
    scopes: Vec<Scope>,
    keys: HashMap<String, ClientKey>,
}

pub(super) struct ClientKey {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl std::fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Why a registry is not taken over.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not TOML of this form; the text names line and column.
    #[error("{0}")]
    Form(String),
    /// A line of a client cannot be used.
    #[error("client {client:?}: {what}")]
    Invalid {
        /// `client_id`.
        client: String,
        /// What is wrong.
        what: String,
    },
    /// A key of a client cannot be used.
    #[error("client {client:?}: {cause}")]
    Key {
        /// `client_id`.
        client: String,
        /// What is wrong.
        cause: KeyError,
    },
}

/// The registry.
#[derive(Debug, Default)]
pub struct Clients {
    by_id: RwLock<HashMap<String, Arc<Client>>>,
}

impl Clients {
    /// Reads `clients.toml`.
    pub fn from_toml(text: &str) -> Result<Clients, ClientError> {
        let file: ClientsFile = toml::from_str(text).map_err(|cause| ClientError::Form(cause.to_string()))?;
        Clients::from_settings(file.clients)
    }

    /// Checks and registers a list.
    pub fn from_settings(settings: Vec<ClientSettings>) -> Result<Clients, ClientError> {
        Ok(Clients { by_id: RwLock::new(checked(settings)?) })
    }

    /// Replaces the whole list. Errors: the old list stays.
    pub fn replace(&self, settings: Vec<ClientSettings>) -> Result<(), ClientError> {
        let fresh = checked(settings)?;
        *self.by_id.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = fresh;
        Ok(())
    }

    /// A client that is registered and not switched off.
    pub fn find(&self, id: &str) -> Option<Arc<Client>> {
        // A poisoned lock still guards a whole map: it is only ever replaced by assignment.
        let clients = self.by_id.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        clients.get(id).filter(|client| !client.settings.disabled).cloned()
    }
}

fn checked(list: Vec<ClientSettings>) -> Result<HashMap<String, Arc<Client>>, ClientError> {
    let mut by_id = HashMap::new();
    for settings in list {
        let client = Client::new(settings)?;
        let id = client.settings.id.clone();
        if by_id.insert(id.clone(), Arc::new(client)).is_some() {
            return Err(ClientError::Invalid { client: id, what: "registered twice".to_owned() });
        }
    }
    Ok(by_id)
}

impl Client {
    fn new(settings: ClientSettings) -> Result<Client, ClientError> {
        let invalid = |what: String| ClientError::Invalid { client: settings.id.clone(), what };
        let id_form = (1..=64).contains(&settings.id.len())
            && settings.id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !id_form {
            return Err(invalid("an id is 1 to 64 of A-Z a-z 0-9 . _ -".to_owned()));
        }
        let organisations = settings
            .organisations
            .iter()
            .map(|text| Ura::parse(text).ok_or_else(|| invalid(format!("{text:?} is no URA (8 digits)"))))
            .collect::<Result<Vec<_>, _>>()?;
        let scopes = settings
            .scopes
            .iter()
            .map(|text| {
                Scope::parse(text)
                    .ok_or_else(|| invalid(format!("{text:?} is no scope that is granted here")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut keys = HashMap::new();
        for jwk in &settings.keys {
            let key = jwk
                .decoding_key()
                .map_err(|cause| ClientError::Key { client: settings.id.clone(), cause })?;
            let key = ClientKey { algorithm: jwk.alg.of_library(), key };
            if keys.insert(jwk.kid.clone(), key).is_some() {
                return Err(invalid(format!("two keys are named {:?}", jwk.kid)));
            }
        }
        Ok(Client { organisations, scopes, keys, settings })
    }

    /// `client_id`.
    pub fn id(&self) -> &str {
        &self.settings.id
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether it may act for an organisation.
    pub fn serves(&self, organisation: &Ura) -> bool {
        self.organisations.contains(organisation)
    }

    /// Widest scopes a token may have.
    pub fn scopes_max(&self) -> &[Scope] {
        &self.scopes
    }

    pub(super) fn key(&self, kid: &str) -> Option<&ClientKey> {
        self.keys.get(kid)
    }

    /// Whether it may vouch for all of this.
    ///
    /// Errors: what it may not, as a sentence for its developer.
    pub fn may_vouch(&self, context: &Context) -> Result<(), &'static str> {
        if !self.serves(&context.organisation) {
            return Err("this client does not act for that organisation");
        }
        if !self.settings.purposes.iter().any(|purpose| **purpose == *context.purpose) {
            return Err("this client may not state that purpose_of_use");
        }
        if let Some(user) = &context.user
            && !self.settings.role_codes.iter().any(|code| **code == *user.role_code)
        {
            return Err("this client may not vouch for that subject_role");
        }
        if context.patient.is_some() && !self.settings.portal {
            return Err("this client may not vouch for a patient");
        }
        Ok(())
    }

    /// Whether this connection's certificate is one it may use; `None`: there is none.
    pub(super) fn accepts(&self, certificate: Option<&PeerCertificate>) -> bool {
        let named = &self.settings.certificate_thumbprints;
        match certificate {
            None => !self.settings.certificate_required && named.is_empty(),
            Some(certificate) => {
                named.is_empty() || named.iter().any(|thumbprint| **thumbprint == *certificate.thumbprint)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;
    use crate::identity::signing::{SignatureAlgorithm, generate};

    fn settings() -> ClientSettings {
        ClientSettings {
            id: "epd1".into(),
            name: "EPD 1".into(),
            organisations: vec!["90000382".into()],
            scopes: vec!["system/*.rs".into()],
            purposes: vec!["TREAT".into()],
            role_codes: vec!["01.042".into()],
            portal: false,
            certificate_required: false,
            certificate_thumbprints: vec![],
            disabled: false,
            keys: vec![generate(SignatureAlgorithm::Es384).unwrap().public],
        }
    }

    #[test]
    fn registry_reads_back_what_it_writes() {
        let text = toml::to_string(&ClientsFile { clients: vec![settings()] }).unwrap();
        let clients = Clients::from_toml(&text).unwrap();
        assert_eq!(clients.find("epd1").unwrap().name(), "EPD 1");
        assert!(clients.find("evil").is_none());
    }

    #[test]
    fn faulty_line_is_named_and_the_old_list_stays() {
        let clients = Clients::from_settings(vec![settings()]).unwrap();
        let faults: [fn(&mut ClientSettings); 5] = [
            |s| s.organisations.push("1234".into()),
            |s| s.scopes.push("system/*.dus".into()),
            |s| s.id = "a b".into(),
            |s| s.keys[0].alg = SignatureAlgorithm::Es256,
            |s| s.keys = vec![s.keys[0].clone(), s.keys[0].clone()],
        ];
        for fault in faults {
            let mut faulty = settings();
            fault(&mut faulty);
            assert!(clients.replace(vec![faulty]).is_err());
        }
        assert!(clients.replace(vec![settings(), settings()]).is_err());
        assert!(clients.find("epd1").is_some());
        assert!(Clients::from_toml("[[client]]\nid = \"x\"\nsecret = \"y\"").is_err());
    }

    #[test]
    fn client_switched_off_is_not_found() {
        let clients = Clients::from_settings(vec![settings()]).unwrap();
        clients.replace(vec![ClientSettings { disabled: true, ..settings() }]).unwrap();
        assert!(clients.find("epd1").is_none());
    }
}
