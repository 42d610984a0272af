//! Conditional interactions, update as create, patch and the references of a transaction, over HTTPS with real permits.

use anyhow::{Result, ensure};
use http::Method;
use serde_json::{Value, json};
use sluis::demo::{Context, people};
use sluis::ids::SYSTEM_BSN;
use sluis_tests::client::Answer;
use sluis_tests::world::{Caller, World, due, entries};

const FHIR: &str = "application/fhir+json";
const JSON_PATCH: &str = "application/json-patch+json";

fn observation(number: &str) -> Value {
    json!({
        "resourceType": "Observation", "status": "final", "effectiveDateTime": "2026-10-01",
        "identifier": [{ "system": "urn:test:number", "value": number }],
        "subject": { "identifier": { "system": SYSTEM_BSN, "value": people::BSNS[0] } },
        "code": { "coding": [{ "system": "http://loinc.org", "code": "19868-9" }] },
    })
}

async fn create_if_none(caller: &Caller, number: &str) -> Result<Answer> {
    let condition = format!("identifier=urn:test:number|{number}");
    let headers = [("content-type", FHIR), ("if-none-exist", condition.as_str())];
    caller.send(Method::POST, "Observation", &headers, observation(number).to_string()).await
}

async fn patch(caller: &Caller, path: &str, patch: &Value) -> Result<Answer> {
    caller.send(Method::PATCH, path, &[("content-type", JSON_PATCH)], patch.to_string()).await
}

