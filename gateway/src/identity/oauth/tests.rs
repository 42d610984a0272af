#![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]

use std::collections::HashSet;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::clock::Fixed;
use crate::identity::client::ClientSettings;
use crate::identity::context::SYSTEM_PURPOSE;
use crate::identity::signing::{PublicJwk, SignatureAlgorithm, generate};
use crate::ids::{SYSTEM_UZI_ROLE, Ura};

const BASE: &str = "https://sluis.example/fhir";
const NOW: i64 = 1_795_470_300;
const SCOPE: &str = "system/Observation.rs";

/// A token endpoint, one registered client and what it remembers.
struct Desk {
    endpoint: TokenEndpoint,
    gateway: Arc<SigningKey>,
    client: SigningKey,
    clock: Fixed,
    used: Mutex<HashSet<AssertionId>>,
    certificate: Option<PeerCertificate>,
}

impl std::hash::Hash for AssertionId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (&self.issuer, &self.jti).hash(state);
    }
}

fn settings(key: &PublicJwk) -> ClientSettings {
    ClientSettings {
        id: "epd1".into(),
        name: "EPD 1".into(),
        organisations: vec!["90000382".into(), "90000383".into()],
        scopes: ["system/*.rs", "system/Observation.c", "user/*.rs", "patient/*.rs"]
            .map(str::to_owned)
            .to_vec(),
        purposes: ["TREAT", "PATRQT"].map(str::to_owned).to_vec(),
        role_codes: vec!["01.042".into()],
        portal: false,
        certificate_required: false,
        certificate_thumbprints: vec![],
        disabled: false,
        keys: vec![key.clone()],
    }
}

fn desk_with(change: impl FnOnce(&mut ClientSettings)) -> Desk {
    let client = SigningKey::from_pem(&generate(SignatureAlgorithm::Es384).unwrap().pem).unwrap();
    let mut settings = settings(client.public());
    change(&mut settings);
    let mut other = super::tests::settings(client.public());
    other.id = "epd2".into();
    let clients = Arc::new(Clients::from_settings(vec![settings, other]).unwrap());
    let gateway = Arc::new(SigningKey::from_pem(&generate(SignatureAlgorithm::Es256).unwrap().pem).unwrap());
    Desk {
        endpoint: TokenEndpoint::new(BASE, gateway.clone(), clients, &Limits::default()),
        gateway,
        client,
        clock: Fixed::at(Timestamp(0).plus_seconds(NOW)),
        used: Mutex::default(),
        certificate: None,
    }
}

fn desk() -> Desk {
    desk_with(|_| {})
}

fn claims() -> Value {
    json!({
        "iss": "epd1", "sub": "epd1", "aud": "https://sluis.example/fhir/oauth/token",
        "exp": NOW + 60, "iat": NOW, "jti": "j1",
        "extensions": { "ihe_iua": {
            "subject_organization_id": "90000382",
            "purpose_of_use": [{ "system": SYSTEM_PURPOSE, "code": "TREAT" }],
        }},
    })
}

impl Desk {
    fn sign(&self, claims: &Value) -> String {
        self.client.sign("JWT", claims).unwrap()
    }

    fn post(&self, form: &[(String, String)]) -> Result<Grant, TokenError> {
        let claim = |id: AssertionId| std::future::ready(Ok(self.used.lock().unwrap().insert(id)));
        let answer = self.endpoint.issue(form, self.certificate.as_ref(), &self.clock, claim);
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(answer)
    }

    fn ask(&self, claims: &Value) -> Result<Grant, TokenError> {
        self.post(&assertion::form(&self.sign(claims), SCOPE))
    }

    fn refused(&self, claims: &Value) -> &'static str {
        self.ask(claims).unwrap_err().code()
    }

    fn with(&self, path: &str, value: Value) -> Result<Grant, TokenError> {
        let mut changed = claims();
        *changed.pointer_mut(path).unwrap() = value;
        self.ask(&changed)
    }
}

fn access(desk: &Desk, grant: &Grant) -> AccessClaims {
    let key = desk.gateway.public().decoding_key().unwrap();
    let types = [ACCESS_TOKEN_TYPE];
    crate::identity::jwt::verify(&grant.token, &types, &key, desk.gateway.algorithm()).unwrap()
}

