#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{
    model::{
        fold::{Fold, SandboxRecord},
        ids::{InstanceId, Source},
        line::{Intent, Line, ProcessId},
        spec::{RestartPolicy, Volume, WorkloadSpec},
    },
    testing::builders::{container_id, moment, uid, workload},
};

fn volume(name: &str, memory: bool, size_limit: Option<u64>) -> Volume {
    Volume {
        name: name.to_owned(),
        source: VolumeSource::Empty { memory, size_limit },
    }
}

/// One that runs, with a volume of each kind.
fn running() -> InstanceRecord {
    let mut spec = workload(1, RestartPolicy::Always);
    spec.volumes = vec![
        volume("free", false, None),
        volume("memory", true, Some(10)),
        volume("small", false, Some(20)),
        volume("large", false, Some(30)),
    ];
    let container = container_id(&uid(1), 0, 1);
    let process = ProcessId {
        pid: 7,
        start_time: 7,
    };
    let events = [
        Event::Accepted {
            uid: uid(1),
            instance: InstanceId::from_wire("web-1").unwrap(),
            source: Source::Scheduler,
            definition: String::new(),
            spec: Box::new(spec),
            warnings: Vec::new(),
        },
        Event::SandboxIntended {
            uid: uid(1),
            generation: 1,
            claim: None,
            users: None,
        },
        Event::SandboxReady {
            uid: uid(1),
            addresses: Vec::new(),
        },
        Event::AttemptIntended {
            uid: uid(1),
            intent: Intent {
                container: container.clone(),
                snapshot: "sha256-00".to_owned(),
                netns: None,
            },
        },
        Event::Created {
            container: container.clone(),
            process,
            monitor: None,
        },
        Event::Started {
            container,
            process,
            adopted: false,
        },
    ];
    let mut fold = Fold::default();
    for event in events {
        fold.apply(&Line {
            seq: fold.seq + 1,
            moment: moment(1_000),
            event,
            state: None,
            durable: None,
        });
    }
    fold.instances[&uid(1)].clone()
}

#[test]
fn what_is_looked_at_are_volumes_on_the_disk_that_have_a_limit() {
    let look = due_look(&running()).unwrap();
    let volumes: Vec<(usize, u64)> = look.volumes.iter().map(|b| (b.volume, b.limit)).collect();
    assert_eq!(volumes, [(2, 20), (3, 30)]);
    let mut none = running();
    let mut spec = WorkloadSpec::clone(none.spec.as_ref().unwrap());
    spec.volumes.truncate(2);
    none.spec = Some(std::sync::Arc::new(spec));
    assert_eq!(due_look(&none), None);
}

#[test]
fn only_what_runs_by_its_own_definition_and_is_to_run_is_looked_at() {
    let idle = |change: fn(&mut InstanceRecord)| {
        let mut record = running();
        change(&mut record);
        assert_eq!(due_look(&record), None, "{record:?}");
    };
    idle(|r| r.desired = Desired::Gone);
    idle(|r| r.doubt = Some("a line is lost".to_owned()));
    idle(|r| r.containers[0].phase = Phase::Exited);
    // What runs is still the former generation, in its own volumes.
    idle(|r| r.generation = 2);
    idle(|r| r.sandbox = None);
    let not_ready = |s: SandboxRecord| SandboxRecord { ready: false, ..s };
    let mut record = running();
    record.sandbox = record.sandbox.map(not_ready);
    assert_eq!(due_look(&record), None);
}

#[test]
fn the_verdict_names_the_volume_what_it_takes_and_its_limit() {
    let record = running();
    let look = due_look(&record).unwrap();
    assert_eq!(verdict(&record, &look, 2, 20), None, "just full is no more");
    let Some(Event::Evicted {
        uid: of,
        generation: 1,
        message,
    }) = verdict(&record, &look, 2, 21)
    else {
        unreachable!("no verdict");
    };
    assert_eq!(of, uid(1));
    for part in ["\"small\"", "21 bytes", "sizeLimit is 20"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_look_says_nothing_of_what_the_instance_has_become_meanwhile() {
    let record = running();
    let look = due_look(&record).unwrap();
    let mut replaced = record.clone();
    replaced.generation = 2;
    replaced.containers[0].generation = 2;
    if let Some(sandbox) = &mut replaced.sandbox {
        sandbox.generation = 2;
    }
    assert!(due_look(&replaced).is_some());
    assert_eq!(verdict(&replaced, &look, 2, 100), None);
    let mut gone = record;
    gone.desired = Desired::Gone;
    assert_eq!(verdict(&gone, &look, 2, 100), None);
}
