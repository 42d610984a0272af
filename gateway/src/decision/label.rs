//! What a resource is about, seen by the gateway itself: data category, sensitivity labels, confidentiality, day and
//! patient. Written with every version; consent is judged by these columns, never by what a sender says of its data.
//!
//! A sender's `meta.security` is heard in one direction only: it may make its data more sensitive (high-water mark,
//! HCS/DS4P), never less, and never chooses a category. Who the patient *is* (id or BSN -> row key) is resolved by the
//! caller, inside its transaction.

mod day;
mod patient;

use sluis_conformance::json::Node;

use super::filter::Derived;
use super::policy::{
    CategoryRule, Policy, SYSTEM_ACT_CODE, SYSTEM_CATEGORY, SYSTEM_CONFIDENTIALITY, known_kind,
};
use crate::clock::Timestamp;
use crate::ids::{PartyKey, PatientKey, ResourceType};

pub use day::{amsterdam, day_of};
pub(super) use day::{day_number, dutch_zone, first_day};
pub use patient::{PatientReference, one_patient, patient_references};

/// What the content of a resource says about itself, before patient and author are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Data category: exactly one bit.
    pub category: u64,
    /// Sensitivity labels, one bit each.
    pub labels: u64,
    /// Confidentiality: 0 U .. 5 V.
    pub confidentiality: u8,
    /// Clinically relevant day (days since 1970-01-01, Dutch time).
    pub day: i32,
    /// The sender claimed a category or a lower confidentiality in `meta.security`; it was not followed. For the audit
    /// record.
    pub claim_ignored: bool,
}

/// Category, labels, confidentiality and day of a resource. `written`: when, for a resource without a date of its own.
///
/// A Provenance comes out `unclassified`; [`follow`] gives it the category of what it is about.
pub fn derive(policy: &Policy, kind: ResourceType, root: Node<'_>, written: Timestamp) -> Label {
    let mut label = Label {
        category: category(policy, kind, root),
        labels: 0,
        confidentiality: policy.confidentiality_unless_stated,
        day: day::of_resource(policy, root).unwrap_or_else(|| amsterdam(written)),
        claim_ignored: false,
    };
    for raise in policy.raises.iter().filter(|raise| raise.kinds.contains(&kind)) {
        label.labels |= raise.label;
    }
    scan(policy, root, &mut label);
    claims(policy, root, &mut label);
    label
}

/// A Provenance's label: the category its targets share (`unclassified` when they differ or none is known), and every
/// label and the highest confidentiality of any of them, so that it never shows that a hidden target exists.
pub fn follow(policy: &Policy, own: Label, targets: &[Derived]) -> Label {
    let first = targets.first().map(|target| target.category);
    let shared = first.filter(|category| targets.iter().all(|target| target.category == *category));
    Label {
        category: shared.unwrap_or_else(|| unclassified(policy)),
        labels: targets.iter().fold(own.labels, |labels, target| labels | target.labels),
        confidentiality: targets.iter().map(|t| t.confidentiality).fold(own.confidentiality, u8::max),
        ..own
    }
}

impl Label {
    /// The stored columns, with patient and author.
    pub fn derived(self, patient: Option<PatientKey>, author: PartyKey) -> Derived {
        Derived {
            patient,
            category: self.category,
            labels: self.labels,
            confidentiality: self.confidentiality,
            day: self.day,
            author,
        }
    }
}

fn category(policy: &Policy, kind: ResourceType, root: Node<'_>) -> u64 {
    if kind == known_kind("Provenance") {
        return unclassified(policy);
    }
    let rule = policy.category_rules.iter().find(|rule| rule.kinds.contains(&kind) && matches(rule, root));
    match rule {
        Some(rule) => 1 << rule.category,
        None => policy.kind_categories.get(&kind).map_or_else(|| unclassified(policy), |at| 1 << at),
    }
}

/// The category nobody is granted: only the author sees it. Its name is fixed; a policy without it grants nothing more.
fn unclassified(policy: &Policy) -> u64 {
    policy.category("unclassified").unwrap_or(0)
}

/// Whether the rule's element holds one of its codings (CodeableConcept, or a list of them).
fn matches(rule: &CategoryRule, root: Node<'_>) -> bool {
    let Some(element) = root.get(&rule.element) else { return false };
    let concepts = std::iter::once(element).chain(element.items());
    concepts.filter_map(|concept| concept.get("coding")).flat_map(|codings| codings.items()).any(|coding| {
        text(coding, "system").as_deref() == Some(&*rule.system)
            && text(coding, "code").is_some_and(|code| {
                rule.codes.iter().any(|c| *c == *code) || rule.prefixes.iter().any(|p| code.starts_with(&**p))
            })
    })
}

