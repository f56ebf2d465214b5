//! The file operations of the journal, through one value.
//!
//! Why: a journal is worth what it does when an operation fails, so every operation that can
//! fail goes through here, where a test can make it fail and where it is counted. Owns: how a
//! file is created, grown, made durable and named. Must never happen here: a second try.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use nix::fcntl::{FallocateFlags, fallocate};

/// One kind of operation, to be counted and made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// A new directory.
    MakeDir,
    /// A new file.
    Create,
    /// Bytes at the end of a file.
    Append,
    /// fdatasync of a file.
    Fdatasync,
    /// fsync of a directory.
    FsyncDir,
    /// fallocate beyond the end of a file.
    Reserve,
    /// A file's new name.
    Rename,
    /// The end of a file.
    Remove,
}

/// What the journal has asked of the disk so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// fdatasyncs of files (segments and snapshots).
    pub fdatasyncs: u64,
    /// fsyncs of directories.
    pub dir_fsyncs: u64,
    /// write calls.
    pub writes: u64,
    /// Bytes written.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Counts {
    fdatasyncs: AtomicU64,
    dir_fsyncs: AtomicU64,
    writes: AtomicU64,
    bytes: AtomicU64,
}

/// The disk. A clone is the same disk.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    counts: Arc<Counts>,
    #[cfg(any(test, feature = "testing"))]
    script: Option<script::Script>,
    #[cfg(any(test, feature = "testing"))]
    tape: Option<tape::Tape>,
}

impl Disk {
    /// The real one.
    #[must_use]
    pub fn real() -> Self {
        Self::default()
    }

    /// A real one that fails when the script says so.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn scripted() -> (Self, script::Script) {
        let script = script::Script::default();
        let disk = Self {
            script: Some(script.clone()),
            ..Self::default()
        };
        (disk, script)
    }

    /// A real one that fails when the script says so, and whose operations are on the tape, from
    /// which every image is made that a power cut may leave.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn taped(tape: tape::Tape) -> (Self, script::Script) {
        let (disk, script) = Self::scripted();
        let tape = Some(tape);
        (Self { tape, ..disk }, script)
    }

    #[cfg(any(test, feature = "testing"))]
    fn note(&self, write_down: impl FnOnce(&tape::Tape)) {
        if let Some(tape) = &self.tape {
            write_down(tape);
        }
    }

    /// What was asked of it so far.
    #[must_use]
    pub fn counts(&self) -> DiskCounts {
        DiskCounts {
            fdatasyncs: self.counts.fdatasyncs.load(Ordering::Relaxed),
            dir_fsyncs: self.counts.dir_fsyncs.load(Ordering::Relaxed),
            writes: self.counts.writes.load(Ordering::Relaxed),
            bytes: self.counts.bytes.load(Ordering::Relaxed),
        }
    }

    #[cfg(any(test, feature = "testing"))]
    fn gate(&self, op: Op) -> io::Result<()> {
        self.script.as_ref().map_or(Ok(()), |s| s.gate(op))
    }

    #[cfg(not(any(test, feature = "testing")))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)] // The seam is for tests only.
    fn gate(&self, _: Op) -> io::Result<()> {
        Ok(())
    }

    /// Makes a directory, mode 0700; one that is there is made. Its name is not durable.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.gate(Op::MakeDir)?;
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                #[cfg(any(test, feature = "testing"))]
                self.note(|tape| tape.made_dir(path));
                Ok(())
            }
        }
    }

    /// Creates a file that must not exist, for appending, mode 0600.
    ///
    /// # Errors
    /// As open(2).
    pub fn create(&self, path: &Path) -> io::Result<File> {
        self.gate(Op::Create)?;
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        #[cfg(any(test, feature = "testing"))]
        self.note(|tape| tape.created(path, &file));
        Ok(file)
    }

    /// Opens a file for appending.
    ///
    /// # Errors
    /// As open(2).
    pub fn open_append(&self, path: &Path) -> io::Result<File> {
        self.gate(Op::Create)?;
        OpenOptions::new().append(true).open(path)
    }

    /// Appends all bytes. On an error some of them may be in the file.
    ///
    /// # Errors
    /// As write(2).
    pub fn append(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        self.counts.writes.fetch_add(1, Ordering::Relaxed);
        #[cfg(any(test, feature = "testing"))]
        if let Some(part) = self.script.as_ref().and_then(|s| s.torn(bytes.len())) {
            file.write_all(&bytes[..part])?;
            self.note(|tape| tape.appended(file, &bytes[..part]));
            return Err(io::Error::from_raw_os_error(nix::libc::EIO));
        }
        self.gate(Op::Append)?;
        file.write_all(bytes)?;
        #[cfg(any(test, feature = "testing"))]
        self.note(|tape| tape.appended(file, bytes));
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.counts.bytes.fetch_add(len, Ordering::Relaxed);
        Ok(())
    }

    /// Makes a file's bytes durable.
    ///
    /// # Errors
    /// As fdatasync(2); the file must never be synced again then: the kernel forgets the error.
    pub fn fdatasync(&self, file: &File) -> io::Result<()> {
        self.counts.fdatasyncs.fetch_add(1, Ordering::Relaxed);
        // What is appended while it runs isn't promised by it.
        #[cfg(any(test, feature = "testing"))]
        let promised = self.tape.as_ref().map(|tape| tape.length(file));
        self.gate(Op::Fdatasync)?;
        file.sync_data()?;
        #[cfg(any(test, feature = "testing"))]
        self.note(|tape| tape.synced(file, promised.unwrap_or(0)));
        Ok(())
    }

    /// Makes a directory's names durable.
    ///
    /// # Errors
    /// As fsync(2).
    pub fn fsync_dir(&self, path: &Path) -> io::Result<()> {
        self.counts.dir_fsyncs.fetch_add(1, Ordering::Relaxed);
        self.gate(Op::FsyncDir)?;
        File::open(path)?.sync_all()?;
        #[cfg(any(test, feature = "testing"))]
        self.note(|tape| tape.dir_synced(path));
        Ok(())
    }

    /// Makes `bytes` of space the file's own without growing it. False where the filesystem
    /// can't do that.
    ///
    /// # Errors
    /// As fallocate(2): the disk is full.
    pub fn reserve(&self, file: &File, bytes: u64) -> io::Result<bool> {
        self.gate(Op::Reserve)?;
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, bytes) {
            Ok(()) => Ok(true),
            Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::ENOSYS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Renames a file to a name that must be free.
    ///
    /// # Errors
    /// As rename(2); `AlreadyExists` if the name is taken.
    pub fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.gate(Op::Rename)?;
        if to.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.rename_now(from, to)
    }

    /// Renames a file over what may be there.
    ///
    /// # Errors
    /// As rename(2).
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.gate(Op::Rename)?;
        self.rename_now(from, to)
    }

    #[cfg_attr(
        not(any(test, feature = "testing")),
        allow(clippy::unused_self) // The seam is for tests only.
    )]
    fn rename_now(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)?;
        #[cfg(any(test, feature = "testing"))]
        self.note(|tape| tape.renamed(from, to));
        Ok(())
    }

    /// Removes a file; one that isn't there is removed.
    ///
    /// # Errors
    /// As unlink(2).
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        self.gate(Op::Remove)?;
        match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                #[cfg(any(test, feature = "testing"))]
                self.note(|tape| tape.removed(path));
                Ok(())
            }
        }
    }
}

#[cfg(any(test, feature = "testing"))]
pub mod script;
#[cfg(any(test, feature = "testing"))]
pub mod tape;
