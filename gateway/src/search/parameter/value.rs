//! One value of a parameter, by the parameter's kind.

use sluis_conformance::definitions::{self, SearchKind, SearchParameter};
use sluis_conformance::path;

use crate::ids::ResourceId;
use crate::response::refusal::Refusal;
use crate::search::criterion::{SystemTest, Terms, Test, TokenTest, UnitTest};
use crate::search::text::normalise;
use crate::search::unit::Canonical;

use super::{SearchContext, invalid, no_modifier, range, split_values, unescape, unsupported};

/// Parts of the path of an address that `:above` takes apart.
const PARTS_MAX: usize = 32;

/// Reads values of one parameter.
pub(super) struct Reader<'p> {
    /// The parameter as written, for refusals.
    pub(super) name: &'p str,
    /// Its definition.
    pub(super) definition: &'static SearchParameter,
    /// Base address and present.
    pub(super) context: &'p SearchContext<'p>,
}

impl Reader<'_> {
    /// Reads one value; `text` still has its escapes.
    pub(super) fn read(&self, kind: SearchKind, modifier: Option<&str>, text: &str) -> Result<Test, Refusal> {
        if let Some(modifier) = modifier.filter(|m| !offers(kind, m)) {
            return Err(self.no_modifier(kind, modifier));
        }
        match kind {
            SearchKind::String => self.string(modifier, &unescape(text)),
            SearchKind::Token => match modifier {
                Some("text") => self.string(None, &unescape(text)),
                Some("of-type") => self.of_type(text),
                Some("in") => Ok(self.value_set(&unescape(text))),
                Some(modifier @ ("below" | "above")) => self.kin(modifier == "below", text),
                _ => self.token(text).map(Test::Token),
            },
            SearchKind::Date => range::date(self.name, &unescape(text), self.context.now).map(Test::Date),
            SearchKind::Number => range::number(self.name, &unescape(text)).map(Test::Number),
            SearchKind::Quantity => self.quantity(text),
            SearchKind::Reference => match modifier {
                Some(modifier @ ("below" | "above")) => self.places(modifier == "below", text),
                modifier => self.reference(modifier, text),
            },
            SearchKind::Uri => self.uri(modifier, unescape(text)),
            SearchKind::Composite => self.composite(text),
            SearchKind::Special => Err(unsupported(self.name, "This parameter is not offered.")),
        }
    }

    /// FHIR R4 search.html#string: from the start, unless a modifier says otherwise.
    fn string(&self, modifier: Option<&str>, text: &str) -> Result<Test, Refusal> {
        if modifier == Some("exact") {
            return Ok(Test::Exact(text.to_owned()));
        }
        let text = normalise(text);
        // Every text starts with the empty one.
        if text.is_empty() {
            return Err(invalid(self.name, "It has no letter to search for.".to_owned()));
        }
        Ok(if modifier.is_some() { Test::Contains(text) } else { Test::Starts(text) })
    }

    /// FHIR R4 search.html#token
    fn token(&self, text: &str) -> Result<TokenTest, Refusal> {
        let parts = split_values(text, '|');
        match parts.as_slice() {
            [code] => Ok(TokenTest { system: SystemTest::Any, code: Some(unescape(code)) }),
            ["", ""] => Err(invalid(self.name, "It names neither a system nor a code.".to_owned())),
            [system, ""] => Ok(TokenTest { system: SystemTest::Is(unescape(system)), code: None }),
            ["", code] => Ok(TokenTest { system: SystemTest::None, code: Some(unescape(code)) }),
            [system, code] => {
                Ok(TokenTest { system: SystemTest::Is(unescape(system)), code: Some(unescape(code)) })
            }
            _ => Err(invalid(self.name, "A token is code, system|code, |code or system|.".to_owned())),
        }
    }

    /// `:in=[address]` (FHIR R4 search.html#token): a value set by its canonical address, or as one of this gateway.
    fn value_set(&self, text: &str) -> Test {
        let address = text.strip_prefix(self.context.base).and_then(|rest| rest.strip_prefix('/'));
        let address = address.unwrap_or(text).to_owned();
        Test::Terms(Terms::In { name: self.name.to_owned(), address })
    }

    /// `:below=system|code`, `:above=system|code` (FHIR R4 search.html#token): what a code means depends on its system.
    fn kin(&self, below: bool, text: &str) -> Result<Test, Refusal> {
        match self.token(text)? {
            TokenTest { system: SystemTest::Is(system), code: Some(code) } => {
                Ok(Test::Terms(Terms::Kin { name: self.name.to_owned(), system, code, below }))
            }
            _ => Err(invalid(
                self.name,
                "It takes system|code: a hierarchy is one of a code system.".to_owned(),
            )),
        }
    }

    /// `:below`, `:above` (FHIR R4 search.html#recursive): by the hierarchy of what is referred to; `:below` of a canonical
    /// address by its versions.
    fn places(&self, below: bool, text: &str) -> Result<Test, Refusal> {
        match self.reference(None, text)? {
            Test::Reference(Some(kind), id) if super::part_of(kind).is_some() => {
                Ok(Test::Terms(Terms::Places { name: self.name.to_owned(), kind, id, below }))
            }
            // FHIR R4 search.html#versions: without a version every one; an address is found without it as well.
            Test::Address(address) if below && self.is_canonical() => match address.rsplit_once('|') {
                Some((_, version)) if !version.is_empty() => Ok(Test::Versions(address)),
                _ => Ok(Test::Address(address)),
            },
            Test::Reference(None, _) => Err(invalid(
                self.name,
                "Name the type: Location/[id], Organization/[id], Encounter/[id].".to_owned(),
            )),
            _ => Err(no_modifier(
                self.name,
                "Of what is referred to, Location, Organization and Encounter stand in a hierarchy.",
            )),
        }
    }

    /// Whether what the parameter looks at are canonical addresses.
    fn is_canonical(&self) -> bool {
        let definitions = definitions::r4();
        let mut kinds = self.definition.bases.iter().filter_map(|base| definitions.resource_type(base));
        kinds.any(|kind| {
            path::compile(definitions, kind, self.definition.expression)
                .is_ok_and(|paths| paths.iter().any(|path| path.type_name() == "canonical"))
        })
    }

    /// `:of-type=system|code|value` (FHIR R4 search.html#token): type of the identifier and its value, none left out.
    fn of_type(&self, text: &str) -> Result<Test, Refusal> {
        let parts: Vec<String> = split_values(text, '|').into_iter().map(unescape).collect();
        match <[String; 3]>::try_from(parts) {
            Ok([system, code, value]) if ![&system, &code, &value].iter().any(|part| part.is_empty()) => {
                Ok(Test::OfType { system, code, value })
            }
            _ => Err(invalid(
                self.name,
                "It takes system|code|value: the identifier's type, and its value.".to_owned(),
            )),
        }
    }

    /// FHIR R4 search.html#uri: `:below` is what the address starts, `:above` what starts the address, path by path.
    fn uri(&self, modifier: Option<&str>, text: String) -> Result<Test, Refusal> {
        let Some(modifier) = modifier else { return Ok(Test::Uri(text)) };
        let Some((scheme, path)) = text.split_once("://") else {
            let text = "This modifier takes an address with a path (http://...); a URN has no parts.";
            return Err(invalid(self.name, text.to_owned()));
        };
        if modifier == "below" {
            return Ok(Test::UriBelow(text));
        }
        if path.matches('/').count() > PARTS_MAX {
            return Err(invalid(self.name, format!("At most {PARTS_MAX} parts of a path.")));
        }
        let mut above = vec![text.clone()];
        let start = scheme.len() + "://".len();
        for (at, _) in path.match_indices('/') {
            for end in [start + at, start + at + 1] {
                let part = text.get(..end).unwrap_or(&text).to_owned();
                if !above.contains(&part) {
                    above.push(part);
                }
            }
        }
        Ok(Test::UriAbove(above))
    }

    /// FHIR R4 search.html#quantity
    fn quantity(&self, text: &str) -> Result<Test, Refusal> {
        let parts: Vec<String> = split_values(text, '|').into_iter().map(unescape).collect();
        let unit = match parts.as_slice() {
            [_] => UnitTest::Any,
            [_, system, code] => match (system.as_str(), code.as_str()) {
                (_, "") => return Err(invalid(self.name, "A unit is missing after the system.".to_owned())),
                ("", unit) => UnitTest::Named(unit.to_owned()),
                (system, code) => UnitTest::Coded(SystemTest::Is(system.to_owned()), code.to_owned()),
            },
            _ => {
                let text = "A quantity is number, number|system|code or number||unit.";
                return Err(invalid(self.name, text.to_owned()));
            }
        };
        let number = parts.first().map(String::as_str).unwrap_or("");
        let number = range::number(self.name, number)?;
        if let UnitTest::Coded(SystemTest::Is(system), code) = &unit
            && let Some(canonical) = Canonical::of(Some(system), code)
            && let Some(number) = range::canonical(&number, &canonical)
        {
            return Ok(Test::Quantity(number, UnitTest::Canonical(canonical.unit)));
        }
        Ok(Test::Quantity(number, unit))
    }

    /// FHIR R4 search.html#reference: `id`, `Type/id`, or an address.
    fn reference(&self, modifier: Option<&str>, text: &str) -> Result<Test, Refusal> {
        if modifier == Some("identifier") {
            return self.token(text).map(Test::Token);
        }
        let text = unescape(text);
        let definitions = definitions::r4();
        let named = match modifier {
            None => None,
            Some(name) => Some(definitions.resource_type(name).ok_or_else(|| {
                no_modifier(
                    self.name,
                    "The modifiers of a reference are :identifier, :above, :below, :missing and a type's name.",
                )
            })?),
        };
        let base = self.context.base;
        let relative = text.strip_prefix(base).and_then(|rest| rest.strip_prefix('/')).unwrap_or(&text);
        let (kind, id) = match relative.split_once('/') {
            None => (None, relative),
            Some((name, id)) => match definitions.resource_type(name) {
                Some(kind) => (Some(kind), id),
                None if relative.contains(':') => return Ok(Test::Address(text)),
                None => return Err(self.no_reference()),
            },
        };
        if kind.is_none() && relative.contains(':') {
            return Ok(Test::Address(text));
        }
        match (named, kind) {
            (Some(named), Some(kind)) if named != kind => {
                Err(invalid(self.name, "The value names another type than the modifier.".to_owned()))
            }
            _ => {
                let id = ResourceId::parse(id).ok_or_else(|| self.no_reference())?;
                // A parameter with one target type means that type by a bare id (`patient=p1`).
                let only = match self.definition.targets.as_slice() {
                    [only] => Some(*only),
                    _ if self.definition.code == "patient" => definitions.resource_type("Patient"),
                    _ => None,
                };
                Ok(Test::Reference(kind.or(named).or(only), id))
            }
        }
    }

    /// FHIR R4 search.html#combining: the components' values joined by `$`.
    fn composite(&self, text: &str) -> Result<Test, Refusal> {
        let components: Vec<_> = super::components(self.definition).collect();
        let parts = split_values(text, '$');
        if parts.len() != components.len() {
            let text = format!("It takes {} values, joined by $.", components.len());
            return Err(invalid(self.name, text));
        }
        let tests = components.into_iter().zip(parts).map(|((kind, definition), part)| {
            if part.is_empty() {
                return Err(invalid(self.name, "A component has no value.".to_owned()));
            }
            Ok((kind, Reader { definition, ..*self }.read(kind, None, part)?))
        });
        Ok(Test::Composite(tests.collect::<Result<_, _>>()?))
    }

    fn no_reference(&self) -> Refusal {
        invalid(self.name, "A reference is id, Type/id or an absolute address.".to_owned())
    }

    fn no_modifier(&self, kind: SearchKind, modifier: &str) -> Refusal {
        let offered = match kind {
            SearchKind::String => ":exact, :contains and :missing",
            SearchKind::Token => ":not, :text, :of-type, :in, :not-in, :above, :below and :missing",
            SearchKind::Uri => ":above, :below and :missing",
            SearchKind::Reference => ":identifier, :above, :below, :missing and a type's name",
            _ => ":missing",
        };
        let known =
            ["text", "in", "not-in", "below", "above", "ofType", "of-type", "iterate", "exact", "contains"];
        let what = if known.contains(&modifier) || modifier == "not" { "not offered" } else { "not known" };
        no_modifier(self.name, &format!("This modifier is {what}; a parameter of this kind takes {offered}."))
    }
}

/// Reads a logical id.
pub(super) fn id(name: &str, text: &str) -> Result<ResourceId, Refusal> {
    ResourceId::parse(text)
        .ok_or_else(|| invalid(name, "An id is 1 to 64 letters, digits, hyphens or points.".to_owned()))
}

/// Whether a parameter of `kind` may carry `modifier` (besides `:missing` and `:not`, read before).
fn offers(kind: SearchKind, modifier: &str) -> bool {
    match kind {
        SearchKind::String => matches!(modifier, "exact" | "contains"),
        SearchKind::Token => matches!(modifier, "text" | "of-type" | "in" | "above" | "below"),
        SearchKind::Uri => matches!(modifier, "above" | "below"),
        SearchKind::Reference => {
            matches!(modifier, "identifier" | "above" | "below")
                || definitions::r4().resource_type(modifier).is_some()
        }
        _ => false,
    }
}
