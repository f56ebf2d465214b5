//! The workloads of a storm: what the scheduler wants, changed all the while.

use std::{collections::BTreeMap, time::Duration};

use riklet::testing::scheduler::Scheduler;
use serde_json::{Value, json};

use super::draw::Draw;
use crate::support::{
    registry::Registry,
    witness::{Order, Script, Witness},
};

/// What sort of workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sort {
    /// Serves until it is stopped; restarted always.
    Service,
    /// The same in a network namespace of its own, where no witness reaches it.
    Apart,
    /// Runs once, whatever comes of it; exits with this.
    Once(i32),
    /// Fails at first, then exits with 0; restarted on failure.
    Retried,
    /// Ends ever again; restarted always.
    Crasher,
}

impl Sort {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Apart => "service in its own network namespace",
            Self::Once(_) => "job (Never)",
            Self::Retried => "job (OnFailure)",
            Self::Crasher => "crasher (Always)",
        }
    }

    fn policy(self) -> &'static str {
        match self {
            Self::Service | Self::Apart | Self::Crasher => "Always",
            Self::Once(_) => "Never",
            Self::Retried => "OnFailure",
        }
    }

    /// Does it run until it is stopped?
    pub(crate) fn serves(self) -> bool {
        matches!(self, Self::Service | Self::Apart)
    }
}

/// What is wanted of one instance.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) sort: Sort,
    pub(crate) generation: u32,
    /// Or was its destroy asked for?
    pub(crate) wanted: bool,
    image: String,
}

/// Everything that was ever wanted.
pub(crate) struct Churn<'a> {
    pub(crate) all: BTreeMap<String, Wanted>,
    pub(crate) counts: BTreeMap<String, u64>,
    scheduler: &'a Scheduler,
    witness: &'a Witness,
    registry: &'a Registry,
    draw: Draw,
    tags: u32,
}

/// So many live instances are kept up.
const LIVE: usize = 12;

impl<'a> Churn<'a> {
    pub(crate) fn new(
        scheduler: &'a Scheduler,
        witness: &'a Witness,
        registry: &'a Registry,
        seed: u64,
    ) -> Self {
        Self {
            all: BTreeMap::new(),
            counts: BTreeMap::new(),
            scheduler,
            witness,
            registry,
            draw: Draw::from(seed),
            tags: 0,
        }
    }

    fn count(&mut self, what: impl Into<String>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    /// Those wanted that the scheduler still knows.
    fn live(&self) -> Vec<String> {
        let known = self
            .scheduler
            .look(|core| core.instances.keys().cloned().collect::<Vec<_>>());
        let wanted = |id: &String| self.all.get(id).is_some_and(|it| it.wanted);
        known.into_iter().filter(wanted).collect()
    }

    /// One change.
    pub(crate) fn change(&mut self) {
        let live = self.live();
        let full = live.len() >= LIVE;
        let what = self.draw.below(100);
        match self.draw.one_of(&live).cloned() {
            // Most are left alone, that they may come to something.
            Some(_) if full && what >= 40 => {}
            Some(id) if full || what < 20 => {
                if self.all[&id].sort.serves() && what.is_multiple_of(2) {
                    self.replace(&id);
                } else {
                    self.destroy(&id);
                }
            }
            _ => self.create(),
        }
    }

    fn create(&mut self) {
        let sort = match self.draw.below(100) {
            0..35 => Sort::Service,
            35..50 => Sort::Apart,
            50..65 => Sort::Once(0),
            65..75 => Sort::Once(7),
            75..88 => Sort::Retried,
            _ => Sort::Crasher,
        };
        let image = self.image();
        self.create_one(sort, image);
    }

    /// Creates an instance of this sort.
    pub(crate) fn create_one(&mut self, sort: Sort, image: String) -> String {
        let id = format!("i{}", self.all.len());
        let after = Duration::from_millis(50 + self.draw.below(600));
        let orders = match sort {
            Sort::Service | Sort::Apart => vec![Order::Serve],
            Sort::Once(code) => vec![Order::Exit(code, after)],
            Sort::Retried => vec![Order::Exit(3, after), Order::Exit(0, after)],
            Sort::Crasher => vec![Order::Exit(1, after)],
        };
        self.witness.script(&id, Script(orders));
        let wanted = Wanted {
            sort,
            generation: 1,
            wanted: true,
            image,
        };
        let definition = self.definition(&id, &wanted).to_string();
        self.scheduler.create(&id, &definition).unwrap();
        self.count(format!("created: {}", sort.name()));
        self.all.insert(id.clone(), wanted);
        id
    }

    /// An image that was never pulled, or one that was.
    pub(crate) fn image(&mut self) -> String {
        if self.tags == 0 || self.draw.percent(55) {
            self.tags += 1;
            let tag = format!("t{}", self.tags);
            self.registry.put_variant("storm", "base", &tag);
            self.count("images put into the registry");
        }
        let tag = if self.draw.percent(60) {
            self.tags
        } else {
            1 + self.draw.below(u64::from(self.tags)) as u32
        };
        self.registry.image(&format!("storm:t{tag}"))
    }

    fn definition(&self, id: &str, it: &Wanted) -> Value {
        let env = [
            ("INSTANCE", id.to_owned()),
            ("GEN", it.generation.to_string()),
            ("WITNESS", self.witness.name().to_owned()),
        ];
        let env = env.map(|(name, value)| json!({ "name": name, "value": value }));
        let apart = it.sort == Sort::Apart;
        let serve = r#"trap "exit 0" TERM; sleep 1000000 & wait"#;
        let command = if apart {
            json!(["/bin/sh", "-c", serve])
        } else {
            json!(["/holder"])
        };
        json!({
            "apiVersion": "v0", "kind": "Pod", "name": "storm",
            "spec": {
                "containers": [{
                    "name": "main", "image": it.image, "env": env, "command": command,
                }],
                "restartPolicy": it.sort.policy(),
                "hostNetwork": !apart,
                "terminationGracePeriodSeconds": 1,
            },
        })
    }

    fn replace(&mut self, id: &str) {
        let image = self.image();
        if let Some(it) = self.all.get_mut(id) {
            it.generation += 1;
            it.image = image;
        }
        let definition = self.definition(id, &self.all[id]).to_string();
        self.scheduler.create(id, &definition).unwrap();
        self.count("replaced");
    }

    /// Wants it gone.
    pub(crate) fn destroy(&mut self, id: &str) {
        // It may have completed in this very moment: then there is nothing to destroy.
        if self.scheduler.destroy(id).is_ok() {
            self.count("destroyed");
            if let Some(it) = self.all.get_mut(id) {
                it.wanted = false;
            }
        }
    }

    /// Wants everything of some sorts gone.
    pub(crate) fn destroy_all(&mut self, which: impl Fn(Sort) -> bool) {
        for id in self.live() {
            if which(self.all[&id].sort) {
                self.destroy(&id);
            }
        }
    }
}
