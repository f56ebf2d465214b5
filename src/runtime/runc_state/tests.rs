use super::*;

fn own_start() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(19).unwrap().parse().unwrap()
}

fn state_json(pid: u32, start: u64) -> String {
    format!(
        r#"{{"id":"x","init_process_pid":{pid},"init_process_start":{start},"created":"…",
            "config":{{"rootfs":"/r","labels":["org.riklet.node=abcdefghjk","bundle=/b"]}},
            "cgroup_paths":{{"":"/x"}}}}"#
    )
}

#[test]
fn no_directory_is_absent_and_everything_unreadable_is_broken() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(read(&dir.path().join("none")).unwrap(), RuncState::Absent);
    assert_eq!(read(dir.path()).unwrap(), RuncState::Broken);
    let whole = state_json(std::process::id(), own_start());
    for text in [
        "",
        "\0\0\0\0",
        "[]",
        "{}",
        &whole[..40],
        r#"{"init_process_pid":0,"init_process_start":0}"#,
    ] {
        fs::write(dir.path().join("state.json"), text).unwrap();
        assert_eq!(read(dir.path()).unwrap(), RuncState::Broken, "{text:?}");
    }
    fs::remove_file(dir.path().join("state.json")).unwrap();
    fs::create_dir(dir.path().join("state.json")).unwrap();
    assert_eq!(read(dir.path()).unwrap(), RuncState::Broken);
}

#[test]
fn a_pid_counts_only_with_its_start_time() {
    let dir = tempfile::tempdir().unwrap();
    let look = |pid: u32, start: u64| {
        fs::write(dir.path().join("state.json"), state_json(pid, start)).unwrap();
        match read(dir.path()).unwrap() {
            RuncState::Known {
                alive,
                waiting,
                node,
                ..
            } => (alive, waiting, node),
            other => panic!("{other:?}"),
        }
    };
    let own = std::process::id();
    let node = Some("abcdefghjk".to_owned());
    assert_eq!(look(own, own_start()), (true, false, node.clone()));
    assert_eq!(look(own, own_start() + 1), (false, false, node.clone()));
    // A fifo without runc's init at it is what a killed start leaves: it has begun.
    fs::write(dir.path().join("exec.fifo"), "").unwrap();
    assert_eq!(look(own, own_start()), (true, false, node.clone()));
    let name = fs::read("/proc/self/comm").unwrap();
    fs::write("/proc/self/comm", "runc:[2:INIT]").unwrap();
    let waiting = look(own, own_start());
    fs::write("/proc/self/comm", name).unwrap();
    assert_eq!(waiting, (true, true, node));
}
