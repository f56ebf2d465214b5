//! The table of settings: each one's key and form, and reading values of that form.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use jiff::SignedDuration;
use toml::{Table, Value};

/// The form of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// The path of a file or directory.
    Path,
    /// `http://` or `https://`, a host, maybe a port.
    Url,
    /// An IP address and a port.
    Address,
    /// true or false.
    Flag,
    /// `30s`, `10m`; more than nothing.
    Duration,
    /// `64KiB`, `4MiB`, `1GiB`, or a number of bytes; kept as that number.
    Size,
    /// An IPv4 subnet of 8 addresses or more, `10.88.7.0/24`.
    Subnet,
    /// A whole number, from zero on.
    Number,
    /// Several texts; separated by commas where they come from a variable.
    Texts,
}

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its key, with the table's: `images.policy`.
    pub key: &'static str,
    /// The form of its value.
    pub kind: Kind,
}

const fn setting(key: &'static str, kind: Kind) -> Setting {
    Setting { key, kind }
}

/// Every setting there is, in the order in which they are printed.
pub const SETTINGS: &[Setting] = &[
    setting("node_name", Kind::Text),
    setting("scheduler", Kind::Url),
    setting("standalone", Kind::Flag),
    setting("host_address", Kind::Text),
    setting("state_dir", Kind::Path),
    setting("run_dir", Kind::Path),
    setting("manifests_dir", Kind::Path),
    setting("socket", Kind::Path),
    setting("http", Kind::Address),
    setting("resync", Kind::Duration),
    setting("allow_private_mounts", Kind::Flag),
    setting("programs.runc", Kind::Path),
    setting("programs.conmon", Kind::Path),
    setting("programs.skopeo", Kind::Path),
    setting("programs.umoci", Kind::Path),
    setting("deadlines.runtime", Kind::Duration),
    setting("deadlines.pull", Kind::Duration),
    setting("deadlines.stall", Kind::Duration),
    setting("restore.wait_for_scheduler", Kind::Duration),
    setting("journal.segment", Kind::Size),
    setting("journal.history_age", Kind::Duration),
    setting("journal.history_size", Kind::Size),
    setting("journal.history_always", Kind::Size),
    setting("logs.max_size", Kind::Size),
    setting("logs.max_files", Kind::Number),
    setting("images.policy", Kind::Path),
    setting("images.registries_conf", Kind::Path),
    setting("images.authfile", Kind::Path),
    setting("images.certs_dir", Kind::Path),
    setting("images.insecure_registries", Kind::Texts),
    setting("images.scheduler_transports", Kind::Texts),
    setting("images.local_transports", Kind::Texts),
    setting("images.gc_interval", Kind::Duration),
    setting("images.gc_high_percent", Kind::Number),
    setting("images.gc_low_percent", Kind::Number),
    setting("images.gc_min_age", Kind::Duration),
    setting("network.enabled", Kind::Flag),
    setting("network.conf_dir", Kind::Path),
    setting("network.bin_dirs", Kind::Texts),
    setting("network.subnet", Kind::Subnet),
    setting("admission.reserved_memory", Kind::Size),
    setting("admission.reserved_cpu_milli", Kind::Number),
    setting("evictions.look_every", Kind::Duration),
    setting("security.scheduler.privileged", Kind::Flag),
    setting("security.scheduler.host_network", Kind::Flag),
    setting("security.scheduler.host_pid", Kind::Flag),
    setting("security.scheduler.host_ipc", Kind::Flag),
    setting("security.scheduler.host_paths", Kind::Texts),
    setting("security.scheduler.capabilities", Kind::Texts),
    setting("security.scheduler.sysctls", Kind::Texts),
    setting("security.scheduler.unconfined_seccomp", Kind::Flag),
    setting("security.scheduler.unmasked_proc", Kind::Flag),
    setting("security.scheduler.privilege_escalation", Kind::Flag),
    setting("security.manifest.privileged", Kind::Flag),
    setting("security.manifest.host_network", Kind::Flag),
    setting("security.manifest.host_pid", Kind::Flag),
    setting("security.manifest.host_ipc", Kind::Flag),
    setting("security.manifest.host_paths", Kind::Texts),
    setting("security.manifest.capabilities", Kind::Texts),
    setting("security.manifest.sysctls", Kind::Texts),
    setting("security.manifest.unconfined_seccomp", Kind::Flag),
    setting("security.manifest.unmasked_proc", Kind::Flag),
    setting("security.manifest.privilege_escalation", Kind::Flag),
    setting("security.cli.privileged", Kind::Flag),
    setting("security.cli.host_network", Kind::Flag),
    setting("security.cli.host_pid", Kind::Flag),
    setting("security.cli.host_ipc", Kind::Flag),
    setting("security.cli.host_paths", Kind::Texts),
    setting("security.cli.capabilities", Kind::Texts),
    setting("security.cli.sysctls", Kind::Texts),
    setting("security.cli.unconfined_seccomp", Kind::Flag),
    setting("security.cli.unmasked_proc", Kind::Flag),
    setting("security.cli.privilege_escalation", Kind::Flag),
    setting("tls.ca", Kind::Path),
    setting("tls.cert", Kind::Path),
    setting("tls.key", Kind::Path),
];

