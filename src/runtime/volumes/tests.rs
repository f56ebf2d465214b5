#![allow(clippy::unwrap_used, reason = "tests")]

use std::os::{
    fd::OwnedFd,
    unix::fs::{MetadataExt, symlink},
};

use super::{
    host_path::{HostPathError, by_descriptor, metadata},
    within::WithinError,
    *,
};
use crate::{
    model::spec::{EnvSource, FileText, HostPathKind, InlineFile, WorkloadSpec},
    runtime::facts::NodeFacts,
};

/// A state directory that is unmounted and removed whatever a test does.
struct Ground {
    dir: tempfile::TempDir,
    layout: Layout,
    uid: Uid,
}

impl Ground {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("state"), dir.path().join("run"));
        let uid = "aaaaaaaaa2".parse().unwrap();
        make_private_directory(&layout.pod(&uid)).unwrap();
        Self { dir, layout, uid }
    }

    fn make(&self, workload: &WorkloadSpec) -> Result<(), VolumeError> {
        let facts = Facts {
            node: &NodeFacts::default(),
            instance: "web",
            uid: &self.uid,
            workload,
            addresses: &[],
        };
        make(&self.layout, &facts)
    }

    fn at(&self, i: usize) -> PathBuf {
        place(&self.layout, &self.uid, i)
    }

    fn outside(&self) -> PathBuf {
        let outside = self.dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        outside
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = tree::unmount_below(self.dir.path());
    }
}

fn workload(sources: impl IntoIterator<Item = VolumeSource>) -> WorkloadSpec {
    let named = sources.into_iter().enumerate().map(|(i, source)| Volume {
        name: format!("../v{i}"),
        source,
    });
    WorkloadSpec {
        volumes: named.collect(),
        ..WorkloadSpec::default()
    }
}

fn empty(memory: bool, size_limit: Option<u64>) -> VolumeSource {
    VolumeSource::Empty { memory, size_limit }
}

fn file(path: &str, mode: u32, text: FileText) -> InlineFile {
    InlineFile {
        path: path.to_owned(),
        mode,
        text,
    }
}

