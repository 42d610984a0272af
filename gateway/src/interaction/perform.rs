//! One exhaustive match: interaction -> its file, with a permit, inside the store, with its audit record.
//!
//! A read's record is durable before its answer is given back; a write's record is in the write's own transaction.

use std::net::IpAddr;
use std::sync::Arc;

use sluis_conformance::definitions;

use super::change::Change;
use super::history::Scope;
use super::idempotency::{self, Key};
use super::reference::Links;
use super::write::{self, Desk, commit, kinds};
use super::{
    Facts, Outcome, Scene, asynchronous, audit_event, everything, export, history, ingest, lastn, meta,
    obligation, patient_match, read, search, several, transaction, transform, validate,
};
use crate::audit::entry::{AuditRecord, Done, Entry};
use crate::clock::Timestamp;
use crate::connection::request::{Format, Interaction, Preconditions, Request, ReturnPreference, Shape};
use crate::decision::need::Needs;
use crate::decision::policy::known_kind;
use crate::decision::{self, Action, Need, Parties, Permit};
use crate::gateway::Gateway;
use crate::identity::actor::Actor;
use crate::ids::{ResourceId, ResourceType};
use crate::response::Answer;
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Reader, StoreError};

/// Who asks, with the keys the store knows them by. `None` has leave for nothing, except in the server that
/// `examples/load` builds to measure what security costs (feature `unguarded`).
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
    /// `_summary` and `_elements` of a read
    pub shape: Shape,
    /// `Prefer: return=`
    pub prefer: ReturnPreference,
    /// `Prefer: respond-async`
    pub respond_async: bool,
    /// `Idempotency-Key`
    pub idempotency_key: Option<Box<str>>,
    /// `Prefer: handling=lenient`
    pub lenient: bool,
    /// Whether a job asks, rather than a request.
    pub in_job: bool,
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
            shape: request.shape.clone(),
            prefer: request.prefer_return,
            respond_async: request.respond_async,
            idempotency_key: request.idempotency_key.clone(),
            lenient: request.lenient,
            in_job: false,
        }
    }

    /// The beginnings of a record.
    pub fn entry(&self, done: Done) -> Entry {
        Entry::new(done, self.now, &self.id, self.address)
    }
}

