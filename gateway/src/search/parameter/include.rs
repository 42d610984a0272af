//! `_include` and `_revinclude`, with `:iterate` and wildcards.
//!
//! Source: FHIR R4 search.html#revinclude

use sluis_conformance::definitions::{self, SearchKind};

use crate::ids::ResourceType;
use crate::response::refusal::Refusal;
use crate::search::criterion::Include;

use super::{find, invalid, kind_named, no_modifier, parameter_of};

/// Reads one; `None` when the name is neither.
///
/// Errors: `ParameterUnknown` and `ParameterInvalid`, with the name as their expression.
pub(super) fn read(kind: ResourceType, name: &str, text: &str) -> Result<Option<Include>, Refusal> {
    let (reverse, iterate) = match name {
        "_include" => (false, false),
        "_include:iterate" => (false, true),
        "_revinclude" => (true, false),
        "_revinclude:iterate" => (true, true),
        _ if matches!(name.split(':').next(), Some("_include" | "_revinclude")) => {
            return Err(no_modifier(name, "Of modifiers it takes :iterate."));
        }
        _ => return Ok(None),
    };
    let asked = Asked { kind, name, reverse, iterate };
    asked.read(text).map(Some)
}

struct Asked<'p> {
    /// Type searched.
    kind: ResourceType,
    name: &'p str,
    reverse: bool,
    iterate: bool,
}

impl Asked<'_> {
    fn read(&self, text: &str) -> Result<Include, Refusal> {
        let Asked { kind, name, reverse, iterate } = *self;
        let definitions = definitions::r4();
        let parts: Vec<&str> = text.split(':').collect();
        let (source, code, target) = match parts.as_slice() {
            ["*"] => (None, None, None),
            [source, "*"] => (Some(kind_named(self.name, source)?), None, None),
            [source, code] => (Some(kind_named(self.name, source)?), Some(*code), None),
            [source, code, target] => {
                let code = Some(*code).filter(|code| *code != "*");
                (Some(kind_named(self.name, source)?), code, Some(kind_named(self.name, target)?))
            }
            _ => return Err(invalid(name, "It has the form `Type:parameter[:Target]`.".to_owned())),
        };
        if source.is_none() && reverse && iterate {
            return Err(invalid(name, "Name the type that refers: `Type:parameter` or `Type:*`.".to_owned()));
        }
        let own = definitions.type_name(kind);
        if !iterate && !reverse && source.is_some_and(|source| source != kind) {
            let text =
                format!("The matches are of {own}; includes of what is included take _include:iterate.");
            return Err(invalid(name, text));
        }
        if !iterate && reverse && target.is_some_and(|target| target != kind) {
            let text =
                format!("The matches are of {own}; what refers to included ones takes _revinclude:iterate.");
            return Err(invalid(name, text));
        }
        let parameter = match (source, code) {
            (Some(source), Some(code)) => {
                let definition = find(source, code, name)?;
                if definition.kind != SearchKind::Reference {
                    return Err(invalid(name, format!("{code} is no reference parameter.")));
                }
                let to = if reverse && !iterate { Some(kind) } else { target };
                let targets = &definition.targets;
                if let Some(to) = to.filter(|to| !targets.is_empty() && !targets.contains(to)) {
                    let text = format!("{code} does not refer to {}.", definitions.type_name(to));
                    return Err(invalid(name, text));
                }
                Some(parameter_of(source, definition))
            }
            _ => None,
        };
        // `_include=*` is of the matches: of their type.
        let source = if source.is_none() && !reverse && !iterate { Some(kind) } else { source };
        Ok(Include { reverse, iterate, source, parameter, target, reach: Vec::new() })
    }
}
