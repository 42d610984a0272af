//! The compiled form: expressions with slots instead of names, rules with resolved R4 fields.

use std::sync::Arc;

use crate::fml::ListMode;
use crate::model::Absent;

use super::decimal::Cut;
use super::fixed::Fixed;
use super::item::Item;
use super::moment::Shift;
use super::pattern::Pattern;
use super::shape::{FieldId, TypeId};

/// Index of a variable in a group's frame.
pub(crate) type Slot = u16;
/// Index into the plan's interned source element names.
pub(crate) type NameId = u16;

/// One step down from an element.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Children of that name.
    Name(NameId),
    /// A FHIR primitive: children of that name, and of the name with `_` where there is only that (FHIR R4 json.html#primitive).
    Primitive(NameId, NameId),
    /// A choice: children of any of these names.
    Choice(Box<[NameId]>),
    /// The value of a primitive: the element itself.
    Own,
    /// `id` or `extension` of a primitive, which JSON keeps in `_name` beside it.
    Beside(NameId),
}

/// A value the map says.
#[derive(Debug, Clone)]
pub(crate) enum Literal {
    Text(Box<str>),
    Number(Box<str>),
    Boolean(bool),
}

impl From<&Absent> for Literal {
    fn from(absent: &Absent) -> Literal {
        match absent {
            Absent::Text(text) => Literal::Text((**text).into()),
            Absent::Number(number) => Literal::Number((**number).into()),
            Absent::Boolean(value) => Literal::Boolean(*value),
        }
    }
}

impl Literal {
    pub(crate) fn text(&self) -> &str {
        match self {
            Literal::Text(text) | Literal::Number(text) => text,
            Literal::Boolean(value) => {
                if *value {
                    "true"
                } else {
                    "false"
                }
            }
        }
    }

    pub(crate) fn item(&self) -> Item<'_> {
        match self {
            Literal::Text(text) => Item::Text(text),
            Literal::Number(number) => Item::Number(number),
            Literal::Boolean(value) => Item::Boolean(*value),
        }
    }
}

/// A path of names, from an element on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    /// A variable; `None` is `$this`.
    pub from: Option<Slot>,
    pub names: Vec<NameId>,
}

impl Code {
    /// One step down from what the expression yields.
    pub(crate) fn member(self, step: Step) -> Code {
        let path = match self {
            Code::This => Path { from: None, names: Vec::new() },
            Code::Slot(slot) => Path { from: Some(slot), names: Vec::new() },
            Code::Path(path) => path,
            base => return Code::Member(Box::new(base), step),
        };
        match step {
            Step::Name(name) => {
                let names = path.names.into_iter().chain([name]).collect();
                Code::Path(Path { names, ..path })
            }
            step => Code::Member(Box::new(path.code()), step),
        }
    }

    /// `left or right`; comparisons of one path with several texts become one question.
    pub(crate) fn or(self, right: Code) -> Code {
        let (left, right) = match (self.one_of(), right.one_of()) {
            (Ok((path, mut texts)), Ok((other, more))) if path == other => {
                texts.extend(more);
                return Code::OneOf(path, texts);
            }
            (left, right) => (
                left.map_or_else(|code| code, Code::compared),
                right.map_or_else(|code| code, Code::compared),
            ),
        };
        Code::Binary(Operator::Or, Box::new(left), Box::new(right))
    }

    /// The expression [`Code::one_of`] took apart.
    fn compared((path, mut texts): (Path, Vec<Box<str>>)) -> Code {
        if texts.len() > 1 {
            return Code::OneOf(path, texts);
        }
        let literal = Code::Literal(Literal::Text(texts.pop().unwrap_or_default()));
        Code::Binary(Operator::Equal, Box::new(path.code()), Box::new(literal))
    }

    /// A path and the texts it is compared with. Errors: the expression, which is something else.
    fn one_of(self) -> Result<(Path, Vec<Box<str>>), Code> {
        match self {
            Code::OneOf(path, texts) => Ok((path, texts)),
            Code::Binary(Operator::Equal, left, right) => match (*left, *right) {
                (Code::Path(path), Code::Literal(Literal::Text(text))) => Ok((path, vec![text])),
                (left, right) => Err(Code::Binary(Operator::Equal, Box::new(left), Box::new(right))),
            },
            other => Err(other),
        }
    }
}

impl Path {
    /// As an expression.
    pub(crate) fn code(self) -> Code {
        match (self.from, self.names.is_empty()) {
            (None, true) => Code::This,
            (Some(slot), true) => Code::Slot(slot),
            _ => Code::Path(self),
        }
    }
}

