//! What the scheduler makes of the statuses that a node sends.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Core, Parcel, Place};
use crate::{
    testing::scheduler::event::Event,
    wire::generated::common::{
        InstanceMetric, ResourceStatus, WorkerMetric, WorkerStatus, worker_status::Status,
    },
};

/// One status stream while it lasts.
#[derive(Debug, Default)]
pub(in crate::testing::scheduler) struct StatusStream {
    pub(in crate::testing::scheduler) number: u64,
    /// The node's registration when the stream's first message came.
    registration: Option<Option<u64>>,
    count: u64,
    terminated: bool,
    seqs: BTreeMap<String, u64>,
}

/// Why the scheduler stops reading a status stream.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::testing::scheduler) enum ReaderEnds {
    /// The real one's reader would have panicked.
    Panic(String),
    /// The registration that the stream belonged to is over.
    Stale,
}

fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// A status' name, or its number if it has none.
fn name(status: i32) -> String {
    ResourceStatus::try_from(status).map_or_else(
        |_| status.to_string(),
        |status| status.as_str_name().to_owned(),
    )
}

impl Core {
    pub(in crate::testing::scheduler) fn stream(&mut self) -> StatusStream {
        self.streams += 1;
        StatusStream {
            number: self.streams,
            ..StatusStream::default()
        }
    }

    /// One message of a status stream.
    pub(in crate::testing::scheduler) fn status(
        &mut self,
        stream: &mut StatusStream,
        message: WorkerStatus,
    ) -> Result<Vec<Parcel>, ReaderEnds> {
        stream.count += 1;
        let name = message.identifier;
        let now = self.nodes.get(&name).and_then(|node| node.registration);
        let began = *stream.registration.get_or_insert(now);
        if began.is_some() && began != now {
            return Err(ReaderEnds::Stale);
        }
        let Some(status) = message.status else {
            self.violation("an empty status oneof ends the reader");
            return Err(ReaderEnds::Panic(
                "called `Option::unwrap()` on a `None`".to_owned(),
            ));
        };
        if now.is_none() {
            self.violation(format!(
                "a status of {name:?} while its Register stream is closed"
            ));
            if self.rik() {
                self.forget_instances(&name);
                self.nodes.remove(&name);
                self.note(Event::Forgotten { node: name });
            }
            return Ok(Vec::new());
        }
        match status {
            Status::Worker(metric) => Ok(self.node_status(&name, stream.number, &metric)),
            Status::Instance(metric) => self.instance_status(&name, stream, metric),
        }
    }

