//! How help looks: commands in groups, by what one wants to do.

use std::fmt::Write as _;

use clap::{
    CommandFactory as _,
    builder::styling::{AnsiColor, Effects, Style, Styles},
};

use super::Cli;

const HEADING: Style = AnsiColor::Green.on_default().effects(Effects::BOLD);
const LITERAL: Style = AnsiColor::Cyan.on_default().effects(Effects::BOLD);

/// The colours of every help text; none where the output is no terminal.
pub(super) const STYLES: Styles = Styles::styled()
    .header(HEADING)
    .usage(HEADING)
    .literal(LITERAL)
    .placeholder(AnsiColor::Cyan.on_default());

/// Commands by what one wants to do; `help` lists itself.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "Node",
        &["run", "status", "images", "drain", "uncordon", "doctor"],
    ),
    (
        "Instances",
        &["ps", "describe", "apply", "delete", "logs", "exec"],
    ),
    ("Why", &["plan", "explain", "events", "leaks", "state"]),
    ("Other", &["config", "completion", "help"]),
];

const EXAMPLES: &str = "  riklet run --scheduler http://scheduler:4995   be a node of a cluster
  riklet run --standalone                        be a node of one's own
  riklet apply -f web.json                       run a definition
  riklet ps                                      see what runs
  riklet explain web                             see why it is as it is";

/// The whole command, with its help grouped.
pub(super) fn command() -> clap::Command {
    let command = Cli::command();
    let mut groups = String::new();
    for (group, names) in GROUPS {
        let _ = writeln!(groups, "{HEADING}{group}:{HEADING:#}");
        for name in *names {
            let about = match *name {
                "help" => "Print help of a command".to_owned(),
                name => command
                    .find_subcommand(name)
                    .and_then(clap::Command::get_about)
                    .map_or_else(String::new, ToString::to_string),
            };
            if !about.is_empty() {
                let _ = writeln!(groups, "  {LITERAL}{name:<12}{LITERAL:#}{about}");
            }
        }
        groups.push('\n');
    }
    let examples = format!("{HEADING}Examples:{HEADING:#}\n{EXAMPLES}");
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}\
         {HEADING}Options:{HEADING:#}\n{{options}}\n\n{examples}\n"
    );
    command.help_template(template)
}
