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
