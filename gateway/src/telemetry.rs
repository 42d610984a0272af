//! Logs and metrics; redaction in one place.
//!
//! A line holds who asked what kind of thing and how it went. It never holds a query, a token, a body or a name; and
//! because a flawed message may quote what it should not, every line passes [`redact`] on its way out.

mod metrics;
mod redact;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

pub use metrics::{Counter, Histogram, Metrics};
pub use redact::redact;

/// Logs and counters of one gateway. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Telemetry {
    metrics: Arc<Metrics>,
}

/// The facts of one answered request: what its log line says and its counters count.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'r> {
    /// `X-Request-Id`.
    pub request_id: &'r str,
    /// `Interaction::name`, or `none` when the request was refused before it was one.
    pub interaction: &'static str,
    /// Status of the answer.
    pub status: StatusCode,
    /// From the first byte of the request to the answer.
    pub duration: Duration,
    /// `client_id`, when known.
    pub client: Option<&'r str>,
    /// URA, when known.
    pub organisation: Option<&'r str>,
    /// Why it was refused: the row of the table of refusals and the cause, neither of which is sent.
    pub cause: Option<&'r str>,
}

impl Telemetry {
    /// Counters and histograms.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Counts an answered request and writes its line: `error` for 5xx, else `info`.
    pub fn request(&self, facts: &RequestFacts<'_>) {
        let class = match facts.status.as_u16() / 100 {
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => "other",
        };
        self.metrics
            .counter(
                "sluis_requests_total",
                "Answered requests.",
                &[("interaction", facts.interaction), ("status", class)],
            )
            .add(1);
        self.metrics
            .histogram("sluis_request_seconds", "Time to the answer.", &[("interaction", facts.interaction)])
            .observe(facts.duration);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request_id = facts.request_id,
                    interaction = facts.interaction,
                    status = facts.status.as_u16(),
                    ms = u64::try_from(facts.duration.as_millis()).unwrap_or(u64::MAX),
                    client = facts.client,
                    organisation = facts.organisation.map(|ura| format!("ura:{ura}")),
                    cause = facts.cause,
                    "{} answered {}",
                    facts.interaction,
                    facts.status.as_u16(),
                )
            };
        }
        if facts.status.is_server_error() { line!(error) } else { line!(info) }
    }
}

/// Writes the log of this process to stderr, one JSON object a line, at the levels of `filter` (such as `info` or
/// `sluis=debug`; an empty one is `info`).
///
/// Errors: a filter that cannot be read, or a process that logs already.
pub fn start_log(filter: &str) -> Result<(), LogError> {
    let filter = if filter.is_empty() { "info" } else { filter };
    let filter = EnvFilter::try_new(filter).map_err(|cause| LogError::Filter(cause.to_string()))?;
    let lines =
        tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(Redacting(io::stderr));
    tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(LogError::Taken)
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error("the log filter cannot be read: {0}")]
    Filter(String),
    /// Something else logs in this process.
    #[error("the process has a log already: {0}")]
    Taken(TryInitError),
}

/// A writer of whole lines that redacts each.
struct Redacting<M>(M);

impl<'w, M: MakeWriter<'w>> MakeWriter<'w> for Redacting<M> {
    type Writer = RedactingLine<M::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        RedactingLine(self.0.make_writer())
    }
}

struct RedactingLine<W>(W);

impl<W: Write> Write for RedactingLine<W> {
    /// The formatter writes a line in one call, so no number is cut in two.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(redact(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(work: impl FnOnce()) -> String {
        let page = Page::default();
        let made = page.clone();
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(Redacting(move || made.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn line_of_a_request_holds_the_facts_and_no_bsn() {
        let telemetry = Telemetry::default();
        let line = lines(|| {
            telemetry.request(&RequestFacts {
                request_id: "r-1",
                interaction: "read",
                status: StatusCode::NOT_FOUND,
                duration: Duration::from_millis(7),
                client: Some("epd1"),
                organisation: Some("90000382"),
                cause: Some("identifier 999911120 is not known"),
            });
        });
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["request_id"], "r-1");
        assert_eq!(line["interaction"], "read");
        assert_eq!(line["status"], 404);
        assert_eq!(line["ms"], 7);
        assert_eq!(line["organisation"], "ura:90000382");
        assert_eq!(line["cause"], "identifier [number removed] is not known");
        assert_eq!(line["message"], "read answered 404");
    }

    #[test]
    fn requests_are_counted_by_interaction_and_class() {
        let telemetry = Telemetry::default();
        for status in [StatusCode::OK, StatusCode::CREATED, StatusCode::NOT_FOUND] {
            telemetry.request(&RequestFacts {
                request_id: "r",
                interaction: "read",
                status,
                duration: Duration::from_millis(3),
                client: None,
                organisation: None,
                cause: None,
            });
        }
        let text = telemetry.metrics().exposition();
        assert!(text.contains("sluis_requests_total{interaction=\"read\",status=\"2xx\"} 2\n"), "{text}");
        assert!(text.contains("sluis_requests_total{interaction=\"read\",status=\"4xx\"} 1\n"), "{text}");
        assert!(text.contains("sluis_request_seconds_count{interaction=\"read\"} 3\n"), "{text}");
    }
}
