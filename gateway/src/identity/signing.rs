//! Keys: the one that signs access tokens, and new ones for the gateway, its audit log and demo clients.
//!
//! A private key is read from PKCS#8 PEM and never printed.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::{Deserialize, Serialize};

/// Signature algorithms accepted here (SMART App Launch 2.2 asks for one of RS384 and ES384; FAPI 2.0 forbids RS256).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "names of RFC 7518 and RFC 8037")]
pub enum SignatureAlgorithm {
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "ES384")]
    Es384,
    #[serde(rename = "PS256")]
    Ps256,
    #[serde(rename = "PS384")]
    Ps384,
    #[serde(rename = "RS384")]
    Rs384,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl SignatureAlgorithm {
    /// Every one, as the discovery document lists them.
    pub const NAMES: [&'static str; 6] = ["ES256", "ES384", "PS256", "PS384", "RS384", "EdDSA"];

    pub(super) fn of_library(self) -> Algorithm {
        match self {
            SignatureAlgorithm::Es256 => Algorithm::ES256,
            SignatureAlgorithm::Es384 => Algorithm::ES384,
            SignatureAlgorithm::Ps256 => Algorithm::PS256,
            SignatureAlgorithm::Ps384 => Algorithm::PS384,
            SignatureAlgorithm::Rs384 => Algorithm::RS384,
            SignatureAlgorithm::EdDsa => Algorithm::EdDSA,
        }
    }
}

/// A public key as JSON (RFC 7517), with the one algorithm it may be used for. A private member is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicJwk {
    /// Name of the key, as the header of a token gives it.
    pub kid: String,
    /// The only algorithm it is used with.
    pub alg: SignatureAlgorithm,
    /// `EC`, `RSA` or `OKP`.
    pub kty: String,
    /// `sig`, if it says so.
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    pub key_use: Option<String>,
    /// Curve: `P-256`, `P-384` or `Ed25519`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// EC and OKP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// EC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// RSA modulus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// RSA exponent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
}

/// Why a key is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not PKCS#8 PEM of a key for ES256, ES384 or EdDSA.
    #[error("not a PKCS#8 PEM private key for ES256, ES384 or EdDSA")]
    Pem,
    /// The members do not make a key for the algorithm.
    #[error("key {kid:?} is not a public key for its alg")]
    Jwk {
        /// Name of the key.
        kid: String,
    },
    /// RSA below 2048 bits.
    #[error("key {kid:?} is an RSA key below 2048 bits")]
    Short {
        /// Name of the key.
        kid: String,
    },
    /// A key could not be made or used.
    #[error("the key could not be made or used")]
    Unusable,
}

impl PublicJwk {
    /// The key, to verify with.
    ///
    /// Errors: `Jwk` when type, curve and algorithm do not agree; `Short`.
    pub(super) fn decoding_key(&self) -> Result<DecodingKey, KeyError> {
        let unfit = || KeyError::Jwk { kid: self.kid.clone() };
        let member = |value: &Option<String>| value.clone().ok_or_else(unfit);
        let curve = match self.alg {
            SignatureAlgorithm::Es256 => Some(("EC", "P-256", 32)),
            SignatureAlgorithm::Es384 => Some(("EC", "P-384", 48)),
            SignatureAlgorithm::EdDsa => Some(("OKP", "Ed25519", 32)),
            SignatureAlgorithm::Ps256 | SignatureAlgorithm::Ps384 | SignatureAlgorithm::Rs384 => None,
        };
        if self.key_use.as_deref().is_some_and(|key_use| key_use != "sig") {
            return Err(unfit());
        }
        if let Some((kty, crv, bytes)) = curve {
            let x = member(&self.x)?;
            let length = |text: &str| URL_SAFE_NO_PAD.decode(text).map(|bytes| bytes.len()).unwrap_or(0);
            if self.kty != kty || self.crv.as_deref() != Some(crv) || length(&x) != bytes {
                return Err(unfit());
            }
            if kty == "OKP" {
                return DecodingKey::from_ed_components(&x).map_err(|_| unfit());
            }
            let y = member(&self.y)?;
            if length(&y) != bytes {
                return Err(unfit());
            }
            return DecodingKey::from_ec_components(&x, &y).map_err(|_| unfit());
        }
        let (n, e) = (member(&self.n)?, member(&self.e)?);
        if self.kty != "RSA" {
            return Err(unfit());
        }
        let modulus = URL_SAFE_NO_PAD.decode(&n).map_err(|_| unfit())?;
        let significant = modulus.iter().skip_while(|byte| **byte == 0).count();
        if significant < 256 {
            return Err(KeyError::Short { kid: self.kid.clone() });
        }
        DecodingKey::from_rsa_components(&n, &e).map_err(|_| unfit())
    }
}

/// A private key that signs tokens.
pub struct SigningKey {
    algorithm: Algorithm,
    encoding: EncodingKey,
    decoding: DecodingKey,
    public: PublicJwk,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.public.kid).finish_non_exhaustive()
    }
}

/// A fresh private key.
pub struct Generated {
    /// PKCS#8 PEM. Whoever holds it is the key's owner.
    pub pem: String,
    /// Its public half.
    pub public: PublicJwk,
}

