//! Scripts and claims, as written.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

/// One script: an interaction, its place in the specification, its steps.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    /// File name without ending; filled in on loading.
    #[serde(skip)]
    pub(crate) name: String,
    /// Section of the specification it proves.
    pub(crate) source: String,
    /// What must hold, one sentence.
    pub(crate) proves: String,
    /// In order.
    #[serde(rename = "step")]
    pub(crate) steps: Vec<Step>,
}

/// One request and what must come back. `{name}` in texts is replaced by what an earlier step captured;
/// `{base}` is the server's base URL and `{run}` a number that is another one in every run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// Actor whose token is used; none for an open request.
    #[serde(rename = "as")]
    pub(crate) actor: Option<String>,
    /// `GET Patient/{id}`: method, and path below the base or absolute URL.
    pub(crate) request: String,
    /// Request headers.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// Request body.
    pub(crate) body: Option<String>,
    /// Status, or any of several.
    pub(crate) status: Statuses,
    /// Response headers: exact text, or `/…/` that must be contained.
    #[serde(default)]
    pub(crate) header: BTreeMap<String, String>,
    /// JSON pointers and what must stand there: exact value, `"*"` for anything, `"-"` for nothing.
    #[serde(default)]
    pub(crate) expect: BTreeMap<String, toml::Value>,
    /// Texts the body must hold.
    #[serde(default)]
    pub(crate) contains: Vec<String>,
    /// Texts the body must not hold.
    #[serde(default)]
    pub(crate) lacks: Vec<String>,
    /// The body is this and nothing else.
    pub(crate) equals: Option<String>,
    /// Ask again for so long while the answer is 202 or 429 and that is not what is due (asynchronous requests).
    #[serde(default)]
    pub(crate) wait_seconds: u64,
    /// Names for values at JSON pointers (`/id`), of headers (`header:location`) or for the whole body (`body`).
    #[serde(default)]
    pub(crate) capture: BTreeMap<String, String>,
}

/// Allowed statuses.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Statuses {
    One(u16),
    Many(Vec<u16>),
}

impl Statuses {
    pub(crate) fn allow(&self, status: u16) -> bool {
        match self {
            Statuses::One(one) => *one == status,
            Statuses::Many(many) => many.contains(&status),
        }
    }
}

/// One sentence of the CapabilityStatement.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claim {
    /// The sentence.
    pub(crate) sentence: String,
    /// What of the CapabilityStatement it speaks for: items of [`super::statement`], with `*` for every type.
    #[serde(default)]
    pub(crate) covers: Vec<String>,
    /// Scripts that prove it.
    #[serde(default)]
    pub(crate) scripts: Vec<String>,
    /// Why it is not claimed, when it is not.
    pub(crate) not_claimed: Option<String>,
}

/// All that is in the folder.
pub(crate) struct Loaded {
    pub(crate) scripts: Vec<Script>,
    pub(crate) claims: Vec<Claim>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    claim: Vec<Claim>,
}

/// Reads the folder; an unreadable script is an error, never skipped.
pub(crate) fn load(folder: &Path) -> Result<Loaded, String> {
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()));
    let claims_path = folder.join("claims.toml");
    let claims: Claims =
        toml::from_str(&read(&claims_path)?).map_err(|e| format!("{}: {e}", claims_path.display()))?;
    let scripts_path = folder.join("scripts");
    let mut paths: Vec<_> = std::fs::read_dir(&scripts_path)
        .map_err(|e| format!("{}: {e}", scripts_path.display()))?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    paths.sort();
    let mut scripts = Vec::new();
    for path in paths {
        let mut script: Script =
            toml::from_str(&read(&path)?).map_err(|e| format!("{}: {e}", path.display()))?;
        script.name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        scripts.push(script);
    }
    if scripts.is_empty() {
        return Err(format!("{}: no scripts", scripts_path.display()));
    }
    Ok(Loaded { scripts, claims: claims.claim })
}
