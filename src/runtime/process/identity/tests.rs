use super::*;

#[test]
fn a_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
    let stat = "7 (a ) R b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 12 13";
    assert_eq!(start_time(stat), Some(4711));
    assert_eq!(start_time("7 (a) S 1"), None);
    assert_eq!(start_time(""), None);
}

#[test]
fn this_process_lives_and_one_with_another_start_time_does_not() {
    let own = identify(i32::try_from(std::process::id()).unwrap()).unwrap();
    assert!(alive(own) && !ending(own));
    assert!(!alive(ProcessId {
        start_time: own.start_time + 1,
        ..own
    }));
}

#[test]
fn a_pid_that_nobody_has_is_not_found() {
    let e = identify(i32::MAX).unwrap_err();
    assert_eq!(e.kind(), io::ErrorKind::NotFound);
}