/// Variables that are no settings: which file is read, and how the command line logs.
const OTHER_VARIABLES: &[&str] = &["RIKLET_CONFIG", "RIKLET_LOG_LEVEL", "RIKLET_LOG_FORMAT"];

impl Setting {
    /// The variable that sets it: `RIKLET_IMAGES__POLICY`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("RIKLET_{}", self.key.replace('.', "__").to_uppercase())
    }
}

fn known(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|s| s.key == key)
}

/// The known key that was probably meant.
fn nearest(key: &str) -> String {
    let closest = SETTINGS
        .iter()
        .map(|s| (distance(key, s.key), s.key))
        .min()
        .filter(|(far, _)| *far <= 1 + key.rsplit('.').next().map_or(0, str::len) / 4);
    closest.map_or_else(String::new, |(_, near)| format!(" (did you mean {near}?)"))
}

/// How many characters have to be changed, added or removed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Puts a value at its key, making the table of it.
pub(super) fn put(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((outer, inner)) => {
            let entry = table
                .entry(outer)
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(table) = entry {
                put(table, inner, value);
            }
        }
    }
}

/// The settings of a file.
pub(super) fn of_table(
    table: &Table,
    path: &Path,
    faults: &mut Vec<String>,
) -> Vec<(&'static Setting, Value)> {
    let mut found = Vec::new();
    for (key, value) in table {
        below(key, value, path, faults, &mut found);
    }
    found
}

/// The settings at a key: of a table of settings, those in it.
fn below(
    key: &str,
    value: &Value,
    path: &Path,
    faults: &mut Vec<String>,
    found: &mut Vec<(&'static Setting, Value)>,
) {
    match value {
        Value::Table(inner) if SETTINGS.iter().any(|s| is_in(s.key, key)) => {
            for (name, value) in inner {
                below(&format!("{key}.{name}"), value, path, faults, found);
            }
        }
        value => take(key, value, path, faults, found),
    }
}

fn is_in(key: &str, table: &str) -> bool {
    key.strip_prefix(table)
        .is_some_and(|rest| rest.starts_with('.'))
}

fn take(
    key: &str,
    value: &Value,
    path: &Path,
    faults: &mut Vec<String>,
    found: &mut Vec<(&'static Setting, Value)>,
) {
    let path = path.display();
    match known(key) {
        None => faults.push(format!(
            "unknown key {} in {path}{}",
            printable(key),
            nearest(key)
        )),
        Some(setting) => match checked(setting.kind, value.clone()) {
            Ok(value) => found.push((setting, value)),
            Err(form) => faults.push(format!("{key} in {path} must be {form}")),
        },
    }
}

fn printable(key: &str) -> String {
    key.chars().flat_map(char::escape_debug).take(80).collect()
}

/// The settings of an environment, with their variables.
pub(super) fn of_env(
    env: &[(OsString, OsString)],
    faults: &mut Vec<String>,
) -> Vec<(String, &'static Setting, Value)> {
    let mut found = Vec::new();
    for (name, text) in env {
        let Some(name) = name.to_str().filter(|name| name.starts_with("RIKLET_")) else {
            continue;
        };
        if OTHER_VARIABLES.contains(&name) {
            continue;
        }
        let Some(setting) = SETTINGS.iter().find(|s| s.variable() == name) else {
            let key = name["RIKLET_".len()..].to_lowercase().replace("__", ".");
            faults.push(format!("unknown variable {name}{}", nearest(&key)));
            continue;
        };
        match text
            .to_str()
            .ok_or("UTF-8")
            .and_then(|t| read(setting.kind, t))
        {
            Ok(value) => found.push((name.to_owned(), setting, value)),
            Err(form) => faults.push(format!("{name} must be {form}")),
        }
    }
    found
}

/// The setting of a flag.
pub(super) fn of_flag(
    key: &str,
    text: &str,
    flag: &str,
    faults: &mut Vec<String>,
) -> Option<(&'static Setting, Value)> {
    let setting = known(key)?;
    match read(setting.kind, text) {
        Ok(value) => Some((setting, value)),
        Err(form) => {
            faults.push(format!("{flag} must be {form}"));
            None
        }
    }
}

/// A value from its text.
fn read(kind: Kind, text: &str) -> Result<Value, &'static str> {
    let value = match kind {
        Kind::Flag => match text {
            "true" | "1" => Value::Boolean(true),
            "false" | "0" => Value::Boolean(false),
            _ => return Err("true or false"),
        },
        Kind::Number => Value::Integer(text.parse().map_err(|_| "a whole number, from 0 on")?),
        Kind::Texts => text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| Value::String(item.to_owned()))
            .collect::<Vec<Value>>()
            .into(),
        _ => Value::String(text.to_owned()),
    };
    checked(kind, value)
}

