//! One boot of a machine, as a daemon sees it: a boot id, a clock that begins anew, an empty `/run`,
//! no mounts of before, and a systemd that says whether it is going down.
//!
//! All of it lies in a mount and a time namespace that a process of the test holds, so that nobody
//! else on the machine sees any of it: the boot id is a file bound over the kernel's.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// How far its clock is when a machine has come up, in seconds.
const UP: u64 = 5;

/// A boot; dropping it ends it with all its mounts.
pub struct Machine {
    holder: Child,
    dir: PathBuf,
    /// What its clock is behind the real one, in seconds.
    behind: u64,
}

/// What the holder does before it says that it is there. Mounts of other tests are let go of, so
/// that theirs can end; `/run` is the boot's own. In it is a /proc without another boot id over it:
/// the kernel gives a user namespace one of its own only where a whole one can be seen.
const SETUP: &str = r#"
cd "$1" || exit 1
mount --make-rprivate / || exit 1
sed -n 's/^\([^ ]* \)\{4\}\([^ ]*\).*/\2/p' /proc/self/mountinfo | sort -r |
    while read -r point; do case $point in
    */riklet-test-* | /run/*) case $point in "$1"/*) ;; *) umount -l "$point" 2>/dev/null ;; esac ;;
    esac; done
mount -t tmpfs -o mode=755 riklet-test-run /run && mkdir -p /run/systemd/system || exit 1
mkdir /run/whole-proc && mount -t proc proc /run/whole-proc || exit 1
mount --bind "$1/boot_id" /proc/sys/kernel/random/boot_id || exit 1
mount --bind "$1/sbin" /usr/local/sbin || exit 1
echo ready
exec sleep infinity
"#;

impl Machine {
    /// Comes up with this boot id; its files lie in `dir`, which is made if need be. Its clock
    /// begins anew, or goes on like that of `former`.
    pub fn boot(dir: &Path, boot_id: &str, former: Option<&Self>) -> Self {
        fs::create_dir_all(dir.join("sbin")).unwrap();
        let systemctl = dir.join("sbin/systemctl");
        let text = format!(
            "#!/bin/sh\ncat '{0}/systemd'\ngrep -qx running '{0}/systemd'\n",
            dir.display()
        );
        fs::write(&systemctl, text).unwrap();
        fs::set_permissions(systemctl, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.join("systemd"), "running\n").unwrap();
        fs::write(dir.join("boot_id"), format!("{boot_id}\n")).unwrap();
        let behind = former.map_or_else(|| uptime().saturating_sub(UP), |f| f.behind);
        let mut command = Command::new("unshare");
        command.args(["--mount", "--time", &format!("--boottime=-{behind}")]);
        command.args(["sh", "-c", SETUP, "sh"]).arg(dir);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut holder = command.spawn().unwrap();
        let mut said = String::new();
        let out = holder.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "the machine didn't come up");
        Self {
            holder,
            dir: dir.to_owned(),
            behind,
        }
    }

    /// The process whose namespaces these are.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.holder.id()).unwrap()
    }

    /// The kernel says another boot id from now on, and nothing else is different.
    pub fn forge_boot_id(&self, boot_id: &str) {
        fs::write(self.dir.join("boot_id"), format!("{boot_id}\n")).unwrap();
    }

    /// systemd goes down: who asks it is told so.
    pub fn begin_to_stop(&self) {
        fs::write(self.dir.join("systemd"), "stopping\n").unwrap();
    }

    /// A path as it is seen in there.
    pub fn path(&self, path: &str) -> PathBuf {
        format!("/proc/{}/root{path}", self.pid()).into()
    }

    /// Mounts below a directory, as they are seen in there.
    pub fn mounts(&self, below: &Path) -> Vec<String> {
        let info = fs::read_to_string(format!("/proc/{}/mountinfo", self.pid())).unwrap();
        let mark = format!("{}/", below.display());
        let points = info.lines().filter_map(|line| line.split(' ').nth(4));
        let ours = points.filter(|point| point.starts_with(&mark));
        ours.map(|point| format!("mount {point}")).collect()
    }

    /// Names of network namespaces in there.
    pub fn netns(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("/run/netns")).into_iter().flatten();
        let names = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
        names.collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Of the real machine, in seconds.
fn uptime() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap();
    text.split('.').next().unwrap().parse().unwrap()
}
