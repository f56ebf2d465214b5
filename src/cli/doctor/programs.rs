//! Are the programs there, and which versions?

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use super::Check;
use crate::{
    config::Config,
    runtime::process::{AskError, ask},
};

/// `--version` takes milliseconds; a program that hangs is as good as none.
const DEADLINE: Duration = Duration::from_secs(5);

/// What is searched where PATH isn't set.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn all(config: &Config) -> Vec<Check> {
    let programs = &config.programs;
    vec![
        program("runc", &programs.runc),
        program("conmon", &programs.conmon),
        program("skopeo", &programs.skopeo),
        program("umoci", &programs.umoci),
    ]
}

fn program(name: &'static str, program: &Path) -> Check {
    let mend = format!("install {name}, or set programs.{name}");
    let Some(path) = lookup(program) else {
        return Check::fail(name, format!("{} is not there", program.display()), mend);
    };
    match version(&path) {
        Ok(version) => Check::ok(name, format!("{}: {version}", path.display())),
        Err(why) => Check::fail(name, format!("{} {why}", path.display()), mend),
    }
}

/// Where a program is: as it stands where it has a slash, else by PATH.
pub(super) fn lookup(program: &Path) -> Option<PathBuf> {
    let runnable = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    if program.components().count() > 1 {
        return runnable(program).then(|| program.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|path| runnable(path))
}

/// The first line of `--version`, or why there is none.
fn version(path: &Path) -> Result<String, String> {
    let said = ask(path, &["--version"], DEADLINE).map_err(|e| match e {
        AskError::Run(e) => format!("can't be run: {e}"),
        e => format!("--version {e}"),
    })?;
    let text = String::from_utf8_lossy(&said);
    let first = text.lines().find(|line| !line.trim().is_empty());
    Ok(first.unwrap_or("no version").trim().to_owned())
}
