//! Are the programs there, and which versions?

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::Check;
use crate::config::Config;

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
// The daemon's way to run programs needs cgroups and a reaper; doctor has to work where those
// don't, and changes nothing. The deadline is kept here.
#[allow(clippy::disallowed_methods)]
fn version(path: &Path) -> Result<String, String> {
    let mut child = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("can't be run: {e}"))?;
    let end = Instant::now() + DEADLINE;
    loop {
        match child.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(5));
            }
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("--version did not end within {DEADLINE:?}"));
            }
        }
    }
    let output = child
        .wait_with_output()
        .map_err(|e| format!("can't be heard: {e}"))?;
    if !output.status.success() {
        return Err(format!("--version ended with {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().find(|line| !line.trim().is_empty());
    Ok(first.unwrap_or("no version").trim().to_owned())
}
