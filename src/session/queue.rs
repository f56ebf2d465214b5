//! Instructions that were read and not yet submitted: bounded, and never a reason to stop
//! reading.
//!
//! The bound is on bytes as well as on number, and destroys have room of their own: they are
//! small, and a dropped one leaves something running that nobody wants.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::model::instruction::{Ask, Instruction};

/// Creates, and anything else that isn't a destroy, wait up to this many.
const MAX_WAITING: usize = 1024;

/// Definitions that wait have at most this many bytes together.
const MAX_BYTES: usize = 32 << 20;

/// With destroys, up to this many wait.
const MAX_WITH_DESTROYS: usize = 8192;

#[derive(Debug, Default)]
struct Waiting {
    line: VecDeque<Instruction>,
    bytes: usize,
    closed: bool,
}

/// The queue between the Register stream and the inbox.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

fn bytes(instruction: &Instruction) -> usize {
    let definition = match &instruction.ask {
        Ask::Create { definition } => definition.len(),
        _ => 0,
    };
    definition + instruction.instance.len()
}

/// Is there room for one more?
fn admits(length: usize, queued_bytes: usize, instruction: &Instruction) -> bool {
    let room = match instruction.ask {
        Ask::Destroy { .. } => MAX_WITH_DESTROYS,
        _ => MAX_WAITING,
    };
    length < room && queued_bytes + bytes(instruction) <= MAX_BYTES
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here can panic half-way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an instruction at the end, or gives it back if there is no room.
    pub(super) fn push(&self, instruction: Instruction) -> Result<(), Instruction> {
        let mut waiting = self.waiting();
        if waiting.closed || !admits(waiting.line.len(), waiting.bytes, &instruction) {
            return Err(instruction);
        }
        waiting.bytes += bytes(&instruction);
        waiting.line.push_back(instruction);
        drop(waiting);
        self.changed.notify_one();
        Ok(())
    }

    /// The next instruction; none once the queue is closed and empty. One caller at a time.
    pub(super) async fn pop(&self) -> Option<Instruction> {
        loop {
            {
                let mut waiting = self.waiting();
                if let Some(instruction) = waiting.line.pop_front() {
                    waiting.bytes -= bytes(&instruction);
                    return Some(instruction);
                }
                if waiting.closed {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Takes nothing more.
    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests;