impl SigningKey {
    /// Reads a PKCS#8 PEM key: P-256 signs ES256, P-384 ES384, Ed25519 EdDSA.
    pub fn from_pem(pem: &str) -> Result<SigningKey, KeyError> {
        if let Ok(encoding) = EncodingKey::from_ec_pem(pem.as_bytes()) {
            for (algorithm, curve) in [
                (SignatureAlgorithm::Es256, &ECDSA_P256_SHA256_FIXED_SIGNING),
                (SignatureAlgorithm::Es384, &ECDSA_P384_SHA384_FIXED_SIGNING),
            ] {
                if EcdsaKeyPair::from_pkcs8(curve, encoding.as_bytes()).is_ok() {
                    return SigningKey::new(encoding, algorithm);
                }
            }
        }
        match EncodingKey::from_ed_pem(pem.as_bytes()) {
            Ok(encoding) => SigningKey::new(encoding, SignatureAlgorithm::EdDsa),
            Err(_) => Err(KeyError::Pem),
        }
    }

    fn new(encoding: EncodingKey, alg: SignatureAlgorithm) -> Result<SigningKey, KeyError> {
        let algorithm = alg.of_library();
        let jwk = Jwk::from_encoding_key(&encoding, algorithm).map_err(|_| KeyError::Pem)?;
        // RFC 7638: a key is named by what it is, so the same key has the same name everywhere.
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| KeyError::Unusable)?;
        let value = serde_json::to_value(&jwk.algorithm).map_err(|_| KeyError::Unusable)?;
        let member = |name: &str| value.get(name).and_then(|v| v.as_str()).map(str::to_owned);
        let public = PublicJwk {
            kid,
            alg,
            kty: member("kty").ok_or(KeyError::Unusable)?,
            key_use: Some("sig".to_owned()),
            crv: member("crv"),
            x: member("x"),
            y: member("y"),
            n: None,
            e: None,
        };
        let decoding = public.decoding_key()?;
        Ok(SigningKey { algorithm, encoding, decoding, public })
    }

    /// Signs claims; `typ` goes into the header, with the key's name.
    pub fn sign<T: Serialize>(&self, typ: &str, claims: &T) -> Result<String, KeyError> {
        let mut header = Header::new(self.algorithm);
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.public.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.encoding).map_err(|_| KeyError::Unusable)
    }

    /// Its public half.
    pub fn public(&self) -> &PublicJwk {
        &self.public
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }
}

/// Makes a new private key for ES256, ES384 or EdDSA. Its bits come from the machine's random source, whatever clock
/// the gateway runs on: a repeatable key would be no secret.
///
/// Errors: `Unusable` for an RSA algorithm, or when the machine has no randomness.
pub fn generate(alg: SignatureAlgorithm) -> Result<Generated, KeyError> {
    let random = SystemRandom::new();
    let unusable = |_| KeyError::Unusable;
    let document = match alg {
        SignatureAlgorithm::Es256 => {
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(unusable)?
        }
        SignatureAlgorithm::Es384 => {
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).map_err(unusable)?
        }
        SignatureAlgorithm::EdDsa => Ed25519KeyPair::generate_pkcs8v1(&random).map_err(unusable)?,
        SignatureAlgorithm::Ps256 | SignatureAlgorithm::Ps384 | SignatureAlgorithm::Rs384 => {
            return Err(KeyError::Unusable);
        }
    };
    let pem = pem(document.as_ref());
    let public = SigningKey::from_pem(&pem)?.public;
    Ok(Generated { pem, public })
}

/// RFC 7468 text of PKCS#8 bytes.
pub(super) fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for (at, character) in text.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str("\n-----END PRIVATE KEY-----\n");
    pem
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;

    #[test]
    fn generated_keys_of_every_kind_sign_what_their_public_half_verifies() {
        for alg in [SignatureAlgorithm::Es256, SignatureAlgorithm::Es384, SignatureAlgorithm::EdDsa] {
            let generated = generate(alg).unwrap();
            let key = SigningKey::from_pem(&generated.pem).unwrap();
            assert_eq!(key.public(), &generated.public);
            let token = key.sign("JWT", &serde_json::json!({ "a": 1 })).unwrap();
            let verifying = generated.public.decoding_key().unwrap();
            let claims: serde_json::Value =
                super::super::jwt::verify(&token, &["JWT"], &verifying, alg.of_library()).unwrap();
            assert_eq!(claims, serde_json::json!({ "a": 1 }));
        }
    }

    #[test]
    fn key_for_another_algorithm_is_refused() {
        let mut jwk = generate(SignatureAlgorithm::Es256).unwrap().public;
        jwk.alg = SignatureAlgorithm::Es384;
        assert_eq!(jwk.decoding_key().err(), Some(KeyError::Jwk { kid: jwk.kid.clone() }));
    }

    #[test]
    fn private_member_in_a_public_key_is_refused() {
        let text = r#"{"kid":"k","alg":"ES256","kty":"EC","crv":"P-256","x":"","y":"","d":"secret"}"#;
        assert!(serde_json::from_str::<PublicJwk>(text).is_err());
        let text = r#"{"kid":"k","alg":"HS256","kty":"oct"}"#;
        assert!(serde_json::from_str::<PublicJwk>(text).is_err());
    }

    #[test]
    fn short_rsa_key_is_refused() {
        let jwk = PublicJwk {
            kid: "k".into(),
            alg: SignatureAlgorithm::Ps256,
            kty: "RSA".into(),
            key_use: None,
            crv: None,
            x: None,
            y: None,
            n: Some(URL_SAFE_NO_PAD.encode([0xFF; 128])),
            e: Some("AQAB".into()),
        };
        assert_eq!(jwk.decoding_key().err(), Some(KeyError::Short { kid: "k".into() }));
    }

    #[test]
    fn private_key_does_not_print() {
        let generated = generate(SignatureAlgorithm::Es256).unwrap();
        let key = SigningKey::from_pem(&generated.pem).unwrap();
        let printed = format!("{key:?}");
        assert!(printed.len() < 120 && printed.contains("kid"), "{printed}");
    }
}
