use super::*;
use crate::model::{
    fold::Tombstone,
    ids::Source,
    state::{State, StateReport},
};

fn uid(n: u64) -> Uid {
    Uid::from_entropy(n)
}

#[test]
fn an_incarnation_is_known_by_its_tombstone_when_its_lines_are_gone() {
    let mut fold = Fold::default();
    let tombstone = Tombstone {
        uid: uid(1),
        seq: 7,
        at: jiff::Timestamp::UNIX_EPOCH,
        source: Source::Cli,
        queued: None,
        former: vec![uid(2)],
        report: StateReport::plain(State::Terminated),
    };
    fold.tombstones
        .insert("web@cli".parse().unwrap(), tombstone);
    let known: BTreeSet<&Uid> = heard_of(&fold).collect();
    assert_eq!(known, BTreeSet::from([&uid(1), &uid(2)]));
    // And what bears its uid shouldn't be there.
    let netns = Thing {
        kind: "netns",
        what: format!("/run/netns/rk-{}", uid(2)),
        of: Of::Incarnation(uid(2)),
    };
    assert!(Implied::of(&fold).why_not(&netns).is_some());
}
