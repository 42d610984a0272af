#![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::connection::request::PeerCertificate;
use crate::identity::client::ClientSettings;
use crate::identity::context::SYSTEM_PURPOSE;
use crate::identity::signing::{SignatureAlgorithm, generate};
use crate::ids::Ura;

const BASE: &str = "https://sluis.example/fhir";
const NOW: i64 = 1_795_470_300;

struct Gate {
    tokens: AccessTokens,
    key: Arc<SigningKey>,
    clients: Arc<Clients>,
}

fn settings() -> ClientSettings {
    ClientSettings {
        id: "epd1".into(),
        name: "EPD 1".into(),
        organisations: vec!["90000382".into()],
        scopes: vec![],
        purposes: vec![],
        role_codes: vec![],
        portal: false,
        certificate_required: false,
        certificate_thumbprints: vec![],
        disabled: false,
        keys: vec![],
    }
}

fn gate() -> Gate {
    let key = Arc::new(SigningKey::from_pem(&generate(SignatureAlgorithm::Es256).unwrap().pem).unwrap());
    let clients = Arc::new(Clients::from_settings(vec![settings()]).unwrap());
    Gate { tokens: AccessTokens::new(BASE, key.clone(), clients.clone()), key, clients }
}

fn claims() -> Value {
    json!({
        "iss": BASE, "sub": "epd1", "client_id": "epd1", "aud": BASE,
        "iat": NOW, "nbf": NOW, "exp": NOW + 300, "jti": "t1", "scope": "system/*.rs nonsense",
        "extensions": { "ihe_iua": {
            "subject_organization_id": "90000382",
            "purpose_of_use": [{ "system": SYSTEM_PURPOSE, "code": "TREAT" }],
        }},
    })
}

fn at(seconds: i64) -> Timestamp {
    Timestamp(0).plus_seconds(seconds)
}

fn bearer(token: &str) -> Credentials {
    Credentials { bearer: Some(token.into()), ..Credentials::default() }
}

impl Gate {
    fn sign(&self, claims: &Value) -> String {
        self.key.sign(ACCESS_TOKEN_TYPE, claims).unwrap()
    }

    fn reason(&self, credentials: &Credentials, seconds: i64) -> Option<Reason> {
        self.tokens.actor(credentials, at(seconds)).err().map(|refusal| {
            assert!(refusal.headers.iter().any(|(name, _)| *name == header::WWW_AUTHENTICATE));
            assert!(refusal.details.is_empty() || credentials.other_scheme);
            refusal.reason
        })
    }
}

#[test]
fn token_that_holds_is_an_actor() {
    let gate = gate();
    let actor = gate.tokens.actor(&bearer(&gate.sign(&claims())), at(NOW)).unwrap();
    assert_eq!((&*actor.client, actor.organisation.as_str(), &*actor.purpose), ("epd1", "90000382", "TREAT"));
    assert_eq!(actor.scopes, [Scope::parse("system/*.rs").unwrap()]);
    assert_eq!((&*actor.token_id, actor.token_expires), ("t1", at(NOW + 300)));
}

#[test]
fn end_of_a_token_is_judged_on_every_request() {
    let gate = gate();
    let shown = bearer(&gate.sign(&claims()));
    assert_eq!(gate.reason(&shown, NOW + 299), None);
    assert_eq!(gate.reason(&shown, NOW + 300), Some(Reason::TokenExpired));
    assert_eq!(gate.reason(&shown, NOW + 301), Some(Reason::TokenExpired));
    assert_eq!(gate.reason(&shown, NOW), None);
    assert_eq!(gate.reason(&shown, NOW - 6), Some(Reason::Unauthenticated));
}

