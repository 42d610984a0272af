//! The kick-off: parameters and cohort checked, a job laid down. Everything that can be refused is refused here, before
//! anything is read of a patient.

use std::collections::BTreeSet;

use http::{StatusCode, header};
use sluis_conformance::definitions;
use sluis_conformance::json::{Doc, JsonLimits, Node};

use super::job::{self, Job, JobState, KeptActor, Member, Position};
use super::{Context, refusal};
use crate::clock::Timestamp;
use crate::connection::request::Parameters;
use crate::decision::Permit;
use crate::identity::actor::Actor;
use crate::ids::ResourceId;
use crate::jobs::shelf::fresh_id;
use crate::response::Answer;
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Shelf, document};

/// What was asked.
#[derive(Debug, Clone)]
pub struct Kickoff<'k> {
    /// `Group/[id]`
    pub group: &'k ResourceId,
    /// Parameters of URL and form.
    pub parameters: &'k Parameters,
    /// `Prefer: respond-async` was given.
    pub respond_async: bool,
}

/// Lays down an export job: 202 with `Content-Location: [base]/export/[job]`.
///
/// `permit`: of `Action::Export`. The job is durable before the answer; the runner is rung.
/// Errors: 400 for what is not asynchronous or not understood, naming the parameter; 403 when the purpose is none of
/// export or scopes do not cover a type; 404 when the Group is not visible; 422 when the Group is no cohort of
/// patients, or smaller than the purpose allows; 429 when the client has too many jobs. Nothing was kept.
/// Source: Bulk Data Access IG v2 export.html#bulk-data-kick-off-request
pub async fn start(
    context: &Context,
    permit: &Permit,
    actor: &Actor,
    kickoff: &Kickoff<'_>,
) -> Result<Answer, Refusal> {
    let asked = Order::read(context, actor, kickoff)?;
    if !kickoff.respond_async {
        return Err(Refusal::new(
            Reason::Malformed,
            "An export is asynchronous: send `Prefer: respond-async`.",
        ));
    }
    let members = cohort(context, permit, kickoff.group)?;
    check_size(context, &actor.purpose, members.len())?;
    let now = context.clock.now();
    let id = fresh_id(&*context.clock);
    let job = Job {
        id: id.clone(),
        actor: KeptActor::of(actor),
        group: kickoff.group.to_string(),
        kinds: asked.kinds,
        since: asked.since.map(|since| since.0),
        request: request_url(context, kickoff),
        started: now.0,
        // A write stamped just before the start may commit just after a block was read; the margin brings it into the
        // next `_since` export. Delivering a resource twice is harmless, losing one is not.
        transaction_time: now.plus_seconds(-context.settings.settle_seconds).0,
        expires: now.plus_seconds(context.settings.jobs.kept_seconds).0,
        epoch: context.settings.pseudonym_epoch,
        state: JobState::Running,
        members: u32::try_from(members.len()).unwrap_or(u32::MAX),
        position: Position::default(),
        result: None,
    };
    let owner = permit.filter().organisation;
    let settings = context.settings.jobs;
    context
        .commit("export-start", move |writer| {
            let counts = |document: &[u8]| {
                let other: Job = document::decode(Shelf::ExportJob, document)?;
                let is_kept = other.actor.client == job.actor.client && other.state != JobState::Ended;
                Ok((is_kept, other.state == JobState::Running))
            };
            settings.check_room(writer, Shelf::ExportJob, owner, &counts)?;
            let key = job::members_key(&job.id);
            document::put(writer, Shelf::ExportFile, owner, &key, &members)?;
            job.save(writer, owner)
        })
        .await
        .map_err(refusal)?;
    context.bell.start_here(&id);
    let address = format!("{}/export/{id}", context.base);
    Ok(Answer::empty(StatusCode::ACCEPTED).with(header::CONTENT_LOCATION, &address))
}

/// The parameters, understood.
struct Order {
    kinds: Vec<String>,
    since: Option<Timestamp>,
}

impl Order {
    /// Errors: `ParameterUnknown` and `ParameterInvalid` name the parameter, `Forbidden` the type or purpose.
    fn read(context: &Context, actor: &Actor, kickoff: &Kickoff<'_>) -> Result<Order, Refusal> {
        if !context.profile.serves(&actor.purpose) {
            return Err(Refusal::new(
                Reason::Forbidden,
                "No export profile serves this purpose of use; ask for a token with a purpose of research or quality.",
            ));
        }
        let mut kinds = BTreeSet::new();
        let mut since = None;
        for (name, value) in kickoff.parameters.pairs.iter() {
            let invalid = |details: String| Refusal::new(Reason::ParameterInvalid, details).at(name.clone());
            match name.as_str() {
                "_type" => {
                    for kind in value.split(',').map(str::trim) {
                        if !context.profile.kinds().any(|known| known == kind) {
                            let known: Vec<&str> = context.profile.kinds().collect();
                            return Err(invalid(format!(
                                "_type takes types of the export profile: {}.",
                                known.join(", ")
                            )));
                        }
                        kinds.insert(kind.to_owned());
                    }
                }
                "_since" => {
                    let parsed: Result<jiff::Timestamp, _> = value.parse();
                    let moment = parsed.map_err(|_| {
                        invalid("_since takes an instant, e.g. 2026-11-23T21:45:00Z.".to_owned())
                    })?;
                    since = Some(Timestamp(moment.as_microsecond()));
                }
                "_outputFormat" => {
                    if !matches!(value.as_str(), "application/fhir+ndjson" | "application/ndjson" | "ndjson")
                    {
                        return Err(invalid("_outputFormat takes application/fhir+ndjson.".to_owned()));
                    }
                }
                other => {
                    return Err(Refusal::new(
                        Reason::ParameterUnknown,
                        format!(
                            "{} is not offered on $export; _type, _since and _outputFormat are.",
                            shown(other)
                        ),
                    )
                    .at(shown(other)));
                }
            }
        }
        let kinds = in_scope(context, actor, kinds)?;
        Ok(Order { kinds, since })
    }
}

