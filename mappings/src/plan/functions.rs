//! Functions of the FHIRPath subset and our own extension functions, over values already computed.

mod collection;
mod value;

use std::fmt::Write as _;

use crate::bsn::Bsn;
use crate::codes::Lookup;

use super::code::{Extension, Function};
use super::decimal;
use super::execute::Machine;
use super::item::{Item, Items};
use super::moment;
use super::problem::Problem;

/// Longest text one function may make, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;

impl<'t> Machine<'t> {
    pub(crate) fn function(
        &mut self,
        function: Function,
        base: Items<'t>,
        arguments: &[Items<'t>],
    ) -> Result<Items<'t>, Problem> {
        let items = base.as_slice();
        Ok(match function {
            Function::First => items.first().copied().into(),
            Function::Last => items.last().copied().into(),
            Function::Tail => items.iter().skip(1).copied().collect(),
            Function::Skip => items.iter().skip(self.count(arguments.first())?).copied().collect(),
            Function::Take => items.iter().take(self.count(arguments.first())?).copied().collect(),
            Function::Single if items.len() > 1 => {
                return Err(Problem::new(
                    "value-many",
                    "single() found several values",
                    "narrow it with where()",
                ));
            }
            Function::Single => base,
            Function::Empty => {
                items.iter().for_each(|item| self.tested(*item));
                Items::boolean(items.is_empty())
            }
            Function::Not => match items {
                [] => Items::Empty,
                [Item::Boolean(value)] => Items::boolean(!value),
                &[item] => match self.text(item) {
                    Some("true") => Items::boolean(false),
                    Some("false") => Items::boolean(true),
                    _ => Items::boolean(false),
                },
                _ => {
                    return Err(Problem::new(
                        "condition-many",
                        "not() of several values",
                        "use exists().not()",
                    ));
                }
            },
            Function::Count => {
                items.iter().for_each(|item| self.tested(*item));
                self.number(&items.len().to_string())?
            }
            Function::Sum => self.sum(items)?,
            Function::Combine => {
                items.iter().copied().chain(arguments.iter().flat_map(Items::as_slice).copied()).collect()
            }
            Function::Distinct => self.distinct(base),
            Function::HasValue => {
                let has = matches!(items, &[item] if self.text(item).is_some());
                Items::boolean(has)
            }
            Function::Join => {
                let separator = self.argument(arguments, 0)?.unwrap_or_default();
                let texts: Vec<&str> = items.iter().filter_map(|item| self.text(*item)).collect();
                if texts.is_empty() { Items::Empty } else { self.made(&texts.join(separator))? }
            }
            Function::Said => {
                let mut said = false;
                for at in 0..arguments.len() {
                    let name = self.argument(arguments, at)?.unwrap_or_default();
                    let tree = self.tree;
                    let there = |item: &Item<'t>| match item {
                        Item::Node(node) => tree.named(*node, name).next().is_some(),
                        _ => false,
                    };
                    said |= items.iter().any(there);
                }
                Items::boolean(said)
            }
            Function::FhirExtension => {
                let url = self.argument(arguments, 0)?.unwrap_or_default();
                let mut found = Items::Empty;
                for item in items {
                    let Item::Node(node) = item else { continue };
                    let tree = self.tree;
                    for extension in tree.named(*node, "extension") {
                        let fits = tree
                            .named(extension, "url")
                            .any(|u| self.text(Item::Node(u)).is_some_and(|text| text == url));
                        if fits {
                            found.push(Item::Node(extension));
                        }
                    }
                }
                found
            }
            Function::IsDistinct
            | Function::Every(_)
            | Function::Any(_)
            | Function::Union
            | Function::Intersect
            | Function::Exclude
            | Function::SubsetOf
            | Function::SupersetOf => self.collection(function, base, arguments)?,
            _ => match self.single_text(&base)? {
                Some(text) => self.text_function(function, text, arguments)?,
                None => Items::Empty,
            },
        })
    }

    /// Exact decimal sum; of nothing it is nothing. A text that is a number counts, since CSV and HL7v2 have texts only.
    /// Source: FHIRPath 3.0.0-ballot, aggregates `sum()`.
    fn sum(&mut self, items: &[Item<'t>]) -> Result<Items<'t>, Problem> {
        let mut total: Option<String> = None;
        for &item in items {
            let number = self.text(item).and_then(decimal::normal);
            let added = number.and_then(|number| match &total {
                None => Some(number),
                Some(total) => decimal::add(total, &number),
            });
            let Some(added) = added else {
                let problem = Problem::new(
                    "number-invalid",
                    "sum() of something that is no number",
                    "narrow it with where()",
                );
                return Err(problem.on(item));
            };
            total = Some(added);
        }
        total.map_or(Ok(Items::Empty), |total| self.number(&total))
    }

    fn text_function(
        &mut self,
        function: Function,
        text: &'t str,
        arguments: &[Items<'t>],
    ) -> Result<Items<'t>, Problem> {
        let given = self.argument(arguments, 0)?.unwrap_or("");
        Ok(match function {
            Function::Substring => {
                let start = self.count(arguments.first())?;
                let length = match arguments.get(1) {
                    Some(length) => self.count(Some(length))?,
                    None => usize::MAX,
                };
                if start >= text.chars().count() {
                    return Ok(Items::Empty);
                }
                Items::text(first_chars(after_chars(text, start), length))
            }
            Function::IndexOf => {
                let at =
                    text.find(given).map_or(-1, |at| text.get(..at).unwrap_or("").chars().count() as i64);
                self.number(&at.to_string())?
            }
            Function::Replace => {
                let with = self.argument(arguments, 1)?.unwrap_or_default();
                if text.matches(given).count().saturating_mul(with.len()) > TEXT_BYTES_MAX {
                    return Err(too_long());
                }
                self.made(&text.replace(given, with))?
            }
            Function::StartsWith => Items::boolean(text.starts_with(given)),
            Function::EndsWith => Items::boolean(text.ends_with(given)),
            Function::ContainsText => Items::boolean(text.contains(given)),
            Function::Length => self.number(&text.chars().count().to_string())?,
            Function::Upper => Items::text(self.texts.keep(&text.to_uppercase())?),
            Function::Lower => Items::text(self.texts.keep(&text.to_lowercase())?),
            Function::Trim => Items::text(text.trim()),
            Function::Split if given.is_empty() => Items::text(text),
            Function::Split => text.split(given).map(Item::Text).collect(),
            _ => return self.value(function, text, given),
        })
    }

    pub(crate) fn extension(
        &mut self,
        function: Extension,
        arguments: &[Items<'t>],
    ) -> Result<Items<'t>, Problem> {
        let value = arguments.first().unwrap_or(&Items::Empty);
        if function == Extension::Append || function == Extension::Stable {
            let (mut name, mut none) = (String::new(), true);
            for &item in arguments.iter().flat_map(Items::as_slice) {
                let Some(part) = self.text(item) else { continue };
                none = false;
                if function == Extension::Stable {
                    // Lengths keep ("ab","c") from ("a","bc"). Writing to a String cannot fail.
                    let _ = write!(name, "{}:", part.len());
                }
                name.push_str(part);
            }
            if function == Extension::Append {
                return if none { Ok(Items::Empty) } else { self.made(&name) };
            }
            // Version 5: the same parts always give the same id (RFC 9562 5.5).
            let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, name.as_bytes());
            let mut text = uuid::Uuid::encode_buffer();
            return Ok(Items::text(self.texts.keep(id.hyphenated().encode_lower(&mut text))?));
        }
        if function == Extension::Ordinal {
            return match value.first() {
                Some(Item::Node(node)) => self.number(&self.tree.node(node).ordinal.to_string()),
                _ => Ok(Items::Empty),
            };
        }
        if function == Extension::Pointer {
            return self.pointer(value);
        }
        let Some(text) = self.single_text(value)? else { return Ok(Items::Empty) };
        let on_value = |problem: Problem| match value.first() {
            Some(item) => problem.on(item),
            None => problem,
        };
        let second = self.argument(arguments, 1)?.unwrap_or_default();
        match function {
            Extension::Hl7DateTime => match moment::hl7(text, second) {
                Ok(moment) => Ok(Items::text(self.texts.keep(&moment)?)),
                Err(why) => Err(on_value(Problem::new(
                    "time-invalid",
                    why,
                    "send YYYYMMDDHHMM with a zone, or less precise",
                ))),
            },
            Extension::NlDate => {
                let zone = self.argument(arguments, 2)?.unwrap_or("Europe/Amsterdam");
                match moment::dutch(text, second, zone) {
                    Ok(moment) => Ok(Items::text(self.texts.keep(&moment)?)),
                    Err(why) => Err(on_value(Problem::new(
                        "date-invalid",
                        why,
                        format!("write the date as {second}"),
                    ))),
                }
            }
            Extension::DecimalComma => match decimal::from_comma(text) {
                Some(number) => self.number(&number),
                None => Err(on_value(Problem::new(
                    "number-invalid",
                    "not a number with a decimal comma",
                    "write 2,10 with no other signs",
                ))),
            },
            Extension::Bsn => match Bsn::parse(text.trim()) {
                Ok(bsn) => Ok(Items::text(self.texts.keep(bsn.as_str())?)),
                Err(why) => Err(on_value(Problem::new(
                    "bsn-invalid",
                    why.to_string(),
                    "send the BSN as verified with SBV-Z, nine digits",
                ))),
            },
            Extension::OidOrUri => Ok(Items::text(self.texts.keep(&oid_or_uri(text))?)),
            Extension::Truncate => {
                let length = self.count(arguments.get(1))?;
                Ok(Items::text(first_chars(text, length)))
            }
            Extension::Lookup => {
                let wanted = self.argument(arguments, 2)?.unwrap_or_default();
                let system = self.argument(arguments, 3)?.unwrap_or_default();
                Ok(match self.lookup(second, system, text) {
                    Lookup::Mapped(row) => {
                        let found = match wanted {
                            "display" => &row.target_display,
                            "system" => &row.target_system,
                            _ => &row.target_code,
                        };
                        if found.is_empty() { Items::Empty } else { Items::text(found) }
                    }
                    Lookup::NoMap | Lookup::Unmapped => Items::Empty,
                })
            }
            Extension::Append | Extension::Stable | Extension::Ordinal | Extension::Pointer => {
                Ok(Items::Empty)
            }
        }
    }

    /// What a Reference to a resource says: `Patient/12`; a text is taken as it is.
    fn pointer(&mut self, value: &Items<'t>) -> Result<Items<'t>, Problem> {
        let &[item] = value.as_slice() else {
            return Ok(self.single_text(value)?.map_or(Items::Empty, Items::text));
        };
        let (type_name, id) = match item {
            Item::Target(target) if self.target.text(target).is_none() => {
                let id = self.target.children_named(target, "id").first().copied();
                (self.target.type_name(target), id.and_then(|id| self.target.text(id)))
            }
            Item::Node(node) if self.tree.node(node).value == crate::source::Value::None => {
                let Some(type_name) = self.resource_type(item) else {
                    let problem = Problem::new(
                        "reference-type",
                        "only a resource can be referred to",
                        "name the resource",
                    );
                    return Err(problem.on(item));
                };
                let id = self.tree.named(node, "id").next();
                (type_name, id.and_then(|id| self.text(Item::Node(id))))
            }
            _ => {
                return Ok(self.single_text(value)?.map_or(Items::Empty, Items::text));
            }
        };
        match id {
            Some(id) => Ok(Items::text(self.texts.keep(&format!("{type_name}/{id}"))?)),
            None => {
                let text = format!("the {type_name} has no id to refer to it by");
                Err(Problem::new("reference-id", text, "give it an id, or use ref(Type, system, value)")
                    .on(item))
            }
        }
    }

    /// Text of argument `at`; `None` when it is absent or empty.
    pub(crate) fn argument(
        &mut self,
        arguments: &[Items<'t>],
        at: usize,
    ) -> Result<Option<&'t str>, Problem> {
        match arguments.get(at) {
            Some(items) => self.single_text(items),
            None => Ok(None),
        }
    }

    fn number(&mut self, number: &str) -> Result<Items<'t>, Problem> {
        Ok(Items::One(Item::Number(self.texts.keep(number)?)))
    }

    fn made(&mut self, text: &str) -> Result<Items<'t>, Problem> {
        if text.len() > TEXT_BYTES_MAX { Err(too_long()) } else { Ok(Items::text(self.texts.keep(text)?)) }
    }

    fn count(&mut self, items: Option<&Items<'t>>) -> Result<usize, Problem> {
        let text = match items {
            Some(items) => self.single_text(items)?,
            None => None,
        };
        text.and_then(|t| t.parse::<usize>().ok()).ok_or_else(|| {
            Problem::new("number-invalid", "a count is expected", "give a whole number from 0")
        })
    }
}

/// `2.16.840...` -> `urn:oid:2.16.840...`; a uri stays as it is; other text is left alone.
fn oid_or_uri(text: &str) -> String {
    let text = text.trim();
    let oid = text.strip_prefix("urn:oid:").or_else(|| text.strip_prefix("OID:")).unwrap_or(text);
    let is_oid = oid.contains('.')
        && oid.starts_with(['0', '1', '2'])
        && oid.split('.').all(|arc| !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()));
    if is_oid { format!("urn:oid:{oid}") } else { text.to_owned() }
}

/// The text behind its first `count` characters.
fn after_chars(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).map_or("", |(at, _)| text.get(at..).unwrap_or_default())
}

/// The first `count` characters of a text.
fn first_chars(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).map_or(text, |(at, _)| text.get(..at).unwrap_or_default())
}

fn too_long() -> Problem {
    Problem::new("limit-text", "a function would make more than a megabyte of text", "split the document")
}
