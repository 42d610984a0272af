//! A change, checked before it takes the writer's time, then settled (which resource is meant) and made, both inside the
//! writer's transaction.

use std::sync::Arc;

use http::{StatusCode, header};
use sluis_conformance::json::Doc;

use super::criteria::Criteria;
use super::perform::{Aside, Caller};
use super::reference::Links;
use super::write::{self, Desk, Draft};
use super::{Facts, Outcome, Scene, create, delete, found_body, meta, obligation, patch, shape, update};
use crate::connection::request::{Interaction, Preconditions, ReturnPreference};
use crate::decision::{Action, Need, Permit};
use crate::gateway::Gateway;
use crate::ids::{ResourceId, ResourceType};
use crate::response::Answer;
use crate::response::refusal::{Reason, Refusal};
use crate::store::{StoreError, Stored, Writer};

/// A change. The forms with criteria become one of the others when they are settled.
#[derive(Debug)]
pub enum Change {
    /// create; with criteria only if nothing matches them.
    Create(Draft, Option<Criteria>),
    /// A conditional create that found its resource there: nothing is done.
    Found(Box<Stored>),
    /// update
    Update(Draft, Guard),
    /// conditional update; the draft's id is the body's.
    UpdateWhere(Draft, Criteria, Guard, Option<ResourceId>),
    /// patch
    Patch(ResourceType, ResourceId, patch::Checked, Guard),
    /// conditional patch
    PatchWhere(ResourceType, Criteria, patch::Checked, Guard),
    /// $meta-add, $meta-delete
    Meta(ResourceType, ResourceId, meta::Wanted, Guard),
    /// delete
    Delete(ResourceType, ResourceId, Guard),
    /// conditional delete
    DeleteWhere(ResourceType, Criteria, Guard),
    /// A conditional delete that found nothing: done already.
    Nothing,
}

/// What must hold of the version that is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Guard {
    /// `If-Match`: it is this one.
    pub if_match: Option<u32>,
    /// `If-None-Match: *`: there is none (RFC 9110 section 13.1.2).
    pub must_be_new: bool,
}

impl Guard {
    fn of(preconditions: &Preconditions) -> Guard {
        let must_be_new = preconditions.if_none_match == Some(None);
        Guard { if_match: preconditions.if_match, must_be_new }
    }
}

impl Change {
    /// Checks what can be checked without stored data. `new_id`: for what it may make.
    ///
    /// Errors: `Invalid` with every issue, `Forbidden` for criteria or a patch the caller may not ask with.
    pub fn of(
        gateway: &Gateway,
        caller: &Caller,
        permit: &Permit,
        interaction: &Interaction,
        new_id: Option<ResourceId>,
        aside: &Aside,
    ) -> Result<Change, Refusal> {
        let guard = Guard::of(&aside.preconditions);
        let draft = |kind: ResourceType, id: Option<ResourceId>, doc: &Arc<Doc>| {
            if shape::is_part(doc) {
                let text =
                    "It is a part of a resource (tagged SUBSETTED); read the whole one, and change that.";
                return Err(Refusal::new(Reason::BusinessRule, text).at("meta.tag"));
            }
            write::check(doc)?;
            Ok::<_, Refusal>(Draft { kind, id, doc: Arc::clone(doc) })
        };
        let criteria = |kind, parameters| Criteria::of(gateway, caller, kind, parameters, aside.now);
        let bounds = patch::Bounds::from(&*gateway.parts().limits);
        // A patch's answer and its tests tell what is stored: it needs leave to read, and to read it whole.
        let readable = |kind: ResourceType| {
            gateway.leave(caller, &Need::new(Action::Read, kind), aside.now)?;
            obligation::whole(permit, kind)
        };
        Ok(match interaction {
            Interaction::Create(kind, doc) => {
                let condition = aside.preconditions.if_none_exist.as_ref();
                let condition = condition.map(|parameters| criteria(*kind, parameters)).transpose()?;
                Change::Create(draft(*kind, new_id, doc)?, condition)
            }
            Interaction::Update(kind, id, doc) => Change::Update(draft(*kind, Some(id.clone()), doc)?, guard),
            Interaction::UpdateWhere(kind, parameters, doc) => {
                let named = match doc.root().get("id").and_then(|node| node.as_str()) {
                    None => None,
                    Some(text) => Some(ResourceId::parse(&text).ok_or_else(|| {
                        Refusal::new(Reason::Malformed, "The id of the body is no id.").at("id")
                    })?),
                };
                let criteria = criteria(*kind, parameters)?;
                Change::UpdateWhere(draft(*kind, named, doc)?, criteria, guard, new_id)
            }
            Interaction::Patch(kind, id, how) => {
                readable(*kind)?;
                Change::Patch(*kind, id.clone(), patch::check(how, bounds)?, guard)
            }
            Interaction::PatchWhere(kind, parameters, how) => {
                readable(*kind)?;
                let how = patch::check(how, bounds)?;
                Change::PatchWhere(*kind, criteria(*kind, parameters)?, how, guard)
            }
            Interaction::MetaChange(kind, id, adds, doc) => {
                readable(*kind)?;
                Change::Meta(*kind, id.clone(), meta::wanted(doc, *adds)?, guard)
            }
            Interaction::Delete(kind, id) => Change::Delete(*kind, id.clone(), guard),
            Interaction::DeleteWhere(kind, parameters) => {
                Change::DeleteWhere(*kind, criteria(*kind, parameters)?, guard)
            }
            _ => return Err(Refusal::new(Reason::BusinessRule, "This interaction cannot stand here.")),
        })
    }

