use std::{fs, path::Path, time::Duration};

use super::*;

/// A spawner with a cgroup parent of its own, which must be gone in the end.
struct Ground {
    spawner: Spawner,
    parent: String,
}

impl Ground {
    fn new(name: &str) -> Self {
        let parent = format!("/riklet-t{}{name}", std::process::id());
        let cgroups = Cgroups::detect(&parent).unwrap();
        Self {
            spawner: Spawner::new(Reaper::start().unwrap(), cgroups),
            parent,
        }
    }

    fn leases(&self) -> Vec<String> {
        self.spawner.cgroups().children(WORK)
    }

    /// Waits for sweeps in the background.
    async fn no_lease_within(&self, limit: Duration) {
        let began = Instant::now();
        while !self.leases().is_empty() {
            assert!(began.elapsed() < limit, "left: {:?}", self.leases());
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let cgroups = self.spawner.cgroups();
        let _ = cgroups.kill_now("");
        let began = std::time::Instant::now();
        while cgroups.exists("") && began.elapsed() < Duration::from_secs(3) {
            let _ = cgroups.remove("");
        }
        assert!(
            std::thread::panicking() || !cgroups.exists(""),
            "{} is left",
            self.parent
        );
    }
}

fn sh(script: &str, deadline: Duration) -> Call {
    Call::new("/bin/sh", deadline)
        .arg("-c")
        .arg(script)
        .verb("test")
}

const LONG: Duration = Duration::from_secs(20);
/// Long enough for a shell to start on a loaded machine.
const SHORT: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_call_returns_what_was_written_and_leaves_nothing() {
    let ground = Ground::new("ok");
    let call = sh("cat; echo err >&2", LONG).stdin("in\n");
    let output = ground.spawner.call(call).await.unwrap();
    assert_eq!(output.stdout, b"in\n");
    assert_eq!(output.stderr, b"err\n");
    assert_eq!(ground.leases(), [""; 0]);
}

#[tokio::test]
async fn an_exit_code_and_the_last_line_are_in_one_line_and_arguments_are_not() {
    let ground = Ground::new("code");
    let call = sh("echo first >&2; echo last >&2; exit 3 # s3cret", LONG);
    let e = ground.spawner.call(call).await.unwrap_err();
    assert_eq!(e.to_string(), "sh test: exit code 3: last");
    let e = ground
        .spawner
        .call(sh("kill -9 $$", LONG))
        .await
        .unwrap_err();
    assert_eq!(e.to_string(), "sh test: ended by signal 9");
}

#[tokio::test]
async fn a_missing_program_is_told_from_a_missing_directory() {
    let ground = Ground::new("missing");
    let e = ground
        .spawner
        .call(Call::new("no-such-program", LONG))
        .await;
    assert!(matches!(e, Err(CallError::Missing { .. })), "{e:?}");
    let call = Call::new("true", LONG).cwd("/no/such/dir");
    let e = ground.spawner.call(call).await;
    assert!(matches!(e, Err(CallError::Spawn { .. })), "{e:?}");
    ground.no_lease_within(Duration::from_secs(2)).await;
}

#[tokio::test]
async fn the_environment_is_exactly_what_was_asked_for_and_path() {
    let ground = Ground::new("env");
    let call = Call::new("env", LONG).env("A", "b");
    let output = ground.spawner.call(call).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A=b", &format!("PATH={}", call::DEFAULT_PATH)]);
}

#[tokio::test]
async fn the_deadline_ends_a_grandchild_in_a_session_of_its_own_that_holds_the_output() {
    let ground = Ground::new("deadline");
    // It ignores SIGTERM and SIGHUP, and its parent waits for it.
    let script = "echo said; setsid sh -c 'trap \"\" TERM HUP; sleep 100; sleep 100' & wait";
    let began = Instant::now();
    let e = ground.spawner.call(sh(script, SHORT)).await.unwrap_err();
    assert!(began.elapsed() >= SHORT);
    // The promise is 1 s; this machine may be shared.
    assert!(began.elapsed() < SHORT + Duration::from_secs(5));
    let CallError::Deadline { stdout, .. } = e else {
        panic!("{e:?}")
    };
    assert_eq!(stdout, b"said\n");
    assert_eq!(ground.leases(), [""; 0]);
}

#[tokio::test]
async fn a_grandchild_that_holds_the_output_neither_delays_a_call_nor_outlives_it() {
    let ground = Ground::new("holds");
    let script = "setsid sleep 100 & echo $!";
    let began = Instant::now();
    let output = ground.spawner.call(sh(script, LONG)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2));
    let pid = String::from_utf8(output.stdout).unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    assert!(!stat.contains("(sleep) S"), "{stat}");
    assert_eq!(ground.leases(), [""; 0]);
}

