//! `riklet leaks`: names what is there and shouldn't be, and nothing else.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "clippy knows only #[test] functions as such; a test's programs are not riklet's \
              children"
)]

mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
    pub mod registry;
}

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::json;
use sha2::{Digest as _, Sha512};
use support::{
    daemon::{Daemon, Said},
    image::Image,
    registry::{StallingRegistry, Trickle},
};

const WAITS: &str = "trap 'exit 0' TERM; while :; do sleep 1000000 & wait; done";

fn leaks(daemon: &Daemon) -> Said {
    let run = daemon.run();
    daemon.cli(&["leaks", "-o", "json", "--run-dir", run.to_str().unwrap()])
}

/// Kinds and names of what was found.
fn found(said: &Said) -> BTreeSet<(String, String)> {
    let view = said.json();
    let leaks = view["leaks"].as_array().unwrap().iter();
    leaks
        .map(|leak| {
            assert!(!leak["why"].as_str().unwrap().is_empty());
            assert!(!leak["mend"].as_str().unwrap().is_empty());
            let text = |key: &str| leak[key].as_str().unwrap().to_owned();
            (text("kind"), text("what"))
        })
        .collect()
}

#[test]
fn what_runs_is_no_leak_and_what_is_left_over_is_named() {
    let mut daemon = Daemon::prepare();
    daemon.start();
    daemon.apply(&daemon.definition("former", WAITS));
    let former = daemon.until("former@cli", "Running");
    daemon.apply(&daemon.definition("web", WAITS));
    let web = daemon.until("web@cli", "Running");
    daemon.ok(&["delete", "former"]);
    daemon.wait("its end", |d| d.row("former@cli").is_none().then_some(()));
    let none = leaks(&daemon);
    assert_eq!((none.code, found(&none).len()), (0, 0), "{none:?}");
    // The run directory is found by the socket, too.
    let text = daemon.ok(&["leaks"]).out;
    assert_eq!(text, "no leaks\n");
    daemon.kill9();
    let none = leaks(&daemon);
    assert_eq!((none.code, found(&none).len()), (0, 0), "{none:?}");

    let uid = |row: &serde_json::Value| row["uid"].as_str().unwrap().to_owned();
    let (former, web) = (uid(&former), uid(&web));
    let (state, run) = (daemon.state(), daemon.run());
    let mut planted: Vec<(&str, PathBuf)> = vec![
        ("runtime", run.join(format!("runc/{former}-0-1"))),
        ("monitor", run.join(format!("p/{web}-0-7"))),
        ("exit", state.join(format!("exits/{former}-0-1"))),
        ("bundle", state.join(format!("pods/{web}/0-7"))),
        ("sandbox", state.join(format!("pods/{former}"))),
        ("namespaces", run.join(format!("ns/{former}"))),
        ("log", state.join("logs/0000000000")),
        ("pull", state.join("snapshots/.tmp-1-0")),
        ("snapshot", state.join("snapshots/strange")),
    ];
    let snapshot = format!("sha256-{}", "0".repeat(64));
    let snapshots = ["", ".gone-", ".damaged-"].map(|prefix| {
        let n = if prefix.is_empty() { "" } else { ".0" };
        state.join(format!("snapshots/{prefix}{snapshot}{n}"))
    });
    planted.extend(snapshots.map(|path| ("snapshot", path)));
    for (_, path) in &planted {
        fs::create_dir_all(path).unwrap();
    }
    let netns = format!("rk-{former}");
    riklet::network::netns::create(&netns).unwrap();
    // Somebody else's, by the looks of it.
    let foreign = format!("rk-foreign{}", std::process::id());
    riklet::network::netns::create(&foreign).unwrap();
    let node = fs::read_to_string(run.join("owner")).unwrap();
    let cgroups = riklet::runtime::cgroup::Cgroups::detect(&format!("/riklet-{}", node.trim()));
    let cgroups = cgroups.unwrap();
    let groups = [
        format!("pods/{web}/0-7"),
        format!("pods/{web}/strange"),
        "work/7777777".to_owned(),
    ];
    for group in &groups {
        cgroups.create(group).unwrap();
    }
    let at = state.join(format!("pods/{former}"));
    daemon.mount(&["-t", "tmpfs", "tmpfs"], &at);

    let said = leaks(&daemon);
    riklet::network::netns::delete(&foreign).unwrap();
    assert_eq!(said.code, 1, "{said:?}");
    let mut wanted: BTreeSet<(String, String)> = planted
        .iter()
        .map(|(kind, path)| ((*kind).to_owned(), path.display().to_string()))
        .collect();
    for (kind, what) in [
        ("netns", format!("/run/netns/{netns}")),
        ("mount", at.display().to_string()),
    ] {
        wanted.insert((kind.to_owned(), what));
    }
    wanted.extend(
        groups
            .iter()
            .map(|g| ("cgroup".to_owned(), cgroups.cgroups_path(g))),
    );
    assert_eq!(found(&said), wanted);

    daemon.unmount(&at);
    for group in &groups {
        cgroups.remove(group).unwrap();
    }
    riklet::network::netns::delete(&netns).unwrap();
    for (_, path) in &planted {
        fs::remove_dir_all(path).unwrap();
    }
    daemon.start();
    assert_eq!(leaks(&daemon).code, 0);
    daemon.ok(&["delete", "web"]);
    daemon.until_nothing_is_left();
    assert_eq!(leaks(&daemon).code, 0);
}

