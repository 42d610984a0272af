//! Types as the target builder and the compiler need them: JSON names with their order, cardinality, choice and type.
//!
//! R4 is made once from `sluis_conformance::definitions`; [`crate::model`] adds logical models and other versions of FHIR after it, so
//! that an R4 type has the same number in every plan. Compiling resolves names to numbers; writing only compares those.

mod extend;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use foldhash::fast::RandomState;
use sluis_conformance::definitions::{self, Definitions, StructureId, StructureKind};
use sluis_conformance::validate::{SureStructure, SureType, sure};

use crate::model::{Absent, Xml};

/// Where the canonicals of FHIR's own types begin; those of a version are below `<version>/`.
pub(crate) const FHIR: &str = "http://hl7.org/fhir/";

/// A type or nested element (`Observation`, `Observation.component`, `Quantity`, `code`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct TypeId(u16);

/// A JSON property of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FieldId {
    of: TypeId,
    at: u16,
}

impl FieldId {
    /// The type it is a property of.
    pub(crate) fn owner(self) -> TypeId {
        self.of
    }
}

/// What a JSON property is.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    /// JSON name: `valueQuantity`.
    pub name: String,
    /// As it stands before its value: `"valueQuantity":`.
    pub key: Box<str>,
    /// Element name without type: `value`.
    pub element: Arc<str>,
    /// Place among its siblings.
    pub order: u16,
    /// Whether it may repeat, and so is an array.
    pub many: bool,
    /// Whether it is one type of a choice.
    pub choice: bool,
    /// Whether it must be there; of a choice, one of its types.
    pub required: bool,
    /// What its absence says, where the model tells.
    pub default: Option<Absent>,
    /// How it is written in XML; of no meaning in FHIR's own types.
    pub xml: Xml,
    /// Type of its content; `Resource` for any resource.
    pub type_id: TypeId,
    /// What makes its content valid beyond doubt; `None` outside R4.
    pub sure: Option<&'static SureType>,
}

/// What a type is, apart from R4's distinctions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A concrete resource.
    Resource,
    /// `Resource`, `DomainResource`: stands for any resource.
    AnyResource,
    /// A data type or nested element.
    Complex,
    /// One JSON value.
    Primitive,
    /// The root of a logical model.
    Logical,
}

/// The JSON kind of a primitive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Boolean,
    Number,
    Text,
}

impl Form {
    fn of(type_name: &str) -> Form {
        match type_name {
            "boolean" => Form::Boolean,
            "decimal" | "integer" | "positiveInt" | "unsignedInt" => Form::Number,
            _ => Form::Text,
        }
    }
}

#[derive(Debug, Clone)]
struct Shape {
    name: Arc<str>,
    kind: Kind,
    /// Of a primitive: what its value is in JSON.
    form: Form,
    /// In the R4 definitions; `None` for every other model.
    structure: Option<StructureId>,
    /// What makes an object of it valid beyond doubt, likewise.
    sure: Option<&'static SureStructure>,
    /// What it specialises, outside R4.
    base: Option<TypeId>,
    /// Of its XML, for logical models that have one.
    namespace: Option<Arc<str>>,
    fields: Vec<Field>,
    by_name: HashMap<String, u16, RandomState>,
}

impl Shape {
    fn new(name: Arc<str>, kind: Kind) -> Shape {
        Shape {
            form: Form::of(&name),
            name,
            kind,
            structure: None,
            sure: None,
            base: None,
            namespace: None,
            fields: Vec::new(),
            by_name: HashMap::default(),
        }
    }
}

/// Elements up to which one is found by comparing names.
const FEW: usize = 10;

/// All types reachable from the resources of R4, and those of other models.
#[derive(Clone, Default)]
pub(crate) struct Shapes {
    types: Vec<Shape>,
    by_name: HashMap<Arc<str>, TypeId>,
    by_url: HashMap<String, TypeId>,
    /// Types below this number are R4's.
    r4: usize,
}

/// The shapes of R4 alone, made on first use.
pub(crate) fn shapes() -> &'static Arc<Shapes> {
    static SHAPES: LazyLock<Arc<Shapes>> = LazyLock::new(|| Arc::new(Shapes::new(definitions::r4())));
    &SHAPES
}

impl std::fmt::Debug for Shapes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shapes({} types)", self.types.len())
    }
}

