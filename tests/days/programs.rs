//! A runc and a skopeo that misbehave for chosen containers and images, and pass everything else
//! on to the real ones.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// In an instance's environment: how runc is to treat it.
pub const BAD_DAY: &str = "BAD_DAY";

/// A tag of which skopeo makes a bad day.
pub const STUBBORN_TAG: &str = "stubborn";

/// What a stubborn program does: it and its grandchild, which holds stdout in a session of its
/// own, ignore everything that can be ignored. Each leaves its pid in a file.
const STUBBORN: &str = r#"
    trap '' TERM INT HUP
    setsid sh -c "trap '' TERM INT HUP; echo \$\$ >'$here/$1.grandchild'; sleep 300; :" &
    echo $$ >"$here/$1.pid"
    sleep 300
"#;

/// The fake programs of one node.
pub struct Programs {
    dir: PathBuf,
}

impl Programs {
    /// Writes them into `dir`; `state` is the state dir of the node that calls them.
    pub fn write(dir: &Path, state: &Path) -> Self {
        fs::create_dir(dir).unwrap();
        let this = Self {
            dir: dir.to_owned(),
        };
        let pods = state.join("pods");
        let (here, pods) = (dir.display(), pods.display());
        let runc = format!(
            r#"#!/bin/sh
here='{here}'
stubborn() {{ {STUBBORN} }}
for id; do :; done
for verb; do
    case $verb in create | start | delete)
        day=$(grep -hos '{BAD_DAY}=[a-z-]*' '{pods}'/"${{id%%-*}}"/*/config.json | head -n 1)
        case $verb:${{day#*=}} in
        create:fails) echo 'the moon is in the wrong house' >&2; exit 1 ;;
        create:hangs) sleep 300; exit 1 ;;
        start:stubborn) stubborn runc ;;
        delete:delete-hangs) sleep 300; exit 1 ;;
        esac
        break ;;
    esac
done
exec runc "$@"
"#
        );
        let skopeo = format!(
            r#"#!/bin/sh
here='{here}'
stubborn() {{ {STUBBORN} }}
case "$*" in *:{STUBBORN_TAG}*) stubborn skopeo ;; esac
exec skopeo "$@"
"#
        );
        for (name, text) in [("runc", runc), ("skopeo", skopeo)] {
            fs::write(this.path(name), text).unwrap();
            fs::set_permissions(this.path(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The settings that name them.
    pub fn config(&self) -> String {
        let path = |name| self.path(name).display().to_string();
        format!(
            "[programs]\nrunc = {:?}\nskopeo = {:?}\n",
            path("runc"),
            path("skopeo")
        )
    }

    /// Takes a program away, or puts it back.
    pub fn hide(&self, name: &str, hidden: bool) {
        let (there, away) = (self.path(name), self.path(&format!("{name}.away")));
        let (from, to) = if hidden { (there, away) } else { (away, there) };
        fs::rename(from, to).unwrap();
    }

    /// A stubborn program on its way: when it began, its pid and its grandchild's.
    pub fn stubborn(&self, name: &str) -> Option<(SystemTime, [i32; 2])> {
        let file = |what: &str| self.path(&format!("{name}.{what}"));
        let pid = |what: &str| fs::read_to_string(file(what)).ok()?.trim().parse().ok();
        let began = fs::metadata(file("pid")).ok()?.modified().ok()?;
        Some((began, [pid("pid")?, pid("grandchild")?]))
    }
}
