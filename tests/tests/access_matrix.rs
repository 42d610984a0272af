//! Every row of the route table, asked by everybody in the demo region, as a printed matrix: `docs/route-matrix.txt` is
//! read in review like code. A route that is not in it, or one that answers somebody otherwise, fails.
//!
//! To print it anew: `SLUIS_PRINT=1 cargo test -p sluis-tests --test access_matrix`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use sluis::connection::route::{Kind, Offer, Route, Segment, TABLE};
use sluis::demo::{Context, people};
use sluis::ids::SYSTEM_BSN;
use sluis_tests::client::Answer;
use sluis_tests::world::{Caller, World, entries};

/// Who asks: the column's name, the client, in what capacity.
fn columns(patient: &str) -> Vec<(&'static str, Option<(&'static str, Context)>)> {
    vec![
        ("nobody", None),
        ("hospital", Some(("umc-epd", Context::system()))),
        ("gesp", Some(("gesp-midden-epd", Context::role("01.042")))),
        ("gesp-team", Some(("gesp-midden-epd", Context::role("91.000")))),
        ("gesp-other", Some(("gesp-noord-epd", Context::role("01.042")))),
        ("gp", Some(("gp-brug-his", Context::role("01.015")))),
        ("gp-other", Some(("gp-elders-his", Context::role("01.015")))),
        ("ctb", Some(("ctb-epd", Context::role("01.023")))),
        ("acn-res", Some(("acn-data", Context::purpose("HRESCH")))),
        ("acn-qual", Some(("acn-data", Context::purpose("HQUALIMP")))),
        ("patient", Some(("portaal", Context::patient(patient)))),
    ]
}

/// Types asked in rows that take any: one of each way to be judged.
const KINDS: &[&str] = &["Patient", "Observation", "Consent", "Organization", "Group", "AuditEvent"];

/// Ids of one resource of each type, all of one patient.
struct Known {
    patient: String,
    observation: String,
    consent: String,
    group: String,
}

impl Known {
    async fn of(world: &World) -> Result<Known> {
        let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
        let acn = world.caller("acn-data", Context::purpose("HRESCH")).await?;
        let first = |bundle: &Value| -> Result<String> {
            Ok(entries(bundle).first().context("nothing")?["resource"]["id"]
                .as_str()
                .context("id")?
                .to_owned())
        };
        let bsn = format!("{SYSTEM_BSN}|{}", people::BSNS[0]);
        let patient = first(&gesp.search("Patient", &[("identifier", &bsn)]).await?)?;
        let herself = world.caller("portaal", Context::patient(&patient)).await?;
        Ok(Known {
            observation: first(&gesp.ok(&format!("Observation?patient={patient}&code=19868-9")).await?)?,
            consent: first(&herself.ok(&format!("Consent?patient={patient}")).await?)?,
            group: first(&acn.ok("Group").await?)?,
            patient,
        })
    }

    fn id(&self, kind: &str) -> &str {
        match kind {
            "Patient" => &self.patient,
            "Observation" => &self.observation,
            "Consent" => &self.consent,
            "Group" => &self.group,
            _ => "none-of-these",
        }
    }

    fn body(&self, kind: &str, id: Option<&str>) -> Value {
        let subject = json!({ "reference": format!("Patient/{}", self.patient) });
        let mut body = match kind {
            "Patient" => json!({ "name": [{ "family": "Proefpersoon" }] }),
            "Observation" => json!({
                "status": "final", "subject": subject, "effectiveDateTime": "2026-10-01",
                "code": { "coding": [{ "system": "http://loinc.org", "code": "19868-9" }] },
            }),
            // A draft makes no rule, so that asking changes nobody's rights.
            "Consent" => json!({
                "status": "draft", "patient": subject, "performer": [subject],
                "scope": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy" }] },
                "category": [{ "coding": [{ "system": "http://loinc.org", "code": "59284-0" }] }],
                "policy": [{ "uri": "https://sluis.care/policy/consent/1" }],
            }),
            "Group" => json!({ "type": "person", "actual": true }),
            "Organization" => json!({ "name": "Organisatie Test" }),
            _ => json!({}),
        };
        body["resourceType"] = kind.into();
        if let Some(id) = id {
            body["id"] = id.into();
        }
        body
    }
}

