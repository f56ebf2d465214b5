//! Errands that run a command inside.

use std::{fs, time::Duration};

use serde::Deserialize;

use super::{done, late, undone};
use crate::{
    model::ids::ContainerId,
    node::{ErrandEnd, Failure, FailureKind},
    runtime::{
        layout::container_cgroup,
        process::CallError,
        real_node::{ImageSource, RealNode},
        runc::{Refusal, own_error, refusal},
        runc_state::{self, RuncState},
        strays::{self, Of},
    },
};

/// How long a process may take to end by SIGKILL.
const KILL: Duration = Duration::from_secs(5);

/// Variables that are no secret, and shorter values than that aren't masked either: a probe that
/// says `1` would say nothing.
const PLAIN: [&str; 5] = ["PATH", "HOME", "HOSTNAME", "TERM", "LANG"];
const SHORTEST_SECRET: usize = 4;

impl<I: ImageSource> RealNode<I> {
    /// Runs `command` inside. It runs to its end or its limit also when this future is dropped:
    /// nobody else would end what it has started.
    pub(super) async fn exec_errand(
        &self,
        id: &ContainerId,
        command: &[String],
        limit: Duration,
    ) -> Result<ErrandEnd, Failure> {
        let tried = format!("run a command in {id}");
        let (this, of, command) = (self.clone(), id.clone(), command.to_vec());
        let running = tokio::spawn(async move { this.run_inside(&of, &command, limit).await });
        running
            .await
            .unwrap_or_else(|e| Err(Failure::new(FailureKind::Transient, tried, e)))
    }

    async fn run_inside(
        &self,
        id: &ContainerId,
        command: &[String],
        limit: Duration,
    ) -> Result<ErrandEnd, Failure> {
        let tried = format!("run a command in {id}");
        let said = self.0.runc.exec(id, command, limit).await;
        if said.is_err() {
            self.end_strays(id, Of::This(own_pid())).await;
        }
        let masked = |stdout: &[u8], stderr: &[u8]| self.masked(id, &text(stdout, stderr));
        match said {
            Ok(said) => Ok(done(masked(&said.stdout, &said.stderr))),
            Err(CallError::Deadline { .. }) => Ok(late(limit)),
            Err(CallError::Exit {
                code,
                stdout,
                stderr,
                ..
            }) => {
                let own = own_error(&String::from_utf8_lossy(&stderr));
                let gone = |own: &String| {
                    let gone = [Refusal::NotFound, Refusal::Stopped];
                    gone.contains(&refusal(own))
                };
                if let Some(own) = own.as_ref().filter(|own| gone(own)) {
                    let cause = own.clone();
                    return Err(Failure::new(FailureKind::Transient, tried, cause));
                }
                let words =
                    own.map_or_else(|| masked(&stdout, &stderr), |own| self.masked(id, &own));
                let how = code.map_or("ended by a signal".to_owned(), |c| format!("exit code {c}"));
                Ok(undone(match words.as_str() {
                    "" => how,
                    words => format!("{how}: {words}"),
                }))
            }
            Err(error @ CallError::Missing { .. }) => {
                Err(Failure::new(FailureKind::ProgramMissing, tried, error))
            }
            Err(error) => Err(Failure::new(FailureKind::Transient, tried, error)),
        }
    }

    /// The text without the values of the container's environment.
    fn masked(&self, id: &ContainerId, text: &str) -> String {
        let bundle = self.layout().bundle(id);
        let mut values =
            fs::read(bundle.join("config.json")).map_or_else(|_| Vec::new(), |c| secrets(&c));
        // The longest first, for one may be a part of another.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        let mask = |text: String, value: &String| text.replace(value.as_str(), "***");
        values.iter().fold(text.to_owned(), mask)
    }

    /// Ends what an exec has left in a container.
    pub(in crate::runtime::real_node) async fn end_strays(&self, id: &ContainerId, of: Of) {
        let state = runc_state::read(&self.layout().runc_dir(id));
        if let Ok(RuncState::Known {
            process,
            alive: true,
            ..
        }) = state
        {
            let rel = container_cgroup(id);
            let ended = strays::end(self.cgroups(), &rel, process.pid, of, KILL).await;
            if ended > 0 {
                tracing::debug!(container = %id, ended, "processes that an exec had left were ended");
            }
        }
    }

    /// Ends what a former daemon's execs have left in any container; to be called while no exec
    /// of this daemon is under way.
    pub async fn end_strays_of_all(&self) {
        let entries = fs::read_dir(self.layout().runc_root())
            .into_iter()
            .flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        for id in names.filter_map(|name| name.parse::<ContainerId>().ok()) {
            self.end_strays(&id, Of::Anybody).await;
        }
    }
}

/// Ours, as procfs has it.
fn own_pid() -> i32 {
    std::process::id().cast_signed()
}

/// What a command wrote, in one line's worth of words.
fn text(stdout: &[u8], stderr: &[u8]) -> String {
    let both = [stdout, stderr].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    let both = both.join("\n");
    let clean = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    both.trim().chars().map(clean).collect()
}

/// The values of a config.json's environment that may be secrets.
fn secrets(config: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Config {
        process: Process,
    }
    #[derive(Deserialize)]
    struct Process {
        #[serde(default)]
        env: Vec<String>,
    }
    let Ok(config) = serde_json::from_slice::<Config>(config) else {
        return Vec::new();
    };
    let pairs = config
        .process
        .env
        .iter()
        .filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(name, value)| !PLAIN.contains(name) && value.len() >= SHORTEST_SECRET)
        .map(|(_, value)| value.to_owned())
        .collect()
}
