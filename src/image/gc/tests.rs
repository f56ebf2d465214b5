use super::{super::records::Record, *};

fn view(snapshot: &str, idle: u64) -> SnapshotView {
    SnapshotView {
        snapshot: snapshot.to_owned(),
        record: Record::default(),
        idle: Duration::from_secs(idle),
        made: None,
    }
}

#[test]
fn only_what_is_neither_used_nor_young_goes_the_longest_unused_first() {
    let there = [
        view("used", 900),
        view("young", 1),
        view("old", 800),
        view("older", 900),
    ];
    let in_use = BTreeSet::from(["used".to_owned()]);
    let minute = Duration::from_secs(60);
    assert_eq!(removable(&there, &in_use, minute), ["older", "old"]);
    assert_eq!(
        removable(&there, &in_use, Duration::ZERO),
        ["older", "old", "young"]
    );
    // What a new daemon found at its start is as old as its files.
    let at = |seconds| Some(std::time::UNIX_EPOCH + Duration::from_secs(seconds));
    let mut found = [view("new", 70), view("ancient", 70)];
    (found[0].made, found[1].made) = (at(2_000), at(1_000));
    assert_eq!(removable(&found, &in_use, minute), ["ancient", "new"]);
}

#[test]
fn what_is_mounted_is_found_however_its_line_looks() {
    let (a, b) = ("a".repeat(64), "0".repeat(64));
    let mountinfo = format!(
        "42 27 0:50 / /var/lib/riklet/pods/x/rootfs rw - overlay overlay \
         rw,lowerdir=/var/lib/riklet/snapshots/sha256-{a}/rootfs,upperdir=/u\n\
         43 27 0:51 / /x rw - overlay o rw,lowerdir+=/s/sha256-{b}/rootfs\n\
         44 27 0:52 / /sha256-short rw - tmpfs t rw\n45 27 0:53 / /ä/sha256-"
    );
    let wanted = BTreeSet::from([format!("sha256-{a}"), format!("sha256-{b}")]);
    assert_eq!(mounted(&mountinfo), wanted);
}
