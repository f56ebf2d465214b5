use super::*;

#[test]
fn hostile_wire_ids_are_refused_with_the_rule_they_break() {
    for (text, error) in [
        ("", IdError::Empty),
        ("../x", IdError::Character('/')),
        (".x", IdError::Start('.')),
        ("-x", IdError::Start('-')),
        ("a\0b", IdError::Character('\0')),
        ("web@cli", IdError::Character('@')),
        ("ä", IdError::Character('ä')),
    ] {
        assert_eq!(InstanceId::from_wire(text), Err(error), "{text:?}");
    }
    assert_eq!(
        InstanceId::from_wire(&"x".repeat(300)),
        Err(IdError::TooLong(300))
    );
    // Names of kernel files are plain names: no id is ever part of a path.
    assert!(InstanceId::from_wire("tasks").is_ok());
    assert!(InstanceId::from_wire("cgroup.procs").is_ok());
}

#[test]
fn ids_of_different_sources_never_collide() {
    let cli = InstanceId::local("web", Source::Cli).unwrap();
    let manifest = InstanceId::local("web", Source::Manifest).unwrap();
    let wire = InstanceId::from_wire("web").unwrap();
    assert!(cli != manifest && cli != wire && manifest != wire);
    assert_eq!((cli.bare(), manifest.bare()), ("web", "web"));
    assert_eq!("web@cli".parse::<InstanceId>().unwrap(), cli);
    assert!("web@other".parse::<InstanceId>().is_err());
}

#[test]
fn a_container_id_has_one_text_and_parses_back() {
    let id = ContainerId {
        uid: Uid::from_entropy(0x0123_4567_89ab_cdef),
        n: 2,
        attempt: 17,
    };
    assert_eq!(id.to_string().parse::<ContainerId>().unwrap(), id);
    for bad in [
        "",
        "a-1-1",
        "0123456789-+1-1",
        "0123456789-01-1",
        "0123456789-1",
    ] {
        assert!(bad.parse::<ContainerId>().is_err(), "{bad}");
    }
}

#[test]
fn a_hostname_is_a_label_of_at_most_63_characters() {
    let id = InstanceId::from_wire(&format!("a.b_{}", "c".repeat(100))).unwrap();
    assert_eq!(id.hostname().len(), 63);
    assert!(id.hostname().starts_with("a-b-c"));
}
