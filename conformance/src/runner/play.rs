//! Plays one script against a server.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::http::{Answer, Server};
use super::script::{Script, Step};

/// Plays every step in order.
///
/// Errors: the first thing that is not as the script says, with step and what came.
pub(crate) async fn play(
    server: &Server,
    script: &Script,
    tokens: &[(String, String)],
) -> Result<usize, String> {
    #[expect(clippy::disallowed_methods, reason = "a number that differs between runs against a real server")]
    let run = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|_| "the clock stands before 1970")?
        .as_micros();
    let mut known =
        HashMap::from([("base".to_owned(), server.base().to_owned()), ("run".to_owned(), run.to_string())]);
    for (at, step) in script.steps.iter().enumerate() {
        one(server, step, tokens, &mut known)
            .await
            .map_err(|error| format!("step {} ({}): {error}", at + 1, step.request))?;
    }
    Ok(script.steps.len())
}

async fn one(
    server: &Server,
    step: &Step,
    tokens: &[(String, String)],
    known: &mut HashMap<String, String>,
) -> Result<(), String> {
    let request = fill(&step.request, known)?;
    let (method, target) = request.split_once(' ').ok_or("a request is METHOD and path")?;
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in &step.headers {
        headers.push((name.clone(), fill(value, known)?));
    }
    if let Some(actor) = &step.actor {
        let (_, token) = tokens
            .iter()
            .find(|(name, _)| name == actor)
            .ok_or_else(|| format!("no --token for actor {actor}"))?;
        headers.push(("authorization".to_owned(), format!("Bearer {token}")));
    }
    let body = match &step.body {
        Some(body) => fill(body, known)?.into_bytes(),
        None => Vec::new(),
    };
    if !body.is_empty() && !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("content-type")) {
        headers.push(("content-type".to_owned(), "application/fhir+json".to_owned()));
    }
    let asked = Instant::now();
    let mut answer = server.send(method, target, &headers, body.clone()).await?;
    // Bulk Data Access IG v2 export.html#bulk-data-status-request: 202 while it runs, 429 when asked too often.
    while matches!(answer.status.as_u16(), 202 | 429)
        && !step.status.allow(answer.status.as_u16())
        && asked.elapsed() < Duration::from_secs(step.wait_seconds)
    {
        tokio::time::sleep(Duration::from_secs(1)).await;
        answer = server.send(method, target, &headers, body.clone()).await?;
    }
    check(step, &answer, known)?;
    for (name, from) in &step.capture {
        let value = match from.strip_prefix("header:") {
            Some(header) => answer.headers.get(header).and_then(|v| v.to_str().ok()).map(str::to_owned),
            None if from == "body" => Some(String::from_utf8_lossy(&answer.body).into_owned()),
            None => pointer(&answer, from).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)),
        };
        known.insert(name.clone(), value.ok_or_else(|| format!("nothing at {from} to capture"))?);
    }
    Ok(())
}

fn check(step: &Step, answer: &Answer, known: &HashMap<String, String>) -> Result<(), String> {
    let text = String::from_utf8_lossy(&answer.body);
    let shown: String = text.chars().take(400).collect();
    if !step.status.allow(answer.status.as_u16()) {
        return Err(format!("status {} where {:?} is due: {shown}", answer.status, step.status));
    }
    for (name, due) in &step.header {
        let got = answer.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let due = fill(due, known)?;
        let fits = match due.strip_prefix('/').and_then(|d| d.strip_suffix('/')) {
            Some(part) => got.contains(part),
            None => got == due,
        };
        if !fits {
            return Err(format!("header {name} is {got:?} where {due:?} is due"));
        }
    }
    for (path, due) in &step.expect {
        let got = pointer(answer, path);
        let due_text = due.as_str().map(|s| fill(s, known)).transpose()?;
        let fits = match (due_text.as_deref(), &got) {
            (Some("*"), Some(_)) | (Some("-"), None) => true,
            (Some(due), Some(got)) => got.as_str() == Some(due),
            (None, Some(got)) => serde_json::to_value(due).is_ok_and(|due| due == *got),
            _ => false,
        };
        if !fits {
            return Err(format!("{path} is {got:?} where {due} is due: {shown}"));
        }
    }
    if let Some(due) = &step.equals
        && *text != fill(due, known)?
    {
        return Err(format!("the body is not {}: {shown}", fill(due, known)?));
    }
    for due in &step.contains {
        let due = fill(due, known)?;
        if !text.contains(&due) {
            return Err(format!("the body lacks {due:?}: {shown}"));
        }
    }
    for not in &step.lacks {
        let not = fill(not, known)?;
        if text.contains(&not) {
            return Err(format!("the body holds {not:?}: {shown}"));
        }
    }
    Ok(())
}

fn pointer(answer: &Answer, path: &str) -> Option<serde_json::Value> {
    serde_json::from_slice::<serde_json::Value>(&answer.body).ok()?.pointer(path).cloned()
}

/// Replaces `{name}`; an unknown name is an error. Braces around anything but a plain name stay.
fn fill(text: &str, known: &HashMap<String, String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (head, tail) = rest.split_at(at);
        out.push_str(head);
        let name_len = tail.bytes().skip(1).take_while(|b| b.is_ascii_lowercase() || *b == b'_').count();
        let name = tail.get(1..=name_len).unwrap_or_default();
        if !name.is_empty() && tail.as_bytes().get(name_len + 1) == Some(&b'}') {
            let value = known.get(name).ok_or_else(|| format!("nothing captured as {name}"))?;
            out.push_str(value);
            rest = tail.get(name_len + 2..).unwrap_or_default();
        } else {
            out.push('{');
            rest = tail.get(1..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_and_json_braces_stay() {
        let known = HashMap::from([("id".to_owned(), "7".to_owned())]);
        assert_eq!(fill(r#"{"a":{"b":"{id}"}}"#, &known), Ok(r#"{"a":{"b":"7"}}"#.to_owned()));
        assert!(fill("{nobody}", &known).is_err());
    }
}
