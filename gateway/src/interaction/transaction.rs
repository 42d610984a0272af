//! The entries of a batch, each performed alone, and of a transaction, all in one transaction of the store
//! (FHIR R4 http.html#transaction).
//!
//! Each entry has its own permit, conditions and record. A transaction deletes first, then finds out which resources its
//! entries mean, so that `fullUrl`s lead somewhere and no resource is meant twice, then stores, then reads.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sluis_conformance::definitions;
use sluis_conformance::json::Doc;

use super::bundle::{self, Mode};
use super::change::Change;
use super::criteria::Criteria;
use super::idempotency::Key;
use super::perform::{Aside, Caller, Prepared, perform, record};
use super::reference::{self, Links};
use super::write::commit;
use super::{Outcome, Scene, found_body};
use crate::clock::Timestamp;
use crate::connection::request::Interaction;
use crate::connection::route;
use crate::decision::Permit;
use crate::gateway::Gateway;
use crate::response::Answer;
use crate::response::bundle::{BundleWriter, ResponseEntry};
use crate::response::refusal::{Reason, Refusal};
use crate::store::{StoreError, Writer};

/// A batch or transaction (FHIR R4 http.html#transaction).
pub async fn entries(
    gateway: &Gateway,
    caller: &Caller,
    doc: &Arc<Doc>,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let parsed = parsed(gateway, doc, aside)?;
    match parsed.mode {
        Mode::Batch => batch(gateway, caller, parsed, aside).await,
        Mode::Transaction => transaction(gateway, caller, doc, parsed, aside).await,
    }
}

/// A Bundle taken apart.
///
/// Errors: `Invalid`, `TooCostly`; `ParameterInvalid` for a batch with a key.
pub(super) fn parsed(gateway: &Gateway, doc: &Doc, aside: &Aside) -> Result<bundle::Parsed, Refusal> {
    let clock = &gateway.parts().clock;
    let entries_max = gateway.parts().limits.bundle_entries_max;
    let parsed = bundle::parse(doc, entries_max, &mut || clock.uuid().into())?;
    if parsed.mode == Mode::Batch && aside.idempotency_key.is_some() {
        let text = "The entries of a batch are done one by one; a key is of one write or of a transaction.";
        return Err(Refusal::new(Reason::ParameterInvalid, text).at("Idempotency-Key"));
    }
    Ok(parsed)
}

async fn batch(
    gateway: &Gateway,
    caller: &Caller,
    parsed: bundle::Parsed,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let mut results = Vec::with_capacity(parsed.entries.len());
    for slot in parsed.entries {
        results.push(one(gateway, caller, slot, aside, None).await?);
    }
    Ok(respond(gateway, "batch-response", &results, aside))
}

/// Performs an entry of a batch like a request of its own; what changes something is done once under `key`.
///
/// Errors: the store or its disk failing is a failure of the whole, not of an entry.
pub(super) async fn one(
    gateway: &Gateway,
    caller: &Caller,
    slot: Result<bundle::Entry, Refusal>,
    aside: &Aside,
    key: Option<&str>,
) -> Result<Result<Answer, Refusal>, Refusal> {
    let result = match slot {
        Err(refusal) => Err(refusal),
        Ok(entry) => {
            let mut inside = aside.clone();
            inside.preconditions = entry.preconditions;
            inside.shape = entry.shape;
            inside.idempotency_key = key.map(Into::into);
            inside.respond_async = false;
            // An entry is never a Bundle, so this ends.
            match Box::pin(perform(gateway, caller, &entry.interaction, &inside)).await {
                Ok(answer) => Ok(answer),
                Err(refusal) => {
                    gateway.record_refusal(caller, &entry.interaction, &inside, &refusal).await?;
                    Err(refusal)
                }
            }
        }
    };
    match result {
        Err(refusal) if refusal.reason == Reason::StoreUnavailable => Err(refusal),
        result => Ok(result),
    }
}

/// One entry of a transaction, ready for the writer.
struct Step {
    place: String,
    full_url: Option<String>,
    permit: Permit,
    interaction: Interaction,
    aside: Aside,
    /// `None`: it only looks.
    change: Option<Change>,
}

