//! What create, update, delete, bundles and ingest share: a checked draft becomes a stored version.
//!
//! Everything here runs inside one `work` of the writer, so that what was judged is what is changed.

use std::sync::Arc;

use bytes::Bytes;
use sluis_conformance::json::{Doc, JsonLimits, Node};
use sluis_conformance::{definitions, path, validate};
use sluis_mappings::bsn::Bsn;
use sluis_mappings::directive;

use super::change::Guard;
use super::measurement;
use super::reference::{self, Links, Lookup};
use super::splice::{self, Meta};
use crate::clock::{Clock, Timestamp};
use crate::decision::filter::Derived;
use crate::decision::label::PatientReference;
use crate::decision::organisation::Organisations;
use crate::decision::policy::{Policy, known_kind};
use crate::decision::{Permit, consent, grant, label, may_name, may_record, may_write};
use crate::ids::{PartyKey, PatientKey, ResourceId, ResourceType, SYSTEM_BSN, SYSTEM_URA};
use crate::response::refusal::{Issue, Reason, Refusal};
use crate::store::{Method, Record, Store, StoreError, Stored, Writer};

/// A resource on its way in: structure checked, nothing resolved yet.
#[derive(Debug)]
pub struct Draft {
    /// Type.
    pub kind: ResourceType,
    /// Id to store it under; `None` for a new one.
    pub id: Option<ResourceId>,
    /// The resource (root of the document).
    pub doc: Arc<Doc>,
}

/// What must be there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing: a create.
    New,
    /// A current version the permit may change, of this number when given (`If-Match`).
    Existing(Option<u32>),
    /// The same, or nothing under an id that the permit's holder may choose (update as create).
    ExistingOrOwn(Guard),
    /// Either (ingest: a resource of the sender's own namespace).
    Either,
}

/// A stored version.
#[derive(Debug, Clone)]
pub struct Written {
    /// Type.
    pub kind: ResourceType,
    /// Id.
    pub id: ResourceId,
    /// Version number.
    pub version: u32,
    /// `meta.lastUpdated`
    pub updated: Timestamp,
    /// Stored bytes.
    pub body: Bytes,
    /// Server-derived columns; a new Patient's own row key is filled in.
    pub derived: Derived,
    /// First version.
    pub created: bool,
    /// The sender claimed a category or a lower confidentiality; it was not followed. For the audit record.
    pub claim_ignored: bool,
}

/// What a write needs besides the store: rules, the moment, and for whom.
#[derive(Clone)]
pub struct Desk {
    /// Leave to write.
    pub permit: Permit,
    /// The policy that labels and compiles.
    pub policy: Arc<Policy>,
    /// Who is who, for grants to kinds of organisation.
    pub organisations: Arc<Organisations>,
    /// Public base URL.
    pub base: Arc<str>,
    /// The moment of the request.
    pub now: Timestamp,
    /// Fresh ids.
    pub clock: Arc<dyn Clock>,
}

impl Desk {
    /// `meta.source` of what this desk writes: the authoring organisation.
    fn source(&self) -> String {
        match self.permit.actor() {
            Some(actor) => format!("{SYSTEM_URA}#{}", actor.organisation),
            None => "urn:sluis:gateway".to_owned(),
        }
    }

    fn author(&self) -> PartyKey {
        self.permit.filter().organisation
    }
}

/// Runs `work` in the writer and gives back its result once it is durable.
///
/// Errors: what `work` refused (nothing of it is stored), or the store's own failure as a refusal.
pub async fn commit<T: Send + 'static>(
    store: &dyn Store,
    permit: &Permit,
    work: impl FnOnce(&mut dyn Writer) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Refusal> {
    crate::store::commit(store, permit.clone(), work).await.map_err(refusal)
}

