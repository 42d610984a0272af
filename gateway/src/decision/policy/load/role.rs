//! Roles and what they owe: every cell explicit, one role for each (kind, who, purpose).

use std::collections::BTreeMap;
use std::sync::Arc;

use sluis_conformance::definitions::r4;
use toml::Spanned;

use super::table::{self, ObligationsFile, RolesFile};
use super::{Source, unique};
use crate::decision::policy::{Cells, Policy, PolicyError, Role, Users};

/// The roles with their obligations.
pub(super) fn load(
    loaded: &Policy,
    source: &Source<'_>,
    obligations: &Source<'_>,
) -> Result<Vec<Arc<Role>>, PolicyError> {
    let mut roles: Vec<Role> = Vec::new();
    for row in source.parse::<RolesFile>()?.role {
        unique(source, &row.name, roles.iter().map(|r| &r.name))?;
        let at = row.users.span().start;
        let users = match row.users.into_inner() {
            table::UsersRow::Codes(codes) => Users::Professionals(codes),
            table::UsersRow::Word(word) if word == "client" => Users::Client,
            table::UsersRow::Word(word) if word == "patient" => Users::Patient,
            table::UsersRow::Word(word) => {
                let text = format!("`{word}` is neither \"client\" nor \"patient\" nor a list of codes");
                return Err(source.at(at, text));
            }
        };
        for kind in &row.kinds {
            if !loaded.knows_kind(kind.get_ref()) {
                return Err(source.wrong(kind, "is not an organisation kind of policy.toml"));
            }
        }
        for purpose in &row.purposes {
            if loaded.purpose(purpose.get_ref()).is_none() {
                return Err(source.wrong(purpose, "is not a purpose of purposes.toml"));
            }
        }
        let mut labels_denied = 0;
        for label in &row.labels_denied {
            let bit = loaded.label(label.get_ref());
            labels_denied |= bit.ok_or_else(|| source.wrong(label, "is not a label of labels.toml"))?;
        }
        let confidentiality_max =
            loaded.confidentiality(row.confidentiality_max.get_ref()).ok_or_else(|| {
                source.wrong(&row.confidentiality_max, "is not a confidentiality of labels.toml")
            })?;
        let at = row.kinds_written.span().start;
        let kinds_written = match row.kinds_written.into_inner() {
            table::KindsRow::List(names) => {
                let kinds = names.iter().map(|name| r4().resource_type(name).ok_or(name));
                Some(
                    kinds
                        .collect::<Result<_, _>>()
                        .map_err(|name| source.at(at, format!("`{name}` is not a type of FHIR R4")))?,
                )
            }
            table::KindsRow::Word(word) if word == "all" => None,
            table::KindsRow::Word(word) => {
                return Err(source.at(at, format!("`{word}` is neither \"all\" nor a list of types")));
            }
        };
        roles.push(Role {
            cells: cells(loaded, source, &row.name, &row.cells)?,
            name: row.name.into_inner(),
            kinds: row.kinds.into_iter().map(Spanned::into_inner).collect(),
            users,
            purposes: row.purposes.into_iter().map(Spanned::into_inner).collect(),
            care_relation: row.care_relation,
            own: row.own,
            records_consent: row.records_consent,
            discards: row.discards,
            labels_denied,
            confidentiality_max,
            kinds_written,
            pseudonymise: false,
        });
    }
    one_role_each(source, &roles)?;
    for row in obligations.parse::<ObligationsFile>()?.obligation {
        let role = roles.iter_mut().find(|role| role.name == *row.role.get_ref());
        role.ok_or_else(|| obligations.wrong(&row.role, "is not a role of roles.toml"))?.pseudonymise |=
            row.pseudonymise;
    }
    for role in roles.iter().filter(|role| role.pseudonymise) {
        let identifiable = role.cells.read | role.cells.search;
        if identifiable & !loaded.categories_open() != 0 {
            return Err(obligations.at(0, format!(
                "role `{}` gets pseudonymised data, yet roles.toml lets it read patient data as it is (r or s); \
                 only bulk export (x) can be pseudonymised",
                role.name
            )));
        }
    }
    Ok(roles.into_iter().map(Arc::new).collect())
}

fn cells(
    loaded: &Policy,
    source: &Source<'_>,
    role: &Spanned<String>,
    rows: &BTreeMap<Spanned<String>, Spanned<String>>,
) -> Result<Cells, PolicyError> {
    let mut cells = Cells::default();
    let mut named = 0u64;
    for (category, letters) in rows {
        let bit = loaded.category(category.get_ref());
        let bit = bit.ok_or_else(|| source.wrong(category, "is not a category of categories.toml"))?;
        named |= bit;
        if letters.get_ref() == "-" {
            continue;
        }
        for letter in letters.get_ref().chars() {
            let mask = match letter {
                'c' => &mut cells.create,
                'r' => &mut cells.read,
                'u' => &mut cells.update,
                'd' => &mut cells.delete,
                's' => &mut cells.search,
                'x' => &mut cells.export,
                _ => return Err(source.wrong(letters, "is not made of the letters c r u d s x, nor \"-\"")),
            };
            *mask |= bit;
        }
        let places: Vec<_> = letters.get_ref().chars().map(|letter| "crudsx".find(letter)).collect();
        if !places.is_sorted_by(|a, b| a < b) {
            return Err(source.wrong(letters, "repeats a letter or has them out of the order crudsx"));
        }
        if letters.get_ref().is_empty() {
            return Err(source.wrong(letters, "is empty; write \"-\" for nothing"));
        }
    }
    let missing = loaded.category_codes(loaded.categories_all() & !named);
    if !missing.is_empty() {
        return Err(source.wrong(role, &format!("does not say what holds for: {}", missing.join(", "))));
    }
    Ok(cells)
}

/// No (kind, who, purpose) may lead to two roles: which one applied would be an accident of order.
fn one_role_each(source: &Source<'_>, roles: &[Role]) -> Result<(), PolicyError> {
    let mut taken: BTreeMap<(String, String, String), &str> = BTreeMap::new();
    for role in roles {
        let users: Vec<String> = match &role.users {
            Users::Professionals(codes) => codes.clone(),
            Users::Client => vec!["client".to_owned()],
            Users::Patient => vec!["patient".to_owned()],
        };
        for kind in &role.kinds {
            for user in &users {
                for purpose in &role.purposes {
                    let key = (kind.clone(), user.clone(), purpose.clone());
                    if let Some(other) = taken.insert(key, &role.name) {
                        return Err(source.at(
                            0,
                            format!("{kind}, {user}, {purpose} has two roles: `{other}` and `{}`", role.name),
                        ));
                    }
                }
            }
        }
    }
    Ok(())
}
