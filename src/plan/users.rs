//! Which ids a user namespace gets: no two sandboxes share one, whatever becomes of either.
//!
//! An incarnation holds its ids from the line that its sandbox is intended by until nothing of it
//! is left, so that processes and files of one can never be another's.

use crate::model::{
    fold::Fold,
    ids::Uid,
    users::{COUNT, IdRange, IdSpan},
};

/// The ids for an incarnation's sandbox: those it has already, else the first that neither
/// another incarnation has nor anybody in `taken` (what the node's files give to its users, what
/// sandboxes have of which the journal knows nothing). None if there are none left.
#[must_use]
pub fn choose(fold: &Fold, uid: &Uid, taken: &[IdSpan]) -> Option<IdRange> {
    let held = |of: &Uid| fold.instances.get(of)?.sandbox.as_ref()?.users;
    let others = fold.instances.keys().filter(|other| *other != uid);
    let mut spans: Vec<IdSpan> = others.filter_map(held).map(IdRange::span).collect();
    spans.extend(taken.iter().filter(|span| span.count > 0));
    let free = |range: &IdRange| !spans.iter().any(|span| span.meets(range.span()));
    // Read from a line: what can't be a range is none.
    let own = held(uid).and_then(|range| IdRange::at(range.first().into()));
    own.filter(free).or_else(|| first_free(spans))
}

fn first_free(mut spans: Vec<IdSpan>) -> Option<IdRange> {
    let size = u64::from(COUNT);
    spans.sort_unstable();
    let mut first = size;
    for span in spans {
        if first + size <= span.first {
            break;
        }
        first = first.max(span.end().checked_next_multiple_of(size)?);
    }
    IdRange::at(first)
}

#[cfg(test)]
mod tests;
