//! What the reporter sends: the fold's outboxes, as far as they are durable.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{
    book::Book,
    model::{
        fold::{Fold, Outbox, OutboxEntry},
        ids::{Seq, Uid},
        line::Event,
        state::State,
    },
    reconciler::{Wake, Waker},
    reporter,
    wire::Report,
};

/// The fold's outboxes.
pub(crate) struct Outboxes<B> {
    book: B,
    waker: Waker,
    /// Acknowledged by the scheduler: what isn't written down durably yet.
    acknowledged: Mutex<BTreeMap<Uid, Said>>,
    /// The last seq that the reporter was told of.
    told: Mutex<Seq>,
    /// How many instructions of the scheduler's have been judged.
    arrivals: watch::Receiver<u64>,
}

/// What the scheduler has acknowledged of an incarnation.
struct Said {
    through: Seq,
    /// The line that says so; none if it could not be written.
    line: Option<Seq>,
}

impl<B: Book> Outboxes<B> {
    pub(crate) fn new(book: B, waker: Waker, arrivals: watch::Receiver<u64>) -> Self {
        Self {
            book,
            waker,
            acknowledged: Mutex::default(),
            told: Mutex::default(),
            arrivals,
        }
    }

    fn acknowledged(&self) -> MutexGuard<'_, BTreeMap<Uid, Said>> {
        self.acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn through(&self, uid: &Uid) -> Seq {
        self.acknowledged().get(uid).map_or(0, |said| said.through)
    }

    /// Writes down what the scheduler has acknowledged.
    fn write(&self, uid: &Uid, through: Seq) {
        let written = self.book.record(Event::Acknowledged {
            uid: uid.clone(),
            through,
        });
        // After a restart what isn't durable goes out once more: at least once is what is promised.
        let line = written.ok().map(|recorded| recorded.seq);
        self.acknowledged()
            .insert(uid.clone(), Said { through, line });
        self.waker.wake(Wake::Look(uid.clone()));
    }

    /// Writes down once more what could not be, or was taken back by a failed sync: those states
    /// were sent, and nothing may follow TERMINATED.
    fn write_again(&self) {
        if self.acknowledged().is_empty() {
            return;
        }
        // Read before the fold: what is withdrawn by then is in the fold again.
        let durable = self.book.durable_seq();
        let mut lost = Vec::new();
        self.book.read(|fold| {
            self.acknowledged().retain(|uid, said| {
                let first = fold.outboxes.get(uid).and_then(|o| o.entries.front());
                if first.is_some_and(|entry| entry.seq <= said.through) {
                    lost.push((uid.clone(), said.through));
                    return true;
                }
                said.line.is_some_and(|line| line > durable)
            });
        });
        for (uid, through) in lost {
            self.write(&uid, through);
        }
    }

    /// The last state that waits to be sent.
    fn last_waiting(&self) -> Option<Seq> {
        self.book.read(|fold| {
            let waiting = fold
                .outboxes
                .iter()
                .filter_map(|(uid, o)| Some((uid, o.entries.back()?)));
            waiting
                .filter(|(uid, e)| e.seq > self.through(uid))
                .map(|(_, e)| e.seq)
                .max()
        })
    }
}

fn report(fold: &Fold, uid: &Uid, outbox: &Outbox, entry: &OutboxEntry) -> Report {
    let report = Report::new(
        uid.clone(),
        outbox.instance.clone(),
        entry.seq,
        entry.report.clone(),
    );
    let record = fold.instances.get(uid);
    Report {
        generation: record.map_or(1, |r| r.generation),
        at: Some(entry.at),
        restarts: record.map_or(0, |r| r.containers.iter().map(|c| c.restarts).sum()),
        gap: entry.gap,
        ..report
    }
}

impl<B: Book> reporter::Outbox for Outboxes<B> {
    fn batch(&self, limit: usize) -> Vec<Report> {
        self.write_again();
        let durable = self.book.durable_seq();
        self.book.read(|fold| {
            // Chosen before any is copied: after a long absence there may be many more.
            let mut ready = Vec::new();
            for (uid, outbox) in fold.outboxes.iter() {
                let through = self.through(uid);
                let of = outbox.entries.iter();
                let of = of.filter(|e| through < e.seq && e.seq <= durable);
                ready.extend(of.map(|entry| (uid, outbox, entry)));
            }
            ready.sort_unstable_by_key(|(_, _, entry)| entry.seq);
            ready.truncate(limit);
            let each = ready.into_iter();
            each.map(|(uid, outbox, entry)| report(fold, uid, outbox, entry))
                .collect()
        })
    }

    fn arrivals(&self) -> u64 {
        *self.arrivals.borrow()
    }

    fn acknowledge(&self, reports: &[Report]) {
        let mut last: BTreeMap<&Uid, Seq> = BTreeMap::new();
        for report in reports {
            let through = last.entry(&report.uid).or_default();
            *through = report.seq.max(*through);
        }
        for (uid, through) in last {
            self.write(uid, through);
        }
    }

    fn last_acknowledged(&self) -> Vec<Report> {
        self.book.read(|fold| {
            let quiet = fold.outboxes.iter().filter(|(_, o)| o.entries.is_empty());
            let said = quiet.filter_map(|(uid, o)| Some((uid, o, o.acknowledged.as_ref()?)));
            // Terminated is said once, and Destroying is taken as a command.
            said.filter(|(_, _, e)| {
                !matches!(e.report.state, State::Terminated | State::Destroying)
            })
            .map(|(uid, outbox, entry)| report(fold, uid, outbox, entry))
            .collect()
        })
    }

    async fn changed(&self) {
        let mut written = self.book.written();
        loop {
            written.borrow_and_update();
            let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(seq) = self.last_waiting().filter(|seq| *seq > told) {
                // A state is sent only once it is durable. If the disk fails, the line is
                // withdrawn with its state, and there is nothing to send.
                let durable = self.book.durable(seq).await;
                *self.told.lock().unwrap_or_else(PoisonError::into_inner) = seq;
                if durable.is_ok() {
                    return;
                }
            }
            if written.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
