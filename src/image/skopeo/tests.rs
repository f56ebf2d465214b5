use super::*;

fn fault_of(stderr: &str) -> Fault {
    fault(&CallError::Exit {
        call: "skopeo copy".to_owned(),
        code: Some(1),
        signal: None,
        stdout: Vec::new(),
        stderr: stderr.as_bytes().to_vec(),
    })
}

/// Words as skopeo 1.9.3 said them, against docker-registry 2.8.2, a list of another
/// architecture, a policy, files that aren't there, and a dead port.
#[test]
fn what_can_never_succeed_is_told_from_what_may_pass() {
    let cases = [
        (
            r#"level=fatal msg="Error parsing image name \"docker://127.0.0.1:3/app:nope\": reading manifest nope in 127.0.0.1:3/app: manifest unknown: manifest unknown""#,
            Fault::Missing,
        ),
        (
            r#"level=fatal msg="Error parsing image name \"oci:/x:nope\": no descriptor found for reference \"nope\"""#,
            Fault::Missing,
        ),
        (
            r#"level=fatal msg="Error parsing image name \"docker-archive:/x\": opening file \"/x\": open /x: no such file or directory""#,
            Fault::Missing,
        ),
        (
            r#"level=fatal msg="initializing source docker://h/a:1: reading manifest 1 in h/a: unauthorized: authentication required""#,
            Fault::Denied,
        ),
        (
            r#"level=fatal msg="initializing source docker://a:1: reading manifest 1 in docker.io/library/a: errors:\ndenied: requested access to the resource is denied\nunauthorized: authentication required""#,
            Fault::Denied,
        ),
        (
            r#"level=fatal msg="Source image rejected: Running image docker://h/app:1 is rejected by policy.""#,
            Fault::Untrusted,
        ),
        (
            r#"level=fatal msg="choosing an image from manifest list docker://h/app:list: no image found in image index for architecture amd64, variant \"\", OS linux""#,
            Fault::OtherPlatform,
        ),
        (
            r#"level=fatal msg="Error parsing image name \"docker://[::1]:5000/x:1\": invalid reference format""#,
            Fault::Unusable,
        ),
        (
            r#"level=fatal msg="Error parsing image name \"docker://h/app:1\": loading registries configuration: loading registries configuration \"/nonex\": open /nonex: no such file or directory""#,
            Fault::Setup,
        ),
        (
            r#"level=fatal msg="Error loading trust policy: open /etc/containers/policy.json: no such file or directory""#,
            Fault::Setup,
        ),
        (
            r#"level=fatal msg="pinging container registry h: Get \"https://h/v2/\": http: server gave HTTP response to HTTPS client""#,
            Fault::Setup,
        ),
        (
            r#"level=fatal msg="writing blob: write /s/oci-put-blob1: no space left on device""#,
            Fault::DiskFull,
        ),
        (
            r#"level=fatal msg="reading manifest latest in docker.io/library/a: toomanyrequests: You have reached your pull rate limit. unauthorized users""#,
            Fault::Passing,
        ),
        (
            r#"level=fatal msg="Error parsing image name \"docker://127.0.0.1:1/x:1\": pinging container registry 127.0.0.1:1: Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused""#,
            Fault::Passing,
        ),
        (
            r#"level=fatal msg="Source image rejected: A signature was required, but no signature exists""#,
            Fault::Untrusted,
        ),
        (
            r#"level=fatal msg="pinging container registry r:1: Get \"https://r:1/v2/\": x509: certificate signed by unknown authority""#,
            Fault::Certificate,
        ),
        ("", Fault::Passing),
    ];
    for (said, wanted) in cases {
        assert_eq!(fault_of(said), wanted, "{said}");
    }
}

#[test]
fn only_a_whole_answer_is_an_answer() {
    let sum = "a".repeat(64);
    let good = format!("sha256:{sum} linux/amd64\n");
    let read = inspected(good.as_bytes()).unwrap();
    assert_eq!(
        (read.digest.hex(), read.platform.as_str()),
        (sum.as_str(), "linux/amd64")
    );
    assert!(read.layers.is_empty());
    let layers = format!("sha256:{sum} linux/amd64 sha256:{sum} sha512:other\n");
    assert_eq!(inspected(layers.as_bytes()).unwrap().layers, [read.digest]);
    assert_eq!(inspected(b"sha256:12 linux/amd64"), None);
    assert_eq!(inspected(b""), None);
    assert_eq!(inspected(b"\xff \xff"), None);
}

#[test]
fn only_loopback_and_configured_registries_are_spoken_to_insecurely() {
    let config = SkopeoConfig {
        policy: Some("/p".into()),
        registries_conf: Some("/r".into()),
        authfile: Some("/a".into()),
        insecure_registries: BTreeSet::from(["10.0.0.1:5000".to_owned()]),
        ..SkopeoConfig::default()
    };
    assert_eq!(
        config.global(),
        ["--policy", "/p", "--registries-conf", "/r"]
    );
    let access = |image: &str| config.access(&image.parse().unwrap(), "src-");
    let insecure = ["--src-tls-verify=false", "--src-authfile", "/a"];
    assert_eq!(access("127.0.0.1:1/a"), insecure);
    assert_eq!(access("10.0.0.1:5000/a"), insecure);
    assert_eq!(access("10.0.0.1:5001/a"), ["--src-authfile", "/a"]);
    assert_eq!(access("busybox"), ["--src-authfile", "/a"]);
    assert!(access("oci:/a").is_empty());
    assert!(SkopeoConfig::default().global().is_empty());
}
