//! Settings: defaults, then the file, then `RIKLET_*`, then flags.
//!
//! Owns: every setting's name, default and form, and where its value came from. In: a TOML text,
//! an environment, flags. Out: a [`Config`] of which every value was checked. Must never happen
//! here: a setting that is silently ignored; an unknown key is an error that names it.

mod parts;
mod security;
mod settings;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

pub use parts::{
    Admission, Deadlines, Evictions, Images, Journal, Logs, Network, Programs, Restore, Tls,
};
pub use security::{Allowed, Security};
use serde::{Deserialize, Serialize};
pub use settings::{Kind, SETTINGS, Setting};
use toml::{Table, Value};

/// The file that is read where none is named.
pub const DEFAULT_FILE: &str = "/etc/riklet/riklet.toml";

/// Durations are written as `30s`, `10m`, `1h 30m`.
mod text {
    pub(super) use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
}

/// Every setting of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What the scheduler knows this node by; the hostname where it isn't set.
    pub node_name: String,
    /// The scheduler's address, `http://host:4995` or `https://…`; none with `standalone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    /// Run without a scheduler: manifests and the command line only.
    pub standalone: bool,
    /// The address that the scheduler is told, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_address: Option<String>,
    /// What must survive a reboot.
    pub state_dir: PathBuf,
    /// What must not; on a tmpfs.
    pub run_dir: PathBuf,
    /// Definitions that run because their file is there.
    pub manifests_dir: PathBuf,
    /// The local API; `<run_dir>/riklet.sock` where it isn't set.
    pub socket: PathBuf,
    /// Where `/healthz`, `/readyz` and `/metrics` are served; none = nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<SocketAddr>,
    /// How often everything is looked at although nothing said it had changed.
    #[serde(with = "text::duration")]
    pub resync: Duration,
    /// Start although the mount namespace is private, so that a later daemon will not see the
    /// mounts of this one.
    pub allow_private_mounts: bool,
    /// The programs that are run.
    pub programs: Programs,
    /// How long a program may take.
    pub deadlines: Deadlines,
    /// What happens between a start and the first word of the scheduler.
    pub restore: Restore,
    /// How much of the journal is kept.
    pub journal: Journal,
    /// How much of what containers write is kept.
    pub logs: Logs,
    /// Where images come from.
    pub images: Images,
    /// What instances are connected by.
    pub network: Network,
    /// What of the node is kept from instances.
    pub admission: Admission,
    /// When instances are ended for what they take of the node.
    pub evictions: Evictions,
    /// What each source may ask for.
    pub security: Security,
    /// Keys for `https://`.
    pub tls: Tls,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            scheduler: None,
            standalone: false,
            host_address: None,
            state_dir: "/var/lib/riklet".into(),
            run_dir: "/run/riklet".into(),
            manifests_dir: "/etc/riklet/manifests".into(),
            socket: PathBuf::new(),
            http: None,
            resync: Duration::from_secs(10),
            allow_private_mounts: false,
            programs: Programs::default(),
            deadlines: Deadlines::default(),
            restore: Restore::default(),
            journal: Journal::default(),
            logs: Logs::default(),
            images: Images::default(),
            network: Network::default(),
            admission: Admission::default(),
            evictions: Evictions::default(),
            security: Security::default(),
            tls: Tls::default(),
        }
    }
}

/// Why settings can't be used. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read the settings in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file isn't TOML.
    #[error("{} is not TOML: line {line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// Settings that are unknown, or not of their form: every one of them.
    #[error("{}", .0.join("; "))]
    Settings(Vec<String>),
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The file.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// What settings are made of, lowest first.
#[derive(Debug, Default)]
pub struct Layers {
    /// The file that was named; else [`DEFAULT_FILE`], if it is there.
    pub file: Option<PathBuf>,
    /// The environment; only `RIKLET_*` is looked at.
    pub env: Vec<(OsString, OsString)>,
    /// Settings by their key, as text, from flags.
    pub flags: Vec<(&'static str, String)>,
}

/// Settings with where each came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// By key; keys that aren't here have their default.
    pub origins: BTreeMap<&'static str, Origin>,
}

/// Puts the layers together and checks every value.
///
/// # Errors
/// The file can't be read or isn't TOML; or every setting that is unknown or wrong, at once.
pub fn load(layers: &Layers) -> Result<Loaded, ConfigError> {
    let mut faults = Vec::new();
    let mut merged = Table::new();
    let mut origins = BTreeMap::new();
    if let Some((path, table)) = read_file(layers.file.as_deref())? {
        for (setting, value) in settings::of_table(&table, &path, &mut faults) {
            origins.insert(setting.key, Origin::File(path.clone()));
            settings::put(&mut merged, setting.key, value);
        }
    }
    for (name, setting, value) in settings::of_env(&layers.env, &mut faults) {
        origins.insert(setting.key, Origin::Variable(name));
        settings::put(&mut merged, setting.key, value);
    }
    for (key, text) in &layers.flags {
        let flag = format!("--{}", key.replace(['_', '.'], "-"));
        if let Some((setting, value)) = settings::of_flag(key, text, &flag, &mut faults) {
            origins.insert(setting.key, Origin::Flag(flag));
            settings::put(&mut merged, setting.key, value);
        }
    }
    // A flag or variable of one way to run takes the place of a lower layer's other way.
    settle_ways(&mut merged, &mut origins);
    let config = Value::Table(merged).try_into::<Config>();
    match config {
        Ok(config) if faults.is_empty() => {
            let config = finished(config, &mut faults);
            if faults.is_empty() {
                return Ok(Loaded { config, origins });
            }
        }
        Ok(_) => {}
        Err(e) if faults.is_empty() => faults.push(e.message().to_owned()),
        Err(_) => {}
    }
    Err(ConfigError::Settings(faults))
}

