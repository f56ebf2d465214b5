//! A script of faults for a [`Disk`](super::Disk), for tests.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Op;

#[derive(Debug)]
struct Fault {
    op: Op,
    skip: u64,
    times: u64,
    errno: i32,
}

/// Is told of each operation before it is done, on the thread that does it.
pub type Observer = Arc<dyn Fn(Op) + Send + Sync>;

#[derive(Default)]
struct State {
    faults: Vec<Fault>,
    torn: Option<usize>,
    asked: Vec<Op>,
    observer: Option<Observer>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("faults", &self.faults)
            .field("torn", &self.torn)
            .finish_non_exhaustive()
    }
}

/// What is to go wrong, and what was asked. A clone is the same script.
#[derive(Debug, Clone, Default)]
pub struct Script(Arc<Mutex<State>>);

impl Script {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After `skip` more of them, `times` operations of the kind fail with `errno`.
    pub fn fail(&self, op: Op, skip: u64, times: u64, errno: i32) {
        self.state().faults.push(Fault {
            op,
            skip,
            times,
            errno,
        });
    }

    /// The next append writes only so many bytes of its line and fails with EIO.
    pub fn tear_next_append(&self, bytes: usize) {
        self.state().torn = Some(bytes);
    }

    /// From now on this one is told of every operation, in place of the list of [`Self::asked`].
    pub fn observe(&self, observer: Observer) {
        self.state().observer = Some(observer);
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.torn = None;
    }

    /// Every operation so far, in order, whether it failed or not.
    #[must_use]
    pub fn asked(&self) -> Vec<Op> {
        self.state().asked.clone()
    }

    pub(super) fn torn(&self, len: usize) -> Option<usize> {
        self.state().torn.take().map(|n| n.min(len))
    }

    pub(super) fn gate(&self, op: Op) -> io::Result<()> {
        let observer = self.state().observer.clone();
        if let Some(tell) = &observer {
            tell(op);
        }
        let mut state = self.state();
        if observer.is_none() {
            state.asked.push(op);
        }
        for fault in state.faults.iter_mut().filter(|f| f.op == op) {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                return Err(io::Error::from_raw_os_error(fault.errno));
            }
        }
        Ok(())
    }
}
