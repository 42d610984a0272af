//! A Consent resource -> what the gateway can enforce of it, or the element it cannot.
//!
//! Sources: FHIR R4 consent.html; IHE PCF `IHE.PCF.consentFoundation` and `consentAdvanced`.

mod provision;
mod recipient;

use sluis_conformance::json::Node;

use super::{ConsentFact, Scope};
use crate::decision::label::text;
use crate::decision::policy::{ConsentKind, Policy, SYSTEM_ACT_CODE};
use crate::response::refusal::{Reason, Refusal};
use provision::Reading;

const SYSTEM_SCOPE: &str = "http://terminology.hl7.org/CodeSystem/consentscope";
/// Consent.category codings that are understood; any other one could change what the Consent means.
const CATEGORIES: [(&str, &str); 4] = [
    ("http://loinc.org", "59284-0"),
    (SYSTEM_ACT_CODE, "INFA"),
    (SYSTEM_ACT_CODE, "RESEARCH"),
    ("http://terminology.hl7.org/CodeSystem/consentcategorycodes", "research"),
];
/// Elements an active access Consent may have. Those PCF forbids (`policyRule`, `verification`) are not among them.
const ELEMENTS: [&str; 19] = [
    "resourceType",
    "id",
    "meta",
    "language",
    "text",
    "contained",
    "extension",
    "identifier",
    "status",
    "scope",
    "category",
    "patient",
    "dateTime",
    "performer",
    "organization",
    "sourceAttachment",
    "sourceReference",
    "policy",
    "provision",
];

/// What a Consent version means for access. `reference`: `Consent/[id]/_history/[version]`.
///
/// A directive (scope treatment or adr) and a Consent that is not active make no rules. Errors: `BusinessRule` (422)
/// naming the element of an *active* access Consent that cannot be enforced exactly; nothing of it may be stored.
pub fn parse(policy: &Policy, root: Node<'_>, reference: &str) -> Result<ConsentFact, Refusal> {
    let fact =
        |scope, performers, rules| ConsentFact { reference: reference.into(), scope, performers, rules };
    let scope = scope(root)?;
    let status = text(root, "status").unwrap_or_default();
    if scope.is_none() {
        return Ok(fact(Scope::Directive, Vec::new(), Vec::new()));
    }
    match &*status {
        "active" => {}
        "draft" | "proposed" | "rejected" | "inactive" | "entered-in-error" => {
            return Ok(fact(Scope::Access, performers(root), Vec::new()));
        }
        _ => return Err(cannot("Consent.status", "the status is not one of FHIR R4")),
    }
    only(root, &ELEMENTS, "Consent")?;
    let research = research_category(root)? || scope == Some(ConsentKind::Research);
    for element in ["patient", "dateTime"] {
        if root.get(element).is_none() {
            return Err(cannot(format!("Consent.{element}"), "it is missing; IHE PCF asks for exactly one"));
        }
    }
    if root.get("sourceAttachment").is_none() && root.get("sourceReference").is_none() {
        return Err(cannot("Consent.source[x]", "it is missing; name what the patient signed or said"));
    }
    let performers = performers(root);
    let given = |given: &str| given.starts_with("Patient/") || given.starts_with("RelatedPerson/");
    if performers.is_empty() || !performers.iter().all(|performer| given(performer)) {
        return Err(cannot(
            "Consent.performer",
            "only the patient (Patient) or her legal representative (RelatedPerson) can consent, by literal reference",
        ));
    }
    overarching(policy, root)?;
    let Some(provision) = root.get("provision") else {
        return Err(cannot("Consent.provision", "it is missing; it says what is permitted or denied"));
    };
    let reading = Reading { policy, research, research_scope: scope == Some(ConsentKind::Research) };
    Ok(fact(Scope::Access, performers, reading.rules(root, provision)?))
}

/// `None`: a directive.
fn scope(root: Node<'_>) -> Result<Option<ConsentKind>, Refusal> {
    let mut found = Vec::new();
    for coding in root.get("scope").and_then(|scope| scope.get("coding")).into_iter().flat_map(|c| c.items())
    {
        if text(coding, "system").as_deref() == Some(SYSTEM_SCOPE) {
            found.push(match text(coding, "code").as_deref() {
                Some("patient-privacy") => Some(ConsentKind::Privacy),
                Some("research") => Some(ConsentKind::Research),
                Some("treatment" | "adr") => None,
                _ => {
                    return Err(cannot(
                        "Consent.scope",
                        "the scope is none of patient-privacy, research, treatment, adr",
                    ));
                }
            });
        }
    }
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(cannot("Consent.scope", "a coding of consentscope is missing")),
        _ => Err(cannot("Consent.scope", "more than one scope; send one Consent for each")),
    }
}

