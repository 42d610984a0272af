//! `$discard`: sets units aside that are never to be applied, with the reason, or takes them back into the quarantine.
//!
//! The original stays where it is, and so does the entry, with who set it aside, when and why; a document that is sent
//! again gets that answer instead of silence.

use http::StatusCode;
use serde_json::json;

use super::quarantine::Discard;
use super::quarantine::list::content_address;
use super::{Audit, IngestFacts, Ingested, Intake};
use crate::audit::entry::without_bsn;
use crate::connection::request::Parameters;
use crate::interaction::write::{self, Desk};
use crate::response::refusal::{Reason, Refusal};
use crate::store::quarantine::QuarantineQuery;
use crate::store::{Store, StoreError, Writer};

/// Documents of one request.
const DOCUMENTS_MAX: u32 = 1_000;
/// Units of one request; the document that goes past it is the last.
const UNITS_MAX: u64 = 10_000;
/// Characters of a reason.
const REASON_CHARS_MAX: usize = 500;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    cause: Option<String>,
    document: Option<String>,
    part: Option<String>,
    /// Why; `None`: they are taken back.
    reason: Option<String>,
}

impl Asked {
    fn parse(parameters: &Parameters) -> Result<Asked, Refusal> {
        let invalid = |name: &str, text: &str| Refusal::new(Reason::ParameterInvalid, text).at(name);
        let mut asked = Asked { cause: None, document: None, part: None, reason: None };
        let mut undo = false;
        for (name, value) in parameters.pairs.iter() {
            match name.as_str() {
                // An empty one would mean every cause.
                "cause" if value.is_empty() => return Err(invalid("cause", "Name the cause.")),
                "cause" => asked.cause = Some(value.clone()),
                "document" => asked.document = Some(content_address(value)?),
                "part" => asked.part = Some(value.clone()),
                "reason" => asked.reason = Some(reason(value)?),
                "undo" => undo = value.parse().map_err(|_| invalid("undo", "undo is true or false."))?,
                "_format" | "_pretty" => {}
                other => {
                    let text = "Known here: document, part, cause, reason, undo.";
                    return Err(Refusal::new(Reason::ParameterUnknown, text).at(other));
                }
            }
        }
        if asked.cause.is_none() && asked.document.is_none() {
            return Err(invalid("document", "Name a document, a cause, or both: not everything at once."));
        }
        if asked.part.is_some() && asked.document.is_none() {
            return Err(invalid("part", "A part is one of a document; name that as well."));
        }
        if undo == asked.reason.is_some() {
            return Err(invalid("reason", "Say why (reason), or take back what was set aside (undo=true)."));
        }
        Ok(asked)
    }
}

fn reason(text: &str) -> Result<String, Refusal> {
    let invalid = |text: &str| Err(Refusal::new(Reason::ParameterInvalid, text).at("reason"));
    let text = text.trim();
    if text.is_empty() || text.chars().count() > REASON_CHARS_MAX || text.contains(char::is_control) {
        return invalid("reason is a text of 1 to 500 characters on one line.");
    }
    if without_bsn(text) != text {
        return invalid(
            "reason names no person: it has a number that could be a citizen service number (BSN).",
        );
    }
    Ok(text.to_owned())
}

/// What became of it.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    units: u64,
    documents: u64,
    left: u64,
}

