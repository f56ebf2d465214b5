use super::*;
use crate::runtime::{
    process::{Detached, Spawner},
    reaper::Reaper,
};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn a_percentage_needs_two_looks_and_a_hundred_is_one_processor() {
    let first = Look::next(None, 1_000_000_000, ms(500));
    assert_eq!(first.percent, None);
    let second = Look::next(Some(&first), 1_500_000_000, ms(1500));
    assert_eq!(second.percent, Some(50.0));
    let third = Look::next(Some(&second), 3_500_000_000, ms(2500));
    assert_eq!(third.percent, Some(200.0));
    let idle = Look::next(Some(&third), 3_500_000_000, ms(3500));
    assert_eq!(idle.percent, Some(0.0));
}

#[test]
fn too_short_a_window_keeps_the_last_percentage_and_is_not_lost() {
    let last = Look {
        at: ms(1000),
        cpu_ns: 0,
        percent: Some(7.0),
    };
    let soon = Look::next(Some(&last), 99_000_000, ms(1010));
    assert_eq!((soon.percent, soon.at), (Some(7.0), ms(1000)));
    let later = Look::next(Some(&soon), 500_000_000, ms(2000));
    assert_eq!(later.percent, Some(50.0));
}

#[test]
fn a_counter_or_a_clock_that_goes_back_is_no_nonsense() {
    let last = Look {
        at: ms(1000),
        cpu_ns: 100,
        percent: Some(7.0),
    };
    assert_eq!(Look::next(Some(&last), 50, ms(2000)).percent, None);
    assert_eq!(Look::next(Some(&last), 200, ms(500)).percent, Some(7.0));
}

#[test]
fn the_shape_is_the_documented_one() {
    let id: ContainerId = "0123456789-0-1".parse().unwrap();
    let subject = Subject {
        id: &id,
        name: "web",
        restarts: 2,
    };
    let usage = Usage {
        cpu_ns: 5,
        memory: 30,
        working_set: 20,
        memory_limit: None,
        pids: 3,
        io_read: 7,
        io_write: 8,
        oom_kills: 0,
    };
    let sample = InstanceSample {
        containers: vec![container(subject, &usage, Some(1.5))],
    };
    assert_eq!(
        serde_json::to_string(&sample.json()).unwrap(),
        r#"[{"name":"web","cpu":{"usage_ns":5,"percent":1.5},"memory":{"usage":30,"working_set":20,"limit":null},"pids":3,"io":{"read":7,"write":8},"restarts":2}]"#
    );
    assert_eq!(sample.restarts(), 2);
}

#[tokio::test]
async fn a_living_container_is_measured_and_a_gone_one_is_left_out() {
    let cgroups = Cgroups::detect(&format!("/riklet-m{}", std::process::id())).unwrap();
    let spawner = Spawner::new(Reaper::start().unwrap(), cgroups.clone());
    let id: ContainerId = "0123456789-0-1".parse().unwrap();
    let gone: ContainerId = "0123456789-1-1".parse().unwrap();
    let rel = of_container(&id);
    let mut burn = Detached::new("/bin/sh", rel.clone());
    // Into cpuacct too, where that is a hierarchy of its own.
    let enter = format!(
        "d=/sys/fs/cgroup/cpuacct{}; [ -d /sys/fs/cgroup/cpuacct ] && mkdir -p $d && \
         echo 0 > $d/cgroup.procs; while :; do :; done",
        cgroups.cgroups_path(&rel)
    );
    burn.args = vec!["-c".into(), enter.into()];
    let mut child = spawner.detach(burn).unwrap();
    let mut instances = InstanceSampler::new(cgroups.clone());
    let subject = |id, name| Subject {
        id,
        name,
        restarts: 1,
    };
    let began = std::time::Instant::now();
    let sample = loop {
        assert!(began.elapsed() < Duration::from_secs(10));
        let both = [subject(&id, "burn"), subject(&gone, "gone")];
        let sample = instances.sample(both, began.elapsed());
        assert_eq!(sample.containers.len(), 1);
        if sample.containers[0].cpu.percent.is_some_and(|p| p > 1.0) {
            break sample;
        }
        tokio::task::yield_now().await;
    };
    assert!(sample.containers[0].cpu.usage_ns > 0);
    instances.retain(|_| false);
    assert!(instances.last.is_empty());
    cgroups.clear("", Duration::from_secs(5)).await.unwrap();
    child.exit.wait().await.unwrap();
    assert_eq!(
        instances.sample([subject(&id, "burn")], ms(1)).containers,
        []
    );
}
