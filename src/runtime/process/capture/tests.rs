use super::*;

fn filled(head: usize, bytes: &[u8]) -> Capture {
    let capture = Capture::new(head).unwrap();
    capture.end().unwrap().write_all(bytes).unwrap();
    capture
}

#[test]
fn a_short_output_is_kept_whole() {
    assert_eq!(filled(64, b"hello\n").read(), b"hello\n");
    assert_eq!(filled(64, b"").read(), b"");
}

#[test]
fn of_a_long_output_head_and_tail_are_kept_and_the_rest_is_counted() {
    let mut bytes = vec![b'x'; 3 * 1024 * 1024];
    bytes[..4].copy_from_slice(b"head");
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(b"tail");
    let capture = filled(64 * 1024, &bytes);
    let before = std::os::unix::fs::MetadataExt::blocks(&capture.file.metadata().unwrap());
    capture.trim();
    let after = std::os::unix::fs::MetadataExt::blocks(&capture.file.metadata().unwrap());
    assert!(after < before / 10, "{before} -> {after} blocks");
    let text = String::from_utf8(capture.read()).unwrap();
    assert!(text.starts_with("headx") && text.ends_with("xtail"));
    let left_out = bytes.len() - 80 * 1024;
    assert!(text.contains(&format!("\n[{left_out} bytes left out]\n")));
}

#[test]
fn an_output_that_is_opened_anew_is_not_written_over() {
    let capture = filled(64, b"one\n");
    let path = {
        use std::os::fd::AsRawFd;
        format!("/proc/self/fd/{}", capture.file.as_raw_fd())
    };
    let mut again = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    again.write_all(b"two\n").unwrap();
    capture.end().unwrap().write_all(b"three\n").unwrap();
    assert_eq!(capture.read(), b"one\ntwo\nthree\n");
}

#[test]
fn the_last_line_is_one_printable_line() {
    assert_eq!(last_line(b"a\nb \x1b[0m c\n\n"), "b  [0m c");
    assert_eq!(last_line(b"\n\n"), "");
    let logged = br#"time="2026-11-22T17:10:43Z" level=fatal msg="no \"x\": y" code=1"#;
    assert_eq!(last_line(logged), r#"no "x": y"#);
    let other = br#"time="2026-11-22T17:10:43Z" msg=word"#;
    assert_eq!(last_line(other), String::from_utf8_lossy(other));
    assert_eq!(last_line(&[b'x'; 1000]).len(), 300);
}
