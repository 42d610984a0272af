//! XML: CDA documents, FHIR in XML, and vendors' own.
//!
//! Bytes -> [`Tree`]. Elements and attributes are children named by their local name; text is the element's own value,
//! also where attributes stand beside it, and answers to `xmlText` as in HL7's CDA model. In mixed content each piece of
//! text is an `xmlText` child. An element without anything in it is [`Value::Null`]. Names of a namespace other than the
//! root's never meet plain ones: see [`name`]. A document whose root is in FHIR's namespace gives the tree its JSON form
//! gives ([`fhir`]). A DTD is refused, so that no entity is ever expanded; comments and processing instructions hold no data.
//! Source: XML 1.0 (fifth edition); Namespaces in XML 1.0; HL7 CDA R2 (urn:hl7-org:v3).

mod decode;
mod fhir;

use roxmltree::{Document, Error, Node, ParsingOptions};
use smallvec::SmallVec;

use super::{Facts, Format, Limits, NodeId, Parsed, Symbol, Tree, Value};
use crate::{
    finding::{Finding, Severity},
    output::Coverage,
};
use decode::Text;

/// Namespace of FHIR resources in XML (FHIR R4 xml.html).
pub const FHIR: &str = "http://hl7.org/fhir";
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// Namespaces of HL7's CDA extensions and the prefix their names get in the CDA logical model (`sdtcDeceasedInd`).
const EXTENSIONS: [(&str, &str); 2] = [("urn:hl7-org:sdtc", "sdtc"), ("urn:ihe:pharm:medication", "pharm")];
/// Elements inside elements; deeper is refused, since filling the tree recurses.
const DEPTH_MAX: u32 = 128;

/// Reads one document. `Fatal` when it is no well-formed XML, has a DTD, is in a character set it does not say, or breaks a
/// limit: there is then nothing but the root.
pub fn parse(bytes: &[u8], limits: Limits) -> Parsed {
    let mut parsed = Parsed {
        tree: Tree::new("document", bytes.len()),
        findings: Vec::new(),
        facts: Facts::new(Format::Xml),
        coverage: Coverage::default(),
    };
    if let Some(refusal) = limits.refuse_length(bytes) {
        parsed.findings.push(refusal);
        return parsed;
    }
    let text = match decode::decode(bytes) {
        Ok(text) => text,
        Err(refusal) => {
            parsed.findings.push(*refusal);
            return parsed;
        }
    };
    parsed.facts.charset = Some(text.charset.label().to_owned());
    let options = ParsingOptions { allow_dtd: false, nodes_limit: limits.nodes_max, entity_resolver: None };
    let document = match Document::parse_with_options(&text.text, options) {
        Ok(document) => document,
        Err(error) => {
            parsed.findings.push(refused(&error, &text, limits));
            return parsed;
        }
    };
    let root = document.root_element();
    let namespace = root.tag_name().namespace();
    let mut tree = Tree::new(root.tag_name().name(), bytes.len());
    tree.set_texts();
    let mut filler = Filler { text: &text, home: namespace, tree, coverage: Coverage::default(), limits };
    let at = filler.tree.root();
    let filled = match namespace {
        Some(FHIR) => fhir::resource(&mut filler, root, at),
        _ => filler.element(root, at, 0),
    };
    if let Err(refusal) = filled {
        parsed.findings.push(*refusal);
        return parsed;
    }
    parsed.facts.message_type = Some(root.tag_name().name().to_owned());
    parsed.facts.namespace = namespace.map(str::to_owned);
    let tree = filler.tree;
    let first = |of: NodeId, name: &str| tree.named(of, name).next();
    let value = |node: Option<NodeId>| node.and_then(|node| tree.text(node)).map(str::to_owned);
    if namespace == Some(FHIR) {
        parsed.facts.source_time = value(first(at, "meta").and_then(|meta| first(meta, "lastUpdated")));
    } else {
        // ClinicalDocument.id is globally unique and effectiveTime is when it was made (CDA R2 4.2.1).
        let id = first(at, "id");
        let root = value(id.and_then(|id| first(id, "root")));
        let extension = value(id.and_then(|id| first(id, "extension")));
        parsed.facts.control_id = root.map(|root| match extension {
            Some(extension) => format!("{root}^{extension}"),
            None => root,
        });
        parsed.facts.source_time = value(first(at, "effectiveTime").and_then(|time| first(time, "value")));
    }
    parsed.tree = tree;
    parsed.coverage = filler.coverage;
    parsed
}