#[tokio::test]
async fn a_call_that_is_dropped_is_ended_with_all_it_spawned() {
    let ground = Ground::new("drop");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let script = format!(
        "setsid sh -c 'echo $$ > {f}.new; mv {f}.new {f}; exec sleep 100' & wait",
        f = file.display()
    );
    let spawner = ground.spawner.clone();
    let call = tokio::spawn(async move { spawner.call(sh(&script, LONG)).await });
    let began = Instant::now();
    while !file.exists() {
        assert!(began.elapsed() < Duration::from_secs(5));
        tokio::task::yield_now().await;
    }
    let pid = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    let process = identify(pid).unwrap();
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    ground.no_lease_within(Duration::from_secs(2)).await;
    assert!(!alive(process));
}

#[tokio::test]
async fn a_call_that_is_dropped_while_it_is_launched_leaves_nothing() {
    let ground = Ground::new("early");
    for micros in (0..3000).step_by(150) {
        let call = ground.spawner.call(sh("sleep 100", LONG));
        let limit = Duration::from_micros(micros);
        assert!(tokio::time::timeout(limit, call).await.is_err());
    }
    // A launch that was still queued may begin after this look; so it has to stay empty.
    let output = ground.spawner.call(sh("true", LONG)).await;
    assert!(output.is_ok(), "{output:?}");
    ground.no_lease_within(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_flood_of_output_is_held_to_its_ends() {
    let ground = Ground::new("flood");
    let script = "echo begin; head -c 30000000 /dev/zero; echo end";
    let output = ground.spawner.call(sh(script, LONG)).await.unwrap();
    assert!(output.stdout.starts_with(b"begin\n") && output.stdout.ends_with(b"end\n"));
    assert!(output.stdout.len() < 82 * 1024);
    let output = ground
        .spawner
        .call(sh("head -c 200000 /dev/zero", LONG).keep(1 << 20))
        .await
        .unwrap();
    assert_eq!(output.stdout.len(), 200_000);
}

#[tokio::test]
async fn a_call_has_its_group_its_cgroup_no_blocked_signal_and_no_stray_descriptor() {
    let ground = Ground::new("clean");
    let script = "cat /proc/self/cgroup; grep SigBlk /proc/self/status; \
                  cut -d' ' -f5 /proc/$$/stat; echo $$; ls /proc/self/fd | wc -l; \
                  cat /proc/self/oom_score_adj";
    let call = sh(script, LONG).oom_score_adj(321);
    let output = ground.spawner.call(call).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(&format!(":{}/work/", ground.parent)),
        "{text}"
    );
    assert!(text.contains("SigBlk:\t0000000000000000"), "{text}");
    let lines: Vec<_> = text.lines().collect();
    let rest = &lines[lines.len() - 4..];
    assert_eq!(rest[0], rest[1], "group leader");
    assert_eq!(
        rest[2], "4",
        "stdin, stdout, stderr, and the directory of ls"
    );
    assert_eq!(rest[3], "321");
}

#[tokio::test]
async fn fifty_calls_at_once_all_come_back() {
    let ground = Ground::new("fifty");
    let calls: Vec<_> = (0..50)
        .map(|n| {
            let spawner = ground.spawner.clone();
            tokio::spawn(async move { spawner.call(sh(&format!("echo {n}"), LONG)).await })
        })
        .collect();
    for (n, call) in calls.into_iter().enumerate() {
        let output = call.await.unwrap().unwrap();
        assert_eq!(output.stdout, format!("{n}\n").into_bytes());
    }
    assert_eq!(ground.leases(), [""; 0]);
}

#[tokio::test]
async fn work_of_a_former_daemon_is_emptied_by_force() {
    let ground = Ground::new("former");
    let mut orphan = Detached::new("/bin/sleep", "work/7");
    orphan.args = vec!["100".into()];
    let mut child = ground.spawner.detach(orphan).unwrap();
    ground
        .spawner
        .clear_work(Duration::from_secs(2))
        .await
        .unwrap();
    let status = child.exit.wait().await.unwrap();
    assert_eq!(status.signal(), Some(9));
    assert!(!ground.spawner.cgroups().exists(WORK));
}

#[tokio::test]
async fn a_detached_program_has_its_cgroup_its_third_descriptor_and_an_exit() {
    let ground = Ground::new("detach");
    let dir = tempfile::tempdir().unwrap();
    let (sync, out) = (dir.path().join("sync"), dir.path().join("out"));
    let open = |p: &Path| {
        fs::File::options()
            .append(true)
            .create(true)
            .open(p)
            .unwrap()
    };
    let mut call = Detached::new("/bin/sh", "monitors/x-0-1");
    call.args = vec![
        "-c".into(),
        "echo hello >&3; cat /proc/self/cgroup; exit 5".into(),
    ];
    call.third = Some(open(&sync));
    call.output = Some(open(&out));
    let mut child = ground.spawner.detach(call).unwrap();
    let status = child.exit.wait().await.unwrap();
    assert_eq!(status.code(), Some(5));
    assert_eq!(fs::read(&sync).unwrap(), b"hello\n");
    let cgroup = fs::read_to_string(&out).unwrap();
    assert!(cgroup.contains(&format!(":{}/monitors/x-0-1", ground.parent)));
    ground.spawner.cgroups().remove("monitors").unwrap();
}

#[tokio::test]
async fn a_missing_detached_program_is_an_error_also_with_a_third_descriptor() {
    let ground = Ground::new("nodetach");
    let mut call = Detached::new("/no/such/monitor", "monitors/x-0-1");
    call.third = Some(tempfile::tempfile().unwrap());
    let e = ground.spawner.detach(call);
    assert!(matches!(e, Err(CallError::Missing { .. })), "{e:?}");
}

/// A v1 freezer's cgroup that the spawner doesn't know of: whoever is frozen in it outlives
/// SIGKILL, as a process on a dead disk does.
struct Ice(std::path::PathBuf);

impl Ice {
    fn new() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let layout = crate::runtime::cgroup::Layout::parse(&mounts);
        let name = format!("riklet-ice{}", std::process::id());
        let dir = layout.v1_with("freezer")?.join(name);
        fs::create_dir(&dir).unwrap();
        Some(Self(dir))
    }

    fn say(&self, word: &str) {
        fs::write(self.0.join("freezer.state"), word).unwrap();
    }
}

