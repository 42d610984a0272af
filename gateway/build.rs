//! Takes the mapping folders of the workspace into the binary: writes `shipped.rs`, two lists of `(folder, path inside it, bytes)`:
//! the folders in force unless a setting says otherwise, without their case pairs, which prove a mapping and are not part of it; and
//! those of vendors, whole, to begin a folder with.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let variable =
        |name: &str| env::var_os(name).map(PathBuf::from).ok_or_else(|| io::Error::other(name.to_owned()));
    let root = variable("CARGO_MANIFEST_DIR")?.join("../mappings").canonicalize()?;
    println!("cargo::rerun-if-changed={}", root.display());
    let mut list =
        String::from("/// Mapping folders built in.\nconst SHIPPED: &[(&str, &str, &[u8])] = &[\n");
    each(&root, false, &mut list)?;
    list.push_str(
        "];\n/// Folders of vendors, with their cases.\nconst VENDORS: &[(&str, &str, &[u8])] = &[\n",
    );
    each(&root.join("vendors"), true, &mut list)?;
    list.push_str("];\n");
    fs::write(variable("OUT_DIR")?.join("shipped.rs"), list)
}

fn each(root: &Path, cases: bool, list: &mut String) -> io::Result<()> {
    for folder in sorted(root)? {
        if folder.join("mapping.toml").is_file() {
            let name = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            add(&folder, &name, "", cases, list)?;
        }
    }
    Ok(())
}

fn add(folder: &Path, name: &str, prefix: &str, cases: bool, list: &mut String) -> io::Result<()> {
    for path in sorted(folder)? {
        let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let inside = format!("{prefix}{file}");
        if (inside == "cases" && !cases) || inside.ends_with(".md") {
            continue;
        }
        if path.is_dir() {
            add(&path, name, &format!("{inside}/"), cases, list)?;
        } else {
            let line =
                format!("    ({name:?}, {inside:?}, include_bytes!({:?})),\n", path.display().to_string());
            list.write_str(&line).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths =
        fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
