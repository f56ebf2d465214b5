use super::*;

#[test]
fn only_who_has_ids_of_its_own_is_somebody_else_on_the_node() {
    let with = |mappings: &str| {
        let text = format!(r#"{{"process":{{"user":{{"uid":33}}}},"linux":{{{mappings}}}}}"#);
        owner(text.as_bytes()).unwrap()
    };
    assert_eq!(with(""), None);
    assert_eq!(with(r#""uidMappings":[]"#), None);
    let own = r#""uidMappings":[{"containerID":0,"hostID":65536,"size":65536}]"#;
    assert_eq!(with(own), Some(65_569));
    assert!(owner(b"{").is_err());
    let dir = tempfile::tempdir().unwrap();
    hand_over(dir.path(), 1).unwrap();
}
