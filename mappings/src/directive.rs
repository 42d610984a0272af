//! Treatment directives (R4 Consent, nl-core-TreatmentDirective2): the one datum a misreading of which can kill.
//!
//! Run on every Consent the mapper makes and, by the gateway, on every Consent that comes in as R4. It is needed beside
//! profile validation because invariant `zib-TreatmentDirective2-2` never fires: it looks for a misspelt url
//! ("SpecificitionOther") in `extension`, while the slice is a `modifierExtension`. What the treatment is, and whether
//! two directives disagree, is not judged here: both stay, each with its source.
//! Source: nl-core-TreatmentDirective2 / zib-TreatmentDirective2, `Consent.provision.type` comment.

use sluis_conformance::json::Node;

use crate::finding::{Finding, Severity};
use crate::source::Span;

/// The decision "anders", in words; a modifier extension of the Consent.
pub const SPECIFICATION_OTHER: &str =
    "http://nictiz.nl/fhir/StructureDefinition/ext-TreatmentDirective2.SpecificationOther";
/// SNOMED CT "verrichting met expliciete context": the category every treatment directive carries.
const CATEGORY: &str = "129125009";

/// Whether a resource is a treatment directive: by profile, by category, or by the decision extension itself.
pub fn is_directive(resource: Node<'_>) -> bool {
    if text(resource, "resourceType") != "Consent" {
        return false;
    }
    let profile = resource.get("meta").and_then(|meta| meta.get("profile")).is_some_and(|profiles| {
        profiles.items().any(|p| p.as_str().is_some_and(|p| p.contains("TreatmentDirective2")))
    });
    let category = list(resource, "category")
        .flat_map(|category| list(category, "coding"))
        .any(|coding| text(coding, "code") == CATEGORY && text(coding, "system") == "http://snomed.info/sct");
    let other = ["modifierExtension", "extension"]
        .iter()
        .flat_map(|name| list(resource, name))
        .any(|extension| text(extension, "url").contains("TreatmentDirective2.Specif"));
    profile || category || other
}

/// What makes a treatment directive unsafe to read; empty for one that is clear, and for any other resource.
///
/// Every finding is an `Error`: the resource is refused or kept in quarantine, never stored as it is. `path` is the
/// FHIRPath of the element, `span` its bytes in the text the node was read from.
pub fn check(resource: Node<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !is_directive(resource) {
        return findings;
    }
    let mut say = |code, node: Node<'_>, path: &str, text: &str, remedy: &str| {
        findings.push(finding(code, node, path, text, remedy));
    };
    let mut others = 0;
    for extension in list(resource, "modifierExtension") {
        let url = text(extension, "url");
        let path = "Consent.modifierExtension";
        if url != SPECIFICATION_OTHER {
            // FHIR R4 extensibility.html#modifierExtension: not understood means not processed.
            let said = format!("modifier extension {url} is not understood");
            say("modifier-unknown", extension, path, &said, "send the directive without it");
            continue;
        }
        others += 1;
        if text(extension, "valueString").trim().is_empty() {
            let remedy = "send what was agreed as valueString";
            say(
                "directive-other-empty",
                extension,
                path,
                "\"anders\" without saying what was agreed",
                remedy,
            );
        }
    }
    if others > 1 {
        let said = "\"anders\" is specified more than once";
        say("directive-ambiguous", resource, "Consent.modifierExtension", said, "send one specification");
    }
    if let Some(extension) =
        list(resource, "extension").find(|e| text(*e, "url").contains("TreatmentDirective2.Specif"))
    {
        let said = "the decision \"anders\" stands in `extension`, where a reader may skip it";
        let remedy = "send it as modifierExtension ext-TreatmentDirective2.SpecificationOther";
        say("directive-other-misplaced", extension, "Consent.extension", said, remedy);
    }
    let provision = resource.get("provision");
    let decision = provision.and_then(|provision| provision.get("type"));
    let path = "Consent.provision.type";
    match (decision, others) {
        (Some(decision), 1..) => {
            let said = "permit or deny stands beside \"anders\": which of the two holds cannot be told";
            say(
                "directive-contradiction",
                decision,
                path,
                said,
                "send provision.type or SpecificationOther, not both",
            );
        }
        (None, 0) => {
            let said = "the directive holds no decision";
            let remedy = "send provision.type permit or deny, or SpecificationOther";
            say("directive-undecided", provision.unwrap_or(resource), path, said, remedy);
        }
        _ => {}
    }
    if let Some(decision) = decision.filter(|d| !matches!(d.as_str().as_deref(), Some("permit" | "deny"))) {
        say(
            "directive-decision",
            decision,
            path,
            "the decision is not permit or deny",
            "send permit or deny",
        );
    }
    if let Some(provision) = provision {
        if list(provision, "modifierExtension").next().is_some() {
            let said = "a modifier extension of the provision is not understood";
            say(
                "modifier-unknown",
                provision,
                "Consent.provision.modifierExtension",
                said,
                "send it without",
            );
        }
        match list(provision, "code").count() {
            0 => {
                let said = "the directive names no treatment: a decision about nothing could be read as about anything";
                say("directive-treatment", provision, "Consent.provision.code", said, "send the treatment");
            }
            1 => {}
            _ => {
                let said = "the directive names several treatments";
                say(
                    "directive-treatment",
                    provision,
                    "Consent.provision.code",
                    said,
                    "send one Consent for each",
                );
            }
        }
        if let Some(inner) = list(provision, "provision").next() {
            let said = "a provision inside the provision makes an exception that would not be shown";
            say(
                "directive-nested",
                inner,
                "Consent.provision.provision",
                said,
                "send SpecificationOther instead",
            );
        }
    }
    findings
}

