//! One block: some patients, or a part of one, read under one snapshot with leave judged at that moment.
//!
//! Rows are found by the ordinary search with the permit's filter in it; each is judged once more by consent alone
//! before it becomes a line. Nothing is written here: what came of the block goes to the runner, which stores it together
//! with the progress.

mod member;

use std::sync::Arc;

use super::job::{Job, Member, Position, Who};
use super::pseudonym::Pseudonymizer;
use super::{Context, refusal};
use crate::decision::Permit;
use crate::ids::PatientKey;
use crate::response::refusal::Refusal;
use member::Reading;

/// What came of a block.
pub(super) struct Block {
    /// Where the next one starts.
    pub(super) next: Position,
    /// Lines: key on the shelf of files, NDJSON.
    pub(super) lines: Vec<(String, String)>,
    /// What became of members; the last may be half read.
    pub(super) who: Vec<(u32, Who)>,
    /// Members whose earlier lines no longer hold.
    pub(super) taken_back: Vec<u32>,
    /// Patients of whom rows were read.
    pub(super) patients: Vec<PatientKey>,
    /// Rows read.
    pub(super) resources: u64,
    /// Consents relied on.
    pub(super) consents: Vec<Box<str>>,
    /// Rule that allowed it.
    pub(super) permit: Permit,
}

/// What a block is read with.
pub(super) struct Desk<'d> {
    pub(super) context: &'d Context,
    pub(super) job: &'d Job,
    pub(super) members: &'d Arc<Vec<Member>>,
    pub(super) pseudonyms: &'d dyn Pseudonymizer,
}

/// Reads the next block of a job.
///
/// `half`: what became so far of the member the position stands in.
/// Errors: leave refused (the job cannot go on), or the store's. Nothing was written.
pub(super) fn read(desk: &Desk<'_>, half: Option<Who>) -> Result<Block, Refusal> {
    let actor = desk.job.actor.actor().ok_or_else(|| {
        Refusal::new(crate::response::refusal::Reason::Internal, "").because("a job without actor")
    })?;
    let permit = desk.context.permits.export(&Arc::new(actor))?;
    let settings = &desk.context.settings;
    let mut block = Block {
        next: desk.job.position.clone(),
        lines: Vec::new(),
        who: Vec::new(),
        taken_back: Vec::new(),
        patients: Vec::new(),
        resources: 0,
        consents: Vec::new(),
        permit: permit.clone(),
    };
    let mut half = half;
    desk.context
        .store
        .read(&permit, &mut |reader| {
            for _ in 0..settings.block_patients_max.max(1) {
                let Some(member) = desk.members.get(block.next.member as usize) else { break };
                let room =
                    u64::from(settings.block_resources_max.clamp(1, 1000)).saturating_sub(block.resources);
                if room == 0 {
                    break;
                }
                let mut reading =
                    Reading::new(desk, &permit, reader, member, half.take().unwrap_or_default());
                let whole = reading.run(&mut block, room)?;
                if !whole {
                    break;
                }
                block.next = Position { member: block.next.member + 1, ..Position::default() };
            }
            Ok(())
        })
        .map_err(refusal)?;
    block.patients.dedup();
    block.consents.sort();
    block.consents.dedup();
    Ok(block)
}
