use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use nix::mount::{MntFlags, MsFlags, umount2};

use super::*;

/// A user namespace without a process, pinned in a directory.
struct Users {
    dir: tempfile::TempDir,
}

impl Users {
    async fn of(first: u64) -> (Self, PathBuf) {
        use crate::{
            model::{ids::Uid, users::IdRange},
            network::netns,
            runtime::{
                cgroup::Cgroups, layout::netns_name, process::Spawner, reaper::Reaper, users,
            },
            testing::real_world::fresh_entropy,
        };
        let dir = tempfile::tempdir().unwrap();
        let uid = Uid::from_entropy(fresh_entropy());
        let cgroups = Cgroups::detect(&format!("/riklet-test-{uid}")).unwrap();
        let spawner = Spawner::new(Reaper::start().unwrap(), cgroups.clone());
        let user = dir.path().join("user");
        let wish = users::Wish {
            ids: IdRange::at(first).unwrap(),
            user: user.clone(),
            ipc: dir.path().join("ipc"),
            uts: dir.path().join("uts"),
            netns: netns_name(&uid),
            hostname: "own".to_owned(),
        };
        let (named, made) = (wish.netns.clone(), users::make(&spawner, wish).await);
        netns::delete(&named).unwrap();
        cgroups.remove("").unwrap();
        made.unwrap();
        (Self { dir }, user)
    }

    fn at(&self, name: &str) -> PathBuf {
        let at = self.dir.path().join(name);
        fs::create_dir(&at).unwrap();
        at
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        let _ = tree::unmount_below(self.dir.path());
    }
}

fn hold(path: &Path) -> File {
    File::open(path).unwrap()
}

fn owner(path: PathBuf) -> u32 {
    fs::metadata(path).unwrap().uid()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_roots_on_the_disk_is_the_namespaces_roots_there_and_stays_as_it_is() {
    let first = 65_536 * 40_002;
    let (users, namespace) = Users::of(first).await;
    let (from, to, below) = (users.at("from"), users.at("to"), users.at("from/below"));
    fs::write(from.join("file"), "").unwrap();
    nix::mount::mount(
        Some("tmpfs"),
        &below,
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .unwrap();
    fs::write(below.join("file"), "").unwrap();
    let first = u32::try_from(first).unwrap();

    mount(hold(&from), &to, &namespace, false).unwrap();
    assert_eq!(owner(to.join("file")), first);
    assert_eq!(owner(from.join("file")), 0);
    assert!(
        !to.join("below/file").exists(),
        "a mount of one file system"
    );
    umount2(&to, MntFlags::MNT_DETACH).unwrap();

    mount(hold(&from), &to, &namespace, true).unwrap();
    assert_eq!(owner(to.join("below/file")), first);
    assert_eq!(owner(below.join("file")), 0);
    // A later mount at one place doesn't show at the other.
    let later = |at: &Path| {
        let none = None::<&str>;
        nix::mount::mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), none).unwrap();
    };
    later(&to.join("below"));
    assert!(below.join("file").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_that_has_no_other_ids_is_named() {
    let (users, namespace) = Users::of(65_536 * 40_003).await;
    let to = users.at("to");
    let error = mount(hold(Path::new("/proc/sys")), &to, &namespace, false).unwrap_err();
    let IdmapError::FileSystem { kind, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(kind, "proc");
    assert!(!error.permanent());
    assert!(tree::mounts_below(&to).unwrap().is_empty());
    // What no user namespace is.
    let odd = mount(
        hold(Path::new("/tmp")),
        &to,
        Path::new("/proc/self/ns/net"),
        false,
    );
    let odd = odd.unwrap_err();
    assert!(!matches!(odd, IdmapError::Kernel(_)), "{odd:?}");
    assert!(tree::mounts_below(&to).unwrap().is_empty());
}
