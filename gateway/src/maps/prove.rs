//! What an author asks of a mapping folder: do its cases hold, where does a value come from, what is left out, what is
//! suspicious, what would change, what does it say.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use sluis_mappings::case::{self, Proof, excerpt};
use sluis_mappings::finding::Finding;
use sluis_mappings::run::CompiledFolder;

use super::files::{compile, folders};
use super::{Form, Tongue};
use crate::say;

pub(super) fn test(root: &Path, bless: bool, junit: Option<&Path>) -> Result<ExitCode> {
    let mut suites = Vec::new();
    let (mut passed, mut failed) = (0, 0);
    let begun = Instant::now();
    for path in folders(root)? {
        let compiled = compile(&path)?;
        let proofs = case::prove(&compiled);
        for proof in proofs.iter() {
            if proof.passed() {
                passed += 1;
                continue;
            }
            failed += 1;
            let shown: Vec<String> = proof.differences.iter().map(ToString::to_string).collect();
            say(&format!("{} {}:\n  {}", path.display(), proof.name, shown.join("\n  ")));
            let case = compiled.folder().cases.iter().find(|case| case.name == proof.name);
            if !bless && case.is_some_and(|case| case.out.is_none()) {
                say(
                    "  nothing is expected of this case yet: look at `sluis map trace`, then keep it with --bless",
                );
            }
            if bless {
                write(&path, proof)?;
            }
        }
        if bless {
            record(&path, &compiled, &proofs)?;
        }
        suites.push((compiled.folder().manifest.id.clone(), proofs));
    }
    if let Some(file) = junit {
        std::fs::write(file, case::junit(&suites)).with_context(|| file.display().to_string())?;
    }
    let written =
        if bless && failed > 0 { "; expected output written, read it before you keep it" } else { "" };
    say(&format!("{passed} passed, {failed} failed in {} ms{written}", begun.elapsed().as_millis()));
    Ok(if failed == 0 || bless { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(folder: &Path, proof: &Proof) -> Result<()> {
    let case = folder.join("cases").join(&proof.name);
    for (name, text) in [("out.json", &proof.out), ("findings.json", &proof.findings)] {
        let path = case.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Notes which version gave which output, so that a changed output under an old version is seen.
fn record(folder: &Path, compiled: &CompiledFolder, proofs: &[Proof]) -> Result<()> {
    let path = folder.join("cases").join(case::PROVED);
    let before = std::fs::read_to_string(&path).ok();
    let text = case::proved(compiled.folder(), proofs, before.as_deref());
    if before.as_deref() != Some(&text) {
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Renders a trace: element, rule, and the place in the source it came from; or every step.
pub(super) fn trace(folder: &Path, document: &Path, steps: bool, json: Option<Form>) -> Result<ExitCode> {
    let compiled = compile(folder)?;
    let named = compiled.folder().cases.iter().find(|case| Path::new(&case.name) == document);
    let (name, bytes) = match named {
        Some(case) if !document.exists() => {
            (folder.join(&case.input_file).display().to_string(), case.input.clone())
        }
        _ => {
            let cases: Vec<&str> = compiled.folder().cases.iter().map(|case| case.name.as_str()).collect();
            let bytes = std::fs::read(document).with_context(|| {
                format!(
                    "{}: no such document, and no such case; cases: {}",
                    document.display(),
                    cases.join(", ")
                )
            })?;
            (document.display().to_string(), bytes)
        }
    };
    let parsed = compiled.parse(&bytes);
    let (output, trace, record) = compiled.run_recorded(&bytes, &parsed);
    if let Some(form) = json {
        let parameters = match form {
            Form::Guide => case::trace_parameters(&record, &compiled, &parsed.tree, &output),
            Form::Lab => case::lab_parameters(&record, &compiled, &parsed.tree, &output),
        };
        say(&parameters);
        return Ok(ExitCode::SUCCESS);
    }
    if steps {
        say(case::render_trace(&record, &compiled, &parsed.tree).trim_end());
    }
    let format = compiled.folder().format();
    let show = |finding: &Finding| say(&format!("\n{}", excerpt::of_finding(finding, &name, format, &bytes)));
    for (at, unit) in output.units.iter().enumerate() {
        say(&format!("{} {:?}", unit.label, unit.state));
        for value in trace.values.iter().filter(|value| value.unit == at && !steps) {
            let span = parsed.tree.node(value.source).span;
            let source = parsed.tree.path(value.source);
            say(&format!(
                "  {:<52} {:<18} {source} (bytes {}-{})",
                value.path, value.rule, span.start, span.end
            ));
        }
        unit.findings.iter().for_each(show);
    }
    output.findings.iter().for_each(show);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn coverage(root: &Path) -> Result<ExitCode> {
    let mut failed = false;
    for path in folders(root)? {
        let report = case::report(&compile(&path)?);
        say(&format!("{}\n{report}", path.display()));
        failed |= report.failed();
    }
    if failed {
        say("a field is dropped: map it, or list it under [[ignore]] in mapping.toml with the reason");
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

pub(super) fn lint(root: &Path) -> Result<ExitCode> {
    let (mut errors, mut warnings) = (0, 0);
    for path in folders(root)? {
        let files = super::files::files(&path)?;
        for lint in case::lint(&compile(&path)?, &files, &path.display().to_string()) {
            match lint.level {
                "error" => errors += 1,
                _ => warnings += 1,
            }
            say(&format!("{lint}\n"));
        }
    }
    say(&format!("{errors} error(s), {warnings} warning(s)"));
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) fn diff(old: &Path, new: &Path, corpus: &Path) -> Result<ExitCode> {
    let (old, new) = (compile(old)?, compile(new)?);
    let documents = super::files::files(corpus)?;
    let (mut same, mut changed) = (0, 0);
    for (name, bytes) in &documents {
        if !case::is_input(name) {
            continue;
        }
        let differences = case::compare_outputs(&old.run(bytes), &new.run(bytes));
        if differences.is_empty() {
            same += 1;
            continue;
        }
        changed += 1;
        let shown: Vec<String> = differences.iter().map(ToString::to_string).collect();
        say(&format!("{name}:\n  {}", shown.join("\n  ")));
    }
    let version = |folder: &CompiledFolder| folder.folder().manifest.version.clone();
    say(&format!("{} -> {}: {same} documents the same, {changed} changed", version(&old), version(&new)));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn show(folder: &Path, language: Tongue, html: bool) -> Result<ExitCode> {
    let language = match language {
        Tongue::Nl => case::Language::Dutch,
        Tongue::En => case::Language::English,
    };
    let form = if html { case::SheetForm::Html } else { case::SheetForm::Markdown };
    say(case::show(&compile(folder)?, language, form).trim_end());
    Ok(ExitCode::SUCCESS)
}
