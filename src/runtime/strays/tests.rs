use std::collections::{BTreeMap, BTreeSet};

use super::{Kin, Of, strays};

/// Init 10 with a child 11 that orphaned 12; an exec 20 with a child 21, which left 22 behind in
/// 20's session; another exec, 30, of a runc that still waits for it.
fn inside() -> BTreeMap<i32, Kin> {
    [
        (10, 5, 10),
        (11, 10, 10),
        (12, 10, 10),
        (20, 1, 20),
        (21, 20, 20),
        (22, 10, 20),
        (30, 99, 30),
    ]
    .into_iter()
    .map(|(pid, parent, session)| (pid, Kin { parent, session }))
    .collect()
}

#[test]
fn what_descends_from_the_init_is_no_stray() {
    let mut sessions = BTreeSet::new();
    let found = strays(&inside(), 10, Of::This(1), &mut sessions);
    assert_eq!(found, BTreeSet::from([20, 21, 22]));
    assert_eq!(sessions, BTreeSet::from([20]));
}

#[test]
fn at_the_start_every_exec_is_a_stray_and_the_init_never() {
    let found = strays(&inside(), 10, Of::Anybody, &mut BTreeSet::new());
    assert_eq!(found, BTreeSet::from([20, 21, 22, 30]));
}

#[test]
fn what_a_stray_left_behind_is_found_when_it_is_gone() {
    let mut inside = inside();
    inside.remove(&20);
    inside.get_mut(&21).unwrap().parent = 10;
    let found = strays(&inside, 10, Of::This(1), &mut BTreeSet::from([20]));
    assert_eq!(found, BTreeSet::from([21, 22]));
}
