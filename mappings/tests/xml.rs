//! Documents in XML through folders: FHIR as its JSON, CDA by a folder of its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod common;

use std::collections::BTreeMap;

use serde_json::Value;
use sluis_mappings::folder::{Folder, Library, facts};
use sluis_mappings::output::Output;
use sluis_mappings::run::CompiledFolder;
use sluis_mappings::source::Format;

/// FHIR JSON -> FHIR XML (FHIR R4 json.html read backwards).
fn to_xml(json: &str) -> String {
    let value: Value = serde_json::from_str(&numbers_as_text(json)).unwrap();
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    resource(&value, " xmlns=\"http://hl7.org/fhir\"", &mut out);
    out
}

/// Numbers in quotes: an attribute has the same text either way, and `71.50` keeps its digits.
fn numbers_as_text(json: &str) -> String {
    let (mut out, mut text, mut escaped, mut number) =
        (String::with_capacity(json.len()), false, false, false);
    for c in json.chars() {
        let digit =
            !text && (c.is_ascii_digit() || c == '-' || (number && matches!(c, '.' | 'e' | 'E' | '+')));
        if digit != number {
            out.push('"');
            number = digit;
        }
        out.push(c);
        if c == '"' && !escaped {
            text = !text;
        }
        escaped = text && c == '\\' && !escaped;
    }
    out
}

fn resource(value: &Value, namespace: &str, out: &mut String) {
    let name = value["resourceType"].as_str().unwrap();
    out.push_str(&format!("<{name}{namespace}>"));
    members(value, &["resourceType"], out);
    out.push_str(&format!("</{name}>"));
}

fn members(value: &Value, taken: &[&str], out: &mut String) {
    let object = value.as_object().unwrap();
    for (name, member) in object.iter().filter(|(name, _)| !taken.contains(&name.as_str())) {
        if let Some(of) = name.strip_prefix('_') {
            if object.contains_key(of) {
                continue;
            }
            each(member, |extended, _| element(of, None, Some(extended), out));
            continue;
        }
        let extended = object.get(&format!("_{name}"));
        each(member, |item, at| {
            let extended = extended.map(|all| all.get(at).unwrap_or(all)).filter(|all| all.is_object());
            match item {
                Value::Object(_) if item.get("resourceType").is_some() => {
                    out.push_str(&format!("<{name}>"));
                    resource(item, "", out);
                    out.push_str(&format!("</{name}>"));
                }
                Value::Object(_) => element(name, None, Some(item), out),
                Value::String(raw) if name == "div" => out.push_str(raw),
                _ => element(name, Some(item), extended, out),
            }
        });
    }
}

fn each<'v>(value: &'v Value, mut one: impl FnMut(&'v Value, usize)) {
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(at, item)| one(item, at)),
        _ => one(value, 0),
    }
}

