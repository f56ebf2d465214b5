use super::{super::records::Record, *};

fn view(snapshot: &str, idle: u64) -> SnapshotView {
    SnapshotView {
        snapshot: snapshot.to_owned(),
        record: Record::default(),
        idle: Duration::from_secs(idle),
    }
}

#[test]
fn only_what_is_neither_used_nor_young_goes() {
    let there = [view("used", 900), view("young", 1), view("old", 900)];
    let in_use = BTreeSet::from(["used".to_owned()]);
    assert_eq!(removable(&there, &in_use, Duration::from_secs(60)), ["old"]);
    assert_eq!(removable(&there, &in_use, Duration::ZERO), ["young", "old"]);
}