    /// Finds which resource is meant.
    ///
    /// Errors: `SeveralMatch`; `NotFound` for a patch that finds nothing; `VersionConflict` for an `If-Match` on nothing;
    /// `Malformed` for a body whose id is not that of the match (FHIR R4 http.html#cond-update).
    pub fn settle(self, writer: &mut dyn Writer) -> Result<Change, StoreError> {
        Ok(match self {
            Change::Create(draft, Some(criteria)) => match criteria.find(writer)? {
                Some(found) => Change::Found(Box::new(found)),
                None => Change::Create(draft, Some(criteria)),
            },
            Change::UpdateWhere(draft, criteria, guard, new_id) => {
                match (criteria.find(writer)?, &draft.id) {
                    (Some(found), Some(named)) if found.id != *named => {
                        let text = "The id of the body is not that of the resource the criteria match.";
                        return Err(refused(Refusal::new(Reason::Malformed, text).at("id")));
                    }
                    (Some(found), _) => Change::Update(Draft { id: Some(found.id), ..draft }, guard),
                    (None, _) if guard.if_match.is_some() => return Err(nothing_to_match()),
                    (None, Some(_)) => Change::Update(draft, guard),
                    (None, None) => Change::Create(Draft { id: new_id, ..draft }, Some(criteria)),
                }
            }
            Change::PatchWhere(kind, criteria, how, guard) => match criteria.find(writer)? {
                Some(found) => Change::Patch(kind, found.id, how, guard),
                None => return Err(refused(Refusal::not_found())),
            },
            Change::DeleteWhere(kind, criteria, guard) => match criteria.find(writer)? {
                Some(found) => Change::Delete(kind, found.id, guard),
                None if guard.if_match.is_some() => return Err(nothing_to_match()),
                None => Change::Nothing,
            },
            settled => settled,
        })
    }

    /// What it changes or makes, once settled.
    pub fn target(&self) -> Option<(ResourceType, &ResourceId)> {
        match self {
            Change::Create(draft, _) | Change::Update(draft, _) => {
                draft.id.as_ref().map(|id| (draft.kind, id))
            }
            Change::Patch(kind, id, ..) | Change::Meta(kind, id, ..) | Change::Delete(kind, id, _) => {
                Some((*kind, id))
            }
            _ => None,
        }
    }

    /// The draft it stores.
    pub fn draft(&self) -> Option<&Draft> {
        match self {
            Change::Create(draft, _) | Change::Update(draft, _) | Change::UpdateWhere(draft, ..) => {
                Some(draft)
            }
            _ => None,
        }
    }

    /// Makes a settled change.
    ///
    /// Errors: those of the interaction; `Conflict` for a conditional create or update whose resource another entry of
    /// the same transaction has made meanwhile.
    pub fn run(
        &self,
        writer: &mut dyn Writer,
        desk: &Desk,
        scene: &Scene<'_>,
        aside: &Aside,
        links: &Links<'_>,
    ) -> Result<Outcome, StoreError> {
        match self {
            Change::Create(draft, condition) => {
                if let Some(criteria) = condition
                    && criteria.find(writer)?.is_some()
                {
                    let text = "Another entry of this transaction makes what the condition looks for.";
                    return Err(refused(Refusal::new(Reason::Conflict, text)));
                }
                let written = create::create(writer, desk, draft, links)?;
                Ok(create::answer(&written, scene, aside.prefer, aside.format))
            }
            Change::Found(stored) => Ok(found(stored, scene, aside)),
            Change::Update(draft, guard) => {
                let written = update::update(writer, desk, draft, *guard, links)?;
                Ok(create::answer(&written, scene, aside.prefer, aside.format))
            }
            Change::Patch(kind, id, how, guard) => {
                let written = patch::patch(writer, desk, *kind, id, how, *guard, links)?;
                Ok(create::answer(&written, scene, aside.prefer, aside.format))
            }
            Change::Meta(kind, id, wanted, guard) => {
                meta::change(writer, desk, (*kind, id), wanted, *guard, aside)
            }
            Change::Delete(kind, id, guard) => {
                Ok(delete::answer(&delete::delete(writer, desk, *kind, id, guard.if_match)?))
            }
            Change::Nothing => {
                Ok(Outcome { answer: Answer::empty(StatusCode::NO_CONTENT), facts: Facts::default() })
            }
            Change::UpdateWhere(..) | Change::PatchWhere(..) | Change::DeleteWhere(..) => {
                Err(refused(Refusal::new(Reason::Internal, "").because("a change ran before it was settled")))
            }
        }
    }
}

/// The answer of a conditional create whose resource is there (FHIR R4 http.html#ccreate: 200).
fn found(stored: &Stored, scene: &Scene<'_>, aside: &Aside) -> Outcome {
    let answer = match aside.prefer {
        ReturnPreference::Representation => {
            Answer::fhir(StatusCode::OK, found_body(stored.body.clone(), aside.format))
        }
        ReturnPreference::Minimal => Answer::empty(StatusCode::OK),
        ReturnPreference::OperationOutcome => create::said(
            StatusCode::OK,
            "What the condition looks for is there; nothing was done.".to_owned(),
        ),
    };
    let name = scene.type_name(stored.kind);
    let location = format!("{}/{name}/{}/_history/{}", scene.base, stored.id, stored.version);
    Outcome {
        answer: answer.versioned(stored.version, stored.updated).with(header::LOCATION, &location),
        facts: Facts::of(std::slice::from_ref(stored)),
    }
}

fn nothing_to_match() -> StoreError {
    refused(Refusal::new(Reason::VersionConflict, "Nothing matches the criteria."))
}

fn refused(refusal: Refusal) -> StoreError {
    StoreError::Refused(Box::new(refusal))
}