/// A compiled FHIRPath expression.
#[derive(Debug, Clone)]
pub(crate) enum Code {
    Empty,
    Literal(Literal),
    This,
    Slot(Slot),
    Member(Box<Code>, Step),
    /// As `Member`; for an item that has no such element, what the model says of its absence.
    MemberOr(Box<Code>, Step, Literal),
    /// Children of children, by name: nearly every path into a document.
    Path(Path),
    /// `path = 'A' or path = 'B' ...`
    OneOf(Path, Vec<Box<str>>),
    Index(Box<Code>, Box<Code>),
    Binary(Operator, Box<Code>, Box<Code>),
    /// `is`, `as`, `ofType` on the JSON form: the element name ends in the type, so only primitives are told apart.
    OfType(Box<Code>, Arc<str>, bool),
    Where(Box<Code>, Box<Code>),
    Select(Box<Code>, Box<Code>),
    Exists(Box<Code>, Option<Box<Code>>),
    All(Box<Code>, Box<Code>),
    If(Box<Code>, Box<Code>, Box<Code>),
    /// `aggregate(expression, start)`
    Aggregate(Box<Code>, Box<Code>, Box<Code>),
    /// `repeat(expression)`
    Repeat(Box<Code>, Box<Code>),
    /// `$total` of the aggregate around it.
    Total,
    /// `$index`: place of `$this` in what is gone through, from 0.
    Place,
    Matches(Box<Code>, Arc<Pattern>),
    /// A date or dateTime, some days or hours on.
    Moved(Box<Code>, Shift),
    Call(Function, Box<Code>, Vec<Code>),
    /// A named extension function: first argument is the value.
    Extension(Extension, Vec<Code>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    /// `~`: texts without regard to case and white space, collections in any order.
    Equivalent,
    NotEquivalent,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Xor,
    Implies,
    In,
    Contains,
    Concatenate,
    Union,
    Add,
    Subtract,
    Multiply,
    Divide,
    /// `div`
    Quotient,
    /// `mod`
    Remainder,
}

/// FHIRPath functions over a collection that need no lazily evaluated argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    First,
    Last,
    Tail,
    Skip,
    Take,
    Single,
    Empty,
    Not,
    Count,
    Sum,
    Combine,
    Distinct,
    HasValue,
    Substring,
    IndexOf,
    Replace,
    ToText,
    ToInteger,
    ToDecimal,
    ToBoolean,
    StartsWith,
    EndsWith,
    ContainsText,
    Length,
    Upper,
    Lower,
    Trim,
    Join,
    Split,
    FhirExtension,
    ToDate,
    ToDateTime,
    ToTime,
    /// `convertsTo...`: whether the conversion of that kind gives something.
    Converts(Conversion),
    Escape,
    Unescape,
    Encode,
    Decode,
    ToChars,
    LastIndexOf,
    Absolute,
    /// `truncate()`, `floor()`, `ceiling()`, `round()`
    Cut(Cut),
    Power,
    IsDistinct,
    /// `allTrue()`, `anyTrue()`, `allFalse()`, `anyFalse()`: of all or of any, true or false.
    Every(bool),
    Any(bool),
    Union,
    Intersect,
    Exclude,
    SubsetOf,
    SupersetOf,
    /// `said('PID_13', ...)`: whether a child of one of these names is there, explicitly empty ones included.
    Said,
}

/// What `toX()` and `convertsToX()` convert to (FHIRPath 2.0.0, 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conversion {
    Text,
    Integer,
    Decimal,
    Boolean,
    Date,
    DateTime,
    Time,
}

/// Our own functions: the only additions to FML, usable in expressions and as transforms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extension {
    /// `hl7DateTime(v, 'Europe/Amsterdam')`
    Hl7DateTime,
    /// `nlDate(v, 'dd-MM-yyyy')`
    NlDate,
    /// `decimalComma(v)`
    DecimalComma,
    /// `bsn(v)`
    Bsn,
    /// `oidOrUri(v)`
    OidOrUri,
    /// `stable(system, parts...)`
    Stable,
    /// `append(parts...)`
    Append,
    /// `truncate(v, length)`
    Truncate,
    /// `reference(resource)`, `pointer(resource)`: `Patient/12`
    Pointer,
    /// `ordinal(node)`: 1-based place among same-named siblings
    Ordinal,
    /// `lookup(v, 'table', 'code' | 'display' | 'system'[, system])`
    Lookup,
}

/// What a target statement outside any resource does to the unit being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Identity,
    SubjectBsn,
    SubjectLocal,
    SubjectReference,
    SubjectNone,
    SourceTime,
    Leave,
    ReplacedByBsn,
    ReplacedByLocal,
    Refuse,
    Warn,
    Use,
}

impl Fill {
    /// The parts of a composite that is made of nothing else.
    pub(crate) fn parts(&self) -> &[Code] {
        match self {
            Fill::Concept(codes) | Fill::Coding(codes) | Fill::Quantity(codes) => codes,
            Fill::Identifier(codes) | Fill::Contact(codes) | Fill::Reference(codes) => codes,
            _ => &[],
        }
    }

