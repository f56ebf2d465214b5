//! What is to be said next. Pure: it reads the outbox and the samples as they are, and a time
//! that it is given; it never waits and never sends.
//!
//! ```text
//! node sample ─▶ outbox, in seq order ─▶ last acknowledged states, once each ─▶ as it comes:
//!                  ▲ goes first on every turn                 placements, node, instances, silence
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::{InstanceReading as _, NodeReading as _, Outbox, Pace, Samples, trouble::Trouble};
use crate::{
    model::{
        ids::{Seq, Uid},
        state::{Reason, State},
    },
    wire::{Message, Report},
};

/// One stream's worth.
pub(crate) enum Batch<S: Samples> {
    /// The node's sample.
    Node { placements: bool, reading: S::Node },
    /// States from the outbox; sending them acknowledges them.
    States(Vec<Report>),
    /// States that the scheduler acknowledged in an earlier registration.
    Repeats(Vec<Report>),
    /// Metrics, with the last sent state.
    Metrics(Vec<(Report, S::Instance)>),
}

impl<S: Samples> Batch<S> {
    pub(crate) fn messages(&self) -> Vec<Message> {
        match self {
            Self::Node {
                placements,
                reading,
            } => {
                vec![Message::Node {
                    placements: *placements,
                    metrics: reading.json(),
                }]
            }
            Self::States(reports) | Self::Repeats(reports) => {
                reports.iter().cloned().map(Message::Instance).collect()
            }
            Self::Metrics(metrics) => metrics
                .iter()
                .map(|(report, _)| Message::Instance(report.clone()))
                .collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Node { .. } => 1,
            Self::States(reports) | Self::Repeats(reports) => reports.len(),
            Self::Metrics(metrics) => metrics.len(),
        }
    }

    fn uids(&self) -> Vec<Uid> {
        match self {
            Self::Node { .. } => Vec::new(),
            Self::States(reports) | Self::Repeats(reports) => {
                reports.iter().map(|report| report.uid.clone()).collect()
            }
            Self::Metrics(metrics) => metrics
                .iter()
                .map(|(report, _)| report.uid.clone())
                .collect(),
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Node { .. } => "node",
            Self::States(_) => "states",
            Self::Repeats(_) => "repeats",
            Self::Metrics(_) => "metrics",
        }
    }
}

/// What to do now.
pub(crate) enum Turn<S: Samples> {
    /// Send this.
    Send(Batch<S>),
    /// Nothing to say before `until`, unless something changes; `None`: nothing at all.
    Wait { until: Option<Instant> },
}

/// What an incarnation's last sent state was, in this registration.
struct Told<I> {
    report: Report,
    /// Was it Running in this registration? Metrics begin with that.
    ran: bool,
    metrics: Option<(Instant, I)>,
}

/// What has been said in one registration.
pub(crate) struct Agenda<S: Samples> {
    pace: Pace,
    node: Option<(bool, S::Node)>,
    told: BTreeMap<Uid, Told<S::Instance>>,
    /// Has every state of before this registration been repeated?
    repeated: bool,
    /// The states acknowledged last: not sent again should the outbox still show them.
    acknowledged: Vec<(Uid, Seq)>,
    spoke: Option<Instant>,
    trouble: Trouble,
    replay: Replay,
}

/// What the scheduler wants is said anew at each registration; has it been?
enum Replay {
    /// The registration has just begun.
    Begins,
    /// So many instructions were judged by then, and the registration began.
    Comes {
        judged: u64,
        since: Instant,
        began: Instant,
    },
    /// It has been silent for a while since.
    Over,
}

/// A scheduler that never falls silent doesn't hold back "completed" for longer.
const LONGEST_REPLAY: Duration = Duration::from_secs(10);

/// Is it said to be over because its work is done?
fn completed(report: &Report) -> bool {
    report.is_last() && report.report.reason == Some(Reason::Completed)
}

