//! Errands at real containers: from where they reach them, and that nothing outlives them.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, time::Duration};

use riklet::{
    model::{
        ids::ContainerId,
        line::Intent,
        spec::{EnvVar, Errand, HttpErrand, WorkloadSpec},
    },
    node::{CreateRequest, ErrandEnd, FailureKind, Node},
    runtime::{
        layout::{container_cgroup, netns_name},
        real_node::RealNode,
    },
    testing::{
        contract::{fresh_id, sandbox, until, workload},
        real_world::{BusyboxImage, RealWorld, SNAPSHOT},
    },
};

type RealBusybox = RealNode<BusyboxImage>;

const LONG: Duration = Duration::from_secs(30);

/// A container in a network namespace of its own, without an address.
async fn running(node: &RealBusybox, script: &str) -> ContainerId {
    let id = fresh_id();
    let mut workload: WorkloadSpec = workload();
    workload.host_network = false;
    workload.containers[0].command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    workload.containers[0].env = vec![EnvVar {
        name: "TOKEN".into(),
        value: "hunter2hunter2".into(),
        ..EnvVar::default()
    }];
    sandbox(node, &id.uid, false).await;
    let intent = Intent {
        container: id.clone(),
        snapshot: SNAPSHOT.to_owned(),
        netns: Some(netns_name(&id.uid)),
    };
    let request = CreateRequest {
        intent: &intent,
        instance: "errand-1",
        workload: &workload,
        addresses: &[],
        users: None,
    };
    node.create(request).await.unwrap();
    node.start(&id).await.unwrap();
    id
}

async fn ask(node: &RealBusybox, id: &ContainerId, errand: &Errand, limit: Duration) -> ErrandEnd {
    node.errand(id, None, errand, limit).await.unwrap()
}

fn shell(script: &str) -> Errand {
    Errand::Exec {
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
    }
}

fn get(port: u16, path: &str) -> Errand {
    Errand::Http(HttpErrand {
        port,
        path: path.to_owned(),
        ..HttpErrand::default()
    })
}

/// Asks until it is done well: the server inside may not listen yet.
async fn until_ok(node: &RealBusybox, id: &ContainerId, errand: &Errand) -> ErrandEnd {
    for _ in 0..3000 {
        let end = ask(node, id, errand, LONG).await;
        if end.ok {
            return end;
        }
        tokio::task::yield_now().await;
    }
    ask(node, id, errand, LONG).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_an_address_is_reached_within_its_namespace() {
    let world = RealWorld::open().unwrap();
    let node = &world.node;
    let serve =
        "/bin/busybox mkdir /www; echo hi > /www/x; exec /bin/busybox httpd -f -p 8080 -h /www";
    let id = running(node, serve).await;
    let tcp = |port| Errand::Tcp { port, host: None };
    let end = until_ok(node, &id, &tcp(8080)).await;
    assert!(end.ok, "{end:?}");
    let end = ask(node, &id, &get(8080, "/x"), LONG).await;
    assert_eq!((end.ok, end.message.as_str()), (true, "status 200"));
    let end = ask(node, &id, &get(8080, "/none"), LONG).await;
    assert_eq!((end.ok, end.message.as_str()), (false, "status 404"));
    let end = ask(node, &id, &tcp(8081), LONG).await;
    assert!(!end.ok && end.message.contains("refused"), "{end:?}");
    // The host's loopback is another one.
    let elsewhere = Errand::Tcp {
        port: 8080,
        host: Some("127.0.0.1".into()),
    };
    assert!(!ask(node, &id, &elsewhere, LONG).await.ok);
    let grpc = Errand::Grpc {
        port: 8080,
        service: String::new(),
    };
    assert!(
        !ask(node, &id, &grpc, LONG).await.ok,
        "httpd speaks no gRPC"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_inside_and_says_what_it_saw() {
    let world = RealWorld::open().unwrap();
    let node = &world.node;
    let id = running(node, "echo inside > /here; while :; do sleep 1; done").await;
    let end = until_ok(node, &id, &shell("cat /here")).await;
    assert_eq!((end.ok, end.message.as_str()), (true, "inside"));
    let end = ask(node, &id, &shell("echo no >&2; exit 3"), LONG).await;
    assert_eq!((end.ok, end.message.as_str()), (false, "exit code 3: no"));
    let end = ask(node, &id, &shell("echo my $TOKEN"), LONG).await;
    assert_eq!((end.ok, end.message.as_str()), (true, "my ***"));
    let end = ask(
        node,
        &id,
        &shell("while echo xxxxxxxxxxxxxxxxxxx; do :; done | /bin/busybox head -n 100000"),
        LONG,
    )
    .await;
    assert_eq!((end.ok, end.message.len()), (true, 1024));
    let none = Errand::Exec {
        command: vec!["/none".into()],
    };
    let end = ask(node, &id, &none, LONG).await;
    assert!(!end.ok && end.message.contains("/none"), "{end:?}");

    node.signal(&id, 9).await.unwrap();
    until(node, &id, |c| c.exit.is_some()).await;
    let failure = node
        .errand(&id, None, &shell("true"), LONG)
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Transient, "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_late_dies_inside_the_container_too() {
    let world = RealWorld::open().unwrap();
    let node = &world.node;
    let id = running(node, "sleep 1000 & while :; do sleep 1000; done").await;
    let end = until_ok(node, &id, &shell("true")).await;
    assert!(end.ok, "{end:?}");
    // Init and its two children; one of them may just be on its way.
    let commands = || {
        let pids = world.cgroups.pids(&container_cgroup(&id)).into_iter();
        let command = |pid| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let texts = pids.map(|pid| String::from_utf8_lossy(&command(pid)).replace('\0', " "));
        texts.collect::<Vec<_>>()
    };
    let limit = Duration::from_millis(700);
    // A child, a child that lost its parent, one that ignores SIGTERM, and the command itself.
    let many = "trap '' TERM; sleep 2000 & (sleep 2000 &) ; echo began > /began; sleep 2000";
    let end = ask(node, &id, &shell(many), limit).await;
    assert_eq!(
        (end.ok, end.message.as_str()),
        (false, "not done within 700ms")
    );
    let began = node.layout().bundle(&id).join("upper/began");
    assert!(began.exists(), "it had begun");
    assert_eq!(
        commands().iter().filter(|c| c.contains("2000")).count(),
        0,
        "{:?}",
        commands()
    );
    assert_eq!(
        commands()
            .iter()
            .filter(|c| c.starts_with("sleep 1000"))
            .count(),
        2
    );

    // One that was given up by who waited for it, and one whose daemon was killed: the first runs
    // to its limit, the second is ended by the next start.
    let long = shell("sleep 3000");
    let given_up = node.errand(&id, None, &long, LONG);
    let saw_it = until_there(&commands, "sleep 3000");
    tokio::select! {
        end = given_up => panic!("{end:?}"),
        () = saw_it => {}
    }
    world.restarted().unwrap().sweep_work().await.unwrap();
    assert_eq!(
        commands().iter().filter(|c| c.contains("3000")).count(),
        0,
        "{:?}",
        commands()
    );
    assert_eq!(
        commands()
            .iter()
            .filter(|c| c.starts_with("sleep 1000"))
            .count(),
        2
    );
}

async fn until_there(commands: &impl Fn() -> Vec<String>, what: &str) {
    while !commands().iter().any(|command| command.starts_with(what)) {
        tokio::task::yield_now().await;
    }
}
