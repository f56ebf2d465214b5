#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn at(target: &str) -> Mount {
    defaults::bind(Path::new("/source"), target, &["bind"])
}

fn order(own: &[&str], wished: &[&str]) -> Vec<String> {
    let all = |targets: &[&str]| targets.iter().map(|t| at(t)).collect();
    let mounts = in_order(all(own), all(wished));
    let targets = mounts.iter().map(|m| m.destination().display().to_string());
    targets.collect()
}

#[test]
fn nothing_hides_what_was_mounted_before_it() {
    assert_eq!(
        order(
            &["/proc", "/dev", "/dev/shm", "/sys"],
            &["/a/b/c", "/a", "/dev/x"]
        ),
        [
            "/proc", "/dev", "/sys", "/a", "/dev/shm", "/dev/x", "/a/b/c"
        ]
    );
    assert_eq!(
        order(&["/dev", "/dev/shm"], &["/dev/./shm/"]),
        ["/dev", "/dev/./shm/"]
    );
}
