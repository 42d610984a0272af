//! Unit -> prepared unit: everything that can be judged without the store, off the writer's thread.
//!
//! Afterwards a unit holds a structurally valid resource, its id in the sender's own namespace, and a marked place where
//! its patient is to be written in; or the findings that keep it out.

mod subject;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use sluis_conformance::definitions;
use sluis_conformance::json::{self, Doc, JsonLimits, Node};
use sluis_mappings::output::{Output, Subject, Unit, UnitState};
use uuid::Uuid;

use super::digest::content_hash;
use super::note::Note;
use crate::ids::{ResourceId, ResourceType, Ura};
use crate::interaction::write;

pub(super) use subject::subject_element;

/// One unit on its way to the writer.
#[derive(Debug)]
pub struct Prepared {
    /// Path of the source node it hangs on.
    pub label: String,
    /// Which of the units of this label, from 0.
    pub ordinal: usize,
    /// Source bytes, start and end.
    pub spans: Vec<(u32, u32)>,
    /// What may be written; `None`: kept for mending.
    pub ready: Option<Ready>,
    /// Findings.
    pub notes: Vec<Note>,
}

/// What may be written.
#[derive(Debug)]
pub struct Ready {
    /// Type.
    pub kind: ResourceType,
    /// Id in the sender's namespace; `None` for a Patient, whose id comes from linking.
    pub id: Option<ResourceId>,
    /// The resource.
    pub doc: Arc<Doc>,
    /// Whose data it is.
    pub subject: Option<Subject>,
    /// Where in `doc` the patient's reference is to be written, in order.
    pub subject_at: Vec<Range<usize>>,
    /// FHIR `dateTime` of the source's statement.
    pub source_time: Option<String>,
    /// The source takes an earlier statement back (`entered-in-error`).
    pub withdrawn: bool,
    /// Spellings other units of the document may refer to it by.
    pub spellings: Vec<String>,
    /// Elements the document says nothing of: what the sender said of them before stays.
    pub left: Vec<String>,
    /// Of a Patient: the patient that takes its place from now on. The rest of the resource then says nothing new.
    pub replaced_by: Option<Subject>,
}

/// What the sender's identifiers are made into ids with.
#[derive(Debug, Clone)]
pub struct Namespace(Ura);

impl Namespace {
    /// Of one sender.
    pub fn of(sender: &Ura) -> Namespace {
        Namespace(sender.clone())
    }

    /// Id of the sender's resource with this business identifier: UUIDv5, so that a resend hits the same resource and
    /// another sender's equal number does not.
    pub fn id(&self, kind: &str, system: &str, value: &str) -> ResourceId {
        let space = Uuid::new_v5(
            &Uuid::NAMESPACE_URL,
            format!("https://sluis.care/fhir/sender/{}/{kind}", self.0).as_bytes(),
        );
        Uuid::new_v5(&space, format!("{system}|{value}").as_bytes()).into()
    }
}

/// Prepares what a map made.
pub fn mapped(output: Output, sender: &Ura) -> Vec<Prepared> {
    let space = Namespace::of(sender);
    let mut units: Vec<Prepared> = Vec::with_capacity(output.units.len());
    let mut seen = HashMap::<String, usize>::new();
    for unit in output.units {
        let count = seen.entry(unit.label.clone()).or_default();
        let ordinal = *count;
        *count += 1;
        units.push(prepare(unit, ordinal, &space));
    }
    keep_doubles(&mut units);
    units
}

/// Two units of one identity that say different things: which one holds is not said, so neither is taken.
pub(super) fn keep_doubles(units: &mut [Prepared]) {
    let mut said: HashMap<(ResourceType, ResourceId), (String, bool)> = HashMap::new();
    let key = |unit: &Prepared| unit.ready.as_ref().and_then(|r| Some((r.kind, r.id.clone()?)));
    for unit in units.iter() {
        let (Some(key), Some(ready)) = (key(unit), &unit.ready) else { continue };
        let content = content_hash(ready.doc.root());
        let (first, differ) = said.entry(key).or_insert_with(|| (content.clone(), false));
        *differ |= *first != content;
    }
    for unit in units.iter_mut() {
        if key(unit).is_some_and(|key| said.get(&key).is_some_and(|(_, differ)| *differ)) {
            unit.ready = None;
            let note = Note::new(
                "error",
                "identity-doubled",
                "Two parts of the document bear the same business identifier and say different things.",
                "Send each resource once, with an identifier of its own.",
            );
            unit.notes.push(note.of_unit(&unit.label, unit.spans.first().copied()));
        }
    }
}

