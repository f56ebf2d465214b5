//! The door for instructions: judged, written down, then acted on.
//!
//! Owns: what each instruction means for what is known (design section 9, rules 2 and 6, and
//! section 10). In: [`Instruction`]s as they came. Out: lines in the journal, a [`Verdict`] for
//! whoever asked, and the incarnations to look at. Must never happen here: an effect before its
//! line is durable, or a panic over what came from outside.

mod admission;
mod create;
mod judge;
mod policy;
mod unclaimed;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    book::{Book, BookError},
    model::{
        ids::{InstanceId, Seq, Source, Uid},
        instruction::{Ask, Instruction},
        line::Event,
        state::Reason,
    },
};

pub use admission::Capacity;
pub use judge::{Judgement, judge, refuse_for};
pub use policy::Rules;
pub use unclaimed::Unclaimed;

/// What became of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is durable, and will be made true.
    Accepted {
        /// The incarnation it is about.
        uid: Uid,
        /// Seq of its line.
        seq: Seq,
    },
    /// It changes nothing.
    Unchanged {
        /// Why, in a sentence.
        why: String,
    },
    /// It was refused, and that is written down.
    Refused {
        /// The incarnation that is reported as Failed for it, if any.
        uid: Option<Uid>,
        /// Why, in a word.
        reason: Reason,
        /// Why, in a sentence.
        message: String,
    },
    /// No live instance has this id.
    NotFound,
}

/// Judges instructions one after another and writes down what they come to.
pub struct Intake<B> {
    book: B,
    /// One judgement at a time: what it reads must still hold when its line is written.
    turn: Mutex<()>,
    rules: Rules,
    draw: fn() -> Uid,
    unclaimed: Mutex<BTreeMap<Uid, Unclaimed>>,
}

impl<B: Book> Intake<B> {
    /// An intake that writes into `book`, admits by `rules`, and names incarnations by `draw`.
    pub fn new(book: B, rules: impl Into<Rules>, draw: fn() -> Uid) -> Self {
        Self {
            book,
            turn: Mutex::new(()),
            rules: rules.into(),
            draw,
            unclaimed: Mutex::default(),
        }
    }

    /// Takes an instruction. When this returns `Accepted`, its line is durable and in the store,
    /// and the incarnation may be woken.
    ///
    /// # Errors
    /// Nothing can be written down, so nothing was accepted.
    pub async fn submit(&self, instruction: &Instruction) -> Result<Verdict, BookError> {
        let (verdict, seq) = self.take(instruction)?;
        self.settle(seq).await?;
        Ok(verdict)
    }

    /// Judges an instruction and writes down what it comes to, in the order of the calls. It is
    /// accepted only once [`Intake::settle`] has returned for the line's seq, if there is one.
    ///
    /// # Errors
    /// Nothing can be written down, so nothing was accepted.
    pub fn take(&self, instruction: &Instruction) -> Result<(Verdict, Option<Seq>), BookError> {
        let uid = (self.draw)();
        let _turn = self.turn();
        if let (Ask::Destroy { .. }, Ok(id)) = (&instruction.ask, judge::instance_id(instruction)) {
            // A create of this id may still wait to begin: the destroy is meant for it, too.
            self.begin(|waiting| *waiting == id)?;
        }
        let judgement = self
            .book
            .read(|fold| judge(fold, instruction, &self.rules, uid));
        if let (Judgement::Unchanged { why }, Ok(id)) =
            (&judgement, judge::instance_id(instruction))
        {
            // It is so by an instruction that a power cut might still take back.
            let seq = self
                .book
                .read(|fold| fold.by_instance(&id).map(|r| r.instructed_seq));
            return Ok((Verdict::Unchanged { why: why.clone() }, seq));
        }
        self.write(judgement, instruction)
    }

    /// What an instruction would come to now; nothing of it is written down. For a source that asks
    /// again and again what it knows to be refused.
    #[must_use]
    pub fn judged(&self, instruction: &Instruction) -> Judgement {
        let uid = (self.draw)();
        self.book
            .read(|fold| judge(fold, instruction, &self.rules, uid))
    }

    /// Drains the node or takes that back. When this returns, it is durable. False: it was so
    /// already.
    ///
    /// # Errors
    /// It can't be written down, or may not last.
    pub async fn cordon(&self, drained: bool) -> Result<bool, BookError> {
        let (is, last) = self.book.read(|fold| (fold.node.drained, fold.seq));
        if is == drained {
            // Whoever made it so may still wait for that to be durable.
            self.book.durable(last).await?;
            return Ok(false);
        }
        let event = if drained {
            Event::Drained {}
        } else {
            Event::Uncordoned {}
        };
        let seq = self.book.record(event)?.seq;
        self.book.durable(seq).await?;
        Ok(true)
    }

