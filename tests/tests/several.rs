//! Searches of several types and of compartments: pages hold every row once in the order asked for, and a compartment shows no
//! more than a search does.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluis::demo::{Context, people};
use sluis::ids::SYSTEM_BSN;
use sluis_tests::world::{Caller, World, entries};

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
