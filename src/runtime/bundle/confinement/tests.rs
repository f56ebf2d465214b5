#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|t| (*t).to_owned()).collect()
}

fn security(add: &[&str], drop: &[&str]) -> ContainerSecurity {
    ContainerSecurity {
        add: texts(add),
        drop: texts(drop),
        ..ContainerSecurity::default()
    }
}

fn given(add: &[&str], drop: &[&str]) -> Vec<Capability> {
    of(&security(add, drop), u64::MAX).unwrap().capabilities
}

#[test]
fn capabilities_are_dropped_and_then_added() {
    assert_eq!(given(&[], &[]), CAPABILITIES);
    assert_eq!(given(&[], &["ALL"]), []);
    assert_eq!(given(&["KILL"], &["ALL"]), [Capability::Kill]);
    assert_eq!(given(&["KILL"], &["KILL"]).len(), 11);
    assert_eq!(given(&[], &["KILL", "NET_RAW"]).len(), 10);
    assert_eq!(given(&["NET_ADMIN", "CHOWN"], &[]).len(), 12);
    assert_eq!(given(&["ALL"], &[]).len(), 41);
    assert_eq!(given(&["ALL"], &["SYS_ADMIN"]).len(), 40);
    assert_eq!(given(&["ALL"], &["ALL"]), []);
    let unknown = of(&security(&["FLY"], &[]), u64::MAX).unwrap_err();
    assert_eq!(unknown, UnknownCapability("FLY".into()));
}

#[test]
fn all_is_no_more_than_the_daemon_has() {
    let few = of(&security(&["ALL"], &[]), 0b11).unwrap();
    assert_eq!(
        few.capabilities,
        [Capability::Chown, Capability::DacOverride]
    );
    assert!(own_bounds() != 0);
}

#[test]
fn no_process_gains_privileges_unless_the_definition_says_so() {
    let gains = |security: &ContainerSecurity| !of(security, u64::MAX).unwrap().no_new_privileges;
    assert!(!gains(&security(&[], &[])));
    assert!(!gains(&security(&["NET_ADMIN"], &[])));
    assert!(gains(&security(&["SYS_ADMIN"], &[])));
    let mut asked = security(&[], &[]);
    asked.allow_privilege_escalation = Some(true);
    assert!(gains(&asked));
    let privileged = ContainerSecurity {
        privileged: true,
        ..ContainerSecurity::default()
    };
    assert!(gains(&privileged));
    assert_eq!(of(&privileged, u64::MAX).unwrap().capabilities.len(), 41);
}
