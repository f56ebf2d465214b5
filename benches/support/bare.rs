//! The yardstick: overlay mount, conmon, runc create, runc start, in a loop. A program of its
//! own (the bench runs itself again for it), which shares nothing with riklet but the text of
//! config.json, conmon's flags and the snapshot.
//!
//! It does less than a node has to: no record, no cgroup for the monitor, no deadline, no
//! network namespace by name (runc makes an unnamed one), and it waits on a pipe.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{Pid, pipe2},
};
use serde_json::{Value, json};

use super::World;

/// The first argument by which the bench knows that it is to be the loop.
const WORD: &str = "bare-loop";

/// Is this process to be the loop? Then it is, and ends.
pub fn run_if_asked() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|word| word == WORD) {
        // Its monitors become its children, so that it can wait for their ends.
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        let number = |n: usize| args[n].parse::<usize>().unwrap();
        let bare = Loop {
            dir: PathBuf::from(&args[2]),
            snapshot: PathBuf::from(&args[3]),
            config: fs::read_to_string(&args[4]).unwrap(),
        };
        let took = bare.run(number(5), number(6));
        println!("{}", took.as_nanos());
        std::process::exit(0);
    }
}

/// Runs the loop in a process of its own; how long the starts took together.
pub fn run(world: &World, template: &Path, count: usize, parallel: usize) -> Duration {
    let snapshots = fs::read_dir(world.dir.join("state/snapshots")).unwrap();
    let snapshot = snapshots
        .flatten()
        .map(|e| e.path().join("rootfs"))
        .find(|p| p.is_dir())
        .unwrap();
    let dir = world.dir.join("bare");
    fs::create_dir_all(&dir).unwrap();
    let out = Command::new(std::env::current_exe().unwrap())
        .args([WORD.as_ref(), dir.as_os_str()])
        .args([&snapshot, template])
        .args([count.to_string(), parallel.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    fs::remove_dir_all(&dir).unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    Duration::from_nanos(text.trim().parse().unwrap())
}

/// Makes the text that the loop's config.json are made of from one that riklet wrote.
pub fn template(world: &World, uid: &str) -> PathBuf {
    let bundle = world.dir.join(format!("state/pods/{uid}/0-1"));
    let text = fs::read_to_string(bundle.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["linux"]["cgroupsPath"] = "@CGROUP@".into();
    for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
        namespace.as_object_mut().unwrap().remove("path");
    }
    // The sandbox's shared memory goes with it: each container of the loop has its own.
    for mount in config["mounts"].as_array_mut().unwrap() {
        if mount["destination"] == "/dev/shm" {
            *mount = json!({
                "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
            });
        }
    }
    let text = config.to_string();
    let text = text.replace(bundle.to_str().unwrap(), "@BUNDLE@");
    let path = world.dir.join("bare.json");
    fs::write(&path, text).unwrap();
    path
}

struct Loop {
    dir: PathBuf,
    snapshot: PathBuf,
    config: String,
}

impl Loop {
    fn run(&self, count: usize, parallel: usize) -> Duration {
        fs::create_dir_all(self.dir.join("exits")).unwrap();
        let next = AtomicUsize::new(0);
        let began = Instant::now();
        std::thread::scope(|threads| {
            for _ in 0..parallel {
                threads.spawn(|| {
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= count {
                            break;
                        }
                        self.start(n);
                    }
                });
            }
        });
        let took = began.elapsed();
        for n in 0..count {
            self.remove(n);
        }
        let parent = self.cgroup("");
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let _ = fs::remove_dir(hierarchy.path().join(parent.trim_matches('/')));
        }
        let _ = fs::remove_dir(Path::new("/sys/fs/cgroup").join(parent.trim_matches('/')));
        took
    }

    fn cgroup(&self, name: &str) -> String {
        format!("/riklet-bench-{}/{name}", std::process::id())
    }

    fn name(n: usize) -> String {
        format!("bare-{}-{n}", std::process::id())
    }

    fn start(&self, n: usize) {
        let (name, bundle) = (Self::name(n), self.dir.join(Self::name(n)));
        let persist = bundle.join("p");
        for dir in ["rootfs", "upper", "work", "p"] {
            fs::create_dir_all(bundle.join(dir)).unwrap();
        }
        let at = |path: PathBuf| path.to_str().unwrap().to_owned();
        let options = format!(
            "lowerdir={},upperdir={},workdir={},volatile",
            self.snapshot.display(),
            at(bundle.join("upper")),
            at(bundle.join("work")),
        );
        let (overlay, flags) = (Some("overlay"), MsFlags::MS_NODEV);
        let target = bundle.join("rootfs");
        mount(overlay, &target, overlay, flags, Some(options.as_str())).unwrap();
        for file in ["hosts", "hostname", "resolv.conf", "termination-log"] {
            fs::write(bundle.join(file), "bare\n").unwrap();
        }
        let config = self.config.replace("@CGROUP@", &self.cgroup(&name));
        let config = config.replace("@BUNDLE@", bundle.to_str().unwrap());
        fs::write(bundle.join("config.json"), config).unwrap();
        self.create(&name, &bundle, &persist);
        self.runc(&["start", &name]);
    }

    /// conmon, until it says that runc has created the container.
    fn create(&self, name: &str, bundle: &Path, persist: &Path) {
        let at = |path: PathBuf| path.to_str().unwrap().to_owned();
        let (reader, writer): (OwnedFd, OwnedFd) = pipe2(OFlag::O_CLOEXEC).unwrap();
        fcntl(&writer, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let ran = Command::new("conmon")
            .args(["--api-version", "1", "-c", name, "-u", name, "-n", name])
            .args(["-b", &at(bundle.to_owned()), "-r", "/usr/sbin/runc"])
            .args(["-P", &at(persist.join("conmon.pid"))])
            .args(["-p", &at(persist.join("pid"))])
            .args(["-l", &format!("k8s-file:{}", at(bundle.join("log")))])
            .args(["--exit-dir", &at(self.dir.join("exits"))])
            .args(["--persist-dir", &at(persist.to_owned())])
            .args(["--log-level", "warning"])
            .args([
                "--runtime-arg",
                &format!("--root={}", at(self.dir.join("runc"))),
            ])
            .args(["--runtime-arg", "--log-format=json"])
            .args(["--full-attach", "--no-sync-log"])
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("_OCI_SYNCPIPE", writer.as_raw_fd().to_string())
            .current_dir(bundle)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        drop(writer);
        assert!(ran.success(), "conmon: {ran}");
        let mut line = String::new();
        let said = BufReader::new(fs::File::from(reader)).read_line(&mut line);
        assert!(said.is_ok() && !line.contains("-1"), "conmon says {line:?}");
    }

    fn runc(&self, words: &[&str]) {
        let ran = Command::new("/usr/sbin/runc")
            .arg("--root")
            .arg(self.dir.join("runc"))
            .args(words)
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(ran.success(), "runc {words:?}: {ran}");
    }

    fn remove(&self, n: usize) {
        let (name, bundle) = (Self::name(n), self.dir.join(Self::name(n)));
        let pid = |file: &str| {
            let text = fs::read_to_string(bundle.join("p").join(file)).unwrap();
            Pid::from_raw(text.trim().parse().unwrap())
        };
        kill(pid("pid"), Signal::SIGKILL).unwrap();
        waitpid(pid("conmon.pid"), None).unwrap();
        self.runc(&["delete", &name]);
        umount2(&bundle.join("rootfs"), MntFlags::empty()).unwrap();
    }
}
