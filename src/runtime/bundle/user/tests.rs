use std::os::unix::fs::symlink;

use super::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001:Web:/srv/web:/bin/sh\n\
                      broken line\nodd:x:notanumber:1::/x:/bin/sh\n2000:x:77:78::/num:/bin/sh\n";
const GROUP: &str = "root:x:0:\nweb:x:1001:web\nlog:x:50:root,web\nssl:x:51:web\n";

fn rootfs() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("etc")).unwrap();
    std::fs::write(dir.path().join("etc/passwd"), PASSWD).unwrap();
    std::fs::write(dir.path().join("etc/group"), GROUP).unwrap();
    dir
}

fn user(uid: u32, gid: u32, groups: &[u32], home: &str) -> ResolvedUser {
    ResolvedUser {
        uid,
        gid,
        groups: groups.to_vec(),
        home: home.into(),
    }
}

#[test]
fn users_are_told_as_docker_tells_them() {
    let dir = rootfs();
    for (text, expected) in [
        ("", user(0, 0, &[50], "/root")),
        ("root", user(0, 0, &[50], "/root")),
        ("web", user(1000, 1001, &[50, 51], "/srv/web")),
        ("1000", user(1000, 1001, &[50, 51], "/srv/web")),
        ("1000:0", user(1000, 0, &[], "/srv/web")),
        ("web:log", user(1000, 50, &[], "/srv/web")),
        ("4321", user(4321, 0, &[], "/")),
        ("4321:99", user(4321, 99, &[], "/")),
        ("web:", user(1000, 1001, &[50, 51], "/srv/web")),
        ("2000", user(77, 78, &[], "/num")),
    ] {
        assert_eq!(resolve(dir.path(), text).unwrap(), expected, "{text:?}");
    }
    assert!(matches!(
        resolve(dir.path(), "nobody"),
        Err(UserError::NoUser(_))
    ));
    assert!(matches!(
        resolve(dir.path(), "-1"),
        Err(UserError::NoUser(_))
    ));
    assert!(matches!(
        resolve(dir.path(), "web:none"),
        Err(UserError::NoGroup(_))
    ));
}

#[test]
fn an_image_without_account_files_runs_by_number() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(resolve(dir.path(), "").unwrap(), user(0, 0, &[], "/"));
    assert_eq!(resolve(dir.path(), "7:8").unwrap(), user(7, 8, &[], "/"));
}

#[test]
fn a_link_never_leads_out_of_the_rootfs() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("passwd"), "evil:x:666:666::/evil:/x\n").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let etc = dir.path().join("etc");
    std::fs::create_dir(&etc).unwrap();
    for target in [
        outside.path().join("passwd").to_str().unwrap().to_owned(),
        format!("../../../../../../..{}/passwd", outside.path().display()),
        "/proc/self/root/etc/passwd".to_owned(),
    ] {
        let _ = std::fs::remove_file(etc.join("passwd"));
        symlink(&target, etc.join("passwd")).unwrap();
        assert!(
            matches!(resolve(dir.path(), "evil"), Err(UserError::NoUser(_))),
            "{target}"
        );
    }
    // A link that stays inside is followed.
    std::fs::write(dir.path().join("accounts"), "in:x:5:6::/in:/x\n").unwrap();
    let _ = std::fs::remove_file(etc.join("passwd"));
    symlink("/accounts", etc.join("passwd")).unwrap();
    assert_eq!(resolve(dir.path(), "in").unwrap(), user(5, 6, &[], "/in"));
}

#[test]
fn a_fifo_in_the_image_blocks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("etc")).unwrap();
    nix::unistd::mkfifo(
        &dir.path().join("etc/passwd"),
        Mode::from_bits_truncate(0o600),
    )
    .unwrap();
    assert_eq!(resolve(dir.path(), "3").unwrap(), user(3, 0, &[], "/"));
}