// Attack case 45 and bad input 69 to 71.
#[test]
fn token_not_signed_by_the_gateway_is_refused() {
    let gate = gate();
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let body = encode(&claims());
    let head = encode(&json!({ "alg": "HS256", "typ": "at+jwt" }));
    let secret = serde_json::to_vec(gate.key.public()).unwrap();
    let mac_key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
    let mac = aws_lc_rs::hmac::sign(&mac_key, format!("{head}.{body}").as_bytes());
    let right = gate.sign(&claims());
    let (front, signature) = right.rsplit_once('.').unwrap();
    let (head_of_right, _) = front.split_once('.').unwrap();
    let mut richer = claims();
    richer["scope"] = "system/*.cruds".into();
    let other = SigningKey::from_pem(&generate(SignatureAlgorithm::Es256).unwrap().pem).unwrap();
    let tokens = [
        format!("{}.{body}.", encode(&json!({ "alg": "none", "typ": "at+jwt" }))),
        format!("{head}.{body}.{}", URL_SAFE_NO_PAD.encode(mac)),
        format!("{head_of_right}.{}.{signature}", encode(&richer)),
        other.sign(ACCESS_TOKEN_TYPE, &claims()).unwrap(),
        format!("{front}."),
        format!("{front}.{}", "A".repeat(86)),
        format!("{right}.x"),
        "garbage".to_owned(),
        "a.b.c".to_owned(),
        "..".to_owned(),
    ];
    for token in tokens {
        assert_eq!(gate.reason(&bearer(&token), NOW), Some(Reason::Unauthenticated), "{token}");
    }
    assert_eq!(gate.reason(&Credentials::default(), NOW), Some(Reason::Unauthenticated));
    let basic = Credentials { other_scheme: true, ..Credentials::default() };
    assert_eq!(gate.reason(&basic, NOW), Some(Reason::Unauthenticated));
}

// Attack case 47.
#[test]
fn names_that_are_not_exactly_right_are_refused() {
    let gate = gate();
    for (name, value) in [
        ("aud", json!([BASE])),
        ("aud", json!("https://sluis.example/fhir/")),
        ("aud", json!("https://sluis.example")),
        ("iss", json!("https://sluis.example/fhir/")),
        ("iss", json!("https://sluis.example.evil/fhir")),
        ("sub", json!("epd2")),
        ("client_id", json!("epd2")),
        ("exp", json!("soon")),
        ("extensions", json!({})),
    ] {
        let mut changed = claims();
        changed[name] = value.clone();
        let shown = bearer(&gate.sign(&changed));
        assert_eq!(gate.reason(&shown, NOW), Some(Reason::Unauthenticated), "{name} {value}");
    }
    for typ in ["JWT", "id_token", "dpop+jwt", ""] {
        let token = gate.key.sign(typ, &claims()).unwrap();
        assert_eq!(gate.reason(&bearer(&token), NOW), Some(Reason::Unauthenticated), "{typ}");
    }
}

// Attack case 52.
#[test]
fn bound_token_holds_only_over_its_own_certificate() {
    let gate = gate();
    let mut bound = claims();
    bound["cnf"] = json!({ "x5t#S256": "tp1" });
    let over = |claims: &Value, certificate: Option<(&str, Option<&str>)>| {
        let certificate = certificate.map(|(thumbprint, ura)| {
            Arc::new(PeerCertificate { thumbprint: thumbprint.into(), ura: ura.and_then(Ura::parse) })
        });
        gate.reason(&Credentials { certificate, ..bearer(&gate.sign(claims)) }, NOW)
    };
    assert_eq!(over(&bound, Some(("tp1", None))), None);
    assert_eq!(over(&bound, Some(("tp1", Some("90000382")))), None);
    assert_eq!(over(&bound, Some(("tp2", None))), Some(Reason::Unauthenticated));
    assert_eq!(over(&bound, None), Some(Reason::Unauthenticated));
    assert_eq!(over(&bound, Some(("tp1", Some("90000383")))), Some(Reason::Unauthenticated));
    assert_eq!(over(&claims(), Some(("tp9", Some("90000383")))), Some(Reason::Unauthenticated));
    assert_eq!(over(&claims(), None), None);
}

#[test]
fn client_switched_off_is_refused_from_the_next_request_on() {
    let gate = gate();
    let shown = bearer(&gate.sign(&claims()));
    assert_eq!(gate.reason(&shown, NOW), None);
    gate.clients.replace(vec![ClientSettings { disabled: true, ..settings() }]).unwrap();
    assert_eq!(gate.reason(&shown, NOW), Some(Reason::Unauthenticated));
    gate.clients.replace(vec![ClientSettings { organisations: vec![], ..settings() }]).unwrap();
    assert_eq!(gate.reason(&shown, NOW), Some(Reason::Unauthenticated));
}
