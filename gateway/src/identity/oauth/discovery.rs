//! Documents that tell a client how to get a token and how to verify one.

use serde_json::json;

use super::url;
use crate::identity::signing::{SignatureAlgorithm, SigningKey};

/// Path of the key set below the base.
const JWKS_PATH: &str = "/oauth/jwks";

/// `.well-known/smart-configuration`: absolute addresses; only what is offered.
///
/// Source: SMART App Launch 2.2 conformance.html#metadata, RFC 8705 section 3.3
pub(crate) fn smart_configuration(base: &str, certificates: bool) -> String {
    json!({
        "issuer": base,
        "jwks_uri": format!("{base}{JWKS_PATH}"),
        "token_endpoint": url(base),
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": SignatureAlgorithm::NAMES,
        "scopes_supported": ["system/*.cruds", "user/*.cruds", "patient/*.cruds"],
        "response_types_supported": [],
        // Required by SMART even where no code is given out; `plain` SHALL NOT be there.
        "code_challenge_methods_supported": ["S256"],
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
        "tls_client_certificate_bound_access_tokens": certificates,
    })
    .to_string()
}

/// The gateway's own public keys (RFC 7517 section 5).
pub(crate) fn jwks(key: &SigningKey) -> String {
    json!({ "keys": [key.public()] }).to_string()
}
