//! One exhaustive match: interaction -> its file, with a permit, inside the store, with its audit record.
//!
//! A read's record is durable before its answer is given back; a write's record is in the write's own transaction.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use sluis_conformance::json::Doc;

use super::bundle::{self, Mode};
use super::write::{self, Desk, Draft, commit, kinds};
use super::{
    Facts, Outcome, Scene, audit_event, create, delete, export, history, ingest, obligation, read, search,
    update,
};
use crate::audit::entry::{AuditRecord, Done, Entry};
use crate::clock::Timestamp;
use crate::connection::request::{Format, Interaction, Parameters, Preconditions, Request, ReturnPreference};
use crate::decision::need::Needs;
use crate::decision::{self, Need, Parties, Permit};
use crate::gateway::Gateway;
use crate::identity::actor::Actor;
use crate::ids::{ResourceId, ResourceType};
use crate::response::Answer;
use crate::response::bundle::{BundleWriter, ResponseEntry};
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Reader, StoreError, Writer};

/// Who asks, with the keys the store knows them by. `None`: security is off (benchmarks).
#[derive(Clone)]
pub struct Caller {
    /// Verified facts.
    pub actor: Option<Arc<Actor>>,
    /// Keys.
    pub parties: Option<Parties>,
}

/// What an interaction needs of its request, besides itself.
#[derive(Debug, Clone)]
pub struct Aside {
    /// Request id.
    pub id: Box<str>,
    /// Peer address.
    pub address: IpAddr,
    /// When.
    pub now: Timestamp,
    /// Conditions.
    pub preconditions: Preconditions,
    /// `_pretty`
    pub format: Format,
    /// `Prefer: return=`
    pub prefer: ReturnPreference,
    /// `Prefer: respond-async`
    pub respond_async: bool,
}

impl Aside {
    /// Of a request.
    pub fn of(request: &Request) -> Aside {
        Aside {
            id: request.id.clone(),
            address: request.origin.address,
            now: request.received,
            preconditions: request.preconditions.clone(),
            format: request.format,
            prefer: request.prefer_return,
            respond_async: request.respond_async,
        }
    }

    /// The beginnings of a record.
    pub fn entry(&self, done: Done) -> Entry {
        Entry::new(done, self.now, &self.id, self.address)
    }
}

/// Performs a request that needs a token.
///
/// Errors: the refusal of the whole; nothing was changed.
pub async fn perform(
    gateway: &Gateway,
    caller: &Caller,
    interaction: &Interaction,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    if aside.preconditions.if_none_exist {
        return Err(Refusal::new(Reason::NotImplemented, "If-None-Exist: conditional create."));
    }
    // Each entry of a Bundle is decided on its own.
    if let Interaction::Bundle(doc) = interaction {
        return entries(gateway, caller, doc, aside).await;
    }
    let permit = gateway.permit(caller, interaction, aside.now)?;
    match interaction {
        Interaction::Read(kind, id) if *kind == kinds().audit_event => {
            audit_event::read(gateway, &permit, id, aside).await
        }
        Interaction::Search(kind, parameters) if *kind == kinds().audit_event => {
            audit_event::search(gateway, &permit, parameters, aside).await
        }
        Interaction::Read(..)
        | Interaction::Vread(..)
        | Interaction::History(..)
        | Interaction::Search(..) => look(gateway, &permit, interaction, aside).await,
        Interaction::Create(..) | Interaction::Update(..) | Interaction::Delete(..) => {
            change(gateway, &permit, interaction, aside).await
        }
        Interaction::Ingest(document) => ingest::ingest(gateway, &permit, document, interaction, aside).await,
        Interaction::Quarantine(parameters) => {
            ingest::waiting(gateway, &permit, parameters, interaction, aside).await
        }
        Interaction::Replay(parameters) => {
            ingest::replay(gateway, &permit, parameters, interaction, aside).await
        }
        Interaction::ExportStart(..)
        | Interaction::ExportStatus(_)
        | Interaction::ExportFile(..)
        | Interaction::ExportCancel(_) => export::export(gateway, &permit, interaction, aside).await,
        Interaction::Bundle(_)
        | Interaction::Capabilities
        | Interaction::SmartConfiguration
        | Interaction::Token(_)
        | Interaction::Jwks
        | Interaction::Health { .. }
        | Interaction::Metrics => {
            Err(Refusal::new(Reason::Internal, "").because("an interaction without a permit came with one"))
        }
    }
}

