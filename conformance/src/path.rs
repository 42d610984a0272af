//! What a search indexes: the expressions of search parameters, compiled once to steps and run over a resource's tree.
//!
//! Stands between a parsed body and the store's index rows; `decision` uses the same values when it reads who a resource
//! is about. The FHIRPath of R4's search parameters comes down to a few kinds of step (`step.rs`); types are known from
//! the definitions while compiling, so running looks at names only. `as` filters like `ofType`: a strictly conformant
//! engine fails on `Observation.component.value as Quantity` as soon as there are two components.
//!
//! This is no general FHIRPath engine: an expression outside the subset does not compile, and says so. Values inside
//! contained resources are not indexed, their texts are (`text.rs`).

mod compile;
mod date;
mod number;
mod read;
mod reference;
mod step;
mod text;
mod value;

pub use compile::{Path, PathError, compile};
pub use date::{DateError, DateRange, FhirDateTime, Precision};
pub use number::Precise;
pub use reference::{ReferenceTarget, Tail, parse_reference};
pub(crate) use reference::{has_scheme, is_id};
pub use step::Plans;
pub use text::{Texts, texts};
pub use value::IndexValue;

use crate::definitions::{Definitions, ParamId, TypeId};
use crate::json::Node;

/// One value to index.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<'d> {
    /// The search parameter it belongs to.
    pub parameter: ParamId,
    /// The value.
    pub value: IndexValue<'d>,
}

/// All index values of a resource, in the order the elements stand in the document.
///
/// `root` is the resource as parsed; whether it is valid is not asked: what has another shape than its definition says
/// gives no entry, and a value that does not read (a date `2021-13-01`) gives none either. The same value may come twice
/// when the document says it twice.
pub fn extract<'d>(definitions: &Definitions, type_: TypeId, root: Node<'d>) -> Vec<Entry<'d>> {
    let plans = definitions.plans.get_or_init(|| Plans::compile(definitions));
    let mut entries = Vec::with_capacity(32);
    plans.run(definitions, type_, root, &mut entries);
    entries
}

