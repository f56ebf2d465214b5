//! The node's devices, for a container that is privileged.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use nix::sys::stat::{major, minor};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};

/// What the runtime makes itself, or what is no device.
const LEFT_OUT: [&str; 6] = ["pts", "shm", "fd", "mqueue", "console", ".udev"];

/// How deep /dev is looked into.
const DEEPEST: usize = 8;

/// The devices below `dir`, which is /dev. What goes while this looks is left out.
///
/// # Errors
/// It can't be read.
pub fn all(dir: &Path) -> io::Result<Vec<LinuxDevice>> {
    let mut found = Vec::new();
    look(dir, DEEPEST, &mut found)?;
    found.sort_by(|a: &LinuxDevice, b| a.path().cmp(b.path()));
    Ok(found)
}

fn look(dir: &Path, deeper: usize, found: &mut Vec<LinuxDevice>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Ok(meta) = entry.metadata() else {
            continue;
        };
        if name.to_str().is_none_or(|name| LEFT_OUT.contains(&name)) {
            continue;
        }
        let kind = meta.file_type();
        let typ = match (kind.is_char_device(), kind.is_block_device()) {
            (true, _) => LinuxDeviceType::C,
            (_, true) => LinuxDeviceType::B,
            _ if kind.is_dir() && deeper > 0 => {
                // A directory that can't be read hides only what is in it.
                let _ = look(&entry.path(), deeper - 1, found);
                continue;
            }
            _ => continue,
        };
        let number = |part: u64| i64::try_from(part).unwrap_or(0);
        let mut device = LinuxDevice::default();
        device
            .set_path(entry.path())
            .set_typ(typ)
            .set_major(number(major(meta.rdev())))
            .set_minor(number(minor(meta.rdev())))
            .set_file_mode(Some(meta.mode() & 0o7777))
            .set_uid(Some(meta.uid()))
            .set_gid(Some(meta.gid()));
        found.push(device);
    }
    Ok(())
}
