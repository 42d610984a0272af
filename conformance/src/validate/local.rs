//! References inside one resource: `#id` and the resources it contains. Source: FHIR R4 references.html#contained

use std::borrow::Cow;

use crate::json::Node;

use super::walk::Walk;

/// A resource that may contain others, and the `#` references met inside it.
pub(super) struct Container<'d> {
    /// Ids of what it contains.
    contained: Vec<(Cow<'d, str>, Node<'d>)>,
    /// `#id` references: id, path and node.
    references: Vec<(String, String, Node<'d>)>,
    /// `#id` as an address.
    mentions: Vec<String>,
}

impl<'d> Container<'d> {
    pub(super) fn new(resource: Node<'d>) -> Self {
        let contained = resource.get("contained").into_iter().flat_map(Node::items);
        let contained = contained.map(|inner| (id(inner).unwrap_or_default(), inner)).collect();
        Self { contained, references: Vec::new(), mentions: Vec::new() }
    }

    pub(super) fn refer(&mut self, id: &str, path: String, at: Node<'d>) {
        self.references.push((id.to_owned(), path, at));
    }

    pub(super) fn mention(&mut self, id: &str) {
        self.mentions.push(id.to_owned());
    }

    /// Judges what only the whole resource shows: ref-1 and dom-3.
    pub(super) fn judge(self, walk: &mut Walk<'d>) {
        let mut known: Vec<&str> = self.contained.iter().map(|(id, _)| id.as_ref()).collect();
        known.sort_unstable();
        for (id, path, at) in &self.references {
            // `#` alone is the container itself.
            if !id.is_empty() && known.binary_search(&id.as_str()).is_err() {
                let outer = std::mem::replace(&mut walk.path, path.clone());
                walk.broken("ref-1", *at, "add the resource to contained, or refer to it by [type]/[id]");
                walk.path = outer;
            }
        }
        let mut named: Vec<&str> = self.references.iter().map(|(id, ..)| id.as_str()).collect();
        named.extend(self.mentions.iter().map(String::as_str));
        named.sort_unstable();
        // References stand in reading order, so where the container itself is meant is sorted by place.
        let to_container = self.references.iter().filter(|(id, ..)| id.is_empty());
        let to_container: Vec<usize> = to_container.map(|(_, _, at)| at.span().start).collect();
        for (nth, (id, inner)) in self.contained.iter().enumerate() {
            let span = inner.span();
            let first_inside = to_container.partition_point(|&at| at < span.start);
            let names_container = to_container.get(first_inside).is_some_and(|at| span.contains(at));
            if !names_container && named.binary_search(&id.as_ref()).is_err() {
                let remedy = "refer to it as #[id], or leave it out";
                walk.within(&format!("contained[{nth}]"), |walk| walk.broken("dom-3", *inner, remedy));
            }
        }
    }
}

impl<'d> Walk<'d> {
    /// Judges what a contained resource may not have (dom-2, dom-4, dom-5), and the id it must have.
    pub(super) fn contained(&mut self, inner: Node<'d>) {
        if id(inner).is_none() {
            let text = "a contained resource needs an id";
            self.error("required", inner, text, "add an id and refer to it as #[id]");
        }
        if let Some(nested) = inner.get("contained") {
            let remedy = "move it to the contained of the outer resource";
            self.within("contained", |walk| walk.broken("dom-2", nested, remedy));
        }
        let Some(meta) = inner.get("meta") else { return };
        for (key, names, remedy) in [
            ("dom-4", &["versionId", "lastUpdated"][..], "leave versionId and lastUpdated out"),
            ("dom-5", &["security"], "put the label on the outer resource"),
        ] {
            if names.iter().any(|name| meta.get(name).is_some()) {
                self.within("meta", |walk| walk.broken(key, meta, remedy));
            }
        }
    }
}

fn id(resource: Node<'_>) -> Option<Cow<'_, str>> {
    resource.get("id").and_then(Node::as_str)
}
