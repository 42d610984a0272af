//! The intermediate form of a map: what FML says, every part with its place. Knows no R4 and no source document.

use super::place::Place;

/// One map file, read.
#[derive(Debug, Clone, Default)]
pub struct Map {
    /// Canonical url (`map "url" = "name"` or `/// url = '...'`).
    pub url: String,
    /// Its other metadata (`name`, `title`, `status`, `description`...), as written.
    pub metadata: Vec<(String, String)>,
    /// Index of its text among the program's files.
    pub file: u16,
    /// Declared models.
    pub uses: Vec<Uses>,
    /// Imported map urls, a trailing `*` matching any rest.
    pub imports: Vec<(String, Place)>,
    /// Constants `let name = expression;`.
    pub constants: Vec<(String, Expression)>,
    /// Code tables written inside the map.
    pub concept_maps: Vec<ConceptMap>,
    /// Groups in file order.
    pub groups: Vec<Group>,
}

/// `uses "url" alias Name as source`.
#[derive(Debug, Clone)]
pub struct Uses {
    /// Canonical url of the model.
    pub url: String,
    /// Name used in the map: the alias, else the last segment of the url.
    pub name: String,
    /// Whether the model is written (`target`, `produced`) rather than read.
    pub target: bool,
    /// Where.
    pub place: Place,
}

/// `conceptmap "url" { ... }`.
#[derive(Debug, Clone)]
pub struct ConceptMap {
    /// Its url, `#name` when only used inside this map.
    pub url: String,
    /// Rows.
    pub rows: Vec<ConceptRow>,
    /// Where.
    pub place: Place,
}

/// One row of a contained concept map.
#[derive(Debug, Clone)]
pub struct ConceptRow {
    /// Source system and code.
    pub source: (String, String),
    /// Relation as written: `-`, `==`, `<=`...
    pub relation: String,
    /// Target system and code; `None` when the row says there is none.
    pub target: Option<(String, String)>,
}

/// `group Name(source a : A, target b : B) extends Base { rules }`.
#[derive(Debug, Clone)]
pub struct Group {
    /// Name, unique per program.
    pub name: String,
    /// Parameters in order.
    pub parameters: Vec<Parameter>,
    /// The group whose rules run first.
    pub extends: Option<(String, Place)>,
    /// Whether it is what maps its types unless a rule says otherwise.
    pub default_for: DefaultFor,
    /// Rules in order.
    pub rules: Vec<Rule>,
    /// Where the group's name stands.
    pub place: Place,
}

/// For which types a group is the default mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DefaultFor {
    /// None: it runs where it is called.
    #[default]
    Nothing,
    /// `<<types>>`: its source and target type.
    Types,
    /// `<<type+>>`: its source and target type, and its source type where the target's is open.
    SourceAndTypes,
}

/// One parameter of a group.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Variable name.
    pub name: String,
    /// Written or read.
    pub target: bool,
    /// Declared type, empty for none; the strict profile requires one.
    pub type_name: String,
    /// Where.
    pub place: Place,
}

/// `sources -> targets then calls { rules } "name";`
#[derive(Debug, Clone)]
pub struct Rule {
    /// The name in quotes, for traces and check messages.
    pub name: Option<String>,
    /// At least one.
    pub sources: Vec<Source>,
    /// May be empty.
    pub targets: Vec<Target>,
    /// Fields of a batch identity rule `src -> tgt: a, b;`.
    pub batch: Vec<String>,
    /// `then Group(a, b)`.
    pub calls: Vec<Call>,
    /// `then { ... }`.
    pub rules: Vec<Rule>,
    /// Where.
    pub place: Place,
}

/// Which of several source items a rule takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListMode {
    /// All (no list mode written).
    All,
    /// The first only.
    First,
    /// All but the first.
    NotFirst,
    /// The last only.
    Last,
    /// All but the last.
    NotLast,
    /// More than one is an error.
    OnlyOne,
}

/// One source of a rule.
#[derive(Debug, Clone)]
pub struct Source {
    /// Variable, then element steps.
    pub path: Vec<String>,
    /// `: Type`.
    pub type_name: Option<String>,
    /// `1..*`; `None` as upper bound is `*`.
    pub cardinality: Option<(u32, Option<u32>)>,
    /// `default (expression)`.
    pub default: Option<Expression>,
    /// Which items.
    pub list_mode: ListMode,
    /// `as name`.
    pub variable: Option<String>,
    /// `where`.
    pub condition: Option<Expression>,
    /// `check`.
    pub check: Option<Expression>,
    /// `log`.
    pub log: Option<Expression>,
    /// Where.
    pub place: Place,
}

/// One target of a rule.
#[derive(Debug, Clone)]
pub struct Target {
    /// Variable, then element steps; empty for a function or expression without target.
    pub path: Vec<String>,
    /// What is written; `None` creates the element.
    pub transform: Option<Transform>,
    /// `as name`.
    pub variable: Option<String>,
    /// Which element of a list it is.
    pub list_mode: TargetMode,
    /// Where.
    pub place: Place,
}

/// Which element of a list a target is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TargetMode {
    /// A new one.
    #[default]
    New,
    /// `share name`: one element for all rules naming it.
    Share(String),
    /// `first`: before those of other rules (FHIR R4 valueset-map-target-list-mode.html).
    First,
    /// `last`: after those of other rules.
    Last,
    /// `single`: the only one there may be.
    Single,
}

/// The right side of a target.
#[derive(Debug, Clone)]
pub enum Transform {
    /// `name(arguments)`.
    Call(Call),
    /// A literal, a variable path or a parenthesised expression.
    Value(Expression),
}

/// `Name(arguments)`.
#[derive(Debug, Clone)]
pub struct Call {
    /// Function, transform or group.
    pub name: String,
    /// Arguments in order.
    pub arguments: Vec<Expression>,
    /// Where the name stands.
    pub place: Place,
}

/// A FHIRPath expression with its place.
#[derive(Debug, Clone)]
pub struct Expression {
    /// What it is.
    pub kind: Kind,
    /// Where.
    pub place: Place,
}

/// The parts of FHIRPath.
#[derive(Debug, Clone)]
pub enum Kind {
    /// `'text'`.
    Text(String),
    /// `1.10`, lexically.
    Number(String),
    /// `@2024-12`, `@2024-12-01T12:00`, `@T12:00`, without the `@`.
    Moment(String),
    /// `5 days`, `4 'mg'`: value and unit.
    Quantity(String, String),
    /// `true`, `false`.
    Boolean(bool),
    /// `{}`.
    Empty,
    /// `$this`.
    This,
    /// `$total` of `aggregate()`.
    Total,
    /// `$index`.
    Place,
    /// `%name`.
    Variable(String),
    /// A bare name: an element of the focus, or a variable where there is no focus.
    Name(String),
    /// `base.name`.
    Member(Box<Expression>, String),
    /// `base.function(...)` or `function(...)`.
    Function(Option<Box<Expression>>, Call),
    /// `base[index]`.
    Index(Box<Expression>, Box<Expression>),
    /// `left op right`.
    Binary(Box<Expression>, String, Box<Expression>),
    /// `base is Type`, `base as Type`.
    Type(Box<Expression>, String, String),
    /// `-base`.
    Negative(Box<Expression>),
}
