use super::*;

#[test]
fn a_second_owner_is_refused_with_the_first_ones_pid() {
    let dir = tempfile::tempdir().unwrap();
    let held = DirLock::take(dir.path()).unwrap();
    match DirLock::take(dir.path()) {
        Err(LockError::Held { pid, .. }) => {
            assert_eq!(pid, i32::try_from(std::process::id()).ok());
        }
        other => panic!("{other:?}"),
    }
    drop(held);
    DirLock::take(dir.path()).unwrap();
}

#[test]
fn a_directory_of_another_node_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let lock = DirLock::take(dir.path()).unwrap();
    let (a, b) = (NodeUid::from_entropy(1), NodeUid::from_entropy(2));
    lock.claim(&a).unwrap();
    lock.claim(&a).unwrap();
    assert!(matches!(lock.claim(&b), Err(LockError::Foreign { .. })));
}

#[test]
fn a_lock_that_a_killed_holder_is_still_letting_go_of_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let held = DirLock::take(dir.path()).unwrap();
    // No process has the largest number, so this holder counts as dying.
    std::fs::write(dir.path().join("lock"), format!("{}\n", i32::MAX)).unwrap();
    // One that doesn't let go is refused all the same, in time.
    let began = std::time::Instant::now();
    let patience = Duration::from_millis(100);
    assert!(DirLock::take_within(dir.path(), patience).is_err());
    assert!(began.elapsed() >= patience);
    let (tell, told) = std::sync::mpsc::channel();
    let letting_go = std::thread::spawn(move || {
        told.recv().unwrap();
        drop(held);
    });
    tell.send(()).unwrap();
    DirLock::take(dir.path()).unwrap();
    letting_go.join().unwrap();
}

#[test]
fn a_holder_is_told_without_taking_the_lock_and_a_pid_alone_is_none() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(held_by(dir.path()), None);
    let held = DirLock::take(dir.path()).unwrap();
    let own = i32::try_from(std::process::id()).unwrap();
    assert_eq!(held_by(dir.path()), Some(own));
    drop(held);
    // The pid is still there, and lives; but it hasn't the file open.
    assert_eq!(held_by(dir.path()), None);
    let held = DirLock::take(dir.path()).unwrap();
    std::fs::write(dir.path().join("lock"), format!("{}\n", i32::MAX)).unwrap();
    assert_eq!(held_by(dir.path()), None, "nobody has that pid");
    drop(held);
}
