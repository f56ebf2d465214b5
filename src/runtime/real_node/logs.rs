//! The logs of containers that are gone: the last of each container stays, the others go.
//!
//! Why: a container that ends ever again would leave a file for each of its attempts, and a node
//! that lives for years a directory for each instance it ever had.

use std::{fs, io};

use super::{ImageSource, RealNode};
use crate::{
    model::ids::{ContainerId, Uid},
    runtime::layout::{Layout, parse_log},
};

/// Removes the logs of the attempts before this one, rotated parts too; its own stay, for they
/// are what `logs -p` shows once a later attempt runs.
pub(super) fn remove_earlier(layout: &Layout, id: &ContainerId) -> io::Result<()> {
    let entries = match fs::read_dir(layout.logs(&id.uid)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let of = name.to_str().and_then(parse_log);
        if of.is_some_and(|(n, attempt, _)| n == id.n && attempt < id.attempt) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl<I: ImageSource> RealNode<I> {
    /// Incarnations of which there are logs.
    ///
    /// # Errors
    /// The directory can't be read.
    pub fn logged(&self) -> io::Result<Vec<Uid>> {
        let mut uids = Vec::new();
        for entry in fs::read_dir(self.layout().all_logs())? {
            let name = entry?.file_name();
            // What has another name was not made here.
            uids.extend(name.to_str().and_then(|name| name.parse::<Uid>().ok()));
        }
        Ok(uids)
    }

    /// Removes the logs of an incarnation of which nothing is known any more.
    ///
    /// # Errors
    /// They can't be removed; the rest goes next time.
    pub fn remove_logs(&self, uid: &Uid) -> io::Result<()> {
        match fs::remove_dir_all(self.layout().logs(uid)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

#[cfg(test)]
mod tests;
