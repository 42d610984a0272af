//! Narrative: well-formed, harmless XHTML. Source: FHIR R4 narrative.html#xhtml, invariants txt-1 and txt-2
//!
//! Names are allowed by list, so that what a browser learns to run tomorrow is refused today. The text is not changed.

/// Why a narrative is refused.
pub(super) struct Fault {
    /// `txt-1` or `txt-2`.
    pub(super) key: &'static str,
    pub(super) text: &'static str,
    pub(super) remedy: &'static str,
}

/// Elements of HTML 4.0 chapters 7 to 11 (except section 4 of chapter 9) and 15, links and images.
const ELEMENTS: &[&str] = &[
    "a",
    "abbr",
    "acronym",
    "address",
    "area",
    "b",
    "bdo",
    "big",
    "blockquote",
    "br",
    "caption",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "kbd",
    "li",
    "map",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "samp",
    "small",
    "span",
    "strike",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "tt",
    "u",
    "ul",
    "var",
];

/// Attributes of those elements; none runs anything.
const ATTRIBUTES: &[&str] = &[
    "abbr",
    "accesskey",
    "align",
    "alt",
    "axis",
    "background",
    "bgcolor",
    "border",
    "cellpadding",
    "cellspacing",
    "char",
    "charoff",
    "charset",
    "cite",
    "class",
    "clear",
    "color",
    "cols",
    "colspan",
    "compact",
    "coords",
    "dir",
    "face",
    "frame",
    "headers",
    "height",
    "href",
    "hreflang",
    "hspace",
    "id",
    "ismap",
    "lang",
    "longdesc",
    "name",
    "noshade",
    "nowrap",
    "rel",
    "rev",
    "rowspan",
    "rules",
    "scope",
    "shape",
    "size",
    "span",
    "src",
    "start",
    "style",
    "summary",
    "tabindex",
    "target",
    "title",
    "type",
    "usemap",
    "valign",
    "value",
    "vspace",
    "width",
    "xml:base",
    "xml:lang",
    "xml:space",
    "xmlns",
];

/// Schemes a link may have; others (javascript, vbscript, data) can run.
const SCHEMES: &[&str] = &["ftp", "http", "https", "mailto", "tel", "urn"];

const XHTML: &str = "http://www.w3.org/1999/xhtml";

/// The first fault of a narrative's `div`, if it has one. Time is linear in its length.
pub(super) fn fault(text: &str) -> Option<Fault> {
    read(text).err()
}

fn refuse<T>(text: &'static str, remedy: &'static str) -> Result<T, Fault> {
    Err(Fault { key: "txt-1", text, remedy })
}

fn read(text: &str) -> Result<(), Fault> {
    let mut rest = text.trim();
    let mut open: Vec<&str> = Vec::new();
    let mut has_content = false;
    let mut is_first = true;
    loop {
        let (before, tag) = match rest.find('<') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if !before.trim().is_empty() {
            if open.is_empty() {
                return refuse("text outside the div", "put everything into one div");
            }
            entities(before)?;
            has_content = true;
        }
        if tag.is_empty() {
            break;
        }
        if let Some(comment) = tag.strip_prefix("<!--") {
            let Some((_, after)) = comment.split_once("-->") else {
                return refuse("a comment is not closed", "close it with -->");
            };
            rest = after;
            continue;
        }
        if tag.starts_with("<!") || tag.starts_with("<?") {
            return refuse("declarations and instructions are not allowed", "send elements and text only");
        }
        let end = tag_end(tag)?;
        let (inside, after) = (tag.get(1..end).unwrap_or_default(), tag.get(end + 1..).unwrap_or_default());
        rest = after;
        if let Some(name) = inside.strip_prefix('/') {
            if open.pop() != Some(name.trim_end()) {
                return refuse(
                    "an end tag without its start tag",
                    "close elements in the order they were opened",
                );
            }
            if open.is_empty() && !rest.trim().is_empty() && !rest.trim_start().starts_with("<!--") {
                return refuse("something follows the div", "put everything into one div");
            }
            continue;
        }
        let is_closed = inside.ends_with('/');
        let inside = inside.strip_suffix('/').unwrap_or(inside);
        let name_end = inside.find(char::is_whitespace).unwrap_or(inside.len());
        let (name, attributes) = inside.split_at(name_end);
        if ELEMENTS.binary_search(&name).is_err() {
            return refuse(
                "an element narrative does not have",
                "use the formatting elements of HTML 4.0, small letters",
            );
        }
        let attributes = Attributes::read(name, attributes)?;
        if is_first && (name != "div" || !attributes.has_namespace) {
            let remedy = "begin with <div xmlns=\"http://www.w3.org/1999/xhtml\">";
            return refuse("the narrative does not begin with an XHTML div", remedy);
        }
        if !is_first && open.is_empty() {
            return refuse("something follows the div", "put everything into one div");
        }
        is_first = false;
        has_content |= name == "img";
        if !is_closed {
            open.push(name);
        }
    }
    if is_first || !open.is_empty() {
        return refuse("an element is not closed", "close every element, br and img with />");
    }
    if !has_content {
        let text = "the narrative has no content";
        return Err(Fault { key: "txt-2", text, remedy: "write a text, or leave the narrative out" });
    }
    Ok(())
}