fn research_category(root: Node<'_>) -> Result<bool, Refusal> {
    let concepts = root.get("category").into_iter().flat_map(|category| category.items());
    let codings: Vec<_> =
        concepts.filter_map(|concept| concept.get("coding")).flat_map(|coding| coding.items()).collect();
    let mut research = false;
    for coding in &codings {
        let (system, code) = (text(*coding, "system"), text(*coding, "code"));
        let known =
            CATEGORIES.iter().any(|(s, c)| system.as_deref() == Some(*s) && code.as_deref() == Some(*c));
        if !known {
            return Err(cannot("Consent.category", "the category is not one of this gateway's profile"));
        }
        research |= matches!(code.as_deref(), Some("RESEARCH" | "research"));
    }
    match codings.is_empty() {
        true => Err(cannot("Consent.category", "it is missing; use LOINC 59284-0")),
        false => Ok(research),
    }
}

fn performers(root: Node<'_>) -> Vec<Box<str>> {
    let performers = root.get("performer").into_iter().flat_map(|performer| performer.items());
    performers.map(|performer| text(performer, "reference").unwrap_or_default().into()).collect()
}

fn overarching(policy: &Policy, root: Node<'_>) -> Result<(), Refusal> {
    let policies: Vec<_> = root.get("policy").into_iter().flat_map(|policy| policy.items()).collect();
    let [one] = policies.as_slice() else {
        return Err(cannot("Consent.policy", "exactly one is needed"));
    };
    only(*one, &["id", "extension", "uri"], "Consent.policy[0]")?;
    let uri = text(*one, "uri").unwrap_or_default();
    match policy.consent_policies.iter().any(|known| *known == *uri) {
        true => Ok(()),
        false => Err(cannot(
            "Consent.policy[0].uri",
            format!(
                "the terms of that policy are not known here; known: {}",
                policy.consent_policies.join(", ")
            ),
        )),
    }
}

/// Refuses members that are not on the list: an element that is not understood may change the meaning, and
/// `modifierExtension` says outright that it does (FHIR R4 extensibility.html#modifierExtension).
fn only(node: Node<'_>, allowed: &[&str], at: &str) -> Result<(), Refusal> {
    for (name, _) in node.members() {
        if !allowed.contains(&&*name) {
            return Err(cannot(format!("{at}.{name}"), "this element cannot be enforced; leave it out"));
        }
    }
    Ok(())
}