fn inline(files: Vec<InlineFile>, secret: bool) -> VolumeSource {
    VolumeSource::Inline { files, secret }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn an_empty_directory_is_everybodys_inside_and_outlives_a_second_make() {
    let ground = Ground::new();
    let workload = workload([empty(false, None), empty(true, Some(1 << 20))]);
    ground.make(&workload).unwrap();
    for i in 0..2 {
        assert_eq!(mode(&ground.at(i)), 0o777);
        fs::write(ground.at(i).join("kept"), "").unwrap();
    }
    assert_eq!(tree::mounts_below(&ground.at(1)).unwrap().len(), 1);
    ground.make(&workload).unwrap();
    assert!(ground.at(0).join("kept").exists() && ground.at(1).join("kept").exists());
    // A reboot takes what was in memory, and leaves the disk.
    tree::unmount_below(&ground.at(1)).unwrap();
    ground.make(&workload).unwrap();
    assert!(ground.at(0).join("kept").exists() && !ground.at(1).join("kept").exists());
    assert_eq!(mode(&ground.at(1)), 0o777);
    let full = fs::write(ground.at(1).join("big"), vec![0; 2 << 20]);
    assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
    remove(&ground.layout, &ground.uid).unwrap();
    assert!(!ground.layout.volumes(&ground.uid).exists());
    remove(&ground.layout, &ground.uid).unwrap();
}

#[test]
fn a_volume_is_the_fs_groups() {
    let ground = Ground::new();
    let files = vec![file("a/b", 0o400, FileText::Text("x".into()))];
    let mut workload = workload([empty(false, None), empty(true, None), inline(files, true)]);
    workload.security.fs_group = Some(4321);
    ground.make(&workload).unwrap();
    for i in 0..3 {
        assert_eq!(fs::metadata(ground.at(i)).unwrap().gid(), 4321);
        assert_eq!(mode(&ground.at(i)) & 0o2070, 0o2070);
    }
    let of = fs::metadata(ground.at(2).join("a/b")).unwrap();
    assert_eq!((of.gid(), of.mode() & 0o777), (4321, 0o440));
}

#[test]
fn inline_files_are_what_the_definition_says_and_whole_or_not_there() {
    let ground = Ground::new();
    let files = vec![
        file("plain", 0o644, FileText::Text("text".into())),
        file("deep/er/script", 0o755, FileText::Base64("AP8=".into())),
        file("who", 0o400, FileText::From(EnvSource::Uid)),
    ];
    let workload = workload([inline(files.clone(), false), inline(files, true)]);
    // What a crash left of a former try, with a file that no longer is.
    fs::create_dir_all(ground.layout.volumes(&ground.uid).join("0.new/deep")).unwrap();
    fs::create_dir_all(ground.at(0).join("stale")).unwrap();
    ground.make(&workload).unwrap();
    ground.make(&workload).unwrap();
    for i in 0..2 {
        let at = ground.at(i);
        assert_eq!(fs::read(at.join("plain")).unwrap(), b"text");
        assert_eq!(fs::read(at.join("deep/er/script")).unwrap(), [0, 0xff]);
        assert_eq!(fs::read(at.join("who")).unwrap(), b"aaaaaaaaa2");
        assert_eq!(mode(&at.join("deep/er/script")), 0o755);
        assert_eq!(mode(&at.join("who")), 0o400);
        assert_eq!(mode(&at), 0o755);
        assert_eq!(fs::read_dir(&at).unwrap().count(), 3);
    }
    assert_eq!(tree::mounts_below(&ground.at(0)).unwrap().len(), 0);
    assert_eq!(tree::mounts_below(&ground.at(1)).unwrap().len(), 1);
    assert_eq!(
        fs::read_dir(ground.layout.volumes(&ground.uid))
            .unwrap()
            .count(),
        2
    );
}

#[test]
fn no_inline_path_leaves_its_volume_and_no_error_tells_a_content() {
    for bad in ["../x", "a/../../x", "/etc/x", "", ".", "a/./..", "a\0b"] {
        let ground = Ground::new();
        let files = vec![file(bad, 0o644, FileText::Text("hunter2".into()))];
        let error = ground.make(&workload([inline(files, false)])).unwrap_err();
        assert!(matches!(error, VolumeError::Outside { .. }), "{bad:?}");
        assert!(error.permanent() && !format!("{error:?}").contains("hunter2"));
        assert!(!ground.at(0).exists());
    }
    let ground = Ground::new();
    let files = vec![file("x", 0o644, FileText::Base64("hunter2!".into()))];
    let error = ground.make(&workload([inline(files, false)])).unwrap_err();
    assert!(error.permanent() && !format!("{error:?}{error}").contains("hunter2"));
}

#[test]
fn a_host_path_is_what_its_type_says_and_never_changed() {
    let ground = Ground::new();
    let outside = ground.outside();
    let of = |path: PathBuf, kind| {
        ground.make(&workload([VolumeSource::HostPath {
            path: path.to_str().unwrap().to_owned(),
            kind,
        }]))
    };
    let kept = outside.join("kept");
    of(outside.clone(), HostPathKind::Directory).unwrap();
    of(outside.clone(), HostPathKind::DirectoryOrCreate).unwrap();
    of(kept.clone(), HostPathKind::FileOrCreate).unwrap();
    of(outside.join("new/dir"), HostPathKind::DirectoryOrCreate).unwrap();
    of(outside.join("new/file"), HostPathKind::FileOrCreate).unwrap();
    of("/dev/null".into(), HostPathKind::CharDevice).unwrap();
    assert_eq!(mode(&outside.join("new/dir")), 0o755);
    assert_eq!(mode(&outside.join("new/file")), 0o644);
    for (path, kind) in [
        (kept.clone(), HostPathKind::DirectoryOrCreate),
        (kept.clone(), HostPathKind::Socket),
        (outside.clone(), HostPathKind::File),
        (outside.join("none"), HostPathKind::Unchecked),
        ("/dev/null".into(), HostPathKind::BlockDevice),
        (outside.join("../outside"), HostPathKind::Directory),
        ("outside".into(), HostPathKind::Directory),
    ] {
        let error = of(path.clone(), kind).unwrap_err();
        let VolumeError::HostPath { source, .. } = error else {
            panic!("{path:?}: {error:?}");
        };
        assert!(!format!("{source}").is_empty());
    }
    assert!(matches!(
        host_path::open(Path::new("/x/../y"), HostPathKind::Unchecked, &[]),
        Err(HostPathError::NotPlain(_))
    ));
}

fn held(path: &Path) -> OwnedFd {
    host_path::open(path, HostPathKind::Directory, &[]).unwrap()
}

#[test]
fn a_path_within_a_volume_never_leads_out_of_it() {
    let ground = Ground::new();
    let outside = ground.outside();
    ground.make(&workload([empty(false, None)])).unwrap();
    let volume = ground.at(0);
    fs::create_dir_all(volume.join("real/sub")).unwrap();
    symlink(&outside, volume.join("absolute")).unwrap();
    symlink("../../../../../outside", volume.join("relative")).unwrap();
    symlink("/proc/self/root", volume.join("magic")).unwrap();
    symlink("loop", volume.join("loop")).unwrap();
    symlink("real", volume.join("inside")).unwrap();
    symlink("nothing", volume.join("dangling")).unwrap();
    let root = held(&volume);
    for bad in [
        "absolute",
        "absolute/kept",
        "absolute/new",
        "relative",
        "relative/new",
        "magic",
        "loop",
        "..",
        "real/../../x",
        "/etc",
        "dangling/x",
    ] {
        assert!(
            within::open(&root, Path::new(bad), Some(0o777)).is_err(),
            "{bad}"
        );
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert!(matches!(
        within::open(&root, Path::new("absolute"), None),
        Err(WithinError::Outside)
    ));
    for good in ["real", "inside/sub", "new/deep", "inside/made", "real/sub"] {
        let fd = within::open(&root, Path::new(good), Some(0o755)).unwrap();
        let found = fs::read_link(by_descriptor(&fd)).unwrap();
        assert!(
            found.starts_with(fs::canonicalize(&volume).unwrap()),
            "{found:?}"
        );
        assert!(metadata(&fd).unwrap().is_dir());
    }
    assert_eq!(mode(&volume.join("new")), 0o755);
    assert!(volume.join("real/made").exists());
    assert!(within::open(&root, Path::new("none"), None).is_err());
}

#[test]
fn a_writer_that_swaps_directories_for_links_never_gets_a_mount_out() {
    let ground = Ground::new();
    let outside = fs::canonicalize(ground.outside()).unwrap();
    ground.make(&workload([empty(false, None)])).unwrap();
    let volume = fs::canonicalize(ground.at(0)).unwrap();
    fs::create_dir_all(volume.join("real/sub")).unwrap();
    fs::create_dir(outside.join("sub")).unwrap();
    symlink(&outside, volume.join("link")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
            let (a, b) = (volume.join("real"), volume.join("link"));
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                renameat2(AT_FDCWD, &a, AT_FDCWD, &b, RenameFlags::RENAME_EXCHANGE).unwrap();
            }
        });
        let root = held(&volume);
        for _ in 0..3000 {
            for path in ["real/sub", "real/new"] {
                if let Ok(fd) = within::open(&root, Path::new(path), Some(0o755)) {
                    let found = fs::read_link(by_descriptor(&fd)).unwrap();
                    assert!(found.starts_with(&volume), "{found:?}");
                }
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(!outside.join("new").exists());
}

#[test]
fn a_host_path_survives_every_removal() {
    let ground = Ground::new();
    let outside = ground.outside();
    let path = outside.to_str().unwrap().to_owned();
    let kind = HostPathKind::Directory;
    let workload = workload([VolumeSource::HostPath { path, kind }, empty(true, None)]);
    ground.make(&workload).unwrap();
    // What a crash, or somebody's hand, may have left mounted there.
    for at in [ground.at(1).join("deep"), ground.at(0)] {
        fs::create_dir_all(&at).unwrap();
        let none = None::<&str>;
        mount(Some(&outside), &at, none, MsFlags::MS_BIND, none).unwrap();
    }
    remove(&ground.layout, &ground.uid).unwrap();
    assert!(outside.join("kept").exists());
    assert!(!ground.layout.volumes(&ground.uid).exists());
}

#[test]
fn a_link_below_a_guarded_path_never_leads_out_of_it() {
    let ground = Ground::new();
    let outside = ground.outside();
    let guard = ground.dir.path().join("guard");
    fs::create_dir_all(guard.join("in/sub")).unwrap();
    symlink(&outside, guard.join("out")).unwrap();
    symlink("in", guard.join("alias")).unwrap();
    symlink("../../outside/made", guard.join("in/made")).unwrap();
    // The operator's own link to it counts as its name.
    let named = ground.dir.path().join("named");
    symlink(&guard, &named).unwrap();
    let guarded = [named.clone(), named.join("in")];
    let open = |path: &str, kind| host_path::open(&named.join(path), kind, &guarded);
    for (bad, kind) in [
        ("out", HostPathKind::Unchecked),
        ("out/kept", HostPathKind::File),
        ("out/new", HostPathKind::DirectoryOrCreate),
        ("out/new", HostPathKind::FileOrCreate),
        ("in/made", HostPathKind::FileOrCreate),
        ("in/made", HostPathKind::DirectoryOrCreate),
    ] {
        assert!(open(bad, kind).is_err(), "{bad}");
    }
    let led = open("out", HostPathKind::Directory).unwrap_err();
    assert!(matches!(led, HostPathError::Outside(_)));
    for (good, kind) in [
        ("", HostPathKind::Directory),
        ("alias/sub", HostPathKind::Directory),
        ("new/er", HostPathKind::DirectoryOrCreate),
        ("in/file", HostPathKind::FileOrCreate),
        ("file", HostPathKind::FileOrCreate),
        ("file", HostPathKind::FileOrCreate),
    ] {
        let fd = open(good, kind).unwrap();
        let found = fs::read_link(by_descriptor(&fd)).unwrap();
        assert!(found.starts_with(fs::canonicalize(&guard).unwrap()));
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    // Elsewhere the node's links are the node's.
    assert!(host_path::open(&guard.join("out"), HostPathKind::Directory, &[]).is_ok());
}
