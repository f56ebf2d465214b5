//! What the real node costs on top of what it is made of. A measurement: run it alone,
//! `cargo test --release --test create_cost -- --ignored --nocapture`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement prints"
)]

use std::{
    fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use riklet::{
    model::{ids::ContainerId, line::Intent},
    node::{CreateRequest, Node},
    runtime::{
        bundle::overlay,
        conmon::read_sync,
        layout::container_cgroup,
        process::{Call, Detached, Spawner},
        reaper::Reaper,
    },
    testing::{
        contract::{eventually, fresh_id, workload},
        real_world::{RealWorld, SNAPSHOT},
    },
};
use tokio::{sync::Semaphore, task::JoinSet};

const CONTAINERS: usize = 50;
const PARALLEL: usize = 4;

async fn at_four<F: Future<Output = ()> + Send + 'static>(
    ids: &[ContainerId],
    one: impl Fn(ContainerId) -> F,
) -> Duration {
    let (began, slots) = (Instant::now(), Arc::new(Semaphore::new(PARALLEL)));
    let mut tasks = JoinSet::new();
    for id in ids {
        let (slots, one) = (slots.clone(), one(id.clone()));
        tasks.spawn(async move {
            let _slot = slots.acquire().await.unwrap();
            one.await;
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    began.elapsed()
}

fn ids() -> Vec<ContainerId> {
    (0..CONTAINERS).map(|_| fresh_id()).collect()
}

/// Overlay, conmon, runc create, runc start, with the same config.json: as little as a loop in a
/// shell would do.
async fn bare(
    spawner: Spawner,
    dir: PathBuf,
    snapshot: PathBuf,
    config: Arc<str>,
    id: ContainerId,
) {
    let bundle = dir.join(id.to_string());
    let (persist, runc) = (bundle.join("p"), dir.join("runc"));
    fs::create_dir_all(&persist).unwrap();
    overlay::mount_layer(&snapshot, &bundle).unwrap();
    let rel = spawner.cgroups().cgroups_path(&container_cgroup(&id));
    let config = config
        .replace("@CGROUP@", &rel)
        .replace("@BUNDLE@", bundle.to_str().unwrap());
    fs::write(bundle.join("config.json"), config).unwrap();
    for name in ["hosts", "hostname", "resolv.conf"] {
        fs::write(bundle.join(name), "").unwrap();
    }
    let mut options = fs::OpenOptions::new();
    let sync = options
        .append(true)
        .create(true)
        .mode(0o600)
        .open(persist.join("sync"))
        .unwrap();
    let name = id.to_string();
    let at = |p: &Path| p.to_str().unwrap().to_owned();
    let mut conmon = Detached::new("conmon", format!("monitors/{id}"));
    conmon.args = [
        "--api-version",
        "1",
        "-c",
        &name,
        "-u",
        &name,
        "-n",
        &name,
        "-b",
        &at(&bundle),
        "-r",
        "/usr/sbin/runc",
        "-P",
        &at(&persist.join("conmon.pid")),
        "-p",
        &at(&persist.join("pid")),
        "-l",
        &format!("k8s-file:{}", at(&bundle.join("log"))),
        "--exit-dir",
        &at(&dir),
        "--persist-dir",
        &at(&persist),
        "--full-attach",
        "--no-sync-log",
        "--runtime-arg",
        &format!("--root={}", at(&runc)),
    ]
    .map(Into::into)
    .to_vec();
    conmon.env = vec![("_OCI_SYNCPIPE".into(), "3".into())];
    conmon.cwd = Some(bundle);
    conmon.third = Some(sync);
    spawner.detach(conmon).unwrap();
    eventually(|| std::future::ready(read_sync(&persist)))
        .await
        .unwrap();
    let call = Call::new("runc", Duration::from_secs(30));
    let start = call.args(["--root", &at(&runc), "start", &name]);
    spawner.call(start).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement; nothing else may run beside it"]
async fn a_container_costs_at_most_half_more_than_its_parts() {
    let mut best = f64::MAX;
    for _ in 0..3 {
        let world = RealWorld::open().unwrap();
        let ids_of_node = ids();
        for id in &ids_of_node {
            riklet::testing::contract::sandbox(&world.node, &id.uid, true).await;
        }
        let node = world.node.clone();
        let ours = at_four(&ids_of_node, |id| {
            let node = node.clone();
            async move {
                let workload = workload();
                let intent = Intent {
                    container: id.clone(),
                    snapshot: SNAPSHOT.to_owned(),
                    netns: None,
                };
                let request = CreateRequest {
                    intent: &intent,
                    instance: "cost",
                    workload: &workload,
                    addresses: &[],
                    users: None,
                };
                node.create(request).await.unwrap();
                node.start(&id).await.unwrap();
            }
        })
        .await;

        let layout = world.node.layout();
        let first = &ids_of_node[0];
        let config = fs::read_to_string(layout.bundle(first).join("config.json")).unwrap();
        let rel = world.cgroups.cgroups_path(&container_cgroup(first));
        let bundle = layout.bundle(first).display().to_string();
        let config = config
            .replace(&rel, "@CGROUP@")
            .replace(&bundle, "@BUNDLE@");
        let config: Arc<str> = config.into();
        let began = Instant::now();
        let looked = world.node.observe_all().await.unwrap();
        let observing = began.elapsed();
        assert_eq!(looked.instances.len(), CONTAINERS);
        let began = Instant::now();
        for id in &ids_of_node {
            world.node.observe(&id.uid).await.unwrap();
        }
        let observing_one = began.elapsed() / u32::try_from(CONTAINERS).unwrap();
        let node = world.node.clone();
        let removing = at_four(&ids_of_node, |id| {
            let node = node.clone();
            async move {
                node.remove(&id).await.unwrap();
                node.remove_sandbox(&id.uid).await.unwrap();
            }
        })
        .await;

        let spawner = Spawner::new(Reaper::start().unwrap(), world.cgroups.clone());
        let (dir, snapshot) = (
            layout.pods(),
            layout.state().join("snapshots").join(SNAPSHOT),
        );
        let snapshot = snapshot.join("rootfs");
        let bare = at_four(&ids(), |id| {
            bare(
                spawner.clone(),
                dir.join(id.uid.as_str()),
                snapshot.clone(),
                config.clone(),
                id,
            )
        })
        .await;
        let ratio = ours.as_secs_f64() / bare.as_secs_f64();
        best = best.min(ratio);
        println!(
            "{CONTAINERS} at {PARALLEL}: node {ours:?}, bare {bare:?}, {ratio:.2}x; \
             observe_all {observing:?}, observe {observing_one:?}, remove {removing:?}"
        );
    }
    assert!(best <= 1.5, "{best:.2} times the bare loop");
}