    /// Whether these texts of its parts are enough for there to be such an element.
    pub(crate) fn is_made_of(&self, texts: &[Option<&str>]) -> bool {
        let has = |at: usize| texts.get(at).is_some_and(Option::is_some);
        match self {
            Fill::Concept(_) => texts.iter().any(Option::is_some),
            Fill::Coding(_) | Fill::Identifier(_) => has(1),
            Fill::Quantity(_) | Fill::Contact(_) => has(0),
            Fill::Reference(_) => has(if texts.len() == 1 { 0 } else { 2 }),
            _ => false,
        }
    }
}

/// A resolved value for a target element.
#[derive(Debug, Clone)]
pub(crate) enum Fill {
    /// A composite of literals, the same in every resource.
    Fixed(Arc<Fixed>),
    /// No transform: the element itself, found or made.
    Open,
    /// `create('Type')`.
    Create,
    /// Each item of the expression is copied; the second says whether `id` and `extension` of primitives go with it.
    Copy(Code, bool),
    /// Each item is copied to the type of the choice that it has.
    CopyAny(Code, Box<[FieldId]>),
    /// `cc(text)`, `cc(system, code[, display])`.
    Concept(Vec<Code>),
    /// `c(system, code[, display])`.
    Coding(Vec<Code>),
    /// `qty(value, unit[, system, code])`.
    Quantity(Vec<Code>),
    /// `ucum(value, unit, 'table')`.
    Ucum { value: Code, unit: Code, table: Arc<str> },
    /// `id(system, value[, type code])`.
    Identifier(Vec<Code>),
    /// `cp(value[, system])`.
    Contact(Vec<Code>),
    /// `reference(text)`, `ref(Type, system, value)`.
    Reference(Vec<Code>),
    /// `translate(v, 'table', 'code' | 'Coding' | 'CodeableConcept'[, 'keep' | 'quarantine'][, system])`.
    Translate { value: Code, table: Arc<str>, quarantine: bool, system: Option<Code> },
}

/// The way from a variable to what a rule takes.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    Names(Vec<NameId>),
    Steps(Vec<Step>),
}

impl From<Vec<Step>> for Way {
    fn from(steps: Vec<Step>) -> Way {
        let name = |step: &Step| match step {
            Step::Name(name) => Some(*name),
            _ => None,
        };
        match steps.iter().map(name).collect() {
            Some(names) => Way::Names(names),
            None => Way::Steps(steps),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct SourcePlan {
    pub slot_from: Slot,
    pub steps: Way,
    /// The type items must have, where their names do not tell.
    pub type_name: Option<Arc<str>>,
    /// As written, for messages.
    pub path: Box<str>,
    pub default: Option<Code>,
    /// What the model says of the element's absence.
    pub absent: Option<Literal>,
    pub list_mode: ListMode,
    pub cardinality: Option<(u32, Option<u32>)>,
    pub slot: Option<Slot>,
    pub condition: Option<Code>,
    pub check: Option<Code>,
    pub log: Option<Code>,
    /// Whether one element is taken as it is, once the condition holds: nothing else is asked or said.
    pub is_plain: bool,
}

/// Which element of a list a target means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    /// A new one.
    New,
    /// One for all rules that share it.
    Share(u16),
    /// A new one, before all others.
    First,
    /// A new one, after all others.
    Last,
    /// The only one there may be.
    Single,
}

#[derive(Debug, Clone)]
pub(crate) enum TargetPlan {
    Effect(Effect, Vec<Code>),
    Bind(Code, Slot),
    Root(TypeId, Option<Slot>),
    /// The value of a primitive element a variable holds.
    Own(Slot, Code),
    /// A resource of whatever type the source item has, by the group for that type.
    Dispatch {
        slot_from: Slot,
        field: FieldId,
        source: Slot,
        table: std::collections::HashMap<String, (TypeId, usize)>,
    },
    Write {
        slot_from: Slot,
        /// Elements opened on the way to the last.
        steps: Vec<FieldId>,
        field: FieldId,
        /// Type of what is written: differs from the field's only for `Resource`.
        type_id: TypeId,
        fill: Fill,
        pick: Pick,
        slot: Option<Slot>,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct RulePlan {
    /// Index into the plan's places.
    pub place: u32,
    pub name: Option<String>,
    pub sources: Vec<SourcePlan>,
    pub targets: Vec<(u32, TargetPlan)>,
    pub calls: Vec<(usize, Vec<Code>)>,
    pub rules: Vec<RulePlan>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct GroupPlan {
    pub parameters: usize,
    pub slots: usize,
    pub rules: Vec<RulePlan>,
}
