//! Why a row is visible or not, for an operator: which cell, which grant, which Consent. No personal data: keys only.

use super::Permit;
use super::filter::{Arm, CareRelation, Derived};
use super::policy::{Policy, matrix};

/// The decision about one row in sentences, one a line. `arms` and `relations`: the patient's, from one snapshot.
pub fn explain(
    policy: &Policy,
    permit: &Permit,
    row: &Derived,
    arms: &[Arm],
    relations: &[CareRelation],
) -> String {
    let filter = permit.filter();
    let mut lines = vec![format!("rule: {}", permit.basis())];
    let category = policy.category_codes(row.category).join(" ");
    let labels = policy.label_codes(row.labels);
    let labels = if labels.is_empty() { "-".to_owned() } else { labels.join(" ") };
    let confidentiality = policy.confidentialities.get(usize::from(row.confidentiality));
    lines.push(format!(
        "row: category {category}, labels {labels}, confidentiality {}, day {}, author party {}",
        confidentiality.map_or("?", String::as_str),
        row.day,
        row.author.0
    ));
    if let Some(role) = permit.role() {
        lines.push(format!("cell: {} {category} = {}", role.name, matrix::cell(role, row.category)));
    }
    lines.push(match filter.admits(row, arms, relations) {
        Some(Some(arm)) => format!("visible: granted by {}", arm.consent),
        Some(None) if filter.system => "visible: the gateway's own work".to_owned(),
        Some(None) if filter.own && row.author == filter.organisation => "visible: own dossier".to_owned(),
        Some(None) if row.patient.is_none() => "visible: open category".to_owned(),
        Some(None) => "visible: the patient's own record".to_owned(),
        None => format!("hidden: {}", hidden(filter, row, arms, relations)),
    });
    for arm in arms {
        lines.push(format!(
            "grant: {} to party {} for {}: {}; not {}; days {} to {}; from {} to {}",
            arm.consent,
            arm.recipient.0,
            policy.purposes.get(usize::from(arm.purpose)).map_or("?", |p| &p.code),
            policy.category_codes(arm.categories).join(" "),
            policy.label_codes(arm.deny_labels).join(" "),
            arm.day_from,
            arm.day_to,
            arm.valid_from.0,
            arm.valid_to.0,
        ));
    }
    lines.join("\n") + "\n"
}

fn hidden(
    filter: &super::filter::Filter,
    row: &Derived,
    arms: &[Arm],
    relations: &[CareRelation],
) -> &'static str {
    if row.patient.is_none() {
        return "it belongs to no patient and its category is not open to the role";
    }
    if row.category & filter.categories == 0 {
        return "the role has no cell for its category";
    }
    if row.labels & filter.deny_labels != 0 || row.confidentiality > filter.confidentiality_max {
        return "it is too sensitive for the role";
    }
    let related = relations.iter().any(|r| {
        Some(r.patient) == row.patient
            && r.party == filter.organisation
            && r.valid_from <= filter.now
            && filter.now < r.valid_to
    });
    if filter.care_relation && !related {
        return "the organisation is in no current CareTeam of the patient";
    }
    let meant = |arm: &&Arm| arm.purpose == filter.purpose && filter.recipients.contains(&arm.recipient);
    match arms.iter().find(meant) {
        None => "no Consent opens anything to this recipient for this purpose",
        Some(_) => "no grant to this recipient covers it (category, label, day, author or validity)",
    }
}
