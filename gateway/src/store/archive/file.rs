//! A backup as one file: sections in gzip, each with its length, and at the end the SHA-256 of all before it.
//!
//! `sluis-backup 1`, a line of JSON about it, then per table `T` (its columns), `R` per row and `E` (how many, and their
//! sum), and at last `Z` with the hash. A file that is cut off has no `Z`; one that was changed has another hash.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::row::Tally;
use super::{ArchiveError, Copied, Sink};

const MAGIC: &[u8] = b"sluis-backup 1\n";
/// Bytes of one section: a row holds a body, which has its own limit.
const SECTION_BYTES_MAX: u32 = 1 << 30;

/// What a backup says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct About {
    /// Base address of the gateway: references and the log's name are of it.
    pub(crate) base: String,
    /// When it was begun, microseconds UTC.
    pub(crate) at: i64,
    /// Program that made it.
    pub(crate) program: String,
}

#[derive(Serialize, Deserialize)]
struct Head {
    table: String,
    columns: Vec<String>,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct End {
    rows: u64,
    sum: String,
}

/// Writes a backup beside its place, and puts it there whole.
pub(crate) struct FileSink {
    path: PathBuf,
    part: PathBuf,
    out: GzEncoder<BufWriter<File>>,
    hash: Context,
    table: String,
    tally: Tally,
}

impl FileSink {
    /// Errors: `Exists`, `File`.
    pub(crate) fn create(path: &Path, about: &About) -> Result<FileSink, ArchiveError> {
        use std::os::unix::fs::OpenOptionsExt as _;
        if path.exists() {
            return Err(ArchiveError::Exists(path.to_owned()));
        }
        let mut part = path.to_owned();
        part.as_mut_os_string().push(".part");
        // It holds everything, so nobody else reads it. One that an earlier attempt left is written anew.
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&part);
        let file = file.map_err(|cause| ArchiveError::File { path: part.clone(), cause })?;
        let mut sink = FileSink {
            path: path.to_owned(),
            part,
            out: GzEncoder::new(BufWriter::new(file), Compression::fast()),
            hash: Context::new(&SHA256),
            table: String::new(),
            tally: Tally::default(),
        };
        sink.write(MAGIC)?;
        let mut line = sink.json(about)?;
        line.push(b'\n');
        sink.write(&line)?;
        Ok(sink)
    }

    /// Ends the file, waits for the disk, and gives it its name.
    ///
    /// Errors: `Exists` when somebody made one meanwhile, `File`.
    pub(crate) fn finish(mut self) -> Result<(), ArchiveError> {
        let hash = self.hash.clone().finish();
        self.section(b'Z', hash.as_ref())?;
        let FileSink { path, part, out, .. } = self;
        let placed = || -> io::Result<()> {
            out.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            // Unlike a renaming, this overwrites nothing.
            std::fs::hard_link(&part, &path)?;
            std::fs::remove_file(&part)?;
            File::open(path.parent().filter(|folder| folder.as_os_str() != "").unwrap_or(Path::new(".")))?
                .sync_all()
        };
        placed().map_err(|cause| match cause.kind() {
            io::ErrorKind::AlreadyExists => ArchiveError::Exists(path.clone()),
            _ => ArchiveError::File { path: path.clone(), cause },
        })
    }

    /// Leaves nothing.
    pub(crate) fn abandon(self) {
        // What cannot be removed has no end, and is taken for no backup.
        let _ = std::fs::remove_file(&self.part);
    }

    fn json(&self, value: &impl Serialize) -> Result<Vec<u8>, ArchiveError> {
        serde_json::to_vec(value)
            .map_err(|cause| ArchiveError::File { path: self.part.clone(), cause: cause.into() })
    }

    fn section(&mut self, kind: u8, bytes: &[u8]) -> Result<(), ArchiveError> {
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= SECTION_BYTES_MAX);
        let length = length.ok_or_else(|| ArchiveError::File {
            path: self.part.clone(),
            cause: io::Error::other("a row of more than 1 GiB"),
        })?;
        self.write(&[kind])?;
        self.write(&length.to_le_bytes())?;
        self.write(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.hash.update(bytes);
        self.out.write_all(bytes).map_err(|cause| ArchiveError::File { path: self.part.clone(), cause })
    }
}

impl Sink for FileSink {
    fn table(&mut self, name: &str, columns: &[String]) -> Result<(), ArchiveError> {
        (self.table, self.tally) = (name.to_owned(), Tally::default());
        let head = self.json(&Head { table: name.to_owned(), columns: columns.to_vec() })?;
        self.section(b'T', &head)
    }

