//! Walks the log and says whether it is whole: every record, every link, every signed checkpoint.

use super::chain::link;
use super::checkpoint;
use crate::store::{Reader, StoreError};

/// Rows fetched at a time.
const PAGE: u32 = 1_000;

/// What a walk found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    /// Records walked.
    pub records: u64,
    /// Checkpoints whose signature and hash hold.
    pub checkpoints: u64,
    /// Highest record a checkpoint pins: what comes after it rests on the database alone.
    pub pinned: u64,
    /// What does not hold, in order; empty: the log is whole.
    pub faults: Vec<Fault>,
}

/// One thing that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The records do not count 1, 2, 3…: one is missing, doubled or out of place.
    Sequence {
        /// Expected number.
        expected: u64,
        /// Found number.
        found: u64,
    },
    /// A record's bytes, or its predecessor's, are not those that were hashed.
    Link {
        /// Its number.
        sequence: u64,
    },
    /// The stored head is not the last record: records were cut off, or added past the head.
    Head {
        /// Records walked.
        walked: u64,
        /// What the head says.
        head: u64,
    },
    /// A checkpoint is not signed by this key, or not of this form.
    Checkpoint {
        /// Number it is kept under.
        sequence: u64,
        /// Why.
        why: checkpoint::CheckpointError,
    },
    /// A signed checkpoint says the log was different: records before it were rewritten, or cut off.
    Rewritten {
        /// Number the checkpoint covers.
        sequence: u64,
    },
}