/// Every coding anywhere in the resource, contained ones included. Depth is bounded by the JSON limits.
fn scan(policy: &Policy, node: Node<'_>, label: &mut Label) {
    if let (Some(system), Some(code)) = (text(node, "system"), text(node, "code")) {
        for raise in &policy.raises {
            let by_code = raise.codes.iter().any(|c| *c == *code)
                || raise.prefixes.iter().any(|p| code.to_ascii_uppercase().starts_with(&**p));
            if by_code && raise.systems.iter().any(|s| *s == *system) {
                label.labels |= raise.label;
            }
        }
        match &*system {
            SYSTEM_ACT_CODE => label.labels |= policy.label(&code).unwrap_or(0),
            SYSTEM_CONFIDENTIALITY => {
                let stated = policy.confidentiality(&code).unwrap_or(0);
                label.confidentiality = label.confidentiality.max(stated);
            }
            _ => {}
        }
    }
    for (_, member) in node.members() {
        scan(policy, member, label);
    }
    for item in node.items() {
        scan(policy, item, label);
    }
}

/// What `meta.security` claims beyond what the scan has heard.
fn claims(policy: &Policy, root: Node<'_>, label: &mut Label) {
    let Some(security) = root.get("meta").and_then(|meta| meta.get("security")) else { return };
    for coding in security.items() {
        let code = text(coding, "code").unwrap_or_default();
        match text(coding, "system").as_deref() {
            Some(SYSTEM_CATEGORY) => label.claim_ignored = true,
            Some(SYSTEM_CONFIDENTIALITY) => {
                let stated = policy.confidentiality(&code);
                label.claim_ignored |= stated.is_some_and(|stated| stated < label.confidentiality);
            }
            // A sensitivity this policy has no bit for cannot be told apart in a grant, so the whole resource is
            // restricted rather than left open.
            Some(SYSTEM_ACT_CODE) if policy.label(&code).is_none() => {
                let restricted = policy.confidentiality("R").unwrap_or(u8::MAX);
                label.confidentiality = label.confidentiality.max(restricted);
            }
            _ => {}
        }
    }
}

