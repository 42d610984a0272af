//! Models a map may name besides R4: logical models and other versions of FHIR, from their StructureDefinitions.
//!
//! [`Models::read`] takes definitions as JSON or XML and gives what the plan's compiler resolves types, cardinality and choice with.
//! R4 is always there and never read again. Profiles of FHIR types define no type and are left out. No network: what
//! is not handed in is not known, and a map that needs it is refused.
//! Source: FHIR R4 structuredefinition.html, elementdefinition.html.

mod read;

use std::sync::Arc;

use crate::folder::Diagnostic;
use crate::plan::shape::{Kind, Shapes, shapes};

/// The types maps may use. Cheap to clone; [`Models::default`] is R4 alone.
#[derive(Debug, Clone)]
pub struct Models {
    pub(crate) shapes: Arc<Shapes>,
}

impl Default for Models {
    fn default() -> Models {
        Models { shapes: Arc::clone(shapes()) }
    }
}

impl Models {
    /// R4 and the StructureDefinitions given as (file name, bytes); a Bundle of them is taken apart.
    ///
    /// A type of FHIR itself is known by its version: `http://hl7.org/fhir/3.0/StructureDefinition/Patient`.
    /// A type they refer to that nothing defines is known by name only: it can be read, and nothing can be written in it.
    /// Errors: files that are no StructureDefinition.
    pub fn read(files: &[(&str, &[u8])]) -> Result<Models, Vec<Diagnostic>> {
        let mut definitions = Vec::new();
        let mut names = Vec::new();
        let mut errors = Vec::new();
        for (name, bytes) in files {
            match read::definitions(name, bytes) {
                Ok(found) => {
                    names.extend(found.iter().map(|_| *name));
                    definitions.extend(found);
                }
                Err(error) => errors.push(error),
            }
        }
        match shapes().extended(&definitions) {
            Ok(shapes) if errors.is_empty() => return Ok(Models { shapes: Arc::new(shapes) }),
            Ok(_) => {}
            Err((at, text)) => {
                let name = names.get(at).copied().unwrap_or_default();
                errors.push(Diagnostic::new(name, 0, text, "give only the models the maps use"));
            }
        }
        Err(errors)
    }
}

/// What a StructureDefinition defines, as far as mapping needs it.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    /// Canonical, with the version for FHIR's own types.
    pub url: String,
    /// Name of its root element.
    pub name: String,
    pub kind: Kind,
    /// Canonical of the base, with the version as in `url`.
    pub base: Option<String>,
    /// Whether inherited elements are among `elements` (a snapshot).
    pub complete: bool,
    /// Namespace of its instances in XML, where they are not FHIR's.
    pub namespace: Option<Arc<str>>,
    /// All but the root, in order.
    pub elements: Vec<Element>,
}

impl Definition {
    pub(crate) fn has_children(&self, path: &str) -> bool {
        self.elements.iter().any(|element| element.parent() == path)
    }
}

/// One element of a definition.
#[derive(Debug, Clone)]
pub(crate) struct Element {
    /// `Patient.contact.name`, without `[x]`.
    pub path: String,
    pub many: bool,
    pub choice: bool,
    /// Whether it must be there.
    pub required: bool,
    /// What its absence says (FHIR R4 elementdefinition-definitions.html#ElementDefinition.defaultValue_x_).
    pub default: Option<Absent>,
    /// How it is written in XML.
    pub xml: Xml,
    /// Canonicals with version, or names.
    pub types: Vec<String>,
    /// Path of the element whose content it shares.
    pub same_as: Option<String>,
}

/// How an element is written in XML (FHIR R4 elementdefinition-definitions.html#ElementDefinition.representation).
#[derive(Debug, Clone, Default)]
pub(crate) struct Xml {
    pub form: Form,
    /// Whether `xsi:type` tells the type it really has.
    pub typed: bool,
    pub name: XmlName,
}

/// Where a value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Form {
    #[default]
    Element,
    Attribute,
    /// The text of the element around it.
    Text,
}

/// Name and namespace where they are not the element's and the document's.
#[derive(Debug, Clone, Default)]
pub(crate) struct XmlName {
    pub name: Option<Arc<str>>,
    pub namespace: Option<Arc<str>>,
}

/// The value a model gives an element that is left out, simple ones only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Absent {
    Text(Arc<str>),
    /// Lexically.
    Number(Arc<str>),
    Boolean(bool),
}

impl Element {
    pub(crate) fn parent(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(parent, _)| parent)
    }

    pub(crate) fn short(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or(&self.path)
    }
}

#[cfg(test)]
mod tests;
