use super::*;

#[test]
fn a_refusal_is_told_by_what_the_runtime_says() {
    // As runc 1.1.5 says them, and the words of 1.2 and crun where they differ.
    for (message, expected) in [
        ("container does not exist", Refusal::NotFound),
        (
            "container `x` does not exist: No such file",
            Refusal::NotFound,
        ),
        ("container with given ID already exists", Refusal::Exists),
        ("container with id exists: x", Refusal::Exists),
        (
            "cannot start an already running container",
            Refusal::Running,
        ),
        (
            "cannot delete container x that is not stopped: running",
            Refusal::Running,
        ),
        (
            "cannot start a container that has stopped",
            Refusal::Stopped,
        ),
        ("container not running", Refusal::Stopped),
        ("exec failed: no space left on device", Refusal::Other),
    ] {
        assert_eq!(refusal(message), expected, "{message}");
    }
}

#[test]
fn the_last_error_is_the_reason() {
    let json = r#"{"level":"warning","msg":"cgroup: odd","time":"…"}
{"level":"error","msg":"first","time":"…"}
{"level":"error","msg":"runc create failed: unable to start","time":"…"}
{"level":"warning","msg":"later","time":"…"}"#;
    assert_eq!(last_error(json), "runc create failed: unable to start");
    assert_eq!(last_error("plain\nwords\n\n"), "words");
    assert_eq!(last_error(""), "no word of why");
}
