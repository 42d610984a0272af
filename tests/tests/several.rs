//! Searches of several types and of compartments: pages hold every row once in the order asked for, and a compartment shows no
//! more than a search does.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluis::demo::{Context, people};
use sluis::ids::SYSTEM_BSN;
use sluis_tests::world::{Caller, World, due, entries, link, observation};

/// Every page of a search: type, id and moment of each match.
async fn pages(caller: &Caller, path: &str) -> Result<Vec<(String, String, String)>> {
    let mut rows = Vec::new();
    let mut next = path.to_owned();
    for page in 0.. {
        ensure!(page < 300, "{path} has no end");
        let bundle = caller.ok(&next).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for entry in entries(&bundle).iter().filter(|entry| entry["search"]["mode"] == "match") {
            let resource = &entry["resource"];
            let updated = text(&resource["meta"]["lastUpdated"]);
            rows.push((text(&resource["resourceType"]), text(&resource["id"]), updated));
        }
        let links = bundle["link"].as_array().context("links")?;
        match links.iter().find(|link| link["relation"] == "next") {
            Some(link) => next = text(&link["url"]),
            None => break,
        }
    }
    Ok(rows)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_several_types_hold_every_row_once_in_the_order_asked_for() -> Result<()> {
    let world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let bsn = format!("{SYSTEM_BSN}|{}", people::BSNS[0]);
    let bundle = gesp.search("Patient", &[("identifier", &bsn)]).await?;
    let patient =
        entries(&bundle).first().context("nobody")?["resource"]["id"].as_str().context("id")?.to_owned();

    let types = "_type=Observation,Condition,CarePlan";
    let mut due = BTreeSet::new();
    for kind in ["Observation", "Condition", "CarePlan"] {
        due.extend(pages(&gesp, &format!("{kind}?_count=1000")).await?);
    }
    ensure!(due.len() > 20, "{} rows", due.len());
    for sort in ["", "&_sort=_lastUpdated", "&_sort=-_lastUpdated", "&_sort=_id", "&_sort=-_id"] {
        let rows = pages(&gesp, &format!("?{types}&_count=7{sort}")).await?;
        let set: BTreeSet<_> = rows.iter().cloned().collect();
        ensure!(
            rows.len() == set.len() && set == due,
            "{sort}: {} rows where {} are due",
            rows.len(),
            due.len()
        );
        let key = |row: &(String, String, String)| match sort {
            "" => row.0.clone(),
            sort if sort.ends_with("_id") => row.1.clone(),
            _ => row.2.clone(),
        };
        let mut sorted: Vec<String> = rows.iter().map(key).collect();
        if sort.contains("=-") {
            sorted.reverse();
        }
        ensure!(sorted.is_sorted(), "{sort}: {sorted:?}");
    }
    let counted = gesp.ok(&format!("?{types}&_summary=count")).await?;
    ensure!(counted["total"] == due.len(), "{counted}");

    // A compartment is the search by patient, whole or by type; everything is the compartment.
    let own: BTreeSet<_> =
        pages(&gesp, &format!("Observation?patient={patient}&_count=1000")).await?.into_iter().collect();
    let by_type: BTreeSet<_> =
        pages(&gesp, &format!("Patient/{patient}/Observation?_count=3")).await?.into_iter().collect();
    ensure!(own == by_type, "{} and {}", own.len(), by_type.len());
    let whole: BTreeSet<_> = pages(&gesp, &format!("Patient/{patient}/*?_count=9&_sort=-_lastUpdated"))
        .await?
        .into_iter()
        .collect();
    let everything: BTreeSet<_> =
        pages(&gesp, &format!("Patient/{patient}/$everything?_count=4")).await?.into_iter().collect();
    ensure!(whole == everything && whole.is_superset(&own), "{} and {}", whole.len(), everything.len());
    ensure!(whole.iter().any(|row| row.0 == "Patient" && row.1 == patient));

    // A page link belongs to its address and to who asked.
    let first = gesp.ok(&format!("Patient/{patient}/*?_count=1")).await?;
    let url = first["link"][1]["url"].as_str().context("next")?.to_owned();
    let cursor = url.split_once("_cursor=").context("cursor")?.1;
    for path in ["", "Observation", "Patient/nobody/*", &format!("Patient/{patient}/$everything")] {
        let status = gesp.get(&format!("{path}?_cursor={cursor}")).await?.status;
        ensure!(status == 400, "{path}: {status}");
    }
    let other = world.caller("gp-brug-his", Context::role("01.015")).await?;
    ensure!(other.get(&format!("Patient/{patient}/*?_cursor={cursor}")).await?.status == 400);
    Ok(())
}

/// What includes of several types bring: what each brings to a search of its own type, once, and none that matches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn includes_of_several_types_are_those_of_each_type_once() -> Result<()> {
    let world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let patient = gesp.first_patient().await?;
    let of = |bundle: &Value, mode: &str| -> BTreeSet<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let one = |entry: &Value| {
            format!("{}/{}", text(&entry["resource"]["resourceType"]), text(&entry["resource"]["id"]))
        };
        entries(bundle).iter().filter(|entry| entry["search"]["mode"] == mode).map(one).collect()
    };
    // Patients are brought, not found.
    let (types, mut seen) = (["Observation", "Condition", "CarePlan"], 0);
    for include in [
        "_include=Observation:subject",
        "_include=*",
        "_include=Observation:performer&_include=CarePlan:subject",
        "_revinclude=Provenance:target",
        "_include=Observation:subject&_revinclude:iterate=CareTeam:subject",
        "_revinclude=*",
    ] {
        for within in ["", "Patient/{patient}/*"] {
            let path = within.replace("{patient}", &patient);
            let whole = gesp
                .ok(&format!("{path}?_type={}&_count=1000&{include}", types.join(",")))
                .await
                .with_context(|| include.to_owned())?;
            let (found, brought) = (of(&whole, "match"), of(&whole, "include"));
            ensure!(found.is_disjoint(&brought) && found.len() + brought.len() == entries(&whole).len());
            let mut due = BTreeSet::new();
            for kind in types {
                let path = path.replace('*', kind);
                let path = if path.is_empty() { kind.to_owned() } else { path };
                // For a type of which it means nothing, a search of that type refuses it.
                let wanted: Vec<&str> = include
                    .split('&')
                    .filter(|one| {
                        let (name, value) = one.split_once('=').unwrap_or_default();
                        name != "_include" || value == "*" || value.starts_with(kind)
                    })
                    .collect();
                let alone = gesp.get(&format!("{path}?_count=1000&{}", wanted.join("&"))).await?;
                ensure!(alone.status == 200, "{path} {wanted:?}: {}", alone.text());
                due.extend(of(&alone.json(), "include"));
            }
            let due: BTreeSet<String> = due.difference(&found).cloned().collect();
            // One hop of `:iterate` starts at what another type brought, too: at least what each brings alone.
            ensure!(
                due == brought || include.contains("iterate") && brought.is_superset(&due),
                "{include} {within}: {brought:?} where {due:?} is due"
            );
            seen += brought.len();
        }
    }
    ensure!(seen > 0, "nothing was brought");
    for (include, status) in [
        ("_include=CarePlan:subject", 400),
        ("_include=Observation:shoe", 400),
        ("_include=Observation:code", 400),
        ("_include:shoe=Observation:subject", 400),
        ("_summary=text&_include=Observation:subject", 400),
    ] {
        let answer = gesp.get(&format!("?_type=Observation,Condition&{include}")).await?;
        ensure!(answer.status == status, "{include}: {}", answer.text());
    }
    Ok(())
}

