//! The daemon can't have what it needs to start.

use std::{fs, path::Path, process::Command};

use super::{
    table::{Row, Seen},
    world::World,
};

pub const ROWS: &[Row] = &[
    Row {
        input: "second daemon on one state dir",
        wire: "",
        code: 1,
        line: "riklet: */state is in use by pid *; stop that daemon first",
        modes: "",
        case: |w| second(w, "state", "run-2"),
    },
    Row {
        input: "second daemon on one run dir",
        wire: "",
        code: 1,
        line: "riklet: */run is in use by pid *; stop that daemon first",
        modes: "",
        case: |w| second(w, "state-2", "run"),
    },
    Row {
        input: "second daemon on one socket",
        wire: "",
        code: 1,
        line: "riklet: another riklet answers at */run/riklet.sock: stop it, or give this one its own --socket",
        modes: "",
        case: |w| {
            let at = |name: &str| w.node.dir().join(name);
            w.seen_running(&at("state-4"), &at("run-4"), &at("run/riklet.sock"))
        },
    },
    Row {
        input: "run dir of another node",
        wire: "",
        code: 1,
        line: "riklet: */run-3 belongs to the node 0123456789, this is *; use another directory, or remove it once nothing of that node runs",
        modes: "",
        case: |w| {
            let run = w.node.dir().join("run-3");
            fs::create_dir(&run).unwrap();
            fs::write(run.join("owner"), "0123456789\n").unwrap();
            second(w, "state-3", "run-3")
        },
    },
    Row {
        input: "state dir is a file",
        wire: "",
        code: 1,
        line: "riklet: the directory */a-file can't be made: give riklet another with --state-dir: *",
        modes: "",
        case: |w| {
            fs::write(w.node.dir().join("a-file"), "").unwrap();
            second(w, "a-file", "run-2")
        },
    },
    Row {
        input: "state dir on a read-only mount",
        wire: "",
        code: 1,
        line: "riklet: the directory */read-only can't be written to: give riklet another with --state-dir: Read-only file system*",
        modes: "",
        case: read_only,
    },
];

fn second(w: &mut World, state: &str, run: &str) -> Seen {
    let at = |name: &str| w.node.dir().join(name);
    let seen = w.seen_running(&at(state), &at(run), &at("other.sock"));
    if seen.line.contains("in use by") {
        let pid = format!("pid {};", w.node.pid());
        assert!(seen.line.contains(&pid), "{}", seen.line);
    }
    seen
}

fn read_only(w: &mut World) -> Seen {
    let dir = w.node.dir().join("read-only");
    fs::create_dir(&dir).unwrap();
    let mounted = ReadOnly::mount(&dir);
    let seen = second(w, "read-only", "run-2");
    drop(mounted);
    seen
}

/// A directory bound onto itself, read-only.
struct ReadOnly<'a>(&'a Path);

fn run(program: &str, args: &[&str], dir: &Path) {
    let status = Command::new(program).args(args).arg(dir).status().unwrap();
    assert!(status.success(), "{program} {args:?}");
}

impl<'a> ReadOnly<'a> {
    fn mount(dir: &'a Path) -> Self {
        run("mount", &["--bind", dir.to_str().unwrap()], dir);
        let this = Self(dir);
        run("mount", &["-o", "remount,bind,ro"], dir);
        this
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        run("umount", &[], self.0);
    }
}
