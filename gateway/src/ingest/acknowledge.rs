//! The answer to an HL7v2 sender: ACK with MSA and an ERR segment for each finding.
//!
//! `AA`: everything of the message is in the store. `AE`: the message was taken and is kept, but something of it waits for
//! mending; sending it again changes nothing. `AR`: nothing was kept; `ERR` says whether sending it again can help. An answer
//! is made after the commit alone. Acknowledgements are in original mode (HL7 v2.5.1 2.9.2), whatever MSH-15 and MSH-16 ask.

use std::fmt::Write as _;

use http::StatusCode;
use serde_json::Value;
use sluis_mappings::source::hl7v2;

use crate::clock::Timestamp;

/// ERR segments in one answer; further findings are in the quarantine list.
const ERRORS_MAX: usize = 50;

/// What is answered, by HL7 table 0008.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Application accept.
    Accept,
    /// Application error: kept, with findings.
    Error,
    /// Application reject: not kept.
    Reject,
}

/// One ERR segment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    severity: char,
    code: String,
    path: String,
    text: String,
}

/// The header fields an answer repeats, raw, of a message in the usual delimiters; empty where it has others.
#[derive(Debug, Default)]
struct Header {
    sender: [String; 2],
    receiver: [String; 2],
    processing: String,
    version: String,
}

/// ACK text of an answer of `$ingest`: its status and OperationOutcome.
pub fn acknowledge(message: &[u8], status: StatusCode, outcome: &[u8], id: &str, now: Timestamp) -> String {
    let faults = faults(outcome);
    let waits = status == StatusCode::UNPROCESSABLE_ENTITY || faults.iter().any(|f| f.severity == 'E');
    let code = match status {
        StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY if waits => Code::Error,
        StatusCode::OK => Code::Accept,
        _ => Code::Reject,
    };
    write(message, code, &faults, id, now)
}

/// ACK text of a message that was not taken, and why.
pub fn reject(message: &[u8], code: &str, why: &str, id: &str, now: Timestamp) -> String {
    let fault = Fault { severity: 'E', code: code.to_owned(), path: String::new(), text: why.to_owned() };
    write(message, Code::Reject, &[fault], id, now)
}

fn write(message: &[u8], code: Code, faults: &[Fault], id: &str, now: Timestamp) -> String {
    let header = Header::of(message);
    let control = hl7v2::facts(message).control_id.unwrap_or_default();
    let acknowledged = match code {
        Code::Accept => "AA",
        Code::Error => "AE",
        Code::Reject => "AR",
    };
    let [application, facility] = &header.receiver;
    let [to_application, to_facility] = &header.sender;
    let version = if header.version.is_empty() { "2.5.1" } else { &header.version };
    let processing = if header.processing.is_empty() { "P" } else { &header.processing };
    let mut out = format!(
        "MSH|^~\\&|{application}|{facility}|{to_application}|{to_facility}|{}||ACK^{}^ACK|{}|{processing}|{version}||||||UNICODE UTF-8\r",
        compact(now),
        event(message),
        escaped(id),
    );
    // Writing to a String does not fail.
    let _ = write!(out, "MSA|{acknowledged}|{}\r", escaped(&control));
    let old = matches!(version.get(..3), Some("2.1" | "2.2" | "2.3" | "2.4"));
    for fault in faults.iter().take(ERRORS_MAX) {
        let place = location(&fault.path);
        let number = hl7_code(&fault.code);
        let text = escaped(&fault.text);
        let own = escaped(&fault.code);
        let _ = if old {
            // Until 2.4 ERR-1 holds place and code together (HL7 v2.4 2.16.5).
            let [segment, sequence, field] = [0, 1, 2].map(|n| place.split('^').nth(n).unwrap_or_default());
            write!(out, "ERR|{segment}^{sequence}^{field}^{number}&{}&HL70357\r", escaped(meaning(number)))
        } else {
            write!(
                out,
                "ERR||{place}|{number}^{}^HL70357|{}|{own}|||{text}\r",
                escaped(meaning(number)),
                fault.severity
            )
        };
    }
    out
}