/// Everything of all patients is everything of each the caller may see, each resource once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_of_all_is_everything_of_each() -> Result<()> {
    let world = World::start().await?;
    let all = "Patient/$everything";
    let patient = world.caller("gesp-midden-epd", Context::role("01.042")).await?.first_patient().await?;
    for (client, context) in [
        ("gesp-midden-epd", Context::role("01.042")),
        ("gp-brug-his", Context::role("01.015")),
        ("ctb-epd", Context::role("01.023")),
        ("gp-elders-his", Context::role("01.015")),
        ("portaal", Context::patient(&patient)),
    ] {
        let caller = world.caller(client, context).await?;
        let rows = pages(&caller, &format!("{all}?_count=37")).await?;
        let set: BTreeSet<_> = rows.iter().cloned().collect();
        ensure!(set.len() == rows.len(), "{client}: a resource twice");
        let mut due = BTreeSet::new();
        let patients = pages(&caller, "Patient?_count=1000").await?;
        for (_, id, _) in &patients {
            due.extend(pages(&caller, &format!("Patient/{id}/$everything?_count=1000")).await?);
        }
        ensure!(set == due, "{client}: {} where {} are due", set.len(), due.len());
        ensure!(client == "gp-elders-his" || set.iter().any(|row| row.0 == "Observation"), "{client}");
        let some = pages(&caller, &format!("{all}?_type=Observation,Patient&start=2026-01-01")).await?;
        ensure!(some.iter().all(|row| set.contains(row) && ["Observation", "Patient"].contains(&&*row.0)));
        ensure!(patients.iter().all(|one| some.contains(one)), "{client}");
    }
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let first = gesp.ok(&format!("{all}?_count=1")).await?;
    let next = link(&first, "next").context("next")?;
    let cursor = next.split_once("_cursor=").context("cursor")?.1;
    for path in ["Patient/nobody/*", "", &format!("Patient/{patient}/$everything")] {
        due(path, &gesp.get(&format!("{path}?_cursor={cursor}")).await?, 400)?;
    }
    for wrong in ["_id=1", "_type=Organization", "start=x", "_count=x", "_since=1&_since=2", "_include=*"] {
        due(wrong, &gesp.get(&format!("{all}?{wrong}")).await?, 400)?;
    }
    let acn = world.caller("acn-data", Context::purpose("HRESCH")).await?;
    due("research", &acn.get(all).await?, 403)?;
    Ok(())
}

