#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, os::unix::fs::symlink};

use super::*;

struct Ground(tempfile::TempDir);

impl Ground {
    fn new(policy: MessagePolicy) -> Self {
        let ground = Self(tempfile::tempdir().unwrap());
        let container = ContainerSpec {
            termination_message_policy: policy,
            ..ContainerSpec::default()
        };
        let (path, target) = make(ground.0.path(), &container).unwrap();
        assert_eq!(target, USUAL_PATH);
        assert_eq!(path, ground.file());
        ground
    }

    fn file(&self) -> PathBuf {
        self.0.path().join(FILE)
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("0-1.log")
    }

    fn read(&self, failed: bool) -> Option<String> {
        read(self.0.path(), &self.log(), failed)
    }
}

#[test]
fn last_words_are_the_end_of_what_was_written_and_no_more() {
    let ground = Ground::new(MessagePolicy::File);
    assert_eq!(ground.read(true), None);
    fs::write(ground.file(), "it is done\n").unwrap();
    assert_eq!(ground.read(false).unwrap(), "it is done\n");
    let mut bytes = vec![0xff_u8; 100_000];
    bytes.extend("\u{20ac}".repeat(1000).into_bytes());
    fs::write(ground.file(), &bytes).unwrap();
    let said = ground.read(true).unwrap();
    assert!(said.len() <= MOST && said.ends_with("\u{20ac}\u{20ac}"));
    // Another text of a container has nothing to do with it.
    fs::write(ground.log(), "t stdout F hidden\n").unwrap();
    fs::write(ground.file(), "").unwrap();
    assert_eq!(ground.read(true), None);
}

#[test]
fn the_end_of_the_log_stands_for_them_where_the_definition_says_so() {
    let ground = Ground::new(MessagePolicy::FallbackToLogsOnError);
    let line = |i: usize| format!("2026-01-01T00:00:00.0Z stderr F line {i}\n");
    let mut log: String = (0..500).map(line).collect();
    log.push_str("2026-01-01T00:00:00.0Z stdout P half\n2026-01-01T00:00:00.0Z stdout F  whole\n");
    fs::write(ground.log(), log).unwrap();
    assert_eq!(ground.read(false), None);
    let said = ground.read(true).unwrap();
    assert!(said.ends_with("line 499\nhalf whole"), "{said}");
    assert!(said.lines().count() <= 80 && said.len() <= 2048);
    assert!(said.starts_with("line 422"), "{said}");
    fs::write(ground.file(), "own").unwrap();
    assert_eq!(ground.read(true).unwrap(), "own");
}

#[test]
fn no_link_and_no_fifo_is_read_for_them() {
    let ground = Ground::new(MessagePolicy::FallbackToLogsOnError);
    fs::remove_file(ground.file()).unwrap();
    symlink("/etc/passwd", ground.file()).unwrap();
    assert_eq!(ground.read(true), None);
    fs::remove_file(ground.file()).unwrap();
    nix::unistd::mkfifo(&ground.file(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(ground.read(true), None);
    fs::remove_file(ground.file()).unwrap();
    assert_eq!(ground.read(true), None);
}

#[test]
fn a_log_that_was_put_aside_right_before_the_end_goes_on_in_its_newest_part() {
    let ground = Ground::new(MessagePolicy::FallbackToLogsOnError);
    let aside = |k: u32| ground.0.path().join(format!("0-1.log.{k}"));
    let line = |text: &str| format!("2026-01-01T00:00:00.0Z stderr F {text}\n");
    fs::write(aside(9), line("old")).unwrap();
    fs::write(aside(10), line("why") + &line("it failed")).unwrap();
    fs::write(ground.0.path().join("0-2.log.11"), line("another")).unwrap();
    // Its monitor hasn't opened it anew.
    assert_eq!(ground.read(true).unwrap(), "why\nit failed");
    fs::write(ground.log(), line("at last")).unwrap();
    assert_eq!(ground.read(true).unwrap(), "why\nit failed\nat last");
    fs::write(ground.log(), line("x").repeat(1000)).unwrap();
    assert!(!ground.read(true).unwrap().contains("failed"));
}