fn path(route: &Route, known: &Known, kind: &str) -> String {
    let mut kind_seen = kind;
    route.shape.iter().fold(String::new(), |mut path, segment| {
        path.push('/');
        path.push_str(match segment {
            Segment::Text(text) => {
                if KINDS.contains(text) {
                    kind_seen = text;
                }
                text
            }
            Segment::Type => kind,
            Segment::Id => known.id(kind_seen),
            Segment::Version => "1",
            Segment::File => "Patient.ndjson",
        });
        path
    })
}

fn body(route: &Route, known: &Known, kind: &str) -> (&'static str, String) {
    const FHIR: &str = "application/fhir+json";
    const FORM: &str = "application/x-www-form-urlencoded";
    match route.kind {
        Kind::Create => (FHIR, known.body(kind, None).to_string()),
        Kind::UpdateWhere => (FHIR, known.body(kind, None).to_string()),
        Kind::Patch | Kind::PatchWhere => ("application/json-patch+json", "[]".to_owned()),
        Kind::Update => (FHIR, known.body(kind, Some(known.id(kind))).to_string()),
        Kind::Bundle => (FHIR, json!({ "resourceType": "Bundle", "type": "batch" }).to_string()),
        Kind::Token => (FORM, "grant_type=client_credentials".to_owned()),
        Kind::Match => (FHIR, {
            let sent = json!({ "resourceType": "Patient", "identifier": [{ "system": SYSTEM_BSN, "value": people::BSNS[0] }] });
            json!({ "resourceType": "Parameters", "parameter": [{ "name": "resource", "resource": sent }] })
                .to_string()
        }),
        Kind::Transform => (FHIR, {
            let source =
                json!({ "name": "source", "valueUri": "https://sluis.care/fhir/StructureMap/gp-stu3" });
            let content = json!({ "resourceType": "Flag", "id": "matrix" });
            let content = json!({ "name": "content", "resource": content });
            json!({ "resourceType": "Parameters", "parameter": [source, content] }).to_string()
        }),
        Kind::Validate => (FHIR, known.body(kind, Some(known.id(kind))).to_string()),
        Kind::MetaAdd | Kind::MetaDelete => (FHIR, {
            let tag =
                json!({ "name": "meta", "valueMeta": { "tag": [{ "system": "urn:matrix", "code": "x" }] } });
            json!({ "resourceType": "Parameters", "parameter": [tag] }).to_string()
        }),
        Kind::LastNByBody => (FORM, format!("patient={}&code=19868-9", known.patient)),
        Kind::SearchByForm => (FORM, format!("_count=1&_id={}", known.id(kind))),
        Kind::Ingest => ("x-application/hl7-v2+er7", "no message".to_owned()),
        _ => ("", String::new()),
    }
}

async fn ask(
    world: &World,
    caller: Option<&Caller>,
    route: &Route,
    known: &Known,
    kind: &str,
) -> Result<Answer> {
    let mut path = path(route, known, kind);
    // Criteria that nothing meets: what is asked changes nothing for the rows after it.
    if matches!(route.kind, Kind::UpdateWhere | Kind::PatchWhere | Kind::DeleteWhere) {
        write!(path, "?_id=none-of-these")?;
    }
    if route.kind == Kind::Outcome {
        write!(path, "?key=never")?;
    }
    if route.kind == Kind::LastN {
        write!(path, "?patient={}&code=19868-9", known.patient)?;
    }
    if route.kind == Kind::Search && kind == "AuditEvent" {
        write!(path, "?patient={}", known.patient)?;
    }
    let (media, body) = body(route, known, kind);
    let mut headers = Vec::new();
    if route.kind == Kind::ExportStart {
        headers.push(("prefer", "respond-async"));
    }
    if !media.is_empty() {
        headers.push(("content-type", media));
    }
    match caller {
        None => world.client().send(route.method.clone(), &path, &headers, body).await,
        // An address in full is taken as it is.
        Some(caller) => {
            caller.send(route.method.clone(), &format!("https://gateway{path}"), &headers, body).await
        }
    }
}

