use super::*;

fn sh(script: &str, deadline: Duration) -> Result<Vec<u8>, AskError> {
    ask(Path::new("sh"), &["-c", script], deadline)
}

const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_program_is_heard_to_its_end_however_much_it_says() {
    let said = sh("head -c 300000 /dev/zero; echo x >&2", LONG).unwrap();
    assert_eq!(said.len(), 300_000);
}

#[test]
fn a_program_that_fails_hangs_or_is_not_there_is_told_apart() {
    let failed = sh("echo first >&2; echo last >&2; exit 3", LONG).unwrap_err();
    assert_eq!(failed.to_string(), "ended with exit status: 3: last");
    let began = Instant::now();
    let hung = sh("exec sleep 1000", Duration::from_millis(50)).unwrap_err();
    assert!(matches!(hung, AskError::Deadline(_)) && began.elapsed() < LONG);
    let missing = ask(Path::new("no-such-program"), &[], LONG).unwrap_err();
    assert!(missing.is_missing() && !failed.is_missing());
}