/// A read: one snapshot, then its record, then the answer.
async fn look(
    gateway: &Gateway,
    permit: &Permit,
    interaction: &Interaction,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let scene = gateway.scene(permit, aside.now);
    let prepared = Prepared::of(&scene, permit, interaction)?;
    let mut outcome = None;
    let mut read = || {
        gateway.parts().store.read(permit, &mut |reader| {
            outcome = Some(prepared.run(reader, permit, &scene, aside)?);
            Ok(())
        })
    };
    match prepared {
        // A point read costs less than handing it to another thread.
        Prepared::Read(..) | Prepared::Vread(..) => read(),
        Prepared::History(..) | Prepared::Search(_) => blocking(read),
    }
    .map_err(write::refusal)?;
    let outcome: Outcome =
        outcome.ok_or_else(|| Refusal::new(Reason::Internal, "").because("a read gave nothing"))?;
    if permit.actor().is_some() {
        let record = record(aside, permit, interaction, &outcome.facts);
        append(gateway, permit, record).await?;
    }
    Ok(outcome.answer)
}

/// Runs what may take a while, letting the runtime's other tasks move to another thread meanwhile.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    let threads = tokio::runtime::Handle::try_current()
        .is_ok_and(|handle| handle.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread);
    if threads { tokio::task::block_in_place(work) } else { work() }
}

/// A read interaction with its search parsed.
enum Prepared<'i> {
    Read(ResourceType, &'i ResourceId),
    Vread(ResourceType, &'i ResourceId, Option<u32>),
    History(ResourceType, &'i ResourceId, &'i Parameters),
    Search(search::Prepared),
}

impl<'i> Prepared<'i> {
    fn of(scene: &Scene<'_>, permit: &Permit, interaction: &'i Interaction) -> Result<Prepared<'i>, Refusal> {
        Ok(match interaction {
            Interaction::Read(kind, id) => Prepared::Read(*kind, id),
            Interaction::Vread(kind, id, version) => Prepared::Vread(*kind, id, *version),
            Interaction::History(kind, id, parameters) => Prepared::History(*kind, id, parameters),
            Interaction::Search(kind, parameters) => {
                obligation::check_search(permit, parameters)?;
                Prepared::Search(search::prepare(scene, *kind, parameters)?)
            }
            _ => return Err(Refusal::new(Reason::BusinessRule, "This interaction cannot stand here.")),
        })
    }

    fn run(
        &self,
        reader: &mut dyn Reader,
        permit: &Permit,
        scene: &Scene<'_>,
        aside: &Aside,
    ) -> Result<Outcome, StoreError> {
        match self {
            Prepared::Read(kind, id) => {
                read::read(reader, permit, *kind, id, &aside.preconditions, aside.format)
            }
            Prepared::Vread(kind, id, version) => {
                read::vread(reader, permit, *kind, id, *version, &aside.preconditions, aside.format)
            }
            Prepared::History(kind, id, parameters) => {
                history::history(reader, permit, scene, *kind, id, parameters, aside.format)
            }
            Prepared::Search(prepared) => prepared.run(reader, permit, scene, aside.format),
        }
    }
}

/// A change, checked before it takes the writer's time.
enum Change {
    Create(Draft),
    Update(Draft, Option<u32>),
    Delete(ResourceType, ResourceId, Option<u32>),
}

impl Change {
    fn of(
        interaction: &Interaction,
        new_id: Option<ResourceId>,
        if_match: Option<u32>,
    ) -> Result<Change, Refusal> {
        match interaction {
            Interaction::Create(kind, doc) => {
                write::check(doc)?;
                Ok(Change::Create(Draft { kind: *kind, id: new_id, doc: Arc::clone(doc) }))
            }
            Interaction::Update(kind, id, doc) => {
                write::check(doc)?;
                let draft = Draft { kind: *kind, id: Some(id.clone()), doc: Arc::clone(doc) };
                Ok(Change::Update(draft, if_match))
            }
            Interaction::Delete(kind, id) => Ok(Change::Delete(*kind, id.clone(), if_match)),
            _ => Err(Refusal::new(Reason::BusinessRule, "This interaction cannot stand here.")),
        }
    }

