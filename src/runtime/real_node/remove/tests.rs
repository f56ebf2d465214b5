use super::*;

#[test]
fn an_exit_file_goes_with_what_was_to_become_it_and_no_other_container_s() {
    let dir = tempfile::tempdir().unwrap();
    let id: ContainerId = "5ragbsc5cb-0-1".parse().unwrap();
    for name in [
        "5ragbsc5cb-0-1",
        "5ragbsc5cb-0-1.7BW2Y3",
        "5ragbsc5cb-0-10",
        "5ragbsc5cb-0-10.7BW2Y3",
    ] {
        fs::write(dir.path().join(name), "0").unwrap();
    }
    remove_exit_files(dir.path(), &id).unwrap();
    remove_exit_files(dir.path(), &id).unwrap();
    let left = fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name());
    let mut left: Vec<_> = left.map(|name| name.into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["5ragbsc5cb-0-10", "5ragbsc5cb-0-10.7BW2Y3"]);
}