/// What the findings of an OperationOutcome say, those that are more than counted.
fn faults(outcome: &[u8]) -> Vec<Fault> {
    let outcome: Value = serde_json::from_slice(outcome).unwrap_or_default();
    let issues = outcome["issue"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let fault = |issue: &Value| {
        let coding = &issue["details"]["coding"][0];
        // Counts and units are no findings; a refusal has issues without a coding.
        if coding["system"].as_str().is_some_and(|system| system.ends_with("ingest-outcome")) {
            return None;
        }
        let severity = match issue["severity"].as_str() {
            Some("error" | "fatal") => 'E',
            Some("warning") => 'W',
            _ => return None,
        };
        let code = coding["code"].as_str().or(issue["code"].as_str()).unwrap_or("processing").to_owned();
        Some(Fault { severity, code, path: text(&issue["expression"][0]), text: text(&issue["diagnostics"]) })
    };
    issues.iter().filter_map(fault).collect()
}

/// `OBX[4].OBX_5[2].C1.S2` -> `OBX^4^5^2^1^2` (HL7 v2.5.1 2.16.5.2, data type ERL).
fn location(path: &str) -> String {
    let mut parts = path.split('.').map(|step| {
        let (name, number) = step.split_once('[').unwrap_or((step, ""));
        (name.to_owned(), number.trim_end_matches(']').to_owned())
    });
    let Some((segment, sequence)) = parts.next().filter(|(name, _)| name.len() == 3) else {
        return String::new();
    };
    let sequence = if sequence.is_empty() { "1".to_owned() } else { sequence };
    let mut out = vec![segment, sequence];
    for (name, number) in parts {
        match name.split_once('_') {
            Some((_, field)) => {
                out.push(field.to_owned());
                out.push(if number.is_empty() { "1".to_owned() } else { number });
            }
            None => out.push(name.trim_start_matches(['C', 'S']).to_owned()),
        }
    }
    out.join("^")
}

/// HL7 table 0357 for a finding.
fn hl7_code(code: &str) -> u16 {
    match code {
        "segment-missing"
        | "segment-misplaced"
        | "segment-truncated"
        | "segment-unnamed"
        | "message-truncated"
        | "segment-msh-missing"
        | "delimiters-unusable"
        | "frame-broken"
        | "batch-unsplit" => 100,
        "identity-missing" | "control-id-missing" | "message-type-missing" | "result-missing" => 101,
        "bsn-invalid"
        | "time-invalid"
        | "date-invalid"
        | "number-invalid"
        | "charset-contradicted"
        | "charset-unknown"
        | "invalid"
        | "escape-undecodable" => 102,
        "code-unmapped" | "unit-unmapped" => 103,
        "mapping-missing" | "nothing-mapped" => 200,
        "patient-unknown" | "patient-ambiguous" | "correction-without-original" | "reference-unresolved" => {
            204
        }
        "message-key-reused" | "identity-doubled" | "stale" => 205,
        _ => 207,
    }
}

fn meaning(number: u16) -> &'static str {
    match number {
        100 => "Segment sequence error",
        101 => "Required field missing",
        102 => "Data type error",
        103 => "Table value not found",
        200 => "Unsupported message type",
        204 => "Unknown key identifier",
        205 => "Duplicate key identifier",
        _ => "Application internal error",
    }
}

impl Header {
    fn of(message: &[u8]) -> Header {
        let start = message.windows(8).position(|window| window == b"MSH|^~\\&").unwrap_or(message.len());
        let line = message.get(start..).unwrap_or_default();
        let line = line.split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or_default();
        let fields: Vec<String> = line.split(|&b| b == b'|').map(printable).collect();
        let field = |n: usize| fields.get(n - 1).cloned().unwrap_or_default();
        Header {
            sender: [field(3), field(4)],
            receiver: [field(5), field(6)],
            processing: field(11),
            version: field(12),
        }
    }
}

/// A raw field as it may be repeated: printable ASCII; what else it held is not ours to repeat.
fn printable(field: &[u8]) -> String {
    let printable = |b: &u8| b.is_ascii_graphic() || *b == b' ';
    field.iter().copied().filter(printable).take(180).map(char::from).collect()
}

