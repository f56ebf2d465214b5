use super::*;
use crate::metrics::{
    instance::{ContainerCpu, ContainerIo, ContainerMemory},
    node::{NodeCpu, NodeMemory},
};

fn node_sample() -> NodeSample {
    NodeSample {
        cpu: NodeCpu {
            total: 4,
            free: 50.0,
        },
        memory: NodeMemory {
            total: 1000,
            free: 500,
        },
        disks: vec![NodeDisk {
            disk_name: "/dev/vda".to_owned(),
            total: 100_000,
            free: 40_000,
        }],
    }
}

fn changed(change: impl FnOnce(&mut NodeSample)) -> bool {
    let sent = node_sample();
    let mut now = sent.clone();
    change(&mut now);
    let there = now.worth_sending(&sent);
    assert_eq!(there, sent.worth_sending(&now), "the same both ways");
    there
}

#[test]
fn a_node_is_told_beyond_each_threshold_and_not_at_it() {
    assert!(!changed(|_| {}));
    assert!(!changed(|n| n.cpu.free = 45.0));
    assert!(changed(|n| n.cpu.free = 44.9));
    assert!(!changed(|n| n.memory.free = 510));
    assert!(changed(|n| n.memory.free = 511));
    assert!(!changed(|n| n.disks[0].free = 39_000));
    assert!(changed(|n| n.disks[0].free = 38_999));
}

#[test]
fn another_set_of_processors_or_disks_is_told_at_once() {
    assert!(changed(|n| n.cpu.total = 8));
    assert!(changed(|n| n.memory.total = 1001));
    assert!(changed(|n| n.disks.clear()));
    assert!(changed(|n| n.disks[0].disk_name.push('1')));
    assert!(changed(|n| n.disks[0].total = 1));
}

#[test]
fn a_slow_drift_is_told_in_the_end() {
    let mut sent = node_sample();
    let mut told = 0;
    for free in (300..=500).rev() {
        let mut now = node_sample();
        now.memory.free = free;
        if now.worth_sending(&sent) {
            sent = now;
            told += 1;
        }
    }
    assert_eq!(told, 200 / 11);
}

fn container_sample() -> ContainerSample {
    ContainerSample {
        name: "web".to_owned(),
        cpu: ContainerCpu {
            usage_ns: 1,
            percent: Some(10.0),
        },
        memory: ContainerMemory {
            usage: 5000,
            working_set: 4000,
            limit: Some(100_000),
        },
        pids: 3,
        io: ContainerIo {
            read: 1000,
            write: 0,
        },
        restarts: 0,
    }
}

fn moved(change: impl FnOnce(&mut ContainerSample)) -> bool {
    let mut now = container_sample();
    change(&mut now);
    let sample = |c| InstanceSample {
        containers: vec![c],
    };
    sample(now).worth_sending(&sample(container_sample()))
}

#[test]
fn a_container_is_told_beyond_each_threshold_and_not_at_it() {
    assert!(!moved(|_| {}));
    assert!(
        !moved(|c| c.cpu.usage_ns = u64::MAX),
        "the percentage says it"
    );
    assert!(!moved(|c| c.cpu.percent = Some(15.0)));
    assert!(moved(|c| c.cpu.percent = Some(15.01)));
    assert!(!moved(|c| c.memory.usage = 6000), "1 % of the limit");
    assert!(moved(|c| c.memory.usage = 6001));
    assert!(moved(|c| c.memory.working_set = 2999));
    assert!(!moved(|c| c.io.read = 1010));
    assert!(moved(|c| c.io.read = 1011));
    assert!(
        moved(|c| c.io.write = 1),
        "from nothing, everything is news"
    );
}

#[test]
fn what_counts_in_steps_is_told_at_every_change() {
    assert!(moved(|c| c.restarts = 1));
    assert!(moved(|c| c.pids = 4));
    assert!(moved(|c| c.memory.limit = None));
    assert!(moved(|c| c.name.push('x')));
    let none = InstanceSample::default();
    let one = InstanceSample {
        containers: vec![container_sample()],
    };
    assert!(one.worth_sending(&none) && none.worth_sending(&one));
}

#[test]
fn a_percentage_that_becomes_known_is_news_and_one_that_is_lost_is_none() {
    assert!(!moved(|c| c.cpu.percent = None));
    let mut sent = container_sample();
    sent.cpu.percent = None;
    assert!(container(&sent, &container_sample()));
}

#[test]
fn numbers_at_their_ends_neither_overflow_nor_round() {
    assert!(space(0, u64::MAX, u64::MAX));
    assert!(!space(u64::MAX, u64::MAX, 0));
    assert!(space(0, 1, 0) && !space(0, 1, 100) && space(0, 2, 199));
}
