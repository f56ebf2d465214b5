//! The live table.
//!
//! The prompt stands in the second row, above everything whose height changes, so that drawing
//! never touches what is being typed.

use std::{
    collections::VecDeque,
    io::{self, Write as _},
};

use comfy_table::{Table, presets::NOTHING};
use jiff::Timestamp;
use riklet::testing::scheduler::{Core, Event, Place};
use serde_json::Value;

/// So many events are shown.
const SHOWN_EVENTS: usize = 10;

/// The terminal.
pub(crate) struct Screen {
    title: String,
    events: VecDeque<String>,
    answer: String,
    /// Is the cursor somewhere else than at the prompt: at first, and after Enter?
    astray: bool,
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    table
}

/// `12.3 GiB` of a JSON number of bytes.
fn bytes(value: Option<&Value>) -> String {
    let Some(bytes) = value.and_then(Value::as_f64) else {
        return "-".to_owned();
    };
    let (mut amount, mut unit) = (bytes, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if amount < 1024.0 {
            break;
        }
        (amount, unit) = (amount / 1024.0, next);
    }
    format!("{amount:.1} {unit}")
}

/// What is known of nodes, as text.
pub(crate) fn node_table(core: &Core) -> String {
    if core.nodes.is_empty() {
        return "no node has registered yet".to_owned();
    }
    let mut table = table(&[
        "NODE",
        "LINK",
        "READY",
        "REGISTERED",
        "CPU FREE",
        "MEMORY FREE",
        "INSTANCES",
    ]);
    for (name, node) in &core.nodes {
        let here = Place::On(name.clone());
        let cpu = node.metrics.pointer("/cpu/free").and_then(Value::as_f64);
        table.add_row([
            name.clone(),
            if node.registration.is_some() {
                "open"
            } else {
                "lost"
            }
            .to_owned(),
            if node.ready { "yes" } else { "no" }.to_owned(),
            format!("{}x", node.registrations),
            cpu.map_or("-".to_owned(), |free| format!("{free:.0} %")),
            bytes(node.metrics.pointer("/memory/free")),
            core.instances
                .values()
                .filter(|i| i.place == here)
                .count()
                .to_string(),
        ]);
    }
    table.trim_fmt()
}

