//! What a node has room for: images on its disk, and instances. A real daemon, a real registry.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends there"
)]

mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
    pub mod loop_disk;
    pub mod registry;
}

use std::{
    collections::BTreeSet,
    net::{TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FallocateFlags, fallocate},
    sys::statvfs::statvfs,
};
use serde_json::{Value, json};
use support::{
    daemon::{Daemon, Said},
    image::Image,
    loop_disk::{self, Mounted},
    registry::{Registry, StallingRegistry, Trickle},
};

fn apply(daemon: &Daemon, name: &str, definition: &Value) -> Said {
    let file = daemon.dir().join(format!("{name}.json"));
    std::fs::write(&file, definition.to_string()).unwrap();
    daemon.cli(&["apply", "-f", file.to_str().unwrap()])
}

fn until_state(daemon: &Daemon, id: &str, state: &str) {
    daemon.wait(&format!("{id} to be {state}"), |d| {
        (d.row(id)?["state"] == state).then_some(())
    });
}

fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

/// A server on the node's own network.
fn server(daemon: &Daemon, name: &str, port: u16) -> Value {
    let script = format!("trap 'exit 0' TERM; httpd -f -p 127.0.0.1:{port} & wait");
    let mut definition = daemon.definition(name, &script);
    definition["spec"]["hostNetwork"] = json!(true);
    definition["spec"]["containers"][0]["ports"] = json!({ "port": port, "target_port": port });
    definition
}

