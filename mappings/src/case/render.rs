//! Output as the two files of a case.

use sluis_conformance::json::{Doc, JsonLimits, Kind, Node, write_string};

use crate::{
    finding::Finding,
    output::{Output, Subject, Unit, UnitState},
};

/// Text of `out.json`: `{"units": [{label, state, identity, subject, replacedBy, left, sourceTime, resource}]}`, absent parts left out.
pub fn render_units(output: &Output) -> String {
    let mut json = String::from("{\"units\":[");
    for (i, unit) in output.units.iter().enumerate() {
        if i > 0 {
            json.push(',');
        }
        render_unit(unit, &mut json);
    }
    json.push_str("]}");
    pretty(&json)
}

/// Text of `findings.json`: a list of `{unit, severity, code, path, line, column, text}`, document-level ones first and
/// without `unit`.
pub fn render_findings(output: &Output) -> String {
    let mut json = String::from("[");
    let of_document = output.findings.iter().map(|f| (None, f));
    let of_units =
        output.units.iter().flat_map(|u| u.findings.iter().map(move |f| (Some(u.label.as_str()), f)));
    for (i, (unit, finding)) in of_document.chain(of_units).enumerate() {
        if i > 0 {
            json.push(',');
        }
        render_finding(unit, finding, &mut json);
    }
    json.push(']');
    pretty(&json)
}

/// JSON laid out for people: two spaces an indent, numbers and strings as they are, a line end at the end. Text that is
/// no JSON comes back as it is.
pub fn pretty(json: &str) -> String {
    match Doc::parse(json.as_bytes().to_vec(), JsonLimits::default()) {
        Ok(doc) => {
            let mut text = String::with_capacity(json.len() * 2);
            lay_out(doc.root(), 0, &mut text);
            text.push('\n');
            text
        }
        Err(_) => json.to_owned(),
    }
}

fn render_unit(unit: &Unit, json: &mut String) {
    json.push('{');
    member("label", &unit.label, json);
    json.push(',');
    let state = match unit.state {
        UnitState::Ready => "ready",
        UnitState::Quarantined => "quarantined",
    };
    member("state", state, json);
    if let Some((system, value)) = &unit.identity {
        json.push_str(",\"identity\":");
        identifier(system, value, json);
    }
    if let Some(subject) = &unit.subject {
        json.push_str(",\"subject\":");
        render_subject(subject, json);
    }
    if let Some(subject) = &unit.replaced_by {
        json.push_str(",\"replacedBy\":");
        render_subject(subject, json);
    }
    if !unit.left.is_empty() {
        json.push_str(",\"left\":[");
        for (i, name) in unit.left.iter().enumerate() {
            json.push_str(if i > 0 { "," } else { "" });
            write_string(name, json);
        }
        json.push(']');
    }
    if let Some(time) = &unit.source_time {
        json.push(',');
        member("sourceTime", time, json);
    }
    if let Some(resource) = &unit.resource {
        json.push_str(",\"resource\":");
        json.push_str(resource);
    }
    json.push('}');
}

fn render_subject(subject: &Subject, json: &mut String) {
    json.push('{');
    let mut separator = "";
    if let Some(bsn) = &subject.bsn {
        member("bsn", bsn, json);
        separator = ",";
    }
    if !subject.local.is_empty() {
        json.push_str(separator);
        json.push_str("\"local\":[");
        for (i, (system, value)) in subject.local.iter().enumerate() {
            if i > 0 {
                json.push(',');
            }
            identifier(system, value, json);
        }
        json.push(']');
        separator = ",";
    }
    if let Some(reference) = &subject.reference {
        json.push_str(separator);
        member("reference", reference, json);
    }
    json.push('}');
}

fn render_finding(unit: Option<&str>, finding: &Finding, json: &mut String) {
    json.push('{');
    if let Some(unit) = unit {
        member("unit", unit, json);
        json.push(',');
    }
    member("severity", finding.severity.as_str(), json);
    for (name, value) in [("code", finding.code), ("path", finding.path.as_str())] {
        json.push(',');
        member(name, value, json);
    }
    json.push_str(&format!(",\"line\":{},\"column\":{},", finding.line, finding.column));
    member("text", &finding.text, json);
    json.push('}');
}

fn identifier(system: &str, value: &str, json: &mut String) {
    json.push('{');
    member("system", system, json);
    json.push(',');
    member("value", value, json);
    json.push('}');
}

fn member(name: &str, value: &str, json: &mut String) {
    write_string(name, json);
    json.push(':');
    write_string(value, json);
}

fn lay_out(node: Node<'_>, depth: usize, text: &mut String) {
    let line = |depth: usize, text: &mut String| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    };
    match node.kind() {
        Kind::Object if !node.is_empty() => {
            text.push('{');
            for (i, (name, value)) in node.members().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                line(depth + 1, text);
                write_string(&name, text);
                text.push_str(": ");
                lay_out(value, depth + 1, text);
            }
            line(depth, text);
            text.push('}');
        }
        Kind::Array if !node.is_empty() => {
            text.push('[');
            for (i, item) in node.items().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                line(depth + 1, text);
                lay_out(item, depth + 1, text);
            }
            line(depth, text);
            text.push(']');
        }
        Kind::Object => text.push_str("{}"),
        Kind::Array => text.push_str("[]"),
        _ => text.push_str(node.raw()),
    }
}