#[test]
fn assertion_that_holds_gives_a_token_for_five_minutes() {
    let desk = desk();
    let grant = desk.ask(&claims()).unwrap();
    let answer: Value = serde_json::from_str(&grant.to_json()).unwrap();
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["expires_in"], 300);
    assert_eq!(answer["scope"], SCOPE);
    let access = access(&desk, &grant);
    assert_eq!((access.iss.as_str(), access.aud.as_str(), access.sub.as_str()), (BASE, BASE, "epd1"));
    assert_eq!((access.iat, access.nbf, access.exp), (NOW, NOW, NOW + 300));
    assert_eq!(access.jti, *grant.token_id);
    assert_eq!(
        Context::read(&access.extensions.ihe_iua).unwrap().organisation,
        Ura::parse("90000382").unwrap()
    );
    assert_eq!(access.cnf, None);
}

#[test]
fn assertion_made_by_the_client_side_holds() {
    let desk = desk();
    let context =
        Context::read(&serde_json::from_value(claims()["extensions"]["ihe_iua"].clone()).unwrap()).unwrap();
    let text =
        assertion::make(&desk.client, "epd1", desk.endpoint.url(), &context, desk.clock.now(), "j7").unwrap();
    assert_eq!(desk.post(&assertion::form(&text, SCOPE)).unwrap().context, context);
}

// Attack case 45.
#[test]
fn algorithm_other_than_the_registered_one_is_refused() {
    let desk = desk();
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let kid = &desk.client.public().kid;
    let body = encode(&claims());
    let none = format!("{}.{body}.", encode(&json!({ "alg": "none", "typ": "JWT", "kid": kid })));
    // HS256 keyed with the public key, as those who confuse the two would verify it.
    let head = encode(&json!({ "alg": "HS256", "typ": "JWT", "kid": kid }));
    let secret = serde_json::to_vec(desk.client.public()).unwrap();
    let mac_key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
    let mac = aws_lc_rs::hmac::sign(&mac_key, format!("{head}.{body}").as_bytes());
    let hs256 = format!("{head}.{body}.{}", URL_SAFE_NO_PAD.encode(mac));
    // A P-256 key under the name of the registered P-384 one, and the right signature under a wrong header.
    let es256 = signed_by_stranger(kid, &claims());
    let right = desk.sign(&claims());
    let (_, rest) = right.split_once('.').unwrap();
    let relabelled = format!("{}.{rest}", encode(&json!({ "alg": "ES256", "typ": "JWT", "kid": kid })));
    for (name, token) in [("none", none), ("HS256", hs256), ("ES256", es256), ("relabelled", relabelled)] {
        let error = desk.post(&assertion::form(&token, SCOPE)).unwrap_err();
        assert_eq!((error.code(), error.status().as_u16()), ("invalid_client", 401), "{name}");
    }
    assert!(desk.used.lock().unwrap().is_empty());
}

/// Signed by a fresh P-256 key, with another key's name in its header.
fn signed_by_stranger(kid: &str, claims: &Value) -> String {
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
    header.kid = Some(kid.to_owned());
    let pem = generate(SignatureAlgorithm::Es256).unwrap().pem;
    let encoding = jsonwebtoken::EncodingKey::from_ec_pem(pem.as_bytes()).unwrap();
    jsonwebtoken::encode(&header, claims, &encoding).unwrap()
}

// Attack case 45, the other way round: what is registered does work, for every algorithm a key can be made for.
#[test]
fn every_algorithm_works_when_it_is_the_registered_one() {
    for alg in [SignatureAlgorithm::Es256, SignatureAlgorithm::Es384, SignatureAlgorithm::EdDsa] {
        let key = SigningKey::from_pem(&generate(alg).unwrap().pem).unwrap();
        let desk = desk_with(|settings| settings.keys.push(key.public().clone()));
        assert!(desk.post(&assertion::form(&key.sign("JWT", &claims()).unwrap(), SCOPE)).is_ok(), "{alg:?}");
    }
}

#[test]
fn rsa_signatures_of_the_registered_kind_hold_and_of_another_do_not() {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
    use aws_lc_rs::signature::KeyPair as _;
    let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
    let parts = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let pem = crate::identity::signing::pem(pkcs8.as_ref());
    let encoding = jsonwebtoken::EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
    let jwk = |alg| PublicJwk {
        kid: "rsa".into(),
        alg,
        kty: "RSA".into(),
        key_use: None,
        crv: None,
        x: None,
        y: None,
        n: Some(URL_SAFE_NO_PAD.encode(&parts.n)),
        e: Some(URL_SAFE_NO_PAD.encode(&parts.e)),
    };
    for registered in [SignatureAlgorithm::Ps256, SignatureAlgorithm::Ps384, SignatureAlgorithm::Rs384] {
        let desk = desk_with(|settings| settings.keys.push(jwk(registered)));
        for used in ["PS256", "PS384", "RS384", "RS256"] {
            let algorithm = used.parse().unwrap();
            let mut header = jsonwebtoken::Header::new(algorithm);
            header.kid = Some("rsa".into());
            let token = jsonwebtoken::encode(&header, &claims(), &encoding).unwrap();
            let holds = desk.post(&assertion::form(&token, SCOPE)).is_ok();
            assert_eq!(holds, registered.of_library() == algorithm, "{registered:?} {used}");
        }
    }
}

