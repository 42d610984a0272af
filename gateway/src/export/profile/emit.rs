//! A stored resource -> the line that leaves, by the table.

use sluis_conformance::definitions::{self, Found, Strength, Structure};
use sluis_conformance::json::{self, Kind, Node};

use super::table::{Field, Profile, Rule, Shape};
use super::{Identity, date};
use crate::clock::Timestamp;
use crate::export::pseudonym::Pseudonymizer;

/// Whose resource it is, and under which names it leaves.
pub struct Subject<'s> {
    /// Names of this recipient and purpose.
    pub pseudonyms: &'s dyn Pseudonymizer,
    /// Logical id of the patient.
    pub patient: &'s str,
    /// What identifies her, for the second line of defence.
    pub identity: &'s Identity,
    /// Public base URL: references may be absolute.
    pub base: &'s str,
    /// Today, or a day that stands for it: for the age cap.
    pub now: Timestamp,
    /// Whether another resource (type, id) of hers is exported to the same recipient.
    pub exported: &'s dyn Fn(&str, &str) -> bool,
}

/// A resource that cannot leave: the element that stands against it. Says nothing of its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be made pseudonymous")]
pub struct Withheld(pub String);

impl Profile {
    /// The line of one resource, without line end.
    ///
    /// Order of elements is that of the source; `id`, references and dates are the recipient's. `meta` has only
    /// `lastUpdated` (shifted, cut to the day) and the label `PSEUDED` (v3-ObservationValue: pseudonymized).
    /// Errors: [`Withheld`], when an element that carries the meaning cannot leave; nothing was written.
    pub fn line(
        &self,
        kind: &str,
        id: &str,
        updated: Timestamp,
        root: Node<'_>,
        subject: &Subject<'_>,
    ) -> Result<String, Withheld> {
        let definitions = definitions::r4();
        let (Some(shape), Some(type_)) = (self.shape(kind), definitions.resource_type(kind)) else {
            return Err(Withheld(kind.to_owned()));
        };
        let shift = subject.pseudonyms.shift_days(subject.patient);
        let mut emitter = Emitter { profile: self, subject, shift, root, kept: String::new() };
        let body =
            emitter.object(shape, definitions.resource_structure(type_), root, kind)?.unwrap_or_default();
        // Everything that came from the source, looked at once more; pseudonyms and names of elements are not in it.
        if subject.identity.is_in(&emitter.kept) {
            return Err(Withheld(kind.to_owned()));
        }
        let mut line = format!(
            "{{\"resourceType\":\"{kind}\",\"id\":\"{}\",\"meta\":{{\"lastUpdated\":\"{}\",\"security\":[{PSEUDED}]}}",
            subject.pseudonyms.id(kind, id),
            date::updated(updated, shift),
        );
        if !body.is_empty() {
            line.push(',');
            line.push_str(&body);
        }
        line.push('}');
        Ok(line)
    }
}

const PSEUDED: &str =
    r#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"PSEUDED"}"#;

struct Emitter<'e> {
    profile: &'e Profile,
    subject: &'e Subject<'e>,
    shift: i32,
    root: Node<'e>,
    /// Every value taken over from the source, for the last look.
    kept: String,
}

