//! HL7/fhir-cross-version: the maps from STU3 to R4.

use std::path::Path;

use sluis_mappings::fml::Profile;
use sluis_mappings::model::Models;
use sluis_mappings::plan::{Options, Plan};

use super::{Check, Failure, files, name, refused, text};

pub(crate) fn checks(root: &Path) -> Vec<Check> {
    let folder = root.join("fhir-cross-version/input/R3toR4");
    let maps: Vec<(String, String)> =
        files(&folder, &["fml"]).iter().map(|path| (name(&folder, path), text(path))).collect();
    let given: Vec<(&str, &str)> = maps.iter().map(|(name, text)| (&**name, &**text)).collect();
    let options = Options { models: Models::default(), profile: Profile::Open, ..Options::default() };
    let loaded = Plan::library(&given, &options);
    let errors = loaded.as_ref().err().map(Vec::as_slice).unwrap_or_default();
    let check = |(name, _): &(String, String)| {
        let own: Vec<_> = errors.iter().filter(|error| error.file == *name).cloned().collect();
        let outcome = if own.is_empty() { Ok(()) } else { Err(refused(&own)) };
        Check { stage: "load", name: name.clone(), outcome }
    };
    let mut checks: Vec<Check> = maps.iter().map(check).collect();
    if let (Some(first), true) = (errors.first(), checks.iter().all(|check| check.outcome.is_ok())) {
        checks.push(Check {
            stage: "load",
            name: "all".into(),
            outcome: Err(Failure::new(first.code, first.text.clone())),
        });
    }
    checks
}
