//! A search parameter of the operator, from a folder of packages: indexed in the background, refused until every row is.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sluis::demo::Context;
use sluis_tests::database::Tables;
use sluis_tests::world::World;

const URL: &str = "https://example.org/SearchParameter/code-text";

fn definition(expression: &str) -> String {
    json!({
        "resourceType": "SearchParameter", "url": URL, "name": "CodeText", "status": "active", "code": "code-text",
        "description": "Observations by the text of their code", "base": ["Observation"], "type": "string",
        "expression": expression,
    })
    .to_string()
}

/// Its status and answer.
async fn ask(world: &World, path: &str) -> Result<(u16, Value)> {
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let answer = gesp.get(path).await?;
    Ok((answer.status.as_u16(), answer.json()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_parameter_is_searched_by_once_every_row_is_indexed() -> Result<()> {
    let text = definition("Observation.code.text");
    let mut world = World::start_with_packages(&[("code-text.json", &text)]).await?;
    let question = "Observation?code-text=fvc&_summary=count";

    // Rows written with the parameter in force are indexed as they are written.
    let (status, found) = ask(&world, question).await?;
    ensure!(status == 200 && found["total"].as_i64() > Some(0), "{status} {found}");
    let (_, statement) = ask(&world, "metadata").await?;
    ensure!(statement.to_string().contains(URL), "the statement names it");

    // Rows written before: their entries are not there, and nothing says that the index is whole.
    let forget = |world: &World| {
        let of = format!("(SELECT key FROM facet WHERE parameter = '{URL}')");
        world.tables().change(&format!("DELETE FROM index_string WHERE facet IN {of}"))?;
        world.tables().change("DELETE FROM shelf WHERE key = 'index' AND owner = 0")
    };
    world.stop().await;
    forget(&world)?;
    world.restart().await?;
    let mut answers = Vec::new();
    let again = loop {
        let (status, answer) = ask(&world, question).await?;
        answers.push(status);
        match status {
            200 => break answer,
            503 if answers.len() < 600 => tokio::task::yield_now().await,
            _ => anyhow::bail!("{status} {answer}"),
        }
    };
    ensure!(again["total"] == found["total"], "{again} after {answers:?}, {found} before");

    // An index that does not come to rest is not trusted, and everything else goes on.
    if let Tables::File(_) = world.tables() {
        world.stop().await;
        world.tables().change(
            "UPDATE shelf SET document = CAST(json_set(CAST(document AS TEXT), '$.whole', json('false'), '$.pass', 9, \
             '$.changed', 1) AS BLOB) WHERE key = 'index' AND owner = 0",
        )?;
        world.restart().await?;
        for path in
            [question, "Observation?_sort=code-text", "Patient?_has:Observation:patient:code-text=fvc"]
        {
            let (status, answer) = ask(&world, path).await?;
            ensure!(status == 503 && answer["issue"][0]["code"] == "transient", "{path}: {status} {answer}");
        }
        let (status, _) = ask(&world, "Observation?code=http://loinc.org|19868-9").await?;
        ensure!(status == 200, "{status}");
    }
    world.stop().await;
    Ok(())
}
