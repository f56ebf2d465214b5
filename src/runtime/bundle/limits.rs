//! What a container may use, in the kernel's terms.
//!
//! Owns: Kubernetes' arithmetic of shares, quotas and oom scores. In: the definition's model, the
//! node's memory. Out: plain values for config.json and the incarnation's cgroup. Must never
//! happen here: IO.

use oci_spec::runtime::{LinuxCpu, LinuxMemory};

use crate::model::spec::{Amounts, ContainerSpec, Resources, Role, WorkloadSpec};

/// The length of the period that a quota is of, in microseconds.
pub const PERIOD_US: u64 = 100_000;

/// The kernel's least quota, in microseconds.
const LEAST_QUOTA_US: u64 = 1000;

/// The kernel's bounds of shares; the least also for what asks for nothing.
const SHARES: (u64, u64) = (2, 262_144);

/// The oom score of what has all it may use kept for it: the kernel's last choice among
/// containers, and yet before the daemon (-999) and its monitors (-1000).
pub const GUARANTEED: i32 = -997;

/// The oom score of what asks for nothing: the kernel's first choice.
pub const BEST_EFFORT: i32 = 1000;

/// Shares of the processors for a request.
#[must_use]
pub fn shares(cpu_milli: Option<u64>) -> u64 {
    let wished = cpu_milli.unwrap_or(0).saturating_mul(1024) / 1000;
    wished.clamp(SHARES.0, SHARES.1)
}

/// Microseconds of processors in each period for a limit.
#[must_use]
pub fn quota(cpu_milli: u64) -> u64 {
    (cpu_milli.saturating_mul(PERIOD_US) / 1000).clamp(LEAST_QUOTA_US, i64::MAX as u64)
}

/// How much an incarnation weighs and may use as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PodLimits {
    /// Shares of the processors.
    pub shares: u64,
    /// The most of the processors in thousandths of one, if each container has a limit.
    pub cpu_milli: Option<u64>,
    /// The most memory in bytes, if each container has a limit.
    pub memory: Option<u64>,
}

/// What all containers may need at once, by one measure; none if one of them has none. Main
/// containers and sidecars run together; an init container beside the sidecars before it.
fn together(
    workload: &WorkloadSpec,
    amount: impl Fn(&ContainerSpec) -> Option<u64>,
) -> Option<u64> {
    let (mut sidecars, mut largest) = (0_u64, 0_u64);
    for (_, container) in workload.init() {
        let own = amount(container)?;
        let beside = sidecars.saturating_add(own);
        largest = largest.max(beside);
        if container.role == Role::Sidecar {
            sidecars = beside;
        }
    }
    let mut main = sidecars;
    for (_, container) in workload.main() {
        main = main.saturating_add(amount(container)?);
    }
    Some(main.max(largest))
}

/// The limits of an incarnation as a whole.
#[must_use]
pub fn of_pod(workload: &WorkloadSpec) -> PodLimits {
    let requests = together(workload, |c| {
        Some(c.resources.requests.cpu_milli.unwrap_or(0))
    });
    PodLimits {
        shares: shares(requests),
        cpu_milli: together(workload, |c| c.resources.limits.cpu_milli),
        memory: together(workload, |c| c.resources.limits.memory),
    }
}

/// What the runtime is told of the processors.
#[must_use]
pub fn cpu(resources: &Resources) -> LinuxCpu {
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(Some(shares(resources.requests.cpu_milli)));
    if let Some(limit) = resources.limits.cpu_milli {
        cpu.set_quota(i64::try_from(quota(limit)).ok())
            .set_period(Some(PERIOD_US));
    }
    cpu
}

/// What the runtime is told of memory; nothing without a limit. `swap`: the kernel counts swap,
/// and then what may be used of both is no more than the limit.
#[must_use]
pub fn memory(resources: &Resources, swap: bool) -> Option<LinuxMemory> {
    let limit = i64::try_from(resources.limits.memory?).unwrap_or(i64::MAX);
    let mut memory = LinuxMemory::default();
    memory
        .set_limit(Some(limit))
        .set_swap(swap.then_some(limit));
    Some(memory)
}

/// How soon the kernel ends a container when the node runs out of memory (Kubernetes' rule):
/// last, if everything it may use is kept for it; first, if nothing is; else the sooner, the
/// less of the node's memory it has asked for.
#[must_use]
pub fn oom_score_adj(workload: &WorkloadSpec, container: &ContainerSpec, node_memory: u64) -> i32 {
    let none = Amounts::default();
    let full = |c: &ContainerSpec| {
        let Resources { limits, requests } = c.resources;
        limits.cpu_milli.is_some() && limits.memory.is_some() && limits == requests
    };
    let nothing = |c: &ContainerSpec| c.resources.limits == none && c.resources.requests == none;
    if workload.containers.iter().all(full) {
        return GUARANTEED;
    }
    if workload.containers.iter().all(nothing) {
        return BEST_EFFORT;
    }
    let asked = u128::from(container.resources.requests.memory.unwrap_or(0));
    let part = asked * 1000 / u128::from(node_memory.max(1));
    let score = 1000 - i32::try_from(part.min(1000)).unwrap_or(1000);
    score.clamp(1000 + GUARANTEED, BEST_EFFORT - 1)
}

#[cfg(test)]
mod tests;
