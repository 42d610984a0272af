//! One member of the cohort: does her consent stand, which rows does it open, which lines do they become.

use std::collections::HashMap;

use sluis_conformance::definitions;
use sluis_conformance::json::{Doc, JsonLimits, Kind, Node};

use super::super::job::{self, Amount, Member, Who, WithheldBy};
use super::super::profile::{Identity, Subject};
use super::super::standing::{self, Opened};
use super::{Block, Desk};
use crate::clock::Timestamp;
use crate::decision::Permit;
use crate::decision::filter::Arm;
use crate::ids::{PatientKey, ResourceId, ResourceType};
use crate::search::parameter::{SearchContext, SearchLimits, parse};
use crate::search::plan::plan;
use crate::store::{Reader, Shelf, StoreError, Stored};

/// Reading one member under the block's snapshot.
pub(super) struct Reading<'r> {
    desk: &'r Desk<'r>,
    permit: &'r Permit,
    reader: &'r mut dyn Reader,
    member: &'r Member,
    who: Who,
    arms: Vec<Arm>,
    /// References judged so far: `Type/id` -> exported to this recipient.
    known: HashMap<(String, String), bool>,
}

impl<'r> Reading<'r> {
    pub(super) fn new(
        desk: &'r Desk<'r>,
        permit: &'r Permit,
        reader: &'r mut dyn Reader,
        member: &'r Member,
        who: Who,
    ) -> Reading<'r> {
        Reading { desk, permit, reader, member, who, arms: Vec::new(), known: HashMap::new() }
    }

    /// Reads on from the block's position, at most `room` rows; `true` when the member is done.
    pub(super) fn run(&mut self, block: &mut Block, room: u64) -> Result<bool, StoreError> {
        let index = block.next.member;
        let begun = block.next.kind > 0 || block.next.part > 0 || block.next.after.is_some();
        let fresh = Who { id: self.member.id.clone(), key: self.member.key, ..Who::default() };
        let Some((key, id)) = self.member.key.map(PatientKey).zip(ResourceId::parse(&self.member.id)) else {
            block.who.push((index, Who { withheld: Some(WithheldBy::NoData), ..fresh }));
            return Ok(true);
        };
        self.arms = self.reader.arms(key)?;
        let filter = self.permit.filter();
        let opened: Vec<Opened> =
            standing::standing(filter, &self.arms).into_iter().map(|arm| Opened::of(arm, filter)).collect();
        if begun && !standing::still_holds(&self.who.opened, filter, &self.arms) {
            // What an earlier block wrote of her is taken back; with what is left of her consent she starts again.
            block.taken_back.push(index);
            block.next = job::Position { member: index, ..job::Position::default() };
        }
        if opened.is_empty() {
            let reason = self.reason(key, begun)?;
            block.who.push((index, Who { withheld: Some(reason), ..fresh }));
            return Ok(true);
        }
        if block.next == (job::Position { member: index, ..job::Position::default() }) {
            self.who = Who { opened, ..fresh };
        }
        let patient = self.patient(&id)?;
        if patient.as_ref().is_some_and(|stored| stored.deleted) {
            block
                .who
                .push((index, Who { withheld: Some(WithheldBy::NoData), ..std::mem::take(&mut self.who) }));
            return Ok(true);
        }
        block.consents.extend(self.who.opened.iter().map(|opened| opened.consent.clone()));
        let whole = self.rows(block, key, &id, patient.as_ref(), room)?;
        if whole {
            self.who.withheld = match (self.who.kinds.is_empty(), self.who.seen, self.desk.job.since) {
                (false, ..) => None,
                (true, 1.., _) => Some(WithheldBy::NotPseudonymisable),
                (true, 0, Some(_)) => Some(WithheldBy::Unchanged),
                (true, 0, None) => Some(WithheldBy::NoData),
            };
        }
        block.who.push((index, std::mem::take(&mut self.who)));
        Ok(whole)
    }

    /// Why consent opens nothing.
    fn reason(&mut self, key: PatientKey, begun: bool) -> Result<WithheldBy, StoreError> {
        let filter = self.permit.filter();
        if standing::has_expired(filter, &self.arms) {
            return Ok(WithheldBy::Expired);
        }
        let delivered = job::delivered_key(&self.desk.job.actor.purpose, key.0);
        let before = self.reader.shelf_get(Shelf::Delivered, filter.organisation, &delivered)?;
        Ok(if begun || before.is_some() { WithheldBy::Withdrawn } else { WithheldBy::NoConsent })
    }

    /// Her Patient resource, as far as it is open; its deletion mark when she was deleted.
    fn patient(&mut self, id: &ResourceId) -> Result<Option<Stored>, StoreError> {
        match definitions::r4().resource_type("Patient") {
            Some(kind) => self.reader.current(kind, id),
            None => Ok(None),
        }
    }

    /// Rows of one type after the other; `false` when `room` ran out first.
    fn rows(
        &mut self,
        block: &mut Block,
        key: PatientKey,
        id: &ResourceId,
        patient: Option<&Stored>,
        mut room: u64,
    ) -> Result<bool, StoreError> {
        let doc = patient.and_then(|stored| Doc::parse(stored.body.to_vec(), JsonLimits::default()).ok());
        let identity = Identity::of(id.as_str(), doc.as_ref().map(Doc::root));
        let desk = self.desk;
        while let Some(name) = desk.job.kinds.get(block.next.kind as usize) {
            if room == 0 {
                return Ok(false);
            }
            let Some(kind) = definitions::r4().resource_type(name) else {
                block.next.kind += 1;
                continue;
            };
            let (page, after) = if name == "Patient" {
                (patient.cloned().into_iter().collect(), None)
            } else {
                self.page(kind, id, block.next.after.as_deref(), room)?
            };
            room = room.saturating_sub(page.len() as u64);
            block.resources += page.len() as u64;
            if !page.is_empty() {
                block.patients.push(key);
            }
            let (text, lines) = self.lines(name, &page, key, &identity)?;
            if lines > 0 {
                let amount: &mut Amount = self.who.kinds.entry(name.clone()).or_default();
                amount.lines += lines;
                amount.bytes += text.len() as u64;
                amount.parts.push(block.next.part);
                block
                    .lines
                    .push((job::line_key(&desk.job.id, name, block.next.member, block.next.part), text));
            }
            block.next.part += 1;
            match after {
                Some(_) => block.next.after = after,
                None => {
                    block.next.after = None;
                    block.next.kind += 1;
                }
            }
        }
        Ok(true)
    }

    /// A page of her rows of a type in order of creation, and where the next starts.
    fn page(
        &mut self,
        kind: ResourceType,
        id: &ResourceId,
        after: Option<&[u8]>,
        room: u64,
    ) -> Result<(Vec<Stored>, Option<Vec<u8>>), StoreError> {
        let refused = |refusal| StoreError::Refused(Box::new(refusal));
        let base = &self.desk.context.base;
        let filter = self.permit.filter();
        let mut pairs = vec![
            (compartment_parameter(kind).to_owned(), format!("Patient/{id}")),
            ("_count".to_owned(), room.min(500).to_string()),
            ("_total".to_owned(), "none".to_owned()),
        ];
        if let Some(since) = self.desk.job.since {
            // To the millisecond; `lines` compares exactly.
            pairs.push(("_lastUpdated".to_owned(), format!("ge{}", Timestamp(since).to_instant())));
        }
        let context = SearchContext { base, now: filter.now, lenient: false };
        let request = parse(kind, &pairs, &SearchLimits::default(), &context).map_err(refused)?;
        let mut plan = plan(&request, filter);
        if let Some(after) = after {
            plan = plan.starting_after(after).map_err(refused)?;
        }
        let found = self.reader.search(&plan)?;
        Ok((found.matches, found.next.map(|next| next.to_vec())))
    }

    /// The lines of a page.
    fn lines(
        &mut self,
        name: &str,
        page: &[Stored],
        key: PatientKey,
        identity: &Identity,
    ) -> Result<(String, u64), StoreError> {
        let desk = self.desk;
        let since = desk.job.since.map(Timestamp);
        let mut text = String::new();
        let mut lines = 0;
        for stored in page {
            if since.is_some_and(|since| stored.updated <= since) || !self.is_open(stored, key) {
                continue;
            }
            self.who.seen += 1;
            let Ok(doc) = Doc::parse(stored.body.to_vec(), JsonLimits::default()) else {
                self.who.unfit += 1;
                continue;
            };
            self.judge_references(doc.root(), key)?;
            let known = &self.known;
            let subject = Subject {
                pseudonyms: desk.pseudonyms,
                patient: &self.member.id,
                identity,
                base: &desk.context.base,
                now: Timestamp(desk.job.started),
                exported: &|kind, id| known.get(&(kind.to_owned(), id.to_owned())).copied().unwrap_or(false),
            };
            match desk.context.profile.line(name, stored.id.as_str(), stored.updated, doc.root(), &subject) {
                Ok(line) => {
                    text.push_str(&line);
                    text.push('\n');
                    lines += 1;
                }
                Err(_) => self.who.unfit += 1,
            }
        }
        Ok((text, lines))
    }

    /// Whether a row is this patient's and open by consent alone: the second line behind the search's own filter.
    fn is_open(&self, stored: &Stored, key: PatientKey) -> bool {
        let filter = standing::by_consent(self.permit.filter());
        !stored.deleted
            && stored.derived.patient == Some(key)
            && filter.admits(&stored.derived, &self.arms, &[]).is_some()
    }

    /// Looks up every resource this one refers to, once: a reference leaves only when its target does.
    fn judge_references(&mut self, root: Node<'_>, key: PatientKey) -> Result<(), StoreError> {
        let mut references = Vec::new();
        collect_references(root, &mut references);
        for text in references {
            let relative = text
                .strip_prefix(self.desk.context.base.as_ref())
                .and_then(|rest| rest.strip_prefix('/'))
                .unwrap_or(&text);
            let mut parts = relative.split('/');
            let (Some(name), Some(id)) = (parts.next(), parts.next().and_then(ResourceId::parse)) else {
                continue;
            };
            let target = (name.to_owned(), id.as_str().to_owned());
            if self.known.contains_key(&target) || !self.desk.job.kinds.iter().any(|kind| kind == name) {
                continue;
            }
            let Some(kind) = definitions::r4().resource_type(name) else { continue };
            let open = self.reader.current(kind, &id)?.is_some_and(|stored| self.is_open(&stored, key));
            self.known.insert(target, open);
        }
        Ok(())
    }
}

/// The parameter that puts a type in a patient's compartment: `patient`, else `subject`, else the first.
fn compartment_parameter(kind: ResourceType) -> &'static str {
    let all = definitions::r4().patient_compartment(kind);
    ["patient", "subject"]
        .into_iter()
        .find(|code| all.contains(code))
        .or_else(|| all.first().copied())
        .unwrap_or("patient")
}

/// Texts of all literal references below a node.
fn collect_references(node: Node<'_>, out: &mut Vec<String>) {
    match node.kind() {
        Kind::Array => node.items().for_each(|item| collect_references(item, out)),
        Kind::Object => {
            for (name, value) in node.members() {
                match value.as_str() {
                    Some(text) if name == "reference" => out.push(text.into_owned()),
                    _ => collect_references(value, out),
                }
            }
        }
        _ => {}
    }
}
