//! Counts a daemon's system calls from outside.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a test's programs are not riklet's children"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// strace on a process and everything that it starts. Detaches with this value.
pub struct Strace {
    child: Child,
    out: PathBuf,
}

impl Strace {
    /// Attaches, and waits until it has.
    pub fn attach(pid: i32, scratch: &Path) -> Self {
        let calls = "trace=fsync,fdatasync,syncfs,sync,sync_file_range,msync,\
                     clone,clone3,fork,vfork,execve,rename,renameat,renameat2";
        let args = ["-f", "-y", "-e", calls].map(ToOwned::to_owned);
        Self::begin(pid, scratch, &args)
    }

    fn begin(pid: i32, scratch: &Path, args: &[String]) -> Self {
        let (out, said) = (scratch.join("strace.out"), scratch.join("strace.err"));
        let mut child = Command::new("strace")
            .args(args)
            .arg("-o")
            .arg(&out)
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let began = Instant::now();
        loop {
            let text = fs::read_to_string(&said).unwrap();
            if text.contains("attached") {
                break;
            }
            assert!(child.try_wait().unwrap().is_none(), "strace ended: {text}");
            assert!(began.elapsed() < Duration::from_secs(20), "{text}");
            thread::sleep(Duration::from_millis(10));
        }
        Self { child, out }
    }

    /// Attaches, and from then on has system calls fail as `faults` say:
    /// `fdatasync:error=EIO:when=1`.
    pub fn inject(pid: i32, scratch: &Path, faults: &[&str]) -> Self {
        let calls: Vec<_> = faults.iter().filter_map(|f| f.split(':').next()).collect();
        let mut args = vec!["-f".to_owned(), "-e".to_owned()];
        args.push(format!("trace={}", calls.join(",")));
        for fault in faults {
            args.extend(["-e".to_owned(), format!("inject={fault}")]);
        }
        Self::begin(pid, scratch, &args)
    }

    /// Lets go of a process that a fault has killed: strace 6.1 waits for ever for the very thread
    /// that it had killed.
    pub fn abandon(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Attaches to this one process, and stops it (SIGSTOP) once it has done `call` on `path` for
    /// the first time.
    pub fn stop_after(pid: i32, scratch: &Path, call: &str, path: &Path) -> Self {
        let path = path.to_str().unwrap().to_owned();
        let trace = format!("trace={call}");
        let inject = format!("inject={call}:signal=SIGSTOP:when=1");
        let args = ["-e", &trace, "-e", &inject, "-P", &path].map(ToOwned::to_owned);
        Self::begin(pid, scratch, &args)
    }

    /// How many fsyncs and fdatasyncs of files below `dir` ended so far.
    pub fn syncs(&self, dir: &Path) -> usize {
        let mark = format!("<{}/", dir.display());
        let mut waits = self.lines();
        waits.retain(|line| line.contains("sync(") && line.contains(&mark));
        waits.len()
    }

    /// How many fsyncs and fdatasyncs of this very file began so far.
    pub fn syncs_of(&self, file: &Path) -> usize {
        let mark = format!("<{}>", file.display());
        let of = |line: &&String| line.contains("sync(") && line.contains(&mark);
        self.lines().iter().filter(of).count()
    }

    /// What the thread did that renamed something to a path with `end`, in order: what it renamed
    /// and what it synced.
    pub fn around_the_rename_to(&self, end: &str) -> Vec<String> {
        let lines = self.lines();
        let named = format!("{end}\"");
        let rename = |line: &&String| line.contains("rename") && line.contains(&named);
        let thread = lines
            .iter()
            .find(rename)
            .and_then(|line| line.split(' ').next());
        let thread = thread.unwrap_or_else(|| panic!("nothing was renamed to {end}"));
        let mut did = lines.clone();
        did.retain(|line| line.split(' ').next() == Some(thread) && !line.contains("resumed>"));
        did.retain(|line| line.contains("sync") || line.contains("rename"));
        did
    }

    /// How many lines there are.
    pub fn mark(&self) -> usize {
        self.lines().len()
    }

    /// Waits until nothing came for so long.
    pub fn until_quiet(&self, quiet: Duration) {
        let began = Instant::now();
        let mut last = (self.mark(), Instant::now());
        while last.1.elapsed() < quiet {
            assert!(began.elapsed() < 20 * quiet, "it never is quiet");
            thread::sleep(quiet / 20);
            let mark = self.mark();
            if mark != last.0 {
                last = (mark, Instant::now());
            }
        }
    }

    /// What came since then: syncs and processes; threads are not among it.
    pub fn since(&self, mark: usize) -> Vec<String> {
        let mut lines = self.lines().split_off(mark);
        lines.retain(|line| !line.contains("CLONE_THREAD") && !line.contains("exited with"));
        lines.retain(|line| !line.contains("resumed>") && !line.contains(" --- "));
        lines
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.out).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        let pid = self.child.id().to_string();
        // SIGTERM: it lets go of every process before it ends.
        let _ = Command::new("/bin/kill").args(["-TERM", &pid]).status();
        let _ = self.child.wait();
    }
}
