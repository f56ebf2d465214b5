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
    pub mod strace;
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
use support::{daemon::Daemon, leaks, strace::Strace};

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
fn what_failed_for_good_gives_back_its_port_its_address_and_its_memory() {
    let mut daemon = Daemon::prepare().network("");
    daemon.start();
    let port = free_port();
    // So much that two of them don't fit.
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
    let total: u64 = meminfo.split_whitespace().nth(1).unwrap().parse().unwrap();
    let most = format!("{}Ki", total * 2 / 3);
    let asks = |name: &str, script: &str| {
        let mut definition = with_port(&daemon, name, script, port);
        let container = &mut definition["spec"]["containers"][0];
        container["resources"] = json!({ "requests": { "memory": most } });
        definition
    };
    let mut main = asks("main", "echo words; exit 3");
    let mut init = asks("init", SERVE);
    let mut failing = daemon.definition("begin", "exit 4")["spec"]["containers"][0].clone();
    failing["name"] = json!("begin");
    init["spec"]["initContainers"] = json!([failing]);
    for definition in [&mut main, &mut init] {
        definition["spec"]["restartPolicy"] = json!("Never");
        daemon.apply(definition);
        let name = definition["metadata"]["name"].as_str().unwrap();
        let row = daemon.until(&format!("{name}@cli"), "Failed");
        let netns = format!("/run/netns/rk-{}", row["uid"].as_str().unwrap());
        daemon.wait("its sandbox to go", |d| {
            let left = leaks::addresses(&d.run()).len() + rules(d).len();
            (left == 0 && !Path::new(&netns).exists()).then_some(())
        });
        let row = daemon.row(&format!("{name}@cli")).unwrap();
        assert_eq!(row["state"], "Failed", "it is still shown");
    }
    assert!(daemon.ok(&["logs", "main"]).out.contains("words"));
    daemon.apply(&asks("server", SERVE));
    daemon.until("server@cli", "Running");
    daemon.wait("its port", |_| get(([127, 0, 0, 1], port)));
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

/// A network of the operator's: a bridge and addresses of its own, plugins by links.
struct Operators {
    name: String,
    conf: PathBuf,
    plugins: PathBuf,
    /// host-local's.
    addresses: PathBuf,
}

impl Operators {
    /// Its files below the daemon's directory; nothing is made before somebody joins it.
    fn prepare(daemon: &Daemon) -> Self {
        let all = Self {
            // tools/sweep.sh knows the interface by this.
            name: format!("rkt{}", std::process::id()),
            conf: daemon.dir().join("net.d"),
            plugins: daemon.dir().join("plugins"),
            addresses: daemon.run().join("operators"),
        };
        fs::create_dir(&all.conf).unwrap();
        fs::create_dir(&all.plugins).unwrap();
        for plugin in ["bridge", "host-local", "portmap"] {
            all.install(plugin);
        }
        all.configure(&all.list());
        all
    }

    fn settings(&self) -> String {
        format!(
            "conf_dir = {:?}\nbin_dirs = [{:?}]\n",
            self.conf, self.plugins
        )
    }

    fn install(&self, plugin: &str) {
        let from = Path::new("/usr/lib/cni").join(plugin);
        std::os::unix::fs::symlink(from, self.plugins.join(plugin)).unwrap();
    }

    fn list(&self) -> String {
        let n = std::process::id() % 254;
        let list = json!({
            "cniVersion": "1.0.0",
            "name": self.name,
            "plugins": [
                {
                    "type": "bridge", "bridge": self.name, "isGateway": true, "ipMasq": true,
                    "ipam": {
                        "type": "host-local", "dataDir": self.addresses,
                        "ranges": [[{ "subnet": format!("198.19.{n}.0/24") }]],
                        "routes": [{ "dst": "0.0.0.0/0" }],
                    },
                },
                { "type": "portmap", "capabilities": { "portMappings": true }, "snat": true },
            ],
        });
        list.to_string()
    }

    /// As the operator would: whole, or not there. The second file by name never counts.
    fn configure(&self, text: &str) {
        let new = self.conf.join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.conf.join("10-operators.conflist")).unwrap();
        fs::write(self.conf.join("20-other.conflist"), "never read").unwrap();
    }

    /// What of it is given away or made for sandboxes: addresses, rules, ports of the bridge.
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for entry in fs::read_dir(self.addresses.join(&self.name))
            .into_iter()
            .flatten()
        {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.parse::<std::net::IpAddr>().is_ok() {
                left.push(format!("address {name}"));
            }
        }
        let saved = sh("iptables-save");
        let rules = saved.lines().filter(|line| line.contains(&self.name));
        left.extend(rules.map(|rule| format!("rule {rule}")));
        let ports = format!("/sys/class/net/{}/brif", self.name);
        for entry in fs::read_dir(ports).into_iter().flatten() {
            left.push(format!("port {:?}", entry.unwrap().file_name()));
        }
        left
    }
}