fn prepare(unit: Unit, ordinal: usize, space: &Namespace) -> Prepared {
    let spans: Vec<(u32, u32)> = unit.spans.iter().map(|span| (span.start, span.end)).collect();
    let mut notes: Vec<Note> = unit.findings.iter().map(Note::from).collect();
    let ready = match (unit.state, &unit.resource) {
        (UnitState::Quarantined, _) => None,
        (UnitState::Ready, None) => {
            notes.push(Note::new(
                "error",
                "resource-missing",
                "The map made no resource of this part of the document.",
                "Have the mapping mended, then replay.",
            ));
            None
        }
        (UnitState::Ready, Some(text)) => match ready(&unit, text, space) {
            Ok(ready) => Some(ready),
            Err(found) => {
                notes.extend(found.into_iter().map(|n| n.of_unit(&unit.label, spans.first().copied())));
                None
            }
        },
    };
    if ready.is_none() && !notes.iter().any(Note::is_error) {
        notes.push(Note::new(
            "error",
            "unit-quarantined",
            "The map keeps this part of the document out.",
            "Have the mapping mended, then replay.",
        ));
    }
    Prepared { label: unit.label, ordinal, spans, ready, notes }
}

fn ready(unit: &Unit, text: &str, space: &Namespace) -> Result<Ready, Vec<Note>> {
    let doc = parse(text.as_bytes())?;
    let (kind, name) = kind_of(doc.root())?;
    let withdrawn = is_withdrawn(doc.root());
    let doc = if withdrawn && name == "Observation" { without_value(doc.root())? } else { doc };
    let patient = kind == write::kinds().patient;
    let doc = subject::marked(doc, name, unit.subject.as_ref())?;
    let subject_at = subject::places(doc.root());
    write::check(&doc).map_err(|refusal| Note::of_refusal(&refusal))?;
    let Some((system, value)) = unit.identity.as_ref().filter(|(_, value)| !value.is_empty()) else {
        return Err(vec![identity_missing()]);
    };
    Ok(Ready {
        kind,
        id: (!patient).then(|| space.id(name, system, value)),
        withdrawn,
        doc: Arc::new(doc),
        subject: unit.subject.clone(),
        subject_at,
        source_time: unit.source_time.clone(),
        spellings: Vec::new(),
        left: unit.left.clone(),
        replaced_by: unit.replaced_by.clone(),
    })
}

/// A withdrawn result without what it said: the value stays in the history of the resource and in the original, and is
/// gone from what a reader meets first.
fn without_value(root: Node<'_>) -> Result<Doc, Vec<Note>> {
    let said = |name: &str| {
        let name = name.trim_start_matches('_');
        matches!(name, "component" | "interpretation")
            || name
                .strip_prefix("value")
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
    };
    let mut out = String::from("{");
    for (name, value) in root.members().filter(|(name, _)| !said(name)) {
        if out.len() > 1 {
            out.push(',');
        }
        json::write_string(&name, &mut out);
        out.push(':');
        out.push_str(value.raw());
    }
    out.push('}');
    parse(out.as_bytes())
}

pub(super) fn identity_missing() -> Note {
    Note::new(
        "error",
        "identity-missing",
        "The resource has no business identifier, so a resend or correction could not find it again.",
        "Send identifier.system and identifier.value.",
    )
}

pub(super) fn parse(text: &[u8]) -> Result<Doc, Vec<Note>> {
    Doc::parse(text.to_vec(), JsonLimits::default()).map_err(|error| {
        vec![Note::new("error", "resource-malformed", "The resource is no JSON.", error.to_string())]
    })
}

