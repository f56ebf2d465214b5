#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, os::unix::fs::symlink};

use super::*;

const TEXT: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
    {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
    {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}}]}"#;

fn ground() -> (tempfile::TempDir, Profiles) {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own");
    fs::create_dir(&own).unwrap();
    fs::write(dir.path().join("usual"), TEXT).unwrap();
    let (profiles, error) = Profiles::load(Some(&dir.path().join("usual")), own);
    assert!(error.is_none() && profiles.usual());
    (dir, profiles)
}

fn rules(profile: Option<Cow<'_, LinuxSeccomp>>) -> usize {
    profile.unwrap().syscalls().as_ref().unwrap().len()
}

#[test]
fn the_usual_profile_lets_through_what_the_capabilities_are_for() {
    let (_dir, profiles) = ground();
    let of = |capabilities: &[Capability]| profiles.of(&Seccomp::RuntimeDefault, capabilities);
    assert_eq!(rules(of(&CAPABILITIES).unwrap()), 1);
    assert_eq!(rules(of(&[Capability::SysAdmin]).unwrap()), 2);
    let none = profiles.of(&Seccomp::Unconfined, &CAPABILITIES).unwrap();
    assert!(none.is_none());
}

#[test]
fn a_profile_that_cant_be_had_is_never_no_profile() {
    let (dir, profiles) = ground();
    let own = dir.path().join("own");
    let of = |name: &str| profiles.of(&Seccomp::Localhost(name.into()), &CAPABILITIES);
    assert!(matches!(of("none"), Err(ProfileError::Read { .. })));
    fs::write(own.join("bad"), "no JSON").unwrap();
    assert!(matches!(of("bad"), Err(ProfileError::Parse { .. })));
    symlink(dir.path().join("usual"), own.join("link")).unwrap();
    assert!(of("link").is_err() && of("../usual").is_err() && of(".").is_err());
    fs::write(own.join("good"), TEXT).unwrap();
    assert_eq!(rules(of("good").unwrap()), 1);
}