fn uid(row: &serde_json::Value) -> String {
    row["uid"].as_str().unwrap().to_owned()
}

fn node(daemon: &Daemon) -> String {
    let owner = fs::read_to_string(daemon.run().join("owner")).unwrap();
    owner.trim().to_owned()
}

fn sh(text: &str) -> String {
    let output = Command::new("sh").args(["-ec", text]).output().unwrap();
    assert!(output.status.success(), "{text}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The chain that CNI's plugins call by network and id.
fn chain(prefix: &str, network: &str, id: &str) -> String {
    let hash = Sha512::digest(format!("{network}{id}").as_bytes());
    let hash = data_encoding::HEXLOWER.encode(&hash);
    format!("{prefix}{}", &hash[..28 - prefix.len()])
}

/// What isn't the node's, but looks like it; gone at the end, also of a test that failed.
struct Foreign {
    name: String,
    chain: String,
    link: String,
    keeper: Option<Child>,
    /// A chain that the test made of the node's, and that nothing leads to.
    loose: Option<String>,
}

impl Foreign {
    fn make(bridge: &str) -> Self {
        let pid = std::process::id();
        let foreign = Self {
            name: format!("rk-foreign{pid}"),
            chain: format!("CNI-foreign{pid}"),
            link: format!("fv{pid}"),
            keeper: None,
            loose: None,
        };
        let Self {
            name, chain, link, ..
        } = &foreign;
        sh(&format!(
            "ip netns add {name}
             ip link add {link} type veth peer name eth0 netns {name}
             ip link set {link} master {bridge}
             iptables -w -t nat -N {chain}
             iptables -w -t nat -A {chain} -s 198.19.7.8/32 -m comment \
                 --comment 'name: \"foreign\" id: \"foreign{pid}\"' -j RETURN"
        ));
        foreign
    }

    /// The namespace's name goes, and a process keeps what it named.
    fn lose_its_name(&mut self, daemon: &Daemon) {
        let mut keep = Command::new("nsenter");
        keep.arg(format!("--net=/run/netns/{}", self.name));
        // It ends with its standard input, so at the latest with this test.
        let keep = keep.arg("cat").stdin(Stdio::piped());
        let keeper = keep.spawn().unwrap();
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
        let pid = keeper.id().to_string();
        self.keeper = Some(keeper);
        daemon.wait("a process in the namespace", |_| {
            (of(&pid) != of("self")).then_some(())
        });
        riklet::network::netns::delete(&self.name).unwrap();
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let Self {
            name, chain, link, ..
        } = self;
        if let Some(mut keeper) = self.keeper.take() {
            let _ = keeper.kill();
            let _ = keeper.wait();
        }
        let loose = self.loose.take().unwrap_or_default();
        for text in [
            format!("iptables -w -t nat -F {loose} && iptables -w -t nat -X {loose}"),
            format!("ip link delete {link}"),
            format!("ip netns delete {name}"),
            format!("iptables -w -t nat -F {chain} && iptables -w -t nat -X {chain}"),
        ] {
            let _ = Command::new("sh").args(["-c", &text]).output();
        }
    }
}

#[test]
fn what_a_gone_sandbox_left_in_the_network_is_named_and_mended_and_nothing_of_others() {
    let mut daemon = Daemon::prepare().network("");
    daemon.start();
    let mut served = daemon.definition("former", WAITS);
    let port = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = port.local_addr().unwrap().port();
    served["spec"]["containers"][0]["ports"] = json!({ "port": port, "target_port": 80 });
    daemon.apply(&served);
    let former = uid(&daemon.until("former@cli", "Running"));
    daemon.apply(&daemon.definition("web", WAITS));
    daemon.until("web@cli", "Running");
    let none = leaks(&daemon);
    assert_eq!((none.code, found(&none).len()), (0, 0), "{none:?}");
    daemon.ok(&["delete", "former"]);
    daemon.wait("its end", |d| d.row("former@cli").is_none().then_some(()));

    let node = node(&daemon);
    let (network, bridge) = (format!("riklet-{node}"), format!("rk-{node}"));
    let mut foreign = Foreign::make(&bridge);
    let none = leaks(&daemon);
    assert_eq!((none.code, found(&none).len()), (0, 0), "{none:?}");
    let address = daemon.run().join(format!("cni/{network}/10.88.77.77"));
    fs::write(&address, format!("{former}\neth0\n")).unwrap();
    let (led, loose) = (
        chain("CNI-", &network, &former),
        chain("CNI-DN-", &network, &former),
    );
    foreign.loose = Some(loose.clone());
    sh(&format!(
        "iptables -w -t nat -N {led}
         iptables -w -t nat -N {loose}
         iptables -w -t nat -A POSTROUTING -s 198.19.7.7/32 -m comment \
             --comment 'name: \"{network}\" id: \"{former}\"' -j {led}"
    ));
    foreign.lose_its_name(&daemon);

    let wanted = BTreeSet::from(
        [
            ("address", address.display().to_string()),
            ("link", foreign.link.clone()),
            ("chain", format!("nat {led}")),
            ("chain", format!("nat {loose}")),
            (
                "rule",
                format!(
                    "nat POSTROUTING -s 198.19.7.7/32 -m comment --comment \"name: \\\"{network}\\\" \
                     id: \\\"{former}\\\"\" -j {led}"
                ),
            ),
        ]
        .map(|(kind, what)| (kind.to_owned(), what)),
    );
    let said = leaks(&daemon);
    assert_eq!((said.code, found(&said)), (1, wanted.clone()), "{said:?}");
    daemon.kill9();
    let said = leaks(&daemon);
    assert_eq!((said.code, found(&said)), (1, wanted), "{said:?}");

    // What is told as the mend is one.
    let view = said.json();
    let mends = |kind: &str| -> Vec<String> {
        let leaks = view["leaks"].as_array().unwrap().iter();
        let of_kind = leaks.filter(|leak| leak["kind"] == kind);
        let mends = of_kind.map(|leak| leak["mend"].as_str().unwrap().to_owned());
        mends.collect()
    };
    for mend in ["rule", "chain", "link"]
        .iter()
        .flat_map(|kind| mends(kind))
    {
        let words = mend.rsplit(" to it: ").next().unwrap();
        sh(words);
    }
    fs::remove_file(&address).unwrap();
    let none = leaks(&daemon);
    assert_eq!((none.code, found(&none).len()), (0, 0), "{none:?}");
    daemon.start();
    daemon.ok(&["delete", "web"]);
    daemon.until_nothing_is_left();
    assert_eq!(leaks(&daemon).code, 0);
}

#[test]
fn what_is_called_like_an_image_and_is_none_is_named_unless_something_runs_from_it() {
    let mut daemon = Daemon::prepare().env("RIKLET_IMAGES__GC_MIN_AGE", "1h");
    daemon.start();
    // An image of its own: what another node runs from one of this name counts as well.
    let layout = daemon.dir().join("own");
    let image = Image::marked(&daemon.node()).cmd(&["/bin/sh", "-c", WAITS]);
    image.write(&layout);
    let mut web = daemon.definition("web", WAITS);
    web["spec"]["containers"][0]["image"] = json!(format!("oci:{}:img", layout.display()));
    daemon.apply(&web);
    daemon.until("web@cli", "Running");
    let snapshots = daemon.state().join("snapshots");
    let rows = daemon.ok(&["images", "ls", "-o", "json"]).json();
    let used = rows[0]["snapshot"].as_str().unwrap();
    let other = format!("sha256-{}", "0".repeat(64));
    let (damaged, pull) = (format!(".damaged-{other}.0"), ".tmp-1-0".to_owned());
    for name in [
        &other,
        &damaged,
        &pull,
        // Whether the daemon is at these can't be told.
        &format!(".gone-{other}.0"),
        &format!(".tmp-{}-99", daemon.pid()),
        // And from these something runs.
        &format!(".damaged-{used}.0"),
    ] {
        fs::create_dir(snapshots.join(name)).unwrap();
    }
    fs::write(snapshots.join(used).join("config.json"), "no config").unwrap();
    let wanted = |names: &[(&str, &String)]| -> BTreeSet<(String, String)> {
        let path = |name: &str| snapshots.join(name).display().to_string();
        let all = names.iter();
        all.map(|(kind, name)| ((*kind).to_owned(), path(name)))
            .collect()
    };
    let all = [
        ("snapshot", &other),
        ("snapshot", &damaged),
        ("pull", &pull),
    ];
    let said = leaks(&daemon);
    assert_eq!((said.code, found(&said)), (1, wanted(&all)), "{said:?}");
    // What is told as the mend is one.
    daemon.ok(&["images", "prune"]);
    assert_eq!(found(&leaks(&daemon)), wanted(&[all[0], all[2]]));
    daemon.restart();
    assert_eq!(found(&leaks(&daemon)), wanted(&[all[0]]));
    fs::remove_dir_all(snapshots.join(&other)).unwrap();
    let none = leaks(&daemon);
    assert_eq!((none.code, found(&none).len()), (0, 0), "{none:?}");
    // Once nothing runs from it any more, the one that was damaged is named, too.
    daemon.ok(&["delete", "web"]);
    daemon.wait("its end", |d| d.row("web@cli").is_none().then_some(()));
    let used = [used.to_owned(), format!(".damaged-{used}.0")];
    let both = [("snapshot", &used[0]), ("snapshot", &used[1])];
    assert_eq!(found(&leaks(&daemon)), wanted(&both));
    daemon.until_nothing_is_left();
}

#[test]
fn what_is_just_being_pulled_or_made_is_no_leak_and_a_dead_daemons_pull_is_one() {
    let daemon = Daemon::prepare();
    let plugins = daemon.dir().join("plugins");
    fs::create_dir(&plugins).unwrap();
    let (reached, go) = (plugins.join("reached"), plugins.join("go"));
    for plugin in ["bridge", "host-local", "portmap"] {
        let path = plugins.join(plugin);
        let script = format!(
            "#!/bin/sh\n/usr/lib/cni/{plugin} || exit\n\
             [ \"{plugin} $CNI_COMMAND\" = \"bridge ADD\" ] || exit 0\n\
             >{}; while [ ! -e {} ]; do sleep 0.05; done\n",
            reached.display(),
            go.display()
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut daemon = daemon.network(&format!("bin_dirs = [{plugins:?}]\n"));
    daemon.start();
    // A sandbox whose network is joined and not recorded as joined.
    daemon.apply(&daemon.definition("web", WAITS));
    daemon.wait("the bridge to be joined", |_| {
        reached.exists().then_some(())
    });
    let none = leaks(&daemon);
    assert_eq!((none.code, found(&none).len()), (0, 0), "{none:?}");
    fs::write(go, "").unwrap();
    daemon.until("web@cli", "Running");

    let layout = daemon.dir().join("slow");
    Image::marked("slow").write(&layout);
    let pace = Duration::from_millis(20);
    let registry = StallingRegistry::start(&layout, Trickle::Layers, 1000, pace);
    let mut slow = daemon.definition("slow", WAITS);
    slow["spec"]["containers"][0]["image"] = json!(registry.image("slow:1"));
    daemon.apply(&slow);
    let snapshots = daemon.state().join("snapshots");
    let staging = daemon.wait("bytes of the pull", |d| {
        let view = d.cli(&["describe", "slow", "-o", "json"]).json();
        let _ = view["containers"][0]["pull"]["bytes"]
            .as_u64()
            .filter(|bytes| *bytes > 0)?;
        let mut names = fs::read_dir(&snapshots).unwrap().map(|e| e.unwrap().path());
        names.find(|path| path.to_str().unwrap().contains("/.tmp-"))
    });
    let none = leaks(&daemon);
    assert_eq!((none.code, found(&none).len()), (0, 0), "{none:?}");
    daemon.kill9();
    let said = leaks(&daemon);
    let pull = ("pull".to_owned(), staging.display().to_string());
    assert!(found(&said).contains(&pull), "{said:?}");
    // Besides that, the cgroup of its call.
    let kinds: BTreeSet<_> = found(&said).into_iter().map(|(kind, _)| kind).collect();
    let wanted = ["cgroup", "pull"].map(str::to_owned);
    assert_eq!(kinds, BTreeSet::from(wanted), "{said:?}");
    daemon.start();
    let none = leaks(&daemon);
    assert_eq!((none.code, found(&none).len()), (0, 0), "{none:?}");
    daemon.ok(&["delete", "slow"]);
    daemon.ok(&["delete", "web"]);
    daemon.until_nothing_is_left();
}

#[test]
fn while_pods_come_and_go_nothing_of_them_is_taken_for_a_leak() {
    let mut daemon = Daemon::prepare().network("");
    daemon.start();
    let names = ["one", "two", "three"];
    let mut looks = 0;
    for round in 0..9 {
        let name = names[round % names.len()];
        if daemon.row(&format!("{name}@cli")).is_some() {
            daemon.ok(&["delete", name]);
        } else {
            daemon.apply(&daemon.definition(name, WAITS));
        }
        // From the moment at which it is accepted until it is as it is to be.
        daemon.wait("what was asked for", |d| {
            let none = leaks(d);
            assert_eq!((none.code, found(&none).len()), (0, 0), "{none:?}");
            looks += 1;
            let row = d.row(&format!("{name}@cli"));
            row.is_none_or(|row| row["state"] == "Running")
                .then_some(())
        });
    }
    assert!(looks > 9, "nothing was looked at amid its making: {looks}");
    for name in names {
        daemon.cli(&["delete", name]);
    }
    daemon.until_nothing_is_left();
    assert_eq!(leaks(&daemon).code, 0);
}
