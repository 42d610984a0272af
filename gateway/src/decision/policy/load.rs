//! Policy files -> tables. Every code is checked against the file that defines it; a wrong one names file and line.

mod role;
mod table;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use serde::de::DeserializeOwned;
use sluis_conformance::definitions::r4;
use toml::Spanned;

use super::{Category, CategoryRule, ConsentKind, Label, Named, Policy, Purpose, Raise};
use crate::ids::ResourceType;
use table::{CategoriesFile, LabelsFile, PolicyFile, PurposesFile};

/// The files of a policy folder, in the order their digest is taken.
pub(super) const INCLUDED: [(&str, &str); 6] = [
    ("policy.toml", include_str!("../../../policy/policy.toml")),
    ("purposes.toml", include_str!("../../../policy/purposes.toml")),
    ("categories.toml", include_str!("../../../policy/categories.toml")),
    ("labels.toml", include_str!("../../../policy/labels.toml")),
    ("roles.toml", include_str!("../../../policy/roles.toml")),
    ("obligations.toml", include_str!("../../../policy/obligations.toml")),
];

/// Why a policy does not load. Nothing of it is in force.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{file}:{line}: {text}")]
pub struct PolicyError {
    /// File name.
    pub file: String,
    /// Line, from 1; 0 when the file itself is the matter.
    pub line: usize,
    /// What is wrong and what to do.
    pub text: String,
}

/// Reads the six files of a folder.
pub(super) fn read_folder(folder: &Path) -> Result<[(&'static str, String); 6], PolicyError> {
    let mut files = INCLUDED.map(|(file, _)| (file, String::new()));
    for (file, text) in &mut files {
        *text = std::fs::read_to_string(folder.join(*file)).map_err(|error| PolicyError {
            file: (*file).to_owned(),
            line: 0,
            text: format!("cannot be read ({error}); a policy folder holds all six files"),
        })?;
    }
    Ok(files)
}

/// Tables of the files, in the order of [`INCLUDED`].
pub(super) fn load(files: &[(&str, String); 6]) -> Result<Policy, PolicyError> {
    let sources = files.each_ref().map(|(file, text)| Source { file, text });
    let [policy, purposes, categories, labels, roles, obligations] = &sources;
    let mut loaded = heads(policy, purposes, categories, labels)?;
    loaded.sha256 = digest(files);
    rules(&mut loaded, categories, labels)?;
    loaded.roles = role::load(&loaded, roles, obligations)?;
    Ok(loaded)
}

/// One file under reading.
pub(in crate::decision) struct Source<'s> {
    pub(in crate::decision) file: &'s str,
    pub(in crate::decision) text: &'s str,
}

impl Source<'_> {
    /// The file as its table. Errors: not TOML, a missing or unknown key.
    pub(in crate::decision) fn parse<T: DeserializeOwned>(&self) -> Result<T, PolicyError> {
        toml::from_str(self.text)
            .map_err(|error| self.at(error.span().map_or(0, |span| span.start), error.message()))
    }

    pub(in crate::decision) fn at(&self, offset: usize, text: impl Into<String>) -> PolicyError {
        let before = self.text.get(..offset).unwrap_or(self.text);
        PolicyError { file: self.file.to_owned(), line: before.matches('\n').count() + 1, text: text.into() }
    }

    pub(in crate::decision) fn wrong(&self, at: &Spanned<String>, what: &str) -> PolicyError {
        self.at(at.span().start, format!("`{}` {what}", at.get_ref()))
    }
}