/// What a document says about itself.
pub fn facts(bytes: &[u8]) -> Facts {
    parse(bytes, Limits::default()).facts
}

/// Whether bytes can only be XML: no JSON value starts with this sign (RFC 8259 3).
pub fn looks_like_xml(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<')
}

type Filled = Result<(), Box<Finding>>;

struct Filler<'d> {
    text: &'d Text<'d>,
    /// Namespace of the root: its names are plain.
    home: Option<&'d str>,
    tree: Tree,
    coverage: Coverage,
    limits: Limits,
}

impl Filler<'_> {
    /// Attributes, child elements and text of `element` below the node made for it.
    fn element(&mut self, element: Node<'_, '_>, node: NodeId, depth: u32) -> Filled {
        self.check(element, depth)?;
        let mut counts = Counts::default();
        if let Some(namespace) = element.tag_name().namespace()
            && !is_same(Some(namespace), self.home)
            && !EXTENSIONS.iter().any(|(known, _)| *known == namespace)
        {
            let start = element.range().start;
            let value = self.text_value(namespace);
            self.leaf(node, "xmlns", value, start..start + 1, &mut counts);
        }
        for attribute in element.attributes() {
            let name = name(self.home, attribute.namespace(), attribute.name(), true);
            let value = self.text_value(attribute.value());
            let leaf = self.leaf(node, &name, value, attribute.range_value(), &mut counts);
            if name == "xsi_schemaLocation" {
                self.coverage.mark(leaf);
            }
        }
        let mixed = element.children().any(|child| child.is_element());
        let mut written = mixed || element.attributes().len() > 0;
        for child in element.children() {
            if child.is_element() {
                let name = name(self.home, child.tag_name().namespace(), child.tag_name().name(), false);
                let below = self.leaf(node, &name, Value::None, child.range(), &mut counts);
                self.element(child, below, depth + 1)?;
            } else if let Some(said) = child.text().filter(|t| child.is_text() && !t.trim().is_empty()) {
                let value = self.text_value(said);
                if mixed {
                    self.leaf(node, "xmlText", value, child.range(), &mut counts);
                } else {
                    self.tree.set_value(node, value);
                    if !written && node != self.tree.root() {
                        self.tree.set_span(node, self.text.span(child.range()));
                    }
                    written = true;
                }
            }
        }
        if !written {
            self.tree.set_value(node, Value::Null);
        }
        Ok(())
    }

    fn leaf(
        &mut self,
        parent: NodeId,
        name: &str,
        value: Value,
        range: std::ops::Range<usize>,
        counts: &mut Counts,
    ) -> NodeId {
        let symbol = self.tree.intern(name);
        let ordinal = counts.next(symbol);
        let span = self.text.span(range);
        self.tree.push_ordinal(parent, symbol, value, span, ordinal)
    }

    fn text_value(&mut self, text: &str) -> Value {
        Value::Text(self.tree.keep(text))
    }

    /// Errors: too deep, or more values than allowed.
    fn check(&self, element: Node<'_, '_>, depth: u32) -> Filled {
        if depth > DEPTH_MAX {
            let said = format!("Elements nest deeper than {DEPTH_MAX}.");
            let finding =
                Finding::new(Severity::Fatal, "document-too-large", said, "Send it in smaller parts.");
            let at = element.document().text_pos_at(element.range().start);
            return Err(Box::new(finding.at(
                "",
                self.text.span(element.range().start..element.range().start + 1),
                at.row,
                at.col,
            )));
        }
        if self.tree.len() > self.limits.nodes_max as usize {
            return Err(Box::new(self.limits.refuse_nodes()));
        }
        Ok(())
    }
}

