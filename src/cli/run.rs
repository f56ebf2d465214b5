//! `riklet run`

use std::{io::IsTerminal as _, net::SocketAddr, path::PathBuf, time::Duration};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use super::{CliError, node};
use crate::{
    agent,
    config::{self, Config},
    error_chain::one_line,
};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Settings are taken from the defaults, then riklet.toml, then RIKLET_*, \
then these flags; see
`riklet config print`. SIGTERM stops riklet and leaves containers running: the next `run` takes \
them over.

Examples:
  riklet run --scheduler http://scheduler:4995
  riklet run --standalone --state-dir state --run-dir run --manifests-dir examples/workloads"
)]
pub(super) struct Args {
    /// The settings file [default: /etc/riklet/riklet.toml] [env: RIKLET_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What the scheduler knows this node by [default: the hostname]
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// The scheduler's address
    #[arg(long, value_name = "URL", conflicts_with = "standalone")]
    scheduler: Option<String>,
    /// Run without a scheduler: manifests and the command line only
    #[arg(long)]
    standalone: bool,
    /// What must survive a reboot [default: /var/lib/riklet]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// What must not; on a tmpfs [default: /run/riklet]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Definitions that run because their file is there [default: /etc/riklet/manifests]
    #[arg(long, value_name = "DIR")]
    manifests_dir: Option<PathBuf>,
    /// The local API [default: RUN_DIR/riklet.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Where /healthz, /readyz and /metrics are served [default: nowhere]
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Start also in a private mount namespace
    #[arg(long)]
    allow_private_mounts: bool,
    #[command(flatten)]
    pub(super) log: LogFlags,
}

/// What is logged, and how.
#[derive(Debug, Default, clap::Args)]
pub(super) struct LogFlags {
    /// What is logged to stderr: a level, or a filter as RUST_LOG has it [default: info]
    #[arg(
        long,
        value_name = "FILTER",
        env = "RIKLET_LOG_LEVEL",
        hide_env_values = true
    )]
    #[arg(help_heading = "Logging")]
    log_level: Option<String>,
    /// How
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        env = "RIKLET_LOG_FORMAT",
        default_value_t
    )]
    #[arg(help_heading = "Logging", hide_env_values = true)]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

impl LogFlags {
    /// Logs from now on: by the flag, else by RUST_LOG, else what is worth knowing.
    pub(super) fn init(&self) {
        let filter = match &self.log_level {
            Some(level) => EnvFilter::new(level),
            // notify says at info that a watch went with what it watched: nothing to know.
            None => EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| EnvFilter::new("info,notify=warn")),
        };
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr);
        // Refused only where a subscriber is set already; then that one logs.
        let _ = match self.log_format {
            LogFormat::Text => log.with_target(false).try_init(),
            LogFormat::Json => log.json().try_init(),
        };
    }
}

/// Threads that run futures. An agent waits for the kernel; more would only cost memory.
const WORKERS: usize = 2;

/// The most threads for work that blocks: looks at files, forks, network namespaces. As many as
/// a burst of starts keeps busy with some to spare, so that a few that hang on a dead mount hold
/// up nobody; without a bound 50 starts at once leave 80 stacks behind.
const BLOCKING: usize = 32;

/// How long such a thread waits for more work: a burst's threads, and the memory of their stacks,
/// are gone a moment after it. Making one anew costs some 20 µs.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

impl Args {
    fn flags(&self) -> Vec<(&'static str, String)> {
        let path = |p: &Option<PathBuf>| p.as_ref().map(|p| p.to_string_lossy().into_owned());
        let on = |flag: bool| flag.then(|| "true".to_owned());
        [
            ("node_name", self.node_name.clone()),
            ("scheduler", self.scheduler.clone()),
            ("standalone", on(self.standalone)),
            ("state_dir", path(&self.state_dir)),
            ("run_dir", path(&self.run_dir)),
            ("manifests_dir", path(&self.manifests_dir)),
            ("socket", path(&self.socket)),
            ("http", self.http.map(|a| a.to_string())),
            ("allow_private_mounts", on(self.allow_private_mounts)),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
    }

    fn settings(&self) -> Result<Config, CliError> {
        let mut layers = node::layers(self.config.clone());
        layers.flags = self.flags();
        let loaded = config::load(&layers).map_err(|e| CliError::usage(one_line(&e)))?;
        if loaded.config.scheduler.is_none() && !loaded.config.standalone {
            return Err(CliError::usage(
                "no scheduler is set: give --scheduler URL, or --standalone to run without one",
            ));
        }
        Ok(loaded.config)
    }
}

/// `EX_CONFIG` of sysexits.h: the journal was written by a newer riklet. systemd's
/// `RestartPreventExitStatus` can name it.
const NEWER_FORMAT: u8 = 78;

pub(super) fn execute(args: &Args) -> Result<(), CliError> {
    let config = args.settings()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .thread_keep_alive(KEEP_ALIVE)
        .thread_name("riklet")
        .build()
        .map_err(|e| CliError::says(format!("cannot start a runtime: {e}")))?;
    let ended = runtime.block_on(agent::run(config));
    // Nothing that still blocks may keep the process: all that counts is durable.
    runtime.shutdown_timeout(Duration::from_secs(2));
    ended.map_err(|e| {
        let code = if e.is_newer_format() { NEWER_FORMAT } else { 1 };
        CliError::with_code(&e, code)
    })
}
