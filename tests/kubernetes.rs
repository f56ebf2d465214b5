//! Pods in the style of Kubernetes' documentation, from tests/documented/: all are started on one node,
//! side by side, and each does what its author means, seen from inside or from outside; or is
//! refused with all its reasons.

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
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde_json::Value;
use support::daemon::{Daemon, Said};

/// A node with the files, which name the local image and a directory of the test.
struct Bench {
    daemon: Daemon,
}

impl Bench {
    fn begin() -> Self {
        let this = Self {
            daemon: Daemon::prepare(),
        };
        let pods = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented");
        this.copy(Path::new(pods), &this.files());
        this.copy(&Path::new(pods).join("refused"), &this.refused());
        this
    }

    fn copy(&self, from: &Path, to: &Path) {
        fs::create_dir(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let text = text
                .replace("busybox:1.36", &self.daemon.image())
                .replace("/var/tmp/riklet-pods", self.node_dir().to_str().unwrap());
            fs::write(to.join(path.file_name().unwrap()), text).unwrap();
        }
    }

    fn files(&self) -> PathBuf {
        self.daemon.dir().join("pods")
    }

    fn refused(&self) -> PathBuf {
        self.daemon.dir().join("refused")
    }

    /// What the hostPath volumes name.
    fn node_dir(&self) -> PathBuf {
        self.daemon.dir().join("of-the-node")
    }

    fn row(&self, name: &str) -> Value {
        let row = self.daemon.row(&format!("{name}@cli"));
        row.unwrap_or_else(|| panic!("no row of {name}: {}", self.daemon.ok(&["ps"]).out))
    }

    fn until(&self, name: &str, state: &str, reason: Option<&str>) -> Value {
        self.daemon
            .wait(&format!("{name} to be {state} {reason:?}"), |_| {
                let row = self.row(name);
                let is = row["state"] == state && reason.is_none_or(|r| row["reason"] == r);
                is.then_some(row)
            })
    }

    /// Waits until a log has all of these, in this order; returns it.
    fn says(&self, args: &[&str], parts: &[&str]) -> String {
        let mut words = vec!["logs"];
        words.extend(args);
        let what = format!("logs {args:?} to say {parts:?}");
        let mut log = String::new();
        let has = |log: &str| {
            let mut rest = log;
            parts.iter().all(|part| match rest.split_once(part) {
                Some((_, after)) => {
                    rest = after;
                    true
                }
                None => false,
            })
        };
        self.daemon.wait(&what, |d| {
            let said = d.cli(&words).out;
            if said != log {
                log = said;
                println!("{args:?}: {log}");
            }
            has(&log).then_some(())
        });
        log
    }

    fn exec(&self, args: &[&str]) -> Said {
        let mut words = vec!["exec"];
        words.extend(args);
        self.daemon.cli(&words)
    }

    fn described(&self, name: &str) -> Value {
        self.daemon.ok(&["describe", name, "-o", "json"]).json()
    }

    fn restarted(&self, name: &str) {
        self.daemon
            .wait(&format!("{name} to have been restarted"), |_| {
                (self.row(name)["restarts"].as_u64()? >= 1).then_some(())
            });
    }
}

fn container<'a>(of: &'a Value, name: &str) -> &'a Value {
    let mut containers = of["containers"].as_array().unwrap().iter();
    containers.find(|c| c["name"] == name).expect("a container")
}

