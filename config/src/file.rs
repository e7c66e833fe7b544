//! The snapshot file: last known good, offline runs, `explain`, `plan`.
//!
//! Every byte is covered: the header's hash covers the header, which names each blob by its hash. The file is read into memory, not mapped: a
//! truncation would be a signal.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::Path;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::blob::{Blob, Hash};
use crate::error::VerifyError;
use crate::limits::{BLOBS_MAX, SNAPSHOT_BYTES_MAX};
use crate::root::{Order, Root, RootEntry};
use crate::snapshot::Snapshot;

/// First bytes of the file; the digit is the version.
pub const FILE_MAGIC: [u8; 8] = *b"RWSNAP1\n";

/// First record of the file.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
struct FileHeader {
    magic: [u8; 8],
    /// SHA-256 of the rest of this record and of the table of blobs.
    hash: [u8; 32],
    incarnation: U64,
    sequence: U64,
    blobs: U32,
}

/// One line of the table of blobs.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
struct FileEntry {
    bytes: U32,
    hash: [u8; 32],
}

const _: () = assert!(size_of::<FileHeader>() == 60 && size_of::<FileEntry>() == 36);

/// Where the part begins that the header's hash covers.
const HASHED_FROM: usize = 40;

impl Snapshot {
    /// The snapshot file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let blobs = self.root().entries.len();
        let size = self.blobs().map(|b| b.bytes().len()).sum::<usize>();
        let mut out = Vec::with_capacity(size_of::<FileHeader>() + blobs * size_of::<FileEntry>() + size);
        let Order { incarnation, sequence } = self.order();
        let header = FileHeader {
            magic: FILE_MAGIC,
            hash: [0; 32],
            incarnation: U64::new(incarnation),
            sequence: U64::new(sequence),
            blobs: U32::new(blobs as u32),
        };
        out.extend_from_slice(header.as_bytes());
        for blob in self.blobs() {
            let entry = FileEntry { bytes: U32::new(blob.bytes().len() as u32), hash: blob.hash().0 };
            out.extend_from_slice(entry.as_bytes());
        }
        let hash = Hash::of(&out[HASHED_FROM..]);
        out[FILE_MAGIC.len()..HASHED_FROM].copy_from_slice(&hash.0);
        self.blobs().for_each(|b| out.extend_from_slice(b.bytes()));
        out
    }

    /// Reads a snapshot file's bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Snapshot, VerifyError> {
        let (header, table, mut rest) = open(bytes)?;
        let mut blobs = Vec::with_capacity(table.len());
        for entry in table {
            let size = entry.bytes.get() as usize;
            let cut = VerifyError::Truncated { what: "blobs of the snapshot file", bytes: bytes.len() };
            let (blob, left) = rest.split_at_checked(size).ok_or(cut)?;
            rest = left;
            let hash = Hash::of(blob);
            if hash.0 != entry.hash {
                return Err(VerifyError::Hash { what: format!("blob {} of the snapshot file", blobs.len()) });
            }
            blobs.push(Blob::verify_hashed(blob.into(), hash)?);
        }
        if !rest.is_empty() {
            return Err(VerifyError::Length { said: bytes.len() - rest.len(), found: bytes.len() });
        }
        let order = Order { incarnation: header.incarnation.get(), sequence: header.sequence.get() };
        // In the order of the file: one that is not the root's is refused, so that a snapshot has one file.
        let entry = |b: &Blob| RootEntry { kind: b.kind(), name: b.shared_name().clone(), hash: b.hash() };
        let root = Root { entries: blobs.iter().map(entry).collect() };
        Snapshot::open(order, root, blobs)
    }

    /// Writes the file: beside it first, synced, then renamed over it. Nobody ever sees half a file.
    pub fn write_file(&self, path: &Path) -> io::Result<()> {
        let mut name = OsString::from(".");
        name.push(path.file_name().ok_or(io::ErrorKind::InvalidFilename)?);
        name.push(format!(".{}.new", std::process::id()));
        let new = path.with_file_name(name);
        let done = write_synced(&new, &self.to_bytes()).and_then(|()| fs::rename(&new, path));
        if done.is_err() {
            // The error that matters is the first one.
            let _ = fs::remove_file(&new);
        }
        done?;
        // The rename itself must survive a crash.
        match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
            _ => File::open(".")?.sync_all(),
        }
    }

    /// Reads a file whole.
    pub fn read_file(path: &Path) -> Result<Snapshot, FileError> {
        let file = File::open(path).map_err(FileError::Io)?;
        let size = file.metadata().map_err(FileError::Io)?.len().min(SNAPSHOT_BYTES_MAX as u64);
        let mut bytes = Vec::with_capacity(size as usize + 1);
        file.take(SNAPSHOT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(FileError::Io)?;
        Snapshot::from_bytes(&bytes).map_err(FileError::Verify)
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Header, table of blobs, and the bytes of the blobs.
fn open(bytes: &[u8]) -> Result<(&FileHeader, &[FileEntry], &[u8]), VerifyError> {
    let cut = |what| VerifyError::Truncated { what, bytes: bytes.len() };
    if bytes.len() > SNAPSHOT_BYTES_MAX {
        let (what, found, max) = ("bytes of a snapshot file", bytes.len(), SNAPSHOT_BYTES_MAX);
        return Err(VerifyError::TooLarge { what, found, max });
    }
    let (header, rest) = FileHeader::ref_from_prefix(bytes).map_err(|_| cut("header of the snapshot file"))?;
    if header.magic != FILE_MAGIC {
        let mut found = [0; 4];
        found.copy_from_slice(&header.magic[..4]);
        let same_but_version = header.magic[..6] == FILE_MAGIC[..6] && header.magic[7] == FILE_MAGIC[7];
        return Err(match same_but_version {
            true => VerifyError::Version { found: header.magic[6] },
            false => VerifyError::Magic { found },
        });
    }
    let blobs = header.blobs.get() as usize;
    if blobs > BLOBS_MAX {
        return Err(VerifyError::TooLarge { what: "blobs of a snapshot", found: blobs, max: BLOBS_MAX });
    }
    let (table, rest) = <[FileEntry]>::ref_from_prefix_with_elems(rest, blobs)
        .map_err(|_| cut("table of blobs of the snapshot file"))?;
    let hashed = &bytes[HASHED_FROM..bytes.len() - rest.len()];
    match Hash::of(hashed).0 == header.hash {
        true => Ok((header, table, rest)),
        false => Err(VerifyError::Hash { what: "the header of the snapshot file".into() }),
    }
}

/// A snapshot file that cannot be used.
#[derive(Debug)]
pub enum FileError {
    /// It cannot be read.
    Io(io::Error),
    /// It is not a good snapshot.
    Verify(VerifyError),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Io(e) => e.fmt(f),
            FileError::Verify(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for FileError {}
