//! The limits of an incarnation as a whole, on the cgroup that its containers' lie below.
//!
//! The runtime limits each container; what their sum may use is for riklet to say, before the
//! first of them is made.

use std::{fs, io, path::Path};

use super::{CgroupError, Cgroups, io_error};
use crate::runtime::bundle::limits::{PERIOD_US, PodLimits, quota};

/// cgroup2's weight for v1's shares, as the runtime converts it.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

fn write(dir: &Path, file: &str, value: &str) -> Result<(), CgroupError> {
    let path = dir.join(file);
    fs::write(&path, value).map_err(|e| io_error("write", &path, e))
}

impl Cgroups {
    /// Makes `rel` in the hierarchies of processors and memory, and gives it these limits. One
    /// that is there has them anew.
    ///
    /// # Errors
    /// The kernel refused it.
    pub fn limit(&self, rel: &str, limits: &PodLimits) -> Result<(), CgroupError> {
        let made = |mount: &Path| {
            let dir = self.dir(mount, rel);
            fs::create_dir_all(&dir)
                .map_err(|e| io_error("create cgroup", &dir, e))
                .map(|()| dir)
        };
        let layout = &self.0.layout;
        if let Some(mount) = layout.v1_with("cpu") {
            let dir = made(mount)?;
            write(&dir, "cpu.shares", &limits.shares.to_string())?;
            if let Some(milli) = limits.cpu_milli {
                write(&dir, "cpu.cfs_period_us", &PERIOD_US.to_string())?;
                write(&dir, "cpu.cfs_quota_us", &quota(milli).to_string())?;
            }
        }
        if let (Some(mount), Some(bytes)) = (layout.v1_with("memory"), limits.memory) {
            let dir = made(mount)?;
            write(&dir, "memory.limit_in_bytes", &bytes.to_string())?;
        }
        match (layout.v1_with("cpu"), layout.v1_with("memory"), &layout.v2) {
            (None, None, Some(mount)) => self.limit_v2(mount, rel, limits),
            _ => Ok(()),
        }
    }

    fn limit_v2(&self, mount: &Path, rel: &str, limits: &PodLimits) -> Result<(), CgroupError> {
        let dir = self.dir(mount, rel);
        fs::create_dir_all(&dir).map_err(|e| io_error("create cgroup", &dir, e))?;
        // From the root down: a cgroup has the controllers that its parent gives away. The
        // runtime does the same for a container's.
        let above: Vec<&Path> = dir.ancestors().skip(1).collect();
        for parent in above.into_iter().rev().filter(|p| p.starts_with(mount)) {
            for controller in ["+cpu", "+memory"] {
                match fs::write(parent.join("cgroup.subtree_control"), controller) {
                    // A controller that this kernel hasn't: then its files aren't there either.
                    Err(e) if e.kind() == io::ErrorKind::InvalidInput => {}
                    done => done.map_err(|e| io_error("give controllers to", parent, e))?,
                }
            }
        }
        write(&dir, "cpu.weight", &weight(limits.shares).to_string())?;
        if let Some(milli) = limits.cpu_milli {
            write(&dir, "cpu.max", &format!("{} {PERIOD_US}", quota(milli)))?;
        }
        match limits.memory {
            Some(bytes) => write(&dir, "memory.max", &bytes.to_string()),
            None => Ok(()),
        }
    }

    /// Does the kernel count swap with memory? Where it doesn't, a limit of it can't be set.
    #[must_use]
    pub fn counts_swap(&self) -> bool {
        match (self.0.layout.v1_with("memory"), &self.0.layout.v2) {
            (Some(mount), _) => mount.join("memory.memsw.limit_in_bytes").exists(),
            // The root has no such file.
            (None, Some(mount)) => self.dir(mount, "").join("memory.swap.max").exists(),
            (None, None) => false,
        }
    }
}

#[cfg(test)]
mod tests;
