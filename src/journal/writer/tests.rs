use super::*;
use crate::{
    journal::{
        disk::{Op, script::Script},
        read, segment, verify,
    },
    model::ids::NodeUid,
    testing::builders::moment,
};

struct Desk {
    dir: tempfile::TempDir,
    script: Script,
    disk: Disk,
    writer: Writer,
}

const NOTHING: Point = Point {
    seq: 0,
    sum: Sum::START,
    bytes: 0,
};

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (disk, script) = Disk::scripted();
        let identity = Identity {
            node: NodeUid::from_entropy(1),
            journal: "0f".repeat(16),
        };
        let sizes = Sizes {
            segment: 1_000,
            reserve: 64 * 1024,
            ..Sizes::default()
        };
        let writer = Writer::new(disk.clone(), dir.path(), sizes, identity, NOTHING, 0);
        Self {
            dir,
            script,
            disk,
            writer,
        }
    }

    fn begun() -> Self {
        let mut desk = Self::new();
        desk.begin().unwrap();
        desk
    }

    fn begin(&mut self) -> Result<Line, AppendError> {
        let prepared = Prepared::new(&self.disk, self.dir.path(), 64 * 1024).unwrap();
        self.writer.begin(prepared, moment(1))
    }

    fn append(&mut self) -> Result<Line, AppendError> {
        let mut line = Line {
            seq: 0,
            moment: moment(2),
            event: Event::Drained {},
            state: None,
            durable: None,
        };
        self.writer.append(&mut line).map(|()| line)
    }

    fn sync(&mut self) {
        let (file, point) = self.writer.unsynced().unwrap();
        self.disk.fdatasync(&file).unwrap();
        self.writer.mark_synced(point);
    }

    fn sound_lines(&self) -> Vec<Seq> {
        assert!(verify::verify(self.dir.path(), 0).unwrap().is_sound());
        let lines = read::lines(self.dir.path(), 0..=Seq::MAX).unwrap();
        lines.map(|line| line.unwrap().seq).collect()
    }
}

#[test]
fn without_a_segment_nothing_is_written() {
    let mut desk = Desk::new();
    assert!(matches!(desk.append(), Err(AppendError::NotLive)));
    assert!(!desk.writer.is_live() && desk.writer.unsynced().is_none());
    let header = desk.begin().unwrap();
    assert_eq!((header.seq, desk.writer.live_first()), (1, Some(1)));
    assert_eq!(desk.writer.synced().seq, 1, "a header is durable");
    assert_eq!(desk.append().unwrap().seq, 2);
}

#[test]
fn the_first_line_of_a_batch_tells_what_is_durable() {
    let mut desk = Desk::begun();
    let durable: Vec<_> = (0..6)
        .map(|n| {
            if n == 2 || n == 5 {
                desk.sync();
            }
            desk.append().unwrap().durable
        })
        .collect();
    // The header told of itself; 3 and 6 were the last when a sync returned.
    assert_eq!(durable, [None, None, Some(3), None, None, Some(6)]);
    assert_eq!(desk.sound_lines(), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn nothing_is_synced_twice() {
    let mut desk = Desk::begun();
    assert!(desk.writer.unsynced().is_none());
    desk.append().unwrap();
    let (_, early) = desk.writer.unsynced().unwrap();
    desk.append().unwrap();
    desk.sync();
    assert!(desk.writer.unsynced().is_none());
    desk.writer.mark_synced(early);
    assert_eq!(desk.writer.synced().seq, 3, "it never goes back");
}

#[test]
fn after_a_torn_line_the_segment_takes_no_more_and_the_next_goes_on() {
    let mut desk = Desk::begun();
    desk.append().unwrap();
    desk.script.tear_next_append(20);
    assert!(matches!(desk.append(), Err(AppendError::Io(_))));
    assert!(matches!(desk.append(), Err(AppendError::NotLive)));
    assert!(!desk.writer.is_live());
    // What was whole before it is made durable, and is where the next one continues.
    desk.sync();
    assert_eq!(desk.begin().unwrap().seq, 3);
    desk.append().unwrap();
    assert_eq!(desk.sound_lines(), [1, 2, 3, 4]);
}

#[test]
fn a_file_whose_sync_failed_is_never_synced_again() {
    let mut desk = Desk::begun();
    desk.append().unwrap();
    desk.sync();
    desk.append().unwrap();
    desk.append().unwrap();
    assert_eq!(desk.writer.mark_sync_failed(), Some((3, 4)));
    assert!(desk.writer.unsynced().is_none());
    assert!(matches!(desk.append(), Err(AppendError::NotLive)));
    let header = desk.begin().unwrap();
    assert_eq!(header.seq, 5, "withdrawn numbers are not used again");
    desk.append().unwrap();
    assert_eq!(desk.sound_lines(), [1, 2, 5, 6]);
}

#[test]
fn a_failed_sync_of_what_is_durable_withdraws_nothing() {
    let mut desk = Desk::begun();
    desk.append().unwrap();
    desk.sync();
    assert_eq!(desk.writer.mark_sync_failed(), None);
}

#[test]
fn where_a_new_segment_cannot_begin_the_old_one_goes_on() {
    for (op, skip) in [
        (Op::Append, 0),
        (Op::Fdatasync, 0),
        (Op::Rename, 0),
        (Op::FsyncDir, 0),
    ] {
        let mut desk = Desk::begun();
        desk.append().unwrap();
        desk.sync();
        desk.script.fail(op, skip, 1, nix::libc::EIO);
        assert!(matches!(desk.begin(), Err(AppendError::Io(_))), "{op:?}");
        assert_eq!(desk.writer.live_first(), Some(1));
        assert_eq!(desk.append().unwrap().seq, 3);
        desk.sync();
        assert_eq!(desk.begin().unwrap().seq, 4);
        assert_eq!(desk.sound_lines(), [1, 2, 3, 4]);
    }
}

#[test]
fn a_segment_is_full_by_its_bytes_and_only_while_it_lives() {
    let mut desk = Desk::begun();
    let mut lines = 0;
    while !desk.writer.is_full() {
        desk.append().unwrap();
        lines += 1;
        assert!(lines < 100, "it is never full");
    }
    let path = desk.dir.path().join(segment::file_name(1));
    assert!(path.metadata().unwrap().len() >= 1_000);
    let left = desk.writer.reserve_left().unwrap();
    assert_eq!(left, 64 * 1024 - path.metadata().unwrap().len());
    desk.writer.give_up();
    assert!(!desk.writer.is_full() && !desk.writer.is_live());
}

#[test]
fn the_first_line_is_above_every_number_that_was_used() {
    let desk = Desk::new();
    let identity = desk.writer.identity().clone();
    let mut writer = Writer::new(
        desk.disk.clone(),
        desk.dir.path(),
        Sizes::default(),
        identity,
        NOTHING,
        41,
    );
    let prepared = Prepared::new(&desk.disk, desk.dir.path(), 4_096).unwrap();
    assert_eq!(writer.begin(prepared, moment(1)).unwrap().seq, 42);
}
