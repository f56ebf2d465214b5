//! Does the node have what a workload asks for? Pure.
//!
//! Owns: what counts as taken: requests and host ports of every instance that runs or is to run,
//! as kubelet counts them. In: the fold, the node's capacity. Out: each thing that isn't left,
//! with who has it. Must never happen here: a promise about what processes really use; limits are
//! the kernel's to hold.

use std::net::IpAddr;

use crate::model::{
    fold::{Desired, Fold, InstanceRecord},
    ids::InstanceId,
    spec::{Role, WorkloadSpec},
    state::Reason,
};

use super::policy::paths;

/// What the node has for instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// In thousandths of a core.
    pub cpu_milli: u64,
    /// In bytes.
    pub memory: u64,
}

impl Default for Capacity {
    /// Without end.
    fn default() -> Self {
        Self {
            cpu_milli: u64::MAX,
            memory: u64::MAX,
        }
    }
}

/// How many holders are named where something isn't left.
const NAMED: usize = 3;

/// Everything that isn't left for `spec` as `instance`, whose former self doesn't count.
pub(super) fn lacking(
    fold: &Fold,
    instance: &InstanceId,
    spec: &WorkloadSpec,
    capacity: Capacity,
) -> Vec<(Reason, String)> {
    let holders: Vec<_> = holders(fold).filter(|(id, _)| *id != instance).collect();
    let former = fold.by_instance(instance).and_then(|r| r.spec.as_deref());
    let mut faults = port_conflicts(&holders, spec);
    let memory = |spec: &WorkloadSpec| needs(spec, |amounts| amounts.memory);
    let cpu = |spec: &WorkloadSpec| needs(spec, |amounts| amounts.cpu_milli);
    let memory = Share {
        reason: Reason::InsufficientMemory,
        what: "memory",
        of: &memory,
        all: capacity.memory,
        text: &size,
    };
    let cpu = Share {
        reason: Reason::InsufficientCPU,
        what: "cpu",
        of: &cpu,
        all: capacity.cpu_milli,
        text: &|milli| format!("{milli}m"),
    };
    for share in [memory, cpu] {
        faults.extend(share.lacking(&holders, former, spec));
    }
    faults
}

type Holder<'a> = (&'a InstanceId, &'a WorkloadSpec);

/// Whoever has a share of the node: instances that run or are to, and creates that wait for their
/// id. What is on its way out, and what has ended for good, has none.
fn holders(fold: &Fold) -> impl Iterator<Item = Holder<'_>> {
    let live = fold.instances.values();
    let running = live.clone().filter(|r| holds(r));
    let running = running.filter_map(|r| Some((&r.instance, r.spec.as_deref()?)));
    let queued = live.filter_map(|r| Some((&r.instance, &*r.queued.as_ref()?.spec)));
    let waiting = fold.waiting().map(|(id, queued)| (id, &*queued.spec));
    running.chain(queued).chain(waiting)
}

fn holds(record: &InstanceRecord) -> bool {
    let wanted = record.desired == Desired::Run && record.refusal.is_none();
    wanted && !record.is_spent()
}

/// What a workload's containers are promised together: what runs at once, or more if an init
/// container needs that while it runs alone (Kubernetes' rule).
fn needs(spec: &WorkloadSpec, amount: impl Fn(&crate::model::spec::Amounts) -> Option<u64>) -> u64 {
    let (mut sidecars, mut beginning) = (0_u64, 0_u64);
    for (_, container) in spec.init() {
        let own = amount(&container.resources.requests).unwrap_or(0);
        if container.role == Role::Sidecar {
            sidecars = sidecars.saturating_add(own);
            beginning = beginning.max(sidecars);
        } else {
            beginning = beginning.max(sidecars.saturating_add(own));
        }
    }
    let main = spec
        .main()
        .filter_map(|(_, c)| amount(&c.resources.requests));
    main.fold(sidecars, u64::saturating_add).max(beginning)
}