/// The value in the one form that is kept, or what its form has to be.
fn checked(kind: Kind, value: Value) -> Result<Value, &'static str> {
    match (kind, &value) {
        (Kind::Text, Value::String(text)) if !text.is_empty() => Ok(value),
        (Kind::Text, _) => Err("a text in quotes"),
        (Kind::Path, Value::String(text)) if !text.is_empty() && !text.contains('\0') => Ok(value),
        (Kind::Path, _) => Err("a path in quotes"),
        (Kind::Flag, Value::Boolean(_)) => Ok(value),
        (Kind::Flag, _) => Err("true or false"),
        (Kind::Texts, Value::Array(items)) if items.iter().all(Value::is_str) => Ok(value),
        (Kind::Texts, _) => Err("a list of texts in quotes"),
        (Kind::Url, Value::String(text)) => url(text).ok_or(URL_FORM),
        (Kind::Url, _) => Err(URL_FORM),
        (Kind::Address, Value::String(text)) if text.parse::<SocketAddr>().is_ok() => Ok(value),
        (Kind::Address, _) => Err("an IP address and a port, like \"127.0.0.1:9464\""),
        (Kind::Subnet, Value::String(text)) if is_subnet(text) => Ok(value),
        (Kind::Subnet, _) => Err("an IPv4 subnet of 8 addresses or more, like \"10.88.7.0/24\""),
        (Kind::Size, Value::String(text)) => bytes(text).map(Value::Integer).ok_or(SIZE_FORM),
        (Kind::Size, Value::Integer(bytes)) if *bytes >= 0 => Ok(value),
        (Kind::Size, _) => Err(SIZE_FORM),
        (Kind::Number, Value::Integer(number)) if *number >= 0 => Ok(value),
        (Kind::Number, _) => Err("a whole number, from 0 on"),
        (Kind::Duration, Value::String(text)) if positive(text) => Ok(value),
        (Kind::Duration, _) => Err("a duration above zero, like \"30s\" or \"10m\""),
    }
}

const SIZE_FORM: &str = "a size like \"64KiB\" or \"4MiB\"";

/// A size in bytes.
fn bytes(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text[digits.len()..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    let number: u32 = digits.parse().ok()?;
    i64::from(number).checked_mul(unit)
}

fn is_subnet(text: &str) -> bool {
    let parse = || {
        let (address, prefix) = text.split_once('/')?;
        let address: Ipv4Addr = address.parse().ok()?;
        let prefix: u32 = prefix.parse().ok()?;
        let inside = u32::MAX.checked_shr(prefix)?;
        Some((8..=29).contains(&prefix) && u32::from(address) & inside == 0)
    };
    parse() == Some(true)
}

const URL_FORM: &str = "an address like \"http://scheduler:4995\"";

/// An address with its scheme; RIK's schedulers listen on 4995 without TLS.
fn url(text: &str) -> Option<Value> {
    let full = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let uri: tonic::transport::Uri = full.parse().ok()?;
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let host = uri.host().is_some_and(|host| !host.is_empty());
    let plain = uri.path() == "/" && uri.query().is_none() && !full.contains('@');
    let full = match uri.port() {
        Some(_) => full,
        None => format!("{}:4995", full.trim_end_matches('/')),
    };
    (scheme && host && plain).then_some(Value::String(full))
}

fn positive(text: &str) -> bool {
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|d| Duration::try_from(d).ok())
        .is_some_and(|d| !d.is_zero())
}
