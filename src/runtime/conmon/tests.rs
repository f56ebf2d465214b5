use super::*;
use crate::model::state::Reason;

fn id() -> ContainerId {
    "0123456789-0-1".parse().unwrap()
}

fn layout(dir: &Path) -> Layout {
    let layout = Layout::new(dir.join("state"), dir.join("run"));
    fs::create_dir_all(layout.exits()).unwrap();
    fs::create_dir_all(layout.persist(&id())).unwrap();
    fs::create_dir_all(layout.bundle(&id())).unwrap();
    layout
}

#[test]
fn only_a_whole_line_says_how_a_create_went() {
    assert_eq!(parse_sync(""), None);
    assert_eq!(parse_sync("{\"data\": 12"), None);
    assert_eq!(parse_sync("{\"data\": 12}"), None);
    assert_eq!(parse_sync("{\"data\": 12}\n"), Some(SyncWord::Created(12)));
    let refused =
        "{\"data\": -1, \"message\": \"{\\\"level\\\":\\\"error\\\",\\\"msg\\\":\\\"no\\\"}\"}\n";
    assert_eq!(parse_sync(refused), Some(SyncWord::Refused("no".into())));
    assert!(matches!(
        parse_sync("{\"data\": 0}\n"),
        Some(SyncWord::Refused(_))
    ));
    assert!(matches!(parse_sync("junk\n"), Some(SyncWord::Refused(_))));
    // What comes first holds.
    let both = "{\"data\": 5}\n{\"data\": -1}\n";
    assert_eq!(parse_sync(both), Some(SyncWord::Created(5)));
}

#[test]
fn an_exit_file_without_a_code_is_an_unknown_exit_and_none_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(dir.path());
    assert_eq!(read_exit(&layout, &id(), 0), None);
    for text in ["", "\0\0", "abc", "-1", "256", "99999999999"] {
        fs::write(layout.exit_file(&id()), text).unwrap();
        assert_eq!(
            read_exit(&layout, &id(), 0),
            Some(Exit::default()),
            "{text:?}"
        );
    }
}

#[test]
fn either_copy_of_the_exit_will_do() {
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(dir.path());
    let seven = Some(Exit::from_code(7, false));
    // A reboot took the one on tmpfs.
    fs::write(layout.exit_file(&id()), "7").unwrap();
    assert_eq!(read_exit(&layout, &id(), 0), seven);
    // A full disk has no room for the other.
    fs::write(layout.exit_file(&id()), "").unwrap();
    fs::write(layout.persist(&id()).join("exit"), "7").unwrap();
    assert_eq!(read_exit(&layout, &id(), 0), seven);
    fs::remove_file(layout.exit_file(&id())).unwrap();
    assert_eq!(read_exit(&layout, &id(), 0), seven);
}

#[test]
fn an_oom_kill_is_seen_by_the_mark_and_by_the_count() {
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(dir.path());
    fs::write(layout.exit_file(&id()), "137").unwrap();
    assert_eq!(read_exit(&layout, &id(), 0).unwrap().reason, None);
    assert_eq!(
        read_exit(&layout, &id(), 1).unwrap().reason,
        Some(Reason::OOMKilled)
    );
    fs::write(layout.bundle(&id()).join("oom"), "").unwrap();
    let exit = read_exit(&layout, &id(), 0).unwrap();
    assert_eq!((exit.oom, exit.signal), (true, Some(9)));
}
