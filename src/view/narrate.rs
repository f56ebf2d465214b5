//! A line of the journal as a sentence.

use crate::model::{
    ids::{ContainerId, Source},
    line::{Event, Exit},
    spec::WorkloadSpec,
    state::Reason,
};

/// The event as a sentence, without its instance's name. `name` gives a container's name in its
/// definition, if that is known. Definitions are counted, never shown: they may hold secrets.
#[must_use]
pub fn narrate(event: &Event, name: &dyn Fn(&ContainerId) -> Option<String>) -> String {
    let container = |id: &ContainerId| match name(id) {
        Some(name) => format!("container {name} (attempt {})", id.attempt),
        None => format!("container {} (attempt {})", id.n, id.attempt),
    };
    match event {
        Event::AttemptIntended { intent, .. } => {
            format!("{} is about to be created", container(&intent.container))
        }
        Event::Created { container: id, .. } => format!("{} was created", container(id)),
        Event::Started {
            container: id,
            process,
            adopted,
        } => {
            let how = if *adopted {
                "was found running"
            } else {
                "started"
            };
            format!("{} {how}, pid {}", container(id), process.pid)
        }
        Event::StartFailed {
            container: id,
            message,
            retryable,
            ..
        } => {
            let then = retried(*retryable);
            format!("{} could not be started: {message}{then}", container(id))
        }
        Event::Exited {
            container: id,
            exit,
            next_up,
            backoff,
        } => {
            let then = match (next_up, backoff) {
                (Some(_), 0 | 1) => "; it is started again",
                (Some(_), _) => "; it is started again after a backoff",
                (None, _) => "",
            };
            format!("{} {}{then}", container(id), ended(exit))
        }
        Event::StopRequested {
            container: id,
            reason,
            unkillable,
            ..
        } => match unkillable {
            false => format!("{} is asked to stop{}", container(id), because(*reason)),
            true => format!("{} outlives SIGKILL", container(id)),
        },
        Event::StepRemoved { container: id } => {
            format!("nothing of {} is left but its log", container(id))
        }
        Event::MonitorLost { container: id } => format!(
            "the monitor of {} is gone; its exit code may stay unknown",
            container(id)
        ),
        other => narrate_sandbox(other, &container),
    }
}

/// What happens to the sandbox, and what is done at containers.
fn narrate_sandbox(event: &Event, container: &dyn Fn(&ContainerId) -> String) -> String {
    let told = |message: &Option<String>| {
        let message = message.as_deref().unwrap_or_default();
        if message.is_empty() {
            String::new()
        } else {
            format!(": {message}")
        }
    };
    match event {
        Event::SandboxIntended { claim, users, .. } => {
            let network = claim
                .as_ref()
                .map(|c| format!(", on network {}", c.network));
            let users = users.map(|ids| format!(", with the node's ids {ids}"));
            let (network, users) = (network.unwrap_or_default(), users.unwrap_or_default());
            format!("its sandbox will be made{network}{users}")
        }
        Event::SandboxReady { addresses, .. } => match addresses.first() {
            Some(address) => format!("its sandbox stands, with address {address}"),
            None => "its sandbox stands".to_owned(),
        },
        Event::SandboxFailed { message, .. } => {
            format!("its sandbox couldn't be made: {message}")
        }
        Event::Probed {
            container: id,
            probe,
            ok,
            in_a_row,
            message,
        } => {
            let verb = if *ok { "succeeded" } else { "failed" };
            let times = match in_a_row {
                0 | 1 => String::new(),
                n => format!(" {n} times in a row"),
            };
            let (container, told) = (container(id), told(message));
            format!("the {probe} probe of {container} {verb}{times}{told}")
        }
        Event::HookDone {
            container: id,
            hook,
            ok,
            message,
        } => {
            let verb = if *ok { "is done" } else { "failed" };
            let (container, told) = (container(id), told(message));
            format!("the {hook:?} hook of {container} {verb}{told}")
        }
        other => narrate_rest(other),
    }
}