    fn row(&mut self, row: &[u8]) -> Result<(), ArchiveError> {
        self.tally.add(row);
        self.section(b'R', row)
    }

    fn end(&mut self) -> Result<Copied, ArchiveError> {
        let copied = self.tally.of(&self.table);
        let end = self.json(&End { rows: copied.rows, sum: copied.sum.clone() })?;
        self.section(b'E', &end)?;
        Ok(copied)
    }
}

/// Reads a backup into `sink`, once `fits` has seen what it says of itself.
///
/// Errors: `Damaged` at the first thing that does not hold, `File`, those of `fits` and `sink`.
pub(crate) fn read(
    path: &Path,
    fits: impl FnOnce(&About) -> Result<(), ArchiveError>,
    sink: &mut dyn Sink,
) -> Result<(), ArchiveError> {
    let damaged = |what: &str| ArchiveError::Damaged { path: path.to_owned(), what: what.to_owned() };
    let file = File::open(path).map_err(|cause| ArchiveError::File { path: path.to_owned(), cause })?;
    let mut input = Input {
        path,
        bytes: GzDecoder::new(BufReader::new(file)),
        hash: Context::new(&SHA256),
        section: Vec::new(),
    };
    let mut magic = [0; MAGIC.len()];
    let begun = input.fill(&mut magic);
    if begun.is_err() || magic != MAGIC {
        return Err(damaged("this is no backup of this program"));
    }
    let about = input.line()?;
    fits(&serde_json::from_slice(&about).map_err(|_| damaged("its first line cannot be read"))?)?;
    let mut tally = Tally::default();
    loop {
        let before = input.hash.clone();
        match input.section()? {
            b'T' => {
                let head: Head =
                    serde_json::from_slice(&input.section).map_err(|_| damaged("a table cannot be read"))?;
                tally = Tally::default();
                sink.table(&head.table, &head.columns)?;
            }
            b'R' => {
                tally.add(&input.section);
                sink.row(&input.section)?;
            }
            b'E' => {
                let end: End =
                    serde_json::from_slice(&input.section).map_err(|_| damaged("a table has no end"))?;
                let read = tally.of("");
                if end != (End { rows: read.rows, sum: read.sum }) {
                    return Err(damaged("the rows of a table do not add up"));
                }
                sink.end()?;
            }
            b'Z' if before.finish().as_ref() == input.section => return input.end(),
            b'Z' => return Err(damaged("it was changed: its hash does not hold")),
            _ => return Err(damaged("it has a section that is none")),
        }
    }
}

struct Input<'p> {
    path: &'p Path,
    bytes: GzDecoder<BufReader<File>>,
    hash: Context,
    section: Vec<u8>,
}

impl Input<'_> {
    fn damaged(&self, cause: &io::Error) -> ArchiveError {
        ArchiveError::Damaged {
            path: self.path.to_owned(),
            what: format!("it is cut off or changed: {cause}"),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ArchiveError> {
        self.bytes.read_exact(bytes).map_err(|cause| self.damaged(&cause))?;
        self.hash.update(bytes);
        Ok(())
    }

    /// Nothing follows, and the packing holds.
    fn end(&mut self) -> Result<(), ArchiveError> {
        match self.bytes.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged(&io::Error::other("something follows its end"))),
            Err(cause) => Err(self.damaged(&cause)),
        }
    }

    /// Up to the end of the line, at most 64 KiB.
    fn line(&mut self) -> Result<Vec<u8>, ArchiveError> {
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            self.fill(&mut byte)?;
            match byte {
                [b'\n'] => return Ok(line),
                _ if line.len() >= 1 << 16 => {
                    return Err(self.damaged(&io::Error::other("a line without end")));
                }
                [byte] => line.push(byte),
            }
        }
    }

    /// Reads the next section; its kind.
    fn section(&mut self) -> Result<u8, ArchiveError> {
        let mut head = [0; 5];
        self.fill(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_le_bytes(length);
        if length > SECTION_BYTES_MAX {
            return Err(self.damaged(&io::Error::other("a section without end")));
        }
        self.section.clear();
        // No more memory than there are bytes, whatever the length says.
        let read = (&mut self.bytes).take(u64::from(length)).read_to_end(&mut self.section);
        match read {
            Ok(read) if read == usize::try_from(length).unwrap_or(0) => {}
            Ok(_) => return Err(self.damaged(&io::ErrorKind::UnexpectedEof.into())),
            Err(cause) => return Err(self.damaged(&cause)),
        }
        self.hash.update(&self.section);
        Ok(kind)
    }
}
