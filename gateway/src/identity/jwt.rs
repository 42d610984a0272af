//! Signed JSON, verified against one key that was known before the token came.
//!
//! `jku`, `x5u`, `jwk` and `x5c` in a header are never looked at, so never fetched. Times and names in the claims are
//! judged by the callers, with the gateway's clock.

use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::de::DeserializeOwned;

/// Why a token does not hold. The text is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum JwtError {
    /// Not three parts, not base64url, not JSON, or claims missing or of a wrong type.
    #[error("not a JWT of the form expected")]
    Form,
    /// `typ` is that of another kind of token.
    #[error("typ is that of another kind of token")]
    Type,
    /// `alg` is not the algorithm registered for the key.
    #[error("alg is not that of the key")]
    Algorithm,
    /// `crit` asks for something not understood (RFC 7515 section 4.1.11).
    #[error("crit names an extension that is not understood")]
    Critical,
    /// The signature is not that of the key.
    #[error("the signature does not verify")]
    Signature,
}

/// The header, unverified: which key to look for, nothing more.
pub(super) fn header(token: &str) -> Result<Header, JwtError> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| JwtError::Form)?;
    if header.crit.is_some() {
        return Err(JwtError::Critical);
    }
    Ok(header)
}

/// Claims of a token whose `typ` is one of `types`, signed by `key` with `algorithm`.
pub(super) fn verify<T: DeserializeOwned>(
    token: &str,
    types: &[&str],
    key: &DecodingKey,
    algorithm: Algorithm,
) -> Result<T, JwtError> {
    let header = header(token)?;
    let kind = header.typ.unwrap_or_default();
    if !types.iter().any(|expected| kind.eq_ignore_ascii_case(expected)) {
        return Err(JwtError::Type);
    }
    if header.alg != algorithm {
        return Err(JwtError::Algorithm);
    }
    let mut validation = Validation::new(algorithm);
    // Judged by the caller: this library reads the machine's clock.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    use jsonwebtoken::errors::ErrorKind;
    match jsonwebtoken::decode::<T>(token, key, &validation) {
        Ok(data) => Ok(data.claims),
        Err(error) => Err(match error.kind() {
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => JwtError::Algorithm,
            ErrorKind::InvalidSignature => JwtError::Signature,
            _ => JwtError::Form,
        }),
    }
}
