//! What can be typed.

use std::{fs, path::PathBuf, str::FromStr};

use riklet::testing::scheduler::{Core, Scheduler};
use serde_json::Value;

use crate::screen::{instance_table, node_table};

/// What `help` and `--help` say.
pub(crate) const HELP: &str = "\
Commands on stdin:
  create FILE [ID]   place an instance of the definition (ID: by default its name)
  destroy ID         take it away
  nodes              what is known of nodes
  ps                 what is known of instances
  help               this
  quit               end; nodes keep what they run";

/// One line of stdin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Create { file: PathBuf, id: Option<String> },
    Destroy { id: String },
    Nodes,
    Ps,
    Help,
    Quit,
    Nothing,
}

impl FromStr for Command {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        Ok(match words[..] {
            [] => Self::Nothing,
            ["create", file] => Self::Create {
                file: file.into(),
                id: None,
            },
            ["create", file, id] => Self::Create {
                file: file.into(),
                id: Some(id.to_owned()),
            },
            ["destroy", id] => Self::Destroy { id: id.to_owned() },
            ["nodes"] => Self::Nodes,
            ["ps"] => Self::Ps,
            ["help" | "?"] => Self::Help,
            ["quit" | "exit"] => Self::Quit,
            ["create", ..] => return Err("create FILE [ID]".to_owned()),
            ["destroy", ..] => return Err("destroy ID".to_owned()),
            [word, ..] => return Err(format!("no command {word:?}; try help")),
        })
    }
}

/// The definition's name, with a number where that is taken.
fn free_id(core: &Core, definition: &str) -> Option<String> {
    let value: Value = serde_json::from_str(definition).ok()?;
    let name = value
        .get("name")
        .or_else(|| value.pointer("/metadata/name"))?
        .as_str()?;
    let numbered = (1..).map(|n| format!("{name}-{n}"));
    std::iter::once(name.to_owned())
        .chain(numbered)
        .find(|id| !core.instances.contains_key(id))
}

fn create(scheduler: &Scheduler, file: &PathBuf, id: Option<String>) -> Result<String, String> {
    let definition = fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let id = match id {
        Some(id) => id,
        None => scheduler
            .look(|core| free_id(core, &definition))
            .ok_or("the definition has no name; write create FILE ID")?,
    };
    scheduler.create(&id, &definition)?;
    Ok(format!("{id}: wanted"))
}

impl Command {
    /// Does it; the answer for the one who typed it.
    pub(crate) fn run(self, scheduler: &Scheduler) -> String {
        match self {
            Self::Create { file, id } => create(scheduler, &file, id)
                .unwrap_or_else(|reason| format!("not created: {reason}")),
            Self::Destroy { id } => match scheduler.destroy(&id) {
                Ok(()) => format!("{id}: not wanted any more"),
                Err(reason) => format!("not destroyed: {reason}"),
            },
            Self::Nodes => scheduler.look(node_table),
            Self::Ps => scheduler.look(instance_table),
            Self::Help => HELP.to_owned(),
            Self::Quit | Self::Nothing => String::new(),
        }
    }
}