/// A store error as the caller meets it.
pub fn refusal(error: StoreError) -> Refusal {
    let cause = error.to_string();
    match error {
        StoreError::Refused(refusal) => *refusal,
        StoreError::Busy => Refusal::new(Reason::Busy, "").because(cause),
        StoreError::Timeout(_) => Refusal::new(Reason::Timeout, "").because(cause),
        StoreError::Ambiguous => {
            Refusal::new(Reason::Conflict, "More than one patient bears this identifier.").because(cause)
        }
        StoreError::Database(_) | StoreError::DiskFull(_) => {
            Refusal::new(Reason::StoreUnavailable, "").because(cause)
        }
    }
}

/// Checks structure and content of a resource, without looking at stored data.
///
/// Errors: `Invalid` with every issue found; `BusinessRule` for a treatment directive that says two things or none
/// (`domain` rule, zib TreatmentDirective2).
pub fn check(doc: &Doc) -> Result<(), Refusal> {
    let issues: Vec<Issue> = validate::validate(definitions::r4(), doc.root())
        .into_iter()
        .filter(|issue| issue.is_error())
        .map(|issue| Issue {
            severity: "error",
            code: issue.code,
            diagnostics: if doc.is_converted() {
                format!("{} {}", issue.text, issue.remedy)
            } else {
                format!("{} {} (line {}, column {})", issue.text, issue.remedy, issue.line, issue.column)
            },
            expression: vec![issue.expression],
        })
        .collect();
    if !issues.is_empty() {
        let text = format!("{} problem(s) found.", issues.len());
        return Err(Refusal::new(Reason::Invalid, text).with_issues(issues));
    }
    let findings = directive::check(doc.root());
    if let Some(first) = findings.first() {
        return Err(Refusal::new(Reason::BusinessRule, format!("{} {}", first.text, first.remedy))
            .at(first.path.clone()));
    }
    Ok(())
}

/// Stores a draft as a new version: resolves its references, derives its columns, judges the right to write, stores
/// it with its index entries, and compiles grants when it is a Consent or CareTeam.
///
/// `links` lead to what the same transaction or document stores.
/// Errors (the writer's savepoint is undone by the caller's error): `NotFound`, `VersionConflict`, `Forbidden`,
/// `ReferenceUnresolved`, `Conflict`, `BusinessRule`, and the consent compiler's.
pub fn put_draft(
    writer: &mut dyn Writer,
    desk: &Desk,
    draft: &Draft,
    expect: Expect,
    links: &Links<'_>,
) -> Result<Written, StoreError> {
    let id = draft.id.clone().unwrap_or_else(|| desk.clock.uuid().into());
    let old = previous(writer, desk, draft.kind, &id, expect)?;
    let version = old.as_ref().map_or(1, |old| old.version + 1);
    let root = draft.doc.root();
    let edits = reference::resolve(draft.kind, root, &desk.base, links, &mut Resolver { writer, desk })?;
    let source = desk.source();
    let measurement = (draft.kind == kinds().observation)
        .then(|| root.get("subject"))
        .flatten()
        .and_then(|subject| measurement::fingerprint(root, &edits.apply(&draft.doc, subject.span())));
    let meta = Meta { version, updated: desk.now, source: &source, measurement: measurement.as_deref() };
    let text = splice::canonical(&draft.doc, root, &id, meta, &edits);
    let doc = Doc::parse(text.into_bytes(), JsonLimits::default())
        .map_err(|error| failed(format!("canonical form does not parse: {error}")))?;
    let root = doc.root();

    if draft.kind == kinds().patient {
        check_patient(writer, root, &id)?;
    }
    let patient = compartment(writer, draft.kind, root, old.as_ref())?;
    let mut label = label::derive(&desk.policy, draft.kind, root, desk.now);
    if draft.kind == kinds().provenance {
        label = label::follow(&desk.policy, label, &targets(writer, desk, root)?);
    }
    // An update keeps the author of the first version (a patient may end a Consent her care team recorded).
    let author = old.as_ref().map_or(desk.author(), |old| old.derived.author);
    let derived = label.derived(patient, author);
    let before = old.as_ref().map(|old| &old.derived);
    may_write(&desk.permit, draft.kind, before, &derived).map_err(refused)?;
    if draft.kind == kinds().consent {
        // An active Consent the compiler cannot enforce exactly is refused before it is stored.
        let fact = consent::parse(&desk.policy, root, "").map_err(refused)?;
        may_record(&desk.permit, &fact).map_err(refused)?;
    }

    let extracted = path::extract(definitions::r4(), draft.kind, root);
    let named = matches!(expect, Expect::ExistingOrOwn(_));
    let method = if old.is_some() || named { Method::Put } else { Method::Post };
    let key = writer.put(&Record {
        kind: draft.kind,
        id: &id,
        version,
        updated: desk.now,
        method,
        derived,
        body: doc.text().as_bytes(),
        entries: &extracted,
        root: Some(root),
    })?;
    let derived = if draft.kind == kinds().patient {
        Derived { patient: Some(PatientKey(key)), ..derived }
    } else {
        derived
    };
    compile_grants(writer, desk, draft.kind, derived.patient)?;
    drop(extracted);
    Ok(Written {
        kind: draft.kind,
        id,
        version,
        updated: desk.now,
        created: old.is_none(),
        claim_ignored: label.claim_ignored,
        derived,
        body: Bytes::from(doc.into_text()),
    })
}

