//! What a start makes of every kind of bad store.

use super::*;
use crate::store::{StoreOptions, content};

fn filled(dir: &Path, n: u64) -> Vec<(crate::model::fold::Piece, String)> {
    let (ledger, _) = open(dir);
    for n in 0..n {
        ledger.record(accepted(n)).unwrap();
        ledger.record(intended(n, 1)).unwrap();
    }
    let before = pieces(&ledger);
    ledger.close().unwrap();
    before
}

#[allow(clippy::disallowed_methods)] // To damage it.
fn sled_at(dir: &Path) -> sled::Db {
    // sled lets go of its lock a moment after its handle is dropped.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    loop {
        match sled::open(dir.join("db")) {
            Err(sled::Error::Io(_)) if std::time::Instant::now() < deadline => {
                std::thread::yield_now();
            }
            opened => return opened.unwrap(),
        }
    }
}

fn quarantined(dir: &Path) -> usize {
    crate::store::quarantine::list(&dir.join("db"))
        .unwrap()
        .len()
}

/// Opens, and expects the same state and a filled store afterwards.
fn expect_same(
    dir: &Path,
    before: &[(crate::model::fold::Piece, String)],
) -> (StoreOpening, Opening) {
    let (ledger, opening) = open(dir);
    assert_eq!(before[1..], pieces(&ledger)[1..]);
    assert_eq!(opening.damage, vec![]);
    block(ledger.stored(ledger.read(|f| f.seq)));
    ledger.close().unwrap();
    drop(ledger);
    let (ledger, again) = open(dir);
    assert!(
        matches!(again.store, StoreOpening::Loaded { .. }),
        "{again:?}"
    );
    assert_eq!(before[1..], pieces(&ledger)[1..]);
    (opening.store.clone(), opening)
}

#[test]
fn an_emptied_store_is_filled_again() {
    let dir = tempfile::tempdir().unwrap();
    let before = filled(dir.path(), 5);
    let db = sled_at(dir.path());
    db.clear().unwrap();
    db.flush().unwrap();
    drop(db);
    let (store, _) = expect_same(dir.path(), &before);
    assert!(matches!(
        store,
        StoreOpening::Rebuilt {
            why: Why::Unfinished,
            ..
        }
    ));
}

#[test]
fn a_dropped_key_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let before = filled(dir.path(), 5);
    let db = sled_at(dir.path());
    let key = format!("p/instance/{}/0000", uid(3));
    assert!(db.remove(key).unwrap().is_some());
    db.flush().unwrap();
    drop(db);
    let (store, _) = expect_same(dir.path(), &before);
    assert!(matches!(
        store,
        StoreOpening::Rebuilt {
            why: Why::Disagrees(_),
            ..
        }
    ));
    assert_eq!(quarantined(dir.path()), 1);
}

#[test]
fn garbage_in_place_of_the_store_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let before = filled(dir.path(), 5);
    for name in ["db", "conf"] {
        std::fs::write(dir.path().join("db").join(name), b"\x07garbage".repeat(999)).unwrap();
    }
    let (store, _) = expect_same(dir.path(), &before);
    assert!(matches!(
        store,
        StoreOpening::Rebuilt {
            why: Why::Unopenable(_),
            quarantined: Some(_)
        }
    ));
}

#[test]
fn a_store_of_a_newer_schema_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let before = filled(dir.path(), 5);
    let db = sled_at(dir.path());
    let meta = db.get("meta").unwrap().unwrap();
    let newer = String::from_utf8(meta.to_vec())
        .unwrap()
        .replace("\"schema\":1", "\"schema\":2");
    db.insert("meta", newer.as_bytes()).unwrap();
    db.flush().unwrap();
    drop(db);
    let (store, _) = expect_same(dir.path(), &before);
    assert!(matches!(
        store,
        StoreOpening::Rebuilt {
            why: Why::Schema(_),
            ..
        }
    ));
}

#[test]
fn a_store_whose_hash_holds_and_whose_words_are_not_the_journals_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let before = filled(dir.path(), 3);
    let db = sled_at(dir.path());
    let content = content::read(&db).unwrap();
    let changes = crate::store::Changes {
        seq: content.applied,
        all: false,
        pieces: vec![(format!("instance/{}", uid(1)), None)],
        owner: content.owner,
    };
    content::write(&db, &changes).unwrap();
    db.flush().unwrap();
    drop(db);
    let (store, _) = expect_same(dir.path(), &before);
    assert!(matches!(
        store,
        StoreOpening::Rebuilt {
            why: Why::Disagrees(_),
            ..
        }
    ));
}

#[test]
fn the_store_of_another_node_is_set_aside() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let before = filled(a.path(), 3);
    filled(b.path(), 7);
    std::fs::remove_dir_all(a.path().join("db")).unwrap();
    std::fs::rename(b.path().join("db"), a.path().join("db")).unwrap();
    let (store, _) = expect_same(a.path(), &before);
    assert!(matches!(
        store,
        StoreOpening::Rebuilt {
            why: Why::Disagrees(_),
            ..
        }
    ));
}

#[test]
fn at_most_two_bad_stores_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 2);
    for _ in 0..4 {
        let db = sled_at(dir.path());
        db.remove("p/node/0000").unwrap().unwrap();
        db.flush().unwrap();
        drop(db);
        let (ledger, opening) = open(dir.path());
        assert!(
            matches!(
                opening.store,
                StoreOpening::Rebuilt {
                    quarantined: Some(_),
                    ..
                }
            ),
            "{:?}",
            opening.store
        );
        ledger.close().unwrap();
    }
    assert_eq!(quarantined(dir.path()), 2);
}

