use super::*;
use crate::model::ids::Uid;

fn rotator(dir: &Path, files: usize) -> (Rotator, ContainerId) {
    let layout = Layout::new(dir.join("state"), dir.join("run"));
    let id = ContainerId {
        uid: Uid::from_entropy(3),
        n: 0,
        attempt: 1,
    };
    for made in [
        layout.logs(&id.uid),
        layout.bundle(&id),
        layout.persist(&id),
    ] {
        fs::create_dir_all(made).unwrap();
    }
    let limits = LogLimits { size: 100, files };
    let seen = HashMap::new();
    let rotator = Rotator {
        layout,
        limits,
        seen,
    };
    (rotator, id)
}

fn fifo(rotator: &Rotator, id: &ContainerId) -> fs::File {
    let path = rotator.layout.bundle(id).join("ctl");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // For both: opening it waits for nobody.
    fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap()
}

fn numbers(rotator: &Rotator, id: &ContainerId) -> Vec<u64> {
    rotator
        .parts(id)
        .unwrap()
        .iter()
        .map(|part| part.0)
        .collect()
}

#[test]
fn a_full_log_is_put_aside_and_its_monitor_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let (mut rotator, id) = rotator(dir.path(), 3);
    let _monitor = fifo(&rotator, &id);
    let (bundle, log) = (rotator.layout.bundle(&id), rotator.layout.log_file(&id));
    fs::write(&log, "x".repeat(99)).unwrap();
    rotator.look(&id);
    assert!(log.exists() && !command_waits(&bundle).unwrap());
    fs::write(&log, "x".repeat(100)).unwrap();
    rotator.look(&id);
    assert!(!log.exists() && command_waits(&bundle).unwrap());
    assert_eq!(numbers(&rotator, &id), [1]);
    let unread = || {
        let fifo = fs::File::options()
            .read(true)
            .write(true)
            .open(bundle.join("ctl"));
        rustix::io::ioctl_fionread(fifo.unwrap()).unwrap()
    };
    let once = unread();
    rotator.look(&id);
    assert_eq!(unread(), once, "not again while it is missing");
}

#[test]
fn only_so_many_parts_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (mut rotator, id) = rotator(dir.path(), 3);
    let _monitor = fifo(&rotator, &id);
    for k in 8..=11 {
        fs::write(rotator.layout.rotated_log(&id, k), "").unwrap();
    }
    fs::write(rotator.layout.log_file(&id), "x".repeat(100)).unwrap();
    rotator.look(&id);
    assert_eq!(
        numbers(&rotator, &id),
        [11, 12],
        "and the live one is the third"
    );
    // One that grew while no daemon was there counts for more; the newest stays all the same.
    fs::write(rotator.layout.rotated_log(&id, 13), "x".repeat(1000)).unwrap();
    rotator.keep(&id, 3).unwrap();
    assert_eq!(numbers(&rotator, &id), [13]);
}

/// A thread that stands for a monitor, by its tid: it waits by poll(2), or is stuck in read(2),
/// until what it waits for is dropped.
fn stands_for_monitor(rotator: &Rotator, id: &ContainerId, rests: bool) -> fs::File {
    let (waits, held) = nix::unistd::pipe().unwrap();
    let (tell, tid) = std::sync::mpsc::channel();
    thread::spawn(move || {
        tell.send(nix::unistd::gettid()).unwrap();
        if rests {
            use std::os::fd::AsFd as _;
            let events = nix::poll::PollFlags::POLLIN;
            let mut fds = [nix::poll::PollFd::new(waits.as_fd(), events)];
            let _ = nix::poll::poll(&mut fds, nix::poll::PollTimeout::NONE);
        } else {
            let _ = io::Read::read(&mut fs::File::from(waits), &mut [0]);
        }
    });
    let tid = tid.recv().unwrap();
    let persist = rotator.layout.persist(id);
    fs::write(persist.join("conmon.pid"), tid.to_string()).unwrap();
    let began = Instant::now();
    while super::rests(&persist) != Some(rests) {
        assert!(began.elapsed() < Duration::from_secs(10), "it never waits");
        thread::yield_now();
    }
    held.into()
}