impl Drop for Operators {
    fn drop(&mut self) {
        // Of a test that failed: rules lie in no directory.
        let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/rules.sh");
        let _ = Command::new(rules).arg(&self.name).output();
        let _ = Command::new("ip")
            .args(["link", "del", &self.name])
            .output();
    }
}

/// Is the mode shown, and why?
fn network_missing(daemon: &Daemon) -> Option<String> {
    let status = daemon.status();
    let mut modes = status["degraded"].as_array().unwrap().iter();
    let mode = modes.find(|mode| mode["mode"] == "NetworkMissing")?;
    Some(mode["detail"].as_str().unwrap().to_owned())
}

/// What doctor says of the network.
fn doctor(daemon: &Daemon) -> (String, String, String) {
    let mut ask = daemon.program(env!("CARGO_BIN_EXE_riklet"));
    ask.args(["doctor", "-o", "json"]);
    ask.env("RIKLET_CONFIG", daemon.dir().join("riklet.toml"));
    let said = daemon.finish(ask).json();
    let mut checks = said.as_array().unwrap().iter();
    let check = checks.find(|check| check["check"] == "network").unwrap();
    let text = |key: &str| check[key].as_str().unwrap().to_owned();
    (text("result"), text("found"), text("mend"))
}

#[test]
fn an_operators_network_is_joined_shown_and_left_clean() {
    let daemon = Daemon::prepare();
    let operators = Operators::prepare(&daemon);
    let mut daemon = daemon.network(&operators.settings());
    daemon.start();
    let (result, found, _) = doctor(&daemon);
    assert_eq!(result, "ok", "{found}");
    assert!(found.contains(operators.conf.to_str().unwrap()), "{found}");
    let port = free_port();
    daemon.apply(&with_port(&daemon, "web", SERVE, port));
    let address = ip(&daemon, "web@cli");
    assert!(address.starts_with("198.19."), "{address}");
    assert!(daemon.ok(&["ps", "-o", "wide"]).out.contains(&address));
    daemon.wait("its port", |_| get(([127, 0, 0, 1], port)));
    let direct: SocketAddr = format!("{address}:8080").parse().unwrap();
    assert_eq!(get(direct).as_deref(), Some("web"));
    assert!(operators.left().contains(&format!("address {address}")));
    // riklet's own network isn't made beside it.
    assert!(!daemon.state().join("network").exists());
    daemon.restart();
    assert_eq!(ip(&daemon, "web@cli"), address);
    // It is left by what it was joined by, whatever the list says by now.
    operators.configure(&operators.list().replace(&operators.name, "elsewhere"));
    let uid = daemon.row("web@cli").unwrap()["uid"].clone();
    let uid = uid.as_str().unwrap();
    gone(&daemon, "web");
    assert_eq!(operators.left(), Vec::<String>::new());
    daemon.until_nothing_is_left();

    // What of it would be left is named; what others hold in the same network isn't.
    let given = operators.addresses.join(&operators.name);
    for (n, owner) in [(77, uid), (78, "somebody-else")] {
        fs::write(
            given.join(format!("198.19.0.{n}")),
            format!("{owner}\neth0\n"),
        )
        .unwrap();
    }
    let said = daemon.cli(&["leaks", "-o", "json"]).json();
    let leaks = said["leaks"].as_array().unwrap();
    assert_eq!(leaks.len(), 1, "{said}");
    assert_eq!(leaks[0]["kind"], "address");
    let what = leaks[0]["what"].as_str().unwrap();
    assert!(what.ends_with("/198.19.0.77"), "{what}");
}

