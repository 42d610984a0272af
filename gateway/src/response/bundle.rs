//! Bundles spliced from stored bytes: no resource is parsed to be sent.

use sluis_conformance::json::write_string;

/// Writes a Bundle piece by piece.
#[derive(Debug)]
pub struct BundleWriter {
    out: String,
    entries: u32,
}

/// `Bundle.entry.search.mode` (FHIR R4 search.html#5.1.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchMode {
    /// A match.
    Match,
    /// Included because a match refers to it.
    Include,
}

impl BundleWriter {
    /// Starts a Bundle of a type (`searchset`, `history`, `batch-response`, ...), with its links and exact total.
    pub fn new(id: &str, kind: &str, updated: &str, total: Option<u64>, links: &[(&str, String)]) -> Self {
        let mut out = String::with_capacity(16 * 1024);
        out.push_str("{\"resourceType\":\"Bundle\",\"id\":");
        write_string(id, &mut out);
        out.push_str(",\"meta\":{\"lastUpdated\":");
        write_string(updated, &mut out);
        out.push_str("},\"type\":");
        write_string(kind, &mut out);
        if let Some(total) = total {
            out.push_str(",\"total\":");
            out.push_str(&total.to_string());
        }
        if !links.is_empty() {
            out.push_str(",\"link\":[");
            for (at, (relation, url)) in links.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str("{\"relation\":");
                write_string(relation, &mut out);
                out.push_str(",\"url\":");
                write_string(url, &mut out);
                out.push('}');
            }
            out.push(']');
        }
        BundleWriter { out, entries: 0 }
    }

    fn open_entry(&mut self) {
        self.out.push_str(if self.entries == 0 { ",\"entry\":[{" } else { ",{" });
        self.entries += 1;
    }

    fn member(&mut self, first: &mut bool, name: &str) {
        if !std::mem::take(first) {
            self.out.push(',');
        }
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
    }

    /// An entry of a search page.
    pub fn search_entry(&mut self, full_url: &str, resource: &str, mode: SearchMode) {
        self.open_entry();
        self.out.push_str("\"fullUrl\":");
        write_string(full_url, &mut self.out);
        self.out.push_str(",\"resource\":");
        self.out.push_str(resource);
        self.out.push_str(match mode {
            SearchMode::Match => ",\"search\":{\"mode\":\"match\"}}",
            SearchMode::Include => ",\"search\":{\"mode\":\"include\"}}",
        });
    }

    /// The entry of a search page that tells about the search itself. An OperationOutcome made here has no address.
    pub fn outcome_entry(&mut self, outcome: &str) {
        self.open_entry();
        self.out.push_str("\"resource\":");
        self.out.push_str(outcome);
        self.out.push_str(",\"search\":{\"mode\":\"outcome\"}}");
    }

    /// A Patient found by what tells her apart for certain (FHIR R4 patient-operation-match.html,
    /// extension-match-grade.html).
    pub fn certain_match(&mut self, full_url: &str, resource: &str) {
        self.open_entry();
        self.out.push_str("\"fullUrl\":");
        write_string(full_url, &mut self.out);
        self.out.push_str(",\"resource\":");
        self.out.push_str(resource);
        self.out.push_str(
            ",\"search\":{\"extension\":[{\"url\":\"http://hl7.org/fhir/StructureDefinition/match-grade\",\
             \"valueCode\":\"certain\"}],\"mode\":\"match\",\"score\":1}}",
        );
    }

    /// An entry of a history: `resource` is `None` for a deletion (FHIR R4 http.html#history).
    pub fn history_entry(&mut self, entry: &HistoryEntry<'_>) {
        self.open_entry();
        self.out.push_str("\"fullUrl\":");
        write_string(entry.full_url, &mut self.out);
        if let Some(resource) = entry.resource {
            self.out.push_str(",\"resource\":");
            self.out.push_str(resource);
        }
        self.out.push_str(",\"request\":{\"method\":");
        write_string(entry.method, &mut self.out);
        self.out.push_str(",\"url\":");
        write_string(entry.url, &mut self.out);
        self.out.push_str("},\"response\":{\"status\":");
        write_string(entry.status, &mut self.out);
        self.out.push_str(",\"etag\":");
        write_string(&format!("W/\"{}\"", entry.version), &mut self.out);
        self.out.push_str(",\"lastModified\":");
        write_string(entry.updated, &mut self.out);
        self.out.push_str("}}");
    }

    /// An entry of a batch or transaction response.
    pub fn response_entry(&mut self, entry: &ResponseEntry<'_>) {
        self.open_entry();
        let mut first = true;
        if let Some(resource) = entry.resource {
            self.member(&mut first, "resource");
            self.out.push_str(resource);
        }
        self.member(&mut first, "response");
        self.out.push_str("{\"status\":");
        write_string(entry.status, &mut self.out);
        for (name, value) in
            [("location", entry.location), ("etag", entry.etag), ("lastModified", entry.last_modified)]
        {
            if let Some(value) = value {
                self.out.push_str(",\"");
                self.out.push_str(name);
                self.out.push_str("\":");
                write_string(value, &mut self.out);
            }
        }
        if let Some(outcome) = entry.outcome {
            self.out.push_str(",\"outcome\":");
            self.out.push_str(outcome);
        }
        self.out.push_str("}}");
    }

    /// An entry written before, its braces included.
    pub fn whole_entry(&mut self, entry: &str) {
        self.open_entry();
        // Without the brace that has just been opened.
        self.out.pop();
        self.out.push_str(entry);
    }

    /// The finished Bundle. An empty one has no `entry` (FHIR arrays are never empty).
    pub fn finish(mut self) -> String {
        if self.entries > 0 {
            self.out.push(']');
        }
        self.out.push('}');
        self.out
    }
}

/// Facts of one history entry.
#[derive(Debug)]
pub struct HistoryEntry<'e> {
    /// `[base]/Type/id`
    pub full_url: &'e str,
    /// Stored bytes.
    pub resource: Option<&'e str>,
    /// `POST`, `PUT`, `DELETE`
    pub method: &'e str,
    /// `Type` or `Type/id`
    pub url: &'e str,
    /// `201`, `200`, `204`
    pub status: &'e str,
    /// Version number.
    pub version: u32,
    /// instant
    pub updated: &'e str,
}

/// Facts of one response entry.
#[derive(Debug, Default)]
pub struct ResponseEntry<'e> {
    /// Resource in the answer.
    pub resource: Option<&'e str>,
    /// `201 Created`
    pub status: &'e str,
    /// `Type/id/_history/1`
    pub location: Option<&'e str>,
    /// `W/"1"`
    pub etag: Option<&'e str>,
    /// instant
    pub last_modified: Option<&'e str>,
    /// OperationOutcome, JSON text.
    pub outcome: Option<&'e str>,
}