impl Shapes {
    fn new(defs: &'static Definitions) -> Shapes {
        let mut shapes = Shapes::default();
        let mut ids: HashMap<StructureId, TypeId> = HashMap::new();
        let mut queue: Vec<StructureId> = Vec::new();
        let mut number = |id: StructureId, queue: &mut Vec<StructureId>| {
            let next = TypeId(ids.len() as u16);
            *ids.entry(id).or_insert_with(|| {
                queue.push(id);
                next
            })
        };
        for resource in defs.resource_types() {
            number(defs.resource_structure(resource).id, &mut queue);
        }
        // What others extend is named by maps too.
        for name in ["Element", "BackboneElement", "DomainResource"] {
            if let Some(structure) = defs.structure(name) {
                number(structure.id, &mut queue);
            }
        }
        let mut at = 0;
        // Ids are given in queue order, so that a type's shape lands at its own index.
        while let Some(&id) = queue.get(at) {
            at += 1;
            let structure = defs.structure_at(id);
            let kind = match structure.kind {
                StructureKind::Resource => Kind::Resource,
                StructureKind::AbstractResource => Kind::AnyResource,
                StructureKind::Complex | StructureKind::Backbone => Kind::Complex,
                StructureKind::Primitive => Kind::Primitive,
            };
            let known = sure().structure(id);
            let mut shape =
                Shape { structure: Some(id), sure: known, ..Shape::new(structure.path.into(), kind) };
            for (order, element) in structure.elements.iter().enumerate() {
                let short: Arc<str> = element.name.into();
                for type_ in &element.types {
                    let name = element.json_name(type_);
                    shape.by_name.insert(name.clone(), shape.fields.len() as u16);
                    shape.fields.push(Field {
                        key: key(&name),
                        name,
                        element: Arc::clone(&short),
                        order: order as u16,
                        many: element.is_list(),
                        choice: element.is_choice,
                        required: element.min > 0,
                        default: None,
                        xml: Xml::default(),
                        type_id: number(type_.structure, &mut queue),
                        sure: known.and_then(|known| known.element(order, type_.structure)),
                    });
                }
            }
            let id = TypeId(shapes.types.len() as u16);
            if !shape.name.contains('.') {
                for of in [FHIR.to_owned(), format!("{FHIR}4.0/")] {
                    shapes.by_url.insert(format!("{of}StructureDefinition/{}", shape.name), id);
                }
            }
            shapes.by_name.insert(Arc::clone(&shape.name), id);
            shapes.types.push(shape);
        }
        shapes.r4 = shapes.types.len();
        shapes
    }

    /// The R4 type of that name, nested ones by path.
    pub(crate) fn type_id(&self, name: &str) -> Option<TypeId> {
        self.by_name.get(name).copied()
    }

    /// The type a canonical stands for: `http://hl7.org/fhir/3.0/StructureDefinition/Patient` is that of STU3, without a version or
    /// with `4.0` that of R4.
    pub(crate) fn by_url(&self, url: &str) -> Option<TypeId> {
        self.by_url.get(url.split('|').next().unwrap_or(url)).copied()
    }

