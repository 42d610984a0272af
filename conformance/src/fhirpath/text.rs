//! Functions of FHIRPath from one text to another, which every evaluator of this workspace has from here.
//!
//! What is evaluated differs (a resource with its types, a document of any notation with its places); what `escape('html')` gives
//! does not. Source: FHIRPath 3.0.0-ballot, additional string functions.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// `escape('html' | 'json')`; `None` for another target.
pub fn escape(text: &str, target: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    match target {
        "html" => {
            for letter in text.chars() {
                match ENTITIES.iter().find(|(_, of)| *of == letter) {
                    Some((name, _)) => {
                        out.push('&');
                        out.push_str(name);
                        out.push(';');
                    }
                    None => out.push(letter),
                }
            }
        }
        "json" => {
            crate::json::write_string(text, &mut out);
            // Without the quotes around it.
            out = out.get(1..out.len().saturating_sub(1)).unwrap_or_default().to_owned();
        }
        _ => return None,
    }
    Some(out)
}

/// `unescape('html' | 'json')`; `None` for another target, or a text that is not escaped in that way.
pub fn unescape(text: &str, target: &str) -> Option<String> {
    match target {
        "html" => {
            let mut out = String::with_capacity(text.len());
            let mut rest = text;
            while let Some(at) = rest.find('&') {
                out.push_str(rest.get(..at)?);
                let (name, after) = rest.get(at + 1..)?.split_once(';')?;
                out.push(entity(name)?);
                rest = after;
            }
            out.push_str(rest);
            Some(out)
        }
        "json" => {
            let quoted = format!("\"{text}\"").into_bytes();
            let doc = crate::json::Doc::parse(quoted, crate::json::JsonLimits::default()).ok()?;
            doc.root().as_str().map(std::borrow::Cow::into_owned)
        }
        _ => None,
    }
}

/// The characters HTML gives a meaning (WHATWG HTML 13.3, escaping a string), by entity.
const ENTITIES: [(&str, char); 5] = [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("#39", '\'')];

fn entity(name: &str) -> Option<char> {
    if let Some((_, letter)) = ENTITIES.iter().find(|(known, _)| *known == name) {
        return Some(*letter);
    }
    let number = name.strip_prefix('#')?;
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    char::from_u32(code)
}

/// `encode('hex' | 'base64' | 'urlbase64')`; `None` for another form.
pub fn encode(text: &str, form: &str) -> Option<String> {
    Some(match form {
        "hex" => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        "base64" => STANDARD.encode(text),
        "urlbase64" => URL_SAFE.encode(text),
        _ => return None,
    })
}

/// `decode('hex' | 'base64' | 'urlbase64')`; `None` for another form, or bytes that are not that form of a text.
pub fn decode(text: &str, form: &str) -> Option<String> {
    let bytes = match form {
        "hex" => {
            let digits: Option<Vec<u8>> = text
                .chars()
                .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
                .collect();
            let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
            digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + digit)).collect()
        }
        "base64" => STANDARD.decode(text).ok()?,
        "urlbase64" => URL_SAFE.decode(text).ok()?,
        _ => return None,
    };
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes_and_what_is_not_is_refused() {
        let text = "\"1<2\" & 'é'\n";
        for form in ["hex", "base64", "urlbase64"] {
            assert_eq!(
                encode(text, form).and_then(|made| decode(&made, form)).as_deref(),
                Some(text),
                "{form}"
            );
        }
        for target in ["html", "json"] {
            let made = escape(text, target);
            assert_eq!(made.and_then(|made| unescape(&made, target)).as_deref(), Some(text), "{target}");
        }
        assert_eq!(escape("a<b", "html").as_deref(), Some("a&lt;b"));
        assert_eq!(encode("test", "base64").as_deref(), Some("dGVzdA=="));
        assert_eq!((escape("a", "xml"), encode("a", "rot13")), (None, None));
        for (text, form) in
            [("abc", "hex"), ("zz", "hex"), ("ff", "hex"), ("%", "base64"), ("+w==", "urlbase64")]
        {
            assert_eq!(decode(text, form), None, "{text} {form}");
        }
        assert_eq!((unescape("&no;", "html"), unescape("a\"b", "json")), (None, None));
    }
}
