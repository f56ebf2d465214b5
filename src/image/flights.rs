//! One piece of work however many wait for it.
//!
//! Why: ten instances of one image must not pull it ten times, and one of them that is destroyed
//! must not take the image from the other nine. Owns: who waits for what, and telling the work
//! that nobody does any more. In: a key and how to begin the work. Out: the work's result, cloned
//! for each waiter. Must never happen here: work that goes on after its last waiter is gone
//! without having been told, or a newcomer that is given to work which was told to end.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

struct Flight<T> {
    number: u64,
    waiters: usize,
    cancel: CancellationToken,
    landed: watch::Receiver<Option<T>>,
}

type Board<T> = Mutex<HashMap<String, Flight<T>>>;

/// The work that is under way, by key.
pub(super) struct Flights<T> {
    board: Arc<Board<T>>,
    drawn: AtomicU64,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self {
            board: Arc::default(),
            drawn: AtomicU64::new(0),
        }
    }
}

fn lock<T>(board: &Board<T>) -> MutexGuard<'_, HashMap<String, Flight<T>>> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// Waits for the work under `key`, beginning it if it isn't under way. The work runs as a task
    /// of its own; it is given a token that fires when the last waiter is gone (its future
    /// dropped), and is then expected to tidy up and end. `None` if the work panicked or the
    /// runtime is ending.
    pub(super) async fn join<F>(
        &self,
        key: &str,
        begin: impl FnOnce(CancellationToken) -> F,
    ) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut waiter = self.board_or_begin(key, begin);
        let landed = waiter.landed.wait_for(Option::is_some).await;
        landed.ok().and_then(|value| value.clone())
    }

    fn board_or_begin<F>(&self, key: &str, begin: impl FnOnce(CancellationToken) -> F) -> Waiter<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut board = lock(&self.board);
        let flight = board.entry(key.to_owned()).or_insert_with(|| {
            let number = self.drawn.fetch_add(1, Ordering::Relaxed);
            let cancel = CancellationToken::new();
            let (land, landed) = watch::channel(None);
            let work = begin(cancel.clone());
            let (shared, key) = (Arc::clone(&self.board), key.to_owned());
            tokio::spawn(async move {
                // Also when the work panics: an entry without a task would be waited for forever.
                let _leaving = Leaving {
                    shared,
                    key,
                    number,
                };
                let value = work.await;
                drop(_leaving);
                let _ = land.send(Some(value));
            });
            Flight {
                number,
                waiters: 0,
                cancel,
                landed,
            }
        });
        flight.waiters += 1;
        Waiter {
            board: Arc::clone(&self.board),
            key: key.to_owned(),
            number: flight.number,
            landed: flight.landed.clone(),
        }
    }
}

/// Takes the work off the board when it ends.
struct Leaving<T> {
    shared: Arc<Board<T>>,
    key: String,
    number: u64,
}

impl<T> Drop for Leaving<T> {
    fn drop(&mut self) {
        let mut board = lock(&self.shared);
        if board
            .get(&self.key)
            .is_some_and(|f| f.number == self.number)
        {
            board.remove(&self.key);
        }
    }
}

struct Waiter<T> {
    board: Arc<Board<T>>,
    key: String,
    number: u64,
    landed: watch::Receiver<Option<T>>,
}

impl<T> Drop for Waiter<T> {
    fn drop(&mut self) {
        let mut board = lock(&self.board);
        let Some(flight) = board.get_mut(&self.key) else {
            return;
        };
        if flight.number != self.number {
            return;
        }
        flight.waiters -= 1;
        if flight.waiters == 0 {
            flight.cancel.cancel();
            // Whoever comes now begins anew.
            board.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests;
