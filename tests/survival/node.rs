//! A node under attack: a scheduler, a daemon, the stand-in for runc, and the looks at them.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    cell::RefCell, collections::BTreeMap, fs, net::SocketAddr, path::PathBuf, process::Command,
};

use riklet::testing::scheduler::{Core, Event, Manners, Scheduler};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{gates::Gates, machine::Machine};
use crate::support::daemon::{Daemon, SOON, process_runs, signal};

/// Says hello, and does what it is told: SIGUSR1 ends it with 37, SIGUSR2 with 0, SIGHUP by a
/// fault of its own, SIGQUIT by eating memory.
pub const OBEY: &str = r#"
trap 'exit 0' TERM USR2
trap 'exit 37' USR1
trap 'printf "$CRASH" >/crash; busybox chmod 755 /crash; exec /crash' HUP
trap 'x=a; while true; do x=$x$x; done' QUIT
echo ran; while true; do sleep 1000000 & wait; done
"#;

/// The smallest program that touches memory which isn't its own, as text for `printf`.
fn crash() -> String {
    let (machine, code): (u8, &[u8]) = match std::env::consts::ARCH {
        "aarch64" => (0xb7, &[0, 0, 0x80, 0xd2, 0, 0, 0, 0xf9]),
        // xor eax, eax; mov [rax], eax
        _ => (0x3e, &[0x31, 0xc0, 0x89, 0]),
    };
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
    elf.extend([machine, 0, 1, 0, 0, 0]);
    let (base, header): (u64, u64) = (0x40_0000, 0x78);
    for word in [base + header, 0x40, 0] {
        elf.extend(word.to_le_bytes());
    }
    // No flags; sizes of the headers, and one program header.
    elf.extend([0, 0, 0, 0, 0x40, 0, 0x38, 0, 1, 0, 0x40, 0, 0, 0, 0, 0]);
    let size = header + code.len() as u64;
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, base, base, size, size, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(code);
    elf.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// A node and its surroundings.
pub struct Node {
    // First, so that it is torn down while everything else is still there.
    pub daemon: Daemon,
    pub machine: Option<Machine>,
    pub scheduler: Scheduler,
    pub gates: Gates,
    runtime: Runtime,
    names: u32,
    boots: u32,
    /// What [`runs`](Self::runs) has seen in each log: those of earlier attempts go in time.
    ran: RefCell<BTreeMap<PathBuf, usize>>,
}

/// A state as it arrived: its name, reason and exit code, and its seq.
pub type Arrived = (String, String, Option<i32>, u64);

impl Node {
    /// With its daemon running.
    pub fn new() -> Self {
        let mut node = Self::prepare("");
        node.daemon.start();
        node
    }

    /// With more settings, and nothing started.
    pub fn prepare(config: &str) -> Self {
        Self::prepare_with(config, |daemon, scheduler| {
            daemon.scheduler(&scheduler.url())
        })
    }

    fn prepare_with(config: &str, told: impl Fn(Daemon, &Scheduler) -> Daemon) -> Self {
        let runtime = Runtime::new().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let scheduler = runtime
            .block_on(Scheduler::start(any, Manners::Kind))
            .unwrap();
        let daemon = told(Daemon::prepare(), &scheduler);
        let gates = Gates::write(&daemon.dir().join("bin"));
        let daemon = daemon.config(&format!("resync = \"1s\"\n{}{config}", gates.config()));
        Self {
            daemon,
            machine: None,
            scheduler,
            gates,
            runtime,
            names: 0,
            boots: 0,
            ran: RefCell::default(),
        }
    }

    /// The same without a scheduler.
    pub fn prepare_standalone() -> Self {
        Self::prepare_with("", |daemon, _| daemon)
    }

    /// The same with a network, and its daemon running.
    pub fn networked() -> Self {
        let mut node = Self::prepare_with("", |daemon, scheduler| {
            daemon.network("").scheduler(&scheduler.url())
        });
        node.daemon.start();
        node
    }

    /// With a network and without a scheduler, on a machine of its own that has just come up.
    pub fn networked_on_a_machine() -> Self {
        let mut node = Self::prepare_with("", |daemon, _| daemon.network(""));
        node.boot(None);
        node.daemon.start();
        node
    }

    /// On a machine of its own, that has just come up.
    pub fn on_a_machine() -> Self {
        let mut node = Self::prepare("");
        node.boot(None);
        node.daemon.start();
        node
    }

    fn machine_dir(&self) -> PathBuf {
        self.daemon.dir().join("machine")
    }

    /// A boot id that no boot had before.
    pub fn new_boot_id(&mut self) -> String {
        self.boots += 1;
        format!("00000000-0000-0000-0000-{:012}", self.boots)
    }

    /// The boot id of now.
    pub fn boot_id(&self) -> String {
        let text = fs::read_to_string(self.machine_dir().join("boot_id"));
        text.unwrap().trim().to_owned()
    }

    /// The machine comes up: with a new boot id and a new clock, or (`again`) with this boot id
    /// and the clock as it was.
    pub fn boot(&mut self, again: Option<&str>) {
        let id = again.map_or_else(|| self.new_boot_id(), str::to_owned);
        let former = again.and(self.machine.as_ref());
        let machine = Machine::boot(&self.machine_dir(), &id, former);
        self.daemon.move_into(Some(machine.pid()));
        self.machine = Some(machine);
    }

    /// Power is cut: nothing lives, and what was in memory only is gone. The daemon is dead.
    /// `run_stays`: its run dir isn't on a tmpfs.
    pub fn power_cut(&mut self, run_stays: bool) {
        // Monitors first, so that none of them sees the end of its container.
        for group in ["monitors", "pods", "work"] {
            self.end_cgroups(group);
        }
        for mount in self.machine.as_ref().unwrap().mounts(self.daemon.dir()) {
            let point = mount.trim_start_matches("mount ").to_owned();
            let mut umount = self.daemon.program("/bin/umount");
            umount.args(["-l", &point]);
            assert_eq!(self.daemon.finish(umount).code, 0);
        }
        if !run_stays {
            fs::remove_dir_all(self.daemon.run()).unwrap();
            fs::create_dir(self.daemon.run()).unwrap();
        }
    }

    /// Ends everything in the node's cgroup of that name, and removes it, in each hierarchy.
    fn end_cgroups(&self, name: &str) {
        let top = format!("riklet-{}", self.uid());
        let mut hierarchies: Vec<PathBuf> = vec!["/sys/fs/cgroup".into()];
        let entries = fs::read_dir("/sys/fs/cgroup").unwrap();
        hierarchies.extend(entries.map(|e| e.unwrap().path()));
        let groups: Vec<_> = hierarchies
            .iter()
            .map(|h| h.join(&top).join(name))
            .collect();
        let end = r#"for g; do [ ! -d "$g" ] || { [ ! -e "$g/cgroup.kill" ] || echo 1 >"$g/cgroup.kill"
            find "$g" -name freezer.state -exec sh -c 'echo THAWED >"$1"' sh {} \;
            for p in $(find "$g" -name cgroup.procs -exec cat {} +); do kill -9 "$p"; done
            find "$g" -depth -type d -exec rmdir {} \; ; } ; done 2>/dev/null; true"#;
        self.daemon.wait("its processes to be gone", |daemon| {
            let mut sh = Command::new("/bin/sh");
            sh.args(["-c", end, "sh"]).args(&groups);
            daemon.finish(sh);
            groups.iter().all(|g| !g.exists()).then_some(())
        });
    }

    /// The node's uid, from the journal.
    pub fn uid(&self) -> String {
        let lines = self.daemon.lines();
        let mut nodes = lines.iter().filter_map(|line| line["node"].as_str());
        nodes.next().unwrap().to_owned()
    }

    /// A name that no instance had before.
    pub fn name(&mut self, what: &str) -> String {
        self.names += 1;
        format!("{what}-{}", self.names)
    }

    /// The text of a definition with this restart policy.
    pub fn definition(&self, script: &str, policy: &str) -> String {
        let mut definition = self.daemon.definition("work", script);
        definition["spec"]["restartPolicy"] = json!(policy);
        let env = definition["spec"]["containers"][0]["env"].as_array_mut();
        env.unwrap()
            .push(json!({ "name": "CRASH", "value": crash() }));
        definition.to_string()
    }

    /// The scheduler wants a new instance that obeys; nothing is waited for.
    pub fn place(&mut self, policy: &str) -> String {
        let id = self.name(&policy.to_lowercase());
        self.scheduler
            .create(&id, &self.definition(OBEY, policy))
            .unwrap();
        id
    }

    /// The same, until it runs and the scheduler knows.
    pub fn run(&mut self, policy: &str) -> String {
        let id = self.place(policy);
        self.until_running(&id);
        id
    }

    /// Waits until the scheduler knows that it runs.
    pub fn until_running(&self, id: &str) {
        self.until_wire(id, "RUNNING");
        // It has set its traps once it has said so.
        self.daemon
            .wait("its log", |d| d.logs(id).contains("ran").then_some(()));
    }

    /// Waits until the last state that arrived of it is this one.
    pub fn until_wire(&self, id: &str, status: &str) {
        let is = |core: &Core| match status {
            "TERMINATED" => core.terminated.contains_key(id).then_some(()),
            _ => (core.instances.get(id)?.status == status).then_some(()),
        };
        let what = format!("{id} to be {status}");
        let waited = self.scheduler.wait(&what, 2 * SOON, is);
        if let Err(error) = self.runtime.block_on(waited) {
            panic!("{error}\n{}", self.daemon.log_tail());
        }
    }

    /// Waits until all is acknowledged, and nothing is due.
    pub fn settle(&self) {
        self.until_starts_begin();
        self.daemon.wait("a link without backlog", |d| {
            let status = d.status();
            let linked = status["link"]["state"] == "registered";
            (linked && status["unacknowledged"] == 0 && d.plan().is_empty()).then_some(())
        });
    }

    /// Waits until this life of the daemon starts what it found exited.
    pub fn until_starts_begin(&self) {
        self.daemon.wait("starts to begin", |d| {
            d.log().contains("starts begin").then_some(())
        });
    }

    /// Where the wire is now.
    pub fn mark(&self) -> usize {
        self.scheduler.look(|core| core.events(usize::MAX).1)
    }

    /// The states of an instance that arrived since then, each once.
    pub fn arrived(&self, id: &str, since: usize) -> Vec<Arrived> {
        let (events, _) = self.scheduler.look(|core| core.events(since));
        let state = |event| match event {
            Event::Instance {
                instance,
                status,
                reason,
                exit_code,
                seq,
                ..
            } if instance == id => Some((status, reason, exit_code, seq)),
            _ => None,
        };
        let mut arrived: Vec<Arrived> = events.into_iter().filter_map(state).collect();
        arrived.dedup_by_key(|state| state.3);
        arrived
    }

    /// The first FAILED that arrived since then: its reason and code.
    pub fn failed(&self, id: &str, since: usize) -> (String, Option<i32>) {
        self.daemon.wait(&format!("FAILED of {id}"), |_| {
            let states = self.arrived(id, since).into_iter();
            let mut failed = states.filter(|s| s.0 == "FAILED");
            failed.next().map(|(_, reason, code, _)| (reason, code))
        })
    }

    /// The row of its one container.
    pub fn container(&self, id: &str) -> Value {
        let row = self.daemon.row(id);
        row.map_or(Value::Null, |row| row["containers"][0].clone())
    }

    /// Name and pid of its one container, as the daemon has them.
    pub fn runs_as(&self, id: &str) -> (String, i32) {
        self.daemon.wait(&format!("a pid of {id}"), |_| {
            let container = self.container(id);
            let pid = i32::try_from(container["pid"].as_i64()?).unwrap();
            Some((container["id"].as_str()?.to_owned(), pid))
        })
    }

    /// Waits for the pid of one of its containers, by its name in the definition.
    pub fn pid_of(&self, id: &str, container: &str) -> i32 {
        self.daemon
            .wait(&format!("a pid of {container} of {id}"), |d| {
                let row = d.row(id)?;
                let mut all = row["containers"].as_array()?.iter();
                let pid = all.find(|c| c["name"] == container)?["pid"].as_i64()?;
                Some(i32::try_from(pid).unwrap())
            })
    }

    /// Attempts of an instance's containers that were intended after this line: position and
    /// attempt.
    pub fn intended(&self, id: &str, since: u64) -> Vec<(u32, u32)> {
        let Some(uid) = self.uid_of(id) else {
            return Vec::new();
        };
        let lines = self.daemon.lines().into_iter();
        let of = |line: &Value| {
            let intended = line["kind"] == "attempt_intended" && line["uid"] == *uid;
            intended && line["seq"].as_u64() > Some(since)
        };
        let names = lines.filter(of).map(|line| {
            let id = line["container"].as_str().unwrap().to_owned();
            let mut parts = id.split('-').skip(1).map(|n| n.parse().unwrap());
            (parts.next().unwrap(), parts.next().unwrap())
        });
        names.collect()
    }

    /// Seq of the last line.
    pub fn last_seq(&self) -> u64 {
        self.daemon.lines().last().unwrap()["seq"].as_u64().unwrap()
    }

    /// The container's name of one of its attempts, from the journal.
    pub fn attempt(&self, id: &str, attempt: u32) -> String {
        format!("{}-0-{attempt}", self.uid_of(id).unwrap())
    }

    /// The same of its first attempt, if it has been accepted.
    pub fn attempt_if(&self, id: &str) -> Option<String> {
        Some(format!("{}-0-1", self.uid_of(id)?))
    }

    fn uid_of(&self, id: &str) -> Option<String> {
        let lines = self.daemon.lines();
        let of = |line: &&Value| line["kind"] == "accepted" && line["instance"] == id;
        let uid = lines.iter().rfind(of)?["uid"].as_str();
        uid.map(str::to_owned)
    }

    /// How many containers of an instance have a process, as the kernel has it.
    pub fn living(&self, id: &str) -> usize {
        let uid = self.uid_of(id).unwrap();
        let mut living = std::collections::BTreeSet::new();
        for top in fs::read_dir("/sys/fs/cgroup").unwrap() {
            let top = top.unwrap().path().join(format!("riklet-{}", self.uid()));
            for dir in fs::read_dir(top.join("pods").join(&uid))
                .into_iter()
                .flatten()
            {
                let dir = dir.unwrap().path();
                let procs = fs::read_to_string(dir.join("cgroup.procs"));
                if procs.is_ok_and(|text| !text.is_empty()) {
                    living.insert(dir.file_name().unwrap().to_owned());
                }
            }
        }
        living.len()
    }

    /// Lines of this kind about this container.
    pub fn lines(&self, container: &str, kind: &str) -> Vec<Value> {
        let mut lines = self.daemon.lines();
        let intent = |line: &Value| line["intent"]["container"] == container;
        lines.retain(|l| l["kind"] == kind && (l["container"] == container || intent(l)));
        lines
    }

    /// How many attempts of it began to run, as far as looks since its beginning could see: each
    /// has said so in its log, and the last two logs are kept.
    pub fn runs(&self, id: &str) -> usize {
        let dir = self
            .daemon
            .state()
            .join("logs")
            .join(self.uid_of(id).unwrap());
        let mut ran = self.ran.borrow_mut();
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap_or_default();
            let count = ran.entry(path).or_default();
            *count = text.matches("F ran").count().max(*count);
        }
        let of = ran.iter().filter(|(path, _)| path.starts_with(&dir));
        of.map(|(_, count)| count).sum()
    }

    /// The monitor's directory of a container.
    pub fn persist(&self, container: &str) -> PathBuf {
        self.daemon.run().join("p").join(container)
    }

    /// runc's directory of a container.
    pub fn runc_dir(&self, container: &str) -> PathBuf {
        self.daemon.run().join("runc").join(container)
    }

    /// The exit file of a container.
    pub fn exit_file(&self, container: &str) -> PathBuf {
        self.daemon.state().join("exits").join(container)
    }

    /// The directories of a container's cgroup.
    pub fn cgroups(&self, container: &str) -> Vec<PathBuf> {
        let (uid, attempt) = container.split_once('-').unwrap();
        let mut found = Vec::new();
        for top in fs::read_dir("/sys/fs/cgroup").unwrap() {
            let top = top.unwrap().path().join(format!("riklet-{}", self.uid()));
            let dir = top.join("pods").join(uid).join(attempt);
            found.extend(dir.is_dir().then_some(dir));
        }
        found
    }

    /// Kills a container's monitor, and waits for its end.
    pub fn kill_monitor(&self, container: &str) {
        let file = self.persist(container).join("conmon.pid");
        let pid: i32 = fs::read_to_string(file).unwrap().trim().parse().unwrap();
        self.kill(pid, "KILL");
    }

    /// Sends a signal to a process of the node, and waits for its end.
    pub fn kill(&self, pid: i32, name: &str) {
        signal(pid, name);
        self.until_gone(pid);
    }

    /// Waits for a process' end.
    pub fn until_gone(&self, pid: i32) {
        self.daemon.wait(&format!("the end of {pid}"), |_| {
            (!process_runs(pid)).then_some(())
        });
    }

    /// Runs the real runc.
    pub fn runc(&self, args: &[&str]) {
        let mut runc = self.daemon.program("/usr/sbin/runc");
        runc.arg("--root")
            .arg(self.daemon.run().join("runc"))
            .args(args);
        let said = self.daemon.finish(runc);
        assert_eq!(said.code, 0, "runc {args:?}: {said:?}");
    }

    /// A scheduler that was dead lives again.
    pub fn revive(&mut self) {
        self.runtime.block_on(self.scheduler.revive()).unwrap();
    }

    /// Destroys everything; nothing may be left, and no rule of the wire broken.
    pub fn end(&self) {
        self.daemon.wait("every instance to be gone", |daemon| {
            let rows = daemon.ps();
            for row in &rows {
                let id = row["instance"].as_str().unwrap();
                if row["state"] != "Destroying" {
                    let _ = self.scheduler.destroy(id);
                }
            }
            rows.is_empty().then_some(())
        });
        self.daemon.until_nothing_is_left();
        if let Some(machine) = &self.machine {
            let mut left = machine.mounts(self.daemon.dir());
            left.extend(machine.netns());
            assert_eq!(left, Vec::<String>::new());
        }
        let violations = self.scheduler.look(|core| core.violations.clone());
        assert!(violations.is_empty(), "{violations:#?}");
    }
}