fn finding(code: &'static str, node: Node<'_>, path: &str, text: &str, remedy: &str) -> Finding {
    let span = node.span();
    let span = Span { start: span.start as u32, end: span.end as u32 };
    let (line, column) = node.line_column();
    Finding::new(Severity::Error, code, text, remedy).at(path, span, line, column).because(path)
}

fn text(node: Node<'_>, name: &str) -> String {
    node.get(name).and_then(Node::as_str).map(|text| text.into_owned()).unwrap_or_default()
}

/// Items of an array member; a lone object counts as one, since a wrong shape must not hide a modifier.
fn list<'d>(node: Node<'d>, name: &str) -> impl Iterator<Item = Node<'d>> + use<'d> {
    let member = node.get(name);
    let alone = member.filter(|member| member.kind() == sluis_conformance::json::Kind::Object);
    member.into_iter().flat_map(Node::items).chain(alone)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "the fixtures parse")]
    use sluis_conformance::json::{Doc, JsonLimits};

    use super::*;

    fn codes(modifiers: &str, provision: &str) -> Vec<&'static str> {
        let text = format!(
            r#"{{"resourceType":"Consent","category":[{{"coding":[{{"system":"http://snomed.info/sct","code":"129125009"}}]}}]
            {modifiers},"provision":{{{provision}"code":[{{"text":"beademing"}}]}}}}"#
        );
        let doc = Doc::parse(text.into_bytes(), JsonLimits::default()).unwrap();
        check(doc.root()).into_iter().map(|finding| finding.code).collect()
    }

    fn other(value: &str) -> String {
        format!(r#","modifierExtension":[{{"url":"{SPECIFICATION_OTHER}","valueString":"{value}"}}]"#)
    }

    #[test]
    fn clear_decisions_pass() {
        assert!(codes("", r#""type":"permit","#).is_empty());
        assert!(codes("", r#""type":"deny","#).is_empty());
        assert!(codes(&other("eerst overleg"), "").is_empty());
    }

    #[test]
    fn permit_beside_anders_is_refused() {
        assert_eq!(codes(&other("eerst overleg"), r#""type":"permit","#), ["directive-contradiction"]);
    }

    #[test]
    fn neither_decision_nor_anders_is_refused() {
        assert_eq!(codes("", ""), ["directive-undecided"]);
    }

    #[test]
    fn anders_without_words_is_refused() {
        assert_eq!(codes(&other(" "), ""), ["directive-other-empty"]);
    }

    #[test]
    fn unknown_modifier_is_refused() {
        let modifier = r#","modifierExtension":[{"url":"http://x/y","valueBoolean":true}]"#;
        assert_eq!(codes(modifier, r#""type":"permit","#), ["modifier-unknown"]);
    }

    #[test]
    fn anders_as_plain_extension_is_refused() {
        let extension = other("eerst overleg").replace("modifierExtension", "extension");
        assert_eq!(codes(&extension, ""), ["directive-other-misplaced", "directive-undecided"]);
    }

    #[test]
    fn unknown_decision_and_nested_provision_are_refused() {
        assert_eq!(codes("", r#""type":"maybe","#), ["directive-decision"]);
        assert_eq!(codes("", r#""type":"permit","provision":[{"type":"deny"}],"#), ["directive-nested"]);
    }

    #[test]
    fn other_consents_are_left_alone() {
        let doc =
            Doc::parse(br#"{"resourceType":"Consent","status":"active"}"#.to_vec(), JsonLimits::default());
        assert!(check(doc.unwrap().root()).is_empty());
    }
}