fn element(name: &str, value: Option<&Value>, inside: Option<&Value>, out: &mut String) {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let text = |value: &Value| escaped(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    out.push_str(&format!("<{name}"));
    for attribute in ["id", "url"] {
        if let Some(value) = inside.and_then(|inside| inside.get(attribute)) {
            // Elsewhere than in an Extension, url is an element.
            if attribute == "id" || name.to_ascii_lowercase().ends_with("extension") {
                out.push_str(&format!(" {attribute}=\"{}\"", text(value)));
            }
        }
    }
    if let Some(value) = value {
        out.push_str(&format!(" value=\"{}\"", text(value)));
    }
    out.push('>');
    if let Some(inside) = inside {
        let extension = name.to_ascii_lowercase().ends_with("extension");
        members(inside, if extension { &["id", "url"] } else { &["id"] }, out);
    }
    out.push_str(&format!("</{name}>"));
}

/// What a run says, without places in the document; causes and rules kept.
fn said(output: &Output) -> Vec<String> {
    let finding = |f: &sluis_mappings::finding::Finding| {
        format!("{:?} {} {} {:?} {:?}", f.severity, f.code, f.path, f.rule, f.cause)
    };
    let sorted = |findings: &[sluis_mappings::finding::Finding]| {
        let mut lines: Vec<String> = findings.iter().map(finding).collect();
        lines.sort();
        lines.join("\n")
    };
    let unit = |unit: &sluis_mappings::output::Unit| {
        format!(
            "{} {:?} {:?} {:?}\n{}\n{}",
            unit.label,
            unit.state,
            unit.identity,
            unit.source_time,
            unit.resource.as_deref().unwrap_or(""),
            sorted(&unit.findings)
        )
    };
    output.units.iter().map(unit).chain([sorted(&output.findings)]).collect()
}

#[test]
fn every_stu3_case_maps_from_xml_as_from_json() {
    let folder = common::folder("gp-stu3");
    let library = Library::new(vec![folder.clone()]).unwrap();
    let compiled = CompiledFolder::new(folder.clone()).unwrap();
    for case in &folder.cases {
        let xml = to_xml(std::str::from_utf8(&case.input).unwrap());
        let chosen = library.select("90000201", Format::Xml, &facts(Format::Xml, xml.as_bytes()));
        assert_eq!(chosen.unwrap().manifest.id, "gp-stu3", "{}", case.name);
        let (from_xml, from_json) = (compiled.run(xml.as_bytes()), compiled.run(&case.input));
        assert_eq!(said(&from_xml), said(&from_json), "{}\n{xml}", case.name);
    }
}

const MANIFEST: &str = r#"
id = "hospital-cda"
version = "1.0.0"
title = "Weights from CDA"
format = "xml"

[match]
senders = ["*"]
resource_types = ["ClinicalDocument"]

[identity]
namespace = "urn:oid:2.999.5"

[[ignore]]
path = "component.section.text"
reason = "narrative of the entries"
"#;

const MAP: &str = r#"
map "http://x/StructureMap/cda" = "Cda"
uses "urn:hl7-org:v3" alias ClinicalDocument as source
uses "http://hl7.org/fhir/StructureDefinition/Observation" alias Observation as target

group Document(source doc : ClinicalDocument) {
  doc.component as c then {
    c.section as section then {
      section.entry as entry then {
        entry.observation as o then Weight(doc, o) "observation";
      } "entry";
    } "section";
  } "component";
}

group Weight(source doc : ClinicalDocument, source o : ClinicalDocument) {
  o -> create('Observation') as tgt then {
    doc.recordTarget as target -> subjectBsn(target.patientRole.id.where(root = '2.16.840.1.113883.2.4.6.3').extension), use(target.patientRole.id.root) "subject";
    doc.id as id -> identity(%namespace, id.root, (%o.id.extension)), use(id.extension, o.id.root) "identity";
    o.statusCode as s where (code = 'completed') -> tgt.status = 'final' "status";
    o.code as c -> tgt.code = cc((%c.displayName)), use(c.code, c.codeSystem) "code";
    o.value as v where (xsi_type = 'PQ') -> tgt.value = qty((%v.value), (%v.unit), 'http://unitsofmeasure.org', (%v.unit)) "value";
    o.value as v where (xsi_type = 'ST') -> tgt.value = cast((%v.xmlText), 'string') "text";
    o.effectiveTime as t -> tgt.effective = cast(hl7DateTime((%t.value), 'Europe/Amsterdam'), 'dateTime') "time";
  } "make";
}
"#;

const DOCUMENT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:v="urn:vendor">
  <id root="2.999.5.1" extension="77"/>
  <recordTarget><patientRole><id root="2.16.840.1.113883.2.4.6.3" extension="999911120"/></patientRole></recordTarget>
  <component><section><text>Gewicht <b>61,50</b> kg</text>
    <entry><observation><id root="2.999.5.2" extension="w1"/><code code="G" codeSystem="2.999" displayName="Gewicht"/>
      <statusCode code="completed"/><effectiveTime value="20260102"/><value xsi:type="PQ" value="61.50" unit="kg"/></observation></entry>
    <entry><observation><id root="2.999.5.2" extension="w2"/><code code="O" codeSystem="2.999" displayName="Opmerking"/>
      <statusCode code="completed"/><effectiveTime value="20260102"/><value xsi:type="ST">met schoenen</value>
      <v:device>unclear</v:device></observation></entry>
  </section></component>
</ClinicalDocument>"#;

#[test]
fn a_cda_document_maps_with_its_places_and_loses_nothing() {
    let files = BTreeMap::from([
        ("mapping.toml".to_owned(), MANIFEST.as_bytes().to_vec()),
        ("map.fml".to_owned(), MAP.as_bytes().to_vec()),
    ]);
    let folder = Folder::load(&files).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let compiled = CompiledFolder::new(folder).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let output = compiled.run(DOCUMENT.as_bytes());
    let values: Vec<Value> = output
        .units
        .iter()
        .map(|unit| serde_json::from_str(unit.resource.as_deref().unwrap()).unwrap())
        .collect();
    let [weight, remark] = values.as_slice() else { panic!("{output:#?}") };
    assert!(output.units[0].resource.as_deref().unwrap().contains("\"value\":61.50"));
    assert_eq!(weight["effectiveDateTime"], "2026-01-02");
    assert_eq!(remark["valueString"], "met schoenen");
    let span = output.units[0].spans[0];
    assert!(
        DOCUMENT[span.start as usize..span.end as usize].starts_with("<observation><id root=\"2.999.5.2\"")
    );
    let dropped: Vec<_> = output
        .units
        .iter()
        .flat_map(|unit| &unit.findings)
        .chain(&output.findings)
        .map(|f| (f.code, f.cause.as_deref().unwrap_or(""), f.line))
        .collect();
    // The vendor's own element is no CDA element: both what it says and whose it is are reported.
    let at = "leaf-dropped:component.section.entry.observation.other_device";
    assert_eq!(
        dropped,
        [("leaf-dropped", at, 10), ("leaf-dropped", &*format!("{at}.xmlns"), 10)],
        "{output:#?}"
    );
}
