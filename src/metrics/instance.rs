//! What an instance's containers use.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::diff;
use crate::{
    model::ids::ContainerId,
    runtime::cgroup::{Cgroups, Usage, of_container},
};

/// One sample of one container; serialises to what the scheduler is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerSample {
    /// Its name in the definition.
    pub name: String,
    /// Processor time.
    pub cpu: ContainerCpu,
    /// Memory.
    pub memory: ContainerMemory,
    /// Processes and threads.
    pub pids: u64,
    /// Block IO since it started.
    pub io: ContainerIo,
    /// How often it was restarted.
    pub restarts: u32,
}

/// Processor time of a container.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ContainerCpu {
    /// Since it started, in nanoseconds.
    pub usage_ns: u64,
    /// Between the last two samples, 100 = one processor; `null` at its first sample.
    pub percent: Option<f64>,
}

/// Memory of a container, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerMemory {
    /// All that is charged to it.
    pub usage: u64,
    /// Without the page cache that can be dropped.
    pub working_set: u64,
    /// Its limit; `null` without one.
    pub limit: Option<u64>,
}

/// Block IO of a container, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerIo {
    /// Read.
    pub read: u64,
    /// Written.
    pub write: u64,
}

/// One sample of an instance.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InstanceSample {
    /// Its containers that could be measured, in the definition's order.
    pub containers: Vec<ContainerSample>,
}

impl InstanceSample {
    /// Restarts of all its containers.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        let add = |sum: u32, c: &ContainerSample| sum.saturating_add(c.restarts);
        self.containers.iter().fold(0, add)
    }

    /// One JSON object a container.
    #[must_use]
    pub fn json(&self) -> Vec<Value> {
        let value = |c| serde_json::to_value(c).unwrap_or(Value::Null);
        self.containers.iter().map(value).collect()
    }

    /// Has a value moved by more than its threshold since `sent`?
    #[must_use]
    pub fn worth_sending(&self, sent: &Self) -> bool {
        diff::instance(sent, self)
    }
}

/// A container to be measured.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its current attempt.
    pub id: &'a ContainerId,
    /// Its name in the definition.
    pub name: &'a str,
    /// How often it was restarted.
    pub restarts: u32,
}

/// Takes samples of containers and remembers the last of each, for the percentage. Keep one.
#[derive(Debug)]
pub struct InstanceSampler {
    cgroups: Cgroups,
    last: BTreeMap<ContainerId, Look>,
}

/// Processor time at a moment.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Duration,
    cpu_ns: u64,
    percent: Option<f64>,
}

/// Below this a difference of CPU times says more about the clock than about the container.
const SHORTEST_WINDOW: Duration = Duration::from_millis(100);

impl InstanceSampler {
    /// Nothing measured yet.
    #[must_use]
    pub fn new(cgroups: Cgroups) -> Self {
        Self {
            cgroups,
            last: BTreeMap::new(),
        }
    }

    /// Measures an instance's containers; one whose cgroup is gone is left out. `at` is a
    /// monotonic time, of any origin. About 10 small files a container: call it on a blocking
    /// thread.
    pub fn sample<'a>(
        &mut self,
        containers: impl IntoIterator<Item = Subject<'a>>,
        at: Duration,
    ) -> InstanceSample {
        let containers = containers
            .into_iter()
            .filter_map(|subject| {
                let usage = self.cgroups.usage(&of_container(subject.id))?;
                let look = Look::next(self.last.get(subject.id), usage.cpu_ns, at);
                self.last.insert(subject.id.clone(), look);
                Some(container(subject, &usage, look.percent))
            })
            .collect();
        InstanceSample { containers }
    }

    /// Forgets every container that `keep` doesn't want: ended attempts are never asked for
    /// again.
    pub fn retain(&mut self, mut keep: impl FnMut(&ContainerId) -> bool) {
        self.last.retain(|id, _| keep(id));
    }
}

impl Look {
    /// The look after `last`. Within the shortest window the last percentage stands, and its
    /// window goes on.
    fn next(last: Option<&Self>, cpu_ns: u64, at: Duration) -> Self {
        let first = Self {
            at,
            cpu_ns,
            percent: None,
        };
        let Some(last) = last else {
            return first;
        };
        let window = at.saturating_sub(last.at);
        if window < SHORTEST_WINDOW {
            return *last;
        }
        // A counter that goes back is another cgroup of the same name: begin anew.
        cpu_ns.checked_sub(last.cpu_ns).map_or(first, |used| {
            let share = Duration::from_nanos(used).div_duration_f64(window);
            Self {
                percent: Some((share * 10_000.0).round() / 100.0),
                ..first
            }
        })
    }
}

fn container(subject: Subject<'_>, usage: &Usage, percent: Option<f64>) -> ContainerSample {
    ContainerSample {
        name: subject.name.to_owned(),
        cpu: ContainerCpu {
            usage_ns: usage.cpu_ns,
            percent,
        },
        memory: ContainerMemory {
            usage: usage.memory,
            working_set: usage.working_set,
            limit: usage.memory_limit,
        },
        pids: usage.pids,
        io: ContainerIo {
            read: usage.io_read,
            write: usage.io_write,
        },
        restarts: subject.restarts,
    }
}

#[cfg(test)]
mod tests;
