//! The loop's bookkeeping: who is looked at and when, and what a look comes to.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    book::Book,
    error_chain::one_line,
    model::ids::Uid,
    node::{Failure, Node},
    plan::eviction::{Look, due_look, verdict},
};

/// So many times as long as a look took nobody looks there again: what is large is looked at less
/// often.
const REST: u64 = 10;

/// How soon a verdict is tried again that couldn't be written down, in ms.
const RETRY_MS: u64 = 1_000;

/// A volume that was measured: its position, and how many bytes it takes.
pub(crate) type Measured = (usize, u64);

/// Measures volumes until one takes more than it may.
pub(crate) async fn measure<N: Node>(node: &N, look: &Look) -> Result<Option<Measured>, Failure> {
    for bounded in &look.volumes {
        let used = node
            .volume_use(&look.uid, bounded.volume, bounded.limit)
            .await?;
        if used > bounded.limit {
            return Ok(Some((bounded.volume, used)));
        }
    }
    Ok(None)
}

/// The loop's bookkeeping.
pub(crate) struct LookRounds<B> {
    book: B,
    /// How often each instance is looked at, in ms.
    every: u64,
    rung: BTreeSet<Uid>,
    timers: BTreeMap<Uid, u64>,
    due: BTreeSet<Uid>,
    /// Since when, in CLOCK_BOOTTIME ms.
    under_way: BTreeMap<Uid, u64>,
}

impl<B: Book> LookRounds<B> {
    /// Whoever has such a volume is looked at after `every` ms.
    pub(crate) fn new(book: B, every: u64) -> Self {
        let rung = book.read(|fold| fold.instances.keys().cloned().collect());
        Self {
            book,
            every: every.max(1),
            rung,
            timers: BTreeMap::new(),
            due: BTreeSet::new(),
            under_way: BTreeMap::new(),
        }
    }

    /// CLOCK_BOOTTIME ms.
    pub(crate) fn now(&self) -> u64 {
        self.book.now().up
    }

    /// Something was done at an instance.
    pub(crate) fn on_ring(&mut self, uid: Uid) -> &'static str {
        self.rung.insert(uid);
        "ring"
    }

    /// A timer is due.
    pub(crate) fn on_due(&mut self) -> &'static str {
        let now = self.now();
        let due = self.timers.extract_if(.., |_, up| *up <= now);
        self.due.extend(due.map(|(uid, _)| uid));
        "due"
    }

    /// When the next timer is due, in CLOCK_BOOTTIME ms; none where nothing has to be looked at.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.timers.values().min().copied()
    }

    fn look_of(&self, uid: &Uid) -> Option<Look> {
        self.book
            .read(|fold| fold.instances.get(uid).and_then(due_look))
    }

    /// The next look to begin; it counts as under way from here.
    pub(crate) fn next_look(&mut self) -> Option<Look> {
        let now = self.now();
        while let Some(uid) = self.rung.pop_first() {
            let waits = self.due.contains(&uid) || self.under_way.contains_key(&uid);
            match self.look_of(&uid) {
                None => {
                    self.timers.remove(&uid);
                }
                Some(_) if !waits => {
                    self.timers.entry(uid).or_insert(now + self.every);
                }
                Some(_) => {}
            }
        }
        while let Some(uid) = self.due.pop_first() {
            if let Some(look) = self.look_of(&uid) {
                self.under_way.insert(uid, now);
                return Some(look);
            }
        }
        None
    }

    /// A look ended. The instance, if it is evicted by that.
    pub(crate) fn on_end(
        &mut self,
        look: &Look,
        measured: Result<Option<Measured>, Failure>,
    ) -> Option<Uid> {
        let (now, uid) = (self.now(), look.uid.clone());
        let began = self.under_way.remove(&uid).unwrap_or(now);
        let took = now.saturating_sub(began);
        self.timers
            .insert(uid.clone(), now + self.every.max(took * REST));
        // Whatever it has become: this forgets it if there is nothing to be looked at any more.
        self.rung.insert(uid.clone());
        let (volume, used) = match measured {
            Ok(more) => more?,
            Err(failure) => {
                tracing::warn!(%uid, why = %one_line(&failure), "a volume can't be measured");
                return None;
            }
        };
        let event = self.book.read(|fold| {
            let record = fold.instances.get(&uid)?;
            verdict(record, look, volume, used)
        })?;
        if let Err(error) = self.book.record(event) {
            tracing::warn!(%uid, why = %one_line(&error), "a verdict can't be written down");
            self.timers.insert(uid, now + RETRY_MS);
            return None;
        }
        Some(uid)
    }

    /// A look died without a word: a defect, which must not end all looks.
    pub(crate) fn on_death(&mut self) {
        let lost = std::mem::take(&mut self.under_way);
        let again = self.now() + self.every;
        self.timers.extend(lost.into_keys().map(|uid| (uid, again)));
    }

    /// Is nothing to begin and nothing under way?
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn is_idle(&self) -> bool {
        self.rung.is_empty() && self.due.is_empty() && self.under_way.is_empty()
    }
}
