use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use nix::sched::setns;

use super::*;

/// A name that no other test has, deleted in the end.
struct Name(String);

impl Name {
    fn new(what: &str) -> Self {
        Self(format!("rkt{}-{what}", std::process::id()))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        delete(&self.0).unwrap();
        assert!(!path(&self.0).exists());
    }
}

/// Runs `look` inside the namespace, on a thread of its own.
fn inside<T: Send>(name: &str, look: impl FnOnce() -> T + Send) -> T {
    let file = File::open(path(name)).unwrap();
    thread::scope(|scope| {
        scope
            .spawn(|| {
                setns(file.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                look()
            })
            .join()
            .unwrap()
    })
}

fn own_netns() -> PathBuf {
    fs::read_link("/proc/thread-self/ns/net").unwrap()
}

#[test]
fn a_new_namespace_is_another_one_and_talks_to_itself() {
    let name = Name::new("talk");
    let before = own_netns();
    create(&name.0).unwrap();
    assert!(exists(&name.0));
    assert_eq!(own_netns(), before, "the caller stays where it is");
    let (there, said) = inside(&name.0, || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut out = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        out.write_all(b"hello").unwrap();
        drop(out);
        let mut said = String::new();
        let (mut from, _) = listener.accept().unwrap();
        from.read_to_string(&mut said).unwrap();
        (own_netns(), said)
    });
    assert_ne!(there, before);
    assert_eq!(said, "hello");
    // Only lo: nothing of the host is in there.
    let devices = inside(&name.0, || {
        fs::read_to_string("/proc/thread-self/net/dev").unwrap()
    });
    assert_eq!(devices.lines().skip(2).count(), 1, "{devices}");
}

#[test]
fn creating_twice_keeps_the_first() {
    let name = Name::new("twice");
    create(&name.0).unwrap();
    let first = inside(&name.0, own_netns);
    create(&name.0).unwrap();
    assert_eq!(inside(&name.0, own_netns), first);
}

#[test]
fn a_file_that_a_crash_left_is_no_namespace_and_is_taken_over() {
    let name = Name::new("crash");
    fs::create_dir_all(DIRECTORY).unwrap();
    File::create(path(&name.0)).unwrap();
    assert!(!exists(&name.0));
    assert_eq!(list(&name.0).unwrap(), [name.0.as_str()]);
    create(&name.0).unwrap();
    assert!(exists(&name.0));
}

#[test]
fn what_is_not_there_is_deleted() {
    let name = Name::new("none");
    delete(&name.0).unwrap();
    File::create(path(&name.0)).unwrap();
    delete(&name.0).unwrap();
    create(&name.0).unwrap();
    delete(&name.0).unwrap();
    delete(&name.0).unwrap();
    assert!(!exists(&name.0));
    assert_eq!(list(&name.0).unwrap(), [""; 0]);
}

#[test]
fn no_name_leads_out_of_the_directory() {
    for bad in [
        "",
        ".",
        "..",
        "a/b",
        "../x",
        ".hidden",
        "a b",
        &"x".repeat(65),
    ] {
        assert!(matches!(create(bad), Err(NetnsError::Name(_))), "{bad}");
        assert!(matches!(delete(bad), Err(NetnsError::Name(_))), "{bad}");
        assert!(!exists(bad));
    }
}

#[test]
fn many_at_once_all_come_and_go() {
    let names: Vec<Name> = (0..12).map(|n| Name::new(&format!("many{n}"))).collect();
    thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| create(&name.0).unwrap());
        }
    });
    assert!(names.iter().all(|n| exists(&n.0)));
    let prefix = format!("rkt{}-many", std::process::id());
    assert_eq!(list(&prefix).unwrap().len(), 12);
}

#[test]
fn a_directory_that_somebody_holds_is_not_waited_for_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let held = lock(dir.path(), HELD).unwrap();
    let began = Instant::now();
    let refused = lock(dir.path(), Duration::from_millis(20)).unwrap_err();
    assert!(began.elapsed() < HELD);
    assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
    drop(held);
    drop(lock(dir.path(), Duration::ZERO).unwrap());
}
