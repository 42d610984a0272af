//! `sluis-conformance run`: checks a server against its claims, whatever server it is.
//!
//! A script (`scripts/*.toml`) is a list of requests with what must come back; `claims.toml` lists each sentence of the
//! CapabilityStatement that is claimed, with the script that proves it, or marks it as not claimed. A claim without a
//! passing script fails the run, and so does anything the statement lists that no claim speaks for.

mod runner;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Arguments.
#[derive(Debug, Parser)]
#[command(name = "sluis-conformance", about = "Checks a FHIR server against its claims")]
struct Arguments {
    /// Base URL of the server, without trailing slash.
    #[arg(long)]
    base: String,
    /// PEM file of the authority that signed the server's certificate.
    #[arg(long)]
    authority: Option<PathBuf>,
    /// Access token of an actor the scripts name: `gesp=eyJ…`. Repeat for each.
    #[arg(long = "token", value_parser = pair)]
    tokens: Vec<(String, String)>,
    /// Folder with `claims.toml` and `scripts/`.
    #[arg(long, default_value = "conformance")]
    folder: PathBuf,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err("NAME=TOKEN is needed".to_owned()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let server = match runner::http::Server::new(&arguments.base, arguments.authority.as_deref()) {
        Ok(server) => server,
        Err(error) => return fail(&error),
    };
    let scripts = match runner::script::load(&arguments.folder) {
        Ok(scripts) => scripts,
        Err(error) => return fail(&error),
    };
    let mut report = runner::report::Report::default();
    for script in &scripts.scripts {
        report.add(script, runner::play::play(&server, script, &arguments.tokens).await);
    }
    report.claims(&scripts.claims);
    match runner::statement::items(&server).await {
        Ok(items) => report.faults(&runner::statement::faults(&items, &scripts.claims)),
        Err(error) => report.faults(&[error]),
    }
    print(&report.text());
    if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fail(error: &str) -> ExitCode {
    print(&format!("{error}\n"));
    ExitCode::FAILURE
}

#[expect(clippy::print_stdout, reason = "the report is this program's output")]
fn print(text: &str) {
    print!("{text}");
}
