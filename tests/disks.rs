//! Full and failing disks, under the built daemon: each degraded mode is entered, shown, acts as
//! stated and is left by itself; nothing is killed in any of them.
//!
//! The state dir lies on a small ext4 of its own. It is filled by a container, in a pull, in an
//! unpack, in the journal, in the store, before a start; syncs fail by strace's injection (this
//! kernel has no device-mapper), once and for good; and with the answer that a disk gives that
//! was remounted read-only. (To remount one that the daemon writes to is refused by the kernel,
//! and from an ext4's own flight into read-only there is no way back without an unmount.)

#![allow(
    dead_code,
    unreachable_pub,
    reason = "support files are shared; each test file uses its own part"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that says what it measured; clippy knows only #[test] functions as such; its \
              programs are not riklet's children"
)]

mod full {
    pub mod node;
}
mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
    pub mod loop_disk;
    pub mod proof;
    pub mod strace;
}

use std::{net::SocketAddr, time::Duration};

use full::node::{Node, OBEYS, SERVES};
use riklet::testing::scheduler::{Core, Event, Manners, Scheduler};
use serde_json::json;
use support::{
    daemon::{SOON, signal},
    image::Image,
    proof::Proof,
    strace::Strace,
};

fn proof(promise: &'static str) -> Proof {
    Proof::of(
        promise,
        "the daemon on a small ext4: filled by a container, in a pull, in an unpack, in the \
         journal and the store, and before a start; syncs that fail, by strace",
    )
}

#[test]
fn s12_a_disk_that_a_container_fills_kills_nothing_and_heals_by_itself() {
    let mut proof = proof(
        "a disk that a container fills kills nothing, a start on it adopts, destroys and exits go on, and it heals by itself",
    );
    let mut node = Node::on(96);
    for (name, script) in [("stays", SERVES), ("goes", SERVES), ("ends", OBEYS)] {
        node.runs(name, script);
    }
    let before = node.daemon.pids();
    // It fills what there is, and runs on.
    let fills = r#"trap "exit 0" TERM; cat /dev/zero > /filled; sleep 1000000 & wait"#;
    node.daemon.apply(&node.daemon.definition("fills", fills));
    node.until_mode("DiskFull", true);
    node.until_entered("DiskFull");
    node.daemon.wait("a disk that is full", |_| {
        (node.free() < 1 << 20).then_some(())
    });
    proof.one("DiskFull entered, shown and left: by a container");

    // Destroys are done, exits are written down.
    node.daemon.ok(&["delete", "goes"]);
    node.daemon.wait("goes to be gone", |d| {
        d.row("goes@cli").is_none().then_some(())
    });
    signal(before["ends@cli"][0], "USR1");
    node.until_exit("ends@cli", 37);
    // A create is taken; it runs once there is room for it.
    node.daemon.apply(&node.daemon.definition("late", SERVES));

    // A start on the full disk, and one behind half a line.
    for half_a_line in [false, true] {
        node.daemon.kill9();
        if half_a_line {
            node.write_half_a_line();
        }
        node.daemon.start();
        proof.one("starts on a full disk");
        node.until_mode("DiskFull", true);
        node.until_entered("DiskFull");
        assert!(
            !node.modes().contains("JournalReadOnly"),
            "{:?}",
            node.modes()
        );
        assert_eq!(node.daemon.pids()["stays@cli"], before["stays@cli"]);
    }

    // What filled it is destroyed, and everything goes on.
    node.daemon.ok(&["delete", "fills"]);
    node.until_mode("DiskFull", false);
    for name in ["late@cli", "ends@cli"] {
        node.until_within(Duration::from_secs(120), name, "Running");
    }
    assert_eq!(node.daemon.pids()["stays@cli"], before["stays@cli"]);
    node.was_entered_and_left("DiskFull");
    node.is_sound();
    proof.conclude("full_and_failing_disks_container", &[]);
}

