//! How a client gets in: SMART Backend Services on fhir-sdk. The client's own key signs an assertion; the token endpoint
//! answers with a token; fhir-sdk calls [`Login`] whenever the gateway asks for one.
//!
//! Nothing here is shared with the gateway: it is what a vendor would write from the documentation alone.
//! Source: SMART App Launch 2.2 backend-services.html; IHE IUA 3.71 for the claims that say for whom.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use fhir_sdk::client::{Client, LoginManager};
use fhir_sdk::header::HeaderValue;
use fhir_sdk::version::FhirR4B;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// A typed client with a token.
pub(crate) type Fhir = Client<FhirR4B>;

/// In what capacity a client asks.
pub(crate) enum Acting<'a> {
    /// The system itself, for a purpose of use (v3-ActReason).
    System(&'a str),
    /// A professional with this UZI role code, for treatment.
    Professional(&'a str),
    /// The patient (FHIR id), through a portal that vouches for her.
    Patient(&'a str),
}

/// The demo region, as its folder describes it.
pub(crate) struct Region {
    folder: PathBuf,
    base: String,
    http: reqwest::Client,
}

impl Region {
    /// Reads where the gateway is and which authority to trust.
    pub(crate) fn open(folder: &Path) -> Result<Region> {
        let settings = read(&folder.join("sluis.toml"))?;
        let base = settings
            .lines()
            .find_map(|line| line.strip_prefix("base = \"")?.strip_suffix('"'))
            .context("no base in sluis.toml")?;
        let authority = reqwest::Certificate::from_pem(read(&folder.join("authority.pem"))?.as_bytes())?;
        let http = reqwest::Client::builder().tls_certs_only([authority]).build()?;
        Ok(Region { folder: folder.to_owned(), base: base.to_owned(), http })
    }

    /// The demo's folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// `[base]/path`
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    /// A client of `organisation` (URA) that signs in by itself.
    pub(crate) fn client(&self, id: &str, organisation: &str, acting: &Acting<'_>) -> Result<Fhir> {
        let pem = read(&self.folder.join("clients").join(format!("{id}.pem")))?;
        let key = EncodingKey::from_ec_pem(pem.as_bytes())?;
        let kid = Jwk::from_encoding_key(&key, Algorithm::ES384)?.thumbprint(ThumbprintHash::SHA256)?;
        let login = Login {
            client: id.to_owned(),
            token_url: self.url("oauth/token"),
            key,
            kid,
            iua: acting.claims(organisation),
        };
        Ok(Fhir::builder()
            .base_url(format!("{}/", self.base).parse()?)
            .client(self.http.clone())
            .auth_callback(login)
            .build()?)
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{}: is this a demo's folder?", path.display()))
}

impl Acting<'_> {
    /// `extensions.ihe_iua` of the assertion.
    fn claims(&self, organisation: &str) -> Value {
        let coding = |system: &str, code: &str| json!([{ "system": system, "code": code }]);
        let purpose = match self {
            Acting::System(purpose) => purpose,
            Acting::Professional(_) => "TREAT",
            Acting::Patient(_) => "PATRQT",
        };
        let mut claims = json!({
            "subject_organization_id": format!("urn:oid:2.16.528.1.1007.3.3.{organisation}"),
            "purpose_of_use": coding("http://terminology.hl7.org/CodeSystem/v3-ActReason", purpose),
        });
        match self {
            Acting::System(_) => {}
            Acting::Professional(role) => {
                claims["subject_id"] =
                    json!({ "system": "http://fhir.nl/fhir/NamingSystem/uzi-nr-pers", "value": "900000001" });
                claims["subject_role"] = coding("http://fhir.nl/fhir/NamingSystem/uzi-rolcode", role);
            }
            Acting::Patient(id) => claims["patient_id"] = json!(id),
        }
        claims
    }
}

/// The time now, since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "a client has its own clock; the gateway's is not reachable from here"
)]
pub(crate) fn since_epoch() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

/// Signs in when the gateway answers 401: at the first request, and again when the token has expired.
struct Login {
    client: String,
    token_url: String,
    key: EncodingKey,
    kid: String,
    iua: Value,
}

impl LoginManager for Login {
    type Error = anyhow::Error;

    async fn authenticate(&mut self, http: reqwest::Client) -> Result<HeaderValue> {
        let form = [
            ("grant_type", "client_credentials"),
            ("scope", "system/*.cruds patient/*.cruds"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &self.assertion()?),
        ];
        let answer = http.post(&self.token_url).form(&form).send().await?;
        let status = answer.status();
        let answer: Value = answer.json().await?;
        ensure!(status.is_success(), "no token for {}: {answer}", self.client);
        let Some(token) = answer["access_token"].as_str() else { bail!("no access_token in the answer") };
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl Login {
    /// A signed assertion, good for one token request within a minute.
    fn assertion(&self) -> Result<String> {
        let now = since_epoch()?;
        let mut header = Header::new(Algorithm::ES384);
        header.kid = Some(self.kid.clone());
        let claims = json!({
            "iss": self.client,
            "sub": self.client,
            "aud": self.token_url,
            "iat": now.as_secs(),
            "exp": now.as_secs() + 60,
            "jti": format!("{}-{}", self.client, now.as_nanos()),
            "extensions": { "ihe_iua": self.iua },
        });
        Ok(encode(&header, &claims, &self.key)?)
    }
}