impl Emitter<'_> {
    /// The members of an object that may leave, without braces; `None` when none does.
    fn object(
        &mut self,
        shape: &Shape,
        structure: &Structure,
        node: Node<'_>,
        path: &str,
    ) -> Result<Option<String>, Withheld> {
        let mut out = String::new();
        let mut written: Vec<String> = Vec::new();
        for (name, value) in node.members() {
            let found = structure.element(&name);
            let at = format!("{path}.{name}");
            let text = match shape.fields.get(name.as_ref()) {
                Some(field) => self.field(field, found, value, &at)?,
                None => None,
            };
            let Some(text) = text else {
                // What modifies the meaning cannot be left out without changing it
                // (FHIR R4 conformance-rules.html#isModifier); `false` modifies nothing.
                let modifies = name == "modifierExtension" || found.is_some_and(|f| f.element.is_modifier);
                if modifies && value.raw() != "false" {
                    return Err(Withheld(at));
                }
                continue;
            };
            if !out.is_empty() {
                out.push(',');
            }
            json::write_string(&name, &mut out);
            out.push(':');
            out.push_str(&text);
            written.push(name.into_owned());
        }
        for need in &shape.needs {
            if !written.iter().any(|name| name == need.as_ref()) {
                return Err(Withheld(format!("{path}.{need}")));
            }
        }
        for whole in &shape.whole {
            let has = |name: &str| name == whole.as_ref() || is_choice(whole, name);
            let sent = node.members().any(|(name, _)| has(&name));
            if sent && !written.iter().any(|name| has(name)) {
                return Err(Withheld(format!("{path}.{whole}")));
            }
        }
        Ok((!out.is_empty()).then_some(out))
    }

    /// A value or, item by item, a list.
    fn field(
        &mut self,
        field: &Field,
        found: Option<Found<'_>>,
        value: Node<'_>,
        path: &str,
    ) -> Result<Option<String>, Withheld> {
        if let Field::Rule(Rule::Postcode2) = field {
            return Ok(postcode2(value));
        }
        if value.kind() != Kind::Array {
            return self.single(field, found, value, path);
        }
        let mut items = Vec::new();
        for item in value.items() {
            items.extend(self.single(field, found, item, path)?);
        }
        Ok((!items.is_empty()).then(|| format!("[{}]", items.join(","))))
    }

    fn single(
        &mut self,
        field: &Field,
        found: Option<Found<'_>>,
        value: Node<'_>,
        path: &str,
    ) -> Result<Option<String>, Withheld> {
        match field {
            Field::Nested(shape) => {
                let Some(found) = found else { return Ok(None) };
                let structure = definitions::r4().structure_at(found.type_.structure);
                Ok(self.object(shape, structure, value, path)?.map(|body| format!("{{{body}}}")))
            }
            Field::Rule(rule) => self.value(*rule, found, value, path),
        }
    }

    fn value(
        &mut self,
        rule: Rule,
        found: Option<Found<'_>>,
        value: Node<'_>,
        path: &str,
    ) -> Result<Option<String>, Withheld> {
        match rule {
            Rule::Code => Ok(self.code(found, value)),
            Rule::Boolean => Ok(value.as_bool().map(|yes| yes.to_string())),
            Rule::Integer | Rule::Decimal => self.number(value, path),
            Rule::Concept => {
                let mut codings = Vec::new();
                for coding in value.get("coding").into_iter().flat_map(Node::items) {
                    codings.extend(self.coding(coding, path)?);
                }
                Ok((!codings.is_empty()).then(|| format!("{{\"coding\":[{}]}}", codings.join(","))))
            }
            Rule::Coding => self.coding(value, path),
            Rule::Quantity => self.quantity(value, path),
            Rule::Date => Ok(self.date(value)),
            Rule::Day => {
                let is_instant = found.is_some_and(|f| f.type_.code == "instant");
                let shifted = value.as_str().and_then(|t| date::shift_to_day(&t, self.shift, is_instant));
                Ok(shifted.map(|text| quoted(&text)))
            }
            Rule::Period => {
                let part = |name: &str| {
                    let text = self.date(value.get(name)?)?;
                    Some(format!("\"{name}\":{text}"))
                };
                let parts: Vec<String> = ["start", "end"].iter().filter_map(|name| part(name)).collect();
                Ok((!parts.is_empty()).then(|| format!("{{{}}}", parts.join(","))))
            }
            Rule::BirthYear => Ok(self.birth_year(value)),
            Rule::Postcode2 => Ok(None),
            Rule::Patient => self.patient(value, path),
            Rule::Reference => Ok(self.reference(value)),
        }
    }

    /// A code of the value set R4 requires here; any other text does not leave.
    fn code(&mut self, found: Option<Found<'_>>, value: Node<'_>) -> Option<String> {
        let binding = found?.element.binding.filter(|binding| binding.strength == Strength::Required)?;
        let set = definitions::r4().value_set(binding.value_set)?;
        let code = value.as_str()?;
        set.contains(None, &code).then(|| quoted(&code))
    }

    fn number(&mut self, value: Node<'_>, path: &str) -> Result<Option<String>, Withheld> {
        let Some(lexeme) = value.number() else { return Ok(None) };
        if self.subject.identity.is_in_number(lexeme) {
            return Err(Withheld(path.to_owned()));
        }
        Ok(Some(lexeme.to_owned()))
    }

    /// System and code, when the system is on the list and the code has its form.
    fn coding(&mut self, value: Node<'_>, path: &str) -> Result<Option<String>, Withheld> {
        let text = |name: &str| value.get(name).and_then(Node::as_str);
        let (Some(system), Some(code)) = (text("system"), text("code")) else { return Ok(None) };
        let admitted = self.profile.systems.get(system.as_ref()).is_some_and(|known| known.admits(&code));
        if !admitted {
            return Ok(None);
        }
        if self.subject.identity.knows_word(&code) {
            return Err(Withheld(path.to_owned()));
        }
        self.keep(&code);
        Ok(Some(format!("{{\"system\":{},\"code\":{}}}", quoted(&system), quoted(&code))))
    }

    /// Value, comparator and unit code. A number whose unit cannot leave does not leave either.
    fn quantity(&mut self, value: Node<'_>, path: &str) -> Result<Option<String>, Withheld> {
        let Some(number) = value.get("value") else { return Ok(None) };
        let Some(lexeme) = self.number(number, path)? else { return Ok(None) };
        let text = |name: &str| value.get(name).and_then(Node::as_str);
        let mut out = format!("{{\"value\":{lexeme}");
        match text("comparator").as_deref() {
            None => {}
            Some(comparator @ ("<" | "<=" | ">=" | ">")) => {
                out.push_str(&format!(",\"comparator\":\"{comparator}\""));
            }
            Some(_) => return Ok(None),
        }
        let known = |code: &str| self.profile.units.contains(code);
        match (text("system").as_deref(), text("code").as_deref(), text("unit").as_deref()) {
            (Some(UCUM), Some(code), _) if known(code) => {
                out.push_str(&format!(",\"system\":\"{UCUM}\",\"code\":{}", quoted(code)));
            }
            (None, None, Some(unit)) if known(unit) => out.push_str(&format!(",\"unit\":{}", quoted(unit))),
            (None, None, None) => {}
            _ => return Ok(None),
        }
        out.push('}');
        self.keep(&lexeme);
        Ok(Some(out))
    }

    fn date(&self, value: Node<'_>) -> Option<String> {
        value.as_str().and_then(|text| date::shift(&text, self.shift)).map(|text| quoted(&text))
    }

    fn birth_year(&self, value: Node<'_>) -> Option<String> {
        let died = self.root.get("deceasedDateTime").and_then(Node::as_str);
        let then = died.map_or_else(|| date::day_of(self.subject.now), |text| text.into_owned());
        date::birth_year(&value.as_str()?, &then, self.profile.age_years_max).map(|year| quoted(&year))
    }

    /// The patient herself, however she was referred to; another patient's resource is not hers to give.
    fn patient(&self, value: Node<'_>, path: &str) -> Result<Option<String>, Withheld> {
        if let Some(reference) = value.get("reference").and_then(Node::as_str) {
            let (kind, id) = self.target(&reference).ok_or_else(|| Withheld(path.to_owned()))?;
            if kind != "Patient" || id != self.subject.patient {
                return Err(Withheld(path.to_owned()));
            }
        }
        let pseudonym = self.subject.pseudonyms.id("Patient", self.subject.patient);
        Ok(Some(format!("{{\"reference\":\"Patient/{pseudonym}\"}}")))
    }

    fn reference(&self, value: Node<'_>) -> Option<String> {
        let reference = value.get("reference").and_then(Node::as_str)?;
        let (kind, id) = self.target(&reference)?;
        (self.subject.exported)(kind, id)
            .then(|| format!("{{\"reference\":\"{kind}/{}\"}}", self.subject.pseudonyms.id(kind, id)))
    }

    /// Type and id of a relative reference, or of an absolute one to this gateway; versions are left off.
    fn target<'r>(&self, reference: &'r str) -> Option<(&'r str, &'r str)> {
        let relative = match reference.strip_prefix(self.subject.base) {
            Some(rest) if !self.subject.base.is_empty() => rest.strip_prefix('/')?,
            _ => reference,
        };
        let mut parts = relative.split('/');
        let (kind, id) = (parts.next()?, parts.next()?);
        let plain = match parts.next() {
            None => true,
            Some(part) => part == "_history",
        };
        let known = definitions::r4().resource_type(kind).is_some();
        (plain && known && crate::ids::ResourceId::parse(id).is_some()).then_some((kind, id))
    }

    fn keep(&mut self, text: &str) {
        self.kept.push_str(text);
        self.kept.push('\n');
    }
}

/// `http://unitsofmeasure.org`
const UCUM: &str = "http://unitsofmeasure.org";

/// The first two digits of the first Dutch postal code: `[{"postalCode":"10"}]`.
fn postcode2(value: Node<'_>) -> Option<String> {
    let code = value.items().find_map(|address| address.get("postalCode").and_then(Node::as_str))?;
    let digits = code.get(..4).filter(|head| head.bytes().all(|b| b.is_ascii_digit()))?;
    Some(format!("[{{\"postalCode\":\"{}\"}}]", digits.get(..2)?))
}

/// Whether `member` is the choice element `name` with its type: `valueQuantity` of `value`.
fn is_choice(name: &str, member: &str) -> bool {
    member.strip_prefix(name).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    json::write_string(text, &mut out);
    out
}