impl Drop for Ice {
    fn drop(&mut self) {
        self.say("THAWED");
        let began = std::time::Instant::now();
        while fs::remove_dir(&self.0).is_err() && began.elapsed() < Duration::from_secs(3) {}
        assert!(!self.0.exists());
    }
}

#[tokio::test]
async fn what_outlives_sigkill_is_named_in_time_and_swept_later() {
    let ground = Ground::new("ice");
    let Some(ice) = Ice::new() else {
        return; // No v1 freezer here.
    };
    let procs = ice.0.join("cgroup.procs");
    let script = format!("echo 0 > {}; exec sleep 100", procs.display());
    let deadline = Duration::from_secs(1);
    let began = Instant::now();
    let spawner = ground.spawner.clone();
    let call = tokio::spawn(async move { spawner.call(sh(&script, deadline)).await });
    while fs::read_to_string(&procs).unwrap().is_empty() {
        assert!(began.elapsed() < deadline);
        tokio::task::yield_now().await;
    }
    ice.say("FROZEN");
    let e = call.await.unwrap().unwrap_err();
    assert!(began.elapsed() < deadline + Duration::from_secs(1));
    let CallError::Cgroup { source, .. } = e else {
        panic!("{e:?}")
    };
    let CgroupError::Unkillable { pids, .. } = source else {
        panic!("{source:?}")
    };
    assert_eq!(pids.len(), 1);
    assert_eq!(ground.leases().len(), 1);
    ice.say("THAWED");
    ground.no_lease_within(Duration::from_secs(3)).await;
}