#[test]
fn s33_two_want_one_host_port_and_after_a_crash_a_freed_port_is_free() {
    let mut daemon = Daemon::prepare();
    daemon.start();
    let port = free_port();
    assert_eq!(apply(&daemon, "one", &server(&daemon, "one", port)).code, 0);
    until_state(&daemon, "one@cli", "Running");
    daemon.wait("its port", |_| TcpStream::connect(("127.0.0.1", port)).ok());

    let refused = |daemon: &Daemon| {
        let said = apply(daemon, "two", &server(daemon, "two", port));
        assert_eq!(said.code, 1, "{said:?}");
        let wanted =
            format!("PortConflict: spec.containers[0].ports[0]: the node's port {port}/TCP");
        assert!(said.err.contains(&wanted), "{said:?}");
        assert!(said.err.contains("is taken by one@cli"), "{said:?}");
    };
    refused(&daemon);
    let row = daemon.row("two@cli").unwrap();
    assert_eq!(
        (&row["state"], &row["reason"]),
        (&json!("Failed"), &json!("PortConflict"))
    );
    // Whoever held it before a crash holds it after.
    daemon.kill9();
    daemon.start();
    refused(&daemon);
    assert_eq!(daemon.cli(&["delete", "one"]).code, 0);
    daemon.kill9();
    daemon.start();
    daemon.wait("one to be gone", |d| {
        d.row("one@cli").is_none().then_some(())
    });
    assert_eq!(apply(&daemon, "two", &server(&daemon, "two", port)).code, 0);
    until_state(&daemon, "two@cli", "Running");
    daemon.wait("the other's port", |_| {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    assert_eq!(daemon.cli(&["delete", "two"]).code, 0);
    daemon.until_nothing_is_left();
}

#[test]
fn images_are_listed_pulled_and_pruned_and_listed_without_the_daemon() {
    let registry = Registry::start();
    let image = registry.image("app:1");
    let mut daemon = Daemon::prepare().env("RIKLET_IMAGES__GC_MIN_AGE", "1h");
    let digest = Image::marked("a").push(&daemon.dir().join("made"), &image);
    daemon.start();
    let pulled = daemon.cli(&["images", "pull", &image]);
    assert_eq!(pulled.code, 0, "{pulled:?}");
    assert!(pulled.out.contains(&digest), "{pulled:?}");
    assert!(
        !pulled.err.contains('\u{1b}'),
        "a bar is for terminals: {pulled:?}"
    );
    let missing = daemon.cli(&["images", "pull", &registry.image("nope:1")]);
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(
        missing.err.contains("check its name and tag"),
        "{missing:?}"
    );
    assert_eq!(daemon.cli(&["images", "pull", "NOT an image"]).code, 1);

    let mut web = daemon.definition("web", "sleep 1000000");
    assert_eq!(apply(&daemon, "web", &web).code, 0);
    until_state(&daemon, "web@cli", "Running");
    let rows = |daemon: &Daemon| daemon.cli(&["images", "ls", "-o", "json"]).json();
    let of = |rows: &Value, name: &str| {
        let mut all = rows.as_array().unwrap().iter();
        let named = |row: &&Value| row["names"].as_array().unwrap().contains(&json!(name));
        all.find(named).cloned().unwrap()
    };
    let both = rows(&daemon);
    assert_eq!(of(&both, &image)["used_by"], json!([]));
    assert_eq!(of(&both, &image)["digest"], json!(digest));
    assert_eq!(of(&both, &daemon.image())["used_by"], json!(["web@cli"]));
    assert!(of(&both, &image)["bytes"].as_u64().unwrap() > 500_000);
    let table = daemon.cli(&["images", "ls"]).out;
    assert!(
        table.starts_with("IMAGE") && table.contains("USED BY"),
        "{table}"
    );
    assert!(daemon.cli(&["status"]).out.contains("Images"), "status");
    assert!(daemon.cli(&["doctor"]).out.contains("images"), "doctor");

    // Never: what was pulled by hand is there, what wasn't is said not to be.
    web["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
    web["name"] = json!("never");
    web["spec"]["containers"][0]["image"] = json!(registry.image("nope:1"));
    assert_eq!(apply(&daemon, "never", &web).code, 0);
    daemon.wait("never to be Failed", |d| {
        (d.row("never@cli")?["reason"] == "ErrImageNeverPull").then_some(())
    });
    assert_eq!(daemon.cli(&["delete", "never"]).code, 0);

    // What was used a moment ago stays, unless it is said otherwise; what is in use always does.
    assert_eq!(daemon.cli(&["images", "prune"]).code, 0);
    assert_eq!(rows(&daemon).as_array().unwrap().len(), 2);
    daemon.wait("the unused image to go", |d| {
        let pruned = d.cli(&["images", "prune", "--all", "-o", "json"]).json();
        (pruned["snapshots"].as_array()?.len() == 1).then_some(())
    });
    let one = rows(&daemon);
    assert_eq!(one.as_array().unwrap().len(), 1);
    daemon.kill9();
    let dead = daemon.cli(&["images", "ls", "-o", "json"]);
    assert_eq!(dead.json(), one);
    assert!(dead.err.contains("no daemon answers"), "{dead:?}");
    assert_eq!(daemon.cli(&["images", "prune"]).code, 4);
    daemon.start();
    until_state(&daemon, "web@cli", "Running");
    assert_eq!(daemon.cli(&["delete", "web"]).code, 0);
    daemon.until_nothing_is_left();
}

#[test]
fn describe_says_how_far_a_pull_is() {
    let mut daemon = Daemon::prepare();
    let layout = daemon.dir().join("stalls");
    Image::marked("slow").write(&layout);
    let pace = Duration::from_millis(20);
    let registry = StallingRegistry::start(&layout, Trickle::Layers, 100_000, pace);
    daemon.start();
    let mut slow = daemon.definition("slow", "true");
    slow["spec"]["containers"][0]["image"] = json!(registry.image("slow:1"));
    assert_eq!(apply(&daemon, "slow", &slow).code, 0);
    daemon.wait("bytes of the pull", |d| {
        let view = d.cli(&["describe", "slow", "-o", "json"]).json();
        let pull = &view["containers"][0]["pull"];
        (pull["bytes"].as_u64()? > 0 && pull["layers"] == 2).then_some(())
    });
    let said = daemon.cli(&["describe", "slow"]).out;
    assert!(said.contains("fetching, "), "{said}");
    assert_eq!(daemon.cli(&["delete", "slow"]).code, 0);
    daemon.until_nothing_is_left();
}

#[test]
fn a_pull_that_finds_no_space_makes_room_and_succeeds() {
    let registry = Registry::start();
    let mut daemon = Daemon::prepare().env("RIKLET_IMAGES__GC_MIN_AGE", "1s");
    let disk = daemon.dir().join("disk");
    std::fs::create_dir(&disk).unwrap();
    daemon.mount(&["-t", "tmpfs", "-o", "size=80m", "riklet-test"], &disk);
    let mut daemon = daemon.on_disk(&disk, Box::new(()));
    let push = |daemon: &Daemon, name: &str| {
        let big = Image::marked(name).file("big", &vec![b'x'; 40 << 20]);
        let big = big.cmd(&["/bin/sleep", "1000000"]);
        let image = registry.image(&format!("{name}:1"));
        big.push(&daemon.dir().join(name), &image);
        image
    };
    let (unused, wanted) = (push(&daemon, "unused"), push(&daemon, "wanted"));
    daemon.start();
    let pulled = daemon.cli(&["images", "pull", &unused]);
    assert_eq!(pulled.code, 0, "{pulled:?}");
    // What was had a moment ago is nobody's prey.
    let had = Instant::now();
    daemon.wait("it to be a moment ago no longer", |_| {
        (had.elapsed() > Duration::from_secs(6)).then_some(())
    });
    let mut definition = daemon.definition("big", "");
    definition["spec"]["containers"][0]["image"] = json!(wanted);
    let applied = apply(&daemon, "big", &definition);
    assert_eq!(applied.code, 0, "{applied:?}");
    until_state(&daemon, "big@cli", "Running");
    let left = daemon.cli(&["images", "ls", "-o", "json"]).json();
    let names = left[0]["names"].clone();
    assert_eq!(
        (left.as_array().unwrap().len(), names),
        (1, json!([wanted]))
    );
    assert_eq!(daemon.cli(&["delete", "big"]).code, 0);
    daemon.wait("nothing but the disk to be left", |d| {
        (d.row("big@cli").is_none() && d.leaks().len() == 1).then_some(())
    });
}

/// Somebody else's file makes a disk so full, in hundredths.
fn fill(disk: &Path, percent: u64) {
    let stat = statvfs(disk).unwrap();
    let all = (stat.blocks() - stat.blocks_free() + stat.blocks_available()) * stat.fragment_size();
    let free = stat.blocks_available() * stat.fragment_size();
    let more = free.saturating_sub(all * (100 - percent) / 100);
    if more == 0 {
        return;
    }
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(disk.join("somebody-elses"))
        .unwrap();
    let had = i64::try_from(file.metadata().unwrap().len()).unwrap();
    let more = i64::try_from(more.next_multiple_of(4096)).unwrap();
    fallocate(&file, FallocateFlags::empty(), had, more).unwrap();
}

/// The images that `images ls` tells of, by the last part of their names.
fn listed(daemon: &Daemon) -> BTreeSet<String> {
    let rows = daemon.ok(&["images", "ls", "-o", "json"]).json();
    let names = rows.as_array().unwrap().iter().map(|row| {
        let name = row["names"][0].as_str().unwrap();
        let name = name.trim_end_matches(":img");
        name.rsplit('/').next().unwrap().to_owned()
    });
    names.collect()
}

#[test]
fn on_a_disk_that_gets_full_what_nothing_uses_goes_the_longest_unused_first_and_no_more_than_needed()
 {
    const MIN_AGE: Duration = Duration::from_secs(8);
    let daemon = Daemon::prepare()
        .env("RIKLET_IMAGES__GC_INTERVAL", "200ms")
        .env("RIKLET_IMAGES__GC_MIN_AGE", "8s");
    let (file, disk) = (daemon.dir().join("disk.img"), daemon.dir().join("disk"));
    loop_disk::make(&file, 256, &["-J", "size=4"]);
    let mounted = Mounted::image(&file, &disk);
    let mut daemon = daemon.on_disk(&disk, Box::new(mounted));
    // A tenth of the disk each.
    let image = |daemon: &Daemon, name: &str| {
        let layout = daemon.dir().join(name);
        let big = Image::marked(name).file("big", &vec![b'x'; 26 << 20]);
        big.cmd(&["/bin/sleep", "1000000"]).write(&layout);
        format!("oci:{}:img", layout.display())
    };
    let [early, late, young, runs] =
        ["early", "late", "young", "runs"].map(|name| image(&daemon, name));
    let names = |all: &[&str]| {
        all.iter()
            .map(|name| (*name).to_owned())
            .collect::<BTreeSet<_>>()
    };
    let passed = |daemon: &Daemon, since: Instant, limit: Duration| {
        daemon.wait("time to pass", |_| (since.elapsed() > limit).then_some(()));
    };
    let full = |daemon: &Daemon| daemon.status()["images"]["full_percent"].as_u64().unwrap();
    daemon.start();
    let mut definition = daemon.definition("runs", "");
    definition["spec"]["containers"][0]["image"] = json!(runs);
    daemon.apply(&definition);
    daemon.until("runs@cli", "Running");
    let pid = daemon.pids()["runs@cli"].clone();
    for image in [&early, &late] {
        daemon.ok(&["images", "pull", image]);
    }
    // The one that came first is used once more, a while later.
    passed(&daemon, Instant::now(), Duration::from_secs(2));
    daemon.ok(&["images", "pull", &early]);
    passed(&daemon, Instant::now(), MIN_AGE);
    assert_eq!(listed(&daemon), names(&["early", "late", "runs"]));
    assert!(full(&daemon) < 85, "{}", daemon.status());
    assert_eq!(daemon.status()["images"]["images"], 3);

    // Over the upper mark: down to the lower one, and no further.
    fill(&disk, 87);
    daemon.wait("an image to go", |d| (listed(d).len() < 3).then_some(()));
    passed(&daemon, Instant::now(), Duration::from_secs(1));
    assert_eq!(listed(&daemon), names(&["early", "runs"]));
    assert!((70..=80).contains(&full(&daemon)), "{}", daemon.status());
    assert_eq!(daemon.status()["images"]["images"], 2);
    assert!(daemon.log().contains("images that nothing uses went"));

    // What was used a moment ago is the last to go, and not before its time.
    daemon.ok(&["images", "pull", &young]);
    let had = Instant::now();
    fill(&disk, 96);
    daemon.wait("the older one to go", |d| {
        (!listed(d).contains("early")).then_some(())
    });
    fill(&disk, 96);
    daemon.wait("the younger one to go", |d| {
        (!listed(d).contains("young")).then_some(())
    });
    assert!(had.elapsed() >= MIN_AGE, "{:?}", had.elapsed());
    assert_eq!(listed(&daemon), names(&["runs"]));

    // What runs stays, however full the disk is.
    fill(&disk, 94);
    passed(&daemon, Instant::now(), Duration::from_secs(1));
    assert_eq!(listed(&daemon), names(&["runs"]));
    assert!(full(&daemon) > 90, "{}", daemon.status());
    assert_eq!(daemon.pids()["runs@cli"], pid);
    let said = daemon.ok(&["status"]).out;
    assert!(said.contains("\nImages          1, "), "{said}");
    daemon.ok(&["delete", "runs"]);
    daemon.wait("its image to go, once nothing uses it", |d| {
        listed(d).is_empty().then_some(())
    });
    assert_eq!(daemon.status()["images"]["images"], 0);
    // Only the disk's own mount is left.
    daemon.wait("nothing but the disk to be left", |d| {
        (d.row("runs@cli").is_none() && d.leaks().len() == 1).then_some(())
    });
}

#[test]
fn what_the_node_cannot_give_is_refused_with_every_reason_at_once() {
    let mut daemon = Daemon::prepare().env("RIKLET_SECURITY__CLI__HOST_PID", "false");
    daemon.start();
    let mut greedy = daemon.definition("greedy", "sleep 1000000");
    let spec = &mut greedy["spec"];
    spec["hostPID"] = json!(true);
    let own = daemon.state().join("journal");
    spec["volumes"] = json!([{ "name": "v", "hostPath": { "path": own } }]);
    spec["containers"][0]["resources"] = json!({ "requests": { "memory": "900Ti", "cpu": "1" } });
    let said = apply(&daemon, "greedy", &greedy);
    assert_eq!(said.code, 1, "{said:?}");
    for part in [
        "Forbidden",
        "spec.hostPID: ",
        "security.cli.host_pid",
        "spec.volumes[0].hostPath.path: riklet's own state or run directory",
        "requests 900 TiB of memory",
        "nobody has any",
    ] {
        assert!(said.err.contains(part), "{part}: {said:?}");
    }
    daemon.until_nothing_is_left();
}
