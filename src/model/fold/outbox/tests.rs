use proptest::prelude::*;

use super::*;
use crate::{
    model::{ids::Source, state::State},
    testing::builders::{moment, uid},
};

/// Outboxes beside a plain list of everything that was put in and not acknowledged.
#[derive(Default)]
struct Told {
    outboxes: Outboxes,
    pending: BTreeMap<Uid, Vec<Seq>>,
    seq: Seq,
}

impl Told {
    fn push(&mut self, n: u64, message: usize) -> Vec<Uid> {
        self.seq += 1;
        let report = StateReport {
            message: (message > 0).then(|| "x".repeat(message)),
            ..StateReport::plain(State::Failed)
        };
        let entry = OutboxEntry {
            seq: self.seq,
            at: moment(self.seq).at,
            gap: 0,
            report,
        };
        let instance = InstanceId::local(&format!("web-{n}"), Source::Scheduler).unwrap();
        self.pending.entry(uid(n)).or_default().push(self.seq);
        self.outboxes.push(&uid(n), instance, entry)
    }

    /// The scheduler has the first `count` of what is there.
    fn acknowledge(&mut self, n: u64, count: usize) {
        let entries = self.outboxes.get(&uid(n)).map(|o| &o.entries);
        let Some(through) = entries.and_then(|e| Some(e.get(count.checked_sub(1)?)?.seq)) else {
            return;
        };
        assert!(self.outboxes.acknowledge(&uid(n), through));
        let pending = self.pending.get_mut(&uid(n)).unwrap();
        pending.retain(|seq| *seq > through);
    }

    /// Every state that isn't there is counted by the one after it, and the bounds hold.
    fn check(&self) {
        let mut bytes = 0;
        for (uid, outbox) in self.outboxes.iter() {
            let mut pending = self.pending[uid].iter();
            for entry in &outbox.entries {
                let missing = pending.position(|seq| *seq == entry.seq).unwrap();
                assert_eq!(entry.gap, missing as u64, "before {} of {uid}", entry.seq);
                bytes += entry.size();
            }
            assert_eq!(pending.next(), None, "the newest is there");
            assert!(outbox.entries.len() <= MAX_ENTRIES);
        }
        assert_eq!(self.outboxes.bytes(), bytes, "the running total");
        let shortest = self.outboxes.values().all(|o| o.entries.len() < 2);
        assert!(bytes <= MAX_BYTES || shortest, "{bytes}");
    }
}

#[test]
fn over_the_total_the_longest_outbox_loses_its_middle_and_says_so() {
    const MIB: usize = 1 << 20;
    let mut told = Told::default();
    for n in [1, 1, 2, 1, 1, 1, 3] {
        assert_eq!(told.push(n, 2 * MIB), [uid(n)]);
    }
    // 14 MiB and a little; the next one is too many.
    assert_eq!(told.push(3, 2 * MIB), [uid(3), uid(1)]);
    let gaps = |told: &Told, n| -> Vec<(Seq, u64)> {
        let entries = told.outboxes[&uid(n)].entries.iter();
        entries.map(|e| (e.seq, e.gap)).collect()
    };
    assert_eq!(gaps(&told, 1), [(1, 0), (2, 0), (5, 1), (6, 0)]);
    told.push(3, 2 * MIB);
    assert_eq!(gaps(&told, 1), [(1, 0), (2, 0), (6, 2)]);
    assert_eq!(gaps(&told, 2), [(3, 0)]);
    assert_eq!(told.outboxes[&uid(1)].dropped(), 2);
    told.check();
    // Once it is acknowledged nothing is missing any more, also where it is repeated.
    told.acknowledge(1, 3);
    assert_eq!(told.outboxes[&uid(1)].dropped(), 0);
    let repeated = told.outboxes[&uid(1)].acknowledged.as_ref();
    assert_eq!(repeated.map(|e| (e.seq, e.gap)), Some((6, 0)));
    told.check();
}

#[test]
fn the_only_state_of_an_instance_is_never_dropped() {
    let mut told = Told::default();
    for n in 0..20 {
        told.push(n, 1 << 20);
        told.push(n, 1 << 20);
        told.check();
    }
    assert_eq!(told.outboxes.len(), 20);
    assert!(told.outboxes.values().all(|o| o.entries.len() == 1));
    assert!(told.outboxes.values().all(|o| o.entries[0].gap == 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_dropped_is_counted_where_it_is_missing(
        steps in prop::collection::vec((0..4_u64, 0..5_usize, 0..3_usize), 1..200),
    ) {
        let mut told = Told::default();
        for (n, kind, size) in steps {
            match kind {
                0 => told.acknowledge(n, size * 3),
                // Of few bytes by the dozen, so that the bound of one instance is met, too.
                1 => for _ in 0..40 { told.push(n, size); },
                _ => drop(told.push(n, size * (512 << 10))),
            }
            told.check();
        }
        let text = serde_json::to_string(&told.outboxes).unwrap();
        let again: Outboxes = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(again, told.outboxes);
    }
}
