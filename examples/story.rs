//! The story of one patient and four care lines, on the fhir-sdk client: what a vendor's software does with this gateway.
//!
//! Start the demo (`cargo run --release -- demo`), then: `cargo run -p sluis-examples --bin story -- [DEMO_FOLDER]`.
//! Every step is typed by fhir-sdk, which knows nothing of Sluis: it reads what the gateway says or the story breaks.
//! `examples/story.sh` tells the same with curl. May be run again on the same demo.

#[path = "story/access.rs"]
mod access;
#[path = "story/care.rs"]
mod care;
#[path = "story/export.rs"]
mod export;
#[path = "story/intake.rs"]
mod intake;
#[path = "story/strict.rs"]
mod strict;

use std::path::PathBuf;

use access::{Acting, Region};
use anyhow::{Result, ensure};

/// URA of the demo's organisations.
pub(crate) const UMC: &str = "90000101";
pub(crate) const GESP: &str = "90000201";
pub(crate) const GP_BRUG: &str = "90000301";
pub(crate) const GP_ELDERS: &str = "90000302";
pub(crate) const CTB: &str = "90000401";
pub(crate) const ACN: &str = "90000501";
pub(crate) const PORTAL: &str = "90000601";

/// BSN of the story's patient, of the published test range.
pub(crate) const PATIENT_BSN: &str = "999911120";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("demo"), PathBuf::from);
    let region = Region::open(&folder)?;
    let gesp = region.client("gesp-midden-epd", GESP, &Acting::Professional("01.042"))?;
    let umc = region.client("umc-epd", UMC, &Acting::System("TREAT"))?;
    let feed = region.client("gesp-midden-epd", GESP, &Acting::System("TREAT"))?;
    let his = region.client("gp-brug-his", GP_BRUG, &Acting::System("TREAT"))?;

    say("0. The gateway describes itself");
    let statement = gesp.capabilities().await?;
    ensure!(statement.fhir_version.as_ref() == "4.0.1", "{:?}", statement.fhir_version);
    tell(&format!("{}: FHIR {}", region.url(""), statement.fhir_version));

    say("1. The hospital posts an HL7v2 ORU^R01, again, and a correction");
    intake::hospital(&region, &umc).await?;
    say("2. The GeSp team posts its CSV export; what waits is mended and replayed");
    intake::team(&region, &feed).await?;
    say("3. The GP system posts STU3 (zib2017)");
    intake::practice(&region, &his).await?;

    say("4. A GeSp clinician opens the patient");
    let patient = care::find(&region, &gesp).await?;
    let me = region.client("portaal", PORTAL, &Acting::Patient(&patient))?;
    care::give_again(&me, &patient).await?;
    care::open(&gesp, &patient).await?;

    say("5. CTB sees respiration but nothing psychosocial; a GP elsewhere sees nothing");
    let ctb = region.client("ctb-epd", CTB, &Acting::Professional("01.023"))?;
    let elders = region.client("gp-elders-his", GP_ELDERS, &Acting::Professional("01.015"))?;
    care::compare(&gesp, &ctb, &elders, &patient).await?;

    say("6. The patient withdraws her consent for CTB");
    care::withdraw(&me, &gesp, &ctb, &patient).await?;

    say("7. The ALS centre pulls its cohort");
    let acn = region.client("acn-data", ACN, &Acting::System("HRESCH"))?;
    export::cohort(&acn, &me, &patient).await?;

    say("8. The patient reads who looked");
    care::who_looked(&me, &patient).await?;

    say("Every resource the mappings made, in fhir-sdk's strict types");
    for (name, client) in [("hospital", &umc), ("GeSp", &feed), ("GP", &his)] {
        tell(&format!("{name}: {}", strict::read_all(client).await?));
    }
    say("The story holds.");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the story is told on stdout")]
fn say(text: &str) {
    println!("\n== {text}");
}

#[expect(clippy::print_stdout, reason = "the story is told on stdout")]
pub(crate) fn tell(text: &str) {
    println!("   {text}");
}