/// What there is to see of a Pod, by its name.
type Look = (&'static str, fn(&Bench));

/// Every Pod that runs. Those whose time has to pass come late.
const LOOKS: &[Look] = &[
    ("two-containers", two_containers),
    ("myapp-pod", init_containers_wait),
    ("goproxy", ready_by_tcp),
    ("lifecycle-demo", hooks),
    ("dapi-envars", |bench| {
        let log = bench.says(
            &["dapi-envars"],
            &[
                &format!(
                    "node={} pod=dapi-envars ns=team-a sa=default tier=1",
                    bench.daemon.node()
                ),
                "cpu=1/250 mem=33554432/64 uid=",
            ],
        );
        let uid = log.rsplit("uid=").next().unwrap().trim();
        assert_eq!(uid, bench.row("dapi-envars")["uid"].as_str().unwrap());
    }),
    ("kubernetes-downwardapi-volume-example", |bench| {
        let name = "kubernetes-downwardapi-volume-example";
        let labels = "cluster=\"test-cluster1\"\nrack=\"rack-22\"\nzone=\"us-est-coast\"";
        bench.says(&[name], &[labels, "build=\"two\"\nbuilder=\"john-doe\""]);
    }),
    ("configmap-demo-pod", |bench| {
        bench.says(
            &["configmap-demo-pod"],
            &[
                "lives=3 file=user-interface.properties",
                "all: 3, my-app, 12",
                "enemy.types=aliens,monsters\nplayer.maximum-lives=5\nmy-app\n",
                "game.properties\nuser-interface.properties\n",
                "400 /etc/secret-volume/password\n444 /etc/secret-volume/my-group/my-username",
                "only what items name",
            ],
        );
        let shown = bench.daemon.ok(&["describe", "configmap-demo-pod"]).out;
        assert!(
            !shown.contains("aliens") && !shown.contains("my-app"),
            "{shown}"
        );
    }),
    ("volume-test", |bench| {
        bench.says(
            &["volume-test"],
            &[
                "adminthe-configapp=\"volume-test\"",
                "500",
                "777\n",
                "read-only",
            ],
        );
    }),
    ("security-context-demo", security_context),
    ("read-only-root", |bench| {
        bench.says(
            &["read-only-root"],
            &["the root is read-only", "/tmp is not"],
        );
        bench.until("read-only-root", "Running", None);
    }),
    ("pi", |bench| {
        let row = bench.until("pi", "Terminated", Some("Completed"));
        assert_eq!(row["restarts"], 1, "{row}");
        bench.says(&["pi"], &["3.14159"]);
    }),
    ("command-demo", |bench| {
        bench.until("command-demo", "Terminated", Some("Completed"));
        let log = bench.says(&["command-demo"], &["\n"]);
        let words = "hello world hello world, hello world $(MESSAGE) $(NOBODY) 42\n";
        assert_eq!(log, words);
    }),
    ("hostaliases-pod", |bench| {
        bench.says(
            &["hostaliases-pod"],
            &[
                "127.0.0.1\tlocalhost",
                "127.0.0.1\tfoo.local bar.local",
                "10.1.2.3\tfoo.remote bar.remote",
            ],
        );
    }),
    ("dns-example", |bench| {
        bench.until("dns-example", "Terminated", Some("Completed"));
        let log = bench.says(&["dns-example"], &["edns0"]);
        let lines: Vec<&str> = log.lines().filter(|l| !l.starts_with('#')).collect();
        let expected = [
            "nameserver 192.0.2.1",
            "search ns1.svc.cluster-domain.example my.dns.search.suffix",
            "options ndots:2 edns0",
        ];
        assert_eq!(lines.len(), 3, "{log}");
        assert!(expected.iter().all(|line| lines.contains(line)), "{log}");
    }),
    ("sysctl-example", |bench| {
        bench.until("sysctl-example", "Terminated", Some("Completed"));
        assert_eq!(bench.says(&["sysctl-example"], &["0\n"]), "1\n1024\n0\n");
    }),
    ("termination-demo", last_words),
    ("test-webserver", |bench| {
        bench.until("test-webserver", "Terminated", Some("Completed"));
        bench.says(&["test-webserver"], &["served"]);
        let dir = bench.node_dir().join("aaa");
        assert_eq!(fs::read_to_string(dir.join("1.txt")).unwrap(), "served\n");
        assert!(dir.join("2.txt").exists());
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&dir.join("1.txt"))), (0o755, 0o644));
    }),
    ("my-lamp-site", |bench| {
        bench.until("my-lamp-site", "Terminated", Some("Completed"));
        assert_eq!(
            bench.says(&["my-lamp-site", "look"], &["page"]),
            "html\nmysql\nrows\npage\n"
        );
    }),
    ("memory-demo-2", |bench| {
        bench.restarted("memory-demo-2");
        let described = bench.described("memory-demo-2");
        let last = &container(&described, "memory-demo-2-ctr")["last_exit"];
        assert_eq!(
            (&last["reason"], &last["code"]),
            (&"OOMKilled".into(), &137.into()),
            "{last}"
        );
    }),
    ("slow-start", |bench| {
        let row = bench.until("slow-start", "Running", None);
        assert_eq!(
            row["restarts"], 0,
            "the liveness probe waits for the startup probe: {row}"
        );
    }),
    ("liveness-exec", |bench| {
        bench.restarted("liveness-exec");
        let story = bench.daemon.ok(&["explain", "liveness-exec"]).out;
        assert!(story.contains("can't open '/tmp/healthy'"), "{story}");
    }),
    ("liveness-http", |bench| {
        bench.restarted("liveness-http");
        let story = bench.daemon.ok(&["explain", "liveness-http"]).out;
        assert!(story.contains("404"), "{story}");
    }),
];

