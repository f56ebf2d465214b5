use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    model::{
        ids::{InstanceId, Source},
        line::{Event, Line},
        spec::{RestartPolicy, WorkloadSpec},
    },
    testing::builders::{moment, uid, workload},
};

#[derive(Default)]
struct Pen {
    fold: Fold,
    /// What each incarnation was given and may still have; kept without the fold.
    held: BTreeMap<u64, IdRange>,
}

impl Pen {
    fn write(&mut self, event: Event) {
        let seq = self.fold.seq + 1;
        let line = Line {
            seq,
            moment: moment(seq),
            event,
            state: None,
            durable: None,
        };
        self.fold.apply(&line);
    }

    fn own_users(host_users: bool) -> Box<WorkloadSpec> {
        Box::new(WorkloadSpec {
            host_users,
            ..workload(1, RestartPolicy::Always)
        })
    }

    fn accept(&mut self, n: u64) {
        self.write(Event::Accepted {
            uid: uid(n),
            instance: InstanceId::local(&format!("web-{n}"), Source::Cli).unwrap(),
            source: Source::Cli,
            definition: String::new(),
            spec: Self::own_users(false),
            warnings: Vec::new(),
        });
    }

    fn replace(&mut self, n: u64, host_users: bool) {
        let generation = self.fold.instances[&uid(n)].generation + 1;
        self.write(Event::Replaced {
            uid: uid(n),
            generation,
            definition: String::new(),
            spec: Self::own_users(host_users),
            warnings: Vec::new(),
        });
    }

    fn intend(&mut self, n: u64, users: Option<IdRange>) {
        let generation = self.fold.instances[&uid(n)].generation;
        self.write(Event::SandboxIntended {
            uid: uid(n),
            generation,
            claim: None,
            users,
        });
    }

    fn give(&mut self, n: u64, taken: &[IdSpan]) -> Option<IdRange> {
        let ids = choose(&self.fold, &uid(n), taken)?;
        self.intend(n, Some(ids));
        self.held.insert(n, ids);
        Some(ids)
    }
}

fn span(first: u64, count: u64) -> IdSpan {
    IdSpan { first, count }
}

fn at(k: u64) -> Option<IdRange> {
    IdRange::at(k * 65_536)
}

#[test]
fn the_first_ids_that_nobody_has_are_taken_and_no_others() {
    let mut pen = Pen::default();
    for n in 1..=3 {
        pen.accept(n);
    }
    assert_eq!(pen.give(1, &[]), at(1));
    // An ordinary user's, of docker: in the middle of two ranges.
    let subuid = span(131_071, 65_536);
    assert_eq!(choose(&pen.fold, &uid(2), &[]), at(2));
    assert_eq!(choose(&pen.fold, &uid(2), &[subuid]), at(3));
    assert_eq!(choose(&pen.fold, &uid(2), &[span(131_072, 1)]), at(3));
    assert_eq!(choose(&pen.fold, &uid(2), &[span(131_071, 1)]), at(2));
    assert_eq!(pen.give(2, &[subuid]), at(3));
    // Into the gap, once it is one.
    assert_eq!(pen.give(3, &[]), at(2));
}

#[test]
fn an_incarnation_keeps_its_ids_until_nothing_of_it_is_left() {
    let mut pen = Pen::default();
    for n in 1..=3 {
        pen.accept(n);
    }
    assert_eq!((pen.give(1, &[]), pen.give(2, &[])), (at(1), at(2)));
    // Made anew; or its next generation has the node's: the former's may still be there.
    assert_eq!(pen.give(2, &[]), at(2));
    pen.replace(1, true);
    pen.intend(1, None);
    assert_eq!(pen.fold.instances[&uid(1)].users(), None);
    assert_eq!(choose(&pen.fold, &uid(3), &[]), at(3));
    pen.replace(1, false);
    assert_eq!(pen.give(1, &[]), at(1));
    assert_eq!(pen.fold.instances[&uid(1)].users(), at(1));
    // Somebody was given them since: then others.
    assert_eq!(choose(&pen.fold, &uid(1), &[span(65_536, 1)]), at(3));
    pen.write(Event::Removed { uid: uid(1) });
    assert_eq!(pen.give(3, &[]), at(1));
}

#[test]
fn where_there_are_no_ids_left_none_are_given() {
    let mut pen = Pen::default();
    pen.accept(1);
    let but_the_last = span(0, 65_536 * 65_534);
    assert_eq!(choose(&pen.fold, &uid(1), &[but_the_last]), at(65_534));
    // What ends with 4,294,967,295 is no range: to the kernel that is no id.
    let all = span(0, 65_536 * 65_535);
    assert_eq!(choose(&pen.fold, &uid(1), &[all]), None);
    for odd in [span(0, u64::MAX), span(u64::MAX, u64::MAX)] {
        let _ = choose(&pen.fold, &uid(1), &[odd]);
    }
    assert_eq!(IdRange::at(0), None);
    assert_eq!(IdRange::at(65_537), None);
    assert_eq!(IdRange::at(65_536 * 65_535), None);
}

#[derive(Debug, Clone)]
enum Step {
    Accept(u64),
    Give(u64, Vec<(u64, u64)>),
    Replace(u64, bool),
    Remove(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let n = 0..8_u64;
    // Around the first ranges, which all want.
    let taken = prop::collection::vec((0..600_000_u64, 0..140_000_u64), 0..3);
    prop_oneof![
        n.clone().prop_map(Step::Accept),
        (n.clone(), taken).prop_map(|(n, taken)| Step::Give(n, taken)),
        (n.clone(), any::<bool>()).prop_map(|(n, own)| Step::Replace(n, own)),
        n.prop_map(Step::Remove),
    ]
}

proptest! {
    #[test]
    fn no_two_incarnations_ever_hold_an_id_in_common(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut pen = Pen::default();
        for step in steps {
            let there = |pen: &Pen, n: u64| pen.fold.instances.contains_key(&uid(n));
            match step {
                Step::Accept(n) if !there(&pen, n) => pen.accept(n),
                Step::Replace(n, host_users) if there(&pen, n) => {
                    pen.replace(n, host_users);
                    if host_users {
                        pen.intend(n, None);
                    }
                }
                Step::Remove(n) => {
                    pen.write(Event::Removed { uid: uid(n) });
                    pen.held.remove(&n);
                }
                Step::Give(n, taken) if there(&pen, n) => {
                    let taken: Vec<_> = taken.into_iter().map(|(a, b)| span(a, b)).collect();
                    let former = pen.held.get(&n).copied();
                    let given = pen.give(n, &taken).unwrap();
                    for other in taken.iter().filter(|t| t.count > 0) {
                        prop_assert!(!given.span().meets(*other), "{given} {other:?}");
                    }
                    if let Some(former) = former.filter(|f| {
                        !taken.iter().any(|t| t.count > 0 && t.meets(f.span()))
                    }) {
                        prop_assert_eq!(given, former);
                    }
                }
                _ => {}
            }
            let held: Vec<_> = pen.held.iter().collect();
            for (i, (a, mine)) in held.iter().enumerate() {
                prop_assert!(mine.first() >= 65_536);
                for (b, other) in &held[..i] {
                    prop_assert!(!mine.span().meets(other.span()), "{a} and {b}: {mine}");
                }
            }
        }
    }
}
