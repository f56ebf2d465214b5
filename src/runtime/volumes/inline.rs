//! Files whose content the definition gives.

use std::{
    ffi::OsString,
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Component, Path, PathBuf},
};

use data_encoding::BASE64;

use super::{Facts, VolumeError, failed, mount_tmpfs, set_owner, tree};
use crate::model::spec::{FileText, InlineFile, Volume};

/// The least room of a tmpfs for secrets, in bytes; what isn't used isn't taken.
const LEAST_ROOM: u64 = 1 << 20;

/// What a file takes beside its content: its last page, its inode and its directories.
const BESIDE: u64 = 4 * 4096;

/// Only plain names: what else there is leads elsewhere.
fn plain(volume: &Volume, path: &str) -> Result<PathBuf, VolumeError> {
    let only_names = Path::new(path)
        .components()
        .all(|c| matches!(c, Component::Normal(_)));
    if path.is_empty() || !only_names || path.contains('\0') {
        return Err(VolumeError::Outside {
            volume: volume.name.clone(),
            path: path.to_owned(),
        });
    }
    Ok(path.into())
}

fn content(volume: &Volume, file: &InlineFile, facts: &Facts<'_>) -> Result<Vec<u8>, VolumeError> {
    match &file.text {
        FileText::Text(text) => Ok(text.clone().into_bytes()),
        FileText::From(source) => Ok(facts.value(source).into_bytes()),
        FileText::Base64(text) => BASE64
            .decode(text.as_bytes())
            .map_err(|_| VolumeError::Base64 {
                volume: volume.name.clone(),
                path: file.path.clone(),
            }),
    }
}

fn write(dir: &Path, path: &Path, mode: u32, bytes: &[u8], group: Option<u32>) -> io::Result<()> {
    let path = dir.join(path);
    if let Some(above) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(above)?;
    }
    let mut options = fs::OpenOptions::new();
    // Nobody but riklet has written here: what is there already is a path that is given twice,
    // and the last one holds.
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)?;
    file.write_all(bytes)?;
    let mode = match group {
        Some(group) => {
            chown(&path, None, Some(group))?;
            mode | 0o440
        }
        None => mode,
    };
    file.set_permissions(fs::Permissions::from_mode(mode & 0o777))
}

/// Makes the volume at `at`: whole, or not there. What a former boot or try left goes first; who
/// has that mounted keeps it.
pub(super) fn make(
    at: &Path,
    volume: &Volume,
    files: &[InlineFile],
    secret: bool,
    facts: &Facts<'_>,
) -> Result<(), VolumeError> {
    let mut contents = Vec::with_capacity(files.len());
    for file in files {
        contents.push((plain(volume, &file.path)?, content(volume, file, facts)?));
    }
    let mut beside = OsString::from(at);
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let clear = |path: &Path| tree::unmount_below(path).and_then(|()| tree::remove(path));
    clear(&beside)
        .and_then(|()| clear(at))
        .and_then(|()| fs::create_dir(if secret { at } else { &beside }))
        .map_err(failed("make", volume))?;
    let dir = match secret {
        true => at,
        false => &beside,
    };
    if secret {
        let size: u64 = contents.iter().map(|(_, c)| c.len() as u64 + BESIDE).sum();
        mount_tmpfs(at, Some(size.max(LEAST_ROOM))).map_err(failed("mount", volume))?;
    }
    let security = &facts.workload.security;
    for (file, (path, bytes)) in files.iter().zip(&contents) {
        write(dir, path, file.mode, bytes, security.fs_group).map_err(failed("write", volume))?;
    }
    set_owner(dir, 0o755, security)
        .and_then(|()| match secret {
            true => Ok(()),
            false => fs::rename(dir, at),
        })
        .map_err(failed("make", volume))
}
