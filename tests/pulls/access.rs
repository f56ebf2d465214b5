//! Who may have which image: pull policies, credentials, certificates, trust.

use std::fs;

use riklet::{
    error_chain::one_line,
    image::{ImageError, Images},
    model::spec::PullPolicy,
    node::{Failure, FailureKind, ImageWish},
};

use crate::{
    Ground, is_whole, requests,
    support::{
        image::{Image, run},
        registry::Registry,
    },
};

fn by(image: &str, policy: PullPolicy) -> ImageWish<'_> {
    ImageWish {
        image,
        pinned: None,
        policy,
    }
}

#[test]
fn always_asks_if_not_present_uses_what_is_there_and_never_pulls_nothing() {
    let (ground, registry) = (Ground::new(), Registry::start());
    let image = registry.image("app:1");
    Image::marked("a").push(ground.dir.path(), &image);
    let images = ground.images();
    let ensure = |policy| ground.run(images.ensure(by(&image, policy)));
    let before = requests(&registry);
    let error = ensure(PullPolicy::Never).unwrap_err();
    assert_eq!(error.kind(), FailureKind::ImageNeverPull, "{error:?}");
    assert!(error.to_string().contains(&image), "{error}");
    assert!(Failure::from(error).retryable(), "it may be pulled by hand");
    assert_eq!(requests(&registry), before, "nobody was asked");

    let first = ensure(PullPolicy::IfNotPresent).unwrap();
    assert_eq!(ensure(PullPolicy::Never).unwrap(), first);
    // The tag moves on.
    Image::marked("b").push(ground.dir.path(), &image);
    let before = requests(&registry);
    assert_eq!(ensure(PullPolicy::IfNotPresent).unwrap(), first);
    assert_eq!(requests(&registry), before);
    let second = ensure(PullPolicy::Always).unwrap();
    is_whole(&images, &second, "b");
    assert_ne!(second, first);
    assert_eq!(ensure(PullPolicy::Never).unwrap(), second);
    // A recorded digest is that one, whatever the policy.
    for policy in [
        PullPolicy::Always,
        PullPolicy::IfNotPresent,
        PullPolicy::Never,
    ] {
        let pinned = Some(first.digest.as_str());
        let wish = ImageWish {
            pinned,
            ..by(&image, policy)
        };
        assert_eq!(ground.run(images.ensure(wish)).unwrap(), first);
    }
    // Without the registry only Always fails.
    drop(registry);
    let error = ensure(PullPolicy::Always).unwrap_err();
    assert_eq!(error.kind(), FailureKind::Transient, "{error:?}");
    assert_eq!(ensure(PullPolicy::IfNotPresent).unwrap(), second);
}

#[test]
fn waiters_with_different_policies_share_one_pull() {
    let (ground, registry) = (Ground::new(), Registry::start());
    let image = registry.image("app:1");
    let digest = Image::marked("a").push(ground.dir.path(), &image);
    let images = ground.images();
    ground.run(async {
        let always = images.ensure(by(&image, PullPolicy::Always));
        let absent = images.ensure(by(&image, PullPolicy::IfNotPresent));
        let never = images.ensure(by(&image, PullPolicy::Never));
        let (always, absent, never) = tokio::join!(always, absent, never);
        assert_eq!(always.unwrap(), absent.unwrap());
        assert!(matches!(never, Err(ImageError::NeverPulled { .. })));
    });
    let asked = registry.hits("GET", "/manifests/1");
    assert_eq!(asked, 1, "the tag is asked for once");
    assert_eq!(registry.hits("GET", &format!("/manifests/{digest}")), 1);
}

/// No wrong word of it: neither in what is said nor in what went to the log.
fn says(images: &Images, ground: &Ground, image: &str, wanted: &[&str], secret: &str) {
    let error = ground
        .run(images.ensure(by(image, PullPolicy::Always)))
        .unwrap_err();
    let said = one_line(&Failure::from(error));
    for word in wanted {
        assert!(said.contains(word), "{word:?} is missing: {said}");
    }
    assert!(!said.contains(secret), "{said}");
}