// Attack case 47.
#[test]
fn names_that_are_not_exactly_right_are_refused() {
    let desk = desk();
    for (path, value) in [
        ("/aud", json!(["https://sluis.example/fhir/oauth/token"])),
        ("/aud", json!("https://sluis.example/fhir/oauth/token/")),
        ("/aud", json!("https://sluis.example/fhir/oauth")),
        ("/aud", json!("https://sluis.example/fhir")),
        ("/aud", json!("https://SLUIS.example/fhir/oauth/token")),
        ("/iss", json!("epd1 ")),
        ("/iss", json!("epd2")),
        ("/iss", json!("nobody")),
        ("/sub", json!("epd2")),
        ("/jti", json!("")),
        ("/jti", json!("x".repeat(129))),
        ("/jti", json!(7)),
    ] {
        let error = desk.with(path, value.clone()).unwrap_err();
        assert_eq!((error.code(), error.status().as_u16()), ("invalid_client", 401), "{path} {value}");
    }
    for typ in ["at+jwt", "id_token", "dpop+jwt", ""] {
        let token = desk.client.sign(typ, &claims()).unwrap();
        assert_eq!(desk.post(&assertion::form(&token, SCOPE)).unwrap_err().code(), "invalid_client", "{typ}");
    }
    // An access token is no assertion either.
    let grant = desk.ask(&claims()).unwrap();
    assert_eq!(desk.post(&assertion::form(&grant.token, SCOPE)).unwrap_err().code(), "invalid_client");
}

#[test]
fn times_are_judged_by_the_clock_handed_in() {
    let desk = desk();
    for (path, value, holds) in [
        ("/exp", NOW + 300, true),
        ("/exp", NOW + 331, false),
        ("/exp", NOW, false),
        ("/exp", NOW - 1, false),
        ("/iat", NOW + 31, false),
        ("/iat", NOW - 331, false),
        ("/iat", NOW + 10, true),
    ] {
        desk.used.lock().unwrap().clear();
        assert_eq!(desk.with(path, value.into()).is_ok(), holds, "{path} {}", value - NOW);
    }
    let mut later = claims();
    later["nbf"] = (NOW + 31).into();
    assert_eq!(desk.refused(&later), "invalid_client");
    for missing in ["iss", "sub", "aud", "exp", "jti"] {
        let mut without = claims();
        without.as_object_mut().unwrap().remove(missing);
        assert_eq!(desk.refused(&without), "invalid_client", "{missing}");
    }
    desk.clock.advance_seconds(60);
    assert_eq!(desk.refused(&claims()), "invalid_client");
}

// Attack case 48: the key named in a header is another than the one registered.
#[test]
fn key_brought_along_in_the_header_is_not_used() {
    let desk = desk();
    let pem = generate(SignatureAlgorithm::Es384).unwrap();
    let encoding = jsonwebtoken::EncodingKey::from_ec_pem(pem.pem.as_bytes()).unwrap();
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES384);
    header.kid = Some(desk.client.public().kid.clone());
    header.jku = Some("http://169.254.169.254/keys".into());
    header.x5u = Some("http://attacker.example/cert".into());
    header.jwk = serde_json::from_value(serde_json::to_value(&pem.public).unwrap()).unwrap();
    let token = jsonwebtoken::encode(&header, &claims(), &encoding).unwrap();
    assert_eq!(desk.post(&assertion::form(&token, SCOPE)).unwrap_err().code(), "invalid_client");
    for kid in [None, Some("other".to_owned())] {
        header.kid = kid;
        let token = jsonwebtoken::encode(&header, &claims(), &encoding).unwrap();
        assert_eq!(desk.post(&assertion::form(&token, SCOPE)).unwrap_err().code(), "invalid_client");
    }
}

#[test]
fn header_with_a_critical_extension_is_refused() {
    let desk = desk();
    let token = desk.sign(&claims());
    let (_, rest) = token.split_once('.').unwrap();
    let header = json!({ "alg": "ES384", "typ": "JWT", "kid": desk.client.public().kid, "crit": ["b64"], "b64": false });
    let token = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()));
    assert_eq!(desk.post(&assertion::form(&token, SCOPE)).unwrap_err().code(), "invalid_client");
}

