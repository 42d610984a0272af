//! The permit's filter as a predicate of SQL, for any alias of `resource` or `version`.
//!
//! The same rule as [`Filter::admits`], which judges each row once more in memory. Two shapes:
//! * one patient's data: her grants are read first, in the same snapshot, and stand in the statement as constants;
//! * across patients: the grants are probed by primary key for each row (`EXISTS`, never a join, so that no planner can
//!   make the grants the outer loop).

use crate::decision::filter::{Arm, CareRelation, Filter};
use crate::ids::PatientKey;
use crate::search::sql::Sql;

/// Recipients for which one statement has places.
const PARTIES_PADDED: usize = 4;

/// What may be seen, ready to be written into statements.
#[derive(Debug)]
pub enum Visible<'f> {
    /// Everything: the gateway's own work.
    All,
    /// By grants probed for each row.
    Probed(&'f Filter),
    /// In one patient's data, by these grants of hers that hold now for the permit's holder.
    Granted(&'f Filter, PatientKey, Vec<&'f Arm>),
}

impl<'f> Visible<'f> {
    /// Across patients.
    pub fn probed(filter: &'f Filter) -> Visible<'f> {
        if filter.system { Visible::All } else { Visible::Probed(filter) }
    }

    /// In one patient's data, given her grants and care relations.
    pub fn granted(
        filter: &'f Filter,
        patient: PatientKey,
        arms: &'f [Arm],
        relations: &[CareRelation],
    ) -> Visible<'f> {
        if filter.system {
            return Visible::All;
        }
        let related = !filter.care_relation
            || relations.iter().any(|r| {
                r.patient == patient
                    && r.party == filter.organisation
                    && r.valid_from <= filter.now
                    && filter.now < r.valid_to
            });
        let holds = |arm: &&Arm| {
            related
                && arm.patient == patient
                && arm.purpose == filter.purpose
                && filter.recipients.contains(&arm.recipient)
                && arm.valid_from <= filter.now
                && filter.now < arm.valid_to
                && arm.categories & filter.categories != 0
        };
        Visible::Granted(filter, patient, arms.iter().filter(holds).collect())
    }

    /// The same for rows of any patient.
    pub fn probing(&self) -> Visible<'f> {
        match self {
            Visible::All => Visible::All,
            Visible::Probed(filter) | Visible::Granted(filter, ..) => Visible::Probed(filter),
        }
    }

    /// Number of the text that [`Visible::write`] gives, below [`Visible::SHAPES`]: two of one number differ in their values
    /// alone. `None`: one that has no number.
    pub fn shape(&self) -> Option<usize> {
        match self {
            Visible::All => Some(Visible::SHAPES - 1),
            Visible::Probed(filter) if filter.recipients.len() <= PARTIES_PADDED => {
                let flags = [
                    filter.own,
                    filter.self_patient.is_some_and(|patient| patient.0 > 0),
                    !filter.recipients.is_empty(),
                    filter.care_relation,
                ];
                Some(flags.iter().fold(0, |number, flag| number * 2 + usize::from(*flag)))
            }
            Visible::Probed(_) | Visible::Granted(..) => None,
        }
    }

    /// Texts that [`Visible::shape`] tells apart.
    pub const SHAPES: usize = 17;

    /// Whether no row of one patient can be visible, so that none need be looked at.
    pub fn nothing(&self) -> bool {
        match self {
            Visible::Granted(filter, patient, arms) => {
                arms.is_empty() && !filter.own && filter.self_patient != Some(*patient)
            }
            _ => false,
        }
    }

    /// Appends the predicate on the columns of `alias`, in parentheses.
    pub fn write(&self, sql: &mut Sql, alias: &str) {
        match self {
            Visible::All => {
                sql.push("TRUE");
            }
            Visible::Probed(filter) => {
                sql.push("(");
                without_grant(sql, filter, alias);
                if !filter.recipients.is_empty() {
                    sql.push(" OR (");
                    probe(sql, filter, alias);
                    sql.push(")");
                }
                sql.push(")");
            }
            Visible::Granted(filter, patient, arms) => {
                sql.push("(");
                without_grant(sql, filter, alias);
                if !arms.is_empty() {
                    sql.push(" OR (").push(alias).push(".patient = ").bind(patient.0).push(" AND (");
                    sql.join(arms, " OR ", |sql, arm| constant(sql, filter, arm, alias));
                    sql.push("))");
                }
                sql.push(")");
            }
        }
    }
}

/// Own rows, rows of no patient in an open category, the patient's own compartment.
fn without_grant(sql: &mut Sql, filter: &Filter, alias: &str) {
    sql.push("(").push(alias).push(".patient = 0 AND ").push(alias).push(".category & ");
    sql.bind(bits(filter.open_categories)).push(" <> 0)");
    if filter.own {
        sql.push(" OR ").push(alias).push(".author = ").bind(filter.organisation.0);
    }
    // Key 0 stands for "no patient" in the column.
    if let Some(PatientKey(patient)) = filter.self_patient.filter(|p| p.0 > 0) {
        sql.push(" OR ").push(alias).push(".patient = ").bind(patient);
    }
}

