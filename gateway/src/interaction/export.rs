//! `Group/[id]/$export`, its status, files and end. The jobs are those of `export`; here they get their permits, judged
//! anew whenever a job asks, and their audit records.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::Facts;
use super::perform::{Aside, append, record};
use super::write::kinds;
use crate::audit::entry::{AuditRecord, Done, Entry};
use crate::clock::Clock;
use crate::connection::request::Interaction;
use crate::decision::organisation::Organisations;
use crate::decision::policy::Policy;
use crate::decision::{self, Action, Need, Parties, Permit};
use crate::export::{self, Asked, AuditSink, Disclosure, Kickoff, Permits};
use crate::gateway::Gateway;
use crate::identity::Identity;
use crate::identity::actor::Actor;
use crate::interaction::write;
use crate::response::Answer;
use crate::response::refusal::{Reason, Refusal};
use crate::store::Store;

/// One request about an export.
pub async fn export(
    gateway: &Gateway,
    permit: &Permit,
    interaction: &Interaction,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let context = &gateway.parts().exporter;
    let actor = permit.actor().ok_or_else(|| {
        Refusal::new(Reason::Forbidden, "An export needs a recipient; there is none without security.")
    })?;
    let answer = match interaction {
        Interaction::ExportStart(group, parameters) => {
            let kickoff = Kickoff { group, parameters, respond_async: aside.respond_async };
            export::start(context, permit, actor, &kickoff).await?
        }
        Interaction::ExportStatus(job) => return export::status(context, permit, actor, job).await,
        Interaction::ExportFile(job, name) => {
            // The delivery is recorded by the export itself, with the patients of the file.
            let asked = Asked { id: &aside.id, address: aside.address };
            return export::file(context, permit, actor, job, name, Some(asked)).await;
        }
        Interaction::ExportCancel(job) => export::cancel(context, permit, actor, job).await?,
        _ => return Err(Refusal::new(Reason::BusinessRule, "This interaction cannot stand here.")),
    };
    append(gateway, permit, record(aside, permit, interaction, &Facts::default())).await?;
    Ok(answer)
}

/// What a running job asks of the gateway.
pub struct Rules {
    /// Judges.
    pub policy: Arc<Policy>,
    /// Who is who.
    pub organisations: Arc<Organisations>,
    /// Who may still ask.
    pub identity: Identity,
    /// Keys of parties.
    pub store: Arc<dyn Store>,
    /// The moment.
    pub clock: Arc<dyn Clock>,
}

impl Permits for Rules {
    fn export(&self, actor: &Arc<Actor>) -> Result<Permit, Refusal> {
        // A client that was switched off takes nothing more, though its job began before.
        if self.identity.clients().find(&actor.client).is_none() {
            return Err(Refusal::new(Reason::Forbidden, "The client is not registered (any more)."));
        }
        let parties = Parties::of(&*self.store, &self.organisations, actor).map_err(write::refusal)?;
        let context = decision::Context {
            policy: &self.policy,
            organisations: &self.organisations,
            now: self.clock.now(),
        };
        decision::decide(&context, actor, &Need::new(Action::Export, kinds().group), &parties)
    }

    fn system(&self, reason: &'static str) -> Permit {
        decision::system(&self.policy, self.clock.now(), reason)
    }
}

impl AuditSink for Rules {
    fn record(&self, disclosure: &Disclosure<'_>) -> AuditRecord {
        let (id, address) = match disclosure.asked {
            Some(asked) => (asked.id, asked.address),
            // The runner reads by itself, from this very machine.
            None => (disclosure.job, IpAddr::V4(Ipv4Addr::LOCALHOST)),
        };
        let mut entry = Entry::new(Done::Export, disclosure.at, id, address).by(disclosure.actor);
        entry.basis = Some(disclosure.basis.to_owned());
        entry.kind = disclosure.kind.map(str::to_owned);
        entry.patients = disclosure.patients.iter().map(|patient| patient.0).collect();
        entry.consents = disclosure.consents.iter().map(ToString::to_string).collect();
        entry.count = Some(disclosure.resources);
        entry.notes = vec![format!("{:?} of job {}", disclosure.act, disclosure.job)];
        if let Some(file) = disclosure.file {
            entry.notes.push(format!("file {file}"));
        }
        entry.record(disclosure.organisation)
    }
}
