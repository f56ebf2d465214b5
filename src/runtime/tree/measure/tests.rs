#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    os::unix::fs::{FileExt, MetadataExt, symlink},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use nix::{
    mount::{MsFlags, mount},
    sys::stat::mkdirat,
};

use super::{super::unmount_below, *};

/// A walk to its end, in steps of so many, looking after each at what it holds.
fn walked(root: &Path, enough: u64, entries: u64) -> u64 {
    let mut walk = Walk::begin(root, enough).unwrap();
    loop {
        let open = walk.levels.iter().filter(|l| l.dir.is_some()).count();
        assert!(open <= OPEN + 1, "{open} directories are open");
        let names = walk.levels.iter().map(|l| l.names.iter());
        let bytes: usize = names.flatten().map(|n| n.as_bytes().len()).sum();
        assert_eq!(bytes, walk.waiting);
        if let Step::Done(bytes) = walk.step(entries).unwrap() {
            return bytes;
        }
    }
}

fn takes(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().blocks() * 512
}

/// What du(1) would say of a tree without links between its files.
fn counted(path: &Path) -> u64 {
    let below = fs::read_dir(path).into_iter().flatten();
    let below = below.map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| match path.is_symlink() || !path.is_dir() {
        true => takes(&path),
        false => counted(&path),
    };
    takes(path) + below.map(of).sum::<u64>()
}

fn file(path: &Path, kib: usize) {
    fs::write(path, vec![1; kib * 1024]).unwrap();
    fs::File::open(path).unwrap().sync_all().unwrap();
}

#[test]
fn a_tree_takes_its_allocated_blocks_in_steps_of_any_size() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    for n in 0..7 {
        let deep = tree.join(format!("{n}/a/b"));
        fs::create_dir_all(&deep).unwrap();
        file(&deep.join("f"), 40 * n);
        file(&tree.join(format!("g{n}")), 4);
    }
    let sparse = fs::File::create(tree.join("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    sparse.write_all_at(b"x", 1 << 30).unwrap();
    sparse.sync_all().unwrap();
    let all = counted(&tree);
    assert!(all > 840 * 1024 && all < 1 << 30, "{all}");
    for entries in [1, 3, 1_000_000] {
        assert_eq!(walked(&tree, u64::MAX, entries), all);
    }
}

#[test]
fn a_file_with_many_names_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    file(&dir.path().join("f"), 1024);
    let alone = walked(dir.path(), u64::MAX, 8);
    for n in 0..3 {
        fs::hard_link(dir.path().join("f"), dir.path().join(format!("l{n}"))).unwrap();
    }
    let grown = walked(dir.path(), u64::MAX, 8);
    assert!(grown <= alone && grown > alone - 4, "{alone} {grown}");
}

#[test]
fn neither_links_nor_mounts_lead_out_of_what_is_measured() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
    fs::create_dir_all(tree.join("mounted")).unwrap();
    fs::create_dir(&outside).unwrap();
    file(&outside.join("big"), 1024);
    symlink(&outside, tree.join("link")).unwrap();
    symlink(outside.join("big"), tree.join("file")).unwrap();
    let none = None::<&str>;
    // The same file system: device numbers don't tell.
    let at = tree.join("mounted");
    mount(Some(&outside), &at, none, MsFlags::MS_BIND, none).unwrap();
    let taken = walked(&tree, u64::MAX, 5);
    unmount_below(&tree).unwrap();
    assert!(taken < 100 * 1024, "{taken}");
    assert!(Walk::begin(&tree.join("link"), 1).is_err());
}

#[test]
fn a_look_ends_where_more_than_enough_is_found() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..500 {
        file(&dir.path().join(format!("{n}")), 4);
    }
    let mut walk = Walk::begin(dir.path(), 64 * 1024).unwrap();
    let Step::Done(found) = walk.step(1_000).unwrap() else {
        unreachable!("it goes on");
    };
    assert!(found > 64 * 1024 && found < 128 * 1024, "{found}");
    assert!(walk.seen < 50, "{} were looked at", walk.seen);
}

#[test]
fn a_step_looks_at_so_many_entries_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..300 {
        fs::write(dir.path().join(format!("{n}")), "").unwrap();
    }
    let mut walk = Walk::begin(dir.path(), u64::MAX).unwrap();
    assert_eq!(walk.step(100).unwrap(), Step::Unfinished);
    assert_eq!(walk.seen, 100);
}

#[test]
fn a_tree_deeper_than_any_table_of_descriptors_is_measured_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut at = open(dir.path(), FLAGS, Mode::empty()).unwrap();
    for n in 0..3_000 {
        for name in ["d", "e"] {
            mkdirat(&at, name, Mode::S_IRWXU).unwrap();
        }
        if n == 2_999 {
            let flags = OFlag::O_CREAT | OFlag::O_WRONLY;
            let f = openat(at.as_fd(), "f", flags, Mode::S_IRWXU).unwrap();
            let f = fs::File::from(f);
            f.write_all_at(&[1; 256 * 1024], 0).unwrap();
            f.sync_all().unwrap();
        }
        at = openat(at.as_fd(), "d", FLAGS, Mode::empty()).unwrap();
    }
    let of_directory = takes(dir.path());
    let all = walked(dir.path(), u64::MAX, 1_000);
    assert_eq!(all, 6_001 * of_directory + 256 * 1024);
    super::super::remove(&dir.path().join("d")).unwrap();
}

#[test]
fn more_names_than_may_wait_are_walked_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(240);
    // Over twice as many bytes as may wait.
    let count = 3 * NAMES / 250;
    for n in 0..count {
        let inner = dir.path().join(format!("{long}{n}"));
        fs::create_dir(&inner).unwrap();
    }
    let mut walk = Walk::begin(dir.path(), u64::MAX).unwrap();
    let mut most = 0;
    while walk.step(64).unwrap() == Step::Unfinished {
        most = most.max(walk.waiting);
    }
    assert!(most > NAMES / 2 && most <= NAMES, "{most}");
    assert_eq!(walk.bytes, counted(dir.path()));
}

#[test]
fn a_walk_ends_while_directories_are_moved_under_it() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    let deep: PathBuf = (0..200).map(|_| "d").collect();
    fs::create_dir_all(tree.join(&deep)).unwrap();
    let half: PathBuf = (0..100).map(|_| "d").collect();
    let (from, to) = (tree.join(half), tree.join("moved"));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // Also where this fails: the scope waits for the other.
        let _stops = Stops(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                fs::rename(&from, &to).unwrap();
                fs::rename(&to, &from).unwrap();
            }
        });
        for _ in 0..200 {
            let taken = walked(&tree, u64::MAX, 50);
            assert!(taken <= 2 * 201 * takes(&tree).max(4096), "{taken}");
        }
    });
}

struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_directory_that_was_moved_away_costs_only_what_lies_between() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    let deep: PathBuf = (0..200).map(|_| "d").collect();
    fs::create_dir_all(tree.join(&deep)).unwrap();
    fs::create_dir(tree.join("z")).unwrap();
    // More than all the directories together.
    file(&tree.join("z/f"), 4_096);
    let mut walk = Walk::begin(&tree, u64::MAX).unwrap();
    while walk.levels.len() < 201 {
        walk.step(1).unwrap();
    }
    let half: PathBuf = (0..100).map(|_| "d").collect();
    fs::rename(tree.join(half), tree.join("moved")).unwrap();
    while walk.step(64).unwrap() == Step::Unfinished {}
    assert!(walk.bytes > 4 << 20, "{}", walk.bytes);
}
