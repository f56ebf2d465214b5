use super::*;
use crate::runtime::bundle::defaults::CAPABILITIES;

const AMD64: Machine = Machine {
    arch: "amd64",
    kernel: (6, 1),
};

fn rules(text: &str, machine: &Machine, caps: &[Capability]) -> Vec<(String, LinuxSeccompAction)> {
    convert(text, machine, caps)
        .unwrap()
        .syscalls()
        .iter()
        .flatten()
        .flat_map(|s| s.names().iter().map(|n| (n.clone(), s.action())))
        .collect()
}

fn profile(rules: &str) -> String {
    format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"syscalls":[{rules}]}}"#)
}

#[test]
fn a_rule_holds_only_where_its_filters_say() {
    let text = profile(
        r#"{"names":["arm_only"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["arm","arm64"]}},
           {"names":["amd_only"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["amd64"]}},
           {"names":["not_amd"],"action":"SCMP_ACT_ALLOW","excludes":{"arches":["amd64"]}},
           {"names":["with_kill"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_KILL"]}},
           {"names":["with_both"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_KILL","CAP_BPF"]}},
           {"names":["without_kill"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_KILL"]}},
           {"names":["new"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
           {"names":["too_new"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"6.10"}},
           {"name":"single","action":"SCMP_ACT_LOG","includes":{},"excludes":{}}"#,
    );
    let names: Vec<_> = rules(&text, &AMD64, &[Capability::Kill])
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["amd_only", "with_kill", "new", "single"]);
}

#[test]
fn the_distributions_profile_allows_reads_and_refuses_modules() {
    let seccomp = load(Path::new(DISTRIBUTION_PROFILE), &AMD64, &CAPABILITIES).unwrap();
    assert_eq!(seccomp.default_action(), LinuxSeccompAction::ScmpActErrno);
    assert_eq!(
        seccomp.architectures().as_deref(),
        Some(&[Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32][..])
    );
    let action = |name: &str| {
        seccomp
            .syscalls()
            .iter()
            .flatten()
            .find(|s| s.args().is_none() && s.names().iter().any(|n| n == name))
            .map(LinuxSyscall::action)
    };
    assert_eq!(action("read"), Some(LinuxSeccompAction::ScmpActAllow));
    assert_eq!(
        action("init_module"),
        Some(LinuxSeccompAction::ScmpActErrno)
    );
    // CAP_SYS_CHROOT is among the 11.
    assert_eq!(action("chroot"), Some(LinuxSeccompAction::ScmpActAllow));
    // What is written is what an OCI runtime reads.
    let text = serde_json::to_string(&seccomp).unwrap();
    assert!(text.contains(r#""defaultErrnoRet":38"#) && text.contains("SCMP_ARCH_X86_64"));
    assert!(!text.contains("archMap") && !text.contains("includes"));
}

#[test]
fn an_unknown_action_is_an_error_and_not_a_hole() {
    let text = profile(r#"{"names":["x"],"action":"SCMP_ACT_WHATEVER"}"#);
    assert!(convert(&text, &AMD64, &[]).is_err());
}