    /// Waits until the line is durable and in the store. Many may wait at once: they share one
    /// sync.
    ///
    /// # Errors
    /// The disk failed to keep the line.
    pub async fn settle(&self, seq: Option<Seq>) -> Result<(), BookError> {
        if let Some(seq) = seq {
            self.book.durable(seq).await?;
            self.book.stored(seq).await;
        }
        Ok(())
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down that nothing of an incarnation is left, and begins what waited for that. Returns
    /// what was begun. In turn with instructions: one that is judged by what the record says must
    /// find the record when its line is written.
    ///
    /// # Errors
    /// Nothing can be written down; what waited goes on waiting.
    pub async fn bury(&self, uid: &Uid) -> Result<Vec<Uid>, BookError> {
        let (begun, last) = {
            let _turn = self.turn();
            self.book.record(Event::Removed { uid: uid.clone() })?;
            self.begin(|_| true)?
        };
        self.settle(last).await?;
        Ok(begun)
    }

    /// Begins the creates that waited for their id's destruction. Returns what was begun.
    ///
    /// # Errors
    /// Nothing can be written down; they go on waiting.
    pub async fn begin_waiting(&self) -> Result<Vec<Uid>, BookError> {
        let (begun, last) = {
            let _turn = self.turn();
            self.begin(|_| true)?
        };
        self.settle(last).await?;
        Ok(begun)
    }

    /// Writes down that waiting creates begin: those of the ids that are `due`.
    fn begin(
        &self,
        due: impl Fn(&InstanceId) -> bool,
    ) -> Result<(Vec<Uid>, Option<Seq>), BookError> {
        let waiting: Vec<_> = self.book.read(|fold| {
            fold.waiting()
                .filter(|(id, _)| due(id))
                .map(|(id, queued)| (id.clone(), queued.clone()))
                .collect()
        });
        let (mut begun, mut last) = (Vec::new(), None);
        for (instance, queued) in waiting {
            let uid = (self.draw)();
            let recorded = self.book.record(Event::Accepted {
                uid: uid.clone(),
                instance,
                source: queued.source,
                definition: queued.definition.to_string(),
                spec: Box::new((*queued.spec).clone()),
                warnings: Vec::new(),
            })?;
            last = Some(recorded.seq);
            begun.push(uid);
        }
        Ok((begun, last))
    }

    /// Writes down that an instruction was refused because too many wait already.
    ///
    /// # Errors
    /// Nothing can be written down.
    pub fn refuse_overloaded(&self, instruction: &Instruction) -> Result<(), BookError> {
        let uid = (self.draw)();
        let message = "too many instructions wait on this node; place it again later".to_owned();
        let reason = Reason::Error;
        let _turn = self.turn();
        let judgement = self
            .book
            .read(|fold| refuse_for(fold, instruction, uid, reason, message));
        self.write(judgement, instruction).map(drop)
    }

    fn write(
        &self,
        judgement: Judgement,
        instruction: &Instruction,
    ) -> Result<(Verdict, Option<Seq>), BookError> {
        match judgement {
            // True only once that is durable which made it so.
            Judgement::Unchanged { why } => {
                let seq = self.book.read(|fold| {
                    let id = judge::instance_id(instruction).ok()?;
                    Some(fold.by_instance(&id)?.instructed_seq)
                });
                Ok((Verdict::Unchanged { why }, seq))
            }
            Judgement::NotFound => Ok((Verdict::NotFound, None)),
            Judgement::Refuse {
                uid,
                reason,
                message,
            } => {
                let event = judge::refused(instruction, uid.clone(), reason, message.clone());
                let seq = self.book.record(event)?.seq;
                Ok((
                    Verdict::Refused {
                        uid,
                        reason,
                        message,
                    },
                    Some(seq),
                ))
            }
            Judgement::Accept { uid, event } => {
                let mut events = self.before(&event);
                let last = events.len();
                events.push(*event);
                match self.book.record_all(events) {
                    Ok(recorded) => {
                        let seq = recorded[last].seq;
                        Ok((Verdict::Accepted { uid, seq }, Some(seq)))
                    }
                    Err(error @ BookError::DiskFull { .. })
                        if instruction.source == Source::Scheduler =>
                    {
                        self.refuse_for_space(instruction, error)
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// The scheduler learns by a state alone what became of its create: one of an id that isn't
    /// known is refused from what the journal keeps for that, once. What runs goes on running.
    fn refuse_for_space(
        &self,
        instruction: &Instruction,
        error: BookError,
    ) -> Result<(Verdict, Option<Seq>), BookError> {
        let (uid, message) = ((self.draw)(), error.to_string());
        let judgement = self
            .book
            .read(|fold| refuse_for(fold, instruction, uid, Reason::DiskFull, message));
        match judgement {
            refusal @ Judgement::Refuse { uid: Some(_), .. } => self.write(refusal, instruction),
            _ => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