/// How often each name was given below one element.
#[derive(Default)]
struct Counts(SmallVec<[(Symbol, u32); 8]>);

impl Counts {
    fn next(&mut self, symbol: Symbol) -> u32 {
        // The name of the sibling before is the likeliest: lists stay linear.
        if let Some((_, count)) = self.0.iter_mut().rev().find(|(known, _)| *known == symbol) {
            *count += 1;
            return *count;
        }
        self.0.push((symbol, 1));
        1
    }
}

/// Name of an element or attribute in the tree: its local name when it is of the root's namespace or (attributes) of none;
/// `sdtcDeceasedInd` for HL7's CDA extensions; `xsi_type`, `xml_lang`; `other_name` for any other namespace, which the
/// element then tells in a child `xmlns`.
fn name<'n>(
    home: Option<&str>,
    namespace: Option<&str>,
    local: &'n str,
    attribute: bool,
) -> std::borrow::Cow<'n, str> {
    match namespace {
        None if attribute || home.is_none() => local.into(),
        namespace if !attribute && is_same(namespace, home) => local.into(),
        Some(XSI) if attribute && local == "type" => "xsi_type".into(),
        Some(XSI) if attribute => format!("xsi_{local}").into(),
        Some(XML) if attribute => format!("xml_{local}").into(),
        namespace => match EXTENSIONS.iter().find(|(known, _)| namespace == Some(*known)) {
            Some((_, prefix)) => {
                let mut letters = local.chars();
                let first = letters.next().map(|first| first.to_ascii_uppercase());
                format!("{prefix}{}{}", first.map(String::from).unwrap_or_default(), letters.as_str()).into()
            }
            None => format!("other_{local}").into(),
        },
    }
}

/// Whether two names are of one namespace. A document keeps each once, so that the place mostly tells.
fn is_same(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => std::ptr::eq(one, other) || one == other,
        (one, other) => one == other,
    }
}

fn refused(error: &Error, text: &Text<'_>, limits: Limits) -> Finding {
    let (code, said, remedy) = match error {
        Error::NodesLimitReached | Error::AttributesLimitReached | Error::NamespacesLimitReached => {
            return limits.refuse_nodes();
        }
        Error::DtdDetected => (
            "xml-dtd",
            "The document has a DTD (<!DOCTYPE ...>), which is never read.",
            "Send it without a DTD; write characters themselves or as numeric references.",
        ),
        Error::UnclosedRootNode | Error::UnexpectedEndOfStream | Error::NoRootNode => (
            "message-truncated",
            "The document ends before it is complete.",
            "Send the document again, whole.",
        ),
        // What the document holds is not repeated: the parser's own text may quote it.
        Error::UnknownNamespace(..) => {
            ("xml-malformed", "A prefix has no namespace.", "Declare it with xmlns:prefix.")
        }
        Error::UnexpectedCloseTag(..) | Error::UnexpectedEntityCloseTag(..) => (
            "xml-malformed",
            "An end tag closes another element than the one open.",
            "Send well-formed XML 1.0.",
        ),
        Error::UnknownEntityReference(..) | Error::MalformedEntityReference(..) => (
            "xml-malformed",
            "An entity is not one of the five XML knows.",
            "Write the character itself or a numeric reference.",
        ),
        Error::DuplicatedAttribute(..) | Error::DuplicatedNamespace(..) => {
            ("xml-malformed", "An attribute stands twice in one element.", "Keep one of the two.")
        }
        _ => ("xml-malformed", "The document is no well-formed XML.", "Send well-formed XML 1.0."),
    };
    let at = match error {
        Error::UnclosedRootNode | Error::UnexpectedEndOfStream => text.end(),
        _ => error.pos(),
    };
    Finding::new(Severity::Fatal, code, said, remedy).at("", text.span_at(at), at.row, at.col)
}

#[cfg(test)]
mod tests;