/// Verifies the whole log in one snapshot. Errors: the store's; then nothing is said about the log.
pub fn verify(reader: &mut dyn Reader, origin: &str, public_key: &[u8]) -> Result<VerifyReport, StoreError> {
    let mut report = VerifyReport { records: 0, checkpoints: 0, pinned: 0, faults: Vec::new() };
    let mut pins = Vec::new();
    for kept in reader.checkpoints()? {
        match checkpoint::open(&kept.note, origin, public_key) {
            Ok((size, hash)) if size == kept.sequence => pins.push((size, hash)),
            Ok(_) => report.faults.push(Fault::Rewritten { sequence: kept.sequence }),
            Err(why) => report.faults.push(Fault::Checkpoint { sequence: kept.sequence, why }),
        }
    }
    let mut hash = [0; 32];
    let mut next = 1;
    loop {
        let rows = reader.audit_chain(next, PAGE)?;
        let Some(last) = rows.last().map(|row| row.sequence) else { break };
        for row in rows {
            if row.sequence != report.records + 1 {
                let expected = report.records + 1;
                report.faults.push(Fault::Sequence { expected, found: row.sequence });
            }
            if link(&hash, row.sequence, &row.body) != row.hash {
                report.faults.push(Fault::Link { sequence: row.sequence });
            }
            // Goes on from the stored hash, so that one broken link is one fault.
            hash = row.hash;
            report.records = row.sequence;
            for (size, pinned) in pins.iter().filter(|(size, _)| *size == row.sequence) {
                if *pinned == hash {
                    report.checkpoints += 1;
                    report.pinned = report.pinned.max(*size);
                } else {
                    report.faults.push(Fault::Rewritten { sequence: *size });
                }
            }
        }
        next = last.saturating_add(1);
    }
    let beyond = pins.iter().filter(|(size, _)| *size > report.records);
    report.faults.extend(beyond.map(|(size, _)| Fault::Rewritten { sequence: *size }));
    let (head, head_hash) = reader.audit_head()?;
    if head != report.records || (head > 0 && head_hash != hash) {
        report.faults.push(Fault::Head { walked: report.records, head });
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::checkpoint::CheckpointKey;
    use super::*;
    use crate::clock::Timestamp;
    use crate::decision::filter::Arm;
    use crate::ids::{PartyKey, PatientKey, ResourceId, ResourceType};
    use crate::search::plan::{Found, Plan};
    use crate::store::quarantine::{
        QuarantineCause, QuarantineDepth, QuarantineDocument, QuarantineQuery, QuarantineReader,
        QuarantineRow,
    };
    use crate::store::{AuditQuery, AuditRow, Checkpoint, Shelf, Stored};

    /// A log on one page of memory. The rest of the reader is not asked in a walk.
    #[derive(Clone)]
    struct Log {
        rows: Vec<AuditRow>,
        head: (u64, [u8; 32]),
        checkpoints: Vec<Checkpoint>,
    }

    fn not_asked<T>() -> Result<T, StoreError> {
        Err(StoreError::Database("a walk does not ask this".into()))
    }

    impl QuarantineReader for Log {
        fn quarantine_units(&mut self, _: PartyKey, _: &str) -> Result<Vec<QuarantineRow>, StoreError> {
            not_asked()
        }
        fn quarantine_example(
            &mut self,
            _: QuarantineQuery<'_>,
        ) -> Result<Option<QuarantineRow>, StoreError> {
            not_asked()
        }
        fn quarantine_documents(
            &mut self,
            _: QuarantineQuery<'_>,
            _: Option<(Timestamp, &str)>,
            _: u32,
        ) -> Result<(Vec<QuarantineDocument>, u64), StoreError> {
            not_asked()
        }
        fn quarantine_causes(
            &mut self,
            _: QuarantineQuery<'_>,
            _: Option<(u64, &str)>,
            _: u32,
        ) -> Result<Vec<QuarantineCause>, StoreError> {
            not_asked()
        }
        fn quarantine_maps(&mut self, _: QuarantineQuery<'_>, _: u32) -> Result<Vec<String>, StoreError> {
            not_asked()
        }
        fn quarantine_depth(&mut self, _: QuarantineQuery<'_>) -> Result<QuarantineDepth, StoreError> {
            not_asked()
        }
        fn quarantine_bytes(&mut self, _: QuarantineQuery<'_>) -> Result<u64, StoreError> {
            not_asked()
        }
    }

    impl Reader for Log {
        fn audit_chain(&mut self, from: u64, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
            let rows = self.rows.iter().filter(|row| row.sequence >= from);
            Ok(rows.take(limit.min(3) as usize).cloned().collect())
        }
        fn audit_head(&mut self) -> Result<(u64, [u8; 32]), StoreError> {
            Ok(self.head)
        }
        fn checkpoints(&mut self) -> Result<Vec<Checkpoint>, StoreError> {
            Ok(self.checkpoints.clone())
        }
        fn current(&mut self, _: ResourceType, _: &ResourceId) -> Result<Option<Stored>, StoreError> {
            not_asked()
        }
        fn version(&mut self, _: ResourceType, _: &ResourceId, _: u32) -> Result<Option<Stored>, StoreError> {
            not_asked()
        }
        fn changes(
            &mut self,
            _: &crate::store::history::HistoryQuery,
        ) -> Result<(Vec<Stored>, u64), StoreError> {
            not_asked()
        }
        fn search(&mut self, _: &Plan) -> Result<Found, StoreError> {
            not_asked()
        }
        fn included(
            &mut self,
            _: &[crate::search::criterion::Include],
            _: &[&Stored],
        ) -> Result<Vec<Stored>, StoreError> {
            not_asked()
        }
        fn used(
            &mut self,
            _: &crate::search::criterion::Parameter,
            _: ResourceType,
            _: usize,
        ) -> Result<Vec<(String, String)>, StoreError> {
            not_asked()
        }
        fn stored_kinds(&mut self, _: &[ResourceType]) -> Result<Vec<ResourceType>, StoreError> {
            not_asked()
        }
        fn mark(&mut self) -> Result<i64, StoreError> {
            not_asked()
        }
        fn under(
            &mut self,
            _: &crate::decision::Permit,
            _: &mut dyn FnMut(&mut dyn Reader) -> Result<(), StoreError>,
        ) -> Result<(), StoreError> {
            not_asked()
        }
        fn patient_by_identifier(
            &mut self,
            _: &str,
            _: &str,
        ) -> Result<Option<(PatientKey, ResourceId)>, StoreError> {
            not_asked()
        }
        fn own_by_identifier(
            &mut self,
            _: ResourceType,
            _: &str,
            _: &str,
        ) -> Result<Option<Stored>, StoreError> {
            not_asked()
        }
        fn arms(&mut self, _: PatientKey) -> Result<Vec<Arm>, StoreError> {
            not_asked()
        }
        fn compartment(&mut self, _: PatientKey, _: ResourceType) -> Result<Vec<Stored>, StoreError> {
            not_asked()
        }
        fn patient_id(&mut self, _: PatientKey) -> Result<Option<ResourceId>, StoreError> {
            not_asked()
        }
        fn audit(&mut self, _: &AuditQuery) -> Result<(Vec<AuditRow>, u64), StoreError> {
            not_asked()
        }
        fn shelf_get(&mut self, _: Shelf, _: PartyKey, _: &str) -> Result<Option<Bytes>, StoreError> {
            not_asked()
        }
        fn shelf_list(
            &mut self,
            _: Shelf,
            _: Option<PartyKey>,
            _: &str,
            _: u32,
        ) -> Result<Vec<(PartyKey, String, Bytes)>, StoreError> {
            not_asked()
        }
    }

    const ORIGIN: &str = "sluis.test/audit/chain";

    fn log(bodies: &[&str]) -> Log {
        let (mut rows, mut hash) = (Vec::new(), [0; 32]);
        for (sequence, body) in (1..).zip(bodies) {
            hash = link(&hash, sequence, body.as_bytes());
            rows.push(AuditRow { sequence, body: Bytes::copy_from_slice(body.as_bytes()), hash });
        }
        Log { head: (rows.len() as u64, hash), rows, checkpoints: Vec::new() }
    }

    fn key() -> CheckpointKey {
        CheckpointKey::from_pkcs8(ORIGIN, &CheckpointKey::generate().unwrap()).unwrap()
    }

    /// A log of seven records with a checkpoint at five.
    fn signed() -> (Log, CheckpointKey) {
        let (mut log, key) = (log(&["a", "b", "c", "d", "e", "f", "g"]), key());
        let hash = log.rows.get(4).unwrap().hash;
        log.checkpoints.push(key.sign(5, &hash));
        (log, key)
    }

    fn walk(log: &mut Log, key: &CheckpointKey) -> VerifyReport {
        verify(log, ORIGIN, key.public_key()).unwrap()
    }

    #[test]
    fn a_whole_log_has_no_faults_and_says_how_far_it_is_pinned() {
        let (mut whole, key) = signed();
        let report = walk(&mut whole, &key);
        assert_eq!((report.records, report.checkpoints, report.pinned, report.faults), (7, 1, 5, vec![]));
        assert_eq!(walk(&mut log(&[]), &key).faults, []);
    }

    #[test]
    fn dropped_swapped_cut_and_foreign_records_show() {
        let (whole, key) = signed();
        let mut dropped = whole.clone();
        dropped.rows.remove(2);
        assert!(walk(&mut dropped, &key).faults.contains(&Fault::Sequence { expected: 3, found: 4 }));
        let mut swapped = whole.clone();
        let (first, second) =
            (swapped.rows.get(1).unwrap().body.clone(), swapped.rows.get(2).unwrap().body.clone());
        swapped.rows.get_mut(1).unwrap().body = second;
        swapped.rows.get_mut(2).unwrap().body = first;
        assert_eq!(
            walk(&mut swapped, &key).faults,
            [Fault::Link { sequence: 2 }, Fault::Link { sequence: 3 }]
        );
        let mut cut = whole.clone();
        cut.rows.truncate(6);
        assert_eq!(walk(&mut cut, &key).faults, [Fault::Head { walked: 6, head: 7 }]);
        // Cut before the checkpoint, the head mended to fit: the signature still knows.
        cut.rows.truncate(4);
        cut.head = (4, cut.rows.get(3).unwrap().hash);
        assert_eq!(walk(&mut cut, &key).faults, [Fault::Rewritten { sequence: 5 }]);
        // Rewritten from the start with right links throughout: only the signature knows.
        let mut rewritten = log(&["a", "B", "c", "d", "e", "f", "g"]);
        rewritten.checkpoints = whole.checkpoints.clone();
        assert_eq!(walk(&mut rewritten, &key).faults, [Fault::Rewritten { sequence: 5 }]);
        let report = verify(&mut whole.clone(), ORIGIN, super::tests::key().public_key()).unwrap();
        let why = checkpoint::CheckpointError::Signature;
        assert_eq!(report.faults, [Fault::Checkpoint { sequence: 5, why }]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_flipped_bit_of_body_or_hash_shows(row in 0usize..7, byte in 0usize..32, bit in 0u8..8, hash: bool) {
            let (mut log, key) = signed();
            let row = log.rows.get_mut(row).unwrap();
            if hash {
                *row.hash.get_mut(byte).unwrap() ^= 1 << bit;
            } else {
                let mut body = row.body.to_vec();
                let at = byte % body.len();
                *body.get_mut(at).unwrap() ^= 1 << bit;
                row.body = body.into();
            }
            prop_assert!(!walk(&mut log, &key).faults.is_empty());
        }
    }
}
