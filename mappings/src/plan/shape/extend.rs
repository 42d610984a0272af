//! Definitions of other models -> shapes behind those of R4.

use std::collections::HashMap;
use std::sync::Arc;

use super::{FHIR, Field, Kind, Shape, Shapes, TypeId, key};
use crate::model::{Definition, Element};

/// Types a plan may know, R4's included: more would not fit their numbers.
const TYPES_MAX: usize = 1 << 15;

impl Shapes {
    /// The same shapes with more models behind them. A definition of R4 itself adds nothing. A type that a definition refers to and
    /// nobody defines is *open*: it has no elements that could be written.
    ///
    /// Errors: more types than a plan may know, with the definition that is too many.
    pub(crate) fn extended(&self, definitions: &[Definition]) -> Result<Shapes, (usize, String)> {
        let mut shapes = self.clone();
        let mut roots: Vec<(usize, TypeId, HashMap<String, TypeId>)> = Vec::new();
        for (at, definition) in definitions.iter().enumerate() {
            if shapes.by_url.contains_key(&definition.url) {
                continue;
            }
            let mut ids = HashMap::new();
            let nested = definition.elements.iter().filter(|element| definition.has_children(&element.path));
            let paths = std::iter::once(definition.name.as_str()).chain(nested.map(|e| e.path.as_str()));
            for (nth, path) in paths.enumerate() {
                if shapes.types.len() >= TYPES_MAX {
                    return Err((at, format!("more than {TYPES_MAX} types")));
                }
                let id = TypeId(shapes.types.len() as u16);
                ids.insert(path.to_owned(), id);
                let kind = if nth == 0 { definition.kind } else { Kind::Complex };
                let namespace = definition.namespace.clone().filter(|_| nth == 0);
                shapes.types.push(Shape { namespace, ..Shape::new(path.into(), kind) });
            }
            let root = ids.get(&definition.name).copied().unwrap_or_default();
            shapes.by_url.insert(definition.url.clone(), root);
            roots.push((at, root, ids));
        }
        for (at, root, ids) in &roots {
            let Some(definition) = definitions.get(*at) else { continue };
            let base = definition.base.as_deref().and_then(|base| shapes.by_url(base));
            shapes.types[usize::from(root.0)].base = base;
            let mut order = vec![definition];
            // A differential says only what is new; what it is based on comes first.
            while let Some(below) = order.last().filter(|d| !d.complete).and_then(|d| d.base.as_deref()) {
                match definitions.iter().find(|d| d.url == below) {
                    Some(base) if !order.iter().any(|seen| seen.url == base.url) => order.push(base),
                    _ => break,
                }
            }
            for (above, part) in order.iter().rev().enumerate() {
                let own = above + 1 == order.len();
                for element in &part.elements {
                    // Only the root's own elements are inherited; nested ones stay with the type that declares them.
                    let parent = element.parent();
                    let parent = match (own, parent == part.name) {
                        (_, true) => Some(*root),
                        (true, false) => ids.get(parent).copied(),
                        (false, false) => None,
                    };
                    let Some(parent) = parent else { continue };
                    shapes.add_element(parent, element, ids, definitions);
                }
            }
        }
        Ok(shapes)
    }

    fn add_element(
        &mut self,
        parent: TypeId,
        element: &Element,
        ids: &HashMap<String, TypeId>,
        definitions: &[Definition],
    ) {
        let short: Arc<str> = element.short().into();
        let order = self.shape(parent).fields.last().map_or(0, |last| last.order + 1);
        let types: Vec<(String, TypeId)> = if let Some(&id) = ids.get(&element.path) {
            vec![(String::new(), id)]
        } else if let Some(path) = &element.same_as {
            vec![(String::new(), ids.get(path).copied().unwrap_or_else(|| self.open(path)))]
        } else {
            let mut types = Vec::new();
            for type_ in &element.types {
                let id = self.resolve(type_, definitions).unwrap_or_else(|| self.open(type_));
                types.push((type_.rsplit('/').next().unwrap_or(type_).to_owned(), id));
            }
            types
        };
        let Some(shape) = self.types.get_mut(usize::from(parent.0)) else { return };
        for (type_name, type_id) in types {
            let name =
                if element.choice { format!("{short}{}", capital(&type_name)) } else { short.to_string() };
            if shape.by_name.contains_key(&name) {
                continue;
            }
            shape.by_name.insert(name.clone(), shape.fields.len() as u16);
            shape.fields.push(Field {
                key: key(&name),
                name,
                element: Arc::clone(&short),
                order,
                many: element.many,
                choice: element.choice,
                required: element.required,
                default: element.default.clone(),
                xml: element.xml.clone(),
                type_id,
                sure: None,
            });
        }
    }

    /// A type known by nothing but its name.
    fn open(&mut self, url: &str) -> TypeId {
        if let Some(&id) = self.by_url.get(url) {
            return id;
        }
        // One past the limit at most: what is over it is the same as the last.
        let id = TypeId(self.types.len().min(usize::from(u16::MAX)) as u16);
        self.types.push(Shape::new(url.rsplit('/').next().unwrap_or(url).into(), Kind::Complex));
        self.by_url.insert(url.to_owned(), id);
        id
    }

    /// A type by canonical, or by bare name: of the logical models at hand, else of R4.
    fn resolve(&self, type_: &str, definitions: &[Definition]) -> Option<TypeId> {
        if let Some(id) = self.by_url(type_) {
            return Some(id);
        }
        let name = type_.strip_prefix(FHIR).and_then(|rest| rest.rsplit('/').next()).unwrap_or(type_);
        let logical = definitions.iter().find(|d| d.name == name && d.kind == Kind::Logical);
        logical.and_then(|d| self.by_url(&d.url)).or_else(|| self.type_id(name))
    }
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