    fn run(
        &self,
        writer: &mut dyn Writer,
        desk: &Desk,
        scene: &Scene<'_>,
        aside: &Aside,
        made: &HashMap<String, String>,
    ) -> Result<Outcome, StoreError> {
        match self {
            Change::Create(draft) => {
                let written = create::create(writer, desk, draft, made)?;
                Ok(create::answer(&written, scene, aside.prefer, aside.format))
            }
            Change::Update(draft, if_match) => {
                let written = update::update(writer, desk, draft, *if_match, made)?;
                Ok(create::answer(&written, scene, aside.prefer, aside.format))
            }
            Change::Delete(kind, id, if_match) => {
                Ok(delete::answer(&delete::delete(writer, desk, *kind, id, *if_match)?))
            }
        }
    }
}

async fn change(
    gateway: &Gateway,
    permit: &Permit,
    interaction: &Interaction,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let change = Change::of(interaction, None, aside.preconditions.if_match)?;
    let (desk, gateway_there, aside_there) =
        (gateway.desk(permit, aside.now), gateway.clone(), aside.clone());
    let interaction = interaction.clone();
    commit(&*gateway.parts().store, permit, move |writer| {
        let scene = gateway_there.scene(&desk.permit, aside_there.now);
        let outcome = change.run(writer, &desk, &scene, &aside_there, &HashMap::new())?;
        if desk.permit.actor().is_some() {
            writer.append_audit(&record(&aside_there, &desk.permit, &interaction, &outcome.facts))?;
        }
        Ok(outcome.answer)
    })
    .await
}

/// A batch or transaction (FHIR R4 http.html#transaction).
async fn entries(gateway: &Gateway, caller: &Caller, doc: &Doc, aside: &Aside) -> Result<Answer, Refusal> {
    let clock = Arc::clone(&gateway.parts().clock);
    let entries_max = gateway.parts().limits.bundle_entries_max;
    let parsed = bundle::parse(doc, entries_max, &mut || clock.uuid().into())?;
    match parsed.mode {
        Mode::Batch => batch(gateway, caller, parsed, aside).await,
        Mode::Transaction => transaction(gateway, caller, parsed, aside).await,
    }
}

async fn batch(
    gateway: &Gateway,
    caller: &Caller,
    parsed: bundle::Parsed,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let mut results = Vec::with_capacity(parsed.entries.len());
    for slot in parsed.entries {
        let result = match slot {
            Err(refusal) => Err(refusal),
            Ok(entry) => {
                let mut inside = aside.clone();
                inside.preconditions = Preconditions { if_match: entry.if_match, ..Default::default() };
                // An entry is performed like a request of its own; it is never a Bundle, so this ends.
                match Box::pin(perform(gateway, caller, &entry.interaction, &inside)).await {
                    Ok(answer) => Ok(answer),
                    Err(refusal) => {
                        gateway.record_refusal(caller, &entry.interaction, &inside, &refusal).await?;
                        Err(refusal)
                    }
                }
            }
        };
        // The store or its disk failing is a failure of the whole, not of an entry.
        if let Err(refusal) = &result
            && refusal.reason == Reason::StoreUnavailable
        {
            return Err(refusal.clone());
        }
        results.push(result);
    }
    Ok(respond(gateway, "batch-response", &results, aside))
}

/// One entry of a transaction, ready for the writer.
enum Step {
    Change(Box<Change>),
    Look,
}