#[test]
fn s12_a_pull_and_an_unpack_that_fill_the_disk_are_tried_again_once_there_is_room() {
    let mut proof =
        proof("a pull or an unpack that fills the disk is tried again once there is room");
    let node = Node::on(160);
    node.runs("stays", SERVES);
    let before = node.daemon.pids();
    let noise: Vec<u8> = (0_u64..1_500_000)
        .flat_map(|n| {
            n.wrapping_mul(0x9E37_79B9_7F4A_7C15)
                .rotate_left(31)
                .wrapping_mul(n | 1)
                .to_le_bytes()
        })
        .collect();
    // What doesn't shrink is too big for the pull; what does, for the unpack alone.
    let images = [("pulled", noise), ("unpacked", vec![0; 40 << 20])];
    node.fill(4 << 20);
    for (name, bytes) in images {
        let layout = node.daemon.dir().join(name);
        let script = r#"eval "$SCRIPT""#;
        Image::marked(name)
            .file("big", &bytes)
            .cmd(&["/bin/sh", "-c", script])
            .write(&layout);
        let mut definition = node.daemon.definition(name, SERVES);
        definition["spec"]["containers"][0]["image"] =
            json!(format!("oci:{}:img", layout.display()));
        node.daemon.apply(&definition);
        node.until_failed_for_space(&format!("{name}@cli"));
        proof.one(format!(
            "DiskFull entered, shown and left: while it is {name}"
        ));
    }
    node.until_mode("DiskFull", true);
    node.until_entered("DiskFull");
    assert_eq!(node.daemon.pids(), before);
    node.make_room();
    node.until_mode("DiskFull", false);
    for name in ["pulled@cli", "unpacked@cli"] {
        node.until_within(Duration::from_secs(120), name, "Running");
    }
    assert_eq!(node.daemon.pids()["stays@cli"], before["stays@cli"]);
    node.was_entered_and_left("DiskFull");
    proof.conclude("full_and_failing_disks_pulls", &[]);
}

fn reason(core: &Core, instance: &str) -> Option<String> {
    let (events, _) = core.events(0);
    let last = events.into_iter().rev().find_map(|event| match event {
        Event::Instance {
            instance: id,
            status,
            reason,
            ..
        } if id == instance => Some((status, reason)),
        _ => None,
    });
    last.filter(|(status, _)| status == "FAILED")
        .map(|(_, reason)| reason)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s12_a_journal_and_a_store_without_space_refuse_creates_on_the_wire_and_destroy_all_the_same()
 {
    let mut proof = proof(
        "a journal and a store without space refuse creates on the wire, destroy all the same, and heal by themselves",
    );
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let scheduler = Scheduler::start(anywhere, Manners::Kind).await.unwrap();
    let mut node = Node::with_scheduler(96, &scheduler.url());
    let definition = |name: &str| node.daemon.definition(name, SERVES).to_string();
    for id in ["stays", "goes"] {
        scheduler.create(id, &definition(id)).unwrap();
        node.daemon.until(id, "Running");
    }
    let before = node.daemon.pids();
    node.fill(0);
    // Definitions of 200 KB, one in place of the other, of an image that is nowhere.
    let refused = (0..80).find_map(|n| {
        let script = format!("# {n} {}", "x".repeat(100_000));
        let mut big = node.daemon.definition("big", &script);
        let more = json!({ "name": "MORE", "value": "y".repeat(100_000) });
        let env = &mut big["spec"]["containers"][0]["env"];
        env.as_array_mut().unwrap().push(more);
        big["spec"]["containers"][0]["image"] = json!("oci:/nowhere:img");
        let said = node.try_apply(&big);
        (said.code != 0).then_some(said)
    });
    let refused = refused.expect("the reserve runs low");
    assert!(refused.err.contains("the disk is full"), "{refused:?}");
    node.until_mode("DiskFull", true);
    node.until_entered("DiskFull");
    node.until_mode("StoreOff", true);
    node.until_entered("StoreOff");
    proof.one("DiskFull entered, shown and left: in the journal");
    proof.one("StoreOff entered, shown and left: in the store");

    // The scheduler is told, once, and what runs is not touched.
    scheduler.create("late", &definition("late")).unwrap();
    let told = |core: &Core| reason(core, "late");
    let why = scheduler.wait("FAILED of late", SOON, told).await.unwrap();
    assert_eq!(why, "DiskFull");
    scheduler.destroy("goes").unwrap();
    let gone = |core: &Core| core.terminated.contains_key("goes").then_some(());
    scheduler
        .wait("TERMINATED of goes", SOON, gone)
        .await
        .unwrap();
    assert_eq!(node.daemon.pids()["stays"], before["stays"]);

    node.make_room();
    node.until_mode("DiskFull", false);
    node.until_mode("StoreOff", false);
    scheduler.destroy("late").unwrap();
    let gone = |core: &Core| core.terminated.contains_key("late").then_some(());
    scheduler
        .wait("TERMINATED of late", SOON, gone)
        .await
        .unwrap();
    scheduler.create("again", &definition("again")).unwrap();
    node.daemon.until("again", "Running");
    assert_eq!(node.daemon.pids()["stays"], before["stays"]);
    node.was_entered_and_left("DiskFull");
    node.was_entered_and_left("StoreOff");
    node.is_sound();
    // A store that is whole: the next start loads it.
    node.daemon.restart();
    assert!(!node.modes().contains("StoreRebuilt"), "{:?}", node.modes());
    proof.conclude("full_and_failing_disks_journal_store", &[]);
}

#[test]
fn a_sync_that_fails_once_costs_what_waited_for_it_and_nothing_else() {
    let mut proof = proof("a sync that fails once costs what waited for it and nothing else");
    let mut node = Node::on(96);
    node.runs("stays", SERVES);
    let before = node.daemon.pids();
    let one = node.daemon.definition("one", SERVES);
    {
        let faults = ["fdatasync:error=EIO:when=1"];
        let _strace = Strace::inject(node.daemon.pid(), &node.daemon.dir().join("said"), &faults);
        let said = node.try_apply(&one);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains("withdrawn"), "{said:?}");
        assert!(
            node.daemon.row("one@cli").is_none(),
            "what wasn't accepted isn't there"
        );
    }
    proof.one("syncs that failed once");
    node.daemon.apply(&one);
    node.daemon.until("one@cli", "Running");
    assert_eq!(node.daemon.pids()["stays@cli"], before["stays@cli"]);
    assert_eq!(node.modes().len(), 0, "{:?}", node.modes());
    node.is_sound();
    node.daemon.restart();
    assert_eq!(node.daemon.pids()["stays@cli"], before["stays@cli"]);
    assert_eq!(node.modes().len(), 0, "{:?}", node.modes());
    proof.conclude("full_and_failing_disks_sync_once", &[]);
}

