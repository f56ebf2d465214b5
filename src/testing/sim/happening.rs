//! What may happen to a node, its daemon and its scheduler.

use std::sync::{Arc, PoisonError};

use super::{
    Sim, Told,
    node::containers,
    scheduler::Loss,
    shape::Shape,
    trap::{Death, Point, Side},
};
use crate::{
    model::{ids::ContainerId, ids::Source, instruction::Instruction, observed::Status},
    testing::fake_node::{Fault, Script, Verb},
};

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A create, by the scheduler or by a person (`local`).
    Create {
        /// Which instance.
        id: u8,
        /// Whose.
        local: bool,
        /// Of [`POLICIES`].
        policy: usize,
        /// How many containers.
        containers: usize,
        /// Makes definitions differ, and images.
        tag: u32,
    },
    /// A create of a pod that has more to it than containers.
    Pod {
        /// Which instance.
        id: u8,
        /// Of [`POLICIES`].
        policy: usize,
        /// What it has.
        shape: Shape,
        /// Makes definitions differ.
        tag: u32,
    },
    /// What errands whose command begins with this word come to from now on.
    Script(&'static str, Option<Script>),
    /// Somebody removes the namespaces of an instance.
    LoseSandbox {
        /// Of which container's.
        which: usize,
    },
    /// A create that can't be read.
    Garbage {
        /// Which instance.
        id: u8,
    },
    /// A destroy.
    Destroy {
        /// Which instance.
        id: u8,
        /// By a person?
        local: bool,
    },
    /// A running container ends by itself.
    Exit {
        /// Which.
        which: usize,
        /// With which code.
        code: i32,
    },
    /// A monitor dies.
    KillMonitor {
        /// Whose.
        which: usize,
    },
    /// The runtime's own state of a container is garbage.
    Break {
        /// Whose.
        which: usize,
    },
    /// A container is frozen.
    Pause {
        /// Which.
        which: usize,
    },
    /// Somebody removes everything of a container.
    Vanish {
        /// Which.
        which: usize,
    },
    /// The next call of a verb fails.
    Fault(Verb, Fault),
    /// No image can be had, or all can.
    NoImages(bool),
    /// Processes made from now on don't heed SIGTERM, or do.
    Stubborn(bool),
    /// Monitors tell an exit late, or at once.
    SlowMonitors(bool),
    /// Every volume takes so many bytes of the disk from now on.
    Fills(u64),
    /// Every snapshot is gone.
    SnapshotsLost,
    /// Time passes.
    Pass {
        /// In ms.
        ms: u64,
    },
    /// Only so many steps are taken before the next thing happens.
    Steps(u64),
    /// The scheduler can be reached, or can't.
    Link(bool),
    /// A batch will be lost, or its answer.
    Lose(Loss),
    /// `riklet drain`.
    Drain,
    /// `riklet uncordon`.
    Uncordon,
    /// Wall time steps.
    Wall {
        /// By so many ms.
        ms: i64,
    },
    /// The daemon dies here, where nothing is under way, and another takes over.
    Die(Death),
    /// The daemon dies the next time it passes this point.
    DieAt(Point, Side, Death),
    /// The daemon is killed, and none takes over for now.
    Leave,
    /// A daemon is started where there is none.
    Return,
    /// The daemon ends in order and comes again; with `node` the machine goes down and up.
    End {
        /// Is it the node that stops?
        node: bool,
    },
}

/// Restart policies by their number.
pub(super) const POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];

