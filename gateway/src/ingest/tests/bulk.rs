//! Size.

use proptest::prelude::*;
use sluis_mappings::source::Format;

use super::scene::{GESP, Scene, UMC, oru};
use crate::ids::Ura;
use crate::ingest::map::Maps;
use crate::ingest::source::Notation;
use crate::ingest::{IntakeLimits, prepare, r4};

const HEADER: &str = "bsn;bezoekdatum;soort;code;omschrijving;waarde;eenheid;taak;categorie;eigenaar_ura;uitvoerder_ura;status";

fn visits(rows: usize) -> String {
    (0..rows).fold(HEADER.to_owned(), |text, n| {
        let date = format!("{:02}-{:02}-{}", n % 28 + 1, n / 28 % 12 + 1, 2010 + n / 336);
        text + &format!("\r\n999911132;{date};meting;SNIP;SNIP;{};cmH2O;;;;;definitief", n % 90)
    })
}

#[test]
fn a_large_table_is_one_transaction_with_one_provenance() {
    let scene = Scene::new();
    let answer = scene.ingest(GESP, "text/csv", visits(500).as_bytes());
    assert!(answer.body.contains("500 created"), "{}", answer.body);
    assert_eq!(answer.facts.resources.iter().filter(|r| r.starts_with("Provenance/")).count(), 1);
    assert_eq!(scene.audited(), 1);
}

#[test]
fn a_table_past_the_limit_is_kept_and_says_so() {
    let mut scene = Scene::new();
    scene.limit(IntakeLimits { units: 100, ..IntakeLimits::default() });
    let answer = scene.ingest(GESP, "text/csv", visits(101).as_bytes());
    assert_eq!(answer.status.as_u16(), 422);
    assert!(answer.body.contains("document-too-large") && answer.body.contains("100"), "{}", answer.body);
    assert!(answer.facts.resources.is_empty());
    assert_eq!(scene.ingest(GESP, "text/csv", visits(100).as_bytes()).status.as_u16(), 200);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_bytes_are_they_are_read_or_kept(
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        at in 0usize..400,
        cut in 0usize..400,
    ) {
        thread_local!(static MAPS: Maps = Maps::shipped().unwrap());
        let sender = Ura::parse(UMC).unwrap();
        let mut message = oru(1001, &["OBX|1|NM|SNIP^SNIP^99ALS||45|cmH2O|||||F|||20260310094500"]);
        let at = at.min(message.len());
        message.splice(at..(at + cut).min(message.len()), noise.iter().copied());
        MAPS.with(|maps| {
            for bytes in [&noise, &message] {
                for format in [Format::Hl7v2, Format::Csv, Format::Edifact, Format::Json, Format::Xml] {
                    let mapped = maps.map(&sender, format, bytes);
                    let kept = mapped.notes.iter().any(crate::ingest::note::Note::is_error);
                    let units = prepare::mapped(mapped.output, &sender);
                    assert!(kept || !units.is_empty(), "nothing disappears");
                    assert!(units.iter().all(|u| u.ready.is_some() || u.notes.iter().any(|n| n.is_error())));
                }
                for notation in [Notation::R4, Notation::R4Xml] {
                    let _ = r4::prepared(notation, bytes, &sender);
                }
            }
        });
    }
}
