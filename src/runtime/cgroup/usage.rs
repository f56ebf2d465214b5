//! What a cgroup has used, from the files of v1 and v2.
//!
//! The parsers are pure and total: a missing or strange file counts as 0 (no limit), because a
//! sample that is short of one number is better than none.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::Layout;

/// v1 says "no limit" with the largest multiple of the page size below 2^63; everything near it
/// is none.
const V1_NO_LIMIT: u64 = 1 << 62;

/// What a cgroup and everything below it has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// CPU time since it was made, in nanoseconds.
    pub cpu_ns: u64,
    /// Memory charged now, page cache included, in bytes.
    pub memory: u64,
    /// `memory` without the inactive page cache: what can't be had back cheaply, in bytes.
    pub working_set: u64,
    /// The memory limit in bytes, if there is one.
    pub memory_limit: Option<u64>,
    /// Processes and threads now.
    pub pids: u64,
    /// Bytes read from block devices. v1 counts only where an IO policy is active, else 0.
    pub io_read: u64,
    /// Bytes written to block devices, as `io_read`.
    pub io_write: u64,
    /// How often the kernel killed something in it for its memory limit.
    pub oom_kills: u64,
}

/// Reads the files of one cgroup; `dir` maps a hierarchy's mount to the cgroup's directory in
/// it. None if no hierarchy has it.
pub(super) fn read(layout: &Layout, dir: impl Fn(&Path) -> PathBuf) -> Option<Usage> {
    let cgroup = Directories { layout, dir: &dir };
    if !layout.mounts().iter().any(|m| dir(m).is_dir()) {
        return None;
    }
    let mut usage = Usage::default();
    cgroup.cpu(&mut usage);
    cgroup.memory(&mut usage);
    usage.oom_kills = cgroup.oom_kills();
    usage.pids = number(&cgroup.file("pids", "pids.current", "pids.current"));
    (usage.io_read, usage.io_write) = cgroup.io();
    Some(usage)
}

/// Only the out-of-memory kills of a cgroup.
pub(super) fn oom_kills(layout: &Layout, dir: impl Fn(&Path) -> PathBuf) -> u64 {
    Directories { layout, dir: &dir }.oom_kills()
}

struct Directories<'a> {
    layout: &'a Layout,
    dir: &'a dyn Fn(&Path) -> PathBuf,
}

impl Directories<'_> {
    /// A controller is in one hierarchy at a time; if a v1 one has it, cgroup2 hasn't.
    fn is_v1(&self, controller: &str) -> bool {
        self.layout.v1_with(controller).is_some()
    }

    fn file(&self, controller: &str, v1: &str, v2: &str) -> String {
        let path = match (self.layout.v1_with(controller), &self.layout.v2) {
            (Some(mount), _) => (self.dir)(mount).join(v1),
            (None, Some(mount)) => (self.dir)(mount).join(v2),
            (None, None) => return String::new(),
        };
        fs::read_to_string(path).unwrap_or_default()
    }

    fn cpu(&self, usage: &mut Usage) {
        let text = self.file("cpuacct", "cpuacct.usage", "cpu.stat");
        usage.cpu_ns = if self.is_v1("cpuacct") {
            number(&text)
        } else {
            keyed(&text, "usage_usec").saturating_mul(1000)
        };
    }

    fn memory(&self, usage: &mut Usage) {
        let current = self.file("memory", "memory.usage_in_bytes", "memory.current");
        let limit = self.file("memory", "memory.limit_in_bytes", "memory.max");
        let stat = self.file("memory", "memory.stat", "memory.stat");
        // v1's plain keys are of the cgroup alone, its usage is of the whole tree.
        let inactive = if self.is_v1("memory") {
            keyed(&stat, "total_inactive_file")
        } else {
            keyed(&stat, "inactive_file")
        };
        usage.memory = number(&current);
        usage.working_set = usage.memory.saturating_sub(inactive);
        usage.memory_limit = limit.trim().parse().ok().filter(|l| *l < V1_NO_LIMIT);
    }

    fn oom_kills(&self) -> u64 {
        let text = self.file("memory", "memory.oom_control", "memory.events");
        keyed(&text, "oom_kill")
    }

    fn io(&self) -> (u64, u64) {
        if !self.is_v1("blkio") {
            return io_v2(&self.file("blkio", "", "io.stat"));
        }
        // Which of the two counts depends on the disk's scheduler; never both.
        let throttle = self.file("blkio", "blkio.throttle.io_service_bytes_recursive", "");
        match io_v1(&throttle) {
            (0, 0) => io_v1(&self.file("blkio", "blkio.bfq.io_service_bytes_recursive", "")),
            counted => counted,
        }
    }
}

/// A file with one number.
fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

/// A file of `key value` lines.
fn keyed(text: &str, key: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(k, _)| *k == key)
        .map_or(0, |(_, value)| number(value))
}

/// `8:0 Read 4096` lines of v1, summed over devices: (read, written).
fn io_v1(text: &str) -> (u64, u64) {
    let mut sums = (0_u64, 0_u64);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(_device), Some(kind), Some(value)) = (words.next(), words.next(), words.next())
        else {
            continue; // The last line is `Total <n>`.
        };
        match kind {
            "Read" => sums.0 = sums.0.saturating_add(number(value)),
            "Write" => sums.1 = sums.1.saturating_add(number(value)),
            _ => {}
        }
    }
    sums
}

/// `8:0 rbytes=1 wbytes=2 …` lines of v2, summed over devices: (read, written).
fn io_v2(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        text.split_whitespace()
            .filter_map(|word| word.split_once('='))
            .filter(|(k, _)| *k == key)
            .fold(0_u64, |sum, (_, v)| sum.saturating_add(number(v)))
    };
    (sum("rbytes"), sum("wbytes"))
}

#[cfg(test)]
mod tests;
