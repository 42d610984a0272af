//! Why a text is not FHIR XML, and why a tree cannot be written as it.

use std::fmt;

/// The first fault of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XmlError {
    /// What is wrong.
    pub kind: XmlErrorKind,
    /// Byte offset of the fault, from 0.
    pub offset: usize,
    /// Line of the fault, from 1.
    pub line: u32,
    /// Column of the fault in characters, from 1.
    pub column: u32,
    /// FHIRPath of the element it is in: `Patient.name[0]`; empty before the first.
    pub path: String,
}

/// The kinds of fault. Texts never repeat a value of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum XmlErrorKind {
    /// The bytes are not UTF-8, or the declaration says another encoding.
    NotUtf8,
    /// Not well-formed XML: what is wrong.
    Syntax(String),
    /// A document type declaration.
    DocType,
    /// An entity that XML itself does not have.
    Entity,
    /// A character XML 1.0 does not have.
    Character,
    /// More elements inside each other than the limit.
    TooDeep {
        /// The limit.
        depth_max: usize,
    },
    /// More elements and attributes than the limit.
    TooManyNodes {
        /// The limit.
        nodes_max: u32,
    },
    /// An element of another namespace than FHIR's.
    Namespace,
    /// The element names no resource of R4.
    Resource,
    /// A place for one resource holds none, or more.
    OneResource,
    /// The parent has no such element.
    Unknown {
        /// What was probably meant, or what to do.
        remedy: String,
    },
    /// The element has no such attribute.
    Attribute,
    /// The element is written as an attribute.
    IsAttribute,
    /// The element stands after one it comes before.
    Order,
    /// An element that does not repeat stands twice, also in two types of one choice.
    Repeated,
    /// Text or CDATA where elements stand.
    Text,
    /// An element without value, id and extension.
    Empty,
    /// The value is not of its type.
    Value(&'static str),
    /// The narrative cannot be taken over.
    Narrative(&'static str),
}

impl XmlErrorKind {
    /// Whether the text is well-formed and what it says is not FHIR R4.
    pub fn is_content(&self) -> bool {
        use XmlErrorKind as K;
        !matches!(
            self,
            K::NotUtf8
                | K::Syntax(_)
                | K::DocType
                | K::Entity
                | K::Character
                | K::TooDeep { .. }
                | K::TooManyNodes { .. }
        )
    }
}

impl fmt::Display for XmlErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use XmlErrorKind as K;
        match self {
            K::NotUtf8 => write!(f, "the text is not UTF-8; send the body in UTF-8"),
            K::Syntax(what) => write!(f, "not well-formed XML ({what}); correct the markup"),
            K::DocType => write!(f, "a document type is not allowed; leave <!DOCTYPE> out"),
            K::Entity => write!(f, "an entity that XML does not have; write the character itself"),
            K::Character => write!(f, "a character that XML 1.0 does not have; leave it out"),
            K::TooDeep { depth_max } => {
                write!(f, "nested deeper than {depth_max} levels; flatten the document")
            }
            K::TooManyNodes { nodes_max } => {
                write!(f, "more than {nodes_max} elements and attributes; send the document in smaller parts")
            }
            K::Namespace => {
                write!(
                    f,
                    "an element outside FHIR's namespace; declare xmlns=\"{}\" on the resource",
                    super::FHIR
                )
            }
            K::Resource => write!(f, "the element names no resource of R4; write the name of one"),
            K::OneResource => write!(f, "exactly one resource stands here; write one"),
            K::Unknown { remedy } => write!(f, "no such element here; {remedy}"),
            K::Attribute => {
                write!(f, "no such attribute here; values stand in value=, further content in elements")
            }
            K::IsAttribute => write!(f, "id and url of this element are attributes; write them in its tag"),
            K::Order => {
                write!(f, "the element stands too late; write the elements in the order of the definition")
            }
            K::Repeated => write!(f, "the element does not repeat; keep one, in one type"),
            K::Text => write!(f, "text between elements; write values as value=\"...\""),
            K::Empty => write!(f, "an element without content; add value or extension, or leave it out"),
            K::Value(needed) => write!(f, "the value is not of its type; write {needed}"),
            K::Narrative(fault) => f.write_str(fault),
        }
    }
}

impl fmt::Display for XmlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (line {}, column {}", self.kind, self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, ", at {}", self.path)?;
        }
        write!(f, ")")
    }
}

impl std::error::Error for XmlError {}

/// Why a tree cannot be written as XML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XmlWriteError {
    /// What is wrong.
    pub kind: XmlWriteErrorKind,
    /// FHIRPath of the element.
    pub path: String,
}

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum XmlWriteErrorKind {
    /// The tree is not of R4's structure here.
    Structure,
    /// A character XML 1.0 does not have.
    Character,
    /// The narrative is not well-formed.
    Narrative,
    /// More elements inside each other than are written.
    TooDeep,
}

impl fmt::Display for XmlWriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            XmlWriteErrorKind::Structure => "not of the structure of R4",
            XmlWriteErrorKind::Character => "holds a character that XML 1.0 does not have",
            XmlWriteErrorKind::Narrative => "the narrative is not well-formed",
            XmlWriteErrorKind::TooDeep => "nested too deep",
        };
        write!(f, "{what}, at {}; ask for JSON", self.path)
    }
}

impl std::error::Error for XmlWriteError {}