/// Trigger event of MSH-9.2, which an ACK repeats.
fn event(message: &[u8]) -> String {
    let kind = hl7v2::facts(message).message_type.unwrap_or_default();
    let event = kind.split_once('^').map(|(_, event)| event).unwrap_or_default();
    event.chars().filter(char::is_ascii_alphanumeric).take(3).collect()
}

/// Text with the delimiters and line ends escaped (HL7 v2.5.1 2.7).
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '|' => out.push_str("\\F\\"),
            '^' => out.push_str("\\S\\"),
            '~' => out.push_str("\\R\\"),
            '&' => out.push_str("\\T\\"),
            '\\' => out.push_str("\\E\\"),
            '\r' | '\n' => out.push_str("\\.br\\"),
            c if c.is_control() => {}
            c => out.push(c),
        }
        out
    })
}

/// `2026-03-11T09:30:00...Z` -> `20260311093000+0000`.
fn compact(now: Timestamp) -> String {
    let digits: String = now.to_instant().chars().filter(char::is_ascii_digit).take(14).collect();
    format!("{digits}+0000")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"MSH|^~\\&|LAB|UMC|SLUIS|GESP|20260310||ORU^R01^ORU_R01|M\\T\\1|P|2.5\rPID|1\r";

    fn ack(status: StatusCode, outcome: &str) -> String {
        acknowledge(MESSAGE, status, outcome.as_bytes(), "A-1", Timestamp(0))
    }

    #[test]
    fn an_accepted_message_is_answered_under_its_own_number() {
        let text = ack(StatusCode::OK, r#"{"issue":[{"severity":"information","code":"informational"}]}"#);
        assert_eq!(
            text,
            "MSH|^~\\&|SLUIS|GESP|LAB|UMC|19700101000000+0000||ACK^R01^ACK|A-1|P|2.5||||||UNICODE UTF-8\rMSA|AA|M\\T\\1\r"
        );
        assert!(!sluis_mappings::source::hl7v2::parse(text.as_bytes(), None, Default::default()).is_fatal());
    }

    #[test]
    fn what_waits_is_an_error_with_its_place_and_code() {
        let outcome = r#"{"issue":[{"severity":"error","code":"code-invalid","details":{"coding":[{"system":"x/ingest-finding","code":"code-unmapped"}]},"diagnostics":"No row for A|B.","expression":["OBX[4].OBX_3.C1"]}]}"#;
        for status in [StatusCode::OK, StatusCode::UNPROCESSABLE_ENTITY] {
            let text = ack(status, outcome);
            assert!(text.contains("MSA|AE|M\\T\\1\r"), "{text}");
            assert!(
                text.contains(
                    "ERR||OBX^4^3^1^1|103^Table value not found^HL70357|E|code-unmapped|||No row for A\\F\\B.\r"
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn a_store_that_fails_rejects_and_an_old_version_gets_its_own_form() {
        let outcome = r#"{"issue":[{"severity":"fatal","code":"transient","diagnostics":"Later."}]}"#;
        assert!(ack(StatusCode::SERVICE_UNAVAILABLE, outcome).contains("MSA|AR|"));
        let old = String::from_utf8_lossy(MESSAGE).replace("|2.5", "|2.3");
        let text = reject(old.as_bytes(), "frame-broken", "x", "A-1", Timestamp(0));
        assert!(text.contains("ERR|^^^100&Segment sequence error&HL70357\r"), "{text}");
    }

    #[test]
    fn places_become_error_locations() {
        assert_eq!(location("OBX[4].OBX_5[2].C1.S2"), "OBX^4^5^2^1^2");
        assert_eq!(location("PID[1].PID_3"), "PID^1^3^1");
        assert_eq!(location("OBX[2]"), "OBX^2");
        assert_eq!(location("Observation.status"), "");
        assert_eq!(location(""), "");
    }

    #[test]
    fn any_bytes_are_answered_without_panic() {
        for bytes in [&b""[..], b"MSH", b"MSH|^~\\&", b"\xff\xfe|", b"MSH|^~\\&|\xeb|||||\r"] {
            assert!(reject(bytes, "frame-broken", "x|y\r", "1", Timestamp(0)).contains("MSA|AR|"));
        }
    }
}
