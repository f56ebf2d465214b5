//! A small disk of its own for a test: an ext4 in a file, mounted over a loop device.
//!
//! Owns: making, mounting, freezing and removing it. The loop device goes with the mount
//! (`mount -o loop` sets autoclear), so that whoever removes the mounts below a test's directory
//! has removed everything; tools/sweep.sh does, and thaws first. Must never happen here: a mount
//! or a file outside of the test's own directory.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a test's programs are not riklet's children"
)]
#![allow(
    unsafe_code,
    reason = "two ioctls freeze and thaw a filesystem; a program in place of them would be too slow"
)]

use std::{
    fs,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::Command,
};

const FIFREEZE: u64 = 0xC004_5877;
const FITHAW: u64 = 0xC004_5878;

/// Runs a program that has to succeed.
pub fn run(program: &str, args: &[&str]) {
    let said = Command::new(program).args(args).output().unwrap();
    assert!(said.status.success(), "{program} {args:?}: {said:?}");
}

/// A mount that ends with this value.
#[derive(Debug)]
pub struct Mounted {
    at: PathBuf,
}

impl Mounted {
    /// Mounts what the arguments say onto a directory, which is made.
    pub fn mount(args: &[&str], at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        let mut all = args.to_vec();
        all.push(at.to_str().unwrap());
        run("mount", &all);
        Self { at: at.to_owned() }
    }

    /// Mounts the ext4 in a file.
    pub fn image(file: &Path, at: &Path) -> Self {
        let file = file.to_str().unwrap();
        Self::mount(&["-t", "ext4", "-o", "loop,noatime", file], at)
    }

    /// Where.
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// Mounts it again with this option: `ro`, `rw`.
    pub fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        run("mount", &["-o", &option, self.at.to_str().unwrap()]);
    }

    fn ioctl(&self, request: u64) {
        let dir = fs::File::open(&self.at).unwrap();
        let mut none: i32 = 0;
        // SAFETY: both requests take a pointer to an int, which they don't read.
        let done = unsafe { nix::libc::ioctl(dir.as_raw_fd(), request as _, &raw mut none) };
        assert_eq!(
            done,
            0,
            "{}: {}",
            self.at.display(),
            std::io::Error::last_os_error()
        );
    }

    /// Lets nobody write to it while `look` does what it has to.
    pub fn frozen<T>(&self, look: impl FnOnce() -> T) -> T {
        struct Thaw<'a>(&'a Mounted);
        impl Drop for Thaw<'_> {
            fn drop(&mut self) {
                self.0.ioctl(FITHAW);
            }
        }
        self.ioctl(FIFREEZE);
        let _thaw = Thaw(self);
        look()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let at = self.at.to_str().unwrap();
        let gone = Command::new("umount").arg(at).output();
        if !gone.is_ok_and(|said| said.status.success()) {
            // Somebody stands in it: it is out of sight, and goes with them.
            let _ = Command::new("umount").args(["-l", at]).output();
            assert!(std::thread::panicking(), "{at} was still in use");
        }
    }
}

/// Makes an ext4 of so many MiB in a file; `options` for mkfs.
pub fn make(file: &Path, mib: u64, options: &[&str]) {
    let new = fs::File::create(file).unwrap();
    new.set_len(mib << 20).unwrap();
    drop(new);
    // Nothing kept for root: full is full.
    let mut args = vec!["-q", "-F", "-m", "0"];
    args.extend(options);
    args.push(file.to_str().unwrap());
    run("mkfs.ext4", &args);
}
