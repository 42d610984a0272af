//! What a request needs leave for: action and type. From the parsed interaction alone.

use super::Action;
use super::policy::known_kind;
use crate::connection::request::Interaction;
use crate::ids::ResourceType;

/// One thing to ask leave for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// What is to be done.
    pub action: Action,
    /// With which type; `None`: with every type (ingest, quarantine, replay, discard).
    pub kind: Option<ResourceType>,
}

/// What a whole request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: open to everyone.
    Open,
    /// A valid token; each entry of the Bundle, or the request a job is of, is then judged on its own.
    Entries,
    /// This.
    One(Need),
}

impl Need {
    /// Leave to do `action` with `kind`.
    pub fn new(action: Action, kind: ResourceType) -> Need {
        Need { action, kind: Some(kind) }
    }

    /// What an interaction needs. A batch or transaction has no leave of its own (SMART App Launch 2.2,
    /// scopes-and-launch-context.html: each entry is judged by its own interaction).
    pub fn of(interaction: &Interaction) -> Needs {
        let (action, kind) = match interaction {
            Interaction::Capabilities
            | Interaction::Versions
            | Interaction::SmartConfiguration
            | Interaction::Token(_)
            | Interaction::Jwks
            | Interaction::Health { .. }
            | Interaction::Metrics => return Needs::Open,
            // A job is its asker's alone; its request is judged again whenever something of it is done or told.
            Interaction::Bundle(_)
            | Interaction::AsyncStatus(_)
            | Interaction::AsyncFile(..)
            | Interaction::AsyncCancel(_) => return Needs::Entries,
            Interaction::Read(kind, _)
            | Interaction::Vread(kind, ..)
            | Interaction::History(kind, ..)
            | Interaction::Trace(kind, _) => (Action::Read, Some(*kind)),
            Interaction::Create(kind, _) => (Action::Create, Some(*kind)),
            // SMART App Launch 2.2: `u` includes update as create and patch.
            Interaction::Update(kind, ..)
            | Interaction::UpdateWhere(kind, ..)
            | Interaction::Patch(kind, ..)
            | Interaction::PatchWhere(kind, ..) => (Action::Update, Some(*kind)),
            Interaction::Delete(kind, _) | Interaction::DeleteWhere(kind, _) => (Action::Delete, Some(*kind)),
            Interaction::HistorySystem(_)
            | Interaction::SearchSystem(_)
            | Interaction::SearchCompartment(_, _, None, _) => (Action::Search, None),
            Interaction::SearchCompartment(_, _, Some(kind), _) => (Action::Search, Some(*kind)),
            Interaction::HistoryType(kind, _) | Interaction::Search(kind, _) => (Action::Search, Some(*kind)),
            Interaction::Everything(..) | Interaction::Match(_) => {
                (Action::Search, Some(known_kind("Patient")))
            }
            // Who writes something may ask what became of it.
            Interaction::Outcome(_) => (Action::Create, None),
            // Who may not do it is not told what would become of it.
            Interaction::Validate(kind, id, asked) => match (asked.mode.as_deref(), id) {
                (Some("delete"), _) => (Action::Delete, Some(*kind)),
                (Some("update"), _) | (None, Some(_)) => (Action::Update, Some(*kind)),
                _ => (Action::Create, Some(*kind)),
            },
            // Who may read maps may run one on what is their own already.
            Interaction::Transform(_) => (Action::Read, Some(known_kind("StructureMap"))),
            Interaction::Meta(kind, _) => (Action::Read, Some(*kind)),
            Interaction::MetaOf(kind) => (Action::Search, *kind),
            Interaction::MetaChange(kind, ..) => (Action::Update, Some(*kind)),
            Interaction::LastN(_) => (Action::Search, Some(known_kind("Observation"))),
            Interaction::Ingest(_) | Interaction::Replay(_) => (Action::Create, None),
            Interaction::Quarantine(_)
            | Interaction::Unmapped(_)
            | Interaction::UnmappedFile(_)
            | Interaction::Shadow(_) => (Action::Read, None),
            Interaction::Discard(_) => (Action::Discard, None),
            // Status and files need what the kick-off needed (Bulk Data, security considerations).
            Interaction::ExportStart(..)
            | Interaction::ExportStatus(_)
            | Interaction::ExportFile(..)
            | Interaction::ExportCancel(_) => (Action::Export, Some(known_kind("Group"))),
        };
        Needs::One(Need { action, kind })
    }
}