fn digest(files: &[(&str, String); 6]) -> String {
    let mut context = Context::new(&SHA256);
    for (file, text) in files {
        context.update(format!("{file}\0{}\0", text.len()).as_bytes());
        context.update(text.as_bytes());
    }
    context.finish().as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

fn heads(
    policy: &Source<'_>,
    purposes: &Source<'_>,
    categories: &Source<'_>,
    labels: &Source<'_>,
) -> Result<Policy, PolicyError> {
    let head: PolicyFile = policy.parse()?;
    if head.default.get_ref() != "deny" {
        return Err(policy.wrong(&head.default, "is not a default this version knows; write \"deny\""));
    }
    let label_file: LabelsFile = labels.parse()?;
    let confidentialities = label_file.confidentiality.order;
    let level = |source: &Source<'_>, code: &Spanned<String>| {
        let found = confidentialities.iter().zip(0u8..).find(|(c, _)| *c == code.get_ref());
        found.map(|(_, at)| at).ok_or_else(|| source.wrong(code, "is not a confidentiality of labels.toml"))
    };
    if confidentialities != ["U", "L", "M", "N", "R", "V"] {
        return Err(
            labels.at(0, "confidentiality.order must be U, L, M, N, R, V: stored rows hold its numbers")
        );
    }
    let mut loaded = Policy {
        basis: Arc::from(format!("{}:{}", head.canonical, head.version)),
        version: head.version,
        sha256: String::new(),
        confidentiality_unless_named: level(policy, &head.confidentiality_unless_named)?,
        confidentiality_unless_stated: level(labels, &label_file.confidentiality.unless_stated)?,
        consent_policies: head.consent_policies,
        kinds: head.organisation_kinds.into_iter().map(Named::from).collect(),
        purposes: Vec::new(),
        categories: Vec::new(),
        labels: Vec::new(),
        confidentialities: Vec::new(),
        roles: Vec::new(),
        kind_categories: BTreeMap::new(),
        category_rules: Vec::new(),
        day_elements: Vec::new(),
        raises: Vec::new(),
    };
    for row in purposes.parse::<PurposesFile>()?.purpose {
        unique(purposes, &row.code, loaded.purposes.iter().map(|p| &p.code))?;
        let consent = match row.consent.get_ref().as_str() {
            "privacy" => ConsentKind::Privacy,
            "research" => ConsentKind::Research,
            "none" => ConsentKind::None,
            _ => return Err(purposes.wrong(&row.consent, "is none of privacy, research, none")),
        };
        let code = row.code.into_inner();
        loaded.purposes.push(Purpose { code, display: row.display, consent, ground: row.ground });
    }
    for row in categories.parse::<CategoriesFile>()?.category {
        unique(categories, &row.code, loaded.categories.iter().map(|c| &c.code))?;
        loaded.categories.push(Category {
            code: row.code.into_inner(),
            display: row.display,
            open: row.open,
        });
    }
    for row in label_file.label {
        unique(labels, &row.code, loaded.labels.iter().map(|l| &l.code))?;
        loaded.labels.push(Label {
            code: row.code.into_inner(),
            display: row.display,
            explicit: row.explicit,
        });
    }
    for (source, count, max) in [
        (purposes, loaded.purposes.len(), 64),
        (categories, loaded.categories.len(), 64),
        // The consent compiler looks at every combination of the labels a patient's consents name.
        (labels, loaded.labels.len(), 12),
    ] {
        if count > max {
            return Err(source.at(0, format!("{count} rows, at most {max} fit")));
        }
    }
    loaded.confidentialities = confidentialities;
    Ok(loaded)
}

fn rules(loaded: &mut Policy, categories: &Source<'_>, labels: &Source<'_>) -> Result<(), PolicyError> {
    let file: CategoriesFile = categories.parse()?;
    for (category, kinds) in &file.types {
        let at = bit_position(loaded, category.get_ref())
            .ok_or_else(|| categories.wrong(category, "is not a category of this file"))?;
        for kind in kinds {
            if loaded.kind_categories.insert(known(categories, kind)?, at).is_some() {
                return Err(categories.wrong(kind, "has two categories"));
            }
        }
    }
    for kind in r4().resource_types() {
        if !loaded.kind_categories.contains_key(&kind) {
            let name = r4().type_name(kind);
            return Err(categories.at(0, format!("`{name}` has no category; name it under [types]")));
        }
    }
    for rule in file.rule {
        let category = bit_position(loaded, rule.category.get_ref())
            .ok_or_else(|| categories.wrong(&rule.category, "is not a category of this file"))?;
        if rule.codes.is_empty() && rule.prefixes.is_empty() {
            return Err(categories.wrong(&rule.category, "has a rule with neither codes nor prefixes"));
        }
        loaded.category_rules.push(CategoryRule {
            category,
            kinds: all_known(categories, &rule.types)?,
            element: rule.element,
            system: rule.system,
            codes: rule.codes,
            prefixes: rule.prefixes,
        });
    }
    loaded.day_elements =
        file.day.elements.iter().map(|path| path.split('.').map(str::to_owned).collect()).collect();
    for raise in labels.parse::<LabelsFile>()?.raise {
        let label = loaded
            .label(raise.label.get_ref())
            .ok_or_else(|| labels.wrong(&raise.label, "is not a label of this file"))?;
        let codes = !raise.codes.is_empty() || !raise.prefixes.is_empty();
        let by_code = codes && !raise.systems.is_empty();
        if raise.types.is_empty() && !by_code {
            return Err(labels.wrong(&raise.label, "is raised by neither types nor systems with codes"));
        }
        let kinds = all_known(labels, &raise.types)?;
        let (systems, codes, prefixes) = (raise.systems, raise.codes, raise.prefixes);
        loaded.raises.push(Raise { label, kinds, systems, codes, prefixes });
    }
    Ok(())
}

fn unique<'a>(
    source: &Source<'_>,
    code: &Spanned<String>,
    mut others: impl Iterator<Item = &'a String>,
) -> Result<(), PolicyError> {
    match others.any(|other| other == code.get_ref()) {
        true => Err(source.wrong(code, "stands twice")),
        false => Ok(()),
    }
}

fn bit_position(loaded: &Policy, category: &str) -> Option<u8> {
    super::position(loaded.categories.iter().map(|c| &c.code), category)
}

fn known(source: &Source<'_>, name: &Spanned<String>) -> Result<ResourceType, PolicyError> {
    r4().resource_type(name.get_ref()).ok_or_else(|| source.wrong(name, "is not a type of FHIR R4"))
}

fn all_known(source: &Source<'_>, names: &[Spanned<String>]) -> Result<Vec<ResourceType>, PolicyError> {
    names.iter().map(|name| known(source, name)).collect()
}
