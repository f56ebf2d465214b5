//! Is this change worth sending? Pure.
//!
//! Compared is always with what was *sent* last, never with the last sample, so that a slow drift
//! is told in the end. A value moves by its threshold: processors by 5 points, memory and disks by
//! 1 % (of the total or limit; of the value that was sent, where there is none). What counts in
//! steps (processes, restarts, which disks and containers there are) is told at every change.

use super::{
    instance::{ContainerSample, InstanceSample},
    node::{NodeDisk, NodeSample},
};

/// A move of processor time that is worth telling, in points (100 = one processor, or all of the
/// node's).
pub const CPU_POINTS: f64 = 5.0;

/// A move of memory or disk that is worth telling, in percent.
pub const SPACE_PERCENT: u64 = 1;

/// Has the node changed enough since `sent`?
#[must_use]
pub fn node(sent: &NodeSample, now: &NodeSample) -> bool {
    let memory = (sent.memory, now.memory);
    sent.cpu.total != now.cpu.total
        || points(f64::from(sent.cpu.free), f64::from(now.cpu.free))
        || memory.0.total != memory.1.total
        || space(memory.0.free, memory.1.free, memory.1.total)
        || !pairwise(&sent.disks, &now.disks, disk)
}

/// Has an instance changed enough since `sent`?
#[must_use]
pub fn instance(sent: &InstanceSample, now: &InstanceSample) -> bool {
    !pairwise(&sent.containers, &now.containers, container)
}

/// Both of one length, and no pair that differs.
fn pairwise<T>(sent: &[T], now: &[T], differs: impl Fn(&T, &T) -> bool) -> bool {
    sent.len() == now.len() && sent.iter().zip(now).all(|(sent, now)| !differs(sent, now))
}

fn disk(sent: &NodeDisk, now: &NodeDisk) -> bool {
    (&sent.disk_name, sent.total) != (&now.disk_name, now.total)
        || space(sent.free, now.free, now.total)
}

fn container(sent: &ContainerSample, now: &ContainerSample) -> bool {
    let cpu = match (sent.cpu.percent, now.cpu.percent) {
        (Some(sent), Some(now)) => points(sent, now),
        (None, Some(_)) => true,
        (_, None) => false, // Nothing is known now: that is no news.
    };
    let counters = |c: &ContainerSample| (c.restarts, c.pids, c.memory.limit);
    cpu || sent.name != now.name
        || counters(sent) != counters(now)
        || grown(sent.memory.usage, now.memory.usage, now.memory.limit)
        || grown(
            sent.memory.working_set,
            now.memory.working_set,
            now.memory.limit,
        )
        || grown(sent.io.read, now.io.read, None)
        || grown(sent.io.write, now.io.write, None)
}

fn points(sent: f64, now: f64) -> bool {
    (sent - now).abs() > CPU_POINTS
}

/// Moved by more than its percent of `whole`.
fn space(sent: u64, now: u64, whole: u64) -> bool {
    // In u128: 1 % of a number of bytes must not be rounded, nor overflow.
    u128::from(sent.abs_diff(now)) * 100 > u128::from(whole) * u128::from(SPACE_PERCENT)
}

fn grown(sent: u64, now: u64, limit: Option<u64>) -> bool {
    space(sent, now, limit.unwrap_or(sent))
}

#[cfg(test)]
mod tests;
