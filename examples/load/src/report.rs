//! The table, in Markdown, printed row by row.

#![expect(clippy::print_stdout, reason = "the table is this program's output")]

use crate::client::Measured;
use crate::workload::Workload;

/// A server doing a workload.
pub(crate) struct Row {
    workload: Workload,
    server: &'static str,
    measured: Measured,
    cpu_us: f64,
    of_hyper: Option<f64>,
    of_store: Option<f64>,
    cpu_of_off: Option<f64>,
}

/// The start on the filled store.
pub(crate) struct Started {
    pub(crate) ready_ms: f64,
    /// All of it, and what is not pages of files.
    pub(crate) resident_mib: (f64, f64),
}

impl Row {
    pub(crate) fn new(workload: Workload, server: &'static str) -> Row {
        Row {
            workload,
            server,
            measured: Measured::default(),
            cpu_us: 0.0,
            of_hyper: None,
            of_store: None,
            cpu_of_off: None,
        }
    }

    /// Adds a slice, with the CPU time its server spent, microseconds.
    pub(crate) fn add(&mut self, measured: Measured, cpu_us: f64) {
        self.measured.add(measured);
        self.cpu_us += cpu_us;
    }

    pub(crate) fn is_filled(&self) -> bool {
        self.measured.units > 0
    }

    /// Microseconds of CPU of a unit of work.
    fn cpu(&self) -> f64 {
        self.cpu_us / self.measured.units as f64
    }

    /// Puts the rows of one workload in relation to each other.
    pub(crate) fn relate(rows: &mut [Row]) {
        let find = |name: &str| rows.iter().find(|row| row.server == name);
        let hyper = find("bare hyper").map(|row| row.measured.rate());
        let store = find("raw store").map(|row| row.measured.unit_rate());
        let off = find("security off").map(Row::cpu);
        for row in rows {
            if row.server != "raw store" {
                row.of_hyper = hyper.map(|hyper| row.measured.rate() / hyper);
            }
            if row.server.starts_with("security") {
                row.of_store = store.map(|store| row.measured.unit_rate() / store);
            }
            if row.server == "security on" {
                row.cpu_of_off = off.map(|off| row.cpu() / off);
            }
        }
    }
}

/// The run's circumstances and the table's head.
pub(crate) fn head(patients: usize, visible: usize, started: &Started) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "{patients} patients, {visible} of them visible to the reader; {} processors; load average {}",
        std::thread::available_parallelism().map_or(0, usize::from),
        load.split_whitespace().next().unwrap_or("unknown")
    );
    println!(
        "start on this store until it listens: {:.0} ms; idle: {:.1} MiB resident, {:.1} of it not pages of files\n",
        started.ready_ms, started.resident_mib.0, started.resident_mib.1
    );
    println!(
        "| workload | | requests/s | units/s | of hyper | of raw store | CPU us/unit | of security off | p50 us | p99 us | p99.9 us | dropped |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
}

/// One row.
pub(crate) fn row(row: &Row) {
    let ratio = |ratio: Option<f64>| ratio.map_or(String::new(), |ratio| format!("{ratio:.3}"));
    let measured = &row.measured;
    println!(
        "| {} | {} | {:.0} | {:.0} | {} | {} | {:.1} | {} | {} | {} | {} | {} |",
        row.workload.name(),
        row.server,
        measured.rate(),
        measured.unit_rate(),
        ratio(row.of_hyper),
        ratio(row.of_store),
        row.cpu(),
        ratio(row.cpu_of_off),
        measured.within_us(0.5),
        measured.within_us(0.99),
        measured.within_us(0.999),
        measured.dropped,
    );
}

/// What was not measured.
pub(crate) fn missing(missing: &[String]) {
    for line in missing {
        println!("\nnot measured: {line}");
    }
}

/// Memory at the end.
pub(crate) fn after(resident_mib: &(f64, f64)) {
    println!(
        "\nafter the load: {:.1} MiB resident, {:.1} of it not pages of files",
        resident_mib.0, resident_mib.1
    );
}

/// Head of the table of single searches.
pub(crate) fn each_head() {
    println!("\n| search, security on, one connection | requests/s | CPU us/request |\n|---|---:|---:|");
}

/// One parameter.
pub(crate) fn each(name: &str, rate: f64, cpu_us: f64) {
    println!("| {name} | {rate:.0} | {cpu_us:.0} |");
}