#[test]
fn pods_of_kubernetes_documentation_do_what_their_authors_mean() {
    let mut bench = Bench::begin();
    bench.daemon.start();
    let dir = bench.files();
    let applied = bench.daemon.ok(&["apply", "-f", dir.to_str().unwrap()]).out;
    assert_eq!(applied.lines().count(), LOOKS.len(), "{applied}");
    let mut failed = Vec::new();
    for (name, look) in LOOKS {
        let created = format!("{name}@cli created");
        assert!(applied.contains(&created), "{applied}");
        println!("{name}");
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| look(&bench)));
        if done.is_err() {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "not as their authors mean: {failed:?}");
    for (name, _) in LOOKS {
        if bench.daemon.row(&format!("{name}@cli")).is_some() {
            bench.daemon.ok(&["delete", name]);
        }
    }
    bench.daemon.until_nothing_is_left();
    let bye = fs::read_to_string(bench.node_dir().join("preStop"));
    assert_eq!(
        bye.unwrap(),
        "Hello from the postStart handler\n",
        "before the end"
    );
}

fn two_containers(bench: &Bench) {
    let row = bench.until("two-containers", "Running", None);
    bench.daemon.wait("the producer's end", |_| {
        let row = bench.row("two-containers");
        (container(&row, "debian-container")["exit_code"] == 0).then_some(())
    });
    let page = [
        "two-containers",
        "-c",
        "nginx-container",
        "--",
        "wget",
        "-qO-",
        "http://127.0.0.1",
    ];
    bench.daemon.wait("the page", |_| {
        let said = bench.exec(&page);
        said.out
            .contains("Hello from the debian container")
            .then_some(())
    });
    assert_eq!(bench.row("two-containers")["uid"], row["uid"]);
}

fn init_containers_wait(bench: &Bench) {
    let running = |name: &str| {
        bench.daemon.wait(&format!("{name} to run"), |_| {
            let row = bench.row("myapp-pod");
            (container(&row, name)["state"] == "running").then_some(row)
        })
    };
    let row = running("init-myservice");
    assert_eq!(row["state"], "Creating");
    bench.says(&["myapp-pod", "init-myservice"], &["waiting for myservice"]);
    assert_eq!(container(&row, "init-mydb")["state"], "waiting");
    assert_eq!(container(&row, "myapp-container")["state"], "waiting");
    fs::write(bench.node_dir().join("services/myservice"), "").unwrap();
    running("init-mydb");
    fs::write(bench.node_dir().join("services/mydb"), "").unwrap();
    bench.until("myapp-pod", "Running", None);
    bench.says(&["myapp-pod", "myapp-container"], &["The app is running!"]);
}

fn ready_by_tcp(bench: &Bench) {
    let row = bench.daemon.wait("its probe to have failed", |_| {
        let row = bench.row("goproxy");
        (row["reason"] == "ProbeFailed").then_some(row)
    });
    assert_eq!(row["state"], "Creating", "not ready is not failed: {row}");
    fs::write(bench.node_dir().join("listen"), "").unwrap();
    let row = bench.until("goproxy", "Running", None);
    assert_eq!(row["restarts"], 0);
}