fn cannot(at: impl Into<String>, why: impl AsRef<str>) -> Refusal {
    let at = at.into();
    Refusal::new(
        Reason::BusinessRule,
        format!("An active Consent is enforced exactly or not accepted. {at}: {}.", why.as_ref()),
    )
    .at(at)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a failing index is a failing test"
    )]
    use serde_json::{Value, json};
    use sluis_conformance::json::{Doc, JsonLimits};

    use super::recipient::SYSTEM_PARTICIPATION;
    use super::*;
    use crate::decision::consent::Effect;
    use crate::decision::consent::limits::{ACTORS_MAX, HOLDERS_MAX, PROVISIONS_MAX};
    use crate::decision::policy::{
        SYSTEM_ACT_REASON, SYSTEM_CATEGORY, SYSTEM_CONFIDENTIALITY, SYSTEM_ORGANISATION_KIND,
    };
    use crate::ids::SYSTEM_URA;

    fn consent() -> Value {
        json!({
            "resourceType": "Consent", "id": "c", "status": "active",
            "scope": { "coding": [{ "system": SYSTEM_SCOPE, "code": "patient-privacy" }] },
            "category": [{ "coding": [{ "system": "http://loinc.org", "code": "59284-0" }] }],
            "patient": { "reference": "Patient/a" }, "dateTime": "2026-01-01",
            "performer": [{ "reference": "Patient/a" }],
            "organization": [{ "identifier": { "system": SYSTEM_URA, "value": "00000001" } }],
            "sourceAttachment": { "title": "form" },
            "policy": [{ "uri": "https://sluis.care/policy/consent/1" }],
            "provision": {
                "type": "permit",
                "purpose": [{ "system": SYSTEM_ACT_REASON, "code": "TREAT" }],
                "provision": [{ "type": "deny", "securityLabel": [{ "system": SYSTEM_ACT_CODE, "code": "PSY" }] }],
            },
        })
    }

    fn read(resource: &Value) -> Result<ConsentFact, Refusal> {
        let doc = Doc::parse(resource.to_string().into_bytes(), JsonLimits::default()).unwrap();
        parse(&Policy::included().unwrap(), doc.root(), "Consent/c/_history/1")
    }

    fn actor(system: &str, value: &str) -> Value {
        json!({ "role": { "coding": [{ "system": SYSTEM_PARTICIPATION, "code": "IRCP" }] },
                "reference": { "identifier": { "system": system, "value": value } } })
    }

    /// The element a changed Consent is refused for.
    fn refused(change: impl FnOnce(&mut Value)) -> String {
        let mut resource = consent();
        change(&mut resource);
        let refusal = read(&resource).map(|fact| panic!("accepted: {fact:?}")).unwrap_err();
        assert_eq!(refusal.reason, Reason::BusinessRule);
        refusal.expression.concat()
    }

    #[test]
    fn what_the_root_restricts_holds_for_its_exceptions_too() {
        let fact = read(&consent()).unwrap();
        let [root, exception] = fact.rules.as_slice() else { panic!("{:?}", fact.rules) };
        assert_eq!((root.effect, exception.effect), (Effect::Permit, Effect::Deny));
        assert_eq!(exception.purposes, root.purposes);
        assert_eq!(exception.authors, root.authors);
        assert_eq!(root.specificity(), [0, 0, 1, 1]);
        assert_eq!(exception.specificity(), [2, 0, 1, 1]);
        assert_eq!(root.confidentiality, (0, 3));
    }

    #[test]
    fn an_exception_reaches_as_far_as_the_root_and_no_further() {
        let policy = Policy::included().unwrap();
        let purposes = |codes: &[&str]| -> Value {
            codes.iter().map(|code| json!({ "system": SYSTEM_ACT_REASON, "code": code })).collect()
        };
        let categories = |codes: &[&str]| -> Value {
            codes.iter().map(|code| json!({ "system": SYSTEM_CATEGORY, "code": code })).collect()
        };
        let holder = |ura: &str| json!({ "identifier": { "system": SYSTEM_URA, "value": ura } });
        let mut resource = consent();
        resource["organization"] = json!([holder("00000001"), holder("00000002")]);
        let root = &mut resource["provision"];
        root["purpose"] = purposes(&["TREAT", "HQUALIMP"]);
        root["securityLabel"] = categories(&["resp", "core"]);
        root["dataPeriod"] = json!({ "start": "1970-01-03" });
        let authored = |ura: &str| json!({ "meaning": "authoredby", "reference": holder(ura) });
        root["provision"] = json!([{
            "type": "deny", "purpose": purposes(&["HQUALIMP"]), "securityLabel": categories(&["resp", "lab"]),
            "dataPeriod": { "start": "1970-01-01", "end": "1970-01-09" },
            "data": [authored("00000002"), authored("00000003")],
        }]);
        let fact = read(&resource).unwrap();
        let [_, exception] = fact.rules.as_slice() else { panic!("{:?}", fact.rules) };
        assert_eq!(exception.purposes, 1 << policy.purpose("HQUALIMP").unwrap());
        assert_eq!(exception.categories, policy.category("resp").unwrap());
        assert_eq!(exception.authors.iter().map(|ura| ura.as_str()).collect::<Vec<_>>(), ["00000002"]);
        assert_eq!(exception.days, Some((2, 8)));
        // The same with purposes the root does not have.
        let narrowed = |purpose: &[&str]| {
            let mut resource = resource.clone();
            resource["provision"]["purpose"] = purposes(&["TREAT"]);
            resource["provision"]["provision"][0]["purpose"] = purposes(purpose);
            read(&resource).map(|fact| fact.rules.last().map(|rule| rule.purposes))
        };
        assert_eq!(narrowed(&["TREAT", "HQUALIMP"]).unwrap(), Some(1));
        assert_eq!(
            narrowed(&["HQUALIMP"]).unwrap_err().expression,
            ["Consent.provision.provision[0].purpose"]
        );
    }

    #[test]
    fn an_active_consent_with_what_cannot_be_enforced_is_refused_by_its_element() {
        let provision = |name: &'static str, value: Value| refused(move |c| c["provision"][name] = value);
        assert_eq!(provision("action", json!([])), "Consent.provision.action");
        assert_eq!(provision("class", json!([])), "Consent.provision.class");
        assert_eq!(provision("code", json!([])), "Consent.provision.code");
        assert_eq!(provision("modifierExtension", json!([])), "Consent.provision.modifierExtension");
        assert_eq!(provision("_type", json!({})), "Consent.provision._type");
        assert_eq!(provision("type", Value::Null), "Consent.provision.type");
        assert_eq!(
            provision("purpose", json!([{ "system": SYSTEM_ACT_REASON, "code": "HMARKT" }])),
            "Consent.provision.purpose[0]"
        );
        assert_eq!(
            provision("purpose", json!([{ "system": "urn:x", "code": "TREAT" }])),
            "Consent.provision.purpose[0]"
        );
        assert_eq!(provision("purpose", json!([])), "Consent.provision.purpose");
        // The patient's own access is not hers to close here, and research is not opened by a privacy Consent.
        for code in ["PATRQT", "ETREAT", "HRESCH"] {
            let purpose = json!([{ "system": SYSTEM_ACT_REASON, "code": code }]);
            assert_eq!(provision("purpose", purpose), "Consent.provision.purpose[0]");
        }
        assert_eq!(
            provision("securityLabel", json!([{ "system": SYSTEM_ACT_CODE, "code": "XYZ" }])),
            "Consent.provision.securityLabel[0]"
        );
        assert_eq!(provision("actor", json!([{ "reference": {} }])), "Consent.provision.actor[0].role");
        assert_eq!(provision("actor", json!([actor("urn:x", "1")])), "Consent.provision.actor[0].reference");
        assert_eq!(
            provision("actor", json!([actor(SYSTEM_URA, "123")])),
            "Consent.provision.actor[0].reference"
        );
        assert_eq!(
            provision("actor", json!([actor(SYSTEM_ORGANISATION_KIND, "bank")])),
            "Consent.provision.actor[0].reference"
        );
        assert_eq!(
            provision(
                "data",
                json!([{ "meaning": "instance", "reference": { "reference": "Observation/1" } }])
            ),
            "Consent.provision.data[0].meaning"
        );
        assert_eq!(provision("period", json!({ "start": "soon" })), "Consent.provision.period.start");
        assert_eq!(
            provision("dataPeriod", json!({ "start": "2026-01-01T10:00:00Z" })),
            "Consent.provision.dataPeriod.start"
        );
        assert_eq!(
            refused(|c| c["provision"]["provision"][0]["provision"] = json!([])),
            "Consent.provision.provision[0].provision"
        );
        assert_eq!(refused(|c| c["implicitRules"] = "urn:x".into()), "Consent.implicitRules");
        assert_eq!(refused(|c| c["modifierExtension"] = json!([])), "Consent.modifierExtension");
        assert_eq!(refused(|c| c["policyRule"] = json!({})), "Consent.policyRule");
        assert_eq!(refused(|c| c["verification"] = json!([])), "Consent.verification");
        assert_eq!(refused(|c| c["policy"][0]["uri"] = "urn:other".into()), "Consent.policy[0].uri");
        assert_eq!(refused(|c| c["policy"] = json!([])), "Consent.policy");
        assert_eq!(refused(|c| c["organization"] = json!([])), "Consent.organization");
        assert_eq!(
            refused(|c| c["organization"] = json!([{ "reference": "Organization/1" }])),
            "Consent.organization[0]"
        );
        assert_eq!(refused(|c| c["category"][0]["coding"][0]["code"] = "other".into()), "Consent.category");
        assert_eq!(refused(|c| c["scope"]["coding"][0]["code"] = "other".into()), "Consent.scope");
        assert_eq!(refused(|c| c["status"] = "on".into()), "Consent.status");
        assert_eq!(
            refused(|c| {
                c.as_object_mut().unwrap().remove("sourceAttachment");
            }),
            "Consent.source[x]"
        );
        assert_eq!(
            refused(|c| {
                c.as_object_mut().unwrap().remove("dateTime");
            }),
            "Consent.dateTime"
        );
        assert_eq!(
            refused(|c| c["performer"][0]["reference"] = "Practitioner/x".into()),
            "Consent.performer"
        );
        assert_eq!(refused(|c| c["performer"] = json!([])), "Consent.performer");
    }

    #[test]
    fn an_exception_that_says_nothing_the_root_does_not_say_is_refused() {
        // Within the root's organisation there is no other one.
        let other = refused(|c| {
            c["provision"]["actor"] = json!([actor(SYSTEM_URA, "00000001")]);
            c["provision"]["provision"][0]["actor"] = json!([actor(SYSTEM_URA, "00000002")]);
        });
        assert_eq!(other, "Consent.provision.provision[0]");
        // Not more specific than the denial it is an exception to.
        let equal = refused(|c| {
            c["provision"]["type"] = "deny".into();
            c["provision"]["provision"] = json!([{ "type": "permit" }]);
        });
        assert_eq!(equal, "Consent.provision.provision[0]");
        // Labelled data alone cannot be opened: beneath a denial, or as the root itself.
        let label = json!([{ "system": SYSTEM_ACT_CODE, "code": "PSY" }]);
        let alone = refused(|c| {
            c["provision"]["type"] = "deny".into();
            c["provision"]["provision"] = json!([{ "type": "permit", "securityLabel": label.clone() }]);
        });
        assert_eq!(alone, "Consent.provision.provision[0].securityLabel");
        assert_eq!(refused(|c| c["provision"]["securityLabel"] = label), "Consent.provision.securityLabel");
        // Above the root's confidentiality.
        let above = refused(|c| {
            let level = |code: &str| json!([{ "system": SYSTEM_CONFIDENTIALITY, "code": code }]);
            c["provision"]["securityLabel"] = level("N");
            c["provision"]["provision"] = json!([{ "type": "permit", "securityLabel": level("R") }]);
        });
        assert_eq!(above, "Consent.provision.provision[0].securityLabel");
        // Outside the root's period.
        let never = refused(|c| {
            c["provision"]["period"] = json!({ "end": "2026-06-30" });
            c["provision"]["provision"][0]["period"] = json!({ "start": "2026-07-01" });
        });
        assert_eq!(never, "Consent.provision.provision[0]");
    }

    #[test]
    fn one_more_than_the_limit_is_refused() {
        let sub = json!({ "type": "deny", "securityLabel": [{ "system": SYSTEM_ACT_CODE, "code": "PSY" }] });
        let many = |count: usize, value: Value| Value::Array(vec![value; count]);
        let at_most = |c: &mut Value| c["provision"]["provision"] = many(PROVISIONS_MAX, sub.clone());
        let mut resource = consent();
        at_most(&mut resource);
        assert_eq!(read(&resource).unwrap().rules.len(), 1 + PROVISIONS_MAX);
        let over = refused(|c| c["provision"]["provision"] = many(PROVISIONS_MAX + 1, sub.clone()));
        assert_eq!(over, "Consent.provision.provision");
        let over = refused(|c| c["provision"]["actor"] = many(ACTORS_MAX + 1, actor(SYSTEM_URA, "00000001")));
        assert_eq!(over, "Consent.provision.actor");
        let holder = json!({ "identifier": { "system": SYSTEM_URA, "value": "00000001" } });
        assert_eq!(refused(|c| c["organization"] = many(HOLDERS_MAX + 1, holder)), "Consent.organization");
    }

    #[test]
    fn a_directive_and_a_consent_that_is_not_active_make_no_rules() {
        let mut directive = consent();
        directive["scope"]["coding"][0]["code"] = "treatment".into();
        directive["verification"] = json!([{ "verified": true }]);
        assert_eq!(read(&directive).unwrap().scope, Scope::Directive);
        assert!(read(&directive).unwrap().rules.is_empty());
        for status in ["draft", "proposed", "rejected", "inactive", "entered-in-error"] {
            let mut ended = consent();
            ended["status"] = status.into();
            ended["verification"] = json!([]);
            assert!(read(&ended).unwrap().rules.is_empty(), "{status}");
        }
        let mut both = consent();
        let coding = json!({ "system": SYSTEM_SCOPE, "code": "treatment" });
        both["scope"]["coding"].as_array_mut().unwrap().push(coding);
        assert_eq!(read(&both).unwrap_err().expression, ["Consent.scope"]);
    }
}