#[test]
fn a_daemon_killed_between_the_steps_makes_up_for_the_second_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mut rotator, id) = rotator(dir.path(), 3);
    let _monitor = fifo(&rotator, &id);
    let _rests = stands_for_monitor(&rotator, &id, true);
    let bundle = rotator.layout.bundle(&id);
    fs::write(rotator.layout.rotated_log(&id, 1), "").unwrap();
    rotator.look(&id);
    assert!(
        !command_waits(&bundle).unwrap(),
        "it may just have been told"
    );
    let since = Instant::now().checked_sub(UNTOLD).unwrap();
    rotator.seen.insert(id.clone(), Seen::Missing(since));
    rotator.look(&id);
    assert!(command_waits(&bundle).unwrap());
}

#[test]
fn a_monitor_that_is_at_something_is_not_told_however_long_its_log_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut rotator, id) = rotator(dir.path(), 3);
    let _monitor = fifo(&rotator, &id);
    let busy = stands_for_monitor(&rotator, &id, false);
    let bundle = rotator.layout.bundle(&id);
    fs::write(rotator.layout.rotated_log(&id, 1), "").unwrap();
    let since = Instant::now().checked_sub(DEAF * 100).unwrap();
    rotator.seen.insert(id.clone(), Seen::Missing(since));
    rotator.look(&id);
    assert!(!command_waits(&bundle).unwrap());
    // It is done with that, and the log is still missing: it was something else.
    drop(busy);
    let _rests = stands_for_monitor(&rotator, &id, true);
    rotator.look(&id);
    assert!(command_waits(&bundle).unwrap());
}

#[test]
fn a_monitor_of_which_nothing_can_be_known_is_told_after_it_must_have_been_done() {
    let dir = tempfile::tempdir().unwrap();
    let (mut rotator, id) = rotator(dir.path(), 3);
    let _monitor = fifo(&rotator, &id);
    let bundle = rotator.layout.bundle(&id);
    fs::write(rotator.layout.rotated_log(&id, 1), "").unwrap();
    for (missing, told) in [(UNTOLD * 10, false), (DEAF, true)] {
        let since = Instant::now().checked_sub(missing).unwrap();
        rotator.seen.insert(id.clone(), Seen::Missing(since));
        rotator.look(&id);
        assert_eq!(command_waits(&bundle).unwrap(), told, "{missing:?}");
    }
}

#[test]
fn a_monitor_that_was_told_is_not_told_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut rotator, id) = rotator(dir.path(), 3);
    let monitor = fifo(&rotator, &id);
    fs::write(rotator.layout.rotated_log(&id, 1), "").unwrap();
    io::Write::write_all(&mut &monitor, b"2 0 0\n").unwrap();
    let long_ago = Instant::now().checked_sub(UNTOLD * 10).unwrap();
    rotator.seen.insert(id.clone(), Seen::Missing(long_ago));
    rotator.look(&id);
    assert!(matches!(rotator.seen[&id], Seen::Waits));
    // It reads: from then on it has its time.
    io::Read::read(&mut &monitor, &mut [0; 100]).unwrap();
    rotator.look(&id);
    assert!(matches!(rotator.seen[&id], Seen::Missing(_)));
    assert!(!command_waits(&rotator.layout.bundle(&id)).unwrap());
}

#[test]
fn a_log_that_nobody_writes_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (mut rotator, id) = rotator(dir.path(), 3);
    fs::write(rotator.layout.log_file(&id), "x".repeat(1000)).unwrap();
    rotator.look(&id);
    drop(fifo(&rotator, &id));
    rotator.look(&id);
    assert!(rotator.layout.log_file(&id).exists());
    assert!(numbers(&rotator, &id).is_empty());
}

/// The rule: who goes on as it did since the former look is put aside if it would be full at the
/// next one. That comes after `AHEAD`; after as much as lay between these two, if that was more,
/// for the machine is slow; but no look is taken to be later than five times `AHEAD`.
#[test]
fn who_writes_fast_is_put_aside_before_it_is_full() {
    let former = 1_000;
    let written = |within: Duration| u64::try_from(within.as_micros()).unwrap() * 100;
    for (within, ahead) in [
        (AHEAD / 3, AHEAD),
        (AHEAD, AHEAD),
        (AHEAD * 3, AHEAD * 3),
        (AHEAD * 100, AHEAD * 5),
    ] {
        let growth = soon(former + written(within), former, within);
        assert_eq!(growth, written(ahead), "{within:?}");
    }
    assert_eq!(soon(former, former, AHEAD), 0, "it writes nothing");
    assert_eq!(soon(former, former * 2, AHEAD), 0, "it is another file");
    assert_eq!(soon(u64::MAX, 0, Duration::ZERO), u64::MAX);
}