/// Search parameters whose expression does not compile, with the reason; empty for R4.
pub fn uncompiled(definitions: &Definitions) -> &[(ParamId, PathError)] {
    definitions.plans.get_or_init(|| Plans::compile(definitions)).failed()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::definitions::r4;
    use crate::json::{Doc, JsonLimits};

    /// Values of one parameter, as text.
    fn values(resource: &str, code: &str) -> Vec<String> {
        let doc = Doc::parse(resource.as_bytes().to_vec(), JsonLimits::default()).unwrap();
        let type_ = r4().resource_type(&doc.root().get("resourceType").unwrap().as_str().unwrap()).unwrap();
        let parameter = r4().search_parameter(type_, code).unwrap().id;
        let entries = extract(r4(), type_, doc.root());
        entries.iter().filter(|entry| entry.parameter == parameter).map(|entry| show(&entry.value)).collect()
    }

    fn show(value: &IndexValue<'_>) -> String {
        let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().unwrap_or("-").to_owned();
        match value {
            IndexValue::String(value) | IndexValue::Uri(value) => value.to_string(),
            IndexValue::Token { system, code, text: t } => {
                format!("{}|{}|{}", text(system), text(code), text(t))
            }
            IndexValue::Typed { system, code, value } => format!("{}|{code}|{value}", text(system)),
            IndexValue::Date { low_us, high_us } => format!("{low_us}..{high_us}"),
            IndexValue::Number(n) => format!("{}..{}", n.low, n.high),
            IndexValue::Quantity { value: n, system, code, .. } => {
                format!("{}..{} {}|{}", n.low, n.high, text(system), text(code))
            }
            IndexValue::Reference(ReferenceTarget::Relative { type_, id, .. }) => {
                format!("{}/{id}", r4().type_name(*type_))
            }
            IndexValue::Reference(ReferenceTarget::Absolute { url, .. }) => url.to_string(),
            IndexValue::Reference(ReferenceTarget::Identifier { system, value }) => {
                format!("{}|{value}", text(system))
            }
            IndexValue::Composite(parts) => parts.iter().map(show).collect::<Vec<_>>().join(" $ "),
        }
    }

    #[test]
    fn every_search_parameter_of_r4_compiles() {
        let faults: Vec<_> =
            uncompiled(r4()).iter().map(|(id, e)| (r4().parameter(*id).unwrap().name, e)).collect();
        assert!(faults.is_empty(), "{faults:#?}");
    }

    const OBSERVATION: &str = r##"{"resourceType":"Observation","id":"o1","meta":{"tag":[{"system":"urn:t","code":"x"}]},
        "status":"final","code":{"coding":[{"system":"http://loinc.org","code":"19935-6"},{"code":"local"}],"text":"FVC"},
        "subject":{"reference":"Patient/p1","identifier":{"system":"urn:oid:1.2","value":"7"}},
        "focus":[{"reference":"#c"}],"effectivePeriod":{"start":"1970"},
        "valueQuantity":{"value":1.10,"comparator":"<","system":"http://unitsofmeasure.org","code":"L","unit":"litre"},
        "component":[{"code":{"text":"a"},"valueQuantity":{"value":2}},{"code":{"text":"b"},"valueString":"s"},
        {"code":{"text":"c"},"valueQuantity":{"value":3}}]}"##;

    #[test]
    fn an_observation_gives_its_values() {
        let of = |code| values(OBSERVATION, code);
        assert_eq!(of("_id"), ["-|o1|-"]);
        assert_eq!(of("_tag"), ["urn:t|x|-"]);
        assert_eq!(of("status"), ["http://hl7.org/fhir/observation-status|final|-"]);
        assert_eq!(of("code"), ["http://loinc.org|19935-6|-", "-|local|-", "-|-|FVC"]);
        assert_eq!(of("subject"), ["Patient/p1", "urn:oid:1.2|7"]);
        assert_eq!(of("patient"), ["Patient/p1", "urn:oid:1.2|7"]);
        assert_eq!(of("focus"), Vec::<String>::new());
        assert_eq!(of("date"), [format!("0..{}", i64::MAX)]);
        assert_eq!(of("value-quantity"), ["-inf..1.1 http://unitsofmeasure.org|L"]);
        assert_eq!(of("component-value-quantity"), ["1.5..2.5 -|-", "2.5..3.5 -|-"]);
        assert_eq!(of("component-code-value-quantity"), ["-|-|a $ 1.5..2.5 -|-", "-|-|c $ 2.5..3.5 -|-"]);
        assert_eq!(of("code-value-quantity").len(), 3);
    }

    #[test]
    fn a_patient_gives_its_values() {
        let patient = r#"{"resourceType":"Patient","name":[{"family":"de Vries","given":["Anna","\u0042"]}],
            "telecom":[{"system":"phone","value":"+31"},{"system":"email","value":"a@b"}],"gender":"female",
            "birthDate":"1970-01-01","active":true,"address":[{"line":["Laan 1"],"city":"Zwolle"}],
            "identifier":[{"system":"http://fhir.nl/fhir/NamingSystem/bsn","value":"999911120"}],
            "multipleBirthBoolean":false,"link":[{"other":{"reference":"https://x.nl/fhir/RelatedPerson/1"}}]}"#;
        let of = |code| values(patient, code);
        assert_eq!(of("name"), ["de Vries", "Anna", "B"]);
        assert_eq!(of("given"), ["Anna", "B"]);
        assert_eq!(of("phone"), ["-|+31|-"]);
        assert_eq!(of("gender"), ["http://hl7.org/fhir/administrative-gender|female|-"]);
        assert_eq!(of("active"), ["-|true|-"]);
        assert_eq!(of("address"), ["Laan 1", "Zwolle"]);
        assert_eq!(of("identifier"), ["http://fhir.nl/fhir/NamingSystem/bsn|999911120|-"]);
        assert_eq!(of("birthdate"), ["0..86400000000"]);
        assert_eq!(of("link"), ["https://x.nl/fhir/RelatedPerson/1"]);
        assert_eq!(of("deceased"), ["-|false|-"]);
        assert_eq!(
            values(r#"{"resourceType":"Patient","deceasedDateTime":"2020"}"#, "deceased"),
            ["-|true|-"]
        );
        assert_eq!(
            values(r#"{"resourceType":"Patient","deceasedBoolean":false}"#, "deceased"),
            ["-|false|-"]
        );
        assert_eq!(values(r#"{"resourceType":"Patient","birthDate":"2021-13-01"}"#, "birthdate").len(), 0);
    }

    #[test]
    fn an_identifier_is_found_by_its_type_too() {
        let patient = r#"{"resourceType":"Patient","identifier":[{"type":{"coding":[{"system":"urn:t","code":"MR"},
            {"code":"x"},{"system":"urn:t"}],"text":"Dossier"},"value":"7"},{"type":{"coding":[{"code":"y"}]}}]}"#;
        assert_eq!(values(patient, "identifier"), ["urn:t|MR|7", "-|x|7", "-|7|Dossier"]);
    }

    #[test]
    fn other_shapes_and_types_are_read_too() {
        let bundle = r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Composition","id":"c"}},{"resource":{"resourceType":"Patient","id":"p"}}]}"#;
        assert_eq!(values(bundle, "composition"), ["Composition/c"]);
        let plan = r#"{"resourceType":"CarePlan","subject":{"reference":"Group/g"},"activity":[{"detail":{"scheduledTiming":{"event":["1970-01-02","1970"]}}}],"instantiatesCanonical":["http://x/PlanDefinition/1|2"]}"#;
        assert_eq!(values(plan, "patient"), Vec::<String>::new());
        assert_eq!(values(plan, "subject"), ["Group/g"]);
        assert_eq!(values(plan, "activity-date"), ["0..31536000000000"]);
        assert_eq!(values(plan, "instantiates-canonical"), ["http://x/PlanDefinition/1|2"]);
        let condition = r#"{"resourceType":"Condition","onsetRange":{"low":{"value":40,"unit":"a"}}}"#;
        assert_eq!(values(condition, "onset-age"), ["39.5..inf -|-"]);
        let extension = r#"{"resourceType":"Patient","extension":[{"url":"http://hl7.org/fhir/StructureDefinition/patient-extensions-Patient-mothersMaidenName","valueString":"Bakker"}]}"#;
        assert_eq!(values(extension, "mothersMaidenName"), ["Bakker"]);
    }
}