pub(super) fn kind_of(root: Node<'_>) -> Result<(ResourceType, &'static str), Vec<Note>> {
    let name = root.get("resourceType").and_then(|n| n.as_str()).unwrap_or_default();
    match definitions::r4().resource_type(&name) {
        Some(kind) => Ok((kind, definitions::r4().type_name(kind))),
        None => Err(vec![Note::new(
            "error",
            "type-unknown",
            "resourceType is not a FHIR R4 resource type.",
            "Check its spelling.",
        )]),
    }
}

impl Ready {
    /// The resource with its patient written in.
    ///
    /// Errors: `None` when the result does not parse, which places of the right form exclude.
    pub fn about(&self, patient: Option<&ResourceId>) -> Option<Arc<Doc>> {
        let Some(patient) = patient.filter(|_| !self.subject_at.is_empty()) else {
            return Some(self.doc.clone());
        };
        let text = self.doc.text();
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for place in &self.subject_at {
            out.push_str(text.get(at..place.start)?);
            // An id holds letters, digits, `-` and `.` only: nothing to escape.
            out.push_str(&format!("\"Patient/{patient}\""));
            at = place.end;
        }
        out.push_str(text.get(at..)?);
        Doc::parse(out.into_bytes(), JsonLimits::default()).ok().map(Arc::new)
    }
}

/// Whether the resource says that what was said before is not so: `status` (or a Condition's `verificationStatus`) is
/// `entered-in-error`.
pub fn is_withdrawn(root: Node<'_>) -> bool {
    const CODE: &str = "entered-in-error";
    let is = |node: Option<Node<'_>>| node.and_then(|n| n.as_str()).is_some_and(|s| s == CODE);
    is(root.get("status"))
        || root
            .get("verificationStatus")
            .and_then(|n| n.get("coding"))
            .is_some_and(|codings| codings.items().any(|coding| is(coding.get("code"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(resource: &str) -> Unit {
        Unit {
            label: "OBX[1]".to_owned(),
            resource: Some(resource.to_owned()),
            identity: Some(("urn:oid:2.999".to_owned(), "1".to_owned())),
            subject: Some(Subject { bsn: Some("999911120".to_owned()), ..Subject::default() }),
            ..Unit::default()
        }
    }

    fn one(unit: Unit) -> Prepared {
        let output = Output { units: vec![unit], ..Output::default() };
        mapped(output, &Ura::parse("12345678").unwrap()).remove(0)
    }

    const OBSERVATION: &str = r#"{"resourceType":"Observation","status":"final","code":{"text":"FVC"},"valueQuantity":{"value":2.10}}"#;

    #[test]
    fn the_patient_is_written_in_and_every_digit_stays() {
        let ready = one(unit(OBSERVATION)).ready.unwrap();
        let id = ResourceId::parse("p1").unwrap();
        let doc = ready.about(Some(&id)).unwrap();
        assert_eq!(doc.root().get("subject").unwrap().raw(), r#"{"reference":"Patient/p1"}"#);
        assert!(doc.text().contains("2.10"));
    }

    #[test]
    fn the_same_identifier_gives_the_same_id_within_one_sender_only() {
        let id = |ura: &str| Namespace::of(&Ura::parse(ura).unwrap()).id("Observation", "s", "v");
        assert_eq!(id("12345678"), id("12345678"));
        assert_ne!(id("12345678"), id("87654321"));
        assert_ne!(id("12345678"), Namespace::of(&Ura::parse("12345678").unwrap()).id("Condition", "s", "v"));
    }

    #[test]
    fn an_invalid_resource_and_one_without_identity_are_kept_with_the_reason() {
        let bad = one(unit(r#"{"resourceType":"Observation","status":"final","kode":1}"#));
        assert!(bad.ready.is_none() && bad.notes.iter().any(|n| n.code == "invalid" && n.path == "OBX[1]"));
        let nameless = one(Unit { identity: None, ..unit(OBSERVATION) });
        assert!(nameless.notes.iter().any(|n| n.code == "identity-missing"));
    }

    #[test]
    fn a_withdrawal_is_seen_in_either_place() {
        let said = |text: &str| is_withdrawn(parse(text.as_bytes()).unwrap().root());
        assert!(said(r#"{"status":"entered-in-error"}"#));
        assert!(said(r#"{"verificationStatus":{"coding":[{"code":"x"},{"code":"entered-in-error"}]}}"#));
        assert!(!said(r#"{"status":"final"}"#));
    }
}
