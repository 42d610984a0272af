//! What was asked, as it is kept with a job: the interaction that `connection` made of the request, and nothing else of it.

use serde::{Deserialize, Serialize};
use sluis_conformance::definitions::r4;

use super::super::write::kinds;
use crate::connection::request::{Interaction, Parameters};
use crate::ids::{ResourceId, ResourceType};

/// An interaction that may be answered later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// `[type]?…`
    Search(Box<str>, Question),
    /// `[base]?…`
    SearchSystem(Question),
    /// `[compartment]/[id]/[type]?…`; without a type `*`
    SearchCompartment(Box<str>, Box<str>, Option<Box<str>>, Question),
    /// `[type]/[id]/_history?…`
    History(Box<str>, Box<str>, Question),
    /// `[type]/_history?…`
    HistoryType(Box<str>, Question),
    /// `_history?…`
    HistorySystem(Question),
    /// `Patient/[id]/$everything?…`, of all patients without an id
    Everything(Option<Box<str>>, Question),
    /// A batch or transaction; its document is kept beside the job.
    Bundle,
}

/// The pairs of a query or form, and their undecoded text for the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    pairs: Vec<(String, String)>,
    raw: String,
}

impl Asked {
    /// What is kept of an interaction; `None` for one that is answered at once whatever was preferred (RFC 7240 section 2: a
    /// preference may be left aside): one that is no answer of pages, that counts and shows nothing, the log, a later page.
    pub fn of(interaction: &Interaction) -> Option<Asked> {
        let name = |kind: &ResourceType| Box::from(r4().type_name(*kind));
        let id = |id: &ResourceId| Box::from(id.as_str());
        Some(match interaction {
            Interaction::Search(kind, _) if *kind == kinds().audit_event => return None,
            Interaction::Search(kind, asked) => Asked::Search(name(kind), Question::of(asked)?),
            Interaction::SearchSystem(asked) => Asked::SearchSystem(Question::of(asked)?),
            Interaction::SearchCompartment(owner, of, kind, asked) => {
                Asked::SearchCompartment(name(owner), id(of), kind.as_ref().map(name), Question::of(asked)?)
            }
            Interaction::History(kind, of, asked) => Asked::History(name(kind), id(of), Question::of(asked)?),
            Interaction::HistoryType(kind, asked) => Asked::HistoryType(name(kind), Question::of(asked)?),
            Interaction::HistorySystem(asked) => Asked::HistorySystem(Question::of(asked)?),
            Interaction::Everything(of, asked) => {
                Asked::Everything(of.as_ref().map(id), Question::of(asked)?)
            }
            Interaction::Bundle(_) => Asked::Bundle,
            _ => return None,
        })
    }

    /// The interaction again, of its first page or of the one behind a page link; `None` for a Bundle, whose document is
    /// kept elsewhere, and for what no gateway has kept.
    pub(super) fn page(&self, cursor: Option<&str>) -> Option<Interaction> {
        let kind = |name: &str| r4().resource_type(name);
        let asked = |question: &Question| question.at(cursor);
        Some(match self {
            Asked::Search(name, question) => Interaction::Search(kind(name)?, asked(question)),
            Asked::SearchSystem(question) => Interaction::SearchSystem(asked(question)),
            Asked::SearchCompartment(owner, id, name, question) => {
                let inner = match name {
                    Some(name) => Some(kind(name)?),
                    None => None,
                };
                Interaction::SearchCompartment(kind(owner)?, ResourceId::parse(id)?, inner, asked(question))
            }
            Asked::History(name, id, question) => {
                Interaction::History(kind(name)?, ResourceId::parse(id)?, asked(question))
            }
            Asked::HistoryType(name, question) => Interaction::HistoryType(kind(name)?, asked(question)),
            Asked::HistorySystem(question) => Interaction::HistorySystem(asked(question)),
            Asked::Everything(id, question) => {
                let id = match id {
                    Some(id) => Some(ResourceId::parse(id)?),
                    None => None,
                };
                Interaction::Everything(id, asked(question))
            }
            Asked::Bundle => return None,
        })
    }

    /// Address below the base, and what was asked there, for the `request` of the status.
    pub(super) fn address(&self) -> (String, &[(String, String)]) {
        let path = match self {
            Asked::Search(name, _) => name.to_string(),
            Asked::SearchSystem(_) | Asked::Bundle => String::new(),
            Asked::SearchCompartment(owner, id, name, _) => {
                format!("{owner}/{id}/{}", name.as_deref().unwrap_or("*"))
            }
            Asked::History(name, id, _) => format!("{name}/{id}/_history"),
            Asked::HistoryType(name, _) => format!("{name}/_history"),
            Asked::HistorySystem(_) => "_history".to_owned(),
            Asked::Everything(Some(id), _) => format!("Patient/{id}/$everything"),
            Asked::Everything(None, _) => "Patient/$everything".to_owned(),
        };
        let pairs = match self {
            Asked::Search(_, question)
            | Asked::SearchSystem(question)
            | Asked::SearchCompartment(.., question)
            | Asked::History(.., question)
            | Asked::HistoryType(_, question)
            | Asked::HistorySystem(question)
            | Asked::Everything(_, question) => question.pairs.as_slice(),
            Asked::Bundle => &[],
        };
        (path, pairs)
    }
}

impl Question {
    fn of(asked: &Parameters) -> Option<Question> {
        let shows = asked.pairs.iter().all(|(name, value)| match (name.as_str(), value.as_str()) {
            ("_cursor", _) | ("_summary", "count") => false,
            // Nothing to show is a count (FHIR R4 search.html#count).
            ("_count", count) => count.parse() != Ok(0u64),
            _ => true,
        });
        shows.then(|| Question { pairs: asked.pairs.to_vec(), raw: asked.raw.to_string() })
    }

    fn at(&self, cursor: Option<&str>) -> Parameters {
        let pairs = match cursor {
            None => self.pairs.clone(),
            Some(text) => vec![("_cursor".to_owned(), text.to_owned())],
        };
        Parameters { pairs: pairs.into(), raw: self.raw.as_str().into() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;
    use crate::connection::route;

    fn asked(url: &str) -> Option<Asked> {
        Asked::of(&route::entry("GET", url, None).unwrap())
    }

    #[test]
    fn what_is_kept_is_the_interaction_again() {
        for url in [
            "Observation?code=a%7Cb&_count=2",
            "Patient/p1/Observation?_sort=date",
            "Patient/p1/*",
            "Patient/p1/_history?_count=1",
            "Patient/_history",
            "_history?_since=2020",
        ] {
            let kept = asked(url).unwrap();
            let text = serde_json::to_string(&kept).unwrap();
            assert_eq!(serde_json::from_str::<Asked>(&text).unwrap(), kept);
            let again = kept.page(None).unwrap();
            assert_eq!(Asked::of(&again).unwrap(), kept, "{url}");
            // A later page is asked for by its link alone.
            assert_eq!(Asked::of(&kept.page(Some("x")).unwrap()), None, "{url}");
        }
    }

    #[test]
    fn what_shows_no_resource_of_the_store_is_answered_at_once() {
        for url in [
            "Observation?_summary=count",
            "Observation?_count=0",
            "Observation?_cursor=x",
            "AuditEvent?patient=1",
            "Patient/1",
        ] {
            assert_eq!(asked(url), None, "{url}");
        }
    }
}
