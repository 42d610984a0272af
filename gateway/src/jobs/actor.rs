//! Who asked for a job, as kept with it, so that leave can be judged anew for every step.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::actor::{Actor, Permissions, Scope, ScopeLevel, User};
use crate::ids::{ResourceId, Ura};

/// The actor as kept with the job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeptActor {
    pub(crate) client: String,
    pub(crate) organisation: String,
    pub(crate) purpose: String,
    user: Option<(String, String, String)>,
    /// Patient in context; jobs of before she was kept have none, for exports are of no patient's token.
    #[serde(default)]
    patient: Option<String>,
    scopes: Vec<(char, Option<String>, String)>,
    token_id: String,
    token_expires: i64,
}

impl KeptActor {
    pub(crate) fn of(actor: &Actor) -> KeptActor {
        let letters = |p: Permissions| {
            [(p.create, 'c'), (p.read, 'r'), (p.update, 'u'), (p.delete, 'd'), (p.search, 's')]
                .into_iter()
                .filter_map(|(has, letter)| has.then_some(letter))
                .collect::<String>()
        };
        KeptActor {
            client: actor.client.to_string(),
            organisation: actor.organisation.to_string(),
            purpose: actor.purpose.to_string(),
            user: actor
                .user
                .as_ref()
                .map(|u| (u.identifier.to_string(), u.system.to_string(), u.role_code.to_string())),
            patient: actor.patient.as_ref().map(ToString::to_string),
            scopes: actor
                .scopes
                .iter()
                .map(|scope| {
                    let level = match scope.level {
                        ScopeLevel::Patient => 'p',
                        ScopeLevel::User => 'u',
                        ScopeLevel::System => 's',
                    };
                    (level, scope.kind.as_deref().map(str::to_owned), letters(scope.permissions))
                })
                .collect(),
            token_id: actor.token_id.to_string(),
            token_expires: actor.token_expires.0,
        }
    }

    /// Whether `actor` is the one who asked: same client, organisation, person, patient and purpose, with at least the scopes
    /// of then.
    pub(crate) fn is(&self, actor: &Actor) -> bool {
        let now = KeptActor::of(actor);
        (&now.client, &now.organisation, &now.purpose, &now.user, &now.patient)
            == (&self.client, &self.organisation, &self.purpose, &self.user, &self.patient)
            && self.scopes.iter().all(|scope| now.scopes.contains(scope))
    }

    /// The actor again; `None` when the record was tampered with.
    pub(crate) fn actor(&self) -> Option<Actor> {
        Some(Actor {
            client: self.client.as_str().into(),
            organisation: Ura::parse(&self.organisation)?,
            user: self.user.as_ref().map(|(identifier, system, role_code)| User {
                identifier: identifier.as_str().into(),
                system: system.as_str().into(),
                role_code: role_code.as_str().into(),
            }),
            patient: match &self.patient {
                Some(id) => Some(ResourceId::parse(id)?),
                None => None,
            },
            purpose: self.purpose.as_str().into(),
            scopes: self
                .scopes
                .iter()
                .map(|(level, kind, letters)| Scope {
                    level: match level {
                        's' => ScopeLevel::System,
                        'u' => ScopeLevel::User,
                        _ => ScopeLevel::Patient,
                    },
                    kind: kind.as_deref().map(Into::into),
                    permissions: Permissions {
                        create: letters.contains('c'),
                        read: letters.contains('r'),
                        update: letters.contains('u'),
                        delete: letters.contains('d'),
                        search: letters.contains('s'),
                    },
                })
                .collect(),
            token_id: self.token_id.as_str().into(),
            token_expires: Timestamp(self.token_expires),
        })
    }
}
