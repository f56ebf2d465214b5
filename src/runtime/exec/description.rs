//! The description of a command that gets a terminal, as runc takes it (`exec --process`).
//!
//! By `exec --tty` runc sets the terminal's size after it has started the command, and one that
//! asks at once is told 0 x 0 (runc 1.1.5: 1 of 5 on a busy machine). A size in the description
//! is set before the command's first instruction. All else is the container's own process, which
//! is what runc itself goes by.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use nix::sys::memfd::{MFdFlags, memfd_create};
use oci_spec::runtime::{BoxBuilder, Process, Spec};

use super::Terminal;

/// A description in memory: it may hold secrets of the container's environment, and nothing of it
/// is left when this is dropped.
#[derive(Debug)]
pub(super) struct Description(File);

impl Description {
    /// Of `command` in the container whose configuration lies at `config`. Blocks on its file.
    ///
    /// # Errors
    /// The configuration can't be read.
    pub(super) fn new(config: &Path, terminal: &Terminal, command: &[String]) -> io::Result<Self> {
        let spec = Spec::load(config).map_err(io::Error::other)?;
        let process = spec.process().clone().unwrap_or_default();
        let text = serde_json::to_vec(&of(process, terminal, command))?;
        let name = c"riklet-process";
        let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
        file.write_all(&text)?;
        Ok(Self(file))
    }

    /// Where a child of ours finds it, for as long as this is kept.
    pub(super) fn path(&self) -> PathBuf {
        let (pid, fd) = (std::process::id(), self.0.as_raw_fd());
        format!("/proc/{pid}/fd/{fd}").into()
    }
}

fn of(mut process: Process, terminal: &Terminal, command: &[String]) -> Process {
    let mut env = process.env().clone().unwrap_or_default();
    env.retain(|variable| !variable.starts_with("TERM="));
    env.push(format!("TERM={}", terminal.term));
    let extent = terminal.size.and_then(|size| {
        let extent = BoxBuilder::default().height(size.rows).width(size.columns);
        // It fails for what wasn't said, and both were.
        extent.build().ok()
    });
    process
        .set_terminal(Some(true))
        .set_console_size(extent)
        .set_args(Some(command.to_vec()))
        .set_env(Some(env));
    process
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::exec::Size;

    #[test]
    fn a_command_differs_from_its_container_by_arguments_and_terminal_only() {
        let mut container = Process::default();
        container.set_env(Some(vec!["A=1".to_owned(), "TERM=dumb".to_owned()]));
        container.set_args(Some(vec!["serve".to_owned()]));
        let mut terminal = Terminal {
            term: "xterm".to_owned(),
            size: Some(Size {
                rows: 41,
                columns: 101,
            }),
        };
        let command = ["sh".to_owned()];
        let mut made = of(container.clone(), &terminal, &command);
        let extent = made.console_size().unwrap();
        assert_eq!((extent.height(), extent.width()), (41, 101));
        assert_eq!(made.terminal(), Some(true));
        assert_eq!(made.args().as_deref(), Some(&command[..]));
        let env = ["A=1".to_owned(), "TERM=xterm".to_owned()];
        assert_eq!(made.env().as_deref(), Some(&env[..]));
        made.set_terminal(container.terminal())
            .set_console_size(None)
            .set_args(container.args().clone())
            .set_env(container.env().clone());
        assert_eq!(made, container);
        terminal.size = None;
        assert_eq!(of(container, &terminal, &command).console_size(), None);
    }
}