/// Marks a resource deleted.
///
/// Errors: `NotFound`, `VersionConflict`, `Forbidden`.
pub fn put_deletion(
    writer: &mut dyn Writer,
    desk: &Desk,
    kind: ResourceType,
    id: &ResourceId,
    if_match: Option<u32>,
) -> Result<Written, StoreError> {
    let old = writer.current(kind, id)?.ok_or_else(|| refused(Refusal::not_found()))?;
    match_version(&old, if_match)?;
    if old.deleted {
        return Ok(Written {
            kind,
            id: id.clone(),
            version: old.version,
            updated: old.updated,
            body: Bytes::new(),
            derived: old.derived,
            created: false,
            claim_ignored: false,
        });
    }
    may_write(&desk.permit, kind, Some(&old.derived), &old.derived).map_err(refused)?;
    if kind == kinds().consent {
        // Ending a Consent by deleting it is recording, too.
        let doc = parse_stored(&old)?;
        let fact = consent::parse(&desk.policy, doc.root(), "").map_err(refused)?;
        may_record(&desk.permit, &fact).map_err(refused)?;
    }
    writer.put(&Record {
        kind,
        id,
        version: old.version + 1,
        updated: desk.now,
        method: Method::Delete,
        derived: old.derived,
        body: &[],
        entries: &[],
        root: None,
    })?;
    compile_grants(writer, desk, kind, old.derived.patient)?;
    Ok(Written {
        kind,
        id: id.clone(),
        version: old.version + 1,
        updated: desk.now,
        body: Bytes::new(),
        derived: old.derived,
        created: false,
        claim_ignored: false,
    })
}

/// The patient with this BSN; made known by a Patient of the sender when nobody sent her before, so that an answer
/// does not tell whether she was known.
///
/// Errors: `BusinessRule` when the number fails the eleven-test; `Ambiguous`.
pub fn patient_by_bsn(
    writer: &mut dyn Writer,
    desk: &Desk,
    bsn: &str,
) -> Result<(PatientKey, ResourceId), StoreError> {
    let Ok(bsn) = Bsn::parse(bsn) else {
        let text = "A citizen service number (BSN) fails the eleven-test.";
        return Err(refused(Refusal::new(Reason::BusinessRule, text)));
    };
    if let Some(found) = writer.patient_by_identifier(SYSTEM_BSN, bsn.as_str())? {
        return Ok(found);
    }
    let text = format!(
        r#"{{"resourceType":"Patient","identifier":[{{"system":"{SYSTEM_BSN}","value":"{}"}}]}}"#,
        bsn.as_str()
    );
    let doc = Doc::parse(text.into_bytes(), JsonLimits::default())
        .map_err(|error| failed(format!("patient stub: {error}")))?;
    let draft = Draft { kind: kinds().patient, id: None, doc: Arc::new(doc) };
    let written = put_draft(writer, desk, &draft, Expect::New, &Links::none())?;
    let key = written.derived.patient.ok_or_else(|| failed("a Patient without row key".to_owned()))?;
    Ok((key, written.id))
}

