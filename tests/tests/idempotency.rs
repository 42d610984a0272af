//! A write with a key is done once, whoever sends it how often, and its answer is given again only as far as it may be seen.

use anyhow::{Result, ensure};
use http::Method;
use serde_json::{Value, json};
use sluis::demo::{Context, people};
use sluis::ids::SYSTEM_BSN;
use sluis_tests::client::Answer;
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