fn settle_ways(merged: &mut Table, origins: &mut BTreeMap<&'static str, Origin>) {
    let standalone = merged.get("standalone").and_then(Value::as_bool) == Some(true);
    if !standalone || !merged.contains_key("scheduler") {
        return;
    }
    let rank = |key| origins.get(key).map(std::mem::discriminant);
    let lower = match (origins.get("standalone"), origins.get("scheduler")) {
        _ if rank("standalone") == rank("scheduler") => return,
        (a, b) if a < b => "standalone",
        _ => "scheduler",
    };
    merged.remove(lower);
    origins.remove(lower);
}

fn read_file(named: Option<&Path>) -> Result<Option<(PathBuf, Table)>, ConfigError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE)).to_owned();
    let text = match fs::read_to_string(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound && named.is_none() => return Ok(None),
        Err(source) => return Err(ConfigError::Read { path, source }),
        Ok(text) => text,
    };
    match text.parse::<Table>() {
        Ok(table) => Ok(Some((path, table))),
        Err(e) => {
            let start = e.span().map_or(0, |span| span.start).min(text.len());
            Err(ConfigError::Syntax {
                path,
                line: 1 + text.as_bytes()[..start]
                    .iter()
                    .filter(|b| **b == b'\n')
                    .count(),
                message: e.message().replace('\n', ", "),
            })
        }
    }
}

/// Fills what hangs on other settings and checks what no single setting shows.
fn finished(mut config: Config, faults: &mut Vec<String>) -> Config {
    if config.node_name.is_empty() {
        config.node_name = nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok())
            .unwrap_or_default();
    }
    let name = &config.node_name;
    if name.is_empty() || name.len() > 253 || !name.chars().all(|c| c.is_ascii_graphic()) {
        faults.push(
            "node_name must have 1 to 253 printable ASCII characters without spaces: set it by \
             --node-name"
                .to_owned(),
        );
    }
    make_absolute(&mut config, faults);
    if config.socket.as_os_str().is_empty() {
        config.socket = config.run_dir.join("riklet.sock");
    }
    if config.standalone && config.scheduler.is_some() {
        faults.push("scheduler and standalone are both set: remove one".to_owned());
    }
    let secure = config
        .scheduler
        .as_deref()
        .is_some_and(|url| url.starts_with("https://"));
    let tls = &config.tls;
    if tls.cert.is_some() != tls.key.is_some() {
        faults.push("tls.cert and tls.key go together: set both or none".to_owned());
    }
    if *tls != Tls::default() && config.scheduler.is_some() && !secure {
        faults.push("tls is set but scheduler is not an https:// address".to_owned());
    }
    if !(64 * 1024..=4 * 1024 * 1024).contains(&config.journal.segment) {
        faults.push("journal.segment must be between 64KiB and 4MiB".to_owned());
    }
    if config.logs.max_size < 64 * 1024 {
        faults.push("logs.max_size must be at least 64KiB".to_owned());
    }
    if config.logs.max_files < 2 {
        faults.push("logs.max_files must be at least 2".to_owned());
    }
    let images = &config.images;
    if images.gc_high_percent > 100 || images.gc_low_percent > images.gc_high_percent {
        faults.push(
            "images.gc_low_percent must not be above images.gc_high_percent, nor that above 100"
                .to_owned(),
        );
    }
    for allowed in [
        &config.security.scheduler,
        &config.security.manifest,
        &config.security.cli,
    ] {
        let relative = |path: &&String| !path.starts_with('/') || path.contains("/..");
        if let Some(path) = allowed.host_paths.iter().find(relative) {
            faults.push(format!(
                "security.*.host_paths: {path:?} must be an absolute path without \"..\""
            ));
        }
    }
    if config.state_dir == config.run_dir {
        faults.push("state_dir and run_dir must not be the same directory".to_owned());
    }
    config
}

/// The programs that riklet runs lie in other directories than it does, so a path that they are
/// told by has to be whole. (A program's bare name is looked up in PATH.)
fn make_absolute(config: &mut Config, faults: &mut Vec<String>) {
    let programs = &mut config.programs;
    let paths = [
        &mut config.state_dir,
        &mut config.run_dir,
        &mut config.manifests_dir,
    ];
    let programs = [
        &mut programs.runc,
        &mut programs.conmon,
        &mut programs.skopeo,
        &mut programs.umoci,
    ];
    let programs = programs
        .into_iter()
        .filter(|path| path.components().count() > 1);
    let images = &mut config.images;
    let images = [
        &mut images.policy,
        &mut images.registries_conf,
        &mut images.authfile,
        &mut images.certs_dir,
    ];
    let images = images.into_iter().flatten();
    for path in paths.into_iter().chain(programs).chain(images) {
        match std::path::absolute(&path) {
            Ok(whole) => *path = whole,
            Err(e) => faults.push(format!(
                "{} can't be made an absolute path: {e}",
                path.display()
            )),
        }
    }
}

#[cfg(test)]
mod tests;
