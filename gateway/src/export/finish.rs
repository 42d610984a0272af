//! The end of a job: consents looked at once more, withdrawals found, files cut, counts added up.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::job::{self, Delivered, File, Job, JobState, Outcome, Section, Who, WithheldBy};
use super::pseudonym::{KeyedPseudonyms, Pseudonymizer};
use super::run;
use super::{Context, refusal, standing};
use crate::decision::Permit;
use crate::ids::{PartyKey, PatientKey, ResourceId};
use crate::jobs::Step;
use crate::response::refusal::{Issue, Reason, Refusal, outcome};
use crate::store::{Reader, Shelf, StoreError, document};

/// Finishes a job all of whose members are read.
///
/// A member whose consent has shrunk since her lines were written loses them first ([`Step::More`]: look again); then
/// the job is done. Errors: leave refused, or the store's; nothing was changed.
pub(super) async fn finish(
    context: &Arc<Context>,
    owner: PartyKey,
    job: Job,
    pseudonyms: KeyedPseudonyms,
) -> Result<Step, Refusal> {
    let actor =
        job.actor.actor().ok_or_else(|| Refusal::new(Reason::Internal, "").because("a job without actor"))?;
    let permit = context.permits.export(&Arc::new(actor))?;
    let (lost, result, withdrawn) = {
        // A whole cohort is looked at: not on a thread that requests wait for.
        let (context, job) = (Arc::clone(context), job.clone());
        tokio::task::spawn_blocking(move || {
            let (lost, result) = take_stock(&context, &permit, owner, &job)?;
            let withdrawn = withdrawn(&context, &permit, owner, &job)?;
            Ok((lost, result, withdrawn))
        })
        .await
        .map_err(|e| Refusal::new(Reason::Internal, "").because(format!("finishing an export ended: {e}")))?
        .map_err(refusal)?
    };
    if !lost.is_empty() {
        take_back(context, owner, job, lost).await.map_err(refusal)?;
        return Ok(Step::More);
    }
    let mut names = Vec::with_capacity(withdrawn.len());
    let mut keys = Vec::with_capacity(withdrawn.len());
    for (key, delivered) in withdrawn {
        keys.push(key.0);
        names.push(if delivered.epoch == job.epoch {
            pseudonyms.id("Patient", &delivered.id)
        } else {
            let older = run::pseudonyms(context, owner, &job.actor.purpose, delivered.epoch)
                .await
                .map_err(refusal)?;
            older.id("Patient", &delivered.id)
        });
    }
    conclude(context, owner, job, result, &names, keys).await.map_err(refusal)?;
    Ok(Step::Over)
}

/// Members whose lines no longer hold, with the reason.
type Lost = Vec<(u32, Who)>;

/// Goes through all members on one snapshot: whose consent no longer covers her lines, and what the files are.
fn take_stock(
    context: &Context,
    permit: &Permit,
    owner: PartyKey,
    job: &Job,
) -> Result<(Lost, Outcome), StoreError> {
    let mut lost = Vec::new();
    let mut result = Outcome::default();
    context.store.read(permit, &mut |reader| {
        lost.clear();
        result = Outcome { profile: context.profile.version.to_string(), ..Outcome::default() };
        let mut cut =
            Cut { bytes_max: context.settings.file_bytes_max, open: BTreeMap::new(), files: Vec::new() };
        for member in 0..job.members {
            let key = job::who_key(&job.id, member);
            let who: Who = document::get(reader, Shelf::ExportFile, owner, &key)?.unwrap_or_default();
            result.unfit += who.unfit;
            if let Some(reason) = who.withheld {
                *result.withheld.entry(reason).or_default() += 1;
                continue;
            }
            if let Some(reason) = has_shrunk(reader, permit, &who)? {
                lost.push((member, Who { withheld: Some(reason), kinds: BTreeMap::new(), unfit: 0, ..who }));
                continue;
            }
            result.exported += 1;
            for (kind, amount) in &who.kinds {
                cut.add(kind, member, amount);
            }
        }
        result.files = cut.close();
        Ok(())
    })?;
    Ok((lost, result))
}

