use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{
    cri::{Entry, Joiner, Sink},
    files::{Attempts, Reader, Until},
};

fn joined(pieces: &[&[u8]]) -> Vec<String> {
    let (mut joiner, mut lines) = (Joiner::default(), Vec::new());
    let mut take = |entry: Entry| {
        lines.push(String::from_utf8(entry.text).unwrap());
        Ok(())
    };
    for piece in pieces {
        joiner.feed(piece, &mut take).unwrap();
    }
    joiner.finish(&mut take).unwrap();
    lines
}

const LOG: &[u8] = b"2026-11-22T15:00:00.5+00:00 stdout P ab\n\
    2026-11-22T15:00:01+00:00 stderr F err or\n\
    2026-11-22T15:00:02+00:00 stdout F cd\n\
    2026-11-22T15:00:03+00:00 stdout F \n\
    garbage\n\
    2026-11-22T15:00:04+00:00 stdout P never ended\n";

#[test]
fn partial_lines_are_joined_by_stream_wherever_the_bytes_are_cut() {
    let whole = ["err or", "abcd", "", "garbage", "never ended"];
    assert_eq!(joined(&[LOG]), whole);
    for at in 0..LOG.len() {
        let (a, b) = LOG.split_at(at);
        assert_eq!(joined(&[a, b]), whole, "cut at {at}");
    }
}

#[test]
fn only_the_last_lines_since_then_are_shown() {
    let show = |tail, since: Option<&str>, timestamps| {
        let mut out = Vec::new();
        let since = since.map(|s| s.parse().unwrap());
        let mut sink = Sink::new(&mut out, tail, since, timestamps);
        let mut joiner = Joiner::default();
        joiner.feed(LOG, |entry| sink.take(entry)).unwrap();
        sink.finish().unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(show(Some(2), None, false), "\ngarbage\n");
    assert_eq!(show(Some(0), None, false), "");
    let since = Some("2026-11-22T15:00:01Z");
    assert_eq!(show(None, since, false), "err or\n\ngarbage\n");
    assert!(show(None, None, true).starts_with("2026-11-22T15:00:01+00:00 err or\n"));
}

#[test]
fn following_survives_rotation_and_restart() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("0-1.log.1"), "a").unwrap();
    fs::write(at("0-1.log"), "b").unwrap();
    fs::write(at("1-7.log"), "other container").unwrap();
    let attempts = Attempts::new(dir.path().to_owned(), 0);
    assert_eq!((attempts.newest(0), attempts.newest(1)), (Some(1), None));
    let mut reader = Reader::new(&attempts, 1, Until::Forever);
    let mut read = || {
        let mut text = Vec::new();
        loop {
            let bytes = reader.more().unwrap();
            if bytes.is_empty() {
                return String::from_utf8(text).unwrap();
            }
            text.extend(bytes);
        }
    };
    assert_eq!(read(), "ab");
    assert_eq!(read(), "");
    // Written, rotated and written again between two looks.
    fs::write(at("0-1.log"), "bc").unwrap();
    fs::rename(at("0-1.log"), at("0-1.log.2")).unwrap();
    fs::write(at("0-1.log"), "d").unwrap();
    assert_eq!(read(), "cd");
    // Twice between two looks; and the oldest is gone by then.
    fs::rename(at("0-1.log"), at("0-1.log.9")).unwrap();
    fs::write(at("0-1.log.10"), "e").unwrap();
    fs::write(at("0-1.log"), "f").unwrap();
    fs::remove_file(at("0-1.log.1")).unwrap();
    assert_eq!(read(), "ef");
    fs::rename(at("0-1.log"), at("0-1.log.11")).unwrap();
    fs::remove_file(at("0-1.log.11")).unwrap();
    fs::write(at("0-1.log.12"), "g").unwrap();
    fs::write(at("0-1.log.tmp"), "not yet").unwrap();
    for name in ["0-1.log.2", "0-1.log.9", "0-1.log.10"] {
        fs::remove_file(at(name)).unwrap();
    }
    assert_eq!(read(), "g");
    fs::write(at("0-2.log.1"), "h").unwrap();
    fs::write(at("0-2.log"), "i").unwrap();
    fs::write(at("0-3.log"), "j").unwrap();
    assert_eq!(read(), "hij");
}

/// A reader is somewhere in its list or its look when a file is put aside, now and then.
#[test]
fn following_misses_nothing_and_doubles_nothing_while_files_are_put_aside() {
    const FILES: usize = 8000;
    /// So many are put aside before the reader has to have come up.
    const AHEAD: usize = 8;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (live, read) = (at("0-1.log"), AtomicUsize::new(0));
    fs::write(&live, "0\n").unwrap();
    let attempts = Attempts::new(dir.path().to_owned(), 0);
    let mut reader = Reader::new(&attempts, 1, Until::Forever);
    thread::scope(|scope| {
        scope.spawn(|| {
            for k in 1..FILES {
                while read.load(Ordering::SeqCst) + AHEAD < k {
                    thread::yield_now();
                }
                fs::rename(&live, at(&format!("0-1.log.{k}"))).unwrap();
                if let Some(old) = k.checked_sub(2 * AHEAD).filter(|old| *old > 0) {
                    fs::remove_file(at(&format!("0-1.log.{old}"))).unwrap();
                }
                fs::write(at("0-1.log.tmp"), format!("{k}\n")).unwrap();
                fs::rename(at("0-1.log.tmp"), &live).unwrap();
            }
        });
        let mut text = Vec::new();
        for next in 0..FILES {
            while !text.contains(&b'\n') {
                text.extend(reader.more().unwrap());
            }
            let end = text.iter().position(|b| *b == b'\n').unwrap();
            let line: Vec<u8> = text.drain(..=end).collect();
            let line = String::from_utf8(line).unwrap();
            let as_wanted = line.trim() == next.to_string();
            // The other thread is to end in any case.
            read.store(if as_wanted { next } else { FILES }, Ordering::SeqCst);
            assert!(as_wanted, "{line:?} for {next}");
        }
        assert!(reader.more().unwrap().is_empty());
    });
}
