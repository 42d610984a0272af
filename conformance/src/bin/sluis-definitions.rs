//! Makes `r4/*.tsv` from the official R4 package: `sluis-definitions distil <hl7.fhir.r4.core.tgz> <out-dir>`.

use std::path::Path;
use std::process::ExitCode;

use sluis_conformance::definitions::distil::distil;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["distil", package, out] => write_tables(Path::new(package), Path::new(out)),
        _ => Err("usage: sluis-definitions distil <hl7.fhir.r4.core.tgz> <out-dir>".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a command line tool tells its user why it failed")]
            {
                eprintln!("{error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn write_tables(package: &Path, out: &Path) -> Result<(), Box<dyn std::error::Error>> {
    for (name, table) in distil(&std::fs::read(package)?)? {
        std::fs::write(out.join(name), table)?;
    }
    Ok(())
}