#[test]
fn a_list_that_cannot_be_used_is_told_with_its_mend_kills_nothing_and_heals() {
    let daemon = Daemon::prepare();
    let operators = Operators::prepare(&daemon);
    let mut daemon = daemon.network(&operators.settings());
    daemon.start();
    daemon.apply(&daemon.definition("web", SERVE));
    let address = ip(&daemon, "web@cli");
    let pid = daemon.pids()["web@cli"].clone();
    let conflist = operators.conf.join("10-operators.conflist");
    let broken = [
        ("{ \"name\": ", "must be a JSON object"),
        (
            "{ \"name\": \"a b\", \"cniVersion\": \"1.0.0\" }",
            "plain `name`",
        ),
    ];
    for (n, (text, why)) in broken.into_iter().enumerate() {
        operators.configure(text);
        let told = daemon.wait("NetworkMissing with that reason", |d| {
            network_missing(d).filter(|detail| detail.contains(why))
        });
        assert!(told.contains(conflist.to_str().unwrap()), "{told}");
        let (result, found, mend) = doctor(&daemon);
        assert_eq!(result, "warn", "{found}");
        assert!(found.contains(why), "{found}");
        assert!(mend.contains(operators.conf.to_str().unwrap()), "{mend}");
        if n == 0 {
            daemon.restart();
        }
        assert_eq!(ip(&daemon, "web@cli"), address);
        assert_eq!(daemon.pids()["web@cli"], pid);
        let name = format!("late-{n}");
        daemon.apply(&daemon.definition(&name, SERVE));
        let row = daemon.wait("its failure", |d| {
            let row = d.row(&format!("{name}@cli"))?;
            (row["reason"] == "SandboxError").then_some(row)
        });
        let message = row["message"].as_str().unwrap_or_default().to_owned();
        let explained = daemon.ok(&["explain", &name]).out;
        assert!(
            message.contains(why) || explained.contains(why),
            "{row} {explained}"
        );
    }
    operators.configure(&operators.list());
    daemon.wait("the mode to be left", |d| {
        network_missing(d).is_none().then_some(())
    });
    for name in ["late-0", "late-1"] {
        assert_ne!(ip(&daemon, &format!("{name}@cli")), address);
    }
    assert_eq!(daemon.pids()["web@cli"], pid);
    for name in ["late-0", "late-1", "web"] {
        gone(&daemon, name);
    }
    assert_eq!(operators.left(), Vec::<String>::new());
    daemon.until_nothing_is_left();
}

