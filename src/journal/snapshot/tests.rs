use super::*;
use crate::journal::disk::Op;

fn snapshot(seq: Seq) -> Snapshot {
    let mut fold = Fold {
        seq,
        ..Fold::default()
    };
    fold.node.drained = true;
    fold.node.boot = "b".to_owned();
    Snapshot {
        seq,
        sum: Sum::START.next(b"x"),
        at: Timestamp::UNIX_EPOCH,
        identity: Identity {
            node: NodeUid::from_entropy(9),
            journal: "ab".to_owned(),
        },
        fold,
    }
}

#[test]
fn a_snapshot_is_read_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    write(&Disk::real(), dir.path(), &snapshot(7)).unwrap();
    assert_eq!(list(dir.path()).unwrap(), vec![7]);
    assert_eq!(read(dir.path(), 7).unwrap(), snapshot(7));
}

#[test]
fn a_flipped_bit_anywhere_in_a_snapshot_is_found() {
    let whole = encode(&snapshot(7));
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        assert!(decode(&bytes).is_err(), "a flip at byte {at}");
    }
    for cut in 0..whole.len() {
        assert!(decode(&whole[..cut]).is_err(), "cut at byte {cut}");
    }
}

#[test]
fn a_snapshot_whose_writing_fails_is_no_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    for op in [Op::Create, Op::Append, Op::Fdatasync, Op::Rename] {
        let (disk, script) = Disk::scripted();
        script.fail(op, 0, 1, nix::libc::EIO);
        assert!(write(&disk, dir.path(), &snapshot(7)).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{op:?}");
    }
}

#[test]
fn a_snapshot_under_another_name_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(file_name(8)), encode(&snapshot(7))).unwrap();
    assert!(read(dir.path(), 8).is_err());
}

#[test]
fn a_snapshot_of_a_newer_riklet_is_told_from_a_damaged_one() {
    let text = String::from_utf8(encode(&snapshot(7))).unwrap();
    let body = text
        .split(MARK)
        .next()
        .unwrap()
        .replace("\"min_reader\":1", "\"min_reader\":9");
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(body.as_bytes()));
    let newer = format!("{body}{MARK}{hash}{END}");
    assert!(matches!(
        decode(newer.as_bytes()),
        Err(SnapshotError::Newer(9))
    ));
}