#[test]
fn a_half_written_index_of_a_killed_sled_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let before = filled(dir.path(), 3);
    let half = dir.path().join("db/snap.0000000000FFFFFF.generating");
    std::fs::write(&half, b"half").unwrap();
    let (ledger, opening) = open(dir.path());
    assert!(matches!(opening.store, StoreOpening::Loaded { .. }));
    assert!(!half.exists());
    assert_eq!(before[1..], pieces(&ledger)[1..]);
}

#[test]
fn what_only_the_store_has_left_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let before = filled(dir.path(), 5);
    let journal = dir.path().join("journal");
    let first = segment::list(&journal).unwrap()[0];
    let path = journal.join(segment::file_name(first));
    let bytes = std::fs::read(&path).unwrap();
    // The last three lines never reached the disk.
    let ends: Vec<usize> = (0..bytes.len()).filter(|i| bytes[*i] == b'\n').collect();
    std::fs::write(&path, &bytes[..=ends[ends.len() - 4]]).unwrap();
    let (ledger, opening) = open(dir.path());
    assert!(opening.ahead.is_some());
    assert_eq!(before[1..], pieces(&ledger)[1..]);
    let seq = ledger.record(accepted(50)).unwrap().seq;
    block(ledger.durable(seq)).unwrap();
    let now = pieces(&ledger);
    drop(ledger);
    // From here on the journal alone has it, too.
    std::fs::remove_dir_all(dir.path().join("db")).unwrap();
    let found = offline::load(dir.path()).unwrap();
    assert_eq!(found.fold.pieces(), now);
    assert!(
        found.damage.iter().all(|d| !d.in_doubt()),
        "{:?}",
        found.damage
    );
    // And history says what is missing in it.
    let verdict = offline::verify(dir.path()).unwrap();
    assert_eq!(verdict.damage.len(), 1, "{:?}", verdict.damage);
    assert!(verdict.damage[0].covered);
}

#[test]
fn a_lost_journal_is_begun_anew_from_the_store_with_the_same_node_uid() {
    let dir = tempfile::tempdir().unwrap();
    let before = filled(dir.path(), 5);
    let node = offline::load(dir.path()).unwrap().identity.unwrap().node;
    std::fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let (ledger, opening) = open(dir.path());
    assert!(opening.journal_lost.is_some());
    assert_eq!(opening.node, node);
    assert_eq!(before[1..], pieces(&ledger)[1..]);
    drop(ledger);
    assert_eq!(
        offline::load(dir.path()).unwrap().fold.pieces()[1..],
        before[1..]
    );
}

#[test]
fn with_journal_and_store_gone_a_new_node_begins_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 2);
    let node = offline::load(dir.path()).unwrap().identity.unwrap().node;
    std::fs::remove_dir_all(dir.path().join("journal")).unwrap();
    std::fs::remove_dir_all(dir.path().join("db")).unwrap();
    std::fs::create_dir_all(dir.path().join("pods/x")).unwrap();
    let (ledger, opening) = open(dir.path());
    assert_ne!(opening.node, node);
    assert!(opening.journal_lost.is_some());
    assert!(ledger.read(|f| f.instances.is_empty()));
}

#[test]
fn a_store_that_cannot_be_had_stops_nothing_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let before = filled(dir.path(), 2);
    // Somebody else has it open.
    let db = sled_at(dir.path());
    let mut options = options(dir.path());
    options.store = StoreOptions {
        retry: Duration::from_millis(20),
        ..options.store
    };
    let (ledger, opening) = Ledger::open(options).unwrap();
    assert!(matches!(opening.store, StoreOpening::Off { .. }));
    let seq = ledger.record(accepted(9)).unwrap().seq;
    block(ledger.stored(seq));
    assert_eq!(before.len() + 2, pieces(&ledger).len());
    drop(db);
    let mut state = ledger.shared.store_state().unwrap();
    block(state.wait_for(|s| s.off.is_none() && s.applied >= seq)).unwrap();
}

#[test]
fn long_pieces_are_kept_in_chunks_and_shrink_again() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    for n in 0..4 {
        ledger.record(accepted_sized(n, 60_000)).unwrap();
    }
    block(ledger.stored(ledger.read(|f| f.seq)));
    for n in 0..4 {
        ledger.record(Event::Removed { uid: uid(n) }).unwrap();
    }
    let before = pieces(&ledger);
    block(ledger.stored(ledger.read(|f| f.seq)));
    ledger.close().unwrap();
    drop(ledger);
    assert!(
        !dir.path()
            .join("db/blobs")
            .read_dir()
            .is_ok_and(|mut d| d.next().is_some())
    );
    let (ledger, opening) = open(dir.path());
    assert!(matches!(opening.store, StoreOpening::Loaded { .. }));
    assert_eq!(before[1..], pieces(&ledger)[1..]);
}

#[test]
fn the_store_is_given_nothing_that_is_not_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let kept = ledger.record(accepted(1)).unwrap().seq;
    block(ledger.stored(kept));
    ledger.record(accepted(2)).unwrap();
    // The store is asked to take everything there is for it.
    ledger.shared.close_store();
    drop(ledger);
    let content = content::read(&sled_at(dir.path())).unwrap();
    assert_eq!(content.applied, kept);
    assert!(
        content
            .pieces
            .iter()
            .all(|(_, text)| !text.contains("web-2"))
    );
}
