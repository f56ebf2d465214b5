use super::*;

const LIMIT: Duration = Duration::from_secs(20);

fn bad(result: Result<Found, OpenFailure>) -> Why {
    match result {
        Err(OpenFailure::Bad(why)) => why,
        other => panic!("{:?}", other.map(|_| "a store")),
    }
}

#[test]
fn a_panic_of_sleds_reaches_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let why = bad(open_by(|_| panic!("a bug of its own"), dir.path(), LIMIT));
    let Why::Unopenable(text) = why else {
        panic!("{why:?}")
    };
    assert_eq!(text, "sled panicked: a bug of its own");
    assert!(calm(|| std::panic::panic_any(7)).is_err());
    assert_eq!(calm(|| 7), Ok(7));
}

#[test]
fn an_open_that_takes_too_long_is_not_waited_for_and_closes_what_it_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (go_on, held) = mpsc::channel::<()>();
    let slow = move |path: &Path| {
        held.recv().ok();
        open_here(path)
    };
    let began = Instant::now();
    let why = bad(open_by(slow, dir.path(), Duration::from_millis(50)));
    assert_eq!(why, Why::TooSlow);
    assert!(began.elapsed() < Duration::from_secs(5));
    go_on.send(()).unwrap();
    // Once it has come to an end, nobody has the database open.
    let until = Instant::now() + LIMIT;
    loop {
        match open(dir.path(), LIMIT) {
            Ok(_) => break,
            Err(_) => assert!(Instant::now() < until, "it stays open"),
        }
    }
}

#[test]
fn what_the_surroundings_forbid_is_not_the_stores_fault() {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull, UnexpectedEof};
    let dir = tempfile::tempdir().unwrap();
    let fail = |kind: io::ErrorKind| {
        let opener = move |_: &Path| Err(sled::Error::Io(io::Error::from(kind)));
        open_by(opener, dir.path(), LIMIT).err().unwrap()
    };
    for kind in [StorageFull, PermissionDenied, ReadOnlyFilesystem] {
        assert!(matches!(fail(kind), OpenFailure::NotNow(_)), "{kind}");
    }
    assert!(matches!(fail(UnexpectedEof), OpenFailure::Bad(_)));
}

#[test]
fn a_store_that_another_has_open_is_left_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let held = open(dir.path(), LIMIT).unwrap();
    let second = open(dir.path(), Duration::from_millis(50)).err().unwrap();
    assert!(matches!(second, OpenFailure::NotNow(_)), "{second:?}");
    drop(held);
    assert!(open(dir.path(), LIMIT).is_ok());
}