/// What resources use is told of those that may be seen, and no longer when they may not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn meta_of_a_type_and_of_the_system_is_of_what_may_be_seen() -> Result<()> {
    let world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let elders = world.caller("gp-elders-his", Context::role("01.015")).await?;
    let patient = gesp.first_patient().await?;
    let mut one = observation(&patient, "meta");
    one["meta"] = json!({
        "profile": ["http://example.org/p"],
        "tag": [{ "system": "urn:meta", "code": "a", "display": "A" }, { "code": "bare" }, { "system": "urn:other", "code": "a" }],
    });
    let made = gesp.post("Observation", &one).await?;
    due("create", &made, 201)?;
    let of = |answer: &Value| answer["parameter"][0]["valueMeta"].clone();
    for path in ["Observation/$meta", "$meta"] {
        let meta = of(&gesp.ok(path).await?);
        ensure!(meta["profile"].as_array().is_some_and(|all| all.contains(&json!("http://example.org/p"))));
        let tags = meta["tag"].as_array().context("tags")?;
        for tag in [
            json!({ "code": "bare" }),
            json!({ "system": "urn:meta", "code": "a" }),
            json!({ "system": "urn:other", "code": "a" }),
        ] {
            ensure!(tags.iter().filter(|known| **known == tag).count() == 1, "{path}: {tags:?}");
        }
        ensure!(!elders.get(path).await?.text().contains("urn:meta"), "{path}");
    }
    ensure!(!gesp.get("Condition/$meta").await?.text().contains("urn:meta"));
    ensure!(gesp.ok("Appointment/$meta").await? == json!({ "resourceType": "Parameters" }));
    let acn = world.caller("acn-data", Context::purpose("HRESCH")).await?;
    due("research", &acn.get("Observation/$meta").await?, 403)?;
    due("log", &gesp.get("AuditEvent/$meta").await?, 405)?;
    due("parameters", &gesp.get("$meta?_tag=x").await?, 400)?;
    Ok(())
}

/// Past the limits: rows on a merged page, observations `$lastn` looks at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merged_page_is_bounded_and_so_is_what_lastn_looks_at() -> Result<()> {
    let mut world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let patient = gesp.first_patient().await?;
    let of = |at: usize| {
        let mut one = observation(&patient, &format!("limit-{at}"));
        one["meta"] = json!({ "tag": [{ "system": "urn:limit", "code": "x" }] });
        one["code"] =
            json!({ "coding": [{ "system": "urn:limit", "code": if at < 10 { "few" } else { "many" } }] });
        json!({ "request": { "method": "POST", "url": "Observation" }, "resource": one })
    };
    let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": (0..130).map(of).collect::<Vec<_>>() });
    due("transaction", &gesp.post("", &bundle).await?, 200)?;
    let merged = "?_type=Observation,Condition&_tag=urn:limit|x&_sort=_lastUpdated&_count=1000";
    let first = gesp.ok(&merged.replace('|', "%7C")).await?;
    ensure!(entries(&first).len() == 100 && link(&first, "next").is_some(), "{}", entries(&first).len());
    let rows = pages(&gesp, &merged.replace('|', "%7C")).await?;
    ensure!(rows.len() == 130 && rows.iter().collect::<BTreeSet<_>>().len() == 130, "{}", rows.len());

    let mut settings = sluis::config::Config::read(world.settings())?;
    settings.limits.lastn_max = 10;
    std::fs::write(world.settings(), toml::to_string(&settings)?)?;
    world.restart().await?;
    let gesp = gesp.at(&world);
    let asked = |code: &str| format!("Observation/$lastn?patient={patient}&code=urn:limit%7C{code}&max=1000");
    ensure!(entries(&gesp.ok(&asked("few")).await?).len() == 10);
    let past = gesp.get(&asked("many")).await?;
    due("past", &past, 413)?;
    ensure!(past.json()["issue"][0]["code"] == "too-costly", "{}", past.text());
    Ok(())
}

/// A role that sees a Group without its members does not find out by a compartment who is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compartment_tells_no_member_of_a_group() -> Result<()> {
    let world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let acn = world.caller("acn-data", Context::purpose("HRESCH")).await?;
    ensure!(!entries(&acn.ok("Group").await?).is_empty());
    let bundle = gesp.ok("Patient?_count=1000").await?;
    for entry in entries(&bundle) {
        let patient = entry["resource"]["id"].as_str().context("id")?;
        let whole = acn.ok(&format!("Patient/{patient}/*")).await?;
        ensure!(entries(&whole).is_empty(), "{whole}");
        for path in [format!("Patient/{patient}/Group"), format!("Patient/{patient}/*?_type=Group")] {
            ensure!(acn.get(&path).await?.status == 400, "{path}");
        }
    }
    Ok(())
}
