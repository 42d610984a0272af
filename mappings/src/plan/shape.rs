//! R4 types as the target builder needs them: JSON names with their order, cardinality, choice and type.
//!
//! Made once from `sluis_conformance::definitions`, so that compiling resolves names to numbers and writing only
//! compares those.

use std::collections::HashMap;
use std::sync::LazyLock;

use foldhash::fast::RandomState;
use sluis_conformance::definitions::{self, Definitions, StructureId, StructureKind};

/// A type or nested element (`Observation`, `Observation.component`, `Quantity`, `code`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct TypeId(u16);

/// A JSON property of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FieldId {
    of: TypeId,
    at: u16,
}

/// What a JSON property is.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    /// JSON name: `valueQuantity`.
    pub name: String,
    /// Element name without type: `value`.
    pub element: &'static str,
    /// Place among its siblings.
    pub order: u16,
    /// Whether it may repeat, and so is an array.
    pub many: bool,
    /// Whether it is one type of a choice.
    pub choice: bool,
    /// Type of its content; `Resource` for any resource.
    pub type_id: TypeId,
}

#[derive(Debug)]
struct Shape {
    name: &'static str,
    kind: StructureKind,
    structure: StructureId,
    fields: Vec<Field>,
    by_name: HashMap<String, u16, RandomState>,
}

/// All types reachable from the resources.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    types: Vec<Shape>,
    by_name: HashMap<&'static str, TypeId>,
}

/// The shapes of R4, made on first use.
pub(crate) fn shapes() -> &'static Shapes {
    static SHAPES: LazyLock<Shapes> = LazyLock::new(|| Shapes::new(definitions::r4()));
    &SHAPES
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
        let mut at = 0;
        // Ids are given in queue order, so that a type's shape lands at its own index.
        while let Some(&id) = queue.get(at) {
            at += 1;
            let structure = defs.structure_at(id);
            let mut shape = Shape {
                name: structure.path,
                kind: structure.kind,
                structure: id,
                fields: Vec::new(),
                by_name: HashMap::default(),
            };
            for (order, element) in structure.elements.iter().enumerate() {
                for type_ in &element.types {
                    let name = element.json_name(type_);
                    shape.by_name.insert(name.clone(), shape.fields.len() as u16);
                    shape.fields.push(Field {
                        name,
                        element: element.name,
                        order: order as u16,
                        many: element.is_list(),
                        choice: element.is_choice,
                        type_id: number(type_.structure, &mut queue),
                    });
                }
            }
            shapes.by_name.insert(shape.name, TypeId(shapes.types.len() as u16));
            shapes.types.push(shape);
        }
        shapes
    }

    pub(crate) fn type_id(&self, name: &str) -> Option<TypeId> {
        self.by_name.get(name).copied()
    }

    fn shape(&self, id: TypeId) -> &Shape {
        // Ids are made with their shapes, in the same order.
        self.types.get(usize::from(id.0)).unwrap_or(&self.types[0])
    }

    pub(crate) fn type_name(&self, id: TypeId) -> &'static str {
        self.shape(id).name
    }

    pub(crate) fn is_resource(&self, id: TypeId) -> bool {
        self.shape(id).kind == StructureKind::Resource
    }

    pub(crate) fn is_primitive(&self, id: TypeId) -> bool {
        self.shape(id).kind == StructureKind::Primitive
    }

    /// The type in the definitions of R4.
    pub(crate) fn structure(&self, id: TypeId) -> Option<StructureId> {
        Some(self.shape(id).structure)
    }

    /// Whether a type is, or specialises, the type of that name.
    pub(crate) fn is_a(&self, id: TypeId, name: &str) -> bool {
        let defs = definitions::r4();
        defs.is_a(defs.structure_at(self.shape(id).structure), name)
    }

    /// A property by its JSON name.
    pub(crate) fn find(&self, of: TypeId, name: &str) -> Option<FieldId> {
        self.shape(of).by_name.get(name).map(|&at| FieldId { of, at })
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
            .filter(|(_, field)| field.choice && field.element == element)
            .map(|(at, _)| FieldId { of, at: at as u16 })
            .collect()
    }

    /// JSON names of a type, for messages.
    pub(crate) fn names(&self, of: TypeId) -> impl Iterator<Item = &str> {
        self.shape(of).fields.iter().map(|field| field.name.as_str())
    }

    pub(crate) fn resource_names(&self) -> impl Iterator<Item = &'static str> {
        self.types.iter().filter(|shape| shape.kind == StructureKind::Resource).map(|shape| shape.name)
    }
}