fn hooks(bench: &Bench) {
    bench.until("lifecycle-demo", "Running", None);
    let said = bench.exec(&["lifecycle-demo", "--", "cat", "/usr/share/message"]);
    assert_eq!(said.out, "Hello from the postStart handler\n");
}

fn security_context(bench: &Bench) {
    bench.until("security-context-demo", "Running", None);
    let inside = |container: &str, script: &str| {
        let words = [
            "security-context-demo",
            "-c",
            container,
            "--",
            "sh",
            "-c",
            script,
        ];
        bench.exec(&words).out
    };
    let id = inside(
        "sec-ctx-demo",
        "id -u; id -g; id -G | tr ' ' '\\n' | busybox sort",
    );
    assert_eq!(id, "1000\n3000\n2000\n3000\n4000\n");
    bench.daemon.wait("its file", |_| {
        let owners = "stat -c '%u:%g' /data/demo/testfile; stat -c '%g %a' /data/demo";
        (inside("sec-ctx-demo", owners) == "1000:2000\n2000 2777\n").then_some(())
    });
    assert_eq!(
        inside("sec-ctx-demo", "grep CapEff /proc/1/status"),
        "CapEff:\t0000000000000000\n"
    );
    let caps = inside("sec-ctx-4", "grep CapPrm /proc/1/status");
    let caps = u64::from_str_radix(caps.split('\t').nth(1).unwrap().trim(), 16).unwrap();
    assert_eq!(caps & (1 << 12), 1 << 12, "NET_ADMIN: {caps:x}");
    assert_eq!(caps & (1 << 25), 1 << 25, "SYS_TIME: {caps:x}");
    let link = "busybox ip link set lo down && busybox ip link set lo up && echo done";
    assert_eq!(inside("sec-ctx-4", link), "done\n");
    assert_eq!(inside("sec-ctx-demo", link), "");
}

fn last_words(bench: &Bench) {
    bench.until("termination-demo", "Failed", Some("Error"));
    let told = |name: &str| {
        bench.daemon.wait(&format!("the end of {name}"), |_| {
            let described = bench.described("termination-demo");
            let last = container(&described, name)["last_exit"].clone();
            (!last.is_null()).then(|| {
                last["message"]
                    .as_str()
                    .unwrap_or_default()
                    .trim()
                    .to_owned()
            })
        })
    };
    assert_eq!(told("termination-demo-container"), "Sleep expired");
    assert_eq!(told("msg-path-demo-container"), "of my own");
    assert_eq!(told("fallback"), "said on the way out");
}

#[test]
fn pods_of_kubernetes_documentation_that_cannot_run_are_refused_with_every_reason() {
    let bench = Bench::begin();
    let refused = |file: &str| {
        let file = bench.refused().join(file);
        let said = bench
            .daemon
            .cli(&["apply", "--dry-run", "-f", file.to_str().unwrap()]);
        assert_eq!(said.code, 1, "{said:?}");
        format!("{}{}", said.out, said.err)
    };
    let said = refused("share-process-namespace.yaml");
    let faults: Vec<&str> = said.lines().filter(|l| l.contains("spec.")).collect();
    assert_eq!(faults.len(), 1, "{said}");
    assert!(said.contains("spec.shareProcessNamespace"), "{said}");
    assert!(
        said.contains("each container has processes of its own"),
        "{said}"
    );
    let said = refused("subpath-expr.yaml");
    for (field, reason) in [
        ("spec.activeDeadlineSeconds", "nothing would end it then"),
        (
            "spec.containers[0].volumeMounts[0].subPathExpr",
            "use subPath",
        ),
        (
            "spec.volumes[1].persistentVolumeClaim",
            "use hostPath or emptyDir",
        ),
    ] {
        let line = said.lines().find(|l| l.contains(field));
        assert!(line.is_some_and(|l| l.contains(reason)), "{field}: {said}");
    }
}