fn title(route: &Route) -> String {
    let shape: Vec<String> = route
        .shape
        .iter()
        .map(|segment| match segment {
            Segment::Text(text) => (*text).to_owned(),
            other => format!("[{other:?}]").to_lowercase(),
        })
        .collect();
    format!("{} /{}", route.method, shape.join("/"))
}

/// What changes the region for the rows after it is asked of something that is not there.
fn changes(route: &Route) -> bool {
    route.method == Method::DELETE && route.kind == Kind::Delete
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_answers_everybody_as_the_printed_matrix_says() -> Result<()> {
    let world = World::start().await?;
    let mut known = Known::of(&world).await?;
    let mut callers = Vec::new();
    for (name, who) in columns(&known.patient) {
        let caller = match who {
            None => None,
            Some((client, context)) => Some(world.caller(client, context).await?),
        };
        callers.push((name, caller));
    }
    let mut text = String::from(
        "Every row of the route table, asked by everybody in the demo region about one patient's records.\n\
         A number is the HTTP status. A search or history answers 200 with what the caller may see, perhaps nothing;\n\
         an empty 200 and a full one are told apart: 200- is empty.\n\n",
    );
    write!(text, "{:<62}", "")?;
    for (name, _) in &callers {
        write!(text, "{name:>11}")?;
    }
    text.push('\n');
    let mut opened = 0;
    for route in TABLE {
        let kinds: &[&str] = if route.shape.contains(&Segment::Type) && route.offer == Offer::Yes {
            KINDS
        } else {
            &KINDS[..1]
        };
        for kind in kinds {
            let label = if kinds.len() > 1 { format!("{} {kind}", title(route)) } else { title(route) };
            write!(text, "{label:<62}")?;
            let real = (
                known.patient.clone(),
                known.observation.clone(),
                known.consent.clone(),
                known.group.clone(),
            );
            if changes(route) {
                let none = || "none-of-these".to_owned();
                known = Known { patient: none(), observation: none(), consent: none(), group: none() };
            }
            for (name, caller) in &callers {
                let answer = ask(&world, caller.as_ref(), route, &known, kind).await?;
                ensure!(
                    answer.status.as_u16() < 500 || answer.status == 501,
                    "{label} {name}: {} {}",
                    answer.status,
                    answer.text()
                );
                let listed = matches!(answer.json()["type"].as_str(), Some("searchset" | "history"));
                let empty = listed && entries(&answer.json()).is_empty();
                let cell = format!("{}{}", answer.status.as_u16(), if empty { "-" } else { "" });
                // Without a token nothing but the open doors.
                if caller.is_none() && answer.status.is_success() {
                    opened += 1;
                    ensure!(
                        route.shape.len() <= 3 && !route.shape.contains(&Segment::Type),
                        "{label} is open"
                    );
                }
                write!(text, "{cell:>11}")?;
            }
            (known.patient, known.observation, known.consent, known.group) = real;
            text.push('\n');
        }
    }
    ensure!(opened == 7, "{opened} open doors:\n{text}");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/route-matrix.txt");
    if std::env::var_os("SLUIS_PRINT").is_some() {
        std::fs::write(&file, &text)?;
    }
    let printed = std::fs::read_to_string(&file).context("docs/route-matrix.txt")?;
    for (now, said) in text.lines().zip(printed.lines()) {
        ensure!(
            now == said,
            "the matrix says\n{said}\nthe gateway\n{now}\n(SLUIS_PRINT=1 prints it anew; read the change)"
        );
    }
    ensure!(text.lines().count() == printed.lines().count(), "routes were added or taken away");
    Ok(())
}
