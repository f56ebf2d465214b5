use proptest::prelude::*;

use super::*;

const SUM: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn canonical(text: &str) -> String {
    text.parse::<Reference>().expect(text).to_string()
}

fn refusal(text: &str) -> ReferenceError {
    text.parse::<Reference>().expect_err(text)
}

#[test]
fn references_are_read_as_docker_reads_them() {
    let cases = [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        (
            "index.docker.io/busybox",
            "docker.io/library/busybox:latest",
        ),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("a/b", "docker.io/a/b:latest"),
        ("localhost/b", "localhost/b:latest"),
        ("localhost:5000/b:x", "localhost:5000/b:x"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest"),
        ("[::1]:5000/b", "[::1]:5000/b:latest"),
        ("[::1]/b:1", "[::1]/b:1"),
        ("Host/b", "Host/b:latest"),
        (
            "quay.io/a/b_c__d-e---f.g:T_1.2-x",
            "quay.io/a/b_c__d-e---f.g:T_1.2-x",
        ),
        ("docker://quay.io/a", "quay.io/a:latest"),
        // An official image that is called as a transport is.
        ("docker:dind", "docker.io/library/docker:dind"),
        ("oci:v1", "docker.io/library/oci:v1"),
        ("dir:latest", "docker.io/library/dir:latest"),
        ("oci:/srv/layout:name", "oci:/srv/layout:name"),
        ("oci-archive:/srv/x.tar", "oci-archive:/srv/x.tar"),
        (
            "docker-archive:/srv/x.tar:a/b:1",
            "docker-archive:/srv/x.tar:a/b:1",
        ),
        ("dir:/srv/dir", "dir:/srv/dir"),
    ];
    for (text, wanted) in cases {
        assert_eq!(canonical(text), wanted);
    }
    let by_digest = format!("busybox@{SUM}");
    assert_eq!(
        canonical(&by_digest),
        format!("docker.io/library/{by_digest}")
    );
}

#[test]
fn of_tag_and_digest_skopeo_gets_the_digest_only() {
    let both: Reference = format!("h:1/a:tag@{SUM}").parse().unwrap();
    assert_eq!(both.to_string(), format!("h:1/a:tag@{SUM}"));
    assert_eq!(both.for_skopeo(), format!("docker://h:1/a@{SUM}"));
    assert_eq!(both.identity(), format!("h:1/a@{SUM}"));
    let other: Reference = format!("h:1/a@{SUM}").parse().unwrap();
    assert_eq!(other.identity(), both.identity());
    let tagged: Reference = "h:1/a:tag".parse().unwrap();
    assert_eq!(tagged.pinned(&SUM.parse().unwrap()), both);
}

#[test]
fn what_docker_refuses_is_refused_with_the_reason() {
    assert_eq!(refusal(""), ReferenceError::Empty);
    assert!(matches!(refusal("Busybox"), ReferenceError::UpperCase(_)));
    assert!(matches!(refusal("h.io/A/b"), ReferenceError::UpperCase(_)));
    assert!(matches!(refusal("a//b"), ReferenceError::Repository(_)));
    assert!(matches!(refusal("a..b"), ReferenceError::Repository(_)));
    assert!(matches!(refusal("a___b"), ReferenceError::Repository(_)));
    assert!(matches!(refusal("-rf"), ReferenceError::Repository(_)));
    assert!(matches!(refusal("--help"), ReferenceError::Repository(_)));
    assert!(matches!(refusal(" busybox"), ReferenceError::Repository(_)));
    assert!(matches!(
        refusal("busybox\n"),
        ReferenceError::Repository(_)
    ));
    assert!(matches!(
        refusal("docker:///a"),
        ReferenceError::Repository(_)
    ));
    assert!(matches!(refusal("a:"), ReferenceError::Tag(_)));
    assert!(matches!(refusal("a:-x"), ReferenceError::Tag(_)));
    assert!(matches!(refusal("a:b:c"), ReferenceError::Tag(_)));
    assert!(matches!(
        refusal(&format!("a:{}", "t".repeat(129))),
        ReferenceError::Tag(_)
    ));
    assert!(matches!(refusal("a@sha256:12"), ReferenceError::Digest(_)));
    assert!(matches!(
        refusal(&format!("a@{SUM}@{SUM}")),
        ReferenceError::Digest(_)
    ));
    assert!(matches!(refusal("h:99999/a"), ReferenceError::Host(_)));
    assert!(matches!(refusal("[::g]:1/a"), ReferenceError::Host(_)));
    assert!(matches!(refusal("-h.io/a"), ReferenceError::Host(_)));
    assert!(matches!(
        refusal(&"0".repeat(64)),
        ReferenceError::BareId(_)
    ));
    assert!(matches!(
        refusal(&"a".repeat(300)),
        ReferenceError::TooLong(300)
    ));
    assert!(matches!(refusal("oci:/a\0b"), ReferenceError::Path(_)));
}

#[test]
fn loopback_registries_are_known() {
    let loopback = |text: &str| text.parse::<Reference>().unwrap().is_loopback();
    assert!(loopback("localhost:5000/a") && loopback("127.3.2.1/a") && loopback("[::1]:1/a"));
    assert!(!loopback("10.0.0.1:5000/a") && !loopback("a") && !loopback("127.0.0.1.evil.io/a"));
}

#[test]
fn the_scheduler_gets_only_registries_unless_allowed() {
    let mut policy = TransportPolicy::default();
    assert!(policy.admit(Source::Scheduler, "a").is_ok());
    assert!(policy.admit(Source::Cli, "oci:/x").is_ok());
    let refused = policy.admit(Source::Scheduler, "oci:/x").unwrap_err();
    assert!(
        refused.to_string().contains("images.scheduler_transports"),
        "{refused}"
    );
    policy.scheduler.insert(Transport::Oci);
    assert!(policy.admit(Source::Scheduler, "oci:/x").is_ok());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic_and_canonical_is_a_fixpoint(text in "\\PC{0,80}|[a-zA-Z0-9:/@.\\[\\]_-]{0,80}") {
        if let Ok(reference) = text.parse::<Reference>() {
            let canonical = reference.to_string();
            let again: Reference = canonical.parse().unwrap();
            prop_assert_eq!(again.to_string(), canonical);
            prop_assert_eq!(again.identity(), reference.identity());
            prop_assert!(!reference.for_skopeo().starts_with('-'));
            prop_assert!(!reference.for_skopeo().contains(|c: char| c.is_control()));
        }
    }

    #[test]
    fn whatever_follows_the_grammar_is_read(
        host in "([a-z0-9]{1,8}\\.[a-z]{2,3}|localhost)(:[1-9][0-9]{0,3})?",
        path in "[a-z0-9]{1,9}((\\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}(/[a-z0-9]{1,9}){0,2}",
        tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
    ) {
        prop_assume!(host != "docker.io");
        let text = match &tag { Some(tag) => format!("{host}/{path}:{tag}"), None => format!("{host}/{path}") };
        let wanted = format!("{host}/{path}:{}", tag.as_deref().unwrap_or("latest"));
        prop_assert_eq!(canonical(&text), wanted);
    }
}