/// The types asked for; without `_type` those of the profile that the scopes cover. The Group itself has to be readable.
fn in_scope(context: &Context, actor: &Actor, asked: BTreeSet<String>) -> Result<Vec<String>, Refusal> {
    let refused = |kind: &str| {
        Refusal::new(
            Reason::Forbidden,
            format!("The token's scopes do not cover it; it needs e.g. system/{kind}.rs."),
        )
    };
    if !job::may_read(actor, "Group") {
        return Err(Refusal::new(
            Reason::Forbidden,
            "The token's scopes do not cover the Group; it needs system/Group.r.",
        ));
    }
    if let Some(kind) = asked.iter().find(|kind| !job::covers(actor, kind)) {
        return Err(refused(kind));
    }
    if !asked.is_empty() {
        return Ok(asked.into_iter().collect());
    }
    let kinds: Vec<String> =
        context.profile.kinds().filter(|kind| job::covers(actor, kind)).map(str::to_owned).collect();
    if kinds.is_empty() { Err(refused("Observation")) } else { Ok(kinds) }
}

/// Members of a visible Group, each once, in its order.
///
/// Only patients named in it count: an inactive member, or one whose period does not hold now, is none (FHIR R4
/// group.html). A member that is no patient, or a group of groups, is refused: it would silently be a smaller cohort.
fn cohort(context: &Context, permit: &Permit, group: &ResourceId) -> Result<Vec<Member>, Refusal> {
    let kind = definitions::r4().resource_type("Group").ok_or_else(Refusal::not_found)?;
    let mut body = None;
    context
        .store
        .read(permit, &mut |reader| {
            body = reader.current(kind, group)?.filter(|stored| !stored.deleted).map(|stored| stored.body);
            Ok(())
        })
        .map_err(refusal)?;
    let body = body.ok_or_else(Refusal::not_found)?;
    let doc = Doc::parse(body.to_vec(), JsonLimits::default()).map_err(|e| {
        Refusal::new(Reason::Internal, "").because(format!("a stored Group cannot be read: {e}"))
    })?;
    let now = context.clock.now();
    let mut seen = BTreeSet::new();
    let mut members = Vec::new();
    for (index, member) in doc.root().get("member").into_iter().flat_map(Node::items).enumerate() {
        if member.get("inactive").and_then(Node::as_bool) == Some(true) || !holds(member.get("period"), now) {
            continue;
        }
        let id = member
            .get("entity")
            .and_then(|entity| entity.get("reference"))
            .and_then(Node::as_str)
            .and_then(|reference| patient_id(&context.base, &reference));
        let Some(id) = id else {
            return Err(Refusal::new(
                Reason::BusinessRule,
                "A member of this Group is no reference to a Patient.",
            )
            .at(format!("Group.member[{index}].entity")));
        };
        if seen.insert(id.as_str().to_owned()) {
            let key = context.store.patient_key(&id).map_err(refusal)?;
            members.push(Member { id: id.to_string(), key: key.map(|key| key.0) });
        }
    }
    Ok(members)
}

fn patient_id(base: &str, reference: &str) -> Option<ResourceId> {
    let relative = reference.strip_prefix(base).and_then(|rest| rest.strip_prefix('/')).unwrap_or(reference);
    ResourceId::parse(relative.strip_prefix("Patient/")?)
}

/// Whether a Period holds now; an end covers all of its day, as its precision says (FHIR R4 datatypes.html#Period).
fn holds(period: Option<Node<'_>>, now: Timestamp) -> bool {
    let Some(period) = period else { return true };
    let range = |name: &str| {
        let text = period.get(name).and_then(Node::as_str)?;
        sluis_conformance::path::FhirDateTime::parse(&text).ok()
    };
    range("start").is_none_or(|start| start.low_us <= now.0)
        && range("end").is_none_or(|end| now.0 < end.high_us)
}

/// Differencing: with a small cohort the difference of two exports is one patient (access.md 7.3).
fn check_size(context: &Context, purpose: &str, members: usize) -> Result<(), Refusal> {
    let settings = &context.settings;
    if members > settings.cohort_members_max as usize {
        return Err(Refusal::new(
            Reason::TooCostly,
            format!("At most {} members in a cohort.", settings.cohort_members_max),
        ));
    }
    if members == 0 {
        return Err(Refusal::new(Reason::BusinessRule, "This Group names no patients.").at("Group.member"));
    }
    if context.profile.has_cohort_min(purpose) && members < settings.cohort_min as usize {
        return Err(Refusal::new(
            Reason::BusinessRule,
            format!("A cohort for this purpose has at least {} members.", settings.cohort_min),
        )
        .at("Group.member"));
    }
    Ok(())
}

fn request_url(context: &Context, kickoff: &Kickoff<'_>) -> String {
    let path = format!("{}/Group/{}/$export", context.base, kickoff.group);
    if kickoff.parameters.raw.is_empty() { path } else { format!("{path}?{}", kickoff.parameters.raw) }
}

/// A parameter's name as it may be echoed: short and plain.
fn shown(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_graphic()).take(40).collect()
}
