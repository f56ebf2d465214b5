use super::*;
use crate::model::{
    fold::Tombstone,
    ids::Source,
    state::{State, StateReport},
};

fn uid(n: u64) -> Uid {
    Uid::from_entropy(n)
}

fn fold() -> Fold {
    let mut fold = Fold::default();
    let tombstone = Tombstone {
        uid: uid(1),
        seq: 7,
        at: jiff::Timestamp::UNIX_EPOCH,
        source: Source::Scheduler,
        queued: None,
        former: Vec::new(),
        report: StateReport::plain(State::Terminated),
    };
    fold.tombstones.insert("web".parse().unwrap(), tombstone);
    fold
}

#[test]
fn a_log_goes_with_the_record_of_its_instance() {
    let fold = fold();
    assert_eq!(expendable(&fold, vec![uid(1), uid(2)]), [uid(2)]);
}

#[test]
fn no_log_goes_while_what_is_known_is_in_doubt() {
    for mode in IN_DOUBT {
        let mut fold = fold();
        fold.node.degraded.insert(mode, Default::default());
        assert_eq!(expendable(&fold, vec![uid(2)]), []);
    }
}