/// Why a member's lines no longer hold, if they do not.
fn has_shrunk(reader: &mut dyn Reader, permit: &Permit, who: &Who) -> Result<Option<WithheldBy>, StoreError> {
    let Some(key) = who.key else { return Ok(Some(WithheldBy::NoData)) };
    let arms = reader.arms(PatientKey(key))?;
    if standing::still_holds(&who.opened, permit.filter(), &arms) {
        return Ok(None);
    }
    let expired = standing::has_expired(permit.filter(), &arms);
    Ok(Some(if expired { WithheldBy::Expired } else { WithheldBy::Withdrawn }))
}

/// Cuts lines into files of bounded size, each of one type and of whole members.
struct Cut {
    bytes_max: u64,
    open: BTreeMap<String, (File, u64, u32)>,
    files: Vec<File>,
}

impl Cut {
    fn add(&mut self, kind: &str, member: u32, amount: &job::Amount) {
        let number = match self.open.remove(kind) {
            None => 1,
            Some((mut file, bytes, number)) if bytes + amount.bytes <= self.bytes_max => {
                file.members.1 = member;
                file.count += amount.lines;
                self.open.insert(kind.to_owned(), (file, bytes + amount.bytes, number));
                return;
            }
            Some((full, _, number)) => {
                self.files.push(full);
                number + 1
            }
        };
        let file = File {
            name: format!("{kind}.{number}.ndjson"),
            section: Section::Output,
            kind: kind.to_owned(),
            count: amount.lines,
            members: (member, member),
        };
        self.open.insert(kind.to_owned(), (file, amount.bytes, number));
    }

    fn close(self) -> Vec<File> {
        let mut files = self.files;
        files.extend(self.open.into_values().map(|(file, ..)| file));
        files.sort_by(|a, b| (&a.kind, a.members).cmp(&(&b.kind, b.members)));
        files
    }
}

async fn take_back(context: &Context, owner: PartyKey, job: Job, lost: Lost) -> Result<(), StoreError> {
    context
        .commit("export-take-back", move |writer| {
            for (member, who) in &lost {
                run::take_back(writer, owner, &job, *member)?;
                document::put(writer, Shelf::ExportFile, owner, &job::who_key(&job.id, *member), who)?;
            }
            Ok(())
        })
        .await
}

/// Patients this recipient has had for this purpose, in whatever cohort, whose consent no longer stands or who are
/// deleted: the recipient is to delete them (IG v2 export.html#response---complete-status, `deleted`).
fn withdrawn(
    context: &Context,
    permit: &Permit,
    owner: PartyKey,
    job: &Job,
) -> Result<Vec<(PatientKey, Delivered)>, StoreError> {
    let mut found = Vec::new();
    let prefix = format!("{}/", job.actor.purpose);
    let patient_kind = sluis_conformance::definitions::r4().resource_type("Patient");
    context.store.read(permit, &mut |reader| {
        found.clear();
        let mut after = prefix.clone();
        loop {
            let rows = job::list(reader, Shelf::Delivered, owner, &prefix, &after, 500)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after.clone_from(last);
            for (key, document) in rows {
                let Some(key) = key.strip_prefix(&prefix).and_then(|k| k.parse().ok()).map(PatientKey) else {
                    continue;
                };
                let delivered: Delivered = document::decode(Shelf::Delivered, &document)?;
                let arms = reader.arms(key)?;
                let current = match patient_kind.zip(ResourceId::parse(&delivered.id)) {
                    Some((kind, id)) => reader.current(kind, &id)?,
                    None => None,
                };
                let deleted = current.is_some_and(|stored| stored.deleted);
                if deleted || standing::standing(permit.filter(), &arms).is_empty() {
                    found.push((key, delivered));
                }
            }
        }
    })?;
    Ok(found)
}

/// Entries of one deletion Bundle.
const DELETIONS_PER_LINE: usize = 100;

