//! What a definition may ask of the node and of its own incarnation.
//!
//! Why: `fieldRef` and `resourceFieldRef` are known only when a container is made. Owns: their
//! values. In: the node, the incarnation, its addresses. Out: text. Must never happen here: a
//! secret (there is none among them).

use std::{
    net::{IpAddr, UdpSocket},
    path::PathBuf,
};

use super::bundle::confinement::own_bounds;
use crate::model::{
    ids::Uid,
    spec::{EnvSource, Resource, WorkloadSpec},
};

/// What is the same for everything on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: Option<IpAddr>,
    /// All its cores, in thousandths of one.
    pub cpu_milli: u64,
    /// All its memory in bytes.
    pub memory: u64,
    /// The least oom score that its containers can be given: lowering it takes a right
    /// (CAP_SYS_RESOURCE) that the daemon may lack.
    pub least_oom_score: i32,
    /// Paths of the node below which containers may have put links, for somebody may mount only
    /// those: what is mounted from below one of them never leads out of it.
    pub guarded: Vec<PathBuf>,
}

impl NodeFacts {
    /// Those of this node.
    #[must_use]
    pub fn of_this_node(name: &str, guarded: Vec<PathBuf>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        Self {
            name: name.to_owned(),
            address: outward_address(),
            cpu_milli: cores * 1000,
            memory: total_memory().unwrap_or(0),
            least_oom_score: least_oom_score(),
            guarded,
        }
    }
}

/// The address that this node has towards the world. The target is one that nobody has (RFC
/// 5737), and nothing is sent: a UDP socket that is connected only chooses its route.
fn outward_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}

fn least_oom_score() -> i32 {
    const SYS_RESOURCE: u64 = 1 << 24;
    if own_bounds() & SYS_RESOURCE != 0 {
        return -1000;
    }
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    own.trim().parse().unwrap_or(0)
}

fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// What a container or a volume of one incarnation is made of.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The node.
    pub node: &'a NodeFacts,
    /// The instance's id, as text.
    pub instance: &'a str,
    /// The incarnation.
    pub uid: &'a Uid,
    /// The definition's model.
    pub workload: &'a WorkloadSpec,
    /// The sandbox's addresses.
    pub addresses: &'a [IpAddr],
}

impl Facts<'_> {
    /// The value that `source` names; what isn't there is empty.
    #[must_use]
    pub fn value(&self, source: &EnvSource) -> String {
        let text = |address: Option<IpAddr>| address.map_or_else(String::new, |a| a.to_string());
        match source {
            // Of `web@cli`, `web`.
            EnvSource::Name => self.instance.split('@').next().unwrap_or("").to_owned(),
            EnvSource::Uid => self.uid.to_string(),
            EnvSource::NodeName => self.node.name.clone(),
            EnvSource::HostIp => text(self.node.address),
            EnvSource::PodIp if self.workload.host_network => text(self.node.address),
            EnvSource::PodIp => text(self.addresses.first().copied()),
            EnvSource::Resource {
                container,
                resource,
                limit,
                divisor,
            } => {
                let amount = self.amount(usize::from(*container), *resource, *limit);
                amount.div_ceil((*divisor).max(1)).to_string()
            }
        }
    }

    fn amount(&self, container: usize, resource: Resource, limit: bool) -> u64 {
        let container = self.workload.containers.get(container);
        let resources = container.map(|c| c.resources).unwrap_or_default();
        let (amounts, none) = match limit {
            true => (resources.limits, (self.node.cpu_milli, self.node.memory)),
            false => (resources.requests, (0, 0)),
        };
        match resource {
            Resource::Cpu => amounts.cpu_milli.unwrap_or(none.0),
            Resource::Memory => amounts.memory.unwrap_or(none.1),
        }
    }
}

#[cfg(test)]
mod tests;
