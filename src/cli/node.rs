//! Where the node of a client command is: flags, `RIKLET_*` and the settings file, as for `run`.

use std::{
    future::Future,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{CliError, output::warn};
use crate::{
    api::{Client, ClientError},
    config::{self, Config, Layers},
};

/// Which node is meant.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct NodeFlags {
    /// The node's state directory [env: RIKLET_STATE_DIR]
    #[arg(long, value_name = "DIR", help_heading = "Node")]
    state_dir: Option<PathBuf>,
    /// The daemon's socket [env: RIKLET_SOCKET]
    #[arg(long, value_name = "PATH", help_heading = "Node")]
    socket: Option<PathBuf>,
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The environment and the file that `RIKLET_CONFIG` names.
pub(super) fn layers(file: Option<PathBuf>) -> Layers {
    let env: Vec<_> = std::env::vars_os().collect();
    let named = || std::env::var_os("RIKLET_CONFIG").map(PathBuf::from);
    Layers {
        file: file.or_else(named),
        env,
        flags: Vec::new(),
    }
}

impl NodeFlags {
    /// The node's settings. A client works also where they are broken: with the flags and the
    /// defaults, and a warning.
    pub(super) fn config(&self) -> Config {
        let mut layers = layers(None);
        let flags = [("state_dir", &self.state_dir), ("socket", &self.socket)];
        layers.flags.extend(
            flags
                .iter()
                .filter_map(|(key, path)| Some((*key, text(path.as_deref()?)))),
        );
        match config::load(&layers) {
            Ok(loaded) => loaded.config,
            Err(error) => {
                let error = crate::error_chain::one_line(&error);
                warn(&format!("the settings are not used: {error}"));
                let mut config = Config::default();
                config.socket = config.run_dir.join("riklet.sock");
                if let Some(dir) = &self.state_dir {
                    config.state_dir.clone_from(dir);
                }
                if let Some(socket) = &self.socket {
                    config.socket.clone_from(socket);
                }
                config
            }
        }
    }

    /// Asks the daemon.
    pub(super) fn ask<T, F>(&self, question: impl FnOnce(Client) -> F) -> Result<T, CliError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        self.answered(question)?.map_err(CliError::from)
    }

    /// Asks the daemon, for a command that can also do without.
    pub(super) fn answered<T, F>(
        &self,
        question: impl FnOnce(Client) -> F,
    ) -> Result<Result<T, ClientError>, CliError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let socket = self.config().socket;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| CliError::says(format!("cannot start a runtime: {e}")))?;
        Ok(runtime.block_on(async {
            let client = Client::connect(&socket).await?;
            question(client).await
        }))
    }
}
