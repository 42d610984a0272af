//! `sluis map`: mapping folders on the author's own machine. Reads files; runs what the gateway runs.

mod build;
mod files;
mod fill;
mod new;
mod prove;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Map {
    /// Make a mapping folder from a sample document: manifest, map with a line per field, code tables, a first case. Or as a copy of
    /// a folder built in, such as a vendor's.
    New {
        /// Sample document, without a real person in it: .csv, .hl7, .edi, .json or .xml.
        #[arg(long, required_unless_present = "like", conflicts_with = "like")]
        from: Option<PathBuf>,
        /// Folder built in to begin as, such as `chipsoft-stu3`; another name lists them.
        #[arg(long)]
        like: Option<String>,
        /// Folder to make; its name is the mapping's id.
        folder: PathBuf,
        /// URA of the sender; `*` for any.
        #[arg(long, default_value = "*")]
        sender: String,
    },
    /// Run every case of a mapping folder (or of all folders below a directory) and show what differs.
    Test {
        /// Mapping folder, or a directory of them.
        #[arg(default_value = "mappings")]
        folder: PathBuf,
        /// Write what came out as the expected output of every case that differs, after showing it.
        #[arg(long)]
        bless: bool,
        /// Write the results as JUnit XML to this file.
        #[arg(long)]
        junit: Option<PathBuf>,
    },
    /// Show, for each element a document becomes, the rule and the source it came from; or every step of the run.
    Trace {
        /// Mapping folder.
        folder: PathBuf,
        /// Document, or the name of a case of the folder.
        document: PathBuf,
        /// Every rule as it starts and ends, with the values it writes.
        #[arg(long)]
        steps: bool,
        /// The steps as FHIR Parameters, for a debugger to replay: in the form of the language's guide, or `--json=lab` in that
        /// of the FHIRPath Lab and its VS Code extension.
        #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "guide", value_name = "FORM")]
        json: Option<Form>,
    },
    /// Account for every source field of the cases, every rule and every element R4 requires. Fails on a field that is
    /// dropped and that no case expects to be.
    Coverage {
        /// Mapping folder, or a directory of them.
        #[arg(default_value = "mappings")]
        folder: PathBuf,
    },
    /// Look for what compiles and is still wrong: rules that exclude each other, unknown columns, units that are no UCUM.
    Lint {
        /// Mapping folder, or a directory of them.
        #[arg(default_value = "mappings")]
        folder: PathBuf,
    },
    /// What changes in the output of a corpus between two versions of a mapping folder.
    Diff {
        /// The folder as it is in force.
        old: PathBuf,
        /// The folder as it would be.
        new: PathBuf,
        /// Directory of documents.
        #[arg(long = "on")]
        corpus: PathBuf,
    },
    /// Write the map and what it imports as FHIR StructureMap resources, a file each.
    Build {
        /// Mapping folder.
        folder: PathBuf,
        /// Directory to write into.
        #[arg(long)]
        out: PathBuf,
    },
    /// Take rows that were filled in (the file of a table in `GET [base]/$unmapped`) into that code table of the folder.
    Fill {
        /// Mapping folder.
        folder: PathBuf,
        /// CSV with the header of a code table; rows without a target stay out.
        filled: PathBuf,
        /// Name of the table in mapping.toml; without it, that of the file: `<mapping>.<table>.csv`.
        #[arg(long)]
        table: Option<String>,
    },
    /// Look at a folder while working on it: after each save it is compiled, checked and tested anew, and a page on this machine
    /// shows each document beside what becomes of it.
    Watch {
        /// Mapping folder.
        folder: PathBuf,
        /// Port on loopback; 0 takes a free one.
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
    /// Print the map as a sheet for the people who answer for its content: what each field becomes, in words, what is held back, what
    /// is not taken over, an example of each case, and room to sign.
    Show {
        /// Mapping folder.
        folder: PathBuf,
        /// Language of the sheet.
        #[arg(long, value_enum, default_value = "nl")]
        language: Tongue,
        /// A page that prints, instead of Markdown.
        #[arg(long)]
        html: bool,
    },
}

/// Form of a trace for debuggers.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Form {
    /// As the FHIR Mapping Language's guide has it.
    Guide,
    /// As the FHIRPath Lab has it.
    Lab,
}

/// Language of a sheet.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Tongue {
    /// Dutch.
    Nl,
    /// English.
    En,
}

pub(crate) fn perform(map: Map) -> Result<ExitCode> {
    match map {
        Map::New { from: Some(sample), folder, sender, .. } => new::new(&sample, &folder, &sender),
        Map::New { like, folder, sender, .. } => new::like(&like.unwrap_or_default(), &folder, &sender),
        Map::Test { folder, bless, junit } => prove::test(&folder, bless, junit.as_deref()),
        Map::Trace { folder, document, steps, json } => prove::trace(&folder, &document, steps, json),
        Map::Coverage { folder } => prove::coverage(&folder),
        Map::Lint { folder } => prove::lint(&folder),
        Map::Diff { old, new, corpus } => prove::diff(&old, &new, &corpus),
        Map::Build { folder, out } => build::build(&folder, &out),
        Map::Fill { folder, filled, table } => fill::fill(&folder, &filled, table.as_deref()),
        Map::Watch { folder, port } => watch::watch(&folder, port),
        Map::Show { folder, language, html } => prove::show(&folder, language, html),
    }
}
