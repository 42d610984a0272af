//! The decision table of `policy/examples/`: who, what, which Consents -> expected, run from token facts and Consent
//! resources to the filter's answer. Tests only.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing unwrap is a failing test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use sluis_conformance::definitions::r4;
use sluis_conformance::json::{Doc, JsonLimits};

use super::consent::{ConsentFact, compile, parse};
use super::filter::{CareRelation, Derived};
use super::organisation::{Organisations, PARTY_ANY, party_of, party_of_kind};
use super::policy::*;
use super::{Action, Context, Need, Parties, Permit, careteam, decide, may_write};
use crate::clock::Timestamp;
use crate::identity::actor::{Actor, Permissions, Scope, ScopeLevel, User};
use crate::ids::{PartyKey, PatientKey, ResourceId, SYSTEM_URA, Ura};
use crate::response::refusal::{Reason, Refusal};
use crate::store::StoreError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cast {
    now: String,
    organisation: BTreeMap<String, Organisation>,
    consent: BTreeMap<String, Consent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Organisation {
    ura: String,
    kind: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Consent {
    status: Option<String>,
    scope: Option<String>,
    holders: Vec<String>,
    provision: Provision,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Provision {
    r#type: String,
    #[serde(default)]
    purpose: Vec<String>,
    #[serde(default)]
    actor: Vec<String>,
    #[serde(default)]
    label: Vec<String>,
    data: Option<[String; 2]>,
    period: Option<[String; 2]>,
    #[serde(default)]
    provision: Vec<Provision>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    title: String,
    who: String,
    does: String,
    at: Option<String>,
    scopes: Option<String>,
    #[serde(default)]
    consents: Vec<String>,
    careteam: Option<Vec<String>>,
    old: Option<String>,
    row: String,
    expect: String,
}

struct Stage {
    policy: Policy,
    organisations: Organisations,
    cast: Cast,
    parties: BTreeMap<String, PartyKey>,
}

const HERSELF: PatientKey = PatientKey(1);

#[test]
fn every_row_of_the_decision_table_comes_out_as_expected() {
    let tables = [
        include_str!("../../policy/examples/treatment.toml"),
        include_str!("../../policy/examples/consent.toml"),
        include_str!("../../policy/examples/cohort.toml"),
        include_str!("../../policy/examples/write.toml"),
    ];
    let mut stage = Stage::set();
    let (mut rows, mut wrong) = (0, Vec::new());
    for case in tables.iter().flat_map(|text| toml::from_str::<Table>(text).unwrap().case) {
        rows += 1;
        let found = stage.play(&case);
        if found != case.expect {
            wrong.push(format!("{}: expected {}, found {found}", case.title, case.expect));
        }
    }
    assert!(rows >= 60, "{rows} rows");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

impl Stage {
    fn set() -> Stage {
        let policy = Policy::included().unwrap();
        let cast: Cast = toml::from_str(include_str!("../../policy/examples/cast.toml")).unwrap();
        let rows: String = cast
            .organisation
            .iter()
            .map(|(name, of)| {
                format!("[[organisation]]\nura = \"{}\"\nname = \"{name}\"\nkind = \"{}\"\n", of.ura, of.kind)
            })
            .collect();
        let organisations = Organisations::parse(&policy, "cast.toml", &rows).unwrap();
        Stage { policy, organisations, cast, parties: BTreeMap::new() }
    }

    fn play(&mut self, case: &Case) -> &'static str {
        let now = case.at.as_ref().unwrap_or(&self.cast.now).parse::<jiff::Timestamp>().unwrap();
        let now = Timestamp(now.as_microsecond());
        let actor = Arc::new(self.actor(case));
        let (verb, kind) = case.does.split_once(' ').unwrap();
        let action = match verb {
            "read" => Action::Read,
            "search" => Action::Search,
            "create" => Action::Create,
            "update" => Action::Update,
            "delete" => Action::Delete,
            "export" => Action::Export,
            _ => panic!("{verb}"),
        };
        let kind = r4().resource_type(kind).unwrap();
        let of = self.organisations.kind(&actor.organisation).map(party_of_kind);
        let parties = Parties {
            organisation: self.party(&party_of(&actor.organisation)),
            kind: of.map(|of| self.party(&of)),
            any: self.party(PARTY_ANY),
            self_patient: actor.patient.as_ref().map(|_| HERSELF),
        };
        let context = Context { policy: &self.policy, organisations: &self.organisations, now };
        let permit = match decide(&context, &actor, &Need::new(action, kind), &parties) {
            Ok(permit) => permit,
            Err(refusal) => return said(&refusal),
        };
        let row = self.row(&case.row);
        if matches!(action, Action::Create | Action::Update | Action::Delete) {
            let old = case.old.as_ref().map(|old| self.row(old));
            return match may_write(&permit, kind, old.as_ref(), &row) {
                Ok(()) => "allowed",
                Err(refusal) => said(&refusal),
            };
        }
        self.look(case, &permit, &row)
    }

    fn look(&mut self, case: &Case, permit: &Permit, row: &Derived) -> &'static str {
        let facts: Vec<ConsentFact> = case.consents.iter().map(|name| self.consent(name)).collect();
        let relations = self.relations(case);
        let parties = &mut self.parties;
        let mut party = |name: &str| Ok(intern(parties, name));
        let arms = compile(&self.policy, &self.organisations, HERSELF, &facts, &mut party).unwrap();
        match permit.filter().admits(row, &arms, &relations) {
            Some(_) => "visible",
            None => "hidden",
        }
    }

    /// A CareTeam resource of the named organisations; unless said, of the one that asks.
    fn relations(&mut self, case: &Case) -> Vec<CareRelation> {
        let asks = case.who.split(' ').next().unwrap().to_owned();
        let team = case.careteam.clone().unwrap_or_else(|| vec![asks]);
        let members: Vec<Value> = team
            .iter()
            .map(|name| json!({ "member": { "identifier": { "system": SYSTEM_URA, "value": self.ura(name) } } }))
            .collect();
        let team = json!({ "resourceType": "CareTeam", "status": "active", "participant": members });
        let doc = document(&team);
        let parties = &mut self.parties;
        let mut party = |name: &str| Ok::<_, StoreError>(intern(parties, name));
        careteam::relations(HERSELF, doc.root(), "CareTeam/t/_history/1", &mut party).unwrap()
    }

    fn actor(&self, case: &Case) -> Actor {
        let mut words = case.who.split(' ');
        let organisation = Ura::parse(&self.ura(words.next().unwrap())).unwrap();
        let at_keys = words.next().unwrap();
        let user = (!matches!(at_keys, "client" | "patient")).then(|| User {
            identifier: "000000001".into(),
            system: "http://fhir.nl/fhir/NamingSystem/uzi-nr-pers".into(),
            role_code: at_keys.into(),
        });
        Actor {
            client: "client".into(),
            organisation,
            user,
            patient: (at_keys == "patient").then(|| ResourceId::parse("herself").unwrap()),
            purpose: words.next().unwrap().into(),
            scopes: case.scopes.as_deref().unwrap_or("system/*.cruds").split(' ').map(scope).collect(),
            token_id: "t".into(),
            token_expires: Timestamp::MAX,
        }
    }

    fn consent(&self, name: &str) -> ConsentFact {
        let consent = self.cast.consent.get(name).unwrap_or_else(|| panic!("no consent {name}"));
        let scope = consent.scope.as_deref().unwrap_or("patient-privacy");
        let holders: Vec<Value> = consent.holders.iter().map(|holder| self.organisation(holder)).collect();
        let resource = json!({
            "resourceType": "Consent", "status": consent.status.as_deref().unwrap_or("active"),
            "scope": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": scope }] },
            "category": [{ "coding": [{ "system": "http://loinc.org", "code": "59284-0" }] }],
            "patient": { "reference": "Patient/herself" },
            "dateTime": "2026-01-01",
            "performer": [{ "reference": "Patient/herself" }],
            "organization": holders,
            "sourceAttachment": { "title": "toestemming" },
            "policy": [{ "uri": "https://sluis.care/policy/consent/1" }],
            "provision": self.provision(&consent.provision),
        });
        let doc = document(&resource);
        let issues = sluis_conformance::validate::validate(r4(), doc.root());
        assert!(issues.is_empty(), "{name}: {issues:#?}");
        parse(&self.policy, doc.root(), &format!("Consent/{name}/_history/1"))
            .unwrap_or_else(|refusal| panic!("{name}: {}", refusal.details))
    }

    fn provision(&self, of: &Provision) -> Value {
        let mut provision = json!({ "type": of.r#type });
        let mut list = |name: &str, items: Vec<Value>| {
            if !items.is_empty() {
                provision[name] = items.into();
            }
        };
        let purpose = |code: &String| json!({ "system": SYSTEM_ACT_REASON, "code": code });
        list("purpose", of.purpose.iter().map(purpose).collect());
        let role = json!({ "coding": [
            { "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP" },
        ] });
        list(
            "actor",
            of.actor
                .iter()
                .map(|name| json!({ "role": role, "reference": self.organisation(name) }))
                .collect(),
        );
        list("securityLabel", of.label.iter().map(|code| self.label(code)).collect());
        list("provision", of.provision.iter().map(|sub| self.provision(sub)).collect());
        for (name, period) in [("dataPeriod", &of.data), ("period", &of.period)] {
            let Some([start, end]) = period else { continue };
            let mut value = json!({});
            for (bound, text) in [("start", start), ("end", end)] {
                if !text.is_empty() {
                    value[bound] = text.as_str().into();
                }
            }
            provision[name] = value;
        }
        provision
    }

    fn label(&self, code: &str) -> Value {
        let system = if self.policy.label(code).is_some() {
            SYSTEM_ACT_CODE
        } else if self.policy.confidentiality(code).is_some() {
            SYSTEM_CONFIDENTIALITY
        } else {
            SYSTEM_CATEGORY
        };
        json!({ "system": system, "code": code })
    }

    fn organisation(&self, name: &str) -> Value {
        let kind = name.strip_prefix("kind:").or((name == "any").then_some("any"));
        match kind {
            Some(kind) => json!({ "identifier": { "system": SYSTEM_ORGANISATION_KIND, "value": kind } }),
            None => json!({ "identifier": { "system": SYSTEM_URA, "value": self.ura(name) } }),
        }
    }

    fn ura(&self, name: &str) -> String {
        self.cast.organisation.get(name).map_or_else(|| name.to_owned(), |of| of.ura.clone())
    }

    fn row(&mut self, text: &str) -> Derived {
        let (about, author) = text.split_once(" by ").unwrap();
        let author = Ura::parse(&self.ura(author)).unwrap();
        let mut words = about.split(' ');
        let category = words.next().unwrap();
        let category = self.policy.category(category).unwrap_or_else(|| panic!("no category {category}"));
        let author = self.party(&party_of(&author));
        let day = crate::decision::label::day_of("2026-06-01").unwrap();
        let mut row =
            Derived { patient: Some(HERSELF), category, labels: 0, confidentiality: 3, day, author };
        for word in words {
            match (word, word.strip_prefix("conf:"), word.strip_prefix('@')) {
                ("nobody", ..) => row.patient = None,
                ("other", ..) => row.patient = Some(PatientKey(2)),
                (_, Some(code), _) => row.confidentiality = self.policy.confidentiality(code).unwrap(),
                (_, _, Some(date)) => row.day = crate::decision::label::day_of(date).unwrap(),
                (label, ..) => row.labels |= self.policy.label(label).unwrap(),
            }
        }
        row
    }

    fn party(&mut self, name: &str) -> PartyKey {
        intern(&mut self.parties, name)
    }
}

fn intern(parties: &mut BTreeMap<String, PartyKey>, name: &str) -> PartyKey {
    let next = parties.len() as i64 + 1;
    *parties.entry(name.to_owned()).or_insert(PartyKey(next))
}

fn document(value: &Value) -> Doc {
    Doc::parse(value.to_string().into_bytes(), JsonLimits::default()).unwrap()
}

fn said(refusal: &Refusal) -> &'static str {
    match refusal.reason {
        Reason::Forbidden => "forbidden",
        Reason::BusinessRule => "refused",
        other => panic!("{other:?}: {}", refusal.details),
    }
}

fn scope(text: &str) -> Scope {
    let (level, rest) = text.split_once('/').unwrap();
    let (kind, letters) = rest.split_once('.').unwrap();
    Scope {
        level: match level {
            "patient" => ScopeLevel::Patient,
            "user" => ScopeLevel::User,
            _ => ScopeLevel::System,
        },
        kind: (kind != "*").then(|| kind.into()),
        permissions: Permissions {
            create: letters.contains('c'),
            read: letters.contains('r'),
            update: letters.contains('u'),
            delete: letters.contains('d'),
            search: letters.contains('s'),
        },
    }
}