fn authfile(ground: &Ground, registry: &Registry, words: &str) -> std::path::PathBuf {
    let auth = data_encoding::BASE64.encode(words.as_bytes());
    let auths = serde_json::json!({ "auths": { registry.address(): { "auth": auth } } });
    let path = ground.dir.path().join(format!("{}.json", words.len()));
    fs::write(&path, auths.to_string()).unwrap();
    path
}

fn push_closed(ground: &Ground, registry: &Registry, image: &str, more: &[&str]) {
    let layout = ground.dir.path().join("layout");
    Image::marked("a").write(&layout);
    let (from, to) = (
        format!("oci:{}:img", layout.display()),
        format!("docker://{image}"),
    );
    let mut words = vec!["skopeo", "copy", "--quiet"];
    words.extend(more);
    words.extend([from.as_str(), to.as_str()]);
    let words: Vec<_> = words.iter().map(|word| word.as_ref()).collect();
    run(&words);
    assert!(registry.hits("PUT", "/manifests/") > 0);
}

#[test]
fn a_wrong_password_is_said_without_the_password() {
    let (ground, registry) = (Ground::new(), Registry::with_password());
    let image = registry.image("app:1");
    let creds = ["--dest-tls-verify=false", "--dest-creds=riklet:secret"];
    push_closed(&ground, &registry, &image, &creds);
    for (words, opens) in [("riklet:s3cr3t-but-wrong", false), ("riklet:secret", true)] {
        let mut config = ground.config();
        config.skopeo.authfile = Some(authfile(&ground, &registry, words));
        let images = ground.open(config);
        if opens {
            is_whole(&images, &ground.ensure(&images, &image).unwrap(), "a");
        } else {
            let secret = "s3cr3t-but-wrong";
            says(
                &images,
                &ground,
                &image,
                &[&image, "may not pull", "auth.json"],
                secret,
            );
        }
    }
}

#[test]
fn a_registry_is_trusted_by_the_certificates_of_its_own() {
    let ground = Ground::new();
    let registry = Registry::with_tls();
    let image = registry.image("app:1");
    push_closed(&ground, &registry, &image, &["--dest-tls-verify=false"]);
    let certs = ground.dir.path().join("certs.d");
    let own = certs.join(registry.address());
    fs::create_dir_all(&own).unwrap();
    let mut config = ground.config();
    config.skopeo.certs_dir = Some(certs);
    let images = ground.open(config);
    // Nobody's certificate is in its directory, so nothing is taken from it, loopback or not.
    let wanted = [image.as_str(), "certificate", "images.certs_dir"];
    says(&images, &ground, &image, &wanted, "PRIVATE");
    fs::copy(registry.certificate(), own.join("ca.crt")).unwrap();
    is_whole(&images, &ground.ensure(&images, &image).unwrap(), "a");
}

#[test]
fn what_the_trust_policy_rejects_is_not_had_and_says_so() {
    let (ground, registry) = (Ground::new(), Registry::start());
    let image = registry.image("app:1");
    Image::marked("a").push(ground.dir.path(), &image);
    let policy = ground.dir.path().join("policy.json");
    let mut config = ground.config();
    config.skopeo.policy = Some(policy.clone());
    let images = ground.open(config);
    let key = ground.dir.path().join("key.pub");
    fs::write(&key, "no key").unwrap();
    let signed = serde_json::json!({
        "type": "signedBy", "keyType": "GPGKeys", "keyPath": key,
    });
    for rule in [serde_json::json!({ "type": "reject" }), signed] {
        let text = serde_json::json!({ "default": [rule] }).to_string();
        fs::write(&policy, text).unwrap();
        let wanted = [image.as_str(), "trust policy", "images.policy"];
        says(&images, &ground, &image, &wanted, "no key");
        let error = ground.ensure(&images, &image).unwrap_err();
        assert_eq!(error.kind(), FailureKind::Permanent, "{error:?}");
    }
    assert_eq!(ground.claimed(), Vec::<String>::new());
    fs::write(
        &policy,
        r#"{"default":[{"type":"insecureAcceptAnything"}]}"#,
    )
    .unwrap();
    is_whole(&images, &ground.ensure(&images, &image).unwrap(), "a");
    ground.nothing_at_work();
}
