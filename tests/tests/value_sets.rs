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

fn value_set(name: &str, include: &Value) -> Value {
    json!({
        "resourceType": "ValueSet", "url": address(name), "version": "1", "status": "active",
        "compose": { "include": [include] },
    })
}

fn codes(code: &str) -> Value {
    json!({ "system": SYSTEM, "concept": [{ "code": code }] })
}

/// Lets every role write definitions, which the built-in policy lets none, but for the home ventilation centre: it sees
/// none.
async fn open_definitions(world: &mut World) -> Result<()> {
    let folder = world.folder().join("policy");
    std::fs::create_dir_all(&folder)?;
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway/policy"))? {
        let path = file?.path();
        let (Some(name), true) = (path.file_name(), path.is_file()) else { continue };
        let text = std::fs::read_to_string(&path)?.replace("definition = \"rs\"", "definition = \"crus\"");
        let text = match text.split_once("name = \"ctb-clinician\"") {
            None => text,
            Some((before, role)) => {
                let shut = role.replacen("definition = \"crus\"", "definition = \"-\"", 1);
                format!("{before}name = \"ctb-clinician\"{shut}")
            }
        };
        std::fs::write(folder.join(name), text)?;
    }
    let mut settings = sluis::config::Config::read(world.settings())?;
    settings.policy = Some(folder);
    std::fs::write(world.settings(), toml::to_string(&settings)?)?;
    world.restart().await
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
    let mut world = World::start().await?;
    open_definitions(&mut world).await?;
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
    store(value_set("red", &codes("red"))).await?;
    store(value_set("over", &json!({ "valueSet": [address("red")] }))).await?;

    for set in ["red", "over"] {
        let seen = ask(&gesp, "in", set).await?;
        ensure!(total(&seen)? == Some(1), "{set}: {seen:?}");
    }
    // To whom definitions are not shown, none was ever there: neither by name nor from within another.
    let ctb = world.caller("ctb-epd", Context::role("01.023")).await?;
    ensure!(ctb.get("Observation?_summary=count").await?.status == 200);
    for set in ["red", "over"] {
        for modifier in ["in", "not-in"] {
            let (hidden, none) = (ask(&ctb, modifier, set).await?, ask(&ctb, modifier, "none").await?);
            ensure!(hidden.0 == 400, "{modifier} {set}: {hidden:?}");
            ensure!(hidden.1 == none.1.replace("/none", &format!("/{set}")), "{hidden:?} {none:?}");
        }
    }
    Ok(())
}
