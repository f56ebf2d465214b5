//! The reporter of a simulated daemon: the real agenda over the real outbox, on a wire that
//! loses batches and answers.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    book::SimBook,
    ground::Ground,
    scheduler::{self, Loss},
    trap::{Point, Side},
};
use crate::{
    agent::outbox::Outboxes,
    model::ids::Uid,
    reporter::{
        InstanceReading, NodeReading, Outbox as _, Pace, Samples, Wire,
        agenda::{Agenda, Turn},
        deliver,
    },
    wire::{Message, SendError},
};

/// How long a batch that was not acknowledged waits, in ms.
const RETRY_MS: u64 = 200;

struct Calm;

impl NodeReading for Calm {
    fn json(&self) -> String {
        "{}".to_owned()
    }

    fn worth_sending(&self, _: &Self) -> bool {
        false
    }
}

impl InstanceReading for Calm {
    fn restarts(&self) -> u32 {
        0
    }

    fn containers(&self) -> Vec<serde_json::Value> {
        Vec::new()
    }

    fn worth_sending(&self, _: &Self) -> bool {
        false
    }
}

/// Nothing is measured.
struct Nothing;

impl Samples for Nothing {
    type Node = Calm;
    type Instance = Calm;

    fn node(&self) -> Calm {
        Calm
    }

    fn placements(&self) -> bool {
        true
    }

    fn instance(&self, _: &Uid) -> Option<Calm> {
        None
    }

    async fn changed(&self) {
        std::future::pending().await
    }
}

struct SimWire(Ground);

impl Wire for SimWire {
    async fn send(&mut self, batch: Vec<Message>) -> Result<(), SendError> {
        self.0.point(Point::Send, Side::Before).await;
        let loss = self.0.state().scheduler.losses.pop_front();
        let silent = || SendError::Silent {
            count: batch.len(),
            limit: Duration::from_secs(10),
        };
        if loss == Some(Loss::Batch) {
            self.0
                .state()
                .tell(|_| format!("  a batch of {} is lost", batch.len()));
            return Err(silent());
        }
        scheduler::receive(&mut self.0.state(), &batch);
        self.0.point(Point::Send, Side::After).await;
        if loss == Some(Loss::Answer) {
            self.0.state().tell(|_| "  its answer is lost".to_owned());
            return Err(silent());
        }
        Ok(())
    }
}

/// Reports for one registration; ends by being dropped.
pub(super) async fn serve(ground: Ground, outbox: Arc<Outboxes<SimBook>>) {
    let began = (Instant::now(), ground.state().clocks.up);
    let now = || began.0 + Duration::from_millis(ground.state().clocks.up - began.1);
    let pace = Pace {
        batch: 8,
        // Nothing but states is of interest here.
        silence: Duration::from_secs(1_000_000_000),
        ..Pace::default()
    };
    let mut agenda: Agenda<Nothing> = Agenda::new(pace);
    let mut wire = SimWire(ground.clone());
    loop {
        match agenda.next(now(), &*outbox, &Nothing) {
            Turn::Send(batch) => {
                let sent = deliver(&mut wire, &*outbox, &mut agenda, batch, now).await;
                if sent.is_err() {
                    let up = ground.state().clocks.up + RETRY_MS;
                    ground.until(up).await;
                }
            }
            Turn::Wait { until } => {
                let silence = Duration::from_secs(3_600);
                let wait = until.map(|until| until.saturating_duration_since(now()));
                let wait = wait.filter(|wait| *wait < silence);
                let ms = wait.and_then(|wait| u64::try_from(wait.as_millis()).ok());
                let up = ms.map_or(u64::MAX, |ms| ground.state().clocks.up + ms.max(1));
                tokio::select! {
                    biased;
                    () = outbox.changed() => {}
                    () = ground.until(up) => {}
                }
            }
        }
    }
}
