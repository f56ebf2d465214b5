//! What bears this node's mark and of which nothing is known.
//!
//! It is left running until an instruction is meant for it: a `delete` that names it, or a create
//! of the instance that its mark names. Owns: what such an instruction writes down. In: what the
//! reconciler last saw. Must never happen here: something being disowned that is known.

use std::{
    collections::BTreeMap,
    sync::{MutexGuard, PoisonError},
};

use super::Intake;
use crate::{
    book::{Book, BookError},
    model::{
        ids::{ContainerId, InstanceId, Source, Uid},
        line::Event,
    },
};

/// Nothing is known of its own grace: SIGKILL follows SIGTERM after so long, in ms.
const GRACE_MS: u64 = 30_000;

/// Something unclaimed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unclaimed {
    /// The instance that its mark names, if that can be read.
    pub instance: Option<InstanceId>,
    /// Its containers.
    pub containers: Vec<ContainerId>,
}

impl<B: Book> Intake<B> {
    /// What is unclaimed, as it was last seen.
    pub fn unclaimed(&self) -> BTreeMap<Uid, Unclaimed> {
        self.seen().clone()
    }

    /// Takes what was seen.
    pub fn set_unclaimed(&self, seen: BTreeMap<Uid, Unclaimed>) {
        *self.seen() = seen;
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<Uid, Unclaimed>> {
        self.unclaimed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down that something unclaimed shall go. Once this returns that is durable, and it
    /// may be woken. False if nothing unclaimed has this mark.
    ///
    /// # Errors
    /// Nothing can be written down, so it stays.
    pub async fn disown(&self, uid: &Uid, source: Source) -> Result<bool, BookError> {
        let seq = {
            let _turn = self.turn();
            let events = self.disowning(source, |u, _| u == uid);
            self.book.record_all(events)?.last().map(|r| r.seq)
        };
        self.settle(seq).await?;
        Ok(seq.is_some())
    }

    /// The lines before an incarnation begins: what is unclaimed and bears its instance's mark
    /// shall go.
    pub(super) fn before(&self, event: &Event) -> Vec<Event> {
        match event {
            Event::Accepted {
                instance, source, ..
            } => self.disowning(*source, |_, seen| seen.instance.as_ref() == Some(instance)),
            _ => Vec::new(),
        }
    }

    fn disowning(&self, source: Source, meant: impl Fn(&Uid, &Unclaimed) -> bool) -> Vec<Event> {
        let seen = self.unclaimed();
        let meant = seen.into_iter().filter(|(uid, seen)| meant(uid, seen));
        let deadline_up = self.book.now().up + GRACE_MS;
        let disowned = |(uid, seen): (Uid, Unclaimed)| Event::Disowned {
            uid,
            instance: seen.instance,
            source,
            deadline_up,
        };
        self.book.read(|fold| {
            // It was seen a while ago.
            let known = |uid: &Uid| {
                fold.instances.contains_key(uid) || fold.node.disowned.contains_key(uid)
            };
            let meant = meant.filter(|(uid, _)| !known(uid));
            meant.map(disowned).collect()
        })
    }
}
