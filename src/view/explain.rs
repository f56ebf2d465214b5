//! `explain`: the story of an instance, and why it is as it is.

use std::{borrow::Borrow, collections::BTreeMap};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    find::{FindError, Found, find},
    narrate,
    plan::in_doubt,
    ps::shown_state,
};
use crate::model::{
    fold::{Desired, Fold, InstanceRecord},
    ids::{ContainerId, InstanceId, Position, Seq, Uid},
    line::{Event, Line, Moment},
    spec::WorkloadSpec,
    state::StateReport,
};

/// The story of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainView {
    /// Its id.
    pub instance: String,
    /// The incarnation that the story is about; none if it never had one.
    pub uid: Option<String>,
    /// Its state; none if the journal has only refusals of it.
    pub state: Option<String>,
    /// Why, in a word.
    pub reason: Option<String>,
    /// Why it is in its state, in a sentence.
    pub why: String,
    /// What happens next by itself, a sentence each.
    pub next: Vec<String>,
    /// What happened, oldest first.
    pub story: Vec<Step>,
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its number.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// What happened, in a sentence.
    pub what: String,
    /// The state that resulted, where it changed.
    pub state: Option<String>,
}

/// Tells the story of the instance that `text` names, from the fold and the journal's lines in
/// order; the lines may begin late, for old segments go.
///
/// # Errors
/// There is no such instance, in the fold or the lines; or several have that name.
pub fn explain(
    fold: &Fold,
    lines: impl IntoIterator<Item = impl Borrow<Line>>,
    text: &str,
    now: Option<&Moment>,
) -> Result<ExplainView, FindError> {
    let mut teller = Teller::default();
    let found = match find(fold, text) {
        Ok(found) => {
            teller.only = Some(match &found {
                Found::Live(record) => record.uid.clone(),
                Found::Gone(_, tombstone) => tombstone.uid.clone(),
            });
            teller.instance = Some(found.instance().clone());
            Some(found)
        }
        Err(FindError::NotFound(_)) => None,
        Err(ambiguous) => return Err(ambiguous),
    };
    for line in lines {
        teller.hear(line.borrow(), text);
    }
    if found.is_none() && teller.story.is_empty() {
        return Err(FindError::NotFound(text.to_owned()));
    }
    let (report, next) = match &found {
        Some(Found::Live(record)) => (
            Some(shown_state(record)),
            coming(record, fold.node.drained, now),
        ),
        Some(Found::Gone(_, tombstone)) => (Some(tombstone.report.clone()), Vec::new()),
        None => (teller.last_state.clone(), Vec::new()),
    };
    let instance = teller
        .instance
        .map_or_else(|| text.to_owned(), |i| i.to_string());
    Ok(ExplainView {
        why: why(&instance, found.as_ref(), report.as_ref()),
        uid: teller.only.map(|uid| uid.to_string()),
        state: report.as_ref().map(|r| r.state.to_string()),
        reason: report.and_then(|r| r.reason).map(|r| r.to_string()),
        next,
        story: teller.story,
        instance,
    })
}

/// Picks an instance's lines from the journal.
#[derive(Default)]
struct Teller {
    instance: Option<InstanceId>,
    /// The incarnation that is told of; the last one where the fold has none.
    only: Option<Uid>,
    names: BTreeMap<Position, String>,
    last_state: Option<StateReport>,
    /// Between its first line and its end, lines of the node are part of the story.
    alive: bool,
    story: Vec<Step>,
}

impl Teller {
    fn hear(&mut self, line: &Line, text: &str) {
        self.meet(&line.event, text);
        let ours = match line.event.uid() {
            Some(uid) => self.only.as_ref() == Some(uid),
            None => match &line.event {
                Event::Refused { instance, .. } => self.is_named(instance, text),
                Event::Doubted { uids, .. } => {
                    self.only.as_ref().is_some_and(|only| uids.contains(only))
                }
                event => self.alive && of_node(event),
            },
        };
        if !ours || matches!(line.event, Event::Acknowledged { .. }) {
            return;
        }
        if let Event::Accepted { spec, .. } | Event::Replaced { spec, .. } = &line.event {
            self.learn(spec);
        }
        self.alive = match &line.event {
            Event::Removed { .. } => false,
            event => self.alive || event.uid().is_some(),
        };
        if line.state.is_some() {
            self.last_state.clone_from(&line.state);
        }
        let names = &self.names;
        let name = |id: &ContainerId| names.get(&id.n).cloned();
        self.story.push(Step {
            seq: line.seq,
            at: line.moment.at,
            what: narrate(&line.event, &name),
            state: line.state.as_ref().map(in_words),
        });
    }

    /// Where the fold knows no such instance, each new incarnation of that name begins the story
    /// anew.
    fn meet(&mut self, event: &Event, text: &str) {
        if self.instance.is_some() && self.only.is_some() && self.story.is_empty() {
            return;
        }
        if let Event::Accepted { uid, instance, .. } = event
            && self.is_named(instance.as_str(), text)
            && self.only.as_ref() != Some(uid)
            && !self.alive
        {
            self.only = Some(uid.clone());
            self.instance = Some(instance.clone());
            self.names.clear();
            self.story.clear();
        }
    }

