//! The network as workloads see it: the real daemon, CNI's plugins, a bridge, iptables.
//!
//! Each node has a network of its own (name, bridge and rules bear the node's uid); what it leaves
//! is looked for by tests/support/leaks.rs, without riklet's code.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test; clippy knows only #[test] functions as such"
)]

mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
}

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};
use support::{daemon::Daemon, leaks};

/// Serves one page that says its own hostname.
const SERVE: &str = "mkdir -p /www && hostname >/www/index.html && exec httpd -f -p 8080 -h /www";

/// A port of the node that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// What a server answers; none if it doesn't.
fn get(address: impl Into<SocketAddr>) -> Option<String> {
    let limit = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address.into(), limit).ok()?;
    stream.set_read_timeout(Some(limit)).unwrap();
    stream
        .write_all(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        .ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    Some(said.split("\r\n\r\n").nth(1)?.trim().to_owned())
}

fn ip(daemon: &Daemon, instance: &str) -> String {
    let row = daemon.until(instance, "Running");
    let ip = row["ip"].as_str();
    ip.unwrap_or_else(|| panic!("no address: {row}")).to_owned()
}

fn with_port(daemon: &Daemon, name: &str, script: &str, port: u16) -> Value {
    let mut definition = daemon.definition(name, script);
    definition["spec"]["containers"][0]["ports"] =
        json!([{ "hostPort": port, "containerPort": 8080 }]);
    definition["apiVersion"] = json!("v1");
    let name = definition.as_object_mut().unwrap().remove("name").unwrap();
    definition["metadata"] = json!({ "name": name });
    definition
}

/// What a script in a container printed, once it has printed `end`.
fn printed(daemon: &Daemon, instance: &str, end: &str) -> String {
    daemon.wait(&format!("{instance} to print {end}"), |d| {
        let said = d.cli(&["logs", instance]).out;
        said.contains(end).then_some(said)
    })
}

fn gone(daemon: &Daemon, instance: &str) {
    daemon.ok(&["delete", instance]);
    daemon.wait("it to be gone", |d| {
        d.row(&format!("{instance}@cli")).is_none().then_some(())
    });
}

/// The node's rules, by any of its sandboxes.
fn rules(daemon: &Daemon) -> Vec<String> {
    let uid = fs::read_to_string(daemon.run().join("owner")).unwrap();
    let mark = format!("riklet-{}", uid.trim());
    let saved = Command::new("iptables-save").output().unwrap().stdout;
    let saved = String::from_utf8(saved).unwrap();
    let ours = saved.lines().filter(|line| line.contains(&mark));
    ours.map(str::to_owned).collect()
}

/// A network namespace that isn't riklet's, on a veth of its own, and a rule that isn't.
struct Neighbour {
    name: String,
    link: String,
    /// The node's address on the veth.
    node: String,
}

impl Neighbour {
    fn new() -> Self {
        let pid = std::process::id();
        let n = u8::try_from(pid % 200).unwrap() + 20;
        let all = Self {
            name: format!("foreign-{pid}"),
            link: format!("fv{pid}"),
            node: format!("198.18.{n}.1"),
        };
        let (name, link, node) = (&all.name, &all.link, &all.node);
        let inside = format!("198.18.{n}.2");
        sh(&format!(
            "ip netns add {name} && ip link add {link} type veth peer name eth0 netns {name} &&
             ip addr add {node}/24 dev {link} && ip link set {link} up &&
             ip -n {name} addr add {inside}/24 dev eth0 && ip -n {name} link set eth0 up &&
             iptables -t nat -A POSTROUTING -s 198.19.{n}.9/32 -m comment --comment {name} -j RETURN"
        ));
        all
    }

    fn rule_stands(&self) -> bool {
        let saved = Command::new("iptables-save").output().unwrap().stdout;
        String::from_utf8(saved).unwrap().contains(&self.name)
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let (name, n) = (&self.name, self.node.split('.').nth(2).unwrap());
        for text in [
            format!("ip netns del {name}"),
            format!(
                "iptables -t nat -D POSTROUTING -s 198.19.{n}.9/32 -m comment --comment {name} -j RETURN"
            ),
        ] {
            let _ = Command::new("sh").args(["-c", &text]).output();
        }
    }
}