    /// Canonicals of every type that has one, for messages.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &str> {
        self.by_url.keys().map(String::as_str)
    }

    fn shape(&self, id: TypeId) -> &Shape {
        // Ids are made with their shapes, in the same order.
        self.types.get(usize::from(id.0)).unwrap_or(&self.types[0])
    }

    pub(crate) fn type_name(&self, id: TypeId) -> &str {
        &self.shape(id).name
    }

    /// Whether it is R4's: what is made of it is judged by the R4 definitions.
    pub(crate) fn is_r4(&self, id: TypeId) -> bool {
        usize::from(id.0) < self.r4
    }

    pub(crate) fn is_resource(&self, id: TypeId) -> bool {
        self.shape(id).kind == Kind::Resource
    }

    /// Whether it stands for any resource.
    pub(crate) fn is_any_resource(&self, id: TypeId) -> bool {
        self.shape(id).kind == Kind::AnyResource
    }

    /// Whether an instance says its type in `resourceType`.
    pub(crate) fn is_typed_root(&self, id: TypeId) -> bool {
        matches!(self.shape(id).kind, Kind::Resource | Kind::Logical)
    }

    pub(crate) fn is_primitive(&self, id: TypeId) -> bool {
        self.shape(id).kind == Kind::Primitive
    }

    /// The namespace of its XML; `None` where its definition gives none.
    pub(crate) fn namespace(&self, id: TypeId) -> Option<&str> {
        self.shape(id).namespace.as_deref()
    }

    /// Elements that must be there, a choice once: each with the properties it may be.
    pub(crate) fn required(&self, of: TypeId) -> Vec<(&str, Vec<FieldId>)> {
        let mut found: Vec<(&str, Vec<FieldId>)> = Vec::new();
        for (at, field) in self.shape(of).fields.iter().enumerate().filter(|(_, field)| field.required) {
            let id = FieldId { of, at: at as u16 };
            match found.last_mut().filter(|(element, _)| *element == &*field.element) {
                Some((_, fields)) => fields.push(id),
                None => found.push((&field.element, vec![id])),
            }
        }
        found
    }

    /// The logical type of that name whose model is at hand.
    pub(crate) fn logical(&self, name: &str) -> Option<TypeId> {
        let mut others = self.types.iter().enumerate().skip(self.r4);
        let found = others.find(|(_, shape)| &*shape.name == name && shape.kind == Kind::Logical);
        found.map(|(at, _)| TypeId(at as u16))
    }

    /// Whether there are no types but R4's.
    pub(crate) fn are_r4(&self) -> bool {
        self.types.len() == self.r4
    }

    /// What the value of a primitive is in JSON.
    pub(crate) fn form(&self, id: TypeId) -> Form {
        self.shape(id).form
    }

    /// What makes an object of the type valid beyond doubt; `None` for one of another model than R4.
    pub(crate) fn sure(&self, id: TypeId) -> Option<&'static SureStructure> {
        self.shape(id).sure
    }

    /// What makes content of that type valid beyond doubt in an element; `None` outside R4, and where the element is of another type.
    pub(crate) fn sure_in(&self, field: &Field, id: TypeId) -> Option<&'static SureType> {
        field.sure.filter(|_| field.type_id == id)
    }

    /// Whether a type is, or specialises, the type of that name.
    pub(crate) fn is_a(&self, id: TypeId, name: &str) -> bool {
        let mut at = Some(id);
        let mut left = self.types.len();
        while let (Some(id), true) = (at, left > 0) {
            let shape = self.shape(id);
            if let Some(structure) = shape.structure {
                let defs = definitions::r4();
                return defs.is_a(defs.structure_at(structure), name);
            }
            if &*shape.name == name {
                return true;
            }
            (at, left) = (shape.base, left - 1);
        }
        false
    }

    /// A property by its JSON name.
    pub(crate) fn find(&self, of: TypeId, name: &str) -> Option<FieldId> {
        let shape = self.shape(of);
        // The data types a coded value is made of have few elements: comparing is cheaper than hashing.
        let at = if shape.fields.len() <= FEW {
            shape.fields.iter().position(|field| field.name == name).map(|at| at as u16)
        } else {
            shape.by_name.get(name).copied()
        };
        at.map(|at| FieldId { of, at })
    }

    pub(crate) fn field(&self, id: FieldId) -> &Field {
        let shape = self.shape(id.of);
        // Fields are found in the shape they index.
        shape.fields.get(usize::from(id.at)).unwrap_or(&shape.fields[0])
    }

    /// The properties of a choice, by its element name with or without `[x]`.
    pub(crate) fn choices(&self, of: TypeId, element: &str) -> Vec<FieldId> {
        let element = element.trim_end_matches("[x]");
        let fields = self.shape(of).fields.iter().enumerate();
        fields
            .filter(|(_, field)| field.choice && &*field.element == element)
            .map(|(at, _)| FieldId { of, at: at as u16 })
            .collect()
    }

    /// JSON names of a type, for messages.
    pub(crate) fn names(&self, of: TypeId) -> impl Iterator<Item = &str> {
        self.shape(of).fields.iter().map(|field| field.name.as_str())
    }

    pub(crate) fn resource_names(&self) -> impl Iterator<Item = &str> {
        let r4 = self.types.iter().take(self.r4);
        r4.filter(|shape| shape.kind == Kind::Resource).map(|shape| &*shape.name)
    }

    /// The resource type of that name in the same model as `like`: R4 beside R4, STU3 beside STU3.
    pub(crate) fn resource_beside(&self, like: TypeId, name: &str) -> Option<TypeId> {
        if self.is_r4(like) {
            return self.type_id(name).filter(|id| self.is_resource(*id));
        }
        let others = self.types.iter().enumerate().skip(self.r4);
        let mut named = others.filter(|(_, shape)| &*shape.name == name && shape.kind == Kind::Resource);
        named.next().map(|(at, _)| TypeId(at as u16))
    }
}

/// A JSON name as it stands before its value. Element names have nothing to escape, except in a logical model.
fn key(name: &str) -> Box<str> {
    let mut key = String::with_capacity(name.len() + 3);
    sluis_conformance::json::write_string(name, &mut key);
    key.push(':');
    key.into()
}
