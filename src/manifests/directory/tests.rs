use std::{fs, os::unix::fs::symlink, path::PathBuf};

use super::*;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("manifests")
    }

    fn with(self, files: &[(&str, &str)]) -> Self {
        fs::create_dir_all(self.path()).unwrap();
        for (name, text) in files {
            fs::write(self.path().join(name), text).unwrap();
        }
        self
    }

    /// Names, each with its text or `!` and the fault.
    fn seen(&self) -> Vec<String> {
        let files = look(&self.path()).unwrap().files.into_iter();
        let line = |file: ManifestFile| {
            let text = file.text.unwrap_or_else(|why| format!("! {why}"));
            format!("{} {text}", file.name)
        };
        files.map(line).collect()
    }
}

#[test]
fn only_manifests_are_read_and_in_the_order_of_their_names() {
    let place = Place::new().with(&[
        ("b.yaml", "B"),
        ("a.json", "A"),
        ("c.yml", "C"),
        (".b.yaml.swp", "an editor's"),
        (".hidden.yaml", "not there yet"),
        ("b.yaml~", "a former one"),
        ("#b.yaml", "an editor's"),
        ("README", "a page"),
        ("d.yaml.tmp", "half"),
    ]);
    assert_eq!(place.seen(), ["a.json A", "b.yaml B", "c.yml C"]);
}

#[test]
fn a_directory_that_is_missing_or_none_is_not_an_empty_one() {
    let place = Place::new();
    let missing = look(&place.path());
    assert!(
        matches!(missing, Err(LookError::Missing { .. })),
        "{missing:?}"
    );
    fs::write(place.path(), "a file").unwrap();
    let none = look(&place.path());
    assert!(
        matches!(none, Err(LookError::Unreadable { .. })),
        "{none:?}"
    );
}

#[test]
fn what_is_no_file_is_a_fault_and_never_opened() {
    let place = Place::new().with(&[("z.yaml", "Z")]);
    let fifo = place.path().join("fifo.yaml");
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    fs::create_dir(place.path().join("dir.yaml")).unwrap();
    symlink("/dev/zero", place.path().join("zero.yaml")).unwrap();
    assert_eq!(
        place.seen(),
        [
            "dir.yaml ! is not a regular file",
            "fifo.yaml ! is not a regular file",
            "z.yaml Z",
            "zero.yaml ! is a link out of the manifests directory, which is not followed",
        ]
    );
}

#[test]
fn links_are_followed_within_the_directory_alone() {
    let place = Place::new().with(&[]);
    let outside = place.0.path().join("secret.yaml");
    fs::write(&outside, "a secret").unwrap();
    // As a mounted ConfigMap is laid out.
    fs::create_dir(place.path().join("..2026")).unwrap();
    fs::write(place.path().join("..2026/a.yaml"), "A").unwrap();
    symlink("..2026", place.path().join("..data")).unwrap();
    symlink("..data/a.yaml", place.path().join("a.yaml")).unwrap();
    symlink("../secret.yaml", place.path().join("b.yaml")).unwrap();
    symlink(&outside, place.path().join("c.yaml")).unwrap();
    symlink("nowhere", place.path().join("d.yaml")).unwrap();
    symlink("e.yaml", place.path().join("e.yaml")).unwrap();
    let seen = place.seen();
    let out = "! is a link out of the manifests directory, which is not followed";
    assert_eq!(
        seen[..3],
        [
            "a.yaml A".to_owned(),
            format!("b.yaml {out}"),
            format!("c.yaml {out}")
        ]
    );
    assert_eq!(seen[3], "d.yaml ! is a link to nothing");
    assert!(seen[4].starts_with("e.yaml ! can't be read"), "{seen:?}");
}

#[test]
fn what_is_too_much_is_a_fault_and_not_kept() {
    let much = "#".repeat(MAX_FILE + 1);
    let all = "#".repeat(MAX_FILE);
    let mut files: Vec<(String, &str)> = (0..65)
        .map(|n| (format!("f{n:02}.yaml"), all.as_str()))
        .collect();
    files.push(("a.yaml".to_owned(), &much));
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (name.as_str(), *text))
        .collect();
    let place = Place::new().with(&files);
    let seen = look(&place.path()).unwrap().files;
    let faulty = |file: &&ManifestFile| file.text.is_err();
    let faulty: Vec<&str> = seen
        .iter()
        .filter(faulty)
        .map(|f| f.name.as_str())
        .collect();
    assert_eq!(faulty, ["a.yaml", "f64.yaml"]);
    for n in 0..MAX_FILES {
        fs::write(place.path().join(format!("n{n}.yaml")), "").unwrap();
    }
    let seen = look(&place.path());
    assert!(matches!(seen, Err(LookError::TooMany { .. })));
}

#[test]
fn another_directory_of_the_same_name_is_another_one() {
    let place = Place::new().with(&[]);
    let first = look(&place.path()).unwrap().identity;
    assert_eq!(look(&place.path()).unwrap().identity, first);
    fs::remove_dir(place.path()).unwrap();
    let place = place.with(&[]);
    assert_ne!(look(&place.path()).unwrap().identity, first);
}
