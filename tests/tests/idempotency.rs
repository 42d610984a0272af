//! A write with a key is done once, whoever sends it how often, and its answer is given again only as far as it may be seen.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use sluis::clock::{Clock as _, Fixed, System};
use sluis::connection::request::{Credentials, Format, Preconditions, ReturnPreference, Shape};
use sluis::connection::route;
use sluis::demo::{Context, people};
use sluis::ids::SYSTEM_BSN;
use sluis::interaction::idempotency::Key;
use sluis::interaction::perform::Aside;
use sluis_tests::client::Answer;
use sluis_tests::database::Database;
use sluis_tests::world::{Caller, World, due};

const FHIR: &str = "application/fhir+json";

fn observation(number: &str) -> Value {
    json!({
        "resourceType": "Observation", "status": "final",
        "identifier": [{ "system": "urn:test:once", "value": number }],
        "subject": { "identifier": { "system": SYSTEM_BSN, "value": people::BSNS[0] } },
        "code": { "coding": [{ "system": "http://loinc.org", "code": "19868-9" }] },
    })
}

async fn send(caller: &Caller, method: Method, path: &str, key: &str, body: &Value) -> Result<Answer> {
    let headers = [("content-type", FHIR), ("idempotency-key", key)];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    caller.send(method, path, if body.is_empty() { &headers[1..] } else { &headers }, body).await
}