/// A definition's text.
pub(super) fn definition(id: u8, policy: usize, containers: usize, tag: u32) -> String {
    let of = |n| format!(r#"{{"name":"c{n}","image":"image-{tag}"}}"#);
    let list: Vec<String> = (0..containers).map(of).collect();
    let policy = POLICIES[policy % POLICIES.len()];
    format!(
        r#"{{"apiVersion":"v0","kind":"Pod","name":"i{id}","spec":{{"restartPolicy":"{policy}","terminationGracePeriodSeconds":7,"containers":[{}]}}}}"#,
        list.join(",")
    )
}

/// What no definition is.
pub(super) const GARBAGE: &str = r#"{"apiVersion":"v0","kind":"Pod","name":7}"#;

impl Sim {
    /// Something happens, and everything that can go on by that does.
    pub fn happen(&mut self, happening: &Happening) {
        self.ground.state().tell(|_| format!("{happening:?}"));
        match *happening {
            Happening::Steps(steps) => self.pump(steps),
            Happening::Pass { ms } => self.pass(ms),
            _ => self.begin(happening),
        }
    }

    /// Everything that can go on does.
    pub fn come_to_rest(&mut self) {
        self.settle();
    }

    /// Lets something happen, and nothing follow yet.
    fn begin(&mut self, happening: &Happening) {
        match *happening {
            Happening::Pod {
                id,
                policy,
                shape,
                tag,
            } => {
                let text = super::shape::definition(id, POLICIES[policy % 3], shape, tag);
                self.want(id, false, Some(text));
            }
            Happening::Create {
                id,
                local,
                policy,
                containers,
                tag,
            } => self.want(id, local, Some(definition(id, policy, containers, tag))),
            Happening::Garbage { id } => self.want(id, false, Some(GARBAGE.to_owned())),
            Happening::Destroy { id, local } => self.want(id, local, None),
            Happening::Exit { which, code } => self.exit(which, code),
            Happening::KillMonitor { which } => self.kill_monitor(which),
            Happening::Link(reachable) => self.ground.state().scheduler.link = reachable,
            Happening::Lose(loss) => self.ground.state().scheduler.losses.push_back(loss),
            Happening::Drain => self.cordon(true),
            Happening::Uncordon => self.cordon(false),
            Happening::Wall { ms } => self.ground.state().clocks.wall += ms,
            Happening::Die(death) => self.die(death),
            Happening::DieAt(point, side, death) => {
                self.ground.state().trap.set_at(point, side, death);
            }
            Happening::Leave => {
                self.ground.state().trap.kill(Death::Process);
                self.bury();
            }
            Happening::Return if self.daemon.is_none() => self.start_again(),
            Happening::Return | Happening::Steps(_) | Happening::Pass { .. } => {}
            Happening::End { node } => self.end(node),
            _ => self.spoil(happening),
        }
    }

    /// What happens to the node's things.
    fn spoil(&mut self, happening: &Happening) {
        match *happening {
            Happening::Break { which } => {
                if let Some(id) = self.pick(which, None)
                    && let Some(c) = self.fake.world().containers.get_mut(&id)
                {
                    c.broken = !matches!(c.status, Status::Absent | Status::Stopped);
                }
            }
            Happening::Pause { which } => {
                if let Some(id) = self.pick(which, Some(Status::Running))
                    && let Some(c) = self.fake.world().containers.get_mut(&id)
                {
                    c.status = Status::Paused;
                }
            }
            Happening::Vanish { which } => {
                if let Some(id) = self.pick(which, None) {
                    self.fake.world().containers.remove(&id);
                    super::judge::file_lost(&mut self.ground.state(), &id);
                }
            }
            Happening::Fault(verb, fault) => self.fake.fault(verb, fault),
            Happening::NoImages(missing) => {
                let mut world = self.fake.world();
                world.missing_images.clear();
                if missing {
                    world
                        .missing_images
                        .extend((0..4).map(|n| format!("image-{n}")));
                }
            }
            Happening::Script(word, script) => {
                let scripts = &mut self.fake.world().scripts;
                match script {
                    Some(script) => scripts.insert(word.to_owned(), script),
                    None => scripts.remove(word),
                };
            }
            Happening::LoseSandbox { which } => {
                if let Some(id) = self.pick(which, None) {
                    self.fake.lose_sandbox(&id.uid);
                }
            }
            Happening::Stubborn(stubborn) => self.fake.world().stubborn = stubborn,
            Happening::SlowMonitors(slow) => self.fake.world().slow_monitors = slow,
            Happening::Fills(bytes) => self.fake.world().volume_use = bytes,
            Happening::SnapshotsLost => self.fake.world().snapshots.clear(),
            _ => {}
        }
    }

    fn pick(&self, which: usize, status: Option<Status>) -> Option<ContainerId> {
        let ids = containers(&self.fake, status);
        (!ids.is_empty()).then(|| ids[which % ids.len()].clone())
    }

    pub(super) fn exit(&mut self, which: usize, code: i32) {
        if let Some(id) = self.pick(which, Some(Status::Running)) {
            self.ground
                .state()
                .tell(|_| format!("{id} ends with {code}"));
            self.fake.exit(&id, code);
            self.look();
        }
    }

    pub(super) fn kill_monitor(&mut self, which: usize) {
        if let Some(id) = self.pick(which, Some(Status::Running)) {
            self.ground
                .state()
                .tell(|_| format!("the monitor of {id} dies"));
            self.fake.kill_monitor(&id);
        }
    }

    fn look(&self) {
        super::judge::world(&mut self.ground.state(), &self.fake.world());
    }

    fn want(&mut self, id: u8, local: bool, definition: Option<String>) {
        let name = format!("i{id}");
        if local {
            self.ask(&name, definition);
        } else {
            self.ground.state().scheduler.want(&name, definition);
        }
    }

    /// A person asks for a local instance, and is told or not.
    pub(super) fn ask(&mut self, name: &str, definition: Option<String>) {
        self.tickets += 1;
        let (told, ticket, key) = (Arc::clone(&self.told), self.tickets, name.to_owned());
        let asked = Told {
            wanted: definition.clone(),
            accepted: false,
            ticket,
        };
        let mut all = told.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key.clone(), asked);
        drop(all);
        let instruction = match definition {
            Some(text) => Instruction::create(name, Source::Cli, text),
            None => Instruction::destroy(name, Source::Cli),
        };
        // Without a daemon there is nobody to ask.
        if let Some(daemon) = &mut self.daemon {
            daemon.submit(&instruction, move || accept(&told, &key, ticket));
        }
    }

    fn cordon(&mut self, drained: bool) {
        self.tickets += 1;
        let (told, ticket) = (Arc::clone(&self.told), self.tickets);
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let asked = Told {
            wanted: drained.then(|| "drained".to_owned()),
            accepted: false,
            ticket,
        };
        let mut all = told.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert("cordon".to_owned(), asked);
        drop(all);
        daemon.cordon(drained, move || accept(&told, "cordon", ticket));
    }

    fn die(&mut self, death: Death) {
        let there = self.daemon.is_some();
        self.ground.state().trap.kill(death);
        self.bury();
        if there {
            self.start_again();
        }
    }

    fn end(&mut self, node: bool) {
        let Some(daemon) = self.daemon.take() else {
            return;
        };
        daemon.end(node);
        // A trap may have gone off in that.
        let killed = self.is_dead();
        if node {
            // The machine's own shutdown ends everything, and syncs its disks.
            for n in 0..containers(&self.fake, Some(Status::Running)).len() {
                self.exit(0, [143, 0, 137][n % 3]);
            }
            let mut state = self.ground.state();
            state.clocks.advance(40_000);
            state.trap.take();
            state.trap.kill(Death::Power);
        } else if !killed {
            self.ground.state().trap.kill(Death::Process);
        }
        self.bury();
        self.start_again();
    }
}

fn accept(
    told: &std::sync::Mutex<std::collections::BTreeMap<String, Told>>,
    key: &str,
    ticket: u64,
) {
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(told) = told.get_mut(key).filter(|t| t.ticket == ticket) {
        told.accepted = true;
    }
}
