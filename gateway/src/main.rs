//! `sluis`: the gateway and its tools. Arguments -> settings -> gateway -> serve; the only place that ends the process.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use sluis::audit::trail::VerifyReport;
use sluis::clock::System;
use sluis::decision::policy::{Policy, matrix};
use sluis::demo::{self, Context};
use sluis::run::archive;
use sluis::run::explain::{Question, explanation};
use sluis::store::archive::{Copied, Progress};
use sluis::{run, telemetry};
use tokio::signal::unix::{Signal, SignalKind, signal};

mod maps;

/// Much of what a request takes is given back by another thread: its record is made by one, written by a second and moved
/// into the log by a third. The C library's allocator has a lock for each of its arenas, and they wait for it
/// (docs/decisions/0018).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(name = "sluis", version, about = "FHIR R4 gateway for data exchange between care lines")]
struct Arguments {
    /// Log filter, such as `info` or `sluis=debug`; the log goes to stderr, one JSON object a line.
    #[arg(long, env = "SLUIS_LOG", default_value = "warn", global = true)]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve with the settings of a file.
    Serve {
        /// Settings file.
        #[arg(long, env = "SLUIS_CONFIG", default_value = "sluis.toml")]
        config: PathBuf,
    },
    /// Make a demo care region and serve it.
    Demo {
        /// Folder for its files; made when it is not there, taken as it is when it is.
        #[arg(long, default_value = "demo")]
        folder: PathBuf,
        /// Port on loopback.
        #[arg(long, default_value_t = 8443)]
        port: u16,
    },
    /// Sign a client assertion for a demo client: what its system posts to the token endpoint.
    Assertion {
        /// Client id, such as `umc-epd`.
        client: String,
        /// Folder of the demo.
        #[arg(long, default_value = "demo")]
        demo: PathBuf,
        /// UZI role code of the professional at the keys; default: the client's usual one.
        #[arg(long)]
        role: Option<String>,
        /// Patient a portal vouches for (FHIR id).
        #[arg(long)]
        patient: Option<String>,
        /// Purpose of use; default: the client's first.
        #[arg(long)]
        purpose: Option<String>,
        /// No person at the keys: the system itself.
        #[arg(long)]
        system: bool,
    },
    /// Copy all records into a new file, while the gateway serves.
    Backup {
        /// File to make.
        file: PathBuf,
        /// Settings file.
        #[arg(long, env = "SLUIS_CONFIG", default_value = "sluis.toml")]
        config: PathBuf,
    },
    /// Fill an empty store with the records of a backup, and check them.
    Restore {
        /// File made by `sluis backup`.
        file: PathBuf,
        /// Settings file.
        #[arg(long, env = "SLUIS_CONFIG", default_value = "sluis.toml")]
        config: PathBuf,
    },
    /// Move all records to another store, such as from SQLite to PostgreSQL, and check them. Stop the gateway first.
    Move {
        /// Settings file of the store to move to.
        #[arg(long)]
        to: PathBuf,
        /// Settings file of the store to move from.
        #[arg(long, env = "SLUIS_CONFIG", default_value = "sluis.toml")]
        config: PathBuf,
    },
    /// The audit log.
    #[command(subcommand)]
    Audit(Audit),
    /// The access policy.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Mappings of local formats.
    #[command(subcommand)]
    Map(maps::Map),
}