/// What is known of instances, as text.
pub(crate) fn instance_table(core: &Core) -> String {
    if core.instances.is_empty() {
        return "no instances; try: create examples/workloads/hello.json hello".to_owned();
    }
    let mut table = table(&[
        "INSTANCE",
        "NODE",
        "STATE",
        "REASON",
        "RESTARTS",
        "GENERATION",
        "WANTED",
    ]);
    for (id, instance) in &core.instances {
        let node = match &instance.place {
            Place::Nowhere => "(waits for a ready node)".to_owned(),
            Place::On(node) => node.clone(),
            Place::Forgotten(node) => format!("({node}, forgotten)"),
        };
        let restarts = instance.metrics.get("restarts").and_then(Value::as_u64);
        table.add_row([
            id.clone(),
            node,
            if instance.status.is_empty() {
                "-"
            } else {
                &instance.status
            }
            .to_owned(),
            instance.reason.clone(),
            restarts.map_or("-".to_owned(), |restarts| restarts.to_string()),
            instance.generation.to_string(),
            if instance.wanted { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table.trim_fmt()
}

/// An instance's status in one line.
fn instance_line(event: &Event) -> String {
    let Event::Instance {
        node,
        instance,
        status,
        reason,
        exit_code,
        seq,
        metrics,
        ..
    } = event
    else {
        return String::new();
    };
    let mut line = format!("<- {node} {instance} {status}");
    if !reason.is_empty() {
        line += &format!(" ({reason})");
    }
    if let Some(code) = exit_code {
        line += &format!(" exit code {code}");
    }
    if let Some(message) = metrics.get("message").and_then(Value::as_str) {
        line += &format!(": {message}");
    }
    line + &format!(" [seq {seq}]")
}

/// An event in one line.
pub(crate) fn event_line(event: &Event) -> String {
    match event {
        Event::Registered { node, version, .. } if version.is_empty() => {
            format!("{node} registered")
        }
        Event::Registered { node, version, .. } => format!("{node} registered, riklet {version}"),
        Event::NameTaken { node } => format!("{node} refused: the name is taken"),
        Event::Left { node } => format!("{node} left: its Register stream ended"),
        Event::Forgotten { node } => format!("{node} forgotten"),
        Event::Sent {
            node,
            instance,
            action,
            ..
        } => {
            let what = match action {
                0 => "CREATE".to_owned(),
                1 => "DESTROY".to_owned(),
                other => format!("action {other}"),
            };
            format!("-> {node} {what} {instance}")
        }
        Event::Node {
            node,
            status,
            metrics,
            ..
        } => format!(
            "<- {node} {status} cpu {:.0} % free, memory {} free",
            metrics
                .pointer("/cpu/free")
                .and_then(Value::as_f64)
                .unwrap_or_default(),
            bytes(metrics.pointer("/memory/free"))
        ),
        Event::Instance { .. } => instance_line(event),
        Event::StreamEnded {
            stream,
            count,
            acknowledged,
        } => {
            let how = if *acknowledged {
                "acknowledged"
            } else {
                "NOT acknowledged"
            };
            format!("stream {stream} of {count} {how}")
        }
        Event::DestroyedBack { instance } => {
            format!("{instance}: DESTROYING is answered by a DESTROY")
        }
        Event::PlacedAgain { instance } => format!("{instance}: PENDING, placed again"),
        Event::Violation { rule } => format!("VIOLATION: {rule}"),
    }
}

/// Text from a node, without what would move the cursor.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(160).collect()
}

impl Screen {
    pub(crate) fn new(title: String) -> Self {
        Self {
            title,
            events: VecDeque::new(),
            answer: String::new(),
            astray: true,
        }
    }

    pub(crate) fn event(&mut self, at: Timestamp, event: &Event) {
        if matches!(
            event,
            Event::StreamEnded {
                acknowledged: true,
                ..
            }
        ) {
            return;
        }
        if self.events.len() == SHOWN_EVENTS {
            self.events.pop_front();
        }
        let time = at.to_string();
        let clock = time.get(11..19).unwrap_or(&time);
        self.events
            .push_back(format!("{clock} {}", plain(&event_line(event))));
    }

    /// A command was typed, and this is its answer.
    pub(crate) fn answer(&mut self, text: &str) {
        text.clone_into(&mut self.answer);
        self.astray = true;
    }

    /// Draws everything but the prompt, which stays as it is.
    pub(crate) fn draw(&mut self, core: &Core) -> io::Result<()> {
        let mut body = String::new();
        if !self.answer.is_empty() {
            body += &format!("{}\n\n", self.answer);
        }
        body += &format!("{}\n\n{}\n\n", node_table(core), instance_table(core));
        body += &format!(
            "{} rules broken, {} destroys sent back, {} placed again\n\n",
            core.violations.len(),
            core.destroyed_back,
            core.placed_again
        );
        for event in &self.events {
            body += &format!("{event}\n");
        }
        // Erase to the end of each line, then what is left below.
        let body = body.replace('\n', "\x1b[K\r\n");
        let head = format!("\x1b[1m{}\x1b[0m (help, quit)\x1b[K", self.title);
        let mut out = io::stdout().lock();
        if self.astray {
            self.astray = false;
            write!(out, "\x1b[2;1H\x1b[K> \x1b7")?;
        } else {
            write!(out, "\x1b7")?;
        }
        write!(
            out,
            "\x1b[1;1H{head}\x1b[3;1H\x1b[K\x1b[4;1H{body}\x1b[J\x1b8"
        )?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Below everything, so that the shell's prompt overwrites nothing.
        println!("\x1b[999;1H");
    }
}