async fn transaction(
    gateway: &Gateway,
    caller: &Caller,
    parsed: bundle::Parsed,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let (order, made) = (parsed.order(), parsed.made());
    let mut steps = Vec::with_capacity(parsed.entries.len());
    for slot in parsed.entries {
        let entry = slot?;
        let place = format!("Bundle.entry[{}]", entry.at);
        let ready = |refusal: Refusal| located(refusal, &place);
        let permit = gateway.permit(caller, &entry.interaction, aside.now).map_err(ready)?;
        let step = match entry.interaction {
            Interaction::Create(..) | Interaction::Update(..) | Interaction::Delete(..) => {
                Step::Change(Box::new(
                    Change::of(&entry.interaction, entry.new_id.clone(), entry.if_match).map_err(ready)?,
                ))
            }
            _ => {
                Prepared::of(&gateway.scene(&permit, aside.now), &permit, &entry.interaction)
                    .map_err(ready)?;
                Step::Look
            }
        };
        steps.push((place, permit, step, entry.interaction));
    }
    // Old versions are looked for as a change looks for them; a bundle of reads alone, as its first one does.
    let changing = steps.iter().find(|(_, _, step, _)| matches!(step, Step::Change(_)));
    let Some(permit) = changing.or(steps.first()).map(|(_, permit, ..)| permit.clone()) else {
        return Ok(respond(gateway, "transaction-response", &[], aside));
    };
    let (there, aside_there) = (gateway.clone(), aside.clone());
    let answers = commit(&*gateway.parts().store, &permit, move |writer| {
        let mut answers: Vec<Option<Answer>> = steps.iter().map(|_| None).collect();
        for at in order {
            let Some((place, permit, step, interaction)) = steps.get(at) else { continue };
            let scene = there.scene(permit, aside_there.now);
            let outcome = match step {
                Step::Change(change) => {
                    change.run(writer, &there.desk(permit, aside_there.now), &scene, &aside_there, &made)
                }
                Step::Look => Prepared::of(&scene, permit, interaction)
                    .map_err(|refusal| StoreError::Refused(Box::new(refusal)))
                    .and_then(|prepared| prepared.run(writer, permit, &scene, &aside_there)),
            }
            .map_err(|error| match error {
                StoreError::Refused(refusal) => StoreError::Refused(Box::new(located(*refusal, place))),
                other => other,
            })?;
            if permit.actor().is_some() {
                writer.append_audit(&record(&aside_there, permit, interaction, &outcome.facts))?;
            }
            if let Some(slot) = answers.get_mut(at) {
                *slot = Some(outcome.answer);
            }
        }
        Ok(answers)
    })
    .await?;
    let results: Vec<_> = answers.into_iter().flatten().map(Ok).collect();
    Ok(respond(gateway, "transaction-response", &results, aside))
}

/// Says in which entry a refusal arose, keeping where in the entry.
fn located(mut refusal: Refusal, place: &str) -> Refusal {
    if refusal.expression.is_empty() {
        refusal.expression.push(place.to_owned());
    } else {
        for expression in &mut refusal.expression {
            if !expression.starts_with("Bundle.entry") {
                *expression = format!("{place}.resource.ofType({expression})");
            }
        }
    }
    if !refusal.details.contains(place) {
        refusal.details = format!("{place}: {}", refusal.details);
    }
    refusal
}

fn respond(gateway: &Gateway, kind: &str, results: &[Result<Answer, Refusal>], aside: &Aside) -> Answer {
    let id = gateway.parts().clock.uuid().to_string();
    let mut bundle = BundleWriter::new(&id, kind, &aside.now.to_instant(), None, &[]);
    for result in results {
        let refused;
        let answer = match result {
            Ok(answer) => answer,
            Err(refusal) => {
                refused = Answer::refused(refusal);
                &refused
            }
        };
        let status = answer.status.to_string();
        let body = std::str::from_utf8(&answer.body).ok().filter(|text| !text.is_empty());
        let location = answer.header(&http::header::LOCATION);
        let modified = answer.modified.map(Timestamp::to_instant);
        bundle.response_entry(&ResponseEntry {
            resource: body.filter(|_| result.is_ok()),
            status: &status,
            location,
            etag: answer.header(&http::header::ETAG),
            last_modified: modified.as_deref(),
            outcome: body.filter(|_| result.is_err()),
        });
    }
    Answer::fhir(http::StatusCode::OK, super::found_body(bundle.finish().into(), aside.format))
}

/// The record of an interaction under a permit.
pub fn record(aside: &Aside, permit: &Permit, interaction: &Interaction, facts: &Facts) -> AuditRecord {
    let mut entry = entry(aside, interaction).under(permit);
    entry.patients = facts.patients.iter().map(|patient| patient.0).collect();
    entry.consents = facts.consents.iter().map(|consent| consent.to_string()).collect();
    entry.categories = facts.categories;
    entry.count = Some(facts.resources.len() as u64);
    if facts.claim_ignored {
        entry.notes.push("claim-ignored".to_owned());
    }
    if let ([one], Interaction::Create(..) | Interaction::Update(..) | Interaction::Delete(..)) =
        (facts.resources.as_slice(), interaction)
    {
        entry.resource = Some(one.clone());
    }
    entry.record(permit.filter().organisation)
}

