//! How much of the disk a volume takes: a step at a time, one walk at a time, with rests.
//!
//! Owns: what looking costs the node: a tenth of one processor at most, however many trees there
//! are and however large they are. Must never happen here: a fork or a write.

use std::{io, time::Instant};

use super::{ImageSource, RealNode, failure};
use crate::{
    model::ids::Uid,
    node::{Failure, FailureKind},
    runtime::{
        tree::measure::{Step, Walk},
        volumes,
    },
};

/// Entries of one step: some 10 ms of work.
const ENTRIES: u64 = 4_096;

/// So many times as long as a step took nobody walks, if there is more to be seen.
const REST: u32 = 9;

impl<I: ImageSource> RealNode<I> {
    /// See [`Node::volume_use`](crate::node::Node::volume_use).
    pub(super) async fn measure(
        &self,
        uid: &Uid,
        volume: usize,
        enough: u64,
    ) -> Result<u64, Failure> {
        let root = volumes::place(self.layout(), uid, volume);
        let tried = format!("measure volume {volume} of {uid}");
        let failed = |e: io::Error| {
            let kind = FailureKind::Transient;
            Failure::new(kind, tried.clone(), e)
        };
        let mut walk = None;
        loop {
            // It is kept through the rest, so that all walks together rest as much.
            let _turn = self.0.walks.acquire().await;
            let began = Instant::now();
            let (root, former) = (root.clone(), walk.take());
            let step = tokio::task::spawn_blocking(move || {
                let mut walk = match former {
                    Some(walk) => walk,
                    None => Walk::begin(&root, enough)?,
                };
                let step = walk.step(ENTRIES)?;
                Ok::<_, io::Error>((walk, step))
            });
            let done = step.await.map_err(|e| failure::hung_task(&tried, e))?;
            match done {
                Ok((_, Step::Done(bytes))) => return Ok(bytes),
                Ok((unfinished, Step::Unfinished)) => walk = Some(unfinished),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
                Err(e) => return Err(failed(e)),
            }
            tokio::time::sleep(began.elapsed() * REST).await;
        }
    }
}
