use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::*;

/// The reaper's own test spawns as process.rs does, without its cgroups.
#[allow(clippy::disallowed_methods)]
fn spawn(reaper: &Reaper, script: &str) -> (i32, Exit) {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let pid = |child: std::process::Child| i32::try_from(child.id()).map_err(io::Error::other);
    reaper.register(|| command.spawn().and_then(pid)).unwrap()
}

async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, future).await.expect("in time")
}

#[tokio::test]
async fn of_a_thousand_short_children_every_status_is_right_and_none_stays_a_zombie() {
    let reaper = Reaper::start().unwrap();
    let mut all = Vec::new();
    for n in 0..1000 {
        let reaper = reaper.clone();
        let script = format!("exit {}", n % 256);
        let (pid, exit) = tokio::task::spawn_blocking(move || spawn(&reaper, &script))
            .await
            .unwrap();
        all.push((n, pid, exit));
    }
    for (n, pid, mut exit) in all {
        let status = within(Duration::from_secs(20), exit.wait()).await.unwrap();
        assert_eq!(status.code(), Some(n % 256), "child {n}");
        // Reaped before it was delivered: its pid is free, or another's by now.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(!stat.contains("(sh) Z"), "{stat}");
    }
}

#[tokio::test]
async fn a_real_time_signal_is_a_status_like_any_other() {
    let reaper = Reaper::start().unwrap();
    let (_, mut exit) = spawn(&reaper, "kill -40 $$");
    let status = within(Duration::from_secs(5), exit.wait()).await.unwrap();
    assert_eq!(status.signal(), Some(40));
}

#[tokio::test]
async fn an_orphans_status_is_delivered_also_to_one_who_asks_late() {
    let reaper = Reaper::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let go = dir.path().join("go");
    let fifo = nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU);
    fifo.unwrap();
    // The child ends at once; the grandchild waits for us, then ends with 7.
    let script = format!(
        "(read x < {}; exit 7) & echo $! > {}",
        go.display(),
        file.display()
    );
    let (_, mut parent) = spawn(&reaper, &script);
    within(Duration::from_secs(5), parent.wait()).await.unwrap();
    let pid: i32 = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    let process = identify(pid).unwrap();
    let mut early = reaper.watch_orphan(process);
    fs::write(&go, "go\n").unwrap();
    let status = within(Duration::from_secs(5), early.wait()).await.unwrap();
    assert_eq!(status.code(), Some(7));
    assert_eq!(
        identify(pid).ok().filter(|p| *p == process),
        None,
        "no zombie"
    );
}

#[tokio::test]
async fn an_orphan_that_ended_before_it_was_watched_is_not_lost() {
    let reaper = Reaper::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("stat");
    // The grandchild writes its own stat line and ends; its parent has gone before.
    let script = format!(
        "(read -r line < /proc/self/stat; cp /proc/$(exec sh -c 'echo $PPID')/stat {f}.new; mv {f}.new {f}; exit 9) &",
        f = file.display()
    );
    let (_, mut parent) = spawn(&reaper, &script);
    within(Duration::from_secs(5), parent.wait()).await.unwrap();
    let began = Instant::now();
    let stat = loop {
        assert!(began.elapsed() < Duration::from_secs(5));
        match fs::read_to_string(&file) {
            Ok(text) if text.ends_with('\n') => break text,
            _ => tokio::task::yield_now().await,
        }
    };
    let pid: i32 = stat.split(' ').next().unwrap().parse().unwrap();
    let ticks: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let process = ProcessId {
        pid,
        start_time: ticks[19].parse().unwrap(),
    };
    while identify(pid).is_ok_and(|p| p == process) {
        assert!(began.elapsed() < Duration::from_secs(5), "a zombie stays");
        tokio::task::yield_now().await;
    }
    let mut late = reaper.watch_orphan(process);
    let status = within(Duration::from_secs(5), late.wait()).await.unwrap();
    assert_eq!(status.code(), Some(9));
}

#[tokio::test]
async fn a_child_that_cannot_exec_is_an_error_and_no_panic() {
    let reaper = Reaper::start().unwrap();
    for _ in 0..50 {
        #[allow(
            clippy::disallowed_methods,
            reason = "spawned under the reaper, as process.rs does"
        )]
        let e = reaper
            .register(|| {
                let mut command = Command::new("/nonexistent/program");
                sys::enter_before_exec(&mut command, sys::Entry::default());
                command.spawn().map(|c| i32::try_from(c.id()).unwrap())
            })
            .unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::NotFound);
    }
}

#[test]
fn there_is_one_reaper() {
    let (a, b) = (Reaper::start().unwrap(), Reaper::start().unwrap());
    assert!(Arc::ptr_eq(&a.0, &b.0));
    assert!(nix::sys::prctl::get_child_subreaper().unwrap());
}