/// The types the gateway itself reasons about on write.
pub struct Kinds {
    /// Patient
    pub patient: ResourceType,
    /// Consent
    pub consent: ResourceType,
    /// CareTeam
    pub care_team: ResourceType,
    /// Provenance
    pub provenance: ResourceType,
    /// Group
    pub group: ResourceType,
    /// AuditEvent
    pub audit_event: ResourceType,
    /// Observation
    pub observation: ResourceType,
}

/// Their ids in the definitions.
pub fn kinds() -> &'static Kinds {
    static KINDS: std::sync::LazyLock<Kinds> = std::sync::LazyLock::new(|| Kinds {
        patient: known_kind("Patient"),
        consent: known_kind("Consent"),
        care_team: known_kind("CareTeam"),
        provenance: known_kind("Provenance"),
        observation: known_kind("Observation"),
        group: known_kind("Group"),
        audit_event: known_kind("AuditEvent"),
    });
    &KINDS
}

fn previous(
    writer: &mut dyn Writer,
    desk: &Desk,
    kind: ResourceType,
    id: &ResourceId,
    expect: Expect,
) -> Result<Option<Stored>, StoreError> {
    match expect {
        Expect::New => Ok(None),
        Expect::Either => writer.current(kind, id),
        Expect::Existing(if_match) => {
            let old = writer.current(kind, id)?.ok_or_else(|| refused(Refusal::not_found()))?;
            match_version(&old, if_match)?;
            Ok(Some(old))
        }
        Expect::ExistingOrOwn(guard) => match writer.current(kind, id)? {
            Some(old) => {
                match_version(&old, guard.if_match)?;
                if guard.must_be_new && !old.deleted {
                    let text = "If-None-Match: * was sent, and it is there.";
                    return Err(refused(Refusal::new(Reason::VersionConflict, text)));
                }
                Ok(Some(old))
            }
            None if !may_name(&desk.permit, id) => Err(refused(Refusal::not_found())),
            None if guard.if_match.is_some() => {
                Err(refused(Refusal::new(Reason::VersionConflict, "It is not there.")))
            }
            None => Ok(None),
        },
    }
}

/// `If-Match` (FHIR R4 http.html#concurrency): another version is 412.
pub(super) fn match_version(old: &Stored, if_match: Option<u32>) -> Result<(), StoreError> {
    match if_match {
        Some(version) if version != old.version => {
            let text = format!("The current version is {}.", old.version);
            Err(refused(Refusal::new(Reason::VersionConflict, text)))
        }
        _ => Ok(()),
    }
}

struct Resolver<'r> {
    writer: &'r mut dyn Writer,
    desk: &'r Desk,
}

impl Lookup for Resolver<'_> {
    fn visible(
        &mut self,
        kind: ResourceType,
        id: &ResourceId,
        version: Option<u32>,
    ) -> Result<bool, StoreError> {
        let found = match version {
            None => self.writer.current(kind, id)?,
            Some(version) => self.writer.version(kind, id, version)?,
        };
        Ok(found.is_some_and(|stored| !stored.deleted))
    }

    fn patient_by_bsn(&mut self, bsn: &str) -> Result<ResourceId, StoreError> {
        Ok(patient_by_bsn(self.writer, self.desk, bsn)?.1)
    }
}

/// A Patient's BSN must pass its test and name nobody else.
fn check_patient(writer: &mut dyn Writer, root: Node<'_>, id: &ResourceId) -> Result<(), StoreError> {
    for identifier in root.get("identifier").into_iter().flat_map(|n| n.items()) {
        let system = identifier.get("system").and_then(|n| n.as_str());
        if system.as_deref() != Some(SYSTEM_BSN) {
            continue;
        }
        let value = identifier.get("value").and_then(|n| n.as_str()).unwrap_or_default();
        if Bsn::parse(&value).is_err() {
            let text = "A citizen service number (BSN) fails the eleven-test.";
            return Err(refused(Refusal::new(Reason::BusinessRule, text).at("Patient.identifier")));
        }
        if let Some((_, other)) = writer.patient_by_identifier(SYSTEM_BSN, &value)?
            && other != *id
        {
            let text = "A Patient with this identifier is there already. Refer to it by identifier.";
            return Err(refused(Refusal::new(Reason::Conflict, text).at("Patient.identifier")));
        }
    }
    Ok(())
}