/// A grant that opens the row, looked up by primary key.
fn probe(sql: &mut Sql, filter: &Filter, alias: &str) {
    sql.push(alias).push(".category & ").bind(bits(filter.categories)).push(" <> 0");
    sql.push(" AND ").push(alias).push(".labels & ").bind(bits(filter.deny_labels)).push(" = 0");
    sql.push(" AND ").push(alias).push(".confidentiality <= ").bind(i64::from(filter.confidentiality_max));
    if filter.care_relation {
        sql.push(" AND EXISTS (SELECT 1 FROM care_relation c WHERE c.patient = ")
            .push(alias)
            .push(".patient");
        sql.push(" AND c.party = ").bind(filter.organisation.0);
        sql.push(" AND c.valid_from <= ").bind(filter.now.0);
        sql.push(" AND c.valid_to > ").bind(filter.now.0).push(")");
    }
    sql.push(" AND EXISTS (SELECT 1 FROM grant_arm g WHERE g.patient = ").push(alias);
    sql.push(".patient AND g.purpose = ").bind(i64::from(filter.purpose)).push(" AND g.recipient IN (");
    // Padded, so that actors with fewer keys share the statement.
    let last = filter.recipients.last().copied();
    let padding = PARTIES_PADDED.saturating_sub(filter.recipients.len());
    let padding = std::iter::repeat_n(last, padding).flatten();
    sql.join(filter.recipients.iter().copied().chain(padding), ", ", |sql, party| {
        sql.bind(party.0);
    });
    sql.push(") AND g.valid_from <= ").bind(filter.now.0).push(" AND g.valid_to > ").bind(filter.now.0);
    sql.push(" AND g.categories & ").push(alias).push(".category & ").bind(bits(filter.categories));
    sql.push(" <> 0 AND g.deny_labels & ").push(alias).push(".labels = 0 AND ").push(alias);
    sql.push(".confidentiality <= g.confidentiality_max AND ").push(alias);
    sql.push(".day BETWEEN g.day_from AND g.day_to AND (g.author = 0 OR g.author = ").push(alias);
    sql.push(".author))");
}

/// A grant of the patient as constants, merged with what the role may see.
fn constant(sql: &mut Sql, filter: &Filter, arm: &Arm, alias: &str) {
    sql.push("(").push(alias).push(".category & ").bind(bits(arm.categories & filter.categories));
    sql.push(" <> 0 AND ").push(alias).push(".labels & ").bind(bits(arm.deny_labels | filter.deny_labels));
    let confidentiality = arm.confidentiality_max.min(filter.confidentiality_max);
    sql.push(" = 0 AND ").push(alias).push(".confidentiality <= ").bind(i64::from(confidentiality));
    sql.push(" AND ").push(alias).push(".day BETWEEN ").bind(i64::from(arm.day_from));
    sql.push(" AND ").bind(i64::from(arm.day_to));
    if let Some(author) = arm.author {
        sql.push(" AND ").push(alias).push(".author = ").bind(author.0);
    }
    sql.push(")");
}

/// A mask as a database holds it, in a signed integer: the same bits.
pub(crate) fn bits(mask: u64) -> i64 {
    i64::from_ne_bytes(mask.to_ne_bytes())
}

/// A mask read back.
pub(crate) fn mask(bits: i64) -> u64 {
    u64::from_ne_bytes(bits.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::clock::Timestamp;
    use crate::ids::PartyKey;
    use crate::search::sql::Dialect;

    /// Filters of every shape, and of each several that differ in their values.
    fn filters() -> Vec<Filter> {
        let mut all = vec![Filter { system: true, ..Filter::own_work() }];
        for flags in 0..16u8 {
            for (value, recipients) in [(1, 1), (2, 3), (3, 4), (4, 6)] {
                let patient = if flags & 2 == 0 { 0 } else { value };
                all.push(Filter {
                    now: Timestamp(value),
                    organisation: PartyKey(value),
                    own: flags & 1 != 0,
                    self_patient: Some(PatientKey(patient)),
                    recipients: (0..if flags & 4 == 0 { 0 } else { recipients }).map(PartyKey).collect(),
                    care_relation: flags & 8 != 0,
                    categories: value.unsigned_abs(),
                    ..Filter::own_work()
                });
            }
        }
        all
    }

    #[test]
    fn texts_of_one_shape_are_one_and_values_alone_are_the_same() {
        for dialect in [Dialect::Sqlite, Dialect::Postgres] {
            let mut texts = BTreeMap::new();
            for filter in filters() {
                let visible = Visible::probed(&filter);
                let (mut whole, mut silent) = (Sql::new(dialect), Sql::of_values(dialect));
                visible.write(&mut whole, "r");
                visible.write(&mut silent, "r");
                assert_eq!((silent.text, &silent.values), (String::new(), &whole.values));
                let Some(shape) = visible.shape() else {
                    assert!(filter.recipients.len() > PARTIES_PADDED);
                    continue;
                };
                assert!(shape < Visible::SHAPES);
                let first = texts.entry(shape).or_insert_with(|| whole.text.clone());
                assert_eq!(*first, whole.text, "{filter:?}");
            }
            assert_eq!(texts.len(), Visible::SHAPES);
        }
    }
}
