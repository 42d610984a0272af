//! A stored ValueSet steers `:in` of those who may see it, and of nobody else.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sluis::demo::{Context, people};
use sluis::ids::SYSTEM_BSN;
use sluis_tests::world::{Caller, World};

const SYSTEM: &str = "urn:test:codes";

fn address(name: &str) -> String {
    format!("https://example.org/ValueSet/{name}")
}

/// Codes of the test's system, or another value set's; `sealed` with a label that no role here opens.
fn value_set(name: &str, version: &str, include: &Value, sealed: bool) -> Value {
    let mut set = json!({
        "resourceType": "ValueSet", "url": address(name), "version": version, "status": "active",
        "compose": { "include": [include] },
    });
    if sealed {
        set["meta"] = json!({ "security": [{
            "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PSY",
        }] });
    }
    set
}

fn codes(code: &str) -> Value {
    json!({ "system": SYSTEM, "concept": [{ "code": code }] })
}

/// Its status, and its body.
async fn ask(caller: &Caller, modifier: &str, set: &str) -> Result<(u16, String)> {
    let answer = caller.get(&format!("Observation?code:{modifier}={}&_summary=count", address(set))).await?;
    Ok((answer.status.as_u16(), answer.text()))
}

fn total((status, text): &(u16, String)) -> Result<Option<i64>> {
    ensure!(*status == 200, "{status} {text}");
    Ok(serde_json::from_str::<Value>(text)?["total"].as_i64())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hidden_value_set_steers_no_search() -> Result<()> {
    let world = World::start().await?;
    let umc = world.caller("umc-epd", Context::system()).await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    for code in ["red", "blue"] {
        let observation = json!({
            "resourceType": "Observation", "status": "final", "code": { "coding": [{ "system": SYSTEM, "code": code }] },
            "subject": { "identifier": { "system": SYSTEM_BSN, "value": people::BSNS[0] } },
        });
        let made = gesp.post("Observation", &observation).await?;
        ensure!(made.status == 201, "{}", made.text());
    }
    let store = async |set: Value| -> Result<()> {
        let made = umc.post("ValueSet", &set).await?;
        ensure!(made.status == 201, "{}", made.text());
        Ok(())
    };
    store(value_set("open", "1", &codes("red"), false)).await?;
    store(value_set("shut", "1", &codes("red"), true)).await?;
    store(value_set("over", "1", &json!({ "valueSet": [address("shut")] }), false)).await?;

    // What anybody may see serves anybody; what is sealed serves its author, and to others was never there.
    let open = ask(&gesp, "in", "open").await?;
    ensure!(total(&open)? == Some(1), "{open:?}");
    ensure!(ask(&umc, "in", "shut").await?.0 == 200, "its author");
    for modifier in ["in", "not-in"] {
        let (hidden, none) = (ask(&gesp, modifier, "shut").await?, ask(&gesp, modifier, "none").await?);
        ensure!(hidden.0 == 400, "{hidden:?}");
        ensure!(hidden.1 == none.1.replace("/none", "/shut"), "{hidden:?} {none:?}");
    }
    // Nor from within one that may be seen.
    let over = ask(&gesp, "in", "over").await?;
    ensure!(over.0 == 400 && over.1.contains("/shut"), "{over:?}");

    // A later version that is hidden leaves the one that may be seen in force.
    store(value_set("open", "2", &codes("blue"), true)).await?;
    for (modifier, outside) in [("in", "blue"), ("not-in", "red")] {
        let path =
            format!("Observation?code:{modifier}={}&code={SYSTEM}|{outside}&_summary=count", address("open"));
        let found = gesp.ok(&path).await?;
        ensure!(found["total"] == 0, "{modifier}: {found}");
    }
    let again = ask(&gesp, "in", "open").await?;
    ensure!(total(&again)? == Some(1), "{again:?}");
    Ok(())
}
