#![allow(clippy::unwrap_used, reason = "tests")]

use std::{os::unix::fs::symlink, os::unix::net::UnixListener, sync::mpsc, thread};

use nix::mount::{MsFlags, mount};

use super::*;

fn bind(from: &Path, to: &Path) {
    let none = None::<&str>;
    mount(Some(from), to, none, MsFlags::MS_BIND, none).unwrap();
}

#[test]
fn mount_points_are_read_as_the_kernel_escapes_them() {
    let text = "1 2 0:1 / /a\\040b/c rw - tmpfs x rw\n3 2 0:1 / /a\\040bc rw - tmpfs x rw\n\
                4 2 0:1 / /a\\134b\\011 rw - tmpfs x rw\nrubbish\n";
    assert_eq!(below(text, Path::new("/a b")), [Path::new("/a b/c")]);
    assert_eq!(below(text, Path::new("/")).len(), 3);
    assert_eq!(unescape("/a\\134b\\011\\0"), Path::new("/a\\b\t\\0"));
}

#[test]
fn the_kind_of_a_file_system_is_that_of_the_mount_that_is_seen_and_of_those_below() {
    let text = "1 2 0:1 / / rw - ext4 x rw\n2 1 0:2 / /a rw shared:3 - tmpfs x rw\n\
                3 1 0:3 / /a rw - xfs x rw\n4 3 0:4 / /a/b/c rw - proc x rw\n\
                5 3 0:5 / /a/b/d rw - proc x rw\n6 3 0:6 / /ab rw - nfs x rw\nrubbish\n";
    let of = |path: &str| kinds(text, Path::new(path)).join(" ");
    assert_eq!(of("/a/b"), "xfs proc");
    assert_eq!(of("/a/b/c/deep"), "proc");
    assert_eq!(of("/x"), "ext4");
    assert_eq!(of("/ab"), "nfs");
}

#[test]
fn a_removal_takes_links_and_sockets_and_not_what_they_point_at() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
    fs::create_dir_all(tree.join("a/b/c/d")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "").unwrap();
    symlink(&outside, tree.join("a/b/link")).unwrap();
    symlink(&outside, tree.join("link")).unwrap();
    fs::write(tree.join("a/b/c/.riklet-1"), "").unwrap();
    fs::create_dir_all(tree.join(".riklet-1/x/y")).unwrap();
    drop(UnixListener::bind(tree.join("a/socket")).unwrap());
    remove(&tree).unwrap();
    assert!(!tree.exists() && outside.join("kept").exists());
    remove(&tree).unwrap();
    remove(&dir.path().join("never/was")).unwrap();
    let link = dir.path().join("link");
    symlink(&outside, &link).unwrap();
    remove(&link).unwrap();
    assert!(link.symlink_metadata().is_err() && outside.join("kept").exists());
}

#[test]
fn a_tree_deeper_than_any_stack_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut at = open(&tree, flags, Mode::empty()).unwrap();
    // Past PATH_MAX, past the usual limit of open files, and more than a thread's stack of frames.
    for _ in 0..10_000 {
        nix::sys::stat::mkdirat(&at, "d", Mode::S_IRWXU).unwrap();
        at = nix::fcntl::openat(&at, "d", flags, Mode::empty()).unwrap();
    }
    drop(at);
    let (done, wait) = mpsc::channel();
    let of = tree.clone();
    thread::spawn(move || done.send(remove(&of)));
    wait.recv_timeout(std::time::Duration::from_secs(30))
        .unwrap()
        .unwrap();
    assert!(!tree.exists());
}

#[test]
fn a_removal_never_reaches_through_a_mount() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
    fs::create_dir_all(tree.join("a/b/mounted")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "").unwrap();
    // The same file system: device numbers don't tell.
    bind(&outside, &tree.join("a/b/mounted"));
    assert!(remove(&tree).is_err());
    let kept = outside.join("kept").exists();
    unmount_below(&tree).unwrap();
    assert!(kept);
    remove(&tree).unwrap();
    assert!(!tree.exists() && outside.join("kept").exists());
}

#[test]
fn what_is_mounted_twice_and_below_itself_is_unmounted() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("a tree");
    fs::create_dir(&tree).unwrap();
    for _ in 0..3 {
        let none = None::<&str>;
        mount(Some("x"), &tree, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        fs::create_dir(tree.join("b")).unwrap();
        mount(
            Some("x"),
            &tree.join("b"),
            Some("tmpfs"),
            MsFlags::empty(),
            none,
        )
        .unwrap();
    }
    assert_eq!(mounts_below(&tree).unwrap().len(), 6);
    unmount_below(&tree).unwrap();
    assert_eq!(mounts_below(&tree).unwrap(), Vec::<PathBuf>::new());
}
