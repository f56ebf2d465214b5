//! What is measured of the node and its instances, for the reporter.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use crate::{
    book::Book,
    error_chain::one_line,
    ledger::Ledger,
    metrics::{
        instance::{InstanceSample, InstanceSampler, Subject},
        node::{NodeSample, NodeSampler},
    },
    model::{
        fold::InstanceRecord,
        ids::{ContainerId, Uid},
        phase::Phase,
        state::State,
    },
    reporter::{InstanceReading, NodeReading, Samples},
};

/// How often everything is measured.
const EVERY: Duration = Duration::from_secs(5);

/// The newest samples.
#[derive(Default)]
struct Newest {
    node: Option<NodeSample>,
    instances: BTreeMap<Uid, InstanceSample>,
}

/// The newest samples, measured by a task of its own.
pub(super) struct NodeSamples {
    book: Ledger,
    newest: Mutex<Newest>,
    rounds: watch::Sender<u64>,
}

/// A node's sample; none yet means that nothing has been measured.
pub(super) struct NodeReadingOf(Option<NodeSample>);

/// Both samplers, which remember their last look.
struct Samplers {
    node: Option<NodeSampler>,
    instances: InstanceSampler,
    began: Instant,
}

/// A running container: its attempt, its name, its restarts.
type Live = (ContainerId, String, u32);

fn live(record: &InstanceRecord) -> Vec<Live> {
    let running = record.attempted();
    let running = running.filter(|(_, c)| c.phase == Phase::Running);
    running
        .filter_map(|(n, c)| Some((record.current(n)?, c.name.clone(), c.restarts)))
        .collect()
}

impl NodeSamples {
    /// Measures until `stop`.
    pub(super) fn start(
        book: Ledger,
        cgroups: crate::runtime::cgroup::Cgroups,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        let (rounds, _) = watch::channel(0);
        let this = Arc::new(Self {
            book,
            newest: Mutex::default(),
            rounds,
        });
        let samplers = Samplers {
            node: NodeSampler::new()
                .inspect_err(|error| {
                    tracing::warn!(why = one_line(error), "the node can't be measured");
                })
                .ok(),
            instances: InstanceSampler::new(cgroups),
            began: Instant::now(),
        };
        let measuring = Arc::clone(&this).measure(samplers, stop.clone());
        tokio::spawn(measuring);
        this
    }

    async fn measure(self: Arc<Self>, mut samplers: Samplers, stop: CancellationToken) {
        // The first sample as soon as one can be had: a node is ready only by its sample.
        let first = Instant::now() + NodeSampler::shortest_window();
        let mut ticks = tokio::time::interval_at(first, EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let this = Arc::clone(&self);
            let sampling = tokio::task::spawn_blocking(move || {
                this.sample(&mut samplers);
                samplers
            });
            match sampling.await {
                Ok(back) => samplers = back,
                // A panic is a defect; without samples the node still runs.
                Err(error) => return tracing::error!(%error, "sampling died"),
            }
            self.rounds.send_modify(|n| *n += 1);
        }
    }

    fn sample(&self, samplers: &mut Samplers) {
        // Only what is measured is copied: definitions are big, and this runs for ever.
        let running: Vec<(Uid, Vec<Live>)> = self.book.read(|fold| {
            let reported = |r: &&InstanceRecord| {
                r.reported
                    .as_ref()
                    .is_some_and(|s| s.state == State::Running)
            };
            let running = fold.instances.values().filter(reported);
            running.map(|r| (r.uid.clone(), live(r))).collect()
        });
        let at = samplers.began.elapsed();
        let mut instances = BTreeMap::new();
        for (uid, live) in &running {
            let subjects = live.iter().map(|(id, name, restarts)| Subject {
                id,
                name,
                restarts: *restarts,
            });
            instances.insert(uid.clone(), samplers.instances.sample(subjects, at));
        }
        let mut alive: Vec<ContainerId> = running
            .into_iter()
            .flat_map(|(_, live)| live.into_iter().map(|(id, ..)| id))
            .collect();
        alive.sort();
        samplers
            .instances
            .retain(|id| alive.binary_search(id).is_ok());
        let node = samplers.node.as_mut().map(NodeSampler::sample);
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.instances = instances;
        match node {
            Some(Ok(Some(node))) => newest.node = Some(node),
            Some(Err(error)) => tracing::warn!(why = one_line(&error), "no sample of the node"),
            Some(Ok(None)) | None => {}
        }
    }
}

impl NodeReading for NodeReadingOf {
    fn json(&self) -> String {
        self.0
            .as_ref()
            .map_or_else(|| "{}".to_owned(), NodeSample::json)
    }

    fn worth_sending(&self, sent: &Self) -> bool {
        match (&self.0, &sent.0) {
            (Some(now), Some(sent)) => now.worth_sending(sent),
            (now, sent) => now.is_some() != sent.is_some(),
        }
    }
}

impl InstanceReading for InstanceSample {
    fn restarts(&self) -> u32 {
        InstanceSample::restarts(self)
    }

    fn containers(&self) -> Vec<Value> {
        self.json()
    }

    fn worth_sending(&self, sent: &Self) -> bool {
        InstanceSample::worth_sending(self, sent)
    }
}

impl Samples for NodeSamples {
    type Node = NodeReadingOf;
    type Instance = InstanceSample;

    fn node(&self) -> NodeReadingOf {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        NodeReadingOf(newest.node.clone())
    }

    fn placements(&self) -> bool {
        self.book.read(|fold| !fold.node.drained)
    }

    fn instance(&self, uid: &Uid) -> Option<InstanceSample> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.instances.get(uid).cloned()
    }

    async fn changed(&self) {
        // A sender that lives as long as self never closes its channel.
        let _ = self.rounds.subscribe().changed().await;
    }
}