fn narrate_rest(event: &Event) -> String {
    match event {
        Event::Accepted {
            source,
            spec,
            warnings,
            ..
        } => format!(
            "accepted from {}: {}{}",
            who(*source),
            contents(spec),
            match warnings.len() {
                0 => String::new(),
                1 => ", 1 field is ignored".to_owned(),
                n => format!(", {n} fields are ignored"),
            }
        ),
        Event::Replaced {
            generation, spec, ..
        } => format!("generation {generation} was accepted: {}", contents(spec)),
        Event::Queued { source, .. } => format!(
            "a create from {} waits until the destruction is over",
            who(*source)
        ),
        Event::DestroyAccepted { source, .. } => {
            format!("its destruction was accepted from {}", who(*source))
        }
        Event::Refused {
            source,
            reason,
            message,
            ..
        } => format!(
            "an instruction from {} was refused, {reason}: {message}",
            who(*source)
        ),
        Event::ImageReady { image, digest, .. } => {
            format!("image {image} is ready, {}", short_digest(digest))
        }
        Event::ImageFailed {
            image,
            message,
            retryable,
            ..
        } => format!(
            "image {image} can't be had: {message}{}",
            retried(*retryable)
        ),
        Event::Evicted { message, .. } => format!("it is evicted: {message}"),
        Event::Removed { .. } => "nothing of it is left on the node".to_owned(),
        Event::Acknowledged { through, .. } => {
            format!("the scheduler has its states up to line {through}")
        }
        other => narrate_repair(other),
    }
}

fn narrate_repair(event: &Event) -> String {
    match event {
        Event::Settled { source, .. } => format!(
            "{} said that it shall be as is known: it is in doubt no longer",
            who(*source)
        ),
        Event::Disowned { source, .. } => format!(
            "{} told it to go; nothing is known of it but its mark",
            who(*source)
        ),
        other => narrate_node(other),
    }
}

fn narrate_node(event: &Event) -> String {
    match event {
        Event::SegmentHeader { first_seq, .. } => {
            format!("the journal goes on in a new segment from line {first_seq}")
        }
        Event::SegmentSealed {} => "the segment was sealed".to_owned(),
        Event::Boot {} => "the node has booted".to_owned(),
        Event::DaemonStarted { version, pid } => {
            format!("riklet {version} took over, pid {pid}")
        }
        Event::DaemonStopped {} => "riklet stopped; containers run on".to_owned(),
        Event::NodeStopping {} => "the node is going down".to_owned(),
        Event::Drained {} => "the node was drained: instances are stopped".to_owned(),
        Event::Uncordoned {} => "the node was uncordoned: instances run again".to_owned(),
        Event::Doubted { uids, why } => match uids.len() {
            1 => format!("1 instance is in doubt: {why}"),
            n => format!("{n} instances are in doubt: {why}"),
        },
        Event::DegradedEntered { mode, detail } => format!("{mode} began: {detail}"),
        Event::DegradedLeft { mode } => format!("{mode} is over"),
        other => other.kind().replace('_', " "),
    }
}

fn who(source: Source) -> &'static str {
    match source {
        Source::Scheduler => "the scheduler",
        Source::Manifest => "the manifests directory",
        Source::Cli => "the command line",
        Source::Operator => "an operator",
    }
}

fn contents(spec: &WorkloadSpec) -> String {
    let images: Vec<&str> = spec.containers.iter().map(|c| c.image.as_str()).collect();
    match images.len() {
        1 => format!("1 container of image {}", images[0]),
        n => format!("{n} containers of images {}", images.join(", ")),
    }
}

fn retried(retryable: bool) -> &'static str {
    if retryable {
        "; it is tried again"
    } else {
        "; it won't succeed until that is mended, and is tried again all the same"
    }
}

fn because(reason: Option<Reason>) -> String {
    reason.map_or_else(String::new, |reason| format!(" ({reason})"))
}

/// How a container ended: `exited with 1`.
pub(super) fn ended(exit: &Exit) -> String {
    let how = match (exit.code, exit.signal) {
        (_, Some(signal)) => format!("was ended by signal {signal}"),
        (Some(code), None) => format!("exited with {code}"),
        (None, None) => "ended, its exit code is unknown".to_owned(),
    };
    format!("{how}{}", because(exit.reason))
}

/// `sha256:` and the first 12 digits: enough to tell images apart.
fn short_digest(digest: &str) -> String {
    match digest.split_once(':') {
        Some((kind, hex)) => format!("{kind}:{}", hex.chars().take(12).collect::<String>()),
        None => digest.to_owned(),
    }
}
