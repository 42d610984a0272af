//! Grants are compiled anew when policy or registry changed while the gateway was down.

use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use sluis::demo::Context;
use sluis_tests::world::World;

fn grants(world: &World) -> Result<i64> {
    world.tables().number("SELECT count(*) FROM grant_arm")
}

/// Takes all grants out behind the gateway's back, so that only compiling them anew brings them back.
fn clear(world: &World) -> Result<()> {
    world.tables().change("DELETE FROM grant_arm")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_after_a_changed_registry_compiles_every_grant_anew_and_another_start_does_not() -> Result<()>
{
    let mut world = World::start().await?;
    let before = grants(&world)?;
    ensure!(before > 0, "the region has grants");
    let registry = world.folder().join("organisations.toml");
    std::fs::OpenOptions::new()
        .append(true)
        .open(&registry)
        .context("registry")?
        .write_all(b"\n[[organisation]]\nura = \"90000402\"\nname = \"CTB Nieuw\"\nkind = \"ctb\"\n")?;

    clear(&world)?;
    world.restart().await?;
    ensure!(grants(&world)? == before, "{} of {before}", grants(&world)?);
    let ctb = world.caller("ctb-epd", Context::role("01.023")).await?;
    ensure!(ctb.ok("Observation?_summary=count").await?["total"].as_i64() > Some(0));

    // Nothing changed: nothing is compiled, so what was taken out stays out.
    clear(&world)?;
    world.restart().await?;
    ensure!(grants(&world)? == 0, "{}", grants(&world)?);
    Ok(())
}