async fn count(caller: &Caller, number: &str) -> Result<Value> {
    let asked = format!("Observation?identifier=urn:test:once%7C{number}&_summary=count");
    Ok(caller.ok(&asked).await?["total"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_with_a_key_is_done_once_and_its_answer_given_again() -> Result<()> {
    let world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let other = world.caller("gesp-noord-epd", Context::role("01.042")).await?;

    // Eight at once make one; the others are told to wait, or get its answer.
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let gesp = gesp.clone();
        asked.spawn(
            async move { send(&gesp, Method::POST, "Observation", "\"once\"", &observation("a")).await },
        );
    }
    let mut ids = Vec::new();
    while let Some(answer) = asked.join_next().await {
        let answer = answer??;
        ensure!(matches!(answer.status.as_u16(), 201 | 409), "{}", answer.text());
        if answer.status == 201 {
            ids.push(answer.json()["id"].clone());
        }
    }
    ids.dedup();
    ensure!(ids.len() == 1 && count(&gesp, "a").await? == 1, "{ids:?}");

    // The same again; another request; another client with the same key.
    let first = send(&gesp, Method::POST, "Observation", "\"once\"", &observation("a")).await?;
    due("again", &first, 201)?;
    ensure!(first.json()["id"] == ids[0] && first.header("etag") == "W/\"1\"");
    due(
        "another body",
        &send(&gesp, Method::POST, "Observation", "\"once\"", &observation("b")).await?,
        422,
    )?;
    let path = format!("Observation/{}", ids[0].as_str().unwrap_or_default());
    due("another method", &send(&gesp, Method::PUT, &path, "\"once\"", &first.json()).await?, 422)?;
    due(
        "another client",
        &send(&other, Method::POST, "Observation", "\"once\"", &observation("c")).await?,
        201,
    )?;

    // A refused write keeps no key.
    let mut wrong = observation("d");
    wrong["shoe"] = 42.into();
    due("invalid", &send(&gesp, Method::POST, "Observation", "d", &wrong).await?, 422)?;
    due("mended", &send(&gesp, Method::POST, "Observation", "d", &observation("d")).await?, 201)?;

    // An update by key is not repeated over what came after it.
    let mut changed = first.json();
    changed["status"] = "amended".into();
    due("update", &send(&gesp, Method::PUT, &path, "u", &changed).await?, 200)?;
    changed["status"] = "corrected".into();
    due("another update", &gesp.put(&path, &changed).await?, 200)?;
    changed["status"] = "amended".into();
    let again = send(&gesp, Method::PUT, &path, "u", &changed).await?;
    due("the first update again", &again, 200)?;
    ensure!(again.header("etag") == "W/\"2\"" && gesp.ok(&path).await?["status"] == "corrected");

    // A transaction as a whole; a batch has no key.
    let entry =
        json!([{ "request": { "method": "POST", "url": "Observation" }, "resource": observation("t") }]);
    let bundle = |kind: &str| json!({ "resourceType": "Bundle", "type": kind, "entry": entry });
    let one = send(&gesp, Method::POST, "", "t", &bundle("transaction")).await?;
    let two = send(&gesp, Method::POST, "", "t", &bundle("transaction")).await?;
    due("transaction", &two, 200)?;
    ensure!(one.body == two.body && count(&gesp, "t").await? == 1, "{}", two.text());
    due("batch", &send(&gesp, Method::POST, "", "b", &bundle("batch")).await?, 400)?;

    // What became of it.
    let outcome = gesp.ok("$outcome?key=u").await?;
    ensure!(outcome["parameter"][0]["valueString"] == "200", "{outcome}");
    let none = gesp.get("$outcome?key=never").await?;
    let others = other.get("$outcome?key=u").await?;
    due("never", &none, 404)?;
    ensure!(none.body == others.body && others.status == 404, "{}", others.text());
    due("no key", &gesp.get("$outcome").await?, 400)?;
    Ok(())
}

/// Claims the key of a create as a gateway does before its work, and goes no further: as one that dies in the midst of it.
async fn begin(world: &World, caller: &Caller, key: &str, body: &Value) -> Result<()> {
    let gateway = world.running()?.gateway();
    let parts = gateway.parts();
    let now = parts.clock.now();
    let credentials = Credentials { bearer: Some(caller.token().into()), ..Credentials::default() };
    let actor = parts.identity.actor(&credentials, now).map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    let doc = sluis_conformance::json::Doc::parse(body.to_string().into_bytes(), Default::default())?;
    let refused = |refusal| anyhow::anyhow!("{refusal:?}");
    let interaction = route::entry("POST", "Observation", Some(doc)).map_err(refused)?;
    let aside = Aside {
        id: "begun".into(),
        address: [127, 0, 0, 1].into(),
        now,
        preconditions: Preconditions::default(),
        format: Format::default(),
        shape: Shape::Whole,
        prefer: ReturnPreference::default(),
        respond_async: false,
        idempotency_key: Some(key.into()),
        lenient: false,
        in_job: false,
    };
    let caller = gateway.caller_of(actor).map_err(refused)?;
    let permit = gateway.permit(&caller, &interaction, now).map_err(refused)?;
    let key = Key::of(&permit, &interaction, &aside, &parts.limits).map_err(refused)?.context("a key")?;
    key.claim(&*parts.store, &permit, &parts.in_work).await.map_err(refused)
}

/// While one gateway is at work on a key, another on the database refuses it and does not say that nothing was done; when the
/// first has gone, its claim ends by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_agree_on_a_key_in_work() -> Result<()> {
    let Some(database) = Database::new()? else { return Ok(()) };
    let store = database.store()?;
    let clock = Arc::new(Fixed::at(System.now()));
    let one = World::start_on(Some((database, store)), clock.clone()).await?;
    let two = one.another().await?;
    let here = one.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let there = here.at(&two);

    begin(&one, &here, "claimed", &observation("claimed")).await?;
    let refused = send(&there, Method::POST, "Observation", "claimed", &observation("claimed")).await?;
    due("in work elsewhere", &refused, 409)?;
    ensure!(!refused.header("retry-after").is_empty());
    due("outcome", &there.get("$outcome?key=claimed").await?, 409)?;
    ensure!(count(&there, "claimed").await? == 0);
    // The first goes on, and the other has its answer.
    let done = send(&here, Method::POST, "Observation", "claimed", &observation("claimed")).await?;
    due("done", &done, 201)?;
    let again = send(&there, Method::POST, "Observation", "claimed", &observation("claimed")).await?;
    due("again", &again, 201)?;
    ensure!(again.json()["id"] == done.json()["id"] && count(&there, "claimed").await? == 1);

    // A refused write gives the key up.
    let mut wrong = observation("mended");
    wrong["shoe"] = 42.into();
    due("wrong", &send(&here, Method::POST, "Observation", "mended", &wrong).await?, 422)?;
    due("mended", &send(&there, Method::POST, "Observation", "mended", &observation("mended")).await?, 201)?;

    // So does one whose transaction is undone, once it has its key.
    let whole = |url: &str| {
        json!({ "resourceType": "Bundle", "type": "transaction", "entry": [
        { "request": { "method": "POST", "url": "Observation" }, "resource": observation("whole") },
        { "request": { "method": "GET", "url": url } },
    ] })
    };
    due("undone", &send(&here, Method::POST, "", "whole", &whole("Patient/nobody")).await?, 404)?;
    due("whole", &send(&there, Method::POST, "", "whole", &whole("Patient?_count=1")).await?, 200)?;
    ensure!(count(&here, "whole").await? == 1);

    // A gateway that is gone holds a key for a minute.
    begin(&one, &here, "left", &observation("left")).await?;
    due("held", &send(&there, Method::POST, "Observation", "left", &observation("left")).await?, 409)?;
    clock.advance_seconds(61);
    due("free", &send(&there, Method::POST, "Observation", "left", &observation("left")).await?, 201)?;
    ensure!(count(&there, "left").await? == 1);

    // Eight at once at both make one.
    let body = observation("both");
    let all = (0..8).map(|n| {
        let (caller, body) = (if n % 2 == 0 { here.clone() } else { there.clone() }, body.clone());
        async move { send(&caller, Method::POST, "Observation", "both", &body).await }
    });
    let answers = futures_util::future::try_join_all(all).await?;
    ensure!(answers.iter().all(|answer| matches!(answer.status.as_u16(), 201 | 409)));
    let made: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 201)
        .map(|answer| answer.json()["id"].clone())
        .collect();
    ensure!(!made.is_empty() && made.iter().all(|id| *id == made[0]) && count(&here, "both").await? == 1);
    Ok(())
}