// Attack case 50, on one node; the store's suite shows it for several.
#[test]
fn assertion_is_used_once() {
    let desk = desk();
    assert!(desk.ask(&claims()).is_ok());
    assert_eq!(desk.refused(&claims()), "invalid_client");
    assert!(desk.with("/jti", json!("j2")).is_ok());
    // The same jti of another client is another assertion.
    let mut other = claims();
    (other["iss"], other["sub"]) = (json!("epd2"), json!("epd2"));
    assert!(desk.ask(&other).is_ok());
}

#[test]
fn assertion_of_a_refused_wish_is_used_up_and_one_that_does_not_hold_is_not() {
    let desk = desk();
    assert_eq!(
        desk.with("/extensions/ihe_iua/subject_organization_id", json!("99999999")).unwrap_err().code(),
        "invalid_request"
    );
    assert_eq!(desk.used.lock().unwrap().len(), 1);
    assert_eq!(desk.with("/aud", json!("x")).unwrap_err().code(), "invalid_client");
    assert_eq!(desk.used.lock().unwrap().len(), 1);
}

#[test]
fn no_token_without_a_store_that_remembers() {
    let desk = desk();
    let form = assertion::form(&desk.sign(&claims()), SCOPE);
    let claim = |_| std::future::ready(Err(StoreError::Busy));
    let answer = desk.endpoint.issue(&form, None, &desk.clock, claim);
    let error = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(answer).unwrap_err();
    assert_eq!(error.status().as_u16(), 503);
    assert!(!error.to_json().contains("waiting"));
}

// Attack case 52.
#[test]
fn certificate_binds_the_token_and_must_be_that_of_the_organisation() {
    let certificate =
        |ura: Option<&str>| PeerCertificate { thumbprint: "tp1".into(), ura: ura.and_then(Ura::parse) };
    let mut desk = desk();
    desk.certificate = Some(certificate(Some("90000382")));
    let grant = desk.ask(&claims()).unwrap();
    assert_eq!(access(&desk, &grant).cnf, Some(Confirmation { thumbprint: "tp1".into() }));
    desk.certificate = Some(certificate(Some("90000383")));
    assert_eq!(
        desk.with("/jti", json!("j2")).unwrap_err(),
        TokenError::client("the certificate is that of another organisation")
    );
    desk.certificate = Some(certificate(None));
    assert!(desk.with("/jti", json!("j3")).is_ok());
}

#[test]
fn client_bound_to_certificates_uses_one_of_them() {
    let mut desk = desk_with(|settings| settings.certificate_thumbprints = vec!["tp1".into()]);
    assert_eq!(desk.refused(&claims()), "invalid_client");
    desk.certificate = Some(PeerCertificate { thumbprint: "tp2".into(), ura: None });
    assert_eq!(desk.refused(&claims()), "invalid_client");
    desk.certificate = Some(PeerCertificate { thumbprint: "tp1".into(), ura: None });
    assert!(desk.ask(&claims()).is_ok());
    let required = desk_with(|settings| settings.certificate_required = true);
    assert_eq!(required.refused(&claims()), "invalid_client");
}

// Attack case 54.
#[test]
fn scope_not_understood_is_not_granted() {
    let desk = desk();
    let ask = |at: usize, scope: &str| {
        let mut claims = claims();
        claims["jti"] = format!("s{at}").into();
        desk.post(&assertion::form(&desk.sign(&claims), scope))
    };
    let none = [
        "system/*.dus",
        "system/Observation.rs?patient.birthdate=2000",
        "system/Observation.rs?category=a&category=b",
        "system/Observation.rs%3Fcategory=a",
        "system/Foo.rs",
        "openid",
        "user/*.rs",
        "patient/*.rs",
        "system/*.u",
    ];
    for (at, scope) in none.into_iter().enumerate() {
        let error = ask(at, scope).unwrap_err();
        assert_eq!((error.code(), error.status().as_u16()), ("invalid_scope", 400), "{scope}");
    }
    assert_eq!(ask(100, &"system/*.rs ".repeat(10_000)).unwrap_err().code(), "invalid_scope");
    assert_eq!(ask(101, "").unwrap_err().code(), "invalid_scope");
    let some = ask(102, "system/*.cruds system/*.dus launch").unwrap();
    assert_eq!(scope::text(&some.scopes), "system/*.rs system/Observation.c");
}

