//! Journal and store both gone with containers alive, and dangling references both ways.

use std::{collections::BTreeMap, fs, process::Command};

use super::{
    kinds::remove,
    world::{SERVE, World, modes, run, start_time},
};
use crate::support::daemon::{Daemon, process_runs, signal};

/// Rows of `ps` that nothing is known of, by uid.
fn unclaimed(node: &Daemon) -> BTreeMap<String, String> {
    let rows = node.ps().into_iter();
    let rows = rows.filter(|row| row["source"] == "unclaimed");
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_owned();
    rows.map(|row| (text(&row, "uid"), text(&row, "instance")))
        .collect()
}

fn until_unclaimed(node: &Daemon, many: usize) -> BTreeMap<String, String> {
    node.wait(&format!("{many} unclaimed"), |d| {
        Some(unclaimed(d)).filter(|found| found.len() == many)
    })
}

#[test]
fn s01_with_journal_and_store_gone_containers_run_on_unclaimed_until_they_are_named() {
    let mut world = World::new();
    for name in ["journal", "db"] {
        remove(&world.node.state().join(name)).unwrap();
    }
    world.node.start();
    let node = &world.node;
    let found = until_unclaimed(node, 3);
    let by_instance: BTreeMap<_, _> = found.iter().map(|(uid, id)| (id, uid)).collect();
    for (instance, uid) in &world.uids {
        assert_eq!(by_instance[instance], uid);
    }
    let shown = modes(node);
    assert!(shown.contains_key("JournalLost"), "{shown:?}");
    assert!(shown.contains_key("Unclaimed"), "{shown:?}");
    // Several looks later nothing was touched.
    world.let_time_pass();
    assert!(node.plan().is_empty());
    for (pid, began) in world.running.values() {
        assert_eq!(start_time(*pid).as_ref(), Some(began));
    }

    let (db, web) = (&world.uids["db@cli"], &world.uids["web@cli"]);
    let db_pid = world.running["db@cli"].0;
    let said = node.ok(&["delete", db]);
    assert!(said.out.contains("db@cli"), "{said:?}");
    node.wait("the deleted one to be gone", |d| {
        let gone = !process_runs(db_pid) && !d.state().join("pods").join(db).exists();
        (gone && unclaimed(d).len() == 2).then_some(())
    });

    // A create of the id of another replaces it: never both at once.
    let web_pid = world.running["web@cli"].0;
    let row = run(node, "web", SERVE);
    assert!(!process_runs(web_pid), "both run");
    assert_ne!(row["uid"].as_str().unwrap(), web);
    let left = until_unclaimed(node, 1);
    assert_eq!(left.values().next().unwrap(), "ticker@cli");
    let (ticker, began) = &world.running["ticker@cli"];
    assert_eq!(
        start_time(*ticker).as_ref(),
        Some(began),
        "it was named by nobody"
    );

    // By its instance's name, too; and what nobody bears is not found.
    assert_eq!(node.cli(&["delete", "nobody"]).code, 3);
    node.ok(&["delete", "ticker"]);
    node.ok(&["delete", "web"]);
    node.wait("the mode to be left", |d| {
        (!modes(d).contains_key("Unclaimed")).then_some(())
    });
    node.until_nothing_is_left();
}

#[test]
fn s05_a_container_without_an_instance_and_an_instance_without_a_container() {
    let mut world = World::new();
    // Everything of web's container goes, and only its record is left.
    let (pid, _) = world.running["web@cli"].clone();
    let (web, db) = (world.uids["web@cli"].clone(), world.uids["db@cli"].clone());
    let monitor = fs::read_to_string(world.node.run().join(format!("p/{web}-0-1/conmon.pid")));
    signal(monitor.unwrap().trim().parse().unwrap(), "KILL");
    signal(pid, "KILL");
    world
        .node
        .wait("it to end", |_| (!process_runs(pid)).then_some(()));
    let pod = world.node.state().join("pods").join(&web);
    let unmounted = Command::new("/bin/umount")
        .arg(pod.join("0-1/rootfs"))
        .status();
    assert!(unmounted.unwrap().success());
    remove(&pod).unwrap();
    for left in ["runc", "p"] {
        remove(&world.node.run().join(left).join(format!("{web}-0-1"))).unwrap();
    }
    remove(&world.node.state().join("exits").join(format!("{web}-0-1"))).unwrap();
    world.node.start();
    let node = &world.node;
    let web_again = node.wait("web to run again", |d| {
        let row = d.row("web@cli")?;
        (row["containers"][0]["state"] == "running").then_some(row)
    });
    assert_eq!(web_again["uid"].as_str().unwrap(), web);
    assert_ne!(web_again["containers"][0]["id"], format!("{web}-0-1"));
    assert!(unclaimed(node).is_empty());
    world.learn();

    // Everything of db's record goes, and only its container is left.
    world.node.kill9();
    forget(&world.node, &db);
    world.node.start();
    let node = &world.node;
    let found = until_unclaimed(node, 1);
    assert_eq!(found.get(&db).map(String::as_str), Some("db@cli"));
    for (pid, began) in world.running.values() {
        assert_eq!(start_time(*pid).as_ref(), Some(began));
    }
    for instance in ["web", "db", "ticker"] {
        node.ok(&["delete", instance]);
    }
    node.until_nothing_is_left();
}

/// Every line about an incarnation is made unreadable, and so is the store.
fn forget(node: &Daemon, uid: &str) {
    remove(&node.state().join("db")).unwrap();
    for entry in fs::read_dir(node.state().join("journal")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with("snapshot-") {
            remove(&path).unwrap();
        } else if name.ends_with(".jsonl") {
            let text = fs::read_to_string(&path).unwrap();
            let blank = "x".repeat(uid.len());
            fs::write(&path, text.replace(uid, &blank)).unwrap();
        }
    }
}
