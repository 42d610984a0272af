//! The cases of a folder, run; every difference with the rule and the source bytes behind it.

use std::fmt;

use super::{Difference, excerpt, render_findings, render_units};
use crate::finding::Finding;
use crate::output::Output;
use crate::plan::Trace;
use crate::run::CompiledFolder;
use crate::source::{Format, Span, Tree, locate::Lines};

/// Bytes of a source value shown beside a difference.
const SHOWN_MAX: usize = 60;

/// What became of a case, explained.
#[derive(Debug, Clone)]
pub struct Proof {
    /// Name of the case.
    pub name: String,
    /// Path of the input inside the folder.
    pub input_file: String,
    /// Where expected and found differ; empty when the case passes.
    pub differences: Vec<Explained>,
    /// What `out.json` would hold after blessing.
    pub out: String,
    /// What `findings.json` would hold after blessing.
    pub findings: String,
}

/// A difference, the rule that made what was found, and the source it stood on.
#[derive(Debug, Clone)]
pub struct Explained {
    /// Expected and found.
    pub difference: Difference,
    /// `map.fml:31:5`; `None` where no rule made it.
    pub rule: Option<String>,
    /// Where in the document.
    pub source: Option<Spot>,
}

/// A place in a document, with what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// Path (`OBX[4].OBX_5`).
    pub path: String,
    /// 1-based line and column.
    pub line: u32,
    /// In characters.
    pub column: u32,
    /// Bytes.
    pub span: Span,
    /// Those bytes as text, cut after 60.
    pub text: String,
}

impl Proof {
    /// Whether expected and found agree.
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.difference)?;
        if let Some(rule) = &self.rule {
            write!(f, "\n    rule   {rule}")?;
        }
        if let Some(spot) = &self.source {
            let Span { start, end } = spot.span;
            write!(
                f,
                "\n    source {} at {}:{}, bytes {start}-{end}: {}",
                spot.path, spot.line, spot.column, spot.text
            )?;
        }
        Ok(())
    }
}

/// Runs every case of a folder, in name order. What counts as a difference is as in [`super::run_cases`].
pub fn prove(compiled: &CompiledFolder) -> Vec<Proof> {
    let format = compiled.folder().format();
    let cases = compiled.folder().cases.iter();
    cases
        .map(|case| {
            let parsed = compiled.parse(&case.input);
            let (output, trace, _) = compiled.run_recorded(&case.input, &parsed);
            let (out, findings) = (render_units(&output), render_findings(&output));
            let differences = case.differences(&out, &findings);
            let scene =
                Scene { output: &output, trace: &trace, tree: &parsed.tree, format, bytes: &case.input };
            Proof {
                name: case.name.clone(),
                input_file: case.input_file.clone(),
                differences: differences.into_iter().map(|difference| scene.explain(difference)).collect(),
                out,
                findings,
            }
        })
        .collect()
}

struct Scene<'s> {
    output: &'s Output,
    trace: &'s Trace,
    tree: &'s Tree,
    format: Format,
    bytes: &'s [u8],
}

impl Scene<'_> {
    fn explain(&self, difference: Difference) -> Explained {
        let (rule, source) = match difference.file {
            "findings.json" => self.of_finding(&difference.path),
            _ => self.of_value(&difference.path),
        };
        Explained { difference, rule, source }
    }

    fn of_finding(&self, path: &str) -> (Option<String>, Option<Spot>) {
        let Some(at) = index(path, "") else { return (None, None) };
        let units = self.output.units.iter().flat_map(|unit| &unit.findings);
        let Some(finding) = self.output.findings.iter().chain(units).nth(at) else { return (None, None) };
        let Finding { rule, path, span, .. } = finding;
        (rule.clone(), (*span != Span::default()).then(|| self.spot(path.clone(), *span)))
    }

    /// `units[0].resource.code.text` -> what the trace says of `Observation.code.text`, or of the nearest part of it that
    /// was made.
    fn of_value(&self, path: &str) -> (Option<String>, Option<Spot>) {
        let Some(unit) = index(path, "units") else { return (None, None) };
        let Some((_, element)) = path.split_once(".resource.") else { return (None, None) };
        let values = self.trace.values.iter().filter(|value| value.unit == unit);
        let nearest = values
            .map(|value| (common(value.path.split_once('.').map_or("", |(_, rest)| rest), element), value))
            .filter(|(steps, _)| *steps > 0)
            .max_by_key(|(steps, _)| *steps);
        let Some((_, value)) = nearest else { return (None, None) };
        let spot = self.spot(self.tree.path(value.source), self.tree.node(value.source).span);
        (Some(value.rule.clone()), Some(spot))
    }

    fn spot(&self, path: String, span: Span) -> Spot {
        let (line, column) = Lines::new(self.format, self.bytes).locate(span);
        let bytes = self.bytes.get(span.start as usize..span.end as usize).unwrap_or_default();
        let text: String =
            excerpt::decode(bytes).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let cut = text.chars().count() > SHOWN_MAX;
        let text = text.chars().take(SHOWN_MAX).collect::<String>() + if cut { "…" } else { "" };
        Spot { path, line, column, span, text }
    }
}

/// The number in `name[3]...` at the start of a path.
fn index(path: &str, name: &str) -> Option<usize> {
    path.strip_prefix(name)?.strip_prefix('[')?.split_once(']')?.0.parse().ok()
}

/// Steps two paths have in common from their start.
fn common(one: &str, other: &str) -> usize {
    one.split('.').zip(other.split('.')).take_while(|(a, b)| a == b).count()
}