async fn conclude(
    context: &Context,
    owner: PartyKey,
    job: Job,
    mut result: Outcome,
    names: &[String],
    keys: Vec<i64>,
) -> Result<(), StoreError> {
    let deletions: Vec<String> = names.chunks(DELETIONS_PER_LINE).map(deletion).collect();
    result.withdrawals = u32::try_from(names.len()).unwrap_or(u32::MAX);
    let aside = |name: &str, section, kind: &str, count: usize| File {
        name: name.to_owned(),
        section,
        kind: kind.to_owned(),
        count: count as u64,
        members: (0, 0),
    };
    if !deletions.is_empty() {
        result.files.push(aside("deleted.ndjson", Section::Deleted, "Bundle", deletions.len()));
    }
    let account = account(&result);
    if let Some(line) = &account {
        debug_assert!(!line.contains('\n'));
        result.files.push(aside("outcome.ndjson", Section::Error, "OperationOutcome", 1));
    }
    let expires = run::expiry(context).0;
    context
        .commit("export-finish", move |writer| {
            let Some(mut current) = Job::load(writer, owner, &job.id)? else { return Ok(()) };
            if current.state != JobState::Running || current.position != job.position {
                return Ok(());
            }
            while job::remove(writer, Shelf::ExportFile, owner, &format!("{}/deleted/", job.id), 100)? > 0 {}
            for (part, line) in deletions.iter().enumerate() {
                let key = job::deleted_key(&job.id, u32::try_from(part).unwrap_or(u32::MAX));
                writer.shelf_put(Shelf::ExportFile, owner, &key, format!("{line}\n").as_bytes())?;
            }
            document::put(writer, Shelf::ExportFile, owner, &job::deleted_who_key(&job.id), &keys)?;
            if let Some(line) = &account {
                let key = job::error_key(&job.id);
                writer.shelf_put(Shelf::ExportFile, owner, &key, format!("{line}\n").as_bytes())?;
            }
            current.result = Some(result);
            current.expires = expires;
            current.state = JobState::Done;
            current.save(writer, owner)
        })
        .await
}

/// A transaction Bundle of deletions (IG v2: `request.method` DELETE, `request.url`).
fn deletion(pseudonyms: &[String]) -> String {
    let entries: Vec<String> = pseudonyms
        .iter()
        .map(|id| format!("{{\"request\":{{\"method\":\"DELETE\",\"url\":\"Patient/{id}\"}}}}"))
        .collect();
    format!("{{\"resourceType\":\"Bundle\",\"type\":\"transaction\",\"entry\":[{}]}}", entries.join(","))
}

/// The counts in words: what was withheld and why, never of whom. `None` when nothing was.
fn account(result: &Outcome) -> Option<String> {
    let mut issues = Vec::new();
    let mut issue = |code: &'static str, diagnostics: String| {
        issues.push(Issue { severity: "information", code, diagnostics, expression: Vec::new() });
    };
    for (reason, count) in &result.withheld {
        let (code, why) = match reason {
            WithheldBy::NoConsent => ("suppressed", "no consent for this recipient and purpose"),
            WithheldBy::Withdrawn => ("suppressed", "consent withdrawn"),
            WithheldBy::Expired => ("suppressed", "consent ran out of time"),
            WithheldBy::NoData => ("informational", "nothing that consent and role open"),
            WithheldBy::Unchanged => ("informational", "nothing changed after _since"),
            WithheldBy::NotPseudonymisable => ("suppressed", "nothing that could be made pseudonymous"),
        };
        issue(
            code,
            format!("{count} members of the cohort are not in the files: {why} ({}).", reason.code()),
        );
    }
    if result.unfit > 0 {
        issue("suppressed", format!("{} resources could not be made pseudonymous.", result.unfit));
    }
    if result.withdrawals > 0 {
        let count = result.withdrawals;
        issue(
            "deleted",
            format!("{count} patients delivered earlier are withdrawn: delete them (file deleted)."),
        );
    }
    (!issues.is_empty()).then(|| outcome(issues.iter()))
}