/// Performs a request that needs a token.
///
/// A request's state is as large as that of the largest interaction awaited in place, and is moved several times before
/// its first step. So a look alone is awaited in place: it is most of what is asked, and costs the least itself.
///
/// Errors: the refusal of the whole; nothing was changed.
pub async fn perform(
    gateway: &Gateway,
    caller: &Caller,
    interaction: &Interaction,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    if aside.preconditions.if_none_exist.is_some() && !matches!(interaction, Interaction::Create(..)) {
        return Err(Refusal::new(Reason::PreconditionInvalid, "If-None-Exist is a create's."));
    }
    if let Interaction::AsyncStatus(_) | Interaction::AsyncFile(..) | Interaction::AsyncCancel(_) =
        interaction
    {
        return asynchronous::answer(gateway, caller, interaction, aside).await;
    }
    if aside.respond_async
        && caller.actor.is_some()
        && let Some(asked) = asynchronous::Asked::of(interaction)
    {
        return asynchronous::start(gateway, caller, interaction, asked, aside).await;
    }
    // Each entry of a Bundle is decided on its own.
    if let Interaction::Bundle(doc) = interaction {
        return Box::pin(transaction::entries(gateway, caller, doc, aside)).await;
    }
    let permit = gateway.permit(caller, interaction, aside.now)?;
    match interaction {
        Interaction::Read(kind, _) if *kind == kinds().audit_event && aside.shape != Shape::Whole => {
            Err(Refusal::new(Reason::ParameterUnknown, "The log is read whole.").at("_summary"))
        }
        Interaction::Read(kind, id) if *kind == kinds().audit_event => {
            Box::pin(audit_event::read(gateway, &permit, id, aside)).await
        }
        Interaction::Search(kind, parameters) if *kind == kinds().audit_event => {
            Box::pin(audit_event::search(gateway, &permit, parameters, aside)).await
        }
        Interaction::Read(..)
        | Interaction::Vread(..)
        | Interaction::History(..)
        | Interaction::HistoryType(..)
        | Interaction::HistorySystem(_)
        | Interaction::Search(..)
        | Interaction::SearchSystem(_)
        | Interaction::SearchCompartment(..)
        | Interaction::Everything(..)
        | Interaction::LastN(_)
        | Interaction::Match(_)
        | Interaction::Validate(..)
        | Interaction::Meta(..)
        | Interaction::MetaOf(_)
        | Interaction::Outcome(_) => look(gateway, &permit, interaction, aside).await,
        Interaction::Create(..)
        | Interaction::Update(..)
        | Interaction::UpdateWhere(..)
        | Interaction::Patch(..)
        | Interaction::PatchWhere(..)
        | Interaction::MetaChange(..)
        | Interaction::Delete(..)
        | Interaction::DeleteWhere(..) => {
            Box::pin(change(gateway, caller, &permit, interaction, aside)).await
        }
        Interaction::Ingest(document) => {
            Box::pin(ingest::ingest(gateway, &permit, document, interaction, aside)).await
        }
        Interaction::Quarantine(parameters) => {
            Box::pin(ingest::waiting(gateway, &permit, parameters, interaction, aside)).await
        }
        Interaction::Replay(parameters) => {
            Box::pin(ingest::replay(gateway, caller, &permit, parameters, interaction, aside)).await
        }
        Interaction::Discard(parameters) => {
            Box::pin(ingest::discard(gateway, &permit, parameters, interaction, aside)).await
        }
        Interaction::Unmapped(_) | Interaction::UnmappedFile(_) => {
            Box::pin(ingest::unmapped(gateway, &permit, interaction, aside)).await
        }
        Interaction::Shadow(parameters) => {
            Box::pin(ingest::shadow(gateway, &permit, parameters, interaction, aside)).await
        }
        Interaction::Trace(kind, id) => {
            Box::pin(ingest::trace(gateway, &permit, *kind, id, interaction, aside)).await
        }
        Interaction::Transform(doc) => {
            Box::pin(transform::transform(gateway, &permit, doc, interaction, aside)).await
        }
        Interaction::ExportStart(..)
        | Interaction::ExportStatus(_)
        | Interaction::ExportFile(..)
        | Interaction::ExportCancel(_) => {
            Box::pin(export::export(gateway, &permit, interaction, aside)).await
        }
        Interaction::Bundle(_)
        | Interaction::AsyncStatus(_)
        | Interaction::AsyncFile(..)
        | Interaction::AsyncCancel(_)
        | Interaction::Capabilities
        | Interaction::Versions
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
    let outcome = seen(gateway, permit, interaction, aside)?;
    if permit.actor().is_some() {
        let record = record(aside, permit, interaction, &outcome.facts);
        append(gateway, permit, record).await?;
    }
    Ok(outcome.answer)
}

/// What a read gives, in one snapshot. The caller keeps its record before the answer leaves.
pub(super) fn seen(
    gateway: &Gateway,
    permit: &Permit,
    interaction: &Interaction,
    aside: &Aside,
) -> Result<Outcome, Refusal> {
    let scene = Scene { lenient: aside.lenient, ..gateway.scene(permit, aside.now) };
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
        _ => blocking(read),
    }
    .map_err(write::refusal)?;
    outcome.ok_or_else(|| Refusal::new(Reason::Internal, "").because("a read gave nothing"))
}

/// Runs what may take a while, letting the runtime's other tasks move to another thread meanwhile.
pub(super) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    let threads = tokio::runtime::Handle::try_current()
        .is_ok_and(|handle| handle.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread);
    if threads { tokio::task::block_in_place(work) } else { work() }
}

