use std::time::Duration;

use super::*;

#[test]
fn the_boot_id_is_read_from_where_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("boot_id");
    std::fs::write(&path, "abc-def\n").unwrap();
    assert_eq!(
        Clock::system_with_boot_id(&path).unwrap().now().boot,
        "abc-def"
    );
    std::fs::write(&path, "\n").unwrap();
    assert!(matches!(
        Clock::system_with_boot_id(&path),
        Err(ClockError::NoBootId { .. })
    ));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(
        Clock::system_with_boot_id(&path),
        Err(ClockError::BootId { .. })
    ));
}

#[test]
fn the_system_clock_never_runs_backwards_and_is_in_milliseconds() {
    let clock = Clock::system().unwrap();
    let (a, b) = (clock.now(), clock.now());
    assert!(a.up > 0 && a.up <= b.up);
    assert_eq!(a.at.subsec_nanosecond() % 1_000_000, 0);
}

#[test]
fn a_step_of_wall_time_does_not_move_boot_time() {
    let clock = Clock::manual(Timestamp::UNIX_EPOCH, 5, "b1");
    let other = clock.clone();
    clock.step_wall(jiff::SignedDuration::from_hours(-1));
    assert_eq!(other.now().up, 5);
    assert_eq!(other.now().at.as_second(), -3600);
    clock.advance(Duration::from_millis(7));
    assert_eq!(other.now().up, 12);
    clock.reboot("b2");
    assert_eq!((other.now().up, other.now().boot.as_str()), (0, "b2"));
}