#[derive(Debug, Subcommand)]
enum Audit {
    /// Walk the whole log: every record, link and signed checkpoint.
    Verify {
        /// Settings file.
        #[arg(long, env = "SLUIS_CONFIG", default_value = "sluis.toml")]
        config: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Load a policy folder and say what it holds, or where it is wrong.
    Check {
        /// Folder; default: the policy built in.
        #[arg(long)]
        folder: Option<PathBuf>,
    },
    /// Print the access matrix: role x purpose x category.
    Matrix {
        /// Folder; default: the policy built in.
        #[arg(long)]
        folder: Option<PathBuf>,
    },
    /// Say why somebody may or may not see a stored resource: which cell, care relation, grant and Consent.
    Explain {
        /// Resource, such as `Observation/0193…`.
        resource: String,
        /// URA of the organisation that would look.
        #[arg(long)]
        organisation: String,
        /// UZI role code of the professional; without it, the organisation's system.
        #[arg(long)]
        role: Option<String>,
        /// FHIR id of the patient who would look herself.
        #[arg(long)]
        patient: Option<String>,
        /// Purpose of use.
        #[arg(long, default_value = "TREAT")]
        purpose: String,
        /// Settings file.
        #[arg(long, env = "SLUIS_CONFIG", default_value = "sluis.toml")]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = telemetry::start_log(&arguments.log) {
        say(&format!("log: {error}"));
        return ExitCode::FAILURE;
    }
    match perform(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("sluis: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(command: Command) -> Result<ExitCode> {
    match command {
        Command::Serve { config } => block_on(serve(&config)),
        Command::Demo { folder, port } => block_on(demonstrate(&folder, port)),
        Command::Assertion { client, demo, role, patient, purpose, system } => {
            let context = Context { role, patient, purpose, system };
            say(&demo::assertion(&demo, &client, &context, &System)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Backup { file, config } => {
            let copied = with_bar(|progress| archive::backup(&config, &file, progress))?;
            tell(&copied);
            say(&format!(
                "{} is whole. Keep it where nobody else reads it: it holds everything.",
                file.display()
            ));
            Ok(ExitCode::SUCCESS)
        }
        Command::Restore { file, config } => {
            let (copied, report) = with_bar(|progress| archive::restore(&config, &file, progress))?;
            tell(&copied);
            Ok(verdict(&report))
        }
        Command::Move { to, config } => {
            let (copied, report) = with_bar(|progress| archive::transfer(&config, &to, progress))?;
            tell(&copied);
            say(&format!(
                "the store of {} is as it was: start the gateway with {}",
                config.display(),
                to.display()
            ));
            Ok(verdict(&report))
        }
        Command::Audit(Audit::Verify { config }) => Ok(verdict(&run::verify_audit(&config)?)),
        Command::Policy(PolicyCommand::Check { folder }) => {
            say(&matrix::check(&policy(folder.as_deref())?));
            Ok(ExitCode::SUCCESS)
        }
        Command::Policy(PolicyCommand::Matrix { folder }) => {
            say(&matrix::matrix(&policy(folder.as_deref())?));
            Ok(ExitCode::SUCCESS)
        }
        Command::Policy(PolicyCommand::Explain {
            resource,
            organisation,
            role,
            patient,
            purpose,
            config,
        }) => {
            let question = Question { organisation, role, patient, purpose, resource };
            say(&explanation(&config, &question)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Map(map) => maps::perform(map),
    }
}

/// Says what a walk of the audit log found.
fn verdict(report: &VerifyReport) -> ExitCode {
    say(&format!(
        "{} records, {} signed checkpoints, pinned up to record {}",
        report.records, report.checkpoints, report.pinned
    ));
    if report.faults.is_empty() {
        say("the log is unbroken");
        return ExitCode::SUCCESS;
    }
    for fault in &report.faults {
        say(&format!("BROKEN: {fault:?}"));
    }
    ExitCode::FAILURE
}

/// Says what was copied, table by table: what two stores that hold the same say alike.
fn tell(copied: &[Copied]) {
    for Copied { table, rows, sum } in copied {
        say(&format!("{rows:>12}  {table:<16} {sum}"));
    }
}

/// Runs `work` with a bar on the terminal.
fn with_bar<T>(work: impl FnOnce(&mut Progress<'_>) -> Result<T>) -> Result<T> {
    let style = ProgressStyle::with_template("{msg:<26} {bar:40} {human_pos}/{human_len}");
    let bar = ProgressBar::new(0).with_style(style.unwrap_or(ProgressStyle::default_bar()));
    let done = work(&mut |what, done, of| {
        bar.set_message(what.to_owned());
        bar.set_length(of);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    done
}

fn policy(folder: Option<&Path>) -> Result<Policy> {
    Ok(match folder {
        None => Policy::included()?,
        Some(folder) => Policy::from_folder(folder)?,
    })
}

fn block_on(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

async fn serve(config: &Path) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let running = run::start(config, Arc::new(System)).await?;
    say(&format!("Sluis serves {} on {}", running.gateway().parts().base, running.address()));
    signals.follow(&running).await?;
    running.stop().await;
    Ok(ExitCode::SUCCESS)
}

async fn demonstrate(folder: &Path, port: u16) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    demo::prepare(folder, port)?;
    let running = run::start(&folder.join("sluis.toml"), Arc::new(System)).await?;
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("patients {bar:40} {pos}/{len}").unwrap_or(ProgressStyle::default_bar()),
    );
    demo::seed(running.gateway(), folder, &mut |done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    })
    .await?;
    bar.finish_and_clear();
    // For `kill -HUP`, after an edit in the demo's mappings.
    let pid = folder.join("sluis.pid");
    std::fs::write(&pid, std::process::id().to_string()).with_context(|| pid.display().to_string())?;
    introduce(folder, &running);
    signals.follow(&running).await?;
    say("stopping");
    running.stop().await;
    std::fs::remove_file(&pid).with_context(|| pid.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Says what the demo made, where, and what to try.
fn introduce(folder: &Path, running: &run::Running) {
    let base = &running.gateway().parts().base;
    let folder = folder.display();
    say(&format!(
        "The demo region is in {folder}/: sluis.toml (settings), sluis.db (records), authority.pem (trust this)."
    ));
    say(&format!("{} patients with test numbers; organisations and clients:\n", demo::people::BSNS.len()));
    for client in demo::region::CLIENTS {
        let role = client.default_role.map_or(String::new(), |role| format!(", role {role}"));
        say(&format!(
            "  {:<16} {} ({}, {}{role})",
            client.id,
            client.party.name,
            client.party.ura,
            client.purposes.join("/")
        ));
    }
    say(&format!(
        "\nSluis serves {base}. Try, in another terminal:\n\n  \
         curl --cacert {folder}/authority.pem {base}/metadata\n  \
         examples/story.sh {folder}          # one patient, four care lines, step by step\n  \
         sluis audit verify --config {folder}/sluis.toml\n\nStop with Ctrl-C."
    ));
}

/// What a terminal or a service manager tells a serving gateway. Listened for from before it starts: a signal nobody
/// listens for ends the process.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Signals> {
        let listen = |kind| signal(kind).context("listen for signals");
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Returns at Ctrl-C or SIGTERM; until then every SIGHUP has the mappings read again.
    async fn follow(&mut self, running: &run::Running) -> Result<()> {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return Ok(()),
                _ = self.terminate.recv() => return Ok(()),
                received = self.hangup.recv() => match received {
                    None => bail!("no more signals can be received"),
                    Some(()) => match running.reload_mappings().await {
                        Ok(()) => say("mappings read again"),
                        Err(error) => tracing::error!(cause = %error, "the mappings before stay in force"),
                    },
                },
            }
        }
    }
}

/// What a command answers goes to stdout. A reader that went away (`| head`) is no failure of the command.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Why a command failed goes to stderr.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