/// Offset of the `>` that ends a tag; those in quotes do not.
fn tag_end(tag: &str) -> Result<usize, Fault> {
    let mut quote = None;
    for (at, byte) in tag.bytes().enumerate().skip(1) {
        match (quote, byte) {
            (None, b'>') => return Ok(at),
            (None, b'<') => break,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    refuse("a tag is not closed", "write < in text as &lt;")
}

struct Attributes {
    has_namespace: bool,
}

impl Attributes {
    fn read(element: &str, text: &str) -> Result<Self, Fault> {
        let mut has_namespace = false;
        let mut seen: Vec<&str> = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let Some((name, after)) = rest.split_once('=') else {
                return refuse("an attribute without a value", "write it as name=\"value\"");
            };
            let (name, after) = (name.trim_end(), after.trim_start());
            let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
            let Some((value, after)) = quote.and_then(|quote| after.get(1..)?.split_once(quote)) else {
                return refuse("an attribute without quotes", "write it as name=\"value\"");
            };
            if ATTRIBUTES.binary_search(&name).is_err() {
                return refuse(
                    "an attribute narrative does not have",
                    "leave out event handlers (on...) and scripts",
                );
            }
            if seen.contains(&name) {
                return refuse("an attribute stands twice", "keep one of them");
            }
            seen.push(name);
            if value.contains('<') {
                return refuse("< in an attribute", "write it as &lt;");
            }
            entities(value)?;
            match name {
                "xmlns" if value == XHTML => has_namespace = true,
                "xmlns" => return refuse("another namespace than XHTML", "leave it out"),
                "href" | "src" | "background" | "cite" | "longdesc" | "usemap" | "xml:base" => {
                    address(element, name, value)?
                }
                "style" => style(value)?,
                _ => {}
            }
            rest = after.trim_start();
        }
        Ok(Self { has_namespace })
    }
}

/// An address by its scheme, read as a browser does: references resolved, white space and control characters dropped.
fn address(element: &str, name: &str, value: &str) -> Result<(), Fault> {
    let plain: String = resolve(value).chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    let plain = plain.to_ascii_lowercase();
    let Some((scheme, rest)) = plain.split_once(':') else { return Ok(()) };
    let is_relative = scheme.contains(['/', '#', '?']);
    // Shown as an image nothing runs; an SVG is still refused, as it is a document once it is opened by itself.
    let is_image = element == "img" && name == "src" && scheme == "data";
    let is_image = is_image && (rest.starts_with("image/") || rest.starts_with("application/octet-stream"));
    let is_image = is_image && !rest.starts_with("image/svg");
    if is_relative || is_image || SCHEMES.contains(&scheme) {
        return Ok(());
    }
    refuse("an address that may run something", "use http, https, mailto, tel, urn or #")
}

/// A style in which a browser, now or then, runs nothing; what it loads is judged as an image's source.
fn style(value: &str) -> Result<(), Fault> {
    let plain: String = resolve(value).chars().filter(|c| !c.is_whitespace()).collect();
    let plain = plain.to_ascii_lowercase();
    let active = ["expression(", "javascript:", "vbscript:", "behavior:", "binding:", "@import", "\\", "/*"];
    if active.iter().any(|mark| plain.contains(mark)) {
        return refuse("a style that may run something", "keep to colours, fonts, borders and sizes");
    }
    for source in plain.split("url(").skip(1) {
        let source = source.split(')').next().unwrap_or_default();
        address("img", "src", source.trim_matches(['"', '\'']))?;
    }
    Ok(())
}

/// Every `&` begins a reference: `&name;`, `&#10;` or `&#xA;`.
fn entities(text: &str) -> Result<(), Fault> {
    for part in text.split('&').skip(1) {
        // The longest name of XHTML 1.0 has 8 letters.
        let name = part.split_once(';').map_or("", |(name, _)| name);
        let is_good = match name.strip_prefix('#') {
            Some(number) => character(number).is_some(),
            None => (1..=8).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric()),
        };
        if !is_good {
            return refuse("& that begins no character reference", "write & in text as &amp;");
        }
    }
    Ok(())
}