// Attack case 57.
#[test]
fn client_vouches_only_for_what_it_is_registered_for() {
    let desk = desk();
    let role = |code: &str| {
        let mut claims = claims();
        claims["jti"] = code.into();
        let iua = &mut claims["extensions"]["ihe_iua"];
        iua["subject_id"] =
            json!({ "system": "http://fhir.nl/fhir/NamingSystem/uzi-nr-pers", "value": "900012345" });
        iua["subject_role"] = json!([{ "system": SYSTEM_UZI_ROLE, "code": code }]);
        desk.ask(&claims)
    };
    assert_eq!(&*role("01.042").unwrap().context.user.unwrap().role_code, "01.042");
    assert_eq!(role("01.015").unwrap_err().status().as_u16(), 400);
    let purpose = json!([{ "system": SYSTEM_PURPOSE, "code": "HRESCH" }]);
    assert_eq!(
        desk.with("/extensions/ihe_iua/purpose_of_use", purpose).unwrap_err().code(),
        "invalid_request"
    );
    desk.used.lock().unwrap().clear();
    let foreign = desk.with("/extensions/ihe_iua/subject_organization_id", json!("90000999"));
    assert_eq!(foreign.unwrap_err().code(), "invalid_request");
}

#[test]
fn only_a_portal_vouches_for_a_patient_and_her_token_reaches_her_alone() {
    let mut patient = claims();
    patient["extensions"]["ihe_iua"]["patient_id"] = "p1".into();
    patient["extensions"]["ihe_iua"]["purpose_of_use"][0]["code"] = "PATRQT".into();
    assert_eq!(desk().refused(&patient), "invalid_request");
    let portal = desk_with(|settings| settings.portal = true);
    let grant =
        portal.post(&assertion::form(&portal.sign(&patient), "patient/*.rs system/*.rs user/*.rs")).unwrap();
    assert_eq!(scope::text(&grant.scopes), "patient/*.rs");
    let answer: Value = serde_json::from_str(&grant.to_json()).unwrap();
    assert_eq!(answer["patient"], "p1");
}

#[test]
fn form_that_is_not_as_it_should_be_is_refused_in_oauth_words() {
    let desk = desk();
    let good = assertion::form(&desk.sign(&claims()), SCOPE);
    let changed = |name: &str, value: Option<&str>| {
        let mut form = good.clone();
        form.retain(|(n, _)| n != name);
        form.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        desk.post(&form).unwrap_err().code()
    };
    assert_eq!(changed("grant_type", None), "invalid_request");
    assert_eq!(changed("grant_type", Some("password")), "unsupported_grant_type");
    assert_eq!(changed("grant_type", Some("authorization_code")), "unsupported_grant_type");
    assert_eq!(changed("scope", None), "invalid_scope");
    assert_eq!(changed("client_assertion", None), "invalid_client");
    assert_eq!(changed("client_assertion", Some("a.b.c")), "invalid_client");
    assert_eq!(changed("client_assertion", Some(&"a".repeat(20_000))), "invalid_request");
    assert_eq!(
        changed("client_assertion_type", Some("urn:ietf:params:oauth:client-assertion-type:saml2-bearer")),
        "invalid_request"
    );
    assert_eq!(changed("client_id", Some("epd2")), "invalid_client");
    assert_eq!(changed("client_secret", Some("x")), "invalid_client");
    let mut twice = good.clone();
    twice.push(("scope".into(), SCOPE.into()));
    assert_eq!(desk.post(&twice).unwrap_err().code(), "invalid_request");
    assert!(desk.post(&good).is_ok());
}

#[test]
fn client_switched_off_gets_no_token() {
    let desk = desk_with(|settings| settings.disabled = true);
    assert_eq!(desk.refused(&claims()), "invalid_client");
}

#[test]
fn answer_and_grant_do_not_print_the_token() {
    let grant = desk().ask(&claims()).unwrap();
    assert!(!format!("{grant:?}").contains(&grant.token));
}

#[test]
fn discovery_names_absolute_addresses_and_only_what_is_offered() {
    let found: Value = serde_json::from_str(&discovery::smart_configuration(BASE, true)).unwrap();
    assert_eq!(found["token_endpoint"], "https://sluis.example/fhir/oauth/token");
    assert_eq!(found["jwks_uri"], "https://sluis.example/fhir/oauth/jwks");
    assert_eq!(found["grant_types_supported"], json!(["client_credentials"]));
    assert!(found["capabilities"].as_array().unwrap().contains(&json!("client-confidential-asymmetric")));
    let desk = desk();
    let keys: Value = serde_json::from_str(&discovery::jwks(&desk.gateway)).unwrap();
    assert_eq!(keys["keys"][0]["alg"], "ES256");
    assert!(keys["keys"][0].get("d").is_none());
}
