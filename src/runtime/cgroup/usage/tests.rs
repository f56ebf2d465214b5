use std::fs;

use super::*;
use crate::runtime::cgroup::layout::Hierarchy;

/// A tree of recorded files: `(mount/file, text)`, each below `<mount>/c/`.
fn tree(files: &[(&str, &str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (mount, file, text) in files {
        let dir = root.path().join(mount).join("c");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(file), text).unwrap();
    }
    root
}

fn v1_layout(root: &Path, controllers: &[&str]) -> Layout {
    Layout {
        v2: None,
        v1: controllers
            .iter()
            .map(|c| Hierarchy {
                mount: root.join(c),
                controllers: vec![(*c).to_owned()],
                name: None,
            })
            .collect(),
    }
}

#[test]
fn v1_files_are_read_as_recorded() {
    let root = tree(&[
        ("cpuacct", "cpuacct.usage", "5123456789\n"),
        ("memory", "memory.usage_in_bytes", "9441280\n"),
        ("memory", "memory.limit_in_bytes", "49999872\n"),
        (
            "memory",
            "memory.stat",
            "cache 9441280\ninactive_file 1\ntotal_cache 140197888\ntotal_inactive_file 441280\n",
        ),
        (
            "memory",
            "memory.oom_control",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        ),
        ("pids", "pids.current", "12\n"),
        (
            "blkio",
            "blkio.throttle.io_service_bytes_recursive",
            "8:0 Read 4096\n8:0 Write 100\n8:0 Sync 4196\n8:0 Total 4196\n8:16 Read 4\n8:16 Write 1\nTotal 4201\n",
        ),
    ]);
    let layout = v1_layout(root.path(), &["cpuacct", "memory", "pids", "blkio"]);
    let usage = read(&layout, |mount| mount.join("c")).unwrap();
    assert_eq!(
        usage,
        Usage {
            cpu_ns: 5_123_456_789,
            memory: 9_441_280,
            working_set: 9_000_000,
            memory_limit: Some(49_999_872),
            pids: 12,
            io_read: 4100,
            io_write: 101,
            oom_kills: 3,
        }
    );
}

#[test]
fn v1_without_a_limit_has_none_and_bfq_counts_where_throttle_does_not() {
    let root = tree(&[
        ("memory", "memory.limit_in_bytes", "9223372036854771712\n"),
        (
            "blkio",
            "blkio.throttle.io_service_bytes_recursive",
            "Total 0\n",
        ),
        (
            "blkio",
            "blkio.bfq.io_service_bytes_recursive",
            "254:0 Read 7\n254:0 Write 9\nTotal 16\n",
        ),
    ]);
    let layout = v1_layout(root.path(), &["memory", "blkio"]);
    let usage = read(&layout, |mount| mount.join("c")).unwrap();
    assert_eq!(usage.memory_limit, None);
    assert_eq!((usage.io_read, usage.io_write), (7, 9));
}

#[test]
fn v2_files_are_read_as_recorded() {
    let root = tree(&[
        (
            "u",
            "cpu.stat",
            "usage_usec 5123456\nuser_usec 4000000\nsystem_usec 1123456\n",
        ),
        ("u", "memory.current", "9441280\n"),
        ("u", "memory.max", "max\n"),
        ("u", "memory.stat", "anon 5\nfile 7\ninactive_file 441280\n"),
        (
            "u",
            "memory.events",
            "low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 0\n",
        ),
        ("u", "pids.current", "2\n"),
        (
            "u",
            "io.stat",
            "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2 rios=0 wios=0\n253:0\n",
        ),
    ]);
    let layout = Layout {
        v2: Some(root.path().join("u")),
        v1: Vec::new(),
    };
    let usage = read(&layout, |mount| mount.join("c")).unwrap();
    assert_eq!(
        usage,
        Usage {
            cpu_ns: 5_123_456_000,
            memory: 9_441_280,
            working_set: 9_000_000,
            memory_limit: None,
            pids: 2,
            io_read: 11,
            io_write: 22,
            oom_kills: 1,
        }
    );
}

#[test]
fn in_hybrid_each_controller_is_read_where_it_is() {
    let root = tree(&[
        ("memory", "memory.usage_in_bytes", "77\n"),
        ("u", "cpu.stat", "usage_usec 3\n"),
        ("u", "memory.current", "1\n"),
    ]);
    let mut layout = v1_layout(root.path(), &["memory"]);
    layout.v2 = Some(root.path().join("u"));
    let usage = read(&layout, |mount| mount.join("c")).unwrap();
    assert_eq!((usage.memory, usage.cpu_ns), (77, 3000));
}

#[test]
fn a_strange_file_is_a_zero_and_a_missing_cgroup_is_none() {
    let root = tree(&[
        ("u", "cpu.stat", "usage_usec\nusage_usec x\n"),
        ("u", "memory.current", "\u{0}\u{ff}"),
        ("u", "io.stat", "8:0 rbytes= wbytes=z"),
    ]);
    let layout = Layout {
        v2: Some(root.path().join("u")),
        v1: Vec::new(),
    };
    assert_eq!(
        read(&layout, |mount| mount.join("c")),
        Some(Usage::default())
    );
    assert_eq!(read(&layout, |mount| mount.join("gone")), None);
    assert_eq!(oom_kills(&layout, |mount| mount.join("gone")), 0);
}
