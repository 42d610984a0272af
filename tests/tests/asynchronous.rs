//! Requests answered later: the answer is that of the same request at once, it is its asker's alone, and a withdrawal holds
//! for it too.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use serde_json::{Value, json};
use sluis::clock::{Clock as _, Fixed, System};
use sluis::demo::Context;
use sluis::ids::SYSTEM_URA;
use sluis::interaction::asynchronous::Runner;
use sluis::jobs::{Jobs as _, Step};
use sluis_tests::client::Answer;
use sluis_tests::database::Database;
use sluis_tests::world::{Caller, World, due, entries, link, matches, observation};

const FHIR: &str = "application/fhir+json";

/// Asks for an answer later; the address of its status.
async fn ask(caller: &Caller, method: Method, path: &str, body: String) -> Result<String> {
    let headers = [("prefer", "respond-async"), ("content-type", FHIR)];
    let headers = if body.is_empty() { &headers[..1] } else { &headers };
    let answer = caller.send(method, path, headers, body).await?;
    due(path, &answer, 202)?;
    ensure!(answer.header("preference-applied") == "respond-async" && answer.body.is_empty());
    Ok(answer.header("content-location").to_owned())
}

async fn ask_to_get(caller: &Caller, path: &str) -> Result<String> {
    ask(caller, Method::GET, path, String::new()).await
}

