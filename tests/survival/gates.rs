//! A runc that does at each verb what a test has said it shall, and else is the real one: so a
//! daemon, a monitor or runc itself can be killed at exactly that step.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::support::daemon::Daemon;

/// The stand-in of one node.
pub struct Gates {
    dir: PathBuf,
}

impl Gates {
    /// Writes it into `dir`, which is made.
    pub fn write(dir: &Path) -> Self {
        fs::create_dir(dir).unwrap();
        let this = Self {
            dir: dir.to_owned(),
        };
        // What a test has said is shell text that sees `$id`, `$root` and `real`, the real runc
        // with its arguments, and the files of this directory by `$here`.
        let text = format!(
            r#"#!/bin/sh
here='{}'
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin
root=$2
for id; do :; done
for verb; do case $verb in create | start | delete | kill) break ;; esac; done
wait_for() {{ until [ -e "$here/$1" ]; do sleep 0.02; done; }}
if [ -e "$here/$verb.said" ]; then . "$here/$verb.said"; fi
exec runc "$@"
"#,
            dir.display()
        );
        fs::write(this.program(), text).unwrap();
        fs::set_permissions(this.program(), fs::Permissions::from_mode(0o755)).unwrap();
        this
    }

    fn program(&self) -> PathBuf {
        self.dir.join("runc")
    }

    /// The settings that name it.
    pub fn config(&self) -> String {
        format!("[programs]\nrunc = {:?}\n", self.program())
    }

    /// From now on this verb does that: shell text.
    pub fn say(&self, verb: &str, text: &str) {
        // A running shell may still read the former one: so it is a new file.
        let new = self.dir.join(format!("{verb}.new"));
        fs::write(&new, text).unwrap();
        fs::rename(new, self.dir.join(format!("{verb}.said"))).unwrap();
    }

    /// The next call of this verb does that, and no other.
    pub fn say_once(&self, verb: &str, text: &str) {
        let taken = format!(
            "[ -e \"$here/{verb}.said\" ] && mv \"$here/{verb}.said\" \"$here/{verb}.taken\" || exec runc \"$@\"\n"
        );
        self.say(verb, &format!("{taken}{text}"));
    }

    /// This verb is as it always was.
    pub fn unsay(&self, verb: &str) {
        let _ = fs::remove_file(self.dir.join(format!("{verb}.said")));
    }

    /// Opens what a `wait_for` waits for.
    pub fn open(&self, gate: &str) {
        fs::write(self.dir.join(gate), "").unwrap();
    }

    /// Closes it, and forgets that it was passed.
    pub fn close(&self, gate: &str) {
        let _ = fs::remove_file(self.dir.join(gate));
    }

    /// Waits until the stand-in has made this file.
    pub fn reached(&self, daemon: &Daemon, file: &str) {
        daemon.wait(&format!("runc to come to {file:?}"), |_| {
            self.dir.join(file).exists().then_some(())
        });
    }

    /// Has the stand-in made this file?
    pub fn has(&self, file: &str) -> bool {
        self.dir.join(file).exists()
    }

    /// What the stand-in has written into this file.
    pub fn text(&self, file: &str) -> String {
        fs::read_to_string(self.dir.join(file)).unwrap_or_default()
    }
}