async fn count(caller: &Caller, number: &str) -> Result<Value> {
    Ok(caller.ok(&format!("Observation?identifier=urn:test:number%7C{number}&_summary=count")).await?["total"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_finds_one_resource_and_several_writers_make_one() -> Result<()> {
    let world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let system = world.caller("gesp-midden-epd", Context::system()).await?;

    // One winner, whoever comes first.
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let gesp = gesp.clone();
        asked.spawn(async move { create_if_none(&gesp, "one").await });
    }
    let mut statuses = Vec::new();
    while let Some(answer) = asked.join_next().await {
        statuses.push(answer??.status.as_u16());
    }
    statuses.sort_unstable();
    ensure!(statuses == [200, 200, 200, 200, 200, 200, 200, 201], "{statuses:?}");
    ensure!(count(&gesp, "one").await? == 1);
    let there = create_if_none(&gesp, "one").await?;
    due("there already", &there, 200)?;
    ensure!(there.header("etag") == "W/\"1\"" && there.header("location").contains("/Observation/"));

    // update, patch and delete by criteria
    let path = "Observation?identifier=urn:test:number%7Ctwo";
    let made = gesp.put(path, &observation("two")).await?;
    due("conditional update of nothing", &made, 201)?;
    let mut changed = observation("two");
    changed["status"] = "amended".into();
    let again = gesp.put(path, &changed).await?;
    due("conditional update of one", &again, 200)?;
    ensure!(again.json()["id"] == made.json()["id"] && again.json()["meta"]["versionId"] == "2");
    changed["id"] = "another".into();
    due("another id", &gesp.put(path, &changed).await?, 400)?;
    let note = json!([{ "op": "add", "path": "/note", "value": [{ "text": "x" }] }]);
    let patched = patch(&gesp, path, &note).await?;
    due("conditional patch", &patched, 200)?;
    ensure!(patched.json()["note"][0]["text"] == "x" && patched.json()["meta"]["versionId"] == "3");
    due("patch of nothing", &patch(&gesp, "Observation?identifier=urn:x%7Cnone", &note).await?, 404)?;
    due("no criteria", &gesp.put("Observation", &observation("x")).await?, 400)?;
    due(
        "a parameter that chooses nothing",
        &gesp.put("Observation?_count=1", &observation("x")).await?,
        400,
    )?;
    due("unknown parameter", &system.delete("Observation?nonsense=1").await?, 400)?;

    // Several match: nothing is done.
    due("a second", &gesp.post("Observation", &observation("two")).await?, 201)?;
    for answer in [
        gesp.put(path, &observation("two")).await?,
        patch(&gesp, path, &note).await?,
        system.delete(path).await?,
        create_if_none(&gesp, "two").await?,
    ] {
        due("several match", &answer, 412)?;
        ensure!(answer.json()["issue"][0]["code"] == "multiple-matches", "{}", answer.text());
    }
    ensure!(count(&gesp, "two").await? == 2);
    let one = "Observation?identifier=urn:test:number%7Cone";
    due("conditional delete", &system.delete(one).await?, 204)?;
    due("deleted already", &system.delete(one).await?, 204)?;
    ensure!(count(&gesp, "one").await? == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_hidden_does_not_match_and_ids_are_chosen_in_the_own_namespace_only() -> Result<()> {
    let world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let stranger = world.caller("gesp-noord-epd", Context::role("01.042")).await?;
    let mut private = observation("hidden");
    private["code"] = json!({ "text": "alleen voor de auteur" });
    due("unclassified", &gesp.post("Observation", &private).await?, 201)?;

    // To a stranger the hidden one and none are the same answer.
    let patch_of = |number: &str| format!("Observation?identifier=urn:test:number%7C{number}");
    let empty = json!([]);
    let hidden = patch(&stranger, &patch_of("hidden"), &empty).await?;
    let none = patch(&stranger, &patch_of("none"), &empty).await?;
    due("hidden", &hidden, 404)?;
    ensure!(hidden.body == none.body, "{} {}", hidden.text(), none.text());

    // Ids of the own namespace: URA, a point, the rest.
    let ura = sluis::demo::region::GESP_MIDDEN.ura;
    let with_id = |id: &str| {
        let mut body = observation("named");
        body["id"] = id.into();
        body
    };
    let id = format!("{ura}.fvc-1");
    let path = format!("Observation/{id}");
    let made = gesp.put(&path, &with_id(&id)).await?;
    due("update as create", &made, 201)?;
    ensure!(made.header("etag") == "W/\"1\"" && made.json()["id"] == id);
    due("update", &gesp.put(&path, &with_id(&id)).await?, 200)?;
    let history = gesp.ok(&format!("{path}/_history")).await?;
    ensure!(
        history["entry"][1]["request"]["method"] == "PUT"
            && history["entry"][1]["response"]["status"] == "201"
    );
    for foreign in ["elsewhere", "00000000.x", &format!("{ura}."), &format!("{ura}x")] {
        let answer = gesp.put(&format!("Observation/{foreign}"), &with_id(foreign)).await?;
        due(foreign, &answer, 404)?;
    }
    let other = stranger.put(&path, &with_id(&id)).await?;
    let nothing = stranger.put("Observation/none", &with_id("none")).await?;
    ensure!(other.status == nothing.status && other.body == nothing.body, "{}", other.text());
    let headers = [("content-type", FHIR), ("if-none-match", "*")];
    let again = gesp.send(Method::PUT, &path, &headers, with_id(&id).to_string()).await?;
    due("If-None-Match: *", &again, 412)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patch_is_whole_or_nothing_and_keeps_what_it_does_not_touch() -> Result<()> {
    let world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let gp = world.caller("gp-brug-his", Context::role("01.015")).await?;
    let acn = world.caller("acn-data", Context::purpose("HRESCH")).await?;
    let text = observation("p").to_string().replace("\"status\"", "\"valueQuantity\":{\"value\":3.10,\"unit\":\"L\",\"system\":\"http://unitsofmeasure.org\",\"code\":\"L\"},\"status\"");
    let made = gesp.send(Method::POST, "Observation", &[("content-type", FHIR)], text).await?;
    due("create", &made, 201)?;
    let path = format!("Observation/{}", made.json()["id"].as_str().unwrap_or_default());
    let amended = json!([{ "op": "test", "path": "/valueQuantity/value", "value": 3.1 },
                         { "op": "replace", "path": "/status", "value": "amended" }]);
    let answer = patch(&gesp, &path, &amended).await?;
    due("patch", &answer, 200)?;
    ensure!(
        answer.text().contains("\"value\":3.10") && answer.json()["status"] == "amended",
        "{}",
        answer.text()
    );
    let stale = [("content-type", JSON_PATCH), ("if-match", "W/\"1\"")];
    due("stale", &gesp.send(Method::PATCH, &path, &stale, amended.to_string()).await?, 412)?;
    for (what, operations, status) in [
        (
            "test fails",
            json!([{ "op": "replace", "path": "/status", "value": "final" }, { "op": "test", "path": "/status", "value": "x" }]),
            422,
        ),
        ("not valid R4", json!([{ "op": "remove", "path": "/code" }]), 422),
        ("not valid R4", json!([{ "op": "add", "path": "/shoe", "value": 42 }]), 422),
        ("another id", json!([{ "op": "replace", "path": "/id", "value": "x" }]), 422),
        ("another type", json!([{ "op": "replace", "path": "/resourceType", "value": "Patient" }]), 422),
        ("no patch", json!({ "op": "add" }), 400),
        (
            "another patient",
            json!([{ "op": "replace", "path": "/subject", "value": { "identifier": { "system": SYSTEM_BSN, "value": people::BSNS[1] } } }]),
            422,
        ),
    ] {
        due(what, &patch(&gesp, &path, &operations).await?, status)?;
    }
    due("another's", &patch(&gp, &path, &amended).await?, 403)?;
    // A role that sees a Group without its members learns nothing of them by a patch.
    let group = acn.ok("Group").await?["entry"][0]["resource"]["id"].as_str().unwrap_or_default().to_owned();
    let guess = json!([{ "op": "test", "path": "/member/0/entity/reference", "value": "Patient/x" }]);
    let guessed = patch(&acn, &format!("Group/{group}"), &guess).await?;
    let nothing = patch(&acn, "Group/none", &guess).await?;
    due("hidden element", &guessed, 403)?;
    ensure!(guessed.body == nothing.body, "{}", guessed.text());
    let read = gesp.ok(&path).await?;
    ensure!(
        read["meta"]["versionId"] == "2" && read["status"] == "amended",
        "a refused patch left something: {read}"
    );
    Ok(())
}

/// A Parameters resource that replaces one element.
fn replace(path: &str, value: Value) -> Value {
    let mut put = json!({ "name": "value" });
    if let (Some(put), Value::Object(value)) = (put.as_object_mut(), value) {
        put.extend(value);
    }
    let part =
        json!([{ "name": "type", "valueCode": "replace" }, { "name": "path", "valueString": path }, put]);
    json!({ "resourceType": "Parameters", "parameter": [{ "name": "operation", "part": part }] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fhirpath_patch_works_alone_by_criteria_and_in_bundles_and_shows_nothing_hidden() -> Result<()> {
    let world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let stranger = world.caller("gesp-noord-epd", Context::role("01.042")).await?;
    let gp = world.caller("gp-brug-his", Context::role("01.015")).await?;
    let acn = world.caller("acn-data", Context::purpose("HRESCH")).await?;
    let by_path = async |caller: &Caller, path: &str, patch: &Value| {
        caller.send(Method::PATCH, path, &[("content-type", FHIR)], patch.to_string()).await
    };
    let text = observation("path")
        .to_string()
        .replace("\"status\"", "\"valueQuantity\":{\"value\":3.10,\"unit\":\"L\"},\"status\"");
    let made = gesp.send(Method::POST, "Observation", &[("content-type", FHIR)], text).await?;
    due("create", &made, 201)?;
    let path = format!("Observation/{}", made.json()["id"].as_str().unwrap_or_default());
    let amend = replace("Observation.status", json!({ "valueCode": "amended" }));
    let answer = by_path(&gesp, &path, &amend).await?;
    due("patch", &answer, 200)?;
    ensure!(answer.text().contains("\"value\":3.10") && answer.json()["status"] == "amended");

    let criteria = "Observation?identifier=urn:test:number%7Cpath";
    let answer = by_path(&gesp, criteria, &replace("status", json!({ "valueCode": "corrected" }))).await?;
    due("by criteria", &answer, 200)?;
    ensure!(answer.json()["status"] == "corrected" && answer.json()["meta"]["versionId"] == "3");
    for (kind, url) in [("batch", path.as_str()), ("transaction", path.as_str()), ("transaction", criteria)] {
        let entry = json!([{ "resource": amend, "request": { "method": "PATCH", "url": url } }]);
        let bundle = json!({ "resourceType": "Bundle", "type": kind, "entry": entry });
        let answer = gesp.post("", &bundle).await?;
        due(kind, &answer, 200)?;
        ensure!(entries(&answer.json())[0]["response"]["status"] == "200 OK", "{}", answer.text());
    }
    let due_version = json!("6");
    ensure!(gesp.ok(&path).await?["meta"]["versionId"] == due_version);

    for (what, patch, status) in [
        ("another id", replace("Observation.id", json!({ "valueId": "x" })), 422),
        (
            "another patient",
            replace("Observation.subject.reference", json!({ "valueString": "Patient/none" })),
            422,
        ),
        ("not valid R4", replace("Observation.status", json!({ "valueCode": "nonsense" })), 422),
        ("not there", replace("Observation.method", json!({ "valueCodeableConcept": { "text": "x" } })), 422),
        ("no path", replace("Observation.(", json!({ "valueCode": "x" })), 400),
        ("no Parameters", json!({ "resourceType": "Observation" }), 400),
        ("Parameters that are none", json!({ "resourceType": "Parameters", "shoe": 42 }), 422),
    ] {
        due(what, &by_path(&gesp, &path, &patch).await?, status)?;
    }
    ensure!(gesp.ok(&path).await?["meta"]["versionId"] == due_version, "a refused patch left something");

    // What is hidden is not there: a patch that holds and one that does not tell the same.
    let holds =
        replace("Observation.where(valueQuantity.value = 3.1).status", json!({ "valueCode": "final" }));
    let not = replace("Observation.where(valueQuantity.value = 4).status", json!({ "valueCode": "final" }));
    let none = by_path(&stranger, "Observation/none", &holds).await?;
    due("hidden", &none, 404)?;
    for hidden in [by_path(&stranger, &path, &holds).await?, by_path(&stranger, &path, &not).await?] {
        ensure!(hidden.status == none.status && hidden.body == none.body, "{}", hidden.text());
    }
    due("another's", &by_path(&gp, &path, &amend).await?, 403)?;
    let group = acn.ok("Group").await?["entry"][0]["resource"]["id"].as_str().unwrap_or_default().to_owned();
    let guess = replace("Group.where(member.exists()).name", json!({ "valueString": "x" }));
    let guessed = by_path(&acn, &format!("Group/{group}"), &guess).await?;
    let nothing = by_path(&acn, "Group/none", &guess).await?;
    due("hidden element", &guessed, 403)?;
    ensure!(guessed.body == nothing.body, "{}", guessed.text());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_knows_conditions_and_every_kind_of_reference() -> Result<()> {
    let world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let (a, b) =
        ("urn:uuid:6a0c8e0e-0000-4000-8000-00000000000a", "urn:uuid:6a0c8e0e-0000-4000-8000-00000000000b");
    let derived = |reference: &str| {
        let mut body = observation("derived");
        body["derivedFrom"] = json!([{ "reference": reference }]);
        body["extension"] = json!([{ "url": "urn:x", "valueReference": { "reference": reference } },
                                   { "url": "urn:x", "valueUri": reference }]);
        body
    };
    let post = |url: &str, body: Value, none: Option<&str>| {
        let mut entry = json!({ "fullUrl": url, "resource": body, "request": { "method": "POST", "url": "Observation" } });
        if let Some(none) = none {
            entry["request"]["ifNoneExist"] = none.into();
        }
        entry
    };
    let transaction = |list: Value| json!({ "resourceType": "Bundle", "type": "transaction", "entry": list });
    let condition = "identifier=urn:test:number|t";
    for (status, version) in [("201 Created", "1"), ("200 OK", "1")] {
        // The first entry refers to what a later one makes or finds: by urn, by version, and by criteria.
        let list = json!([
            post(b, derived(a), None),
            post("urn:uuid:6a0c8e0e-0000-4000-8000-00000000000c", derived(&format!("{a}/_history/7")), None),
            post(
                "urn:uuid:6a0c8e0e-0000-4000-8000-00000000000d",
                derived("Observation?identifier=urn:test:number|t"),
                None
            ),
            post(a, observation("t"), Some(condition)),
        ]);
        let answer = gesp.post("", &transaction(list)).await?;
        due("transaction", &answer, 200)?;
        let answer = answer.json();
        ensure!(entries(&answer)[3]["response"]["status"] == status, "{answer}");
        let target =
            format!("Observation/{}", entries(&answer)[3]["resource"]["id"].as_str().unwrap_or_default());
        let first = &entries(&answer)[0]["resource"];
        ensure!(
            first["derivedFrom"][0]["reference"] == target && first["extension"][1]["valueUri"] == target,
            "{first}"
        );
        ensure!(first["extension"][0]["valueReference"]["reference"] == target, "{first}");
        let second = &entries(&answer)[1]["resource"]["derivedFrom"][0]["reference"];
        if status == "201 Created" {
            ensure!(*second == format!("{target}/_history/{version}"), "{second}");
        }
        ensure!(entries(&answer)[2]["resource"]["derivedFrom"][0]["reference"] == target, "{answer}");
        if status == "201 Created" {
            continue;
        }
        ensure!(count(&gesp, "t").await? == 1);
    }

    // All or nothing: contradictions and criteria that lead nowhere.
    let before = count(&gesp, "derived").await?;
    let patched = json!({ "resourceType": "Binary", "contentType": JSON_PATCH, "data": "W10=" });
    let by_criteria = "Observation?identifier=urn:test:number%7Ct";
    let target =
        gesp.ok(by_criteria).await?["entry"][0]["resource"]["id"].as_str().unwrap_or_default().to_owned();
    for (what, list, status) in [
        ("lost criteria", json!([post(b, derived("Observation?identifier=urn:x|none"), None)]), 422),
        (
            "two creates of one condition",
            json!([
                post(a, observation("u"), Some("identifier=urn:test:number|u")),
                post(b, observation("u"), Some("identifier=urn:test:number|u"))
            ]),
            409,
        ),
        (
            "one resource twice",
            json!([post(b, derived(a), None), post(a, observation("w"), None),
            { "resource": patched, "request": { "method": "PATCH", "url": format!("Observation/{target}") } },
            { "resource": patched, "request": { "method": "PATCH", "url": by_criteria } }]),
            422,
        ),
        (
            "stale",
            json!([post(b, observation("derived"), None), { "resource": patched, "request": { "method": "PATCH", "url": by_criteria, "ifMatch": "W/\"9\"" } }]),
            412,
        ),
        ("unknown condition", json!([post(b, observation("derived"), Some("shoe=42"))]), 400),
    ] {
        let answer = gesp.post("", &transaction(list)).await?;
        due(what, &answer, status)?;
        ensure!(answer.text().contains("Bundle.entry["), "{what}: {}", answer.text());
    }
    ensure!(
        count(&gesp, "derived").await? == before && count(&gesp, "u").await? == 0,
        "something was half written"
    );
    let patched = json!([{ "resource": patched, "request": { "method": "PATCH", "url": by_criteria } }]);
    due("patch in a transaction", &gesp.post("", &transaction(patched.clone())).await?, 200)?;
    let batch = json!({ "resourceType": "Bundle", "type": "batch", "entry": patched });
    let answer = gesp.post("", &batch).await?.json();
    ensure!(entries(&answer)[0]["response"]["status"] == "200 OK", "{answer}");

    // Far too many entries are refused before anything looks into them.
    let many: Vec<Value> =
        (0..40_000).map(|_| json!({ "request": { "method": "GET", "url": "Patient/1" } })).collect();
    due("40,000 entries", &gesp.post("", &transaction(many.into())).await?, 413)?;
    Ok(())
}