/// A read interaction with its search parsed.
pub(super) enum Prepared<'i> {
    Read(ResourceType, &'i ResourceId),
    Vread(ResourceType, &'i ResourceId, Option<u32>),
    History(history::Prepared<'i>),
    Search(search::Prepared),
    Several(several::Prepared),
    Everything(everything::Prepared<'i>),
    LastN(lastn::Prepared),
    Match(patient_match::Prepared),
    Validate(validate::Prepared<'i>),
    Meta(ResourceType, &'i ResourceId),
    MetaOf(Vec<ResourceType>),
    Outcome(idempotency::Prepared),
}

impl<'i> Prepared<'i> {
    pub(super) fn of(
        scene: &Scene<'_>,
        permit: &Permit,
        interaction: &'i Interaction,
    ) -> Result<Prepared<'i>, Refusal> {
        Ok(match interaction {
            Interaction::Read(kind, id) => Prepared::Read(*kind, id),
            Interaction::Vread(kind, id, version) => Prepared::Vread(*kind, id, *version),
            Interaction::History(kind, id, parameters) => {
                Prepared::History(history::prepare(scene, Scope::Instance(*kind, id), parameters)?)
            }
            Interaction::HistoryType(kind, parameters) => {
                Prepared::History(history::prepare(scene, Scope::Type(*kind), parameters)?)
            }
            Interaction::HistorySystem(parameters) => {
                Prepared::History(history::prepare(scene, Scope::System, parameters)?)
            }
            Interaction::Search(kind, parameters) => {
                obligation::check_search(permit, parameters)?;
                Prepared::Search(search::prepare(scene, *kind, None, parameters)?)
            }
            Interaction::SearchCompartment(owner, id, Some(kind), parameters) => {
                obligation::check_search(permit, parameters)?;
                obligation::check_within(permit, *kind)?;
                Prepared::Search(search::prepare(scene, *kind, Some((*owner, id)), parameters)?)
            }
            Interaction::SearchCompartment(owner, id, None, parameters) => {
                obligation::check_search(permit, parameters)?;
                Prepared::Several(several::prepare(scene, permit, Some((*owner, id)), parameters)?)
            }
            Interaction::SearchSystem(parameters) => {
                obligation::check_search(permit, parameters)?;
                Prepared::Several(several::prepare(scene, permit, None, parameters)?)
            }
            Interaction::Everything(id, parameters) => {
                Prepared::Everything(everything::prepare(scene, permit, id.as_ref(), parameters)?)
            }
            Interaction::LastN(parameters) => Prepared::LastN(lastn::prepare(scene, parameters)?),
            Interaction::Match(doc) => Prepared::Match(patient_match::prepare(scene, doc)?),
            Interaction::Validate(kind, id, asked) => {
                Prepared::Validate(validate::prepare(*kind, id.as_ref(), asked)?)
            }
            Interaction::Meta(kind, id) => Prepared::Meta(*kind, id),
            Interaction::MetaOf(kind) => {
                Prepared::MetaOf(several::searched(scene, permit, None, kind.map(|kind| vec![kind]))?)
            }
            Interaction::Outcome(parameters) => {
                let owner = permit.filter().organisation;
                Prepared::Outcome(idempotency::prepare(scene, parameters, scene.in_work, owner)?)
            }
            _ => return Err(Refusal::new(Reason::BusinessRule, "This interaction cannot stand here.")),
        })
    }

    pub(super) fn run(
        &self,
        reader: &mut dyn Reader,
        permit: &Permit,
        scene: &Scene<'_>,
        aside: &Aside,
    ) -> Result<Outcome, StoreError> {
        match self {
            Prepared::Read(kind, id) => read::read(reader, permit, *kind, id, aside),
            Prepared::Vread(kind, id, version) => read::vread(reader, permit, *kind, id, *version, aside),
            Prepared::History(prepared) => prepared.run(reader, permit, scene, aside.format),
            Prepared::Search(prepared) => prepared.run(reader, permit, scene, aside.format),
            Prepared::Several(prepared) => prepared.run(reader, permit, scene, aside.format),
            Prepared::Everything(prepared) => prepared.run(reader, permit, scene, aside.format),
            Prepared::LastN(prepared) => prepared.run(reader, permit, scene, aside.format),
            Prepared::Match(prepared) => prepared.run(reader, permit, scene, aside.format),
            Prepared::Validate(prepared) => prepared.run(reader, permit, aside.format),
            Prepared::Outcome(prepared) => prepared.run(reader, permit, scene, aside),
            Prepared::Meta(kind, id) => meta::read(reader, permit, *kind, id, aside.format),
            Prepared::MetaOf(kinds) => meta::of(reader, kinds, aside.format),
        }
    }
}

async fn change(
    gateway: &Gateway,
    caller: &Caller,
    permit: &Permit,
    interaction: &Interaction,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let change = Change::of(gateway, caller, permit, interaction, None, aside)?;
    let (desk, gateway_there, aside_there) =
        (gateway.desk(permit, aside.now), gateway.clone(), aside.clone());
    let interaction = interaction.clone();
    let key = Key::of(permit, &interaction, aside, &gateway.parts().limits)?;
    // Until the answer is there, the same key is refused rather than made to wait.
    let (store, in_work) = (&*gateway.parts().store, &gateway.parts().in_work);
    let _held = key.as_ref().map(|key| key.hold(in_work)).transpose()?;
    if let Some(key) = &key {
        key.claim(store, permit, in_work).await?;
    }
    let claimed = key.clone();
    let done = commit(store, permit, move |writer| {
        let scene = gateway_there.scene(&desk.permit, aside_there.now);
        if let Some(key) = &key
            && let Some(outcome) = key.earlier(writer, &aside_there, &desk.base)?
        {
            writer.append_audit(&record(&aside_there, &desk.permit, &interaction, &outcome.facts))?;
            return Ok(outcome.answer);
        }
        let change = change.settle(writer)?;
        let outcome = change.run(writer, &desk, &scene, &aside_there, &Links::none())?;
        if desk.permit.actor().is_some() {
            writer.append_audit(&record(&aside_there, &desk.permit, &interaction, &outcome.facts))?;
        }
        if let Some(key) = &key {
            key.keep(writer, &outcome.answer, &outcome.facts.resources)?;
        }
        Ok(outcome.answer)
    })
    .await;
    if let (Some(key), Err(_)) = (&claimed, &done) {
        key.release(store, permit, in_work).await;
    }
    done
}

/// The record of an interaction under a permit.
pub fn record(aside: &Aside, permit: &Permit, interaction: &Interaction, facts: &Facts) -> AuditRecord {
    done(aside, permit, interaction, facts).record(permit.filter().organisation)
}

/// What the record of an interaction under a permit says.
pub(super) fn done(aside: &Aside, permit: &Permit, interaction: &Interaction, facts: &Facts) -> Entry {
    let mut entry = entry(aside, interaction).under(permit);
    entry.patients = facts.patients.iter().map(|patient| patient.0).collect();
    entry.consents = facts.consents.iter().map(|consent| consent.to_string()).collect();
    entry.categories = facts.categories;
    entry.count = Some(facts.resources.len() as u64);
    if facts.claim_ignored {
        entry.notes.push("claim-ignored".to_owned());
    }
    let changes = matches!(
        interaction,
        Interaction::Create(..)
            | Interaction::Update(..)
            | Interaction::UpdateWhere(..)
            | Interaction::Patch(..)
            | Interaction::PatchWhere(..)
            | Interaction::MetaChange(..)
            | Interaction::Delete(..)
            | Interaction::DeleteWhere(..)
    );
    if let ([one], true) = (facts.resources.as_slice(), changes) {
        entry.resource = Some(one.clone());
    }
    entry
}

/// What an interaction is called in the log, and what it is about.
pub fn entry(aside: &Aside, interaction: &Interaction) -> Entry {
    let kind_only = |done, kind: &ResourceType| aside.entry(done).about(*kind, None, None);
    match interaction {
        Interaction::Read(kind, id) => aside.entry(Done::Read).about(*kind, Some(id), None),
        Interaction::Trace(kind, id) => aside.entry(Done::Trace).about(*kind, Some(id), None),
        Interaction::Vread(kind, id, version) => aside.entry(Done::Vread).about(*kind, Some(id), *version),
        Interaction::History(kind, id, parameters) => {
            aside.entry(Done::HistoryInstance).about(*kind, Some(id), None).asking(&parameters.raw)
        }
        Interaction::HistoryType(kind, parameters) => {
            kind_only(Done::HistoryType, kind).asking(&parameters.raw)
        }
        Interaction::HistorySystem(parameters) => aside.entry(Done::HistorySystem).asking(&parameters.raw),
        Interaction::Search(kind, parameters) => kind_only(Done::SearchType, kind).asking(&parameters.raw),
        Interaction::SearchSystem(parameters) => aside.entry(Done::SearchSystem).asking(&parameters.raw),
        Interaction::Everything(id, parameters) => {
            let asked = format!("{}?{}", everything::address(id.as_ref()), parameters.raw);
            aside.entry(Done::SearchSystem).about(kinds().patient, id.as_ref(), None).asking(&asked)
        }
        Interaction::LastN(parameters) => {
            let asked = format!("Observation/$lastn?{}", parameters.raw);
            kind_only(Done::SearchType, &known_kind("Observation")).asking(&asked)
        }
        // The key is the client's, and may hold anything.
        Interaction::Outcome(_) => aside.entry(Done::Operation).asking("$outcome"),
        Interaction::Validate(kind, id, asked) => {
            let mode = asked.mode.as_deref().unwrap_or("none");
            let said = format!("$validate?mode={mode}");
            aside.entry(Done::Operation).about(*kind, id.as_ref(), None).asking(&said)
        }
        // Which map, not what was sent.
        Interaction::Transform(_) => {
            kind_only(Done::Operation, &known_kind("StructureMap")).asking("StructureMap/$transform")
        }
        Interaction::Meta(kind, id) => aside.entry(Done::Read).about(*kind, Some(id), None),
        Interaction::MetaOf(None) => aside.entry(Done::SearchSystem).asking("$meta"),
        Interaction::MetaOf(Some(kind)) => {
            let asked = format!("{}/$meta", definitions::r4().type_name(*kind));
            kind_only(Done::SearchType, kind).asking(&asked)
        }
        Interaction::MetaChange(kind, id, ..) => aside.entry(Done::Update).about(*kind, Some(id), None),
        // By whom was asked for: a BSN, which the log keeps as the patient found.
        Interaction::Match(_) => kind_only(Done::SearchType, &kinds().patient).asking("Patient/$match"),
        // Whose compartment is part of what was asked.
        Interaction::SearchCompartment(owner, id, kind, parameters) => {
            let within = format!("{}/{id}/*?{}", definitions::r4().type_name(*owner), parameters.raw);
            match kind {
                Some(kind) => kind_only(Done::SearchType, kind).asking(&within),
                None => aside.entry(Done::SearchSystem).asking(&within),
            }
        }
        Interaction::Create(kind, _) => {
            let criteria = aside.preconditions.if_none_exist.as_ref().map_or("", |asked| &asked.raw);
            kind_only(Done::Create, kind).asking(criteria)
        }
        Interaction::UpdateWhere(kind, parameters, _) => {
            kind_only(Done::Update, kind).asking(&parameters.raw)
        }
        Interaction::Patch(kind, id, _) => aside.entry(Done::Patch).about(*kind, Some(id), None),
        Interaction::PatchWhere(kind, parameters, _) => kind_only(Done::Patch, kind).asking(&parameters.raw),
        Interaction::DeleteWhere(kind, parameters) => kind_only(Done::Delete, kind).asking(&parameters.raw),
        Interaction::Update(kind, id, _) => aside.entry(Done::Update).about(*kind, Some(id), None),
        Interaction::Delete(kind, id) => aside.entry(Done::Delete).about(*kind, Some(id), None),
        Interaction::Bundle(_) => aside.entry(Done::Transaction),
        Interaction::Ingest(_) => aside.entry(Done::Ingest),
        Interaction::Shadow(_) => aside.entry(Done::Quarantine).asking("$shadow"),
        Interaction::UnmappedFile(file) => aside.entry(Done::Quarantine).asking(&format!("$unmapped/{file}")),
        Interaction::Quarantine(parameters)
        | Interaction::Replay(parameters)
        | Interaction::Discard(parameters)
        | Interaction::Unmapped(parameters) => aside.entry(Done::Quarantine).asking(&parameters.raw),
        Interaction::ExportStart(id, parameters) => {
            aside.entry(Done::Export).about(kinds().group, Some(id), None).asking(&parameters.raw)
        }
        Interaction::ExportStatus(_) | Interaction::ExportFile(..) | Interaction::ExportCancel(_) => {
            aside.entry(Done::Export)
        }
        Interaction::AsyncStatus(_) | Interaction::AsyncFile(..) | Interaction::AsyncCancel(_) => {
            aside.entry(Done::Operation)
        }
        Interaction::Token(_) => aside.entry(Done::Token),
        Interaction::Capabilities
        | Interaction::Versions
        | Interaction::SmartConfiguration
        | Interaction::Jwks
        | Interaction::Health { .. }
        | Interaction::Metrics => aside.entry(Done::System),
    }
}

/// Appends a record and waits until it is durable: no log, no data.
pub async fn append(gateway: &Gateway, permit: &Permit, record: AuditRecord) -> Result<(), Refusal> {
    gateway.parts().store.append(permit, record).await.map_err(write::refusal)
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
        let Needs::One(need) = Need::of(interaction) else {
            return Err(Refusal::new(Reason::BusinessRule, "This interaction cannot stand here."));
        };
        if matches!(interaction, Interaction::Outcome(_)) {
            let each = definitions::r4().resource_types();
            let needs = each.flat_map(|kind| {
                [Action::Create, Action::Update, Action::Delete].map(|action| Need::new(action, kind))
            });
            if let Some(permit) = needs.filter_map(|need| self.leave(caller, &need, now).ok()).next() {
                return Ok(permit);
            }
        }
        if need.action == Action::Search && need.kind.is_none() {
            if let Interaction::SearchSystem(parameters) = interaction {
                // Each type that is named needs leave of its own.
                for kind in several::named(parameters)?.unwrap_or_default() {
                    self.leave(caller, &Need::new(Action::Search, kind), now)?;
                }
            }
            // Leave to search some type is leave to ask; the query keeps to the types the scopes name.
            let each = definitions::r4().resource_types();
            let some = each.map(|kind| Need::new(Action::Search, kind));
            if let Some(permit) = some.filter_map(|need| self.leave(caller, &need, now).ok()).next() {
                return Ok(permit);
            }
        }
        self.leave(caller, &need, now)
    }

    /// Leave for one thing needed.
    ///
    /// Errors: `Forbidden`, from the request alone.
    pub fn leave(&self, caller: &Caller, need: &Need, now: Timestamp) -> Result<Permit, Refusal> {
        let parts = self.parts();
        let (Some(actor), Some(parties)) = (&caller.actor, &caller.parties) else {
            #[cfg(feature = "unguarded")]
            return Ok(decision::system(&parts.policy, now, "benchmark-without-security"));
            #[cfg(not(feature = "unguarded"))]
            return Err(Refusal::new(Reason::Internal, "").because("a request without a caller"));
        };
        let context = decision::Context { policy: &parts.policy, organisations: &parts.organisations, now };
        decision::decide(&context, actor, need, parties)
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
            in_work: &parts.in_work,
            clock: &*parts.clock,
            search_limits: &parts.search_limits,
            count_max: parts.search_limits.count_max,
            lastn_max: u32::try_from(parts.limits.lastn_max).unwrap_or(u32::MAX),
            library: &parts.library,
            indexing: &parts.indexing,
            lenient: false,
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
