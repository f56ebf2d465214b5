use super::*;
use crate::image::{records::name_of, reference::Digest};

#[test]
fn what_is_no_image_is_told_by_its_name_and_what_proves_its_name_is_none_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let image = name_of(&Digest::of(config));
    let other = format!("{PREFIX}{}", "0".repeat(64));
    for name in [
        image.as_str(),
        &other,
        ".tmp-17-3",
        ".tmp-x",
        &format!(".gone-{image}.4"),
        &format!(".damaged-{image}.5"),
        ".blobs",
        "lost+found",
        "notes",
    ] {
        fs::create_dir_all(dir.path().join(name).join(ROOTFS)).unwrap();
        fs::write(dir.path().join(name).join(CONFIG), config).unwrap();
    }
    let mut found = leftovers(dir.path()).unwrap();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let found: Vec<_> = found
        .into_iter()
        .map(|(path, left)| (path.file_name().unwrap().to_owned(), left))
        .collect();
    let wanted = [
        (
            format!(".damaged-{image}.5"),
            Leftover::Damaged {
                snapshot: image.clone(),
            },
        ),
        (format!(".gone-{image}.4"), Leftover::Going),
        (".tmp-17-3".to_owned(), Leftover::Staging { pid: Some(17) }),
        (".tmp-x".to_owned(), Leftover::Staging { pid: None }),
        ("notes".to_owned(), Leftover::Strange),
        (
            other.clone(),
            Leftover::NoImage {
                snapshot: other,
                why: "config.json doesn't hash to the directory's name".to_owned(),
            },
        ),
    ];
    let wanted = wanted.map(|(name, left)| (name.into(), left));
    assert_eq!(found, wanted);
    assert_eq!(leftovers(&dir.path().join("missing")).unwrap(), []);
}