fn character(number: &str) -> Option<char> {
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    code.ok().and_then(char::from_u32)
}

/// Text with its character references resolved; names that stand for no ASCII character become a space.
fn resolve(text: &str) -> String {
    let mut parts = text.split('&');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, after) = part.split_once(';').unwrap_or((part, ""));
        plain.push(match name.strip_prefix('#') {
            Some(number) => character(number).unwrap_or(' '),
            None => match name {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                "colon" => ':',
                _ => ' ',
            },
        });
        plain.push_str(after);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn div(inner: &str) -> String {
        format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{inner}</div>")
    }

    #[test]
    fn harmless_narrative_passes() {
        for inner in [
            "text",
            "<p>a &lt; b &amp; c&nbsp;&#233;&#xe9;</p>",
            "<!-- note > --><table border=\"1\"><tr><td style='color: red'>x</td></tr></table>",
            "<p style=\"background: url(tbl_bck.png), url(data: image/png;base64,AA==)\">x</p>",
            "<img src=\"#pic\" alt=\"a > b\"/>",
            "<a href=\"https://x.nl/a:b\">x</a><a href=\"a/b:c\">x</a><img src='data:image/png;base64,AA=='/>",
        ] {
            assert!(fault(&div(inner)).is_none(), "{inner}");
        }
        assert!(ELEMENTS.is_sorted() && ATTRIBUTES.is_sorted());
    }

    #[test]
    fn active_or_broken_narrative_is_refused() {
        for inner in [
            "<script>x</script>",
            "<p onclick=\"x()\">x</p>",
            "<p ONCLICK=\"x()\">x</p>",
            "<iframe src=\"https://x.nl\"/>",
            "<a href=\"javascript:x\">x</a>",
            "<a href=\" java&#10;script&#58;x\">x</a>",
            "<a href=\"data:text/html,x\">x</a>",
            "<img src=\"data:image/svg+xml,x\"/>",
            "<img src=\"data:text/html,x\"/>",
            "<p style=\"width: expr/**/ession(x)\">x</p>",
            "<p style=\"background: url('java&#115;cript:x')\">x</p>",
            "<p style=\"background: ur\\6c(x)\">x</p>",
            "<form>x</form>",
            "<svg/>",
            "<p>x",
            "x</p>",
            "<b><i>x</b></i>",
            "<br>x",
            "a & b",
            "a < b",
            "<p title=x>x</p>",
            "<p title>x</p>",
            "<p title=\"a\" title=\"b\">x</p>",
            "<![CDATA[<script>]]>",
            "<!-- x",
            "<?php x ?>",
            "<p xmlns=\"http://www.w3.org/2000/svg\">x</p>",
        ] {
            assert!(fault(&div(inner)).is_some_and(|fault| fault.key == "txt-1"), "{inner}");
        }
        for whole in
            ["", "text", "<div>x</div>", "<p xmlns=\"http://www.w3.org/1999/xhtml\">x</p>", "<!DOCTYPE html>"]
        {
            assert!(fault(whole).is_some(), "{whole}");
        }
        assert!(fault(&format!("{}<script/>", div("x"))).is_some());
        assert!(fault(&format!("{}{}", div("x"), div("y"))).is_some());
        assert!(fault(&format!("{}<!-- x --><p>y</p>", div("x"))).is_some());
        assert!(fault(&div(" <br/> ")).is_some_and(|fault| fault.key == "txt-2"));
        assert!(fault(&"<div xmlns=\"http://www.w3.org/1999/xhtml\">".repeat(100_000)).is_some());
    }
}
