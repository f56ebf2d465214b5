use super::*;
use crate::journal::disk::Op;

#[test]
fn a_segments_name_sorts_as_its_seq() {
    assert_eq!(file_name(7), "00000000000000000007.jsonl");
    assert_eq!(parse_name(&file_name(MAX_SEQ)), Some(MAX_SEQ));
    // After this one there would be no number left for the next line.
    assert_eq!(parse_name(&file_name(u64::MAX)), None);
    for bad in [
        "7.jsonl",
        "0000000000000000000x.jsonl",
        "00000000000000000007.json",
    ] {
        assert_eq!(parse_name(bad), None);
    }
}

#[test]
fn a_segment_without_a_durable_header_has_no_name() {
    let dir = tempfile::tempdir().unwrap();
    for (op, errno) in [
        (Op::Append, nix::libc::ENOSPC),
        (Op::Fdatasync, nix::libc::EIO),
        (Op::Rename, nix::libc::EIO),
        (Op::FsyncDir, nix::libc::EIO),
    ] {
        let (disk, script) = Disk::scripted();
        let prepared = Prepared::new(&disk, dir.path(), 4096).unwrap();
        script.fail(op, 0, 1, errno);
        assert!(prepared.publish(&disk, dir.path(), 1, b"header\n").is_err());
        assert_eq!(list(dir.path()).unwrap(), Vec::<Seq>::new(), "{op:?}");
    }
    let disk = Disk::real();
    let live = Prepared::new(&disk, dir.path(), 4096)
        .unwrap()
        .publish(&disk, dir.path(), 1, b"header\n")
        .unwrap();
    assert_eq!((live.len, list(dir.path()).unwrap()), (7, vec![1]));
}

#[test]
fn a_segment_is_never_put_in_the_place_of_another() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(file_name(1)), "old").unwrap();
    let disk = Disk::real();
    let prepared = Prepared::new(&disk, dir.path(), 4096).unwrap();
    assert!(prepared.publish(&disk, dir.path(), 1, b"new\n").is_err());
    let kept = std::fs::read_to_string(dir.path().join(file_name(1))).unwrap();
    assert_eq!(kept, "old");
}