impl Intake {
    /// `$discard`: sets waiting units of the own organisation aside, or takes them back (`undo`). Parameters, JSON text.
    /// Its audit record is part of the same transaction.
    ///
    /// Errors: `ParameterUnknown`, `ParameterInvalid`; the store's failures (nothing is changed).
    pub async fn discard(
        &self,
        store: &dyn Store,
        desk: &Desk,
        parameters: &Parameters,
        audit: Audit,
    ) -> Result<Ingested, Refusal> {
        let asked = Asked::parse(parameters)?;
        let discard = asked.reason.clone().map(|reason| Discard {
            at: desk.now.0,
            client: desk.permit.actor().map_or_else(String::new, |actor| actor.client.to_string()),
            role: desk.permit.role().map_or_else(String::new, |role| role.name.clone()),
            reason,
        });
        let sender = desk.permit.filter().organisation;
        let (counts, facts) = write::commit(store, &desk.permit, move |writer| {
            let query =
                QuarantineQuery { sender, discarded: discard.is_none(), cause: asked.cause.as_deref() };
            let counts = set_aside(writer, query, &asked, discard.as_ref().map(Discard::text).as_deref())?;
            let mut facts = IngestFacts { status: StatusCode::OK.as_u16(), ..IngestFacts::default() };
            let did = if discard.is_some() { "set aside" } else { "taken back" };
            facts.notes.push(format!("{did}: {} units of {} documents", counts.units, counts.documents));
            facts.notes.extend(discard.map(|discard| format!("reason: {}", discard.reason)));
            facts.sha256 = asked.document.unwrap_or_default();
            writer.append_audit(&audit(&facts))?;
            Ok((counts, facts))
        })
        .await?;
        let mut told = vec![
            json!({ "name": "units", "valueInteger": counts.units }),
            json!({ "name": "documents", "valueInteger": counts.documents }),
        ];
        if counts.left > 0 {
            told.push(json!({ "name": "documentsLeft", "valueInteger": counts.left }));
        }
        let body = json!({ "resourceType": "Parameters", "parameter": told }).to_string();
        Ok(Ingested { status: StatusCode::OK, body, facts })
    }
}

fn set_aside(
    writer: &mut dyn Writer,
    query: QuarantineQuery<'_>,
    asked: &Asked,
    discard: Option<&str>,
) -> Result<Counts, StoreError> {
    let mut counts = Counts::default();
    let documents = match &asked.document {
        Some(sha256) => vec![sha256.clone()],
        None => {
            let (found, left) = writer.quarantine_documents(query, None, DOCUMENTS_MAX)?;
            counts.left = left;
            found.into_iter().map(|document| document.sha256).collect()
        }
    };
    let mut documents = documents.into_iter();
    while counts.units < UNITS_MAX {
        let Some(sha256) = documents.next() else { break };
        let part = asked.part.as_deref();
        let units = writer.quarantine_discard(query.sender, &sha256, query.cause, part, discard)?;
        counts.units += units;
        counts.documents += u64::from(units > 0);
    }
    counts.left += documents.len() as u64;
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(pairs: &[(&str, &str)]) -> Option<(Reason, Vec<String>)> {
        let pairs: Vec<_> = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let parameters = Parameters { pairs: pairs.into(), raw: "".into() };
        Asked::parse(&parameters).err().map(|refusal| (refusal.reason, refusal.expression))
    }

    #[test]
    fn it_says_what_and_why_and_names_no_person() {
        let address = "a1".repeat(32);
        assert_eq!(refused(&[("document", &address), ("part", "OBX[1]"), ("reason", "Testbericht")]), None);
        assert_eq!(refused(&[("cause", "bsn-invalid"), ("undo", "true")]), None);
        let long = "x".repeat(REASON_CHARS_MAX + 1);
        for (pairs, at) in [
            (&[("reason", "Testbericht")][..], "document"),
            (&[("cause", "x"), ("part", "OBX[1]"), ("reason", "y")], "part"),
            (&[("cause", "x")], "reason"),
            (&[("cause", "x"), ("reason", "y"), ("undo", "true")], "reason"),
            (&[("cause", "x"), ("reason", "  ")], "reason"),
            (&[("cause", "x"), ("reason", &long)], "reason"),
            (&[("cause", "x"), ("reason", "van mevrouw 999911120")], "reason"),
            (&[("cause", ""), ("reason", "y")], "cause"),
        ] {
            assert_eq!(refused(pairs), Some((Reason::ParameterInvalid, vec![at.to_owned()])), "{pairs:?}");
        }
        assert_eq!(refused(&[("sender", "x")]).map(|refused| refused.0), Some(Reason::ParameterUnknown));
    }
}
