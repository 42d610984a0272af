//! Why a text is not JSON: what, where, and what to do about it.

use std::fmt;

/// The first fault of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// What is wrong.
    pub kind: JsonErrorKind,
    /// Byte offset of the fault, from 0.
    pub offset: usize,
    /// Line of the fault, from 1.
    pub line: u32,
    /// Column of the fault in characters, from 1.
    pub column: u32,
    /// Where in the tree, as property names and indexes (`contact[0].name`); empty at the root.
    pub path: String,
}

/// The kinds of fault.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonErrorKind {
    /// The bytes are not UTF-8 (overlong forms and encoded surrogates included).
    NotUtf8,
    /// The text opens with a byte order mark.
    Bom,
    /// A byte that cannot stand here; `expected` says what can.
    Unexpected {
        /// The byte found.
        byte: u8,
        /// What could stand here.
        expected: &'static str,
    },
    /// The text ends inside a value.
    Truncated,
    /// A property name stands twice in one object.
    DuplicateKey(String),
    /// More arrays and objects inside each other than the limit.
    TooDeep {
        /// The limit.
        depth_max: u32,
    },
    /// More values and names than the limit.
    TooManyNodes {
        /// The limit.
        nodes_max: u32,
    },
    /// More bytes than positions can be counted in.
    TooLong,
    /// A `\u` escape holds half of a surrogate pair.
    LoneSurrogate,
    /// A backslash is followed by something that is no escape.
    BadEscape,
    /// A control character stands unescaped in a string.
    ControlCharacter(u8),
    /// A number JSON does not allow (leading zero or plus, no digits around the point or in the exponent).
    BadNumber,
    /// Something follows the value.
    TrailingContent,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use JsonErrorKind as K;
        match &self.kind {
            K::NotUtf8 => write!(f, "the text is not UTF-8; send the body in UTF-8")?,
            K::Bom => write!(f, "the text opens with a byte order mark; leave it out")?,
            K::Unexpected { byte, expected } if byte.is_ascii_graphic() => {
                write!(f, "unexpected '{}'; expected {expected}", char::from(*byte))?;
            }
            K::Unexpected { byte, expected } => {
                write!(f, "unexpected byte 0x{byte:02X}; expected {expected}")?
            }
            K::Truncated => write!(f, "the text ends inside a value; send the whole document")?,
            K::DuplicateKey(name) => {
                write!(f, "the property '{name}' stands twice in one object; keep one of them")?;
            }
            K::TooDeep { depth_max } => {
                write!(f, "nested deeper than {depth_max} levels; flatten the document")?
            }
            K::TooManyNodes { nodes_max } => {
                write!(f, "more than {nodes_max} values; send the document in smaller parts")?;
            }
            K::TooLong => write!(f, "the text is longer than 4 GiB; send the document in smaller parts")?,
            K::LoneSurrogate => {
                write!(f, "half a surrogate pair; write the character itself or both of its \\u escapes")?;
            }
            K::BadEscape => {
                write!(f, "no such escape; use \\\" \\\\ \\/ \\b \\f \\n \\r \\t or \\u and four hex digits")?
            }
            K::ControlCharacter(byte) => {
                write!(f, "control character 0x{byte:02X} in a string; write it as \\u{byte:04X}")?;
            }
            K::BadNumber => write!(f, "not a JSON number; write digits such as 0, -1, 1.10 or 1e3")?,
            K::TrailingContent => write!(f, "something follows the document; send one JSON value")?,
        }
        write!(f, " (line {}, column {}", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, ", at {}", self.path)?;
        }
        write!(f, ")")
    }
}

impl std::error::Error for JsonError {}