/// What an interaction is called in the log, and what it is about.
pub fn entry(aside: &Aside, interaction: &Interaction) -> Entry {
    let kind_only = |done, kind: &ResourceType| aside.entry(done).about(*kind, None, None);
    match interaction {
        Interaction::Read(kind, id) => aside.entry(Done::Read).about(*kind, Some(id), None),
        Interaction::Vread(kind, id, version) => aside.entry(Done::Vread).about(*kind, Some(id), *version),
        Interaction::History(kind, id, parameters) => {
            aside.entry(Done::HistoryInstance).about(*kind, Some(id), None).asking(&parameters.raw)
        }
        Interaction::Search(kind, parameters) => kind_only(Done::SearchType, kind).asking(&parameters.raw),
        Interaction::Create(kind, _) => kind_only(Done::Create, kind),
        Interaction::Update(kind, id, _) => aside.entry(Done::Update).about(*kind, Some(id), None),
        Interaction::Delete(kind, id) => aside.entry(Done::Delete).about(*kind, Some(id), None),
        Interaction::Bundle(_) => aside.entry(Done::Transaction),
        Interaction::Ingest(_) => aside.entry(Done::Ingest),
        Interaction::Quarantine(parameters) | Interaction::Replay(parameters) => {
            aside.entry(Done::Quarantine).asking(&parameters.raw)
        }
        Interaction::ExportStart(id, parameters) => {
            aside.entry(Done::Export).about(kinds().group, Some(id), None).asking(&parameters.raw)
        }
        Interaction::ExportStatus(_) | Interaction::ExportFile(..) | Interaction::ExportCancel(_) => {
            aside.entry(Done::Export)
        }
        Interaction::Token(_) => aside.entry(Done::Token),
        Interaction::Capabilities
        | Interaction::SmartConfiguration
        | Interaction::Jwks
        | Interaction::Health { .. }
        | Interaction::Metrics => aside.entry(Done::System),
    }
}

/// Appends a record and waits until it is durable: no log, no data.
pub async fn append(gateway: &Gateway, permit: &Permit, record: AuditRecord) -> Result<(), Refusal> {
    gateway.parts().store.append(permit.clone(), record).await.map_err(write::refusal)
}

impl Gateway {
    /// Leave for one interaction.
    ///
    /// Errors: `Forbidden`, from the request alone.
    pub fn permit(
        &self,
        caller: &Caller,
        interaction: &Interaction,
        now: Timestamp,
    ) -> Result<Permit, Refusal> {
        let parts = self.parts();
        let (Some(actor), Some(parties)) = (&caller.actor, &caller.parties) else {
            return Ok(decision::system(&parts.policy, now, "benchmark-without-security"));
        };
        let Needs::One(need) = Need::of(interaction) else {
            return Err(Refusal::new(Reason::BusinessRule, "This interaction cannot stand here."));
        };
        let context = decision::Context { policy: &parts.policy, organisations: &parts.organisations, now };
        decision::decide(&context, actor, &need, parties)
    }

    /// What a write under a permit works with.
    pub fn desk(&self, permit: &Permit, now: Timestamp) -> Desk {
        let parts = self.parts();
        Desk {
            permit: permit.clone(),
            policy: Arc::clone(&parts.policy),
            organisations: Arc::clone(&parts.organisations),
            base: Arc::clone(&parts.base),
            now,
            clock: Arc::clone(&parts.clock),
        }
    }

    /// What an interaction knows of the gateway.
    pub fn scene<'s>(&'s self, permit: &'s Permit, now: Timestamp) -> Scene<'s> {
        let parts = self.parts();
        Scene {
            base: &parts.base,
            now,
            actor: permit.actor(),
            seal: &parts.seal,
            clock: &*parts.clock,
            search_limits: &parts.search_limits,
            count_max: parts.search_limits.count_max,
            bundle_id: parts.clock.uuid().to_string(),
        }
    }

    /// Records that an identified caller was refused. A caller nobody knows is counted and logged, not recorded: the
    /// log of record must not be fillable by strangers.
    pub async fn record_refusal(
        &self,
        caller: &Caller,
        interaction: &Interaction,
        aside: &Aside,
        refusal: &Refusal,
    ) -> Result<(), Refusal> {
        let (Some(actor), Some(parties)) = (&caller.actor, &caller.parties) else { return Ok(()) };
        let record = entry(aside, interaction).by(actor).refused(refusal.reason).record(parties.organisation);
        let permit = decision::system(&self.parts().policy, aside.now, "record-refusal");
        append(self, &permit, record).await
    }
}