/// The status once it is no longer 202.
async fn finished(caller: &Caller, job: &str) -> Result<Answer> {
    for _ in 0..600 {
        let answer = caller.get(job).await?;
        match answer.status.as_u16() {
            202 => {
                ensure!(!answer.header("x-progress").is_empty() && !answer.header("retry-after").is_empty())
            }
            429 => {}
            _ => return Ok(answer),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    bail!("{job} did not end")
}

/// The Bundles of a finished job.
async fn bundles(caller: &Caller, job: &str) -> Result<Vec<Value>> {
    let answer = finished(caller, job).await?;
    due(job, &answer, 200)?;
    ensure!(answer.header("content-type") == "application/json" && !answer.header("expires").is_empty());
    let manifest = answer.json();
    ensure!(manifest["requiresAccessToken"] == true && manifest["error"] == json!([]), "{manifest}");
    let mut all = Vec::new();
    for file in manifest["output"].as_array().context("output")? {
        ensure!(file["type"] == "Bundle", "{manifest}");
        all.push(caller.ok(file["url"].as_str().context("url")?).await?);
    }
    Ok(all)
}

/// `Type/id` of every entry.
fn names(bundle: &Value) -> Vec<String> {
    let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |entry: &Value| {
        let resource = &entry["resource"];
        format!("{}/{}", name(&resource["resourceType"]), name(&resource["id"]))
    };
    entries(bundle).iter().map(of).collect()
}

/// Every page of a request answered at once.
async fn at_once(caller: &Caller, path: &str) -> Result<Vec<String>> {
    let (mut all, mut next) = (Vec::new(), path.to_owned());
    loop {
        let bundle = caller.ok(&next).await?;
        all.extend(names(&bundle));
        match link(&bundle, "next") {
            Some(url) => next = url.to_owned(),
            None => return Ok(all),
        }
    }
}

/// The Consent by which the ventilation centre sees a patient, and where to change it.
async fn consent(herself: &Caller, patient: &str) -> Result<(String, Value)> {
    let query = format!(
        "Consent?patient={patient}&status=active&purpose=TREAT&actor:identifier={SYSTEM_URA}|90000401"
    );
    let found = herself.ok(&query).await?;
    let consent = (*matches(&found).first().context("no consent")?).clone();
    Ok((format!("Consent/{}", consent["id"].as_str().context("id")?), consent))
}

async fn set(herself: &Caller, (path, consent): &(String, Value), status: &str) -> Result<()> {
    let mut consent = consent.clone();
    consent["status"] = status.into();
    due(status, &herself.put(path, &consent).await?, 200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_given_later_is_that_of_the_same_request_at_once() -> Result<()> {
    let mut world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let patient = gesp.first_patient().await?;
    for path in [
        format!("Observation?patient={patient}&_count=2&_sort=-date&_include=Observation:subject"),
        format!("Observation?patient={patient}&_count=2&_total=accurate"),
        format!("Patient/{patient}/*?_count=3&_sort=_lastUpdated"),
        format!("Patient/{patient}/$everything?_count=5"),
        "Observation/_history?_count=4".to_owned(),
        "_history?_count=7".to_owned(),
        "?_type=Condition,CarePlan&_count=1".to_owned(),
    ] {
        let due = at_once(&gesp, &path).await?;
        let job = ask_to_get(&gesp, &path).await?;
        let bundles = bundles(&gesp, &job).await?;
        ensure!(bundles.len() > 1, "{path}: {} pages", bundles.len());
        let all: Vec<String> = bundles.iter().flat_map(names).collect();
        ensure!(all == due, "{path}\n{all:?}\n{due:?}");
    }
    // By form, and as XML; of one page, with its number.
    let form = [("prefer", "respond-async"), ("content-type", "application/x-www-form-urlencoded")];
    let asked = format!("patient={patient}&_count=1000");
    let answer = gesp.send(Method::POST, "Observation/_search", &form, asked).await?;
    due("form", &answer, 202)?;
    let job = answer.header("content-location").to_owned();
    let page = bundles(&gesp, &job).await?;
    ensure!(page.len() == 1 && page[0]["total"] == entries(&page[0]).len());
    let xml =
        gesp.send(Method::GET, &format!("{job}/page-1"), &[("accept", "application/fhir+xml")], "").await?;
    ensure!(xml.text().starts_with("<?xml") || xml.text().starts_with("<Bundle"), "{}", xml.text());
    // What is laid down before a stop is done after it.
    let job = ask_to_get(&gesp, &format!("Patient/{patient}/$everything?_count=1")).await?;
    world.restart().await?;
    let gesp = gesp.at(&world);
    let all: BTreeSet<String> = bundles(&gesp, &job).await?.iter().flat_map(names).collect();
    let whole = at_once(&gesp, &format!("Patient/{patient}/$everything?_count=1000")).await?;
    ensure!(whole.iter().all(|name| all.contains(name)), "{all:?}");
    let report = sluis::run::verify_audit(world.settings())?;
    ensure!(report.faults.is_empty(), "{report:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_its_askers_alone_and_a_withdrawal_takes_its_answer_back() -> Result<()> {
    let world = World::start().await?;
    let ctb = world.caller("ctb-epd", Context::role("01.023")).await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let patient = gesp.first_patient().await?;
    let herself = world.caller("portaal", Context::patient(&patient)).await?;
    let path = format!("Observation?patient={patient}&_count=2");
    let job = ask_to_get(&ctb, &path).await?;
    let pages = bundles(&ctb, &job).await?;
    ensure!(pages.len() > 1);

    let nothing = ctb.get("async/none-of-these").await?;
    due("nothing", &nothing, 404)?;
    for other in [&gesp, &herself] {
        for address in [job.clone(), format!("{job}/page-1")] {
            let answer = other.get(&address).await?;
            ensure!(answer.status == 404 && answer.body == nothing.body, "{}", answer.text());
        }
        ensure!(other.delete(&job).await?.status == 404);
    }
    for name in ["page-0", "page-01", "page-99", "error", "response", "..", "page-+1"] {
        let status = ctb.get(&format!("{job}/{name}")).await?.status.as_u16();
        ensure!(status == 404 || name == ".." && status == 400, "{name}: {status}");
    }

    // Withdrawn after it was done: gone, and asked anew there is nothing.
    let given = consent(&herself, &patient).await?;
    set(&herself, &given, "inactive").await?;
    due("page", &ctb.get(&format!("{job}/page-1")).await?, 410)?;
    due("status", &ctb.get(&job).await?, 410)?;
    let anew = bundles(&ctb, &ask_to_get(&ctb, &path).await?).await?;
    ensure!(anew.len() == 1 && entries(&anew[0]).is_empty() && anew[0]["total"] == 0, "{anew:?}");
    set(&herself, &given, "active").await?;
    // What was taken back stays so.
    due("page", &ctb.get(&format!("{job}/page-1")).await?, 410)?;

    // What is not there for the asker is told as such, and not by the status of the job.
    let job = ask_to_get(&ctb, "Patient/nobody/$everything").await?;
    let manifest = finished(&ctb, &job).await?.json();
    ensure!(manifest["output"] == json!([]), "{manifest}");
    let outcome = ctb.ok(manifest["error"][0]["url"].as_str().context("error")?).await?;
    ensure!(outcome["issue"][0]["code"] == "not-found", "{outcome}");

    due("end", &ctb.delete(&job).await?, 202)?;
    due("ended", &ctb.get(&job).await?, 404)?;
    due("ended twice", &ctb.delete(&job).await?, 404)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_answered_later_is_done_once_and_told_as_far_as_it_may_be_seen() -> Result<()> {
    let world = World::start().await?;
    let ctb = world.caller("ctb-epd", Context::role("01.023")).await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let patient = gesp.first_patient().await?;
    let herself = world.caller("portaal", Context::patient(&patient)).await?;
    let get = |url: String| json!({ "request": { "method": "GET", "url": url } });
    let batch = json!({ "resourceType": "Bundle", "type": "batch", "entry": [
        get(format!("Patient/{patient}")),
        get(format!("Observation?patient={patient}&_count=1")),
        get(format!("Observation?patient={patient}&_summary=count")),
        get("Patient/nobody".to_owned()),
        get("Observation?shoe=42".to_owned()),
        { "request": { "method": "POST", "url": "Observation" }, "resource": observation(&patient, "later") },
    ] });
    let job = ask(&ctb, Method::POST, "", batch.to_string()).await?;
    let before = bundles(&ctb, &job).await?.pop().context("no response")?;
    let status = |bundle: &Value| -> Vec<String> {
        let of = |entry: &Value| entry["response"]["status"].as_str().unwrap_or_default()[..3].to_owned();
        entries(bundle).iter().map(of).collect()
    };
    ensure!(before["type"] == "batch-response");
    ensure!(status(&before) == ["200", "200", "200", "404", "400", "201"], "{before}");
    ensure!(before["entry"][2]["resource"]["total"].as_u64() > Some(1), "{before}");
    ensure!(before["entry"][5]["resource"]["resourceType"] == "Observation");
    let made = format!("Observation?patient={patient}&identifier=urn:test:number|later&_summary=count");
    ensure!(gesp.ok(&made).await?["total"] == 1);

    let given = consent(&herself, &patient).await?;
    set(&herself, &given, "inactive").await?;
    let after = ctb.ok(&format!("{job}/response")).await?;
    // As it would be answered now; what was done stays told.
    let now = ctb.post("", &json!({ "resourceType": "Bundle", "type": "batch", "entry": batch["entry"].as_array().context("entry")?[..5] })).await?;
    ensure!(status(&after)[..5] == status(&now.json())[..], "{after}");
    ensure!(status(&after) == ["404", "200", "200", "404", "400", "201"], "{after}");
    for at in [1, 2] {
        let of = |bundle: &Value| {
            (names(&bundle["entry"][at]["resource"]), bundle["entry"][at]["resource"]["total"].clone())
        };
        ensure!(of(&after) == of(&now.json()) && of(&after) != of(&before), "{after}");
    }
    set(&herself, &given, "active").await?;

    // A transaction as a whole, or not at all.
    let both = |second: Value| {
        json!({ "resourceType": "Bundle", "type": "transaction", "entry": [
        { "request": { "method": "POST", "url": "Observation" }, "resource": observation(&patient, "whole") }, second,
    ] })
    };
    let wrong =
        json!({ "request": { "method": "DELETE", "url": "Observation/nobody", "ifMatch": "W/\"7\"" } });
    let job = ask(&gesp, Method::POST, "", both(wrong).to_string()).await?;
    let manifest = finished(&gesp, &job).await?.json();
    ensure!(manifest["error"][0]["type"] == "OperationOutcome", "{manifest}");
    let job = ask(&gesp, Method::POST, "", both(get(format!("Patient/{patient}"))).to_string()).await?;
    let response = bundles(&gesp, &job).await?.pop().context("no response")?;
    ensure!(response["type"] == "transaction-response" && status(&response) == ["201", "200"], "{response}");
    ensure!(gesp.ok("Observation?identifier=urn:test:number|whole&_summary=count").await?["total"] == 1);

    // What is wrong with the Bundle itself is said at once.
    let headers = [("prefer", "respond-async"), ("content-type", FHIR)];
    let none = json!({ "resourceType": "Bundle", "type": "collection" }).to_string();
    due("no batch", &gesp.send(Method::POST, "", &headers, none).await?, 422)?;
    let unknown = gesp.send(Method::GET, "Observation?shoe=42", &headers[..1], "").await?;
    due("unknown", &unknown, 400)?;
    let entry = get("Patient/nobody".to_owned());
    let many = json!({ "resourceType": "Bundle", "type": "batch", "entry": vec![entry; 5_001] });
    due("too many", &gesp.send(Method::POST, "", &headers, many.to_string()).await?, 413)?;
    let keyed = [("prefer", "respond-async"), ("content-type", FHIR), ("idempotency-key", "k")];
    due("a batch with a key", &gesp.send(Method::POST, "", &keyed, batch.to_string()).await?, 400)?;
    // An empty one is done as it is asked.
    let empty = json!({ "resourceType": "Bundle", "type": "batch" }).to_string();
    let response = bundles(&gesp, &ask(&gesp, Method::POST, "", empty).await?).await?;
    ensure!(response.len() == 1 && entries(&response[0]).is_empty(), "{response:?}");
    // What is no answer of pages comes at once, whatever is preferred.
    let first = gesp.ok("Observation?_count=1").await?;
    for path in
        ["Observation?_summary=count", &format!("Patient/{patient}"), link(&first, "next").context("next")?]
    {
        due(path, &gesp.send(Method::GET, path, &headers[..1], "").await?, 200)?;
    }
    let acn = world.caller("acn-data", Context::purpose("HRESCH")).await?;
    due("role", &acn.send(Method::GET, "Observation", &headers[..1], "").await?, 403)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_work_on_a_job_each_entry_is_done_once() -> Result<()> {
    let world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let patient = gesp.first_patient().await?;
    let of = |at: usize| json!({ "request": { "method": "POST", "url": "Observation" }, "resource": observation(&patient, &format!("many-{at}")) });
    let batch =
        json!({ "resourceType": "Bundle", "type": "batch", "entry": (0..120).map(of).collect::<Vec<_>>() });
    let job = ask(&gesp, Method::POST, "", batch.to_string()).await?;
    let id = job.rsplit('/').next().context("id")?.to_owned();
    let runner = Arc::new(Runner(world.running()?.gateway().clone()));
    let owner = runner.store().party("ura:90000201")?;
    let mut others = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (runner, id) = (Arc::clone(&runner), id.clone());
        // One that meets a key in work tries again, as the runner does.
        others.spawn(async move { while !matches!(runner.step(owner, &id).await, Ok(Step::Over)) {} });
    }
    let response = bundles(&gesp, &job).await?.pop().context("no response")?;
    others.join_all().await;
    ensure!(entries(&response).len() == 120);
    ensure!(
        entries(&response).iter().all(|entry| entry["response"]["status"] == "201 Created"),
        "{response}"
    );
    for at in 0..120 {
        let found =
            gesp.ok(&format!("Observation?identifier=urn:test:number|many-{at}&_summary=count")).await?;
        ensure!(found["total"] == 1, "{at}: {found}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_one_client_are_bounded_and_gone_after_their_time() -> Result<()> {
    let clock = Arc::new(Fixed::at(System.now()));
    let world = World::start_with(clock.clone()).await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let mut jobs = Vec::new();
    for _ in 0..20 {
        let job = ask_to_get(&gesp, "Organization?_count=1").await?;
        // The clock stands: one poll is all there is.
        let mut there = false;
        for _ in 0..1_000 {
            there = gesp.get(&format!("{job}/page-1")).await?.status == 200;
            if there {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        ensure!(there, "{job} did not end");
        jobs.push(job);
    }
    let prefer = [("prefer", "respond-async")];
    let more = gesp.send(Method::GET, "Organization", &prefer, "").await?;
    due("one more", &more, 429)?;
    ensure!(!more.header("retry-after").is_empty());
    due("end", &gesp.delete(&jobs[0]).await?, 202)?;
    due("room", &gesp.send(Method::GET, "Organization", &prefer, "").await?, 202)?;
    clock.advance_seconds(3_601);
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    due("over", &gesp.get(&jobs[1]).await?, 404)?;
    due("over", &gesp.get(&format!("{}/page-1", jobs[1])).await?, 404)?;
    Ok(())
}

/// Jobs of a gateway that is gone are carried on by another on the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_a_gateway_that_is_gone_are_carried_on_by_another() -> Result<()> {
    let Some(database) = Database::new()? else { return Ok(()) };
    let store = database.store()?;
    let mut one = World::start_on(Some((database, store)), Arc::new(System)).await?;
    let two = one.another_with(&|settings| settings.limits.takeover_ms = 1_000).await?;
    let gesp = one.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let acn = one.caller("acn-data", Context::purpose("HRESCH")).await?;
    let patient = gesp.first_patient().await?;
    let groups = acn.ok("Group").await?;
    let group = matches(&groups).first().context("no group")?["id"].as_str().context("id")?.to_owned();
    let of = |at: usize| json!({ "request": { "method": "POST", "url": "Observation" }, "resource": observation(&patient, &format!("left-{at}")) });
    let batch =
        json!({ "resourceType": "Bundle", "type": "batch", "entry": (0..400).map(of).collect::<Vec<_>>() });
    let job = ask(&gesp, Method::POST, "", batch.to_string()).await?;
    let prefer = [("prefer", "respond-async")];
    let export = acn.send(Method::GET, &format!("Group/{group}/$export"), &prefer, "").await?;
    due("export", &export, 202)?;
    let export = export.header("content-location").to_owned();
    one.stop().await;
    let (gesp, acn) = (gesp.at(&two), acn.at(&two));
    due("the job is not over", &gesp.get(&job).await?, 202)?;
    let response = bundles(&gesp, &job).await?.pop().context("no response")?;
    ensure!(entries(&response).len() == 400);
    for at in (0..400).step_by(20) {
        let found =
            gesp.ok(&format!("Observation?identifier=urn:test:number|left-{at}&_summary=count")).await?;
        ensure!(found["total"] == 1, "{at}: {found}");
    }
    due("export", &finished(&acn, &export).await?, 200)?;
    Ok(())
}