#[test]
fn a_journal_that_cannot_be_written_accepts_nothing_kills_nothing_and_heals_by_itself() {
    let mut proof = proof(
        "a journal that can't be written accepts nothing, kills nothing, says so and heals by itself",
    );
    let node = Node::on(96);
    for (name, script) in [("stays", SERVES), ("ends", OBEYS)] {
        node.runs(name, script);
    }
    let before = node.daemon.pids();
    for error in ["EIO", "EROFS"] {
        let ends = node.daemon.pids()["ends@cli"][0];
        {
            let fault = |call: &str| format!("{call}:error={error}");
            let faults = [fault("fdatasync"), fault("fallocate")];
            let faults = [faults[0].as_str(), faults[1].as_str()];
            let said = node.daemon.dir().join("said");
            let _strace = Strace::inject(node.daemon.pid(), &said, &faults);
            let said = node.try_apply(&node.daemon.definition("late", SERVES));
            assert_eq!(said.code, 1, "{said:?}");
            node.until_mode("JournalReadOnly", true);
            for ask in [&["delete", "stays"][..], &["delete", "--force", "stays"]] {
                let said = node.daemon.cli(ask);
                assert_eq!(said.code, 1, "{said:?}");
                assert!(said.err.contains("can't be written"), "{said:?}");
            }
            // An exit is seen, and waits to be written down.
            signal(ends, "USR1");
            node.daemon.wait("ends to end", |_| {
                (!support::daemon::process_runs(ends)).then_some(())
            });
            assert_eq!(node.daemon.pids()["stays@cli"], before["stays@cli"]);
            assert!(support::daemon::process_runs(before["stays@cli"][0]));
        }
        node.until_mode("JournalReadOnly", false);
        proof.one(format!("JournalReadOnly entered, shown and left: {error}"));
        node.until_exit("ends@cli", 37);
        node.daemon.wait("ends to run again", |d| {
            let row = d.row("ends@cli")?;
            let pid = d.pids().get("ends@cli")?.first().copied()?;
            (row["state"] == "Running" && pid != ends).then_some(())
        });
        assert!(node.daemon.row("late@cli").is_none());
        node.was_entered_and_left("JournalReadOnly");
    }
    assert_eq!(node.daemon.pids()["stays@cli"], before["stays@cli"]);
    node.daemon.ok(&["delete", "stays"]);
    node.daemon.wait("stays to be gone", |d| {
        d.row("stays@cli").is_none().then_some(())
    });
    node.is_sound();
    proof.conclude("full_and_failing_disks_read_only", &[]);
}
