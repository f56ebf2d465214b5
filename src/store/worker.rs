//! The store's thread.

use std::{
    fs::File,
    path::PathBuf,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::Duration,
};

use sled::Db;
use tokio::sync::watch;

use super::{
    Op, Opened, Source, StoreOptions, StoreState, Want, Why, content,
    guard::{self, OpenFailure},
    quarantine,
};

struct Worker {
    options: StoreOptions,
    db: Option<Db>,
    // What is in `db` is to be replaced by everything there is.
    hollow: bool,
    source: Option<Source>,
    state: watch::Sender<StoreState>,
}

/// Opens, tells what was found, and serves until it is closed.
pub(super) fn run(
    options: StoreOptions,
    inbox: Receiver<Op>,
    opened: &Sender<Opened>,
    state: watch::Sender<StoreState>,
    asked: &AtomicBool,
) {
    let mut worker = Worker {
        options,
        db: None,
        hollow: true,
        source: None,
        state,
    };
    let found = worker.open();
    opened.send(found).ok();
    worker.serve(&inbox, asked);
}

impl Worker {
    fn open(&mut self) -> Opened {
        let now = self.options.clock.now().at;
        if let Err(error) = quarantine::prune(&self.options.dir, now) {
            tracing::warn!(%error, "quarantined stores can't be pruned");
        }
        let existed = self.options.dir.exists();
        match guard::open(&self.options.dir, self.options.open_limit) {
            Ok((db, Ok(content))) => {
                self.db = Some(db);
                self.hollow = false;
                self.state.send_modify(|s| s.applied = content.applied);
                Opened::Loaded(Box::new(content))
            }
            Ok((db, Err(why @ (Why::Missing | Why::Unfinished)))) => {
                self.db = Some(db);
                // sled opens some kinds of garbage as an empty database, without an error.
                let why = if existed { Why::Unfinished } else { why };
                Opened::Rebuilt {
                    why,
                    quarantined: None,
                }
            }
            Ok((db, Err(why))) => {
                drop(db);
                self.start_over(why)
            }
            Err(OpenFailure::Bad(why)) => self.start_over(why),
            Err(OpenFailure::NotNow(why)) => self.turn_off(why),
        }
    }

    /// Sets aside what is there and begins an empty one.
    fn start_over(&mut self, why: Why) -> Opened {
        self.db = None;
        self.hollow = true;
        let now = self.options.clock.now().at;
        let quarantined = match quarantine::set_aside(&self.options.dir, now) {
            Ok(path) => path,
            Err(error) => return self.turn_off(format!("{why}; it can't be set aside: {error}")),
        };
        tracing::warn!(%why, "the store was set aside");
        quarantine::prune(&self.options.dir, now).ok();
        match guard::open(&self.options.dir, self.options.open_limit) {
            Ok((db, _)) => {
                self.db = Some(db);
                self.state.send_modify(|s| *s = StoreState::default());
                Opened::Rebuilt { why, quarantined }
            }
            Err(OpenFailure::Bad(again)) => self.turn_off(format!("{why}; a new one: {again}")),
            Err(OpenFailure::NotNow(again)) => self.turn_off(format!("{why}; a new one: {again}")),
        }
    }

    fn turn_off(&mut self, why: String) -> Opened {
        tracing::warn!(%why, "the store is off");
        // Its error is sticky: only a new handle can work again. Dropping may panic, too.
        let db = self.db.take();
        guard::calm(move || drop(db)).ok();
        self.hollow = true;
        let off = Some(why.clone());
        self.state.send_modify(|s| s.off = off);
        Opened::Off { why }
    }

    fn serve(&mut self, inbox: &Receiver<Op>, asked: &AtomicBool) {
        loop {
            let wait = if self.db.is_none() {
                self.options.retry
            } else {
                Duration::from_secs(60 * 60)
            };
            match inbox.recv_timeout(wait) {
                Ok(Op::Attach(source)) => {
                    self.source = Some(source);
                    self.pull();
                }
                Ok(Op::Pull) => {
                    asked.store(false, Ordering::Release);
                    self.pull();
                }
                Ok(Op::Quarantine(why, tell)) => {
                    tell.send(self.quarantine_now(why)).ok();
                }
                Ok(Op::Flush(tell)) => {
                    self.pull();
                    self.flush(true);
                    tell.send(()).ok();
                }
                Ok(Op::Close) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.retry(),
            }
        }
        let db = self.db.take();
        guard::calm(move || drop(db)).ok();
    }

    fn quarantine_now(&mut self, why: Why) -> Option<PathBuf> {
        match self.start_over(why) {
            Opened::Rebuilt { quarantined, .. } => quarantined,
            _ => None,
        }
    }

    fn retry(&mut self) {
        if self.db.is_some() {
            return;
        }
        // Whatever is in it is older than what is known: it is filled anew.
        if !matches!(self.open(), Opened::Off { .. }) {
            self.hollow = true;
            self.pull();
        }
    }

    fn pull(&mut self) {
        let (Some(db), Some(source)) = (&self.db, &self.source) else {
            return;
        };
        let want = if self.hollow {
            Want::All
        } else {
            Want::Changes
        };
        let Some(changes) = source(want) else {
            return;
        };
        let written = guard::calm(|| {
            if changes.all {
                content::replace(db, &changes)
            } else {
                content::write(db, &changes)
            }
        });
        match written {
            Ok(Ok(())) => {
                self.hollow = false;
                self.state.send_replace(StoreState {
                    applied: changes.seq,
                    off: None,
                });
                self.flush(false);
            }
            Ok(Err(error)) => drop(self.turn_off(error.to_string())),
            Err(panic) => drop(self.turn_off(panic)),
        }
    }

    /// Hands sled's buffers to the kernel; with `sync` makes them durable, for sled's own flush
    /// is no fsync.
    fn flush(&mut self, sync: bool) {
        let Some(db) = &self.db else { return };
        let flushed = guard::calm(|| db.flush().map(drop));
        let done = match flushed {
            Ok(Ok(())) if sync => File::open(self.options.dir.join("db"))
                .and_then(|f| f.sync_all())
                .map_err(|e| e.to_string()),
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(panic) => Err(panic),
        };
        if let Err(why) = done {
            drop(self.turn_off(why));
        }
    }
}