/// Row key of the one patient a resource is about.
///
/// Errors: `BusinessRule` when it names two, or one in a spelling that leads to no patient here.
fn compartment(
    writer: &mut dyn Writer,
    kind: ResourceType,
    root: Node<'_>,
    old: Option<&Stored>,
) -> Result<Option<PatientKey>, StoreError> {
    if kind == kinds().patient {
        return Ok(old.and_then(|old| old.derived.patient));
    }
    let mut keys = Vec::new();
    for reference in label::patient_references(kind, root) {
        let key = match reference {
            PatientReference::Local(id) => writer.patient_key(&id)?,
            // A logical reference by BSN has been resolved to a literal one beside it, which is `Local`.
            PatientReference::Identifier { system, value } => {
                writer.patient_by_identifier(&system, &value)?.map(|(key, _)| key)
            }
            PatientReference::Other(_) | PatientReference::Inside => None,
        };
        let Some(key) = key else {
            let text = "A patient it speaks of is not known here; refer to her by Patient/[id] or by BSN.";
            return Err(refused(Refusal::new(Reason::BusinessRule, text)));
        };
        keys.push(key);
    }
    keys.sort_unstable();
    keys.dedup();
    label::one_patient(&keys).map_err(refused)
}

/// Columns of what a Provenance is about, as far as they are here.
fn targets(writer: &mut dyn Writer, desk: &Desk, root: Node<'_>) -> Result<Vec<Derived>, StoreError> {
    let mut found = Vec::new();
    for target in root.get("target").into_iter().flat_map(|n| n.items()) {
        let text = target.get("reference").and_then(|n| n.as_str()).unwrap_or_default();
        if let reference::Target::Local(kind, id, _) = reference::parse(&text, &desk.base)
            && let Some(stored) = writer.current(kind, &id)?
        {
            found.push(stored.derived);
        }
    }
    Ok(found)
}

/// Compiles the grants and care relations of a patient anew when a Consent or CareTeam of hers has changed, in the
/// transaction that changed it: from its commit on, every request on every node is judged by them (invariant 4).
fn compile_grants(
    writer: &mut dyn Writer,
    desk: &Desk,
    kind: ResourceType,
    patient: Option<PatientKey>,
) -> Result<(), StoreError> {
    match patient {
        Some(patient) if kind == kinds().consent || kind == kinds().care_team => {
            compile_patient(writer, &desk.policy, &desk.organisations, patient)
        }
        _ => Ok(()),
    }
}

/// Compiles the grants and care relations of a patient from all that is stored of her.
pub fn compile_patient(
    writer: &mut dyn Writer,
    policy: &Policy,
    organisations: &Organisations,
    patient: PatientKey,
) -> Result<(), StoreError> {
    let mut rows = writer.whole_compartment(patient, kinds().consent)?;
    rows.extend(writer.whole_compartment(patient, kinds().care_team)?);
    let mut party = |name: &str| writer.party(name);
    let grants = grant::grants(policy, organisations, patient, &rows, &mut party)?;
    for reference in &grants.unreadable {
        tracing::error!(%reference, "a stored Consent cannot be read; everything is closed for its patient");
    }
    writer.replace_arms(patient, &grants.arms)?;
    writer.replace_relations(patient, &grants.relations)
}

fn parse_stored(stored: &Stored) -> Result<Doc, StoreError> {
    Doc::parse(stored.body.to_vec(), JsonLimits::default())
        .map_err(|error| failed(format!("stored resource does not parse: {error}")))
}

fn refused(refusal: Refusal) -> StoreError {
    StoreError::Refused(Box::new(refusal))
}

fn failed(cause: String) -> StoreError {
    refused(Refusal::new(Reason::Internal, "").because(cause))
}