/// The beginning of `pending` that may go in one stream: TERMINATED goes alone.
fn cut(mut pending: Vec<Report>, limit: usize) -> Vec<Report> {
    let end = match pending.iter().position(Report::is_last) {
        Some(0) => 1,
        Some(before) => before,
        None => pending.len(),
    };
    pending.truncate(end.min(limit.max(1)));
    pending
}

impl<S: Samples> Agenda<S> {
    pub(crate) fn new(pace: Pace) -> Self {
        Self {
            pace,
            node: None,
            told: BTreeMap::new(),
            repeated: false,
            acknowledged: Vec::new(),
            spoke: None,
            trouble: Trouble::default(),
            replay: Replay::Begins,
        }
    }

    /// May "completed" be said? If not: when to ask again.
    fn replayed(&mut self, now: Instant, outbox: &impl Outbox) -> Option<Instant> {
        let arrived = outbox.arrivals();
        let (judged, since, began) = match self.replay {
            Replay::Over => return None,
            Replay::Begins => (arrived, now, now),
            Replay::Comes {
                judged,
                since,
                began,
            } => (judged, since, began),
        };
        let since = if judged == arrived { since } else { now };
        let over = (since + self.pace.settle).min(began + LONGEST_REPLAY);
        self.replay = match over <= now {
            true => Replay::Over,
            false => Replay::Comes {
                judged: arrived,
                since,
                began,
            },
        };
        (over > now).then_some(over)
    }

    /// The next thing to say. Asking again without [`sent`](Self::sent) gives the same news, or
    /// newer.
    pub(crate) fn next(&mut self, now: Instant, outbox: &impl Outbox, samples: &S) -> Turn<S> {
        let reading = samples.node();
        let placements = samples.placements();
        let Some((told_placements, told_reading)) = &self.node else {
            return Turn::Send(Batch::Node {
                placements,
                reading,
            });
        };
        // Decided first, for `told_reading` borrows.
        let node_moved = *told_placements != placements || reading.worth_sending(told_reading);
        let replayed = self.replayed(now, outbox);
        if let Some(states) = self.states(now, outbox, replayed.is_some()) {
            return Turn::Send(Batch::States(states));
        }
        if let Some(repeats) = self.repeats(now, outbox) {
            return Turn::Send(Batch::Repeats(repeats));
        }
        let silence_ends = self.spoke.map_or(now, |spoke| spoke + self.pace.silence);
        if node_moved || silence_ends <= now {
            return Turn::Send(Batch::Node {
                placements,
                reading,
            });
        }
        let (metrics, due) = self.metrics(now, samples);
        if !metrics.is_empty() {
            return Turn::Send(Batch::Metrics(metrics));
        }
        let held = |_: &Instant| outbox.batch(usize::MAX).iter().any(completed);
        let wakes = [due, self.trouble.next(now), replayed.filter(held)];
        let until = wakes.into_iter().flatten().fold(silence_ends, Instant::min);
        Turn::Wait { until: Some(until) }
    }

    /// What is still to say on the way out: states only.
    pub(crate) fn last_words(&mut self, now: Instant, outbox: &impl Outbox) -> Turn<S> {
        let replaying = self.replayed(now, outbox).is_some();
        match self.states(now, outbox, replaying) {
            // The node's own sample is what makes the others welcome.
            Some(states) if self.node.is_some() => Turn::Send(Batch::States(states)),
            _ => Turn::Wait { until: None },
        }
    }

