//! FHIRPath, as far as the invariants of R4 need it: an expression compiled once, evaluated over the lossless tree.
//!
//! `path` runs the few kinds of step search parameters have, at the speed of a write; this evaluator knows operators,
//! functions and three-valued logic: `validate` asks it whether an invariant holds, FHIRPath Patch where an element stands. A function, literal or variable
//! it does not know is refused when compiling, so that no expression is half evaluated. References are resolved within the
//! resource only: nothing here does I/O.
//! Source: FHIRPath N1 (2.0.0), FHIR R4 fhirpath.html

mod evaluate;
mod item;
mod parse;
mod place;
mod presence;
pub mod text;

pub use evaluate::Context;
pub use item::{Item, Value};
pub use place::{Place, Step};
pub(crate) use presence::Presence;

/// Why an expression does not compile or has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FhirPathError {
    /// The text is not of the grammar as far as it is known here.
    #[error("not an expression this evaluator reads")]
    Syntax,
    /// Nested, or long, past the limit.
    #[error("nested too deep, or too long")]
    TooDeep,
    /// A function that is not known here.
    #[error("the function {0}() is not known here")]
    Function(String),
    /// A variable that is not known here.
    #[error("the variable %{0} is not known here")]
    Variable(String),
    /// A regular expression that does not read.
    #[error("not a regular expression")]
    Regex,
    /// Several items where one is due, or one of another type.
    #[error("one value of another type is due")]
    Operand,
    /// More items than an evaluation may hold, or more work than it may take.
    #[error("more work than an evaluation may take")]
    TooCostly,
}

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Compiled(Expr);

impl Compiled {
    /// Compiles an expression.
    ///
    /// Errors: [`FhirPathError`] for what is no FHIRPath or not known here.
    pub fn new(text: &str) -> Result<Self, FhirPathError> {
        parse::parse(text).map(Self)
    }

    /// The items the expression gives over `this`, in order.
    ///
    /// Errors: `Operand`, `Regex` and `TooCostly`.
    pub fn evaluate<'d>(
        &self,
        context: &Context<'d>,
        this: Item<'d>,
    ) -> Result<Vec<Value<'d>>, FhirPathError> {
        evaluate::evaluate(&self.0, context, this, &mut u64::MAX.clone())
    }

    /// As [`Self::evaluate`], for an expression a stranger wrote: `work` is what it may still take, in about the time it
    /// takes to look at one element, and is less by what it took.
    ///
    /// Errors: those of [`Self::evaluate`]; `TooCostly` when `work` is used up.
    pub fn evaluate_within<'d>(
        &self,
        context: &Context<'d>,
        this: Item<'d>,
        work: &mut u64,
    ) -> Result<Vec<Value<'d>>, FhirPathError> {
        evaluate::evaluate(&self.0, context, this, work)
    }

    /// The expression whose children of one name this one gives, and that name; `None` when its last step is no child.
    /// An empty list has its place by this alone.
    pub fn last_child(&self) -> Option<(Compiled, &str)> {
        match &self.0 {
            Expr::Start(name) => Some((Compiled(Expr::This), name)),
            Expr::Child(of, name) => Some((Compiled((**of).clone()), name)),
            _ => None,
        }
    }

    /// Whether the expression holds; `None` when it gives nothing.
    ///
    /// Errors: those of [`Self::evaluate`].
    pub fn holds<'d>(&self, context: &Context<'d>, this: Item<'d>) -> Result<Option<bool>, FhirPathError> {
        evaluate::truth(&self.evaluate(context, this)?)
    }
}

#[derive(Debug, Clone)]
enum Expr {
    This,
    Empty,
    Bool(bool),
    Text(String),
    Number(String),
    Variable(String),
    /// A name that opens a path: the type of what is evaluated, or a child.
    Start(String),
    Child(Box<Expr>, String),
    Index(Box<Expr>, Box<Expr>),
    Call(Box<Expr>, Function, Vec<Expr>),
    Type(Operator, Box<Expr>, String),
    OfType(Box<Expr>, String),
    Binary(Operator, Box<Expr>, Box<Expr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Implies,
    Or,
    Xor,
    And,
    In,
    Contains,
    Equal,
    NotEqual,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
    Union,
    Is,
    As,
    Plus,
    Minus,
    Concatenate,
    Times,
    Divide,
    Div,
    Mod,
}

macro_rules! functions {
    ($($name:ident = $text:literal $takes:expr;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Function { $($name,)* }

        impl Function {
            fn named(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$name),)* _ => None }
            }

            /// How many arguments it takes.
            fn takes(self) -> std::ops::RangeInclusive<usize> {
                match self { $(Self::$name => $takes,)* }
            }
        }
    };
}

functions! {
    Empty = "empty" 0..=0;
    Exists = "exists" 0..=1;
    Not = "not" 0..=0;
    All = "all" 1..=1;
    AllTrue = "allTrue" 0..=0;
    AnyTrue = "anyTrue" 0..=0;
    AllFalse = "allFalse" 0..=0;
    AnyFalse = "anyFalse" 0..=0;
    Count = "count" 0..=0;
    Distinct = "distinct" 0..=0;
    IsDistinct = "isDistinct" 0..=0;
    Where = "where" 1..=1;
    Select = "select" 1..=1;
    First = "first" 0..=0;
    Last = "last" 0..=0;
    Tail = "tail" 0..=0;
    Skip = "skip" 1..=1;
    Take = "take" 1..=1;
    Single = "single" 0..=0;
    Intersect = "intersect" 1..=1;
    Exclude = "exclude" 1..=1;
    Combine = "combine" 1..=1;
    Union = "union" 1..=1;
    Iif = "iif" 2..=3;
    Children = "children" 0..=0;
    Descendants = "descendants" 0..=0;
    HasValue = "hasValue" 0..=0;
    Extension = "extension" 1..=1;
    Resolve = "resolve" 0..=0;
    Trace = "trace" 1..=2;
    ToInteger = "toInteger" 0..=0;
    ToText = "toString" 0..=0;
    StartsWith = "startsWith" 1..=1;
    EndsWith = "endsWith" 1..=1;
    Contains = "contains" 1..=1;
    IndexOf = "indexOf" 1..=1;
    Substring = "substring" 1..=2;
    LastIndexOf = "lastIndexOf" 1..=1;
    Trim = "trim" 0..=0;
    Split = "split" 1..=1;
    Join = "join" 0..=1;
    ToChars = "toChars" 0..=0;
    Escape = "escape" 1..=1;
    Unescape = "unescape" 1..=1;
    Encode = "encode" 1..=1;
    Decode = "decode" 1..=1;
    SubsetOf = "subsetOf" 1..=1;
    SupersetOf = "supersetOf" 1..=1;
    ToDecimal = "toDecimal" 0..=0;
    ToBoolean = "toBoolean" 0..=0;
    ConvertsToInteger = "convertsToInteger" 0..=0;
    ConvertsToDecimal = "convertsToDecimal" 0..=0;
    ConvertsToBoolean = "convertsToBoolean" 0..=0;
    ConvertsToText = "convertsToString" 0..=0;
    Absolute = "abs" 0..=0;
    Ceiling = "ceiling" 0..=0;
    Floor = "floor" 0..=0;
    Truncate = "truncate" 0..=0;
    Length = "length" 0..=0;
    Upper = "upper" 0..=0;
    Lower = "lower" 0..=0;
    Replace = "replace" 2..=2;
    Matches = "matches" 1..=1;
    ReplaceMatches = "replaceMatches" 2..=2;
    Is = "is" 1..=1;
    As = "as" 1..=1;
    OfType = "ofType" 1..=1;
}