    fn node_status(&mut self, node_name: &str, stream: u64, metric: &WorkerMetric) -> Vec<Parcel> {
        let (status, metrics) = (name(metric.status), json_or_text(&metric.metrics));
        if let Some(node) = self.nodes.get_mut(node_name) {
            node.sampled = true;
            node.ready = metric.status() == ResourceStatus::Running;
            node.status.clone_from(&status);
            node.metrics = metrics.clone();
        }
        self.note(Event::Node {
            node: node_name.to_owned(),
            stream,
            status,
            metrics,
        });
        let waiting: Vec<_> = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.wanted && instance.place == Place::Nowhere)
            .map(|(id, _)| id.clone())
            .collect();
        waiting.iter().flat_map(|id| self.place(id)).collect()
    }

    /// The row that the controller's prefix match finds: `id` itself, else the first that begins
    /// with it.
    fn find(&self, id: &str) -> Option<String> {
        let (found, _) = self.instances.range(id.to_owned()..).next()?;
        (found == id || (self.rik() && found.starts_with(id))).then(|| found.clone())
    }

    fn note_instance(&mut self, node: &str, stream: u64, metric: &InstanceMetric) {
        self.note(Event::Instance {
            node: node.to_owned(),
            stream,
            instance: metric.instance_id.clone(),
            status: name(metric.status),
            reason: metric.reason.clone(),
            exit_code: metric.exit_code,
            generation: metric.generation,
            seq: metric.seq,
            gap: metric.gap,
            metrics: json_or_text(&metric.metrics),
        });
    }

    fn instance_status(
        &mut self,
        node: &str,
        stream: &mut StatusStream,
        metric: InstanceMetric,
    ) -> Result<Vec<Parcel>, ReaderEnds> {
        self.note_instance(node, stream.number, &metric);
        let id = metric.instance_id.clone();
        let status = metric.status();
        stream.terminated |= status == ResourceStatus::Terminated;
        stream.seqs.insert(id.clone(), metric.seq);
        if !self.nodes.get(node).is_some_and(|node| node.sampled) {
            self.violation(format!("a state of {id:?} before the node's own sample"));
        }
        let Some(found) = self.find(&id) else {
            let again = status == ResourceStatus::Terminated
                && self.terminated.get(&id) == Some(&metric.seq);
            if again {
                // Its acknowledgement was lost: the one case in which it comes twice.
                return Ok(Vec::new());
            }
            self.violation(format!(
                "{} for {id:?}, which is not known",
                name(metric.status)
            ));
            return if self.rik() {
                Err(ReaderEnds::Panic(format!("no instance {id}")))
            } else {
                Ok(Vec::new())
            };
        };
        if found != id {
            self.violation(format!("{} for {id:?} hits {found:?}", name(metric.status)));
        }
        let registration = stream.registration.flatten();
        Ok(self.known_instance_status(&found, status, metric, registration))
    }

    fn known_instance_status(
        &mut self,
        id: &str,
        status: ResourceStatus,
        metric: InstanceMetric,
        registration: Option<u64>,
    ) -> Vec<Parcel> {
        let Some(instance) = self.instances.get_mut(id) else {
            return Vec::new();
        };
        let wanted = instance.wanted;
        // After a new registration it may come again: the node may have died before it could write
        // down that it was acknowledged.
        let late = metric.seq != 0
            && metric.seq < instance.acknowledged
            && registration == instance.acknowledged_in;
        instance.status = name(metric.status);
        instance.reason = metric.reason;
        instance.generation = metric.generation;
        instance.seq = metric.seq;
        instance.metrics = json_or_text(&metric.metrics);
        if late {
            self.violation(format!("a state of {id:?} older than an acknowledged one"));
        }
        match status {
            ResourceStatus::Terminated => {
                self.instances.remove(id);
                self.terminated.insert(id.to_owned(), metric.seq);
            }
            ResourceStatus::Destroying => {
                if wanted {
                    self.violation(format!("DESTROYING of {id:?} without a DESTROY"));
                }
                if self.rik() {
                    self.destroyed_back += 1;
                    self.note(Event::DestroyedBack {
                        instance: id.to_owned(),
                    });
                    return self.destroy(id).unwrap_or_default();
                }
            }
            ResourceStatus::Pending => {
                self.violation(format!("PENDING of {id:?}"));
                if self.rik() {
                    self.placed_again += 1;
                    self.note(Event::PlacedAgain {
                        instance: id.to_owned(),
                    });
                    return self.place(id);
                }
            }
            ResourceStatus::Unknown => self.violation(format!("UNKNOWN of {id:?}")),
            ResourceStatus::Running | ResourceStatus::Failed | ResourceStatus::Creating => {}
        }
        Vec::new()
    }

    /// A status stream ended.
    pub(in crate::testing::scheduler) fn stream_ended(
        &mut self,
        stream: StatusStream,
        acknowledged: bool,
    ) {
        if stream.terminated && stream.count > 1 {
            self.violation("TERMINATED is not alone in its batch");
        }
        if acknowledged {
            for (id, seq) in stream.seqs {
                if let Some(instance) = self.instances.get_mut(&id) {
                    instance.acknowledged = instance.acknowledged.max(seq);
                    instance.acknowledged_in = stream.registration.flatten();
                }
            }
        }
        self.note(Event::StreamEnded {
            stream: stream.number,
            count: stream.count,
            acknowledged,
        });
    }
}
