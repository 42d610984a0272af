//! Text of SMART scopes -> [`Scope`], and what two of them have in common.
//!
//! A scope that is not understood whole is no scope: never approximated, never widened. Scopes with search parameters
//! (`?category=...`) are not granted in this version.
//! Source: SMART App Launch 2.2 scopes-and-launch-context.html

use std::fmt;

use sluis_conformance::definitions;

use super::actor::{Permissions, Scope, ScopeLevel};

impl Scope {
    /// Reads one scope. `None`: not of the grammar, letters out of order, a type R4 has not, or with a search part.
    ///
    /// The forms of SMART 1 are read as the letters they stand for: `.read` is `rs`, `.write` is `cud`, `.*` is `cruds`.
    pub fn parse(text: &str) -> Option<Scope> {
        let (level, rest) = text.split_once('/')?;
        let level = match level {
            "patient" => ScopeLevel::Patient,
            "user" => ScopeLevel::User,
            "system" => ScopeLevel::System,
            _ => return None,
        };
        let (kind, letters) = rest.split_once('.')?;
        let kind = match kind {
            "*" => None,
            name => {
                definitions::r4().resource_type(name)?;
                Some(name.into())
            }
        };
        Some(Scope { level, kind, permissions: Permissions::parse(letters)? })
    }

    /// What both allow. `None`: nothing.
    pub fn meet(&self, other: &Scope) -> Option<Scope> {
        let kind = match (&self.kind, &other.kind) {
            (None, kind) | (kind, None) => kind.clone(),
            (Some(a), Some(b)) if a == b => Some(a.clone()),
            _ => return None,
        };
        let (a, b) = (self.permissions, other.permissions);
        let permissions = Permissions {
            create: a.create && b.create,
            read: a.read && b.read,
            update: a.update && b.update,
            delete: a.delete && b.delete,
            search: a.search && b.search,
        };
        (self.level == other.level && permissions != Permissions::default()).then_some(Scope {
            level: self.level,
            kind,
            permissions,
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            ScopeLevel::Patient => "patient",
            ScopeLevel::User => "user",
            ScopeLevel::System => "system",
        };
        write!(f, "{level}/{}.{}", self.kind.as_deref().unwrap_or("*"), self.permissions)
    }
}

impl Permissions {
    /// Reads letters in the order `cruds`, at least one, none twice.
    fn parse(letters: &str) -> Option<Permissions> {
        let letters = match letters {
            "read" => "rs",
            "write" => "cud",
            "*" => "cruds",
            letters => letters,
        };
        let mut permissions = Permissions::default();
        let mut rest = "cruds".chars();
        for letter in letters.chars() {
            // Looks on from where the last letter stood, so order and repetition are judged at once.
            rest.find(|expected| *expected == letter)?;
            match letter {
                'c' => permissions.create = true,
                'r' => permissions.read = true,
                'u' => permissions.update = true,
                'd' => permissions.delete = true,
                _ => permissions.search = true,
            }
        }
        (permissions != Permissions::default()).then_some(permissions)
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (on, letter) in
            [(self.create, "c"), (self.read, "r"), (self.update, "u"), (self.delete, "d"), (self.search, "s")]
        {
            if on {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

/// The scopes of a token request that a registration covers: each requested one met with each allowed one, none twice.
/// What is not understood falls away.
pub fn grant(requested: &str, allowed: &[Scope]) -> Vec<Scope> {
    let mut granted: Vec<Scope> = Vec::new();
    for scope in requested.split(' ').filter_map(Scope::parse) {
        for scope in allowed.iter().filter_map(|allowed| scope.meet(allowed)) {
            if !granted.contains(&scope) {
                granted.push(scope);
            }
        }
    }
    granted
}

/// Scopes as one text, as tokens and answers hold them.
pub fn text(scopes: &[Scope]) -> String {
    scopes.iter().map(Scope::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;

    fn allowed(text: &str) -> Vec<Scope> {
        text.split(' ').map(|scope| Scope::parse(scope).unwrap()).collect()
    }

    #[test]
    fn scopes_read_back_as_they_are_written() {
        for text in ["system/*.cruds", "patient/Observation.rs", "user/Condition.c", "system/CarePlan.cus"] {
            assert_eq!(Scope::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Scope::parse("system/Patient.read").unwrap().to_string(), "system/Patient.rs");
        assert_eq!(Scope::parse("system/*.*").unwrap().to_string(), "system/*.cruds");
    }

    #[test]
    fn scope_not_understood_whole_is_no_scope() {
        for text in [
            "system/*.sr",
            "system/*.dus",
            "system/*.rr",
            "system/*.",
            "system/*.x",
            "system/Foo.rs",
            "system/*",
            "system/patient.rs",
            "System/Patient.rs",
            "launch",
            "openid",
            "system/Observation.rs?category=a",
            "system/Observation.rs?patient.birthdate=2000",
            "system/Observation.rs%3Fcategory=a",
            "/.",
            "",
            "system/.rs",
            "system/*.READ",
            "system/*/x.rs",
            "*/*.rs",
        ] {
            assert_eq!(Scope::parse(text), None, "{text}");
        }
    }

    #[test]
    fn granted_is_what_request_and_registration_share() {
        let max = allowed("system/Observation.rs system/Patient.r system/*.c");
        assert_eq!(text(&grant("system/*.cruds", &max)), "system/Observation.rs system/Patient.r system/*.c");
        assert_eq!(
            text(&grant("system/Observation.crs", &max)),
            "system/Observation.rs system/Observation.c"
        );
        assert_eq!(text(&grant("user/Observation.rs system/Patient.s", &max)), "");
        assert_eq!(text(&grant("system/Patient.r system/Patient.r openid", &max)), "system/Patient.r");
    }
}
