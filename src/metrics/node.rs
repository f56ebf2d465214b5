//! What the node has and has left.
//!
//! CPU and memory come from sysinfo, of which one `System` is kept: CPU usage is a difference
//! between two looks, and the first look shows nothing but the average since boot. Disks are read
//! from mountinfo and statvfs instead of sysinfo: that lists (and asks) every overlay mount, one a
//! container, every bind mount again, and FUSE mounts that may hang.

use std::{
    fs, io,
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::sys::statvfs::statvfs;
use serde::{Deserialize, Serialize};
use sysinfo::{MINIMUM_CPU_UPDATE_INTERVAL, System};

use super::diff;

/// One sample of the node; serialises to exactly what RIK's scheduler reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeSample {
    /// Processors.
    pub cpu: NodeCpu,
    /// Main memory.
    pub memory: NodeMemory,
    /// Each real disk (or partition) once, by name.
    pub disks: Vec<NodeDisk>,
}

/// The node's processors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NodeCpu {
    /// How many.
    pub total: usize,
    /// How idle they were since the last sample, all together: 0 to 100 percent.
    pub free: f32,
}

/// The node's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeMemory {
    /// In bytes.
    pub total: u64,
    /// What can be had without swapping, in bytes: page cache that can be dropped counts as free.
    pub free: u64,
}

/// One disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDisk {
    /// The device, `/dev/nvme0n1p3`.
    pub disk_name: String,
    /// Size of its file system in bytes.
    pub total: u64,
    /// What others than root may still use of it, in bytes.
    pub free: u64,
}

impl NodeSample {
    /// As it is sent.
    #[must_use]
    pub fn json(&self) -> String {
        // Plain numbers and strings: nothing of it can fail to serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Has a value moved by more than its threshold since `sent`?
    #[must_use]
    pub fn worth_sending(&self, sent: &Self) -> bool {
        diff::node(sent, self)
    }
}

/// Takes samples of the node. Keep one.
#[derive(Debug)]
pub struct NodeSampler {
    system: System,
    looked: Instant,
}

/// Why the node can't be measured.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// sysinfo doesn't know this system.
    #[error("measure processors and memory: {0}")]
    System(String),
    /// mountinfo can't be read.
    #[error("list the node's disks from /proc/self/mountinfo")]
    Disks(#[source] io::Error),
}

impl NodeSampler {
    /// A sampler that has had its first, meaningless look at the processors.
    ///
    /// # Errors
    /// The system isn't one that sysinfo can measure.
    pub fn new() -> Result<Self, SampleError> {
        let mut system = System::new().map_err(|e| SampleError::System(e.to_string()))?;
        system.refresh_cpu_usage();
        Ok(Self {
            system,
            looked: Instant::now(),
        })
    }

    /// How long after [`NodeSampler::new`], and after a sample, the next can be taken.
    #[must_use]
    pub fn shortest_window() -> Duration {
        MINIMUM_CPU_UPDATE_INTERVAL
    }

    /// A sample over the time since the last one; none if that was less than
    /// [`NodeSampler::shortest_window`] ago. It blocks for about 0.1 ms, longer on a sick disk:
    /// call it on a blocking thread.
    ///
    /// # Errors
    /// The disks can't be listed. A single disk that can't be asked is left out.
    pub fn sample(&mut self) -> Result<Option<NodeSample>, SampleError> {
        if self.looked.elapsed() < MINIMUM_CPU_UPDATE_INTERVAL {
            return Ok(None);
        }
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").map_err(SampleError::Disks)?;
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        self.looked = Instant::now();
        Ok(Some(NodeSample {
            cpu: NodeCpu {
                total: self.system.cpus().len(),
                free: (100.0 - self.system.global_cpu_usage()).clamp(0.0, 100.0),
            },
            memory: NodeMemory {
                total: self.system.total_memory(),
                free: self.system.available_memory(),
            },
            disks: real_disks(&mountinfo)
                .into_iter()
                .filter_map(measure)
                .collect(),
        }))
    }
}

/// The node's processors, in thousandths of one, and its memory in bytes; none where they can't be
/// measured.
#[must_use]
pub fn capacity() -> Option<(u64, u64)> {
    let mut system = System::new().ok()?;
    system.refresh_memory();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = system.total_memory();
    Some((u64::try_from(cores).ok()? * 1_000, memory)).filter(|_| memory > 0)
}

/// A disk and a place where it is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Disk {
    name: String,
    mount: PathBuf,
}

/// The disks of a mountinfo, each once, sorted by name: what is mounted from `/dev`, except loop
/// devices (files on another disk) and read-only media.
fn real_disks(mountinfo: &str) -> Vec<Disk> {
    let mut disks: Vec<(String, Disk)> = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let mut before = before.split(' ').skip(2);
        let (Some(device), Some(_root), Some(mount)) =
            (before.next(), before.next(), before.next())
        else {
            continue;
        };
        let mut after = after.split(' ');
        let (kind, source) = (after.next().unwrap_or(""), after.next().unwrap_or(""));
        let real = source.starts_with("/dev/")
            && !source.starts_with("/dev/loop")
            && !matches!(kind, "squashfs" | "iso9660" | "erofs" | "devtmpfs")
            && !kind.starts_with("fuse");
        // Bind mounts repeat the device number; btrfs gives each subvolume one of its own, but
        // the same source.
        let known = disks
            .iter()
            .any(|(number, disk)| number == device || disk.name == source);
        if real && !known {
            let disk = Disk {
                name: source.to_owned(),
                mount: crate::runtime::cgroup::layout::unescape(mount),
            };
            disks.push((device.to_owned(), disk));
        }
    }
    let mut disks: Vec<Disk> = disks.into_iter().map(|(_, disk)| disk).collect();
    disks.sort_by(|a, b| a.name.cmp(&b.name));
    disks
}

fn measure(disk: Disk) -> Option<NodeDisk> {
    let stat = statvfs(&disk.mount).ok()?;
    let unit = stat.fragment_size();
    Some(NodeDisk {
        disk_name: disk.name,
        total: stat.blocks().saturating_mul(unit),
        free: stat.blocks_available().saturating_mul(unit),
    })
}

#[cfg(test)]
mod tests;