    fn states(&self, now: Instant, outbox: &impl Outbox, replaying: bool) -> Option<Vec<Report>> {
        // What is set aside must not fill the batch.
        let room = if self.trouble.is_over() && !replaying {
            self.pace.batch
        } else {
            usize::MAX
        };
        let mut pending = outbox.batch(room);
        // To the scheduler an id is one thing, whichever incarnation has it: a former one's
        // TERMINATED that arrives after the next one's states would end that one.
        let mut waits = BTreeSet::new();
        pending.retain(|report| {
            let aside = self.trouble.is_aside(&report.uid, now);
            if aside || (replaying && completed(report)) {
                waits.insert(report.instance.clone());
            }
            !waits.contains(&report.instance)
        });
        pending.retain(|report| {
            !self
                .acknowledged
                .iter()
                .any(|(uid, seq)| *uid == report.uid && *seq >= report.seq)
        });
        let states = cut(pending, self.trouble.limit(self.pace.batch));
        (!states.is_empty()).then_some(states)
    }

    fn repeats(&mut self, now: Instant, outbox: &impl Outbox) -> Option<Vec<Report>> {
        if self.repeated {
            return None;
        }
        let mut repeats = outbox.last_acknowledged();
        // TERMINATED is said once; and what was said in this registration needs no repetition.
        repeats.retain(|report| !report.is_last() && !self.told.contains_key(&report.uid));
        repeats.retain(|report| !self.trouble.is_aside(&report.uid, now));
        repeats.truncate(self.trouble.limit(self.pace.batch));
        self.repeated = repeats.is_empty();
        (!self.repeated).then_some(repeats)
    }

    /// Metrics to send now, and when the next that has moved becomes due.
    fn metrics(&self, now: Instant, samples: &S) -> (Vec<(Report, S::Instance)>, Option<Instant>) {
        let mut metrics = Vec::new();
        let mut next: Option<Instant> = None;
        for (uid, told) in &self.told {
            // DESTROYING is answered by a DESTROY, so it is said once only.
            let silent = !told.ran || told.report.report.state == State::Destroying;
            if silent || self.trouble.is_aside(uid, now) {
                continue;
            }
            let Some(reading) = samples.instance(uid) else {
                continue;
            };
            if let Some((at, sent)) = &told.metrics {
                if !reading.worth_sending(sent) {
                    continue;
                }
                let due = *at + self.pace.instance_every;
                if due > now {
                    next = Some(next.map_or(due, |next| next.min(due)));
                    continue;
                }
            }
            if metrics.len() < self.trouble.limit(self.pace.batch) {
                let report = Report {
                    restarts: reading.restarts(),
                    containers: reading.containers(),
                    gap: 0,
                    ..told.report.clone()
                };
                metrics.push((report, reading));
            }
        }
        (metrics, next)
    }

    /// The scheduler refused the batch; gives the instance that is set aside for it.
    pub(crate) fn refused(&mut self, batch: &Batch<S>, now: Instant) -> Option<Uid> {
        self.trouble.refused(&batch.uids(), now)
    }

    /// The batch was acknowledged.
    pub(crate) fn sent(&mut self, batch: Batch<S>, now: Instant) {
        self.spoke = Some(now);
        self.trouble.taken(&batch.uids());
        match batch {
            Batch::Node {
                placements,
                reading,
            } => self.node = Some((placements, reading)),
            Batch::States(reports) => {
                self.acknowledged = reports
                    .iter()
                    .map(|report| (report.uid.clone(), report.seq))
                    .collect();
                self.tell(reports);
            }
            Batch::Repeats(reports) => self.tell(reports),
            Batch::Metrics(metrics) => {
                for (report, reading) in metrics {
                    if let Some(told) = self.told.get_mut(&report.uid) {
                        told.metrics = Some((now, reading));
                    }
                }
            }
        }
    }

    fn tell(&mut self, reports: Vec<Report>) {
        for report in reports {
            if report.is_last() {
                self.told.remove(&report.uid);
                continue;
            }
            let running = report.report.state == State::Running;
            match self.told.get_mut(&report.uid) {
                Some(told) => {
                    told.ran |= running;
                    told.report = report;
                }
                None => {
                    let uid = report.uid.clone();
                    self.told.insert(
                        uid,
                        Told {
                            report,
                            ran: running,
                            metrics: None,
                        },
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