    fn is_named(&self, instance: &str, text: &str) -> bool {
        match &self.instance {
            Some(id) => id.as_str() == instance,
            None => instance == text || instance.split('@').next() == Some(text),
        }
    }

    fn learn(&mut self, spec: &WorkloadSpec) {
        self.names = (0..)
            .zip(spec.containers.iter().map(|c| c.name.clone()))
            .collect();
    }
}

/// Lines of the node that explain what happens to every instance.
fn of_node(event: &Event) -> bool {
    matches!(
        event,
        Event::Boot {}
            | Event::DaemonStarted { .. }
            | Event::DaemonStopped {}
            | Event::NodeStopping {}
            | Event::Drained {}
            | Event::Uncordoned {}
    )
}

fn in_words(report: &StateReport) -> String {
    match report.reason {
        Some(reason) => format!("{} ({reason})", report.state),
        None => report.state.to_string(),
    }
}

fn why(instance: &str, found: Option<&Found<'_>>, report: Option<&StateReport>) -> String {
    let Some(report) = report else {
        return format!("{instance} never ran here: every instruction for it was refused");
    };
    let mut why = format!("{instance} is {}", in_words(report));
    if let Some(message) = &report.message {
        why = format!("{why}: {message}");
    } else if let Some(Found::Live(record)) = found {
        let rest = match report.state {
            crate::model::state::State::Running => "every container runs",
            crate::model::state::State::Creating => "not every container has started yet",
            crate::model::state::State::Destroying => "its destruction is under way",
            _ => "",
        };
        if !rest.is_empty() {
            why = format!("{why}: {rest}");
        }
        for (n, _) in record.attempted().filter(|(_, c)| c.monitor_lost) {
            let name = record.container_spec(n).map_or("", |c| c.name.as_str());
            why.push_str(&format!(
                "; the monitor of container {name} is gone, so its exit code may stay unknown"
            ));
        }
        if let Some(doubt) = in_doubt(record) {
            why.push_str(&format!("; {doubt}"));
        }
        if record.uncertain {
            why.push_str("; its lines don't fit together, so it is looked at again");
        }
    }
    match found {
        None => why.push_str("; it is long gone"),
        Some(Found::Gone(..)) => why.push_str("; nothing of it is left on the node"),
        Some(Found::Live(_)) => {}
    }
    why
}

/// What happens by itself, from what the record waits for.
fn coming(record: &InstanceRecord, drained: bool, now: Option<&Moment>) -> Vec<String> {
    let mut next = Vec::new();
    if record.doubt.is_some() {
        return next;
    }
    if drained && record.desired == Desired::Run && !record.is_evicted() {
        next.push("it runs again after `riklet uncordon`".to_owned());
        return next;
    }
    for (n, container) in record.attempted() {
        let name = record
            .container_spec(n)
            .map_or(container.name.as_str(), |spec| spec.name.as_str());
        if let Some(stop) = &container.stop {
            next.push(format!(
                "container {name} gets SIGKILL {}",
                when(stop.deadline_up, now)
            ));
        }
        let lacks_image = record.container_spec(n).is_some_and(|spec| {
            let image = record.images.get(&spec.image);
            image.is_none_or(|known| known.snapshot.is_none())
        });
        if let Some(up) = container.next_up
            && !container.phase.may_live()
            && !lacks_image
            && record.desired == Desired::Run
        {
            next.push(format!("container {name} is started {}", when(up, now)));
        }
    }
    if record.desired == Desired::Run {
        if let Some(up) = record.sandbox.as_ref().and_then(|sandbox| sandbox.retry_up) {
            next.push(format!("its sandbox is tried again {}", when(up, now)));
        }
        for (image, known) in &record.images {
            if let Some(up) = known.retry_up.filter(|_| known.snapshot.is_none()) {
                next.push(format!("image {image} is tried again {}", when(up, now)));
            }
        }
    }
    if record.queued.is_some() {
        next.push("a create waits until nothing of it is left".to_owned());
    }
    next
}

/// `in 12 s, at 15:40:02Z`, or what is known of it.
fn when(up: u64, now: Option<&Moment>) -> String {
    let Some(now) = now else {
        return "later".to_owned();
    };
    let Some(left) = up.checked_sub(now.up).filter(|left| *left > 0) else {
        return "now".to_owned();
    };
    let seconds = left.div_ceil(1000);
    let at = i64::try_from(left)
        .ok()
        .and_then(|ms| now.at.checked_add(SignedDuration::from_millis(ms)).ok());
    match at {
        Some(at) => format!("in {seconds} s, at {}", at.strftime("%H:%M:%SZ")),
        None => format!("in {seconds} s"),
    }
}

#[cfg(test)]
mod tests;
