//! `sluis map fill`: rows somebody filled in, into the code table they are of.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use sluis_mappings::codes::fill;
use sluis_mappings::folder::{Diagnostic, Manifest};

use super::files::compile;
use crate::say;

/// Writes the filled rows into the table's file and compiles the folder with them. Errors: the table is as it was.
pub(super) fn fill(folder: &Path, filled: &Path, table: Option<&str>) -> Result<ExitCode> {
    let manifest_path = folder.join("mapping.toml");
    let text =
        std::fs::read_to_string(&manifest_path).with_context(|| manifest_path.display().to_string())?;
    let manifest = Manifest::parse("mapping.toml", &text).map_err(|found| all(&found))?;
    let named = || filled.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.split('.').nth(1));
    let Some(table) = table.or_else(named) else {
        bail!("{}: of which table? Name it with --table", filled.display());
    };
    let Some(entry) = manifest.codes.get(table) else {
        let tables: Vec<&str> = manifest.codes.keys().map(String::as_str).collect();
        bail!(
            "{}: no code table `{table}`; there are: {}. For a table of the library, add `[codes.{table}]` with a file of its header alone",
            manifest_path.display(),
            tables.join(", ")
        );
    };
    let path = folder.join(&entry.file);
    let before = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let rows = std::fs::read(filled).with_context(|| filled.display().to_string())?;
    let shown = filled.display().to_string();
    let done = fill::fill(&entry.file, &before, &shown, &rows, &entry.allow).map_err(|found| all(&found))?;
    if done.added > 0 {
        std::fs::write(&path, &done.table).with_context(|| path.display().to_string())?;
        if let Err(error) = compile(folder) {
            std::fs::write(&path, &before).with_context(|| path.display().to_string())?;
            return Err(error.context(format!("{}: left as it was", path.display())));
        }
    }
    say(&format!(
        "{}: {} rows added, {} there already, {} not filled in",
        path.display(),
        done.added,
        done.known,
        done.open
    ));
    Ok(ExitCode::SUCCESS)
}

fn all(found: &[Diagnostic]) -> anyhow::Error {
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    anyhow!("{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_rows_go_into_the_table_the_file_is_named_after() {
        let root = std::env::temp_dir().join(format!("sluis-fill-{}", std::process::id()));
        sluis::ingest::map::write_shipped(&root).unwrap();
        let folder = root.join("umc-lab");
        let filled = root.join("umc-lab.tests.csv");
        let header = "system;code;display;target_system;target_code;target_display;relationship;comment\r\n";
        let row = "urn:oid:2.999.90000101.5;SNIF;Sniff;http://loinc.org;19868-9;;wider;\r\n";
        std::fs::write(&filled, format!("{header}{row}")).unwrap();
        fill(&folder, &filled, None).unwrap();
        let table = std::fs::read_to_string(folder.join("codes/tests.csv")).unwrap();
        assert!(table.contains(",SNIF,Sniff,http://loinc.org,19868-9,,wider,"), "{table}");
        fill(&folder, &filled, Some("tests")).unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("codes/tests.csv")).unwrap(), table);
        assert!(fill(&folder, &filled, Some("nergens")).unwrap_err().to_string().contains("tests"));
        std::fs::write(&filled, format!("{header}{}", row.replace("19868-9", "1-1"))).unwrap();
        assert!(fill(&folder, &filled, None).unwrap_err().to_string().contains("otherwise"));
        assert_eq!(std::fs::read_to_string(folder.join("codes/tests.csv")).unwrap(), table);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
