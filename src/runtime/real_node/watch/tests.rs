use std::{
    fs,
    process::{Command, Stdio},
    time::Instant,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::*;
use crate::{
    runtime::process::identify,
    testing::builders::{container_id, uid},
};

const SOON: Duration = Duration::from_secs(30);

/// Waits for something outside of us.
async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(began.elapsed() < SOON, "not in time");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_exit_is_not_lost_with_a_monitor_that_hangs_and_is_killed() {
    let reaper = Reaper::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let pidfile = dir.path().join("pid");
    // A monitor that has a container and never reaps it.
    let script = format!(
        "sh -c 'trap \"exit 7\" USR1; echo $$ > {0}.new; mv {0}.new {0}; while :; do sleep 0.01; done' & exec sleep 100",
        pidfile.display()
    );
    let spawn = || {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // As process.rs does, without its cgroups.
        #[allow(clippy::disallowed_methods)]
        let child = command.spawn()?;
        i32::try_from(child.id()).map_err(std::io::Error::other)
    };
    let (monitor, mut ended) = reaper.register(spawn).unwrap();
    let container = until(async || {
        let text = fs::read_to_string(&pidfile).ok()?;
        text.trim().parse().ok()
    });
    let container = identify(container.await).unwrap();
    let id = container_id(&uid(1), 0, 1);
    let watch = Watch::new(dir.path().to_owned(), reaper);
    watch.follow_container(&id, container);

    kill(Pid::from_raw(container.pid), Signal::SIGUSR1).unwrap();
    until(async || unreaped(container).then_some(())).await;
    // It has ended, and nobody says how, for several times as long as the reaper is waited for.
    assert!(timeout(4 * REAPED_WITHIN, ended.wait()).await.is_err());
    kill(Pid::from_raw(monitor), Signal::SIGKILL).unwrap();
    ended.wait().await;
    let exit = until(async || watch.orphans_exit(&id, false).await).await;
    assert_eq!(exit.code, Some(7));
}
