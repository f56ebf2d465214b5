use super::*;

#[test]
fn programs_are_found_by_name_and_taken_by_path() {
    assert_eq!(absolute(Path::new("sh")), Path::new("/usr/bin/sh"));
    assert_eq!(absolute(Path::new("./x")), Path::new("./x"));
    assert_eq!(
        absolute(Path::new("no-such-program")),
        Path::new("no-such-program")
    );
}
