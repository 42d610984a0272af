//! `cases/proved.toml`: which version of the mapping gave which output. A changed output under an unchanged version would
//! make two meanings of one version, which Provenance names.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Case, Proof};
use crate::folder::{Diagnostic, Folder};

/// Its name inside `cases/`.
pub const PROVED: &str = "proved.toml";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Proved {
    version: String,
    #[serde(default)]
    output: BTreeMap<String, String>,
}

/// Text of `proved.toml` after the cases were blessed, given the one before. A case that gave other output for the same
/// input under the same version keeps its earlier entry, so that [`super::lint()`] sees it. Versions before 1.0.0 promise
/// nothing (semver.org, item 4): they are noted anew each time.
pub fn proved(folder: &Folder, proofs: &[Proof], before: Option<&str>) -> String {
    let version = &folder.manifest.version;
    let before: Proved = before.and_then(|text| toml::from_str(text).ok()).unwrap_or_default();
    let kept = before.version == *version && !version.starts_with("0.");
    let mut text = format!(
        "# Written by `sluis map test --bless`: input and output of each case, fingerprinted, under this version.\n\
         version = \"{version}\"\n\n[output]\n"
    );
    for (case, proof) in cases(folder, proofs) {
        let now = fingerprint(case, &proof.out);
        let earlier = before.output.get(&case.name).filter(|earlier| kept && same_input(earlier, &now));
        text += &format!("\"{}\" = \"{}\"\n", case.name, earlier.unwrap_or(&now));
    }
    text
}

/// Cases whose output changed while input and version stayed.
pub(super) fn unchanged(
    folder: &Folder,
    proofs: &[Proof],
    files: &BTreeMap<String, Vec<u8>>,
) -> Vec<Diagnostic> {
    let version = &folder.manifest.version;
    let Some(bytes) = files.get(&format!("cases/{PROVED}")) else { return Vec::new() };
    let proved: Result<Proved, _> = toml::from_str(&String::from_utf8_lossy(bytes));
    let proved = match proved {
        Ok(proved) if proved.version == *version && !version.starts_with("0.") => proved,
        Ok(_) => return Vec::new(),
        Err(_) => {
            let remedy = "remove it and bless the cases again, under a new version";
            return vec![Diagnostic::new(format!("cases/{PROVED}"), 0, "the file cannot be read", remedy)];
        }
    };
    let manifest = files.get("mapping.toml").map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let line = manifest.iter().flat_map(|text| text.lines()).position(|line| line.starts_with("version"));
    cases(folder, proofs)
        .filter_map(|(case, proof)| {
            let now = fingerprint(case, &proof.out);
            let then = proved.output.get(&case.name)?;
            (same_input(then, &now) && *then != now).then(|| {
                Diagnostic::new(
                    "mapping.toml",
                    line.map_or(0, |line| line as u32 + 1),
                    format!("case `{}` gives other output than version {version} gave before", case.name),
                    "raise the version, then bless",
                )
            })
        })
        .collect()
}

fn cases<'f>(folder: &'f Folder, proofs: &'f [Proof]) -> impl Iterator<Item = (&'f Case, &'f Proof)> {
    folder.cases.iter().filter_map(|case| Some((case, proofs.iter().find(|proof| proof.name == case.name)?)))
}

fn same_input(one: &str, other: &str) -> bool {
    one.split(' ').next() == other.split(' ').next()
}

/// Name-based UUIDs (version 5) of input and output: they tell changes apart, and prove nothing against an adversary.
fn fingerprint(case: &Case, out: &str) -> String {
    let of = |bytes: &[u8]| uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, bytes).simple().to_string();
    format!("{} {}", of(&case.input), of(out.as_bytes()))
}
