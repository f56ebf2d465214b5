use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::{
    model::ids::Uid,
    runtime::{cgroup::Cgroups, layout::netns_name, reaper::Reaper},
    testing::real_world::fresh_entropy,
};

#[test]
fn what_subuid_gives_away_is_read_and_what_it_does_not_say_is_not() {
    let text = "# comment\nubuntu:100000:65536\n1000:165536:1\nhalf:1\nbad:x:y\n\nneg:-1:5\n";
    let spans: Vec<_> = given(text).map(|span| (span.first, span.count)).collect();
    assert_eq!(spans, [(100_000, 65_536), (165_536, 1)]);
}

struct Corner {
    spawner: Spawner,
    dir: tempfile::TempDir,
    wish: Wish,
}

impl Drop for Corner {
    fn drop(&mut self) {
        let _ = netns::delete(&self.wish.netns);
        let _ = pins::remove_all(self.dir.path());
        let _ = self.spawner.cgroups().remove("");
    }
}

fn corner(first: u64) -> Corner {
    let dir = tempfile::tempdir().unwrap();
    let uid = Uid::from_entropy(fresh_entropy());
    let cgroups = Cgroups::detect(&format!("/riklet-test-{uid}")).unwrap();
    let at = |name: &str| dir.path().join(name);
    let wish = Wish {
        ids: IdRange::at(first).unwrap(),
        user: at("user"),
        ipc: at("ipc"),
        uts: at("uts"),
        netns: netns_name(&uid),
        hostname: "own".to_owned(),
    };
    Corner {
        spawner: Spawner::new(Reaper::start().unwrap(), cgroups),
        dir,
        wish,
    }
}

/// What `nsenter` says of the namespaces.
async fn inside(corner: &Corner, script: &str) -> String {
    let wish = &corner.wish;
    let netns = netns::path(&wish.netns);
    let namespace = |kind: &str, path: &Path| format!("--{kind}={}", path.display());
    let call = Call::new("nsenter", Duration::from_secs(30))
        .arg(namespace("user", &wish.user))
        .arg(namespace("ipc", &wish.ipc))
        .arg(namespace("uts", &wish.uts))
        .arg(namespace("net", &netns))
        .args(["sh", "-c", script]);
    let said = corner.spawner.call(call).await.unwrap();
    String::from_utf8(said.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_namespace_has_its_ids_and_owns_the_others_and_no_process_is_left() {
    let corner = corner(65_536 * 40_000);
    make(&corner.spawner, corner.wish.clone()).await.unwrap();
    let said = inside(
        &corner,
        "id -u; cat /proc/self/uid_map /proc/self/gid_map; hostname; \
         echo 1 > /proc/sys/net/ipv4/ip_forward && cat /proc/sys/net/ipv4/ip_forward; \
         cat /proc/net/if_inet6 | grep -c lo; hostname other && hostname",
    )
    .await;
    let words: Vec<&str> = said.split_whitespace().collect();
    let map = ["0", "2621440000", "65536"];
    let expected = [&["0"][..], &map, &map, &["own", "1", "1", "other"]].concat();
    assert_eq!(words, expected);
    assert!(corner.spawner.cgroups().children("work").is_empty());
    // The node's own are as they were.
    assert_ne!(nix::unistd::gethostname().unwrap(), "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_leaves_no_process() {
    let mut corner = corner(65_536 * 40_001);
    corner.wish.ipc = corner.dir.path().join("nowhere/ipc");
    let error = make(&corner.spawner, corner.wish.clone())
        .await
        .unwrap_err();
    assert!(matches!(error, UsersError::Step { .. }), "{error:?}");
    assert!(corner.spawner.cgroups().children("work").is_empty());
    assert!(
        pins::exists(&corner.wish.user),
        "for the next try to take back"
    );
    pins::remove(&corner.wish.user).unwrap();
    assert!(corner.wish.user.symlink_metadata().is_err());
    assert_eq!(corner.dir.path().metadata().unwrap().uid(), 0);
}

#[test]
fn the_nodes_limit_is_told_as_such_and_not_as_a_full_disk() {
    let spawn = |errno| {
        UsersError::Child(CallError::Spawn {
            call: "cat".to_owned(),
            source: io::Error::from_raw_os_error(errno),
        })
    };
    assert!(matches!(limited(spawn(libc::ENOSPC)), UsersError::Limit));
    let other = limited(spawn(libc::EPERM));
    assert!(matches!(other, UsersError::Child(_)), "{other:?}");
}