pub(super) async fn transaction(
    gateway: &Gateway,
    caller: &Caller,
    doc: &Arc<Doc>,
    parsed: bundle::Parsed,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let order = parsed.order();
    let mut steps = Vec::with_capacity(parsed.entries.len());
    for slot in parsed.entries {
        let entry = slot?;
        let place = format!("Bundle.entry[{}]", entry.at);
        let step = Step::of(gateway, caller, entry, aside).map_err(|refusal| located(refusal, &place))?;
        steps.push(step);
    }
    // Old versions are looked for as a change looks for them; a bundle of reads alone, as its first one does.
    let changing = steps.iter().find(|step| step.change.is_some());
    let Some(permit) = changing.or(steps.first()).map(|step| step.permit.clone()) else {
        return Ok(respond(gateway, "transaction-response", &[], aside));
    };
    let whole = Interaction::Bundle(Arc::clone(doc));
    let key = Key::of(&permit, &whole, aside, &gateway.parts().limits)?;
    let (store, in_work) = (&*gateway.parts().store, &gateway.parts().in_work);
    let _held = key.as_ref().map(|key| key.hold(in_work)).transpose()?;
    if let Some(key) = &key {
        key.claim(store, &permit, in_work).await?;
    }
    let claimed = key.clone();
    let (there, caller, aside, under) = (gateway.clone(), caller.clone(), aside.clone(), permit.clone());
    let done = commit(store, &permit, move |writer| {
        if let Some(key) = &key
            && let Some(outcome) = key.earlier(writer, &aside, &there.parts().base)?
        {
            writer.append_audit(&record(&aside, &under, &whole, &outcome.facts))?;
            return Ok(outcome.answer);
        }
        let answers = steps.iter().map(|_| None).collect();
        let course = Course {
            gateway: &there,
            caller: &caller,
            steps,
            made: HashMap::new(),
            versions: HashMap::new(),
            answers,
            touched: Vec::new(),
        };
        let (answers, touched) = course.run(writer, &order)?;
        let results: Vec<_> = answers.into_iter().flatten().map(Ok).collect();
        let answer = respond(&there, "transaction-response", &results, &aside);
        if let Some(key) = &key {
            key.keep(writer, &answer, &touched)?;
        }
        Ok(answer)
    })
    .await;
    if let (Some(key), Err(_)) = (&claimed, &done) {
        key.release(store, &permit, in_work).await;
    }
    done
}

impl Step {
    fn of(gateway: &Gateway, caller: &Caller, entry: bundle::Entry, aside: &Aside) -> Result<Step, Refusal> {
        let aside = Aside { preconditions: entry.preconditions, shape: entry.shape, ..aside.clone() };
        let permit = gateway.permit(caller, &entry.interaction, aside.now)?;
        let change = if looks(&entry.interaction) {
            let scene = Scene { lenient: aside.lenient, ..gateway.scene(&permit, aside.now) };
            Prepared::of(&scene, &permit, &entry.interaction)?;
            None
        } else {
            Some(Change::of(gateway, caller, &permit, &entry.interaction, entry.new_id, &aside)?)
        };
        let place = format!("Bundle.entry[{}]", entry.at);
        Ok(Step { place, full_url: entry.full_url, permit, interaction: entry.interaction, aside, change })
    }
}

/// Whether an entry changes nothing.
pub(super) fn looks(interaction: &Interaction) -> bool {
    matches!(
        interaction,
        Interaction::Read(..)
            | Interaction::Vread(..)
            | Interaction::History(..)
            | Interaction::HistoryType(..)
            | Interaction::HistorySystem(_)
            | Interaction::Search(..)
            | Interaction::SearchSystem(_)
            | Interaction::SearchCompartment(..)
    )
}

/// A transaction under way.
struct Course<'c> {
    gateway: &'c Gateway,
    caller: &'c Caller,
    steps: Vec<Step>,
    /// `fullUrl`s and conditional references, and the `Type/id` each leads to.
    made: HashMap<String, String>,
    /// `Type/id` of what the transaction stores, and the version it will have.
    versions: HashMap<String, u32>,
    answers: Vec<Option<Answer>>,
    /// `Type/id/_history/version` of what the entries changed or read.
    touched: Vec<String>,
}

