//! What a map holds back, remarks, looks up and does not take over; and what the checks remark on it.

use std::collections::{BTreeMap, BTreeSet};

use super::sheet::Section;
use super::{Language, Said, head, words};
use crate::case::lint;
use crate::codes::Relationship;
use crate::finding::Severity;
use crate::fml::Expression;
use crate::run::CompiledFolder;

/// Fields listed as read and not needed.
const WAIVED_MAX: usize = 20;

/// What the map refuses and remarks, in its own words.
pub(super) fn held_back(statements: &[Said], language: Language) -> Vec<Section> {
    let literal = |argument: Option<&Expression>| {
        argument.map(|value| words::value(value, language).replace(['“', '”'], ""))
    };
    let mut sections = Vec::new();
    for (call, heading) in [
        ("refuse", language.of("Waits until it is mended", "Wacht tot het hersteld is")),
        ("warn", language.of("Stored with a remark", "Opgenomen met een opmerking")),
    ] {
        let mut rows: Vec<Vec<String>> = Vec::new();
        for said in statements {
            let Some(arguments) = said.call(call) else { continue };
            let row = vec![
                said.when(&[], language),
                literal(arguments.first()).unwrap_or_default(),
                literal(arguments.get(1)).unwrap_or_default(),
            ];
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        if !rows.is_empty() {
            sections.push(Section {
                heading: heading.to_owned(),
                head: head(
                    language,
                    &[("If", "Als"), ("What is said", "Melding"), ("What to do", "Wat te doen")],
                ),
                rows,
                ..Section::default()
            });
        }
    }
    sections
}

pub(super) fn code_tables(compiled: &CompiledFolder, language: Language) -> Vec<Section> {
    let mut sections = Vec::new();
    for (name, table) in &compiled.folder().codes {
        let rows = table.rows().iter().map(|row| {
            let becomes = if row.target_code.is_empty() {
                language.of("kept as it is", "blijft zoals het is").to_owned()
            } else {
                let list = words::system(&row.target_system);
                match format!("{list} `{}`", row.target_code).trim_start() {
                    code if row.target_display.is_empty() => code.to_owned(),
                    code => format!("{} ({code})", row.target_display),
                }
            };
            vec![
                format!("`{}`", row.code),
                row.display.clone(),
                becomes,
                relationship(row.relationship, language).to_owned(),
            ]
        });
        sections.push(Section {
            heading: format!("{} `{name}`", language.of("Code table", "Codetabel")),
            head: head(
                language,
                &[("Code", "Code"), ("Name", "Naam"), ("Becomes", "Wordt"), ("How well", "Hoe goed")],
            ),
            rows: rows.collect(),
            ..Section::default()
        });
    }
    if !sections.is_empty()
        && let Some(first) = sections.first_mut()
    {
        first.lines.push(
            language
                .of(
                    "A code that is in no table is kept as it came, with a remark; where it would change the meaning (a status, a decision) the \
                     resource waits until somebody has looked.",
                    "Een code die in geen tabel staat blijft zoals hij kwam, met een opmerking; waar hij de betekenis zou veranderen (een status, \
                     een beslissing) wacht het gegeven tot iemand heeft gekeken.",
                )
                .to_owned(),
        );
    }
    sections
}

fn relationship(relationship: Relationship, language: Language) -> &'static str {
    use Relationship::{Equal, Equivalent, Inexact, Narrower, NoMap, Wider};
    match relationship {
        Equal => language.of("the same", "hetzelfde"),
        Equivalent => language.of("means the same", "betekent hetzelfde"),
        Wider => language.of("says less", "zegt minder"),
        Narrower => language.of("says more", "zegt meer"),
        Inexact => language.of("about the same", "ongeveer hetzelfde"),
        NoMap => language.of("no other code", "geen andere code"),
    }
}

/// What is left out with its reason, and what is read and not taken over.
pub(super) fn left_out(compiled: &CompiledFolder, statements: &[Said], language: Language) -> Vec<Section> {
    let mut rows: Vec<Vec<String>> = compiled
        .folder()
        .manifest
        .ignore
        .iter()
        .map(|entry| vec![format!("`{}`", entry.path), entry.reason.clone()])
        .collect();
    let mut waived: Vec<String> = Vec::new();
    for said in statements {
        for argument in said.call("use").unwrap_or_default() {
            words::fields(argument, &mut waived);
        }
    }
    let why = language.of(
        "read and not needed: it says nothing the resource has not already",
        "gelezen en niet nodig: het zegt niets wat het gegeven niet al heeft",
    );
    if !waived.is_empty() {
        let more = waived.len().saturating_sub(WAIVED_MAX);
        waived.truncate(WAIVED_MAX);
        let mut all = waived.join(", ");
        if more > 0 {
            all += &format!(" {} {more} {}", language.of("and", "en nog"), language.of("more", "andere"));
        }
        rows.push(vec![all, why.to_owned()]);
    }
    if rows.is_empty() {
        return Vec::new();
    }
    vec![Section {
        heading: language.of("Not taken over", "Wordt niet overgenomen").to_owned(),
        lines: vec![
            language
                .of(
                    "Any other field that no rule reads is reported, never dropped in silence.",
                    "Elk ander veld dat geen regel leest wordt gemeld, en valt nooit stil weg.",
                )
                .to_owned(),
        ],
        head: head(language, &[("Field", "Veld"), ("Why", "Waarom")]),
        rows,
    }]
}

/// What lint says, and the warnings its cases raise.
pub(super) fn remarks(compiled: &CompiledFolder, language: Language) -> Vec<Section> {
    let mut rows: Vec<Vec<String>> = lint(compiled, &BTreeMap::new(), &compiled.folder().manifest.id)
        .iter()
        .map(|lint| {
            vec![
                language.of("check of the map", "controle van de mapping").to_owned(),
                lint.excerpt.text.clone(),
            ]
        })
        .collect();
    let mut seen = BTreeSet::new();
    for case in &compiled.folder().cases {
        let output = compiled.run(&case.input);
        for finding in output.findings.iter().chain(output.units.iter().flat_map(|unit| &unit.findings)) {
            if finding.severity == Severity::Warning && seen.insert(finding.text.clone()) {
                rows.push(vec![
                    format!("{} `{}`", language.of("case", "voorbeeld"), case.name),
                    finding.text.clone(),
                ]);
            }
        }
    }
    if rows.is_empty() {
        return Vec::new();
    }
    vec![Section {
        heading: language.of("Remarks to weigh", "Opmerkingen om te wegen").to_owned(),
        head: head(language, &[("From", "Uit"), ("Remark", "Opmerking")]),
        rows,
        ..Section::default()
    }]
}
