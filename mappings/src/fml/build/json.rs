//! JSON values as they are put together; empty lists and objects are left out (FHIR R4 json.html).

use sluis_conformance::json::write_string;

/// A JSON value.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Number(String),
    Boolean(bool),
    List(Vec<Value>),
    Object(Vec<(&'static str, Value)>),
}

impl Value {
    pub(super) fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    pub(super) fn object(members: Vec<(&'static str, Value)>) -> Value {
        Value::Object(members)
    }

    fn text_into(&self, depth: usize, out: &mut String) {
        let line = |depth: usize, out: &mut String| {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", depth));
        };
        match self {
            Value::Text(text) => write_string(text, out),
            Value::Number(number) => out.push_str(number),
            Value::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    line(depth + 1, out);
                    item.text_into(depth + 1, out);
                }
                line(depth, out);
                out.push(']');
            }
            Value::Object(members) => {
                out.push('{');
                let there = members
                    .iter()
                    .filter(|(_, value)| !matches!(value, Value::List(items) if items.is_empty()));
                for (at, (name, value)) in there.enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    line(depth + 1, out);
                    write_string(name, out);
                    out.push_str(": ");
                    value.text_into(depth + 1, out);
                }
                line(depth, out);
                out.push('}');
            }
        }
    }

    /// The value as JSON text, a line per member.
    pub(super) fn to_text(&self) -> String {
        let mut out = String::new();
        self.text_into(0, &mut out);
        out.push('\n');
        out
    }
}