impl Course<'_> {
    /// The steps of FHIR R4 http.html#trules. Errors name the entry; the store undoes everything.
    fn run(
        mut self,
        writer: &mut dyn Writer,
        order: &[usize],
    ) -> Result<(Vec<Option<Answer>>, Vec<String>), StoreError> {
        let deletes =
            |step: &Step| matches!(step.interaction, Interaction::Delete(..) | Interaction::DeleteWhere(..));
        let (first, rest): (Vec<usize>, Vec<usize>) =
            order.iter().copied().partition(|&at| self.steps.get(at).is_some_and(deletes));
        let mut meant = HashSet::new();
        for at in first {
            self.settle(writer, at, &mut meant)?;
            self.perform(writer, at)?;
        }
        let (stores, looks): (Vec<usize>, Vec<usize>) =
            rest.into_iter().partition(|&at| self.steps.get(at).is_some_and(|step| step.change.is_some()));
        for &at in &stores {
            self.settle(writer, at, &mut meant)?;
        }
        // Conditional references are resolved when the rest is there, for they may mean what another entry stores: an
        // entry whose reference finds nothing yet waits for the next round.
        let mut waiting = stores;
        loop {
            let mut later = Vec::new();
            let before = waiting.len();
            for at in waiting {
                if self.find_references(writer, at)? { self.perform(writer, at)? } else { later.push(at) }
            }
            if later.is_empty() || later.len() == before {
                // What still leads nowhere is refused by name when the reference is resolved.
                for at in later {
                    self.perform(writer, at)?;
                }
                break;
            }
            waiting = later;
        }
        for at in looks {
            self.perform(writer, at)?;
        }
        Ok((self.answers, self.touched))
    }

    /// Finds out what an entry means, and what will be known under its `fullUrl`.
    fn settle(
        &mut self,
        writer: &mut dyn Writer,
        at: usize,
        meant: &mut HashSet<String>,
    ) -> Result<(), StoreError> {
        let Some(step) = self.steps.get_mut(at) else { return Ok(()) };
        let Some(change) = step.change.take() else { return Ok(()) };
        let change = change.settle(writer).map_err(|error| in_entry(error, &step.place))?;
        let name = |kind, id: &crate::ids::ResourceId| format!("{}/{id}", definitions::r4().type_name(kind));
        if let Some((kind, id)) = change.target() {
            let target = name(kind, id);
            if !meant.insert(target.clone()) {
                let text = "Two entries of one transaction mean the same resource.";
                let refusal = located(Refusal::new(Reason::Invalid, text), &step.place);
                return Err(StoreError::Refused(Box::new(refusal)));
            }
            if !matches!(change, Change::Delete(..)) {
                let version = match &change {
                    Change::Create(..) => 1,
                    _ => writer.current(kind, id)?.map_or(1, |stored| stored.version + 1),
                };
                self.versions.insert(target.clone(), version);
                self.made.extend(step.full_url.clone().map(|url| (url, target)));
            }
        }
        if let Change::Found(stored) = &change {
            self.made.extend(step.full_url.clone().map(|url| (url, name(stored.kind, &stored.id))));
        }
        step.change = Some(change);
        Ok(())
    }

    /// Resolves the conditional references of an entry; whether all of them lead somewhere.
    ///
    /// Errors: `Forbidden` to search the type, `SeveralMatch`, those of the criteria.
    fn find_references(&mut self, writer: &mut dyn Writer, at: usize) -> Result<bool, StoreError> {
        let Some(step) = self.steps.get(at) else { return Ok(true) };
        let Some(draft) = step.change.as_ref().and_then(Change::draft) else { return Ok(true) };
        let mut all = true;
        for text in reference::conditional(draft.doc.root()) {
            if self.made.contains_key(&text) {
                continue;
            }
            let Some((kind, query)) = reference::criteria(&text) else { continue };
            let found = route::criteria(query)
                .and_then(|asked| Criteria::of(self.gateway, self.caller, kind, &asked, step.aside.now))
                .map_err(|refusal| StoreError::Refused(Box::new(refusal)))
                .and_then(|criteria| criteria.find(writer))
                .map_err(|error| in_entry(error, &step.place))?;
            match found {
                Some(stored) => {
                    let target = format!("{}/{}", definitions::r4().type_name(kind), stored.id);
                    self.made.insert(text, target);
                }
                None => all = false,
            }
        }
        Ok(all)
    }

    fn perform(&mut self, writer: &mut dyn Writer, at: usize) -> Result<(), StoreError> {
        let Some(step) = self.steps.get(at) else { return Ok(()) };
        let Step { place, full_url, permit, interaction, aside, change } = step;
        let scene = Scene { lenient: aside.lenient, ..self.gateway.scene(permit, aside.now) };
        let outcome = match change {
            Some(change) => {
                let links = Links::versioned(&self.made, &self.versions).seen_from(full_url.as_deref());
                change.run(writer, &self.gateway.desk(permit, aside.now), &scene, aside, &links)
            }
            None => Prepared::of(&scene, permit, interaction)
                .map_err(|refusal| StoreError::Refused(Box::new(refusal)))
                .and_then(|prepared| {
                    let mut outcome: Option<Outcome> = None;
                    writer.under(permit, &mut |reader| {
                        outcome = Some(prepared.run(reader, permit, &scene, aside)?);
                        Ok(())
                    })?;
                    outcome.ok_or_else(|| StoreError::Database("a read gave nothing".to_owned()))
                }),
        }
        .map_err(|error| in_entry(error, place))?;
        if permit.actor().is_some() {
            writer.append_audit(&record(aside, permit, interaction, &outcome.facts))?;
        }
        self.touched.extend(outcome.facts.resources);
        if let Some(slot) = self.answers.get_mut(at) {
            *slot = Some(outcome.answer);
        }
        Ok(())
    }
}

fn in_entry(error: StoreError, place: &str) -> StoreError {
    match error {
        StoreError::Refused(refusal) => StoreError::Refused(Box::new(located(*refusal, place))),
        other => other,
    }
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

pub(super) fn respond(
    gateway: &Gateway,
    kind: &str,
    results: &[Result<Answer, Refusal>],
    aside: &Aside,
) -> Answer {
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
    Answer::fhir(http::StatusCode::OK, found_body(bundle.finish().into(), aside.format))
}