pub(super) fn text<'d>(node: Node<'d>, name: &str) -> Option<std::borrow::Cow<'d, str>> {
    node.get(name).and_then(|value| value.as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
    use serde_json::{Value, json};
    use sluis_conformance::definitions::r4;
    use sluis_conformance::json::{Doc, JsonLimits};

    use super::*;
    use crate::ids::{ResourceId, SYSTEM_BSN};

    fn doc(resource: &Value) -> Doc {
        Doc::parse(resource.to_string().into_bytes(), JsonLimits::default()).unwrap()
    }

    fn kind(resource: &Value) -> ResourceType {
        r4().resource_type(resource["resourceType"].as_str().unwrap()).unwrap()
    }

    fn labelled(resource: &Value) -> (String, String, String, Label) {
        let policy = Policy::included().unwrap();
        let label = derive(&policy, kind(resource), doc(resource).root(), Timestamp(0));
        let confidentiality = policy.confidentialities.get(usize::from(label.confidentiality)).unwrap();
        (
            policy.category_codes(label.category).join(" "),
            policy.label_codes(label.labels).join(" "),
            confidentiality.clone(),
            label,
        )
    }

    fn observation(system: &str, code: &str) -> Value {
        json!({ "resourceType": "Observation", "code": { "coding": [{ "system": system, "code": code }] } })
    }

    #[test]
    fn the_category_follows_type_and_codes() {
        let own = "https://sluis.care/fhir/CodeSystem/als-observation";
        let category = |resource: &Value| labelled(resource).0;
        assert_eq!(category(&observation("http://loinc.org", "19868-9")), "resp");
        assert_eq!(category(&observation("http://loinc.org", "29463-7")), "nutrition");
        assert_eq!(category(&observation(own, "als-5a")), "alsfrs");
        assert_eq!(category(&observation(own, "snip")), "resp");
        assert_eq!(category(&observation("urn:local", "19868-9")), "unclassified");
        let mut vital = observation("http://loinc.org", "8867-4");
        let system = "http://terminology.hl7.org/CodeSystem/observation-category";
        vital["category"] = json!([{ "coding": [{ "system": system, "code": "vital-signs" }] }]);
        assert_eq!(category(&vital), "vitals");
        assert_eq!(category(&json!({ "resourceType": "Condition" })), "core");
        assert_eq!(category(&json!({ "resourceType": "Consent" })), "consent-admin");
        let scope = json!({ "coding": [
            { "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "adr" },
        ] });
        assert_eq!(category(&json!({ "resourceType": "Consent", "scope": scope })), "directive");
    }

    #[test]
    fn labels_are_found_wherever_a_coding_stands() {
        let icd = |code: &str| json!({ "coding": [{ "system": "http://hl7.org/fhir/sid/icd-10-nl", "code": code }] });
        let condition = json!({ "resourceType": "Condition", "code": icd("F32.1") });
        assert_eq!(labelled(&condition).1, "PSY");
        let contained = json!({ "resourceType": "List", "contained": [{ "resourceType": "Condition", "code": icd("B24") }] });
        assert_eq!(labelled(&contained).1, "HIV");
        assert_eq!(labelled(&json!({ "resourceType": "Condition", "code": icd("G12.2") })).1, "");
        assert_eq!(
            labelled(&json!({ "resourceType": "Condition", "code": icd("f10.2") })).1,
            "PSY ETH ETHUD"
        );
        assert_eq!(labelled(&json!({ "resourceType": "MolecularSequence" })).1, "GDIS");
    }

    #[test]
    fn a_sender_may_raise_and_never_lower_or_choose_a_category() {
        let with = |system: &str, code: &str| {
            let mut resource = observation("http://loinc.org", "19868-9");
            resource["meta"] = json!({ "security": [{ "system": system, "code": code }] });
            labelled(&resource)
        };
        let (category, labels, level, label) = with(SYSTEM_ACT_CODE, "PSY");
        assert_eq!((&*category, &*labels, &*level, label.claim_ignored), ("resp", "PSY", "N", false));
        assert_eq!(with(SYSTEM_CONFIDENTIALITY, "V").2, "V");
        let (_, _, level, label) = with(SYSTEM_CONFIDENTIALITY, "U");
        assert_eq!((&*level, label.claim_ignored), ("N", true));
        let (category, _, _, label) = with(SYSTEM_CATEGORY, "directory");
        assert_eq!((&*category, label.claim_ignored), ("resp", true));
        // A sensitivity without a bit of its own restricts the whole.
        assert_eq!(with(SYSTEM_ACT_CODE, "TBOO").2, "R");
        // The content's own label stays, whatever meta.security leaves out.
        let icd = json!({ "coding": [{ "system": "http://hl7.org/fhir/sid/icd-10-nl", "code": "F32" }] });
        let mut condition = json!({ "resourceType": "Condition", "code": icd });
        condition["meta"] = json!({ "security": [] });
        assert_eq!(labelled(&condition).1, "PSY");
    }

    #[test]
    fn the_day_is_the_clinical_one_and_else_the_day_of_writing() {
        let mut resource = observation("http://loinc.org", "19868-9");
        assert_eq!(labelled(&resource).3.day, 0);
        resource["issued"] = "1970-03-01T10:00:00Z".into();
        resource["effectiveDateTime"] = "1970-02-01".into();
        assert_eq!(labelled(&resource).3.day, 31);
    }

    #[test]
    fn a_provenance_is_as_hidden_as_what_it_is_about() {
        let policy = Policy::included().unwrap();
        let own = derive(&policy, known_kind("Provenance"), doc(&json!({})).root(), Timestamp(0));
        assert_eq!(policy.category_codes(own.category), ["unclassified"]);
        let target = |category: &str, labels: u64, confidentiality: u8| Derived {
            patient: None,
            category: policy.category(category).unwrap(),
            labels,
            confidentiality,
            day: 0,
            author: PartyKey(1),
        };
        let one = follow(&policy, own, &[target("resp", 1, 3), target("resp", 2, 4)]);
        assert_eq!(
            (policy.category_codes(one.category), one.labels, one.confidentiality),
            (vec!["resp"], 3, 4)
        );
        let mixed = follow(&policy, own, &[target("resp", 0, 3), target("meds", 0, 3)]);
        assert_eq!(policy.category_codes(mixed.category), ["unclassified"]);
    }

    #[test]
    fn every_patient_a_resource_speaks_of_is_found() {
        let local = |id: &str| PatientReference::Local(ResourceId::parse(id).unwrap());
        let found = |resource: Value| patient_references(kind(&resource), doc(&resource).root());
        let mut resource = observation("http://loinc.org", "19868-9");
        resource["subject"] = json!({ "reference": "Patient/a/_history/2" });
        resource["performer"] = json!([{ "reference": "Patient/a" }, { "reference": "Practitioner/x" }]);
        assert_eq!(found(resource.clone()), [local("a")]);
        resource["extension"] = json!([{ "url": "urn:x", "valueReference": { "reference": "Patient/b" } }]);
        assert_eq!(found(resource.clone()), [local("a"), local("b")]);
        // A logical reference beside the literal one speaks too.
        resource["extension"] = json!([]);
        resource["subject"]["identifier"] = json!({ "system": SYSTEM_BSN, "value": "999911120" });
        let identifier =
            PatientReference::Identifier { system: SYSTEM_BSN.into(), value: "999911120".into() };
        assert_eq!(found(resource), [local("a"), identifier]);
        let inside = json!({ "resourceType": "Basic", "subject": { "reference": "#p" },
                             "contained": [{ "resourceType": "Patient", "id": "p" }] });
        assert_eq!(found(inside), [PatientReference::Inside]);
        let elsewhere =
            json!({ "resourceType": "List", "subject": { "reference": "https://x.test/fhir/Patient/1" } });
        assert!(matches!(&*found(elsewhere), [PatientReference::Other(_)]));
        let linked =
            json!({ "resourceType": "Patient", "link": [{ "other": { "reference": "Patient/b" } }] });
        assert_eq!(found(linked), []);
        assert_eq!(one_patient(&[PatientKey(1), PatientKey(1)]).unwrap(), Some(PatientKey(1)));
        assert!(one_patient(&[PatientKey(1), PatientKey(2)]).is_err());
        assert_eq!(one_patient(&[]).unwrap(), None);
    }
}