/// Something that is shared out by amounts.
struct Share<'a> {
    reason: Reason,
    what: &'a str,
    of: &'a dyn Fn(&WorkloadSpec) -> u64,
    all: u64,
    text: &'a dyn Fn(u64) -> String,
}

impl Share<'_> {
    fn lacking(
        &self,
        holders: &[Holder<'_>],
        former: Option<&WorkloadSpec>,
        spec: &WorkloadSpec,
    ) -> Option<(Reason, String)> {
        let wanted = (self.of)(spec);
        // What it has it may keep, also where the node has become smaller since.
        if wanted == 0 || former.is_some_and(|former| wanted <= (self.of)(former)) {
            return None;
        }
        let mut taken: Vec<_> = holders
            .iter()
            .map(|(id, spec)| ((self.of)(spec), *id))
            .filter(|(amount, _)| *amount > 0)
            .collect();
        let sum = taken
            .iter()
            .fold(0_u64, |sum, (n, _)| sum.saturating_add(*n));
        let left = self.all.saturating_sub(sum);
        if wanted <= left {
            return None;
        }
        taken.sort_by(|a, b| b.cmp(a));
        let text = self.text;
        let named = taken.iter().take(NAMED);
        let mut who: Vec<_> = named
            .map(|(n, id)| format!("{id} has {}", text(*n)))
            .collect();
        if let more @ 1.. = taken.len().saturating_sub(NAMED) {
            who.push(format!("{more} more have the rest"));
        }
        let who = match who.is_empty() {
            true => "nobody has any".to_owned(),
            false => who.join(", "),
        };
        let message = format!(
            "it requests {} of {}, of {} for instances {} is left: {who}",
            text(wanted),
            self.what,
            text(self.all),
            text(left),
        );
        Some((self.reason, message))
    }
}

/// A port of the node.
struct Listen<'a> {
    path: String,
    port: u16,
    protocol: &'a str,
    at: Option<IpAddr>,
}

impl Listen<'_> {
    fn meets(&self, other: &Listen<'_>) -> bool {
        let everywhere = |at: Option<IpAddr>| at.is_none_or(|at| at.is_unspecified());
        self.port == other.port
            && self.protocol == other.protocol
            && (everywhere(self.at) || everywhere(other.at) || self.at == other.at)
    }
}

/// The ports of the node that a workload takes: its host ports, and on the node's own network
/// every port that it says it has.
fn ports(spec: &WorkloadSpec) -> Vec<Listen<'_>> {
    let of_container = |(path, container)| {
        let container: &crate::model::spec::ContainerSpec = container;
        let numbered = container.ports.iter().enumerate();
        let listen = numbered.map(move |(n, port)| Listen {
            path: format!("{path}.ports[{n}]"),
            port: match port.host {
                0 if spec.host_network => port.container,
                port => port,
            },
            protocol: port.protocol.as_str(),
            at: port.host_ip,
        });
        listen.filter(|listen| listen.port != 0).collect::<Vec<_>>()
    };
    paths(spec).flat_map(of_container).collect()
}

fn port_conflicts(holders: &[Holder<'_>], spec: &WorkloadSpec) -> Vec<(Reason, String)> {
    let wanted = ports(spec);
    if wanted.is_empty() {
        return Vec::new();
    }
    let held: Vec<_> = holders
        .iter()
        .flat_map(|(id, spec)| ports(spec).into_iter().map(move |port| (id, port)))
        .collect();
    let conflict = |port: &Listen<'_>| {
        let (id, _) = held.iter().find(|(_, held)| held.meets(port))?;
        let message = format!(
            "{}: the node's port {}/{} is taken by {id}: choose another, or delete that one",
            port.path, port.port, port.protocol
        );
        Some((Reason::PortConflict, message))
    };
    wanted.iter().filter_map(conflict).collect()
}

fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    let unit = UNITS.iter().find(|(unit, _)| bytes >= *unit);
    match unit {
        None => format!("{bytes} bytes"),
        Some((unit, name)) if bytes.is_multiple_of(*unit) => format!("{} {name}", bytes / unit),
        Some((unit, name)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(*unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests;
