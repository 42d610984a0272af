//! The same measurement, sent by two systems: recognised, marked, and never merged.
//!
//! What a measurement says (whose, what, when to the minute, how much in the canonical unit) is hashed into a tag of the
//! Observation. Two Observations of one tag say the same; both stay, each its sender's. The mark is made of the resource
//! alone, so that it tells nobody of a second one that is hidden, and does not depend on which came first. Two that
//! disagree have two tags and stand side by side.

use aws_lc_rs::digest::{Context, SHA256};
use sluis_conformance::json::{Doc, JsonLimits, Kind, Node};
use sluis_conformance::path::FhirDateTime;

use crate::search::unit::{Canonical, UCUM};

/// System of the tag (FHIR R4 resource.html#Meta.tag); only the gateway gives it.
pub const SYSTEM: &str = "https://sluis.care/fhir/CodeSystem/measurement";

/// Code systems in which two senders may mean the same, the better known first.
const SHARED: [&str; 2] = ["http://loinc.org", "http://snomed.info/sct"];

/// Microseconds of a minute.
const MINUTE_US: i64 = 60_000_000;

/// Code of the tag of an Observation whose subject, as it is stored, is `subject` (JSON of the Reference).
///
/// `None`: it names no patient, code or value, or its time is not known to the minute. The status does not count: a
/// correction that changes no value is the same measurement.
pub fn fingerprint(root: Node<'_>, subject: &str) -> Option<String> {
    let subject = Doc::parse(subject.as_bytes().to_vec(), JsonLimits::default()).ok()?;
    let reference = subject.root().get("reference")?.as_str()?.into_owned();
    let patient = reference.split("/_history/").next().filter(|text| text.starts_with("Patient/"))?;
    let (system, code) = coding(root.get("code")?)?;
    let time = root.get("effectiveDateTime").or_else(|| root.get("effectiveInstant"))?.as_str()?;
    // A day alone holds many measurements.
    let time = FhirDateTime::parse(&time).ok().filter(|_| time.contains('T'))?;
    let mut parts = vec![patient.to_owned(), system, code, time.low_us.div_euclid(MINUTE_US).to_string()];
    match value(root) {
        Some(value) => parts.push(value),
        None => {
            let components = root.get("component")?;
            let mut said: Vec<String> = components
                .items()
                .filter_map(|part| {
                    let (system, code) = coding(part.get("code")?)?;
                    Some(format!("{system}|{code}={}", value(part)?))
                })
                .collect();
            if said.is_empty() || said.len() != components.len() {
                return None;
            }
            said.sort_unstable();
            parts.extend(said);
        }
    }
    let mut context = Context::new(&SHA256);
    for part in &parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let digest = context.finish();
    // Half of the hash: of a lifetime's measurements no two meet by chance.
    Some(digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

/// The coding two senders may share, else the first.
fn coding(concept: Node<'_>) -> Option<(String, String)> {
    let text = |node: Node<'_>, name: &str| node.get(name)?.as_str().map(|text| text.into_owned());
    let codings = concept.get("coding")?;
    let of = |wanted: &str| codings.items().find(|coding| text(*coding, "system").as_deref() == Some(wanted));
    let found = SHARED.into_iter().find_map(of).or_else(|| codings.items().next())?;
    Some((text(found, "system")?, text(found, "code")?))
}

fn value(node: Node<'_>) -> Option<String> {
    let (name, value) = node.members().find(|(name, _)| name.starts_with("value"))?;
    match name.as_ref() {
        "valueQuantity" => quantity(value),
        "valueCodeableConcept" => coding(value).map(|(system, code)| format!("{system}|{code}")),
        _ => match value.kind() {
            Kind::String => value.as_str().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()),
            Kind::Number => number(value.number()?.parse().ok()?),
            Kind::Bool => Some(value.raw().to_owned()),
            Kind::Object | Kind::Array | Kind::Null => None,
        },
    }
}

/// Value, comparator and unit, in the canonical unit where there is one.
fn quantity(node: Node<'_>) -> Option<String> {
    let text = |name: &str| node.get(name).and_then(|node| node.as_str()).map(|text| text.into_owned());
    let value: f64 = node.get("value")?.number()?.parse().ok()?;
    let (system, code) = (text("system"), text("code"));
    let canonical = Canonical::of(system.as_deref(), code.as_deref().unwrap_or(""));
    let (value, unit) = match canonical
        .as_ref()
        .and_then(|canonical| Some((canonical.convert(value)?, &canonical.unit)))
    {
        Some((value, unit)) => (value, format!("{UCUM}|{unit}")),
        None => (
            value,
            format!("{}|{}", system.unwrap_or_default(), code.or_else(|| text("unit")).unwrap_or_default()),
        ),
    };
    Some(format!("{}{} {unit}", text("comparator").unwrap_or_default(), number(value)?))
}

/// Twelve significant digits: what conversions leave beyond them is no part of a measurement.
fn number(value: f64) -> Option<String> {
    value.is_finite().then(|| format!("{value:.11e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FVC: &str = r#"{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"19868-9"},{"system":"urn:x","code":"FVC"}]},"effectiveDateTime":"2026-03-10T09:30:00+01:00","valueQuantity":{"value":2.10,"unit":"L","system":"http://unitsofmeasure.org","code":"L"}}"#;
    const ANNA: &str = r#"{"reference":"Patient/a","display":"x"}"#;

    fn of(text: &str) -> Option<String> {
        fingerprint(Doc::parse(text.as_bytes().to_vec(), JsonLimits::default()).unwrap().root(), ANNA)
    }

    #[test]
    fn what_says_the_same_has_one_mark_whatever_its_unit_status_and_local_code() {
        let mark = of(FVC);
        assert!(mark.as_ref().is_some_and(|mark| mark.len() == 32));
        for (from, to) in [
            (
                "2.10,\"unit\":\"L\",\"system\":\"http://unitsofmeasure.org\",\"code\":\"L\"",
                "2100,\"unit\":\"mL\",\"system\":\"http://unitsofmeasure.org\",\"code\":\"mL\"",
            ),
            ("final", "corrected"),
            ("09:30:00+01:00", "08:30:41Z"),
            (r#",{"system":"urn:x","code":"FVC"}"#, ""),
            (
                r#"{"system":"http://loinc.org","code":"19868-9"},{"system":"urn:x","code":"FVC"}"#,
                r#"{"system":"urn:y","code":"1"},{"system":"http://loinc.org","code":"19868-9"}"#,
            ),
        ] {
            assert!(FVC.contains(from), "{from}");
            assert_eq!(of(&FVC.replace(from, to)), mark, "{to}");
        }
    }

    #[test]
    fn what_differs_has_another_mark() {
        let mark = of(FVC);
        for (from, to) in [
            ("2.10", "2.11"),
            ("2.10,", "2.10,\"comparator\":\"<\","),
            ("09:30", "09:31"),
            ("19868-9", "19872-1"),
            ("\"code\":\"L\"", "\"code\":\"mL\""),
        ] {
            let other = of(&FVC.replace(from, to));
            assert!(other.is_some() && other != mark, "{to}");
        }
        let doc = Doc::parse(FVC.as_bytes().to_vec(), JsonLimits::default()).unwrap();
        assert_ne!(fingerprint(doc.root(), r#"{"reference":"Patient/b"}"#), mark);
    }

    #[test]
    fn what_cannot_be_compared_has_none() {
        for (from, to) in [
            ("2026-03-10T09:30:00+01:00", "2026-03-10"),
            ("\"value\":2.10,", ""),
            ("effectiveDateTime", "issued"),
            ("\"coding\":[", "\"codings\":["),
        ] {
            assert_eq!(of(&FVC.replace(from, to)), None, "{to}");
        }
        let pressure = FVC.replace(r#""valueQuantity":{"value":2.10,"unit":"L","system":"http://unitsofmeasure.org","code":"L"}"#, r#""component":[{"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueInteger":120},{"code":{"coding":[{"system":"http://loinc.org","code":"8462-4"}]},"valueInteger":80}]"#);
        assert!(of(&pressure).is_some());
        assert_eq!(of(&pressure.replace("\"valueInteger\":80", "\"dataAbsentReason\":{}")), None);
    }
}