#[test]
fn a_plugin_that_is_missing_is_told_by_name_kills_nothing_and_what_waited_for_it_goes_on() {
    let daemon = Daemon::prepare();
    let operators = Operators::prepare(&daemon);
    let mut daemon = daemon.network(&operators.settings());
    daemon.start();
    for name in ["web", "goes"] {
        daemon.apply(&daemon.definition(name, SERVE));
    }
    let address = ip(&daemon, "web@cli");
    ip(&daemon, "goes@cli");
    let pid = daemon.pids()["web@cli"].clone();
    fs::remove_file(operators.plugins.join("portmap")).unwrap();
    let told = daemon.wait("NetworkMissing", network_missing);
    assert!(told.contains("no CNI plugin \"portmap\""), "{told}");
    let (result, found, mend) = doctor(&daemon);
    assert_eq!(result, "warn");
    assert!(found.contains("\"portmap\""), "{found}");
    assert!(mend.contains("containernetworking-plugins"), "{mend}");
    daemon.restart();
    assert_eq!(ip(&daemon, "web@cli"), address);
    assert_eq!(daemon.pids()["web@cli"], pid);
    // What is made meanwhile has only lo.
    daemon.apply(&daemon.definition("alone", SERVE));
    let row = daemon.until("alone@cli", "Running");
    assert_eq!(row["ip"], json!(null), "{row}");
    // What leaves waits for the plugin: what it made can only be unmade by it.
    daemon.ok(&["delete", "goes"]);
    daemon.wait("the plugin to be missed", |d| {
        d.log().contains("no CNI plugin").then_some(())
    });
    assert!(daemon.row("goes@cli").is_some());
    operators.install("portmap");
    daemon.wait("the mode to be left", |d| {
        network_missing(d).is_none().then_some(())
    });
    daemon.wait("what waited to be gone", |d| {
        d.row("goes@cli").is_none().then_some(())
    });
    daemon.apply(&daemon.definition("later", SERVE));
    assert_ne!(ip(&daemon, "later@cli"), address);
    assert_eq!(daemon.pids()["web@cli"], pid);
    for name in ["alone", "later", "web"] {
        gone(&daemon, name);
    }
    assert_eq!(operators.left(), Vec::<String>::new());
    daemon.until_nothing_is_left();
}

#[test]
fn a_sandbox_whose_interface_somebody_deleted_is_made_anew_before_anything_starts_in_it() {
    let daemon = Daemon::prepare();
    let operators = Operators::prepare(&daemon);
    let mut daemon = daemon.network(&operators.settings());
    daemon.start();
    // A sandbox that is whole, and of which the daemon died before it wrote that down: the
    // renaming of its record into place returns late.
    let made_and_killed = |daemon: &mut Daemon, name: &str| {
        let slow = Strace::inject(daemon.pid(), daemon.dir(), &["rename:delay_exit=5000000"]);
        daemon.apply(&daemon.definition(name, SERVE));
        let uid = daemon.row(&format!("{name}@cli")).unwrap()["uid"].clone();
        let uid = uid.as_str().unwrap().to_owned();
        let record = daemon.state().join(format!("pods/{uid}/sandbox.json"));
        daemon.wait("the sandbox to be whole", |_| {
            let record = fs::read_to_string(&record).ok()?;
            record.contains("\"whole\":true").then_some(())
        });
        daemon.kill9();
        drop(slow);
        let lines = daemon.lines();
        let mut of = lines.iter().filter(|line| line["uid"] == uid.as_str());
        assert!(of.all(|line| line["kind"] != "sandbox_ready"), "{lines:?}");
        uid
    };
    let inode = |uid: &str| {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(format!("/run/netns/rk-{uid}")).unwrap().ino()
    };
    // Nothing happened to the first one: it is found good, and taken.
    let kept = made_and_killed(&mut daemon, "kept");
    let before = inode(&kept);
    daemon.start();
    ip(&daemon, "kept@cli");
    assert_eq!(inode(&kept), before);

    let mended = made_and_killed(&mut daemon, "mended");
    let before = inode(&mended);
    sh(&format!("ip -n rk-{mended} link delete eth0"));
    daemon.start();
    let address = ip(&daemon, "mended@cli");
    assert!(daemon.log().contains("a sandbox is made anew"));
    assert_ne!(inode(&mended), before);
    let direct: SocketAddr = format!("{address}:8080").parse().unwrap();
    daemon.wait("its server", |_| get(direct));
    let given = operators.left();
    let given: Vec<_> = given.iter().filter(|l| l.starts_with("address")).collect();
    assert_eq!(given.len(), 2, "{given:?}");

    // In a sandbox that something runs in nothing is done: what runs, runs on.
    let pid = daemon.pids()["mended@cli"].clone();
    sh(&format!("ip -n rk-{mended} link delete eth0"));
    daemon.restart();
    assert_eq!(daemon.pids()["mended@cli"], pid);
    for name in ["kept", "mended"] {
        gone(&daemon, name);
    }
    assert_eq!(operators.left(), Vec::<String>::new());
    daemon.until_nothing_is_left();
}
