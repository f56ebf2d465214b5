//! Leaving nothing: of an attempt, of an incarnation.
//!
//! The order is the point. The monitor first, for it (or a create in flight below it) may still
//! move a process into the container's cgroup; then the container's cgroup, until it is empty;
//! then nothing can come back, and records and files go, the exit file last. Each step finds
//! "not there" a success, so a remove that was cut short is done again from the start.

use std::{fs, io, path::Path};

use nix::{
    errno::Errno,
    mount::{MntFlags, umount2},
};

use super::{ImageSource, RealNode, failure, logs};
use crate::{
    model::ids::{ContainerId, Uid},
    node::{Failure, FailureKind},
    runtime::{
        bundle,
        layout::{Layout, container_cgroup, monitor_cgroup, pod_cgroup},
        runc_state::{self, RuncState},
    },
};

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

pub(super) fn remove_directory(path: &Path) -> io::Result<()> {
    gone(fs::remove_dir_all(path))
}

/// Removes the runtime's directory of a container. runc mounts a copy of itself there for a
/// moment (its guard against CVE-2019-5736); one that was killed in it leaves the mount.
fn remove_record(dir: &Path) -> io::Result<()> {
    match remove_directory(dir) {
        Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {}
        done => return done,
    }
    for entry in fs::read_dir(dir)? {
        match umount2(
            &entry?.path(),
            MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW,
        ) {
            // Not a mount: most of them aren't.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(e) => return Err(e.into()),
        }
    }
    remove_directory(dir)
}

/// The exit file, and what its monitor left of it: conmon writes `<name>.XXXXXX` and renames that,
/// so one that was ended in between leaves it for ever. A container's id has no dot.
fn remove_exit_file(layout: &Layout, id: &ContainerId) -> io::Result<()> {
    let begun = format!("{id}.");
    let entries = match fs::read_dir(layout.exits()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(begun.as_bytes())
        {
            remove_name(&entry.path())?;
        }
    }
    remove_name(&layout.exit_file(id))
}

/// Removes a file; also a directory that damage has put in its place, or it could never be left.
fn remove_name(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::IsADirectory => remove_directory(path),
        done => gone(done),
    }
}

impl<I: ImageSource> RealNode<I> {
    /// Ends monitor and container, and waits until both cgroups are empty.
    pub(super) async fn end(&self, id: &ContainerId) -> Result<(), Failure> {
        for cgroup in [monitor_cgroup(id), container_cgroup(id)] {
            // Looking first costs a read; a kill takes the kernel's cgroup lock.
            if self.cgroups().populated(&cgroup) {
                self.cgroups()
                    .kill_and_wait(&cgroup, self.0.deadlines.kill)
                    .await
                    .map_err(|e| failure::of_cgroup(&format!("end {id}"), e))?;
            }
        }
        Ok(())
    }

    pub(super) async fn remove_container(&self, id: &ContainerId) -> Result<(), Failure> {
        let turn = self.turn(id).await?;
        self.end(id).await?;
        let hung = self.forget(id).await?;
        let of = id.clone();
        let tried = format!("remove what is left of {id}");
        self.off_thread(&tried.clone(), move |node| {
            let _turn = turn;
            let (layout, cgroups) = (node.layout(), node.cgroups());
            for cgroup in [monitor_cgroup(&of), container_cgroup(&of)] {
                cgroups
                    .remove(&cgroup)
                    .map_err(|e| failure::of_cgroup(&tried, e))?;
            }
            bundle::remove(layout, &of).map_err(|e| failure::of_bundle(&of, e))?;
            remove_directory(&layout.persist(&of))
                .and_then(|()| logs::remove_earlier(layout, &of))
                .and_then(|()| remove_exit_file(layout, &of))
                .map_err(|e| failure::of_io(tried, e))
        })
        .await?;
        self.forget_attempt(id);
        // Nothing is left, and the next remove succeeds at once; but that the runtime hangs, or
        // isn't there, must be seen.
        hung.map_or(Ok(()), Err)
    }

    /// Has the runtime forget a container of which nothing lives. What it returns went wrong and
    /// was made up for by hand, but says something of the node.
    async fn forget(&self, id: &ContainerId) -> Result<Option<Failure>, Failure> {
        let dir = self.layout().runc_dir(id);
        let tried = || format!("have the runtime forget {id}");
        let mut hung = None;
        match runc_state::read(&dir) {
            Ok(RuncState::Absent) => return Ok(None),
            Ok(RuncState::Known { .. }) => {
                // 12 ms; `--force` would take 108.
                if let Err(error) = self.0.runc.delete(id).await {
                    tracing::debug!(container = %id, %error, "the runtime won't delete; its record goes by hand");
                    let failure = failure::of_runc(tried(), error);
                    let of_node = [FailureKind::Hung, FailureKind::ProgramMissing];
                    hung = of_node.contains(&failure.kind).then_some(failure);
                }
            }
            // It couldn't be read by the runtime either.
            Ok(RuncState::Broken) | Err(_) => {}
        }
        // All its processes are gone, so what is left is a directory.
        remove_record(&dir).map_err(|e| failure::of_io(tried(), e))?;
        Ok(hung)
    }

    pub(super) async fn remove_all(&self, uid: &Uid) -> Result<(), Failure> {
        let of = uid.clone();
        let tried = format!("remove the sandbox of {uid}");
        let look = move |node: &Self| node.attempts(Some(&of));
        let found = self.off_thread(&tried, look).await?;
        for id in found.into_values().flatten() {
            self.remove_container(&id).await?;
        }
        self.cgroups()
            .clear(&pod_cgroup(uid), self.0.deadlines.kill)
            .await
            .map_err(|e| failure::of_cgroup(&tried, e))?;
        self.unmake_sandbox(uid).await
    }
}

#[cfg(test)]
mod tests;