fn sh(text: &str) -> String {
    let output = Command::new("sh").args(["-ec", text]).output().unwrap();
    assert!(output.status.success(), "{text}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn two_pods_talk_over_the_bridge_and_a_host_port_answers_from_inside_and_outside() {
    let mut daemon = Daemon::prepare().network("");
    daemon.start();
    let neighbour = Neighbour::new();
    let port = free_port();
    daemon.apply(&with_port(&daemon, "server", SERVE, port));
    let server = ip(&daemon, "server@cli");
    let described = daemon.ok(&["describe", "server"]).out;
    assert!(described.contains(&server), "{described}");
    // From the other instance, by address.
    let ask = format!(
        "until wget -qO- http://{server}:8080/; do sleep 0.1; done; echo asked; \
         exec sleep 1000000"
    );
    daemon.apply(&daemon.definition("client", &ask));
    let said = printed(&daemon, "client", "asked");
    assert!(said.contains("server"), "{said}");
    assert_ne!(ip(&daemon, "client@cli"), server);
    // From the node: by address, and by its port on every address, loopback too.
    let direct: SocketAddr = format!("{server}:8080").parse().unwrap();
    assert_eq!(get(direct).as_deref(), Some("server"));
    assert_eq!(get(([127, 0, 0, 1], port)).as_deref(), Some("server"));
    // From another network namespace, over the node's address.
    let from_outside = sh(&format!(
        "ip netns exec {} busybox wget -qO- http://{}:{port}/",
        neighbour.name, neighbour.node
    ));
    assert_eq!(from_outside.trim(), "server");
    // The daemon's life is none of the network's.
    daemon.restart();
    assert_eq!(ip(&daemon, "server@cli"), server);
    assert_eq!(get(([127, 0, 0, 1], port)).as_deref(), Some("server"));
    gone(&daemon, "server");
    assert_eq!(get(([127, 0, 0, 1], port)), None);
    gone(&daemon, "client");
    daemon.until_nothing_is_left();
    assert!(neighbour.rule_stands());
    assert!(Path::new("/run/netns").join(&neighbour.name).exists());
}

#[test]
fn three_containers_share_localhost_ipc_memory_and_hostname() {
    let mut daemon = Daemon::prepare().network("");
    daemon.start();
    let mut definition = daemon.definition("trio", SERVE);
    let of = |name: &str, script: &str| {
        let env = [json!({ "name": "SCRIPT", "value": script })];
        json!({ "name": name, "image": daemon.image(), "env": env })
    };
    let ask = "until wget -qO- http://127.0.0.1:8080/; do sleep 0.1; done; \
               for n in ipc uts net; do readlink /proc/self/ns/$n; done; hostname; \
               cat /etc/hosts /etc/resolv.conf; echo word >/dev/shm/word; echo asked; \
               exec sleep 1000000";
    let listen = "until cat /dev/shm/word; do sleep 0.1; done; \
                  for n in ipc uts net; do readlink /proc/self/ns/$n; done; hostname; \
                  echo heard; exec sleep 1000000";
    let containers = definition["spec"]["containers"].as_array_mut().unwrap();
    containers.extend([of("asks", ask), of("listens", listen)]);
    let spec = definition["spec"].as_object_mut().unwrap();
    spec.insert("hostname".into(), json!("trio-host"));
    definition["apiVersion"] = json!("v1");
    let spec = definition.as_object_mut().unwrap();
    let name = spec.remove("name").unwrap();
    spec.insert("metadata".into(), json!({ "name": name }));
    daemon.apply(&definition);
    let address = ip(&daemon, "trio@cli");
    let said = |container: &str, end: &str| {
        daemon.wait(end, |d| {
            let said = d.cli(&["logs", "trio", container]).out;
            said.contains(end).then_some(said)
        })
    };
    let (asks, listens) = (said("asks", "asked"), said("listens", "heard"));
    assert!(asks.starts_with("trio-host\n"), "{asks}");
    let namespaces = |said: &str| -> Vec<String> {
        let links = said.lines().filter(|line| line.contains(":["));
        links.map(str::to_owned).collect()
    };
    assert_eq!(namespaces(&asks).len(), 3);
    assert_eq!(namespaces(&asks), namespaces(&listens));
    let line = format!("{address}\ttrio-host");
    assert!(asks.lines().any(|l| l == line), "{line}: {asks}");
    assert!(listens.contains("word\n") && listens.contains("trio-host\n"));
    gone(&daemon, "trio");
    daemon.until_nothing_is_left();
}

#[test]
fn an_instance_on_the_nodes_network_has_its_names_and_no_address_of_its_own() {
    let mut daemon = Daemon::prepare().network("");
    daemon.start();
    let script = "readlink /proc/self/ns/net; hostname; echo said; exec sleep 1000000";
    let mut definition = daemon.definition("host", script);
    definition["spec"]["hostNetwork"] = json!(true);
    daemon.apply(&definition);
    let said = printed(&daemon, "host", "said");
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let name = nix::unistd::gethostname().unwrap().into_string().unwrap();
    assert_eq!(said, format!("{}\n{name}\nsaid\n", own.display()));
    assert!(leaks::addresses(&daemon.run()).is_empty());
    gone(&daemon, "host");
    daemon.until_nothing_is_left();
}

/// CNI's plugins behind scripts that fail, or that stop at a point, as files tell them to.
struct Plugins(PathBuf);

impl Plugins {
    fn write(dir: PathBuf) -> Self {
        fs::create_dir(&dir).unwrap();
        for plugin in ["bridge", "host-local", "portmap"] {
            let script = format!(
                r#"#!/bin/sh
[ ! -e {0}/no-iptables ] || PATH=/nonexistent
stop() {{ [ "$(/bin/cat {0}/stop 2>/dev/null)" != "$1" ] || {{ >{0}/reached; exec /bin/sleep 1000; }}; }}
stop "{plugin} $CNI_COMMAND before"
export PATH
/usr/lib/cni/{plugin}
code=$?
stop "{plugin} $CNI_COMMAND after"
exit $code
"#,
                dir.display()
            );
            let path = dir.join(plugin);
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self(dir)
    }

    fn config(&self) -> String {
        format!("bin_dirs = [{:?}]\n", self.0)
    }

    fn stop_at(&self, point: &str) {
        let _ = fs::remove_file(self.0.join("reached"));
        fs::write(self.0.join("stop"), point).unwrap();
    }
}

#[test]
fn a_daemon_killed_amid_joining_or_leaving_holds_one_address_and_then_none() {
    let daemon = Daemon::prepare();
    let plugins = Plugins::write(daemon.dir().join("plugins"));
    let mut daemon = daemon.network(&plugins.config());
    daemon.start();
    let port = free_port();
    let killed_at = |daemon: &mut Daemon, point: &str| {
        daemon.wait(point, |_| plugins.0.join("reached").exists().then_some(()));
        daemon.kill9();
        fs::remove_file(plugins.0.join("stop")).unwrap();
        daemon.start();
    };
    let joining = [
        "host-local ADD before",
        "host-local ADD after",
        "bridge ADD after",
        "portmap ADD after",
    ];
    let leaving = [
        "portmap DEL after",
        "host-local DEL after",
        "bridge DEL after",
    ];
    for (n, point) in joining.into_iter().enumerate() {
        plugins.stop_at(point);
        daemon.apply(&with_port(&daemon, "web", SERVE, port));
        killed_at(&mut daemon, point);
        let address = ip(&daemon, "web@cli");
        let failed = daemon.lines();
        let failed: Vec<_> = failed
            .iter()
            .filter(|line| line["kind"] == "sandbox_failed")
            .collect();
        assert!(failed.is_empty(), "{point}: {failed:?}");
        assert_eq!(
            leaks::addresses(&daemon.run()),
            [format!("address {address}")],
            "{point}"
        );
        daemon.wait(point, |_| get(([127, 0, 0, 1], port)));
        let masquerades = rules(&daemon);
        let masquerades = masquerades.iter().filter(|r| r.contains("-A POSTROUTING"));
        assert_eq!(masquerades.count(), 1, "{point}");
        if let Some(point) = leaving.get(n) {
            plugins.stop_at(point);
            daemon.ok(&["delete", "web"]);
            killed_at(&mut daemon, point);
        } else {
            daemon.ok(&["delete", "web"]);
        }
        daemon.wait("it to be gone", |d| {
            d.row("web@cli").is_none().then_some(())
        });
        assert_eq!(rules(&daemon), Vec::<String>::new(), "{point}");
        daemon.until_nothing_is_left();
    }
}

#[test]
fn a_failing_iptables_is_told_as_the_reason_and_tried_again() {
    let daemon = Daemon::prepare();
    let plugins = Plugins::write(daemon.dir().join("plugins"));
    let mut daemon = daemon.network(&plugins.config());
    daemon.start();
    fs::write(plugins.0.join("no-iptables"), "").unwrap();
    daemon.apply(&daemon.definition("web", SERVE));
    let failed = daemon.wait("a failed sandbox", |d| {
        let mut lines = d.lines().into_iter();
        lines.find(|line| line["kind"] == "sandbox_failed")
    });
    let message = failed["message"].as_str().unwrap();
    assert!(
        message.contains("bridge ADD") && message.contains("iptables"),
        "{message}"
    );
    let row = daemon.row("web@cli").unwrap();
    assert_ne!(row["state"], "Running", "{row}");
    // Nothing is held while the next try waits.
    assert!(leaks::addresses(&daemon.run()).is_empty());
    fs::remove_file(plugins.0.join("no-iptables")).unwrap();
    ip(&daemon, "web@cli");
    gone(&daemon, "web");
    daemon.until_nothing_is_left();
}
