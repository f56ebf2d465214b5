//! A wall clock that steps for one daemon while the machine's own stands: see `wall_clock.c`.
//!
//! The daemon itself is the one that is built and shipped; only what libc tells it of
//! CLOCK_REALTIME is moved.
#![allow(
    clippy::disallowed_methods,
    reason = "a test's programs are not riklet's children"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::daemon::Daemon;

/// The wall clock of one daemon.
pub struct WallClock {
    library: PathBuf,
    offset: PathBuf,
}

impl WallClock {
    /// Makes one in this directory, by the C compiler that building riklet needs anyway.
    pub fn make(dir: &Path) -> Self {
        let this = Self {
            library: dir.join("wall_clock.so"),
            offset: dir.join("wall_clock.offset"),
        };
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/wall_clock.c");
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&this.library, Path::new(source)])
            .status();
        assert!(status.unwrap().success(), "cc {source}");
        this.set(0);
        this
    }

    /// The daemon, with this clock from its next start on.
    pub fn on(&self, daemon: Daemon) -> Daemon {
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        daemon
            .env("LD_PRELOAD", &path(&self.library))
            .env("TEST_WALL_CLOCK", &path(&self.offset))
    }

    /// From now on it is so many seconds before or after the machine's.
    pub fn set(&self, seconds: i64) {
        let mut file = fs::File::options();
        let file = file.create(true).truncate(false).write(true);
        let file = file.open(&self.offset).unwrap();
        // In one write and in place: the daemon has it mapped.
        std::os::unix::fs::FileExt::write_all_at(&file, &seconds.to_ne_bytes(), 0).unwrap();
    }
}
