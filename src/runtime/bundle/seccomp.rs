//! The distribution's seccomp profile, made into what the runtime takes.
//!
//! Why: distributions ship docker's format (`archMap`, `includes`, `excludes`), OCI runtimes take
//! only the plain one. Owns: that conversion. In: the profile's text, this machine's architecture,
//! the containers' capabilities, the kernel's version. Out: [`LinuxSeccomp`]. Must never happen
//! here: a rule that is silently loosened because it isn't understood; unknown actions or
//! operators are errors.

use std::{collections::BTreeSet, fs, io, path::Path, path::PathBuf};

use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSyscall,
};
use serde::Deserialize;

/// Where distributions put it (`golang-github-containers-common`, `containers-common`).
pub const DISTRIBUTION_PROFILE: &str = "/usr/share/containers/seccomp.json";

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// The file can't be read.
    #[error("can't read the seccomp profile {path:?}; containers run without one")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not such a profile.
    #[error("{path:?} is not a seccomp profile as docker and podman have it")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
}

/// What rules may depend on.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Go's name of the architecture: `amd64`, `arm64`, …
    pub arch: &'static str,
    /// The kernel's version, as far as profiles ask: major, minor.
    pub kernel: (u32, u32),
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn this() -> Self {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        let kernel = nix::sys::utsname::uname()
            .ok()
            .and_then(|name| parse_kernel(&name.release().to_string_lossy()))
            .unwrap_or((0, 0));
        Self { arch, kernel }
    }

    fn seccomp_arch(&self) -> Arch {
        match self.arch {
            "amd64" => Arch::ScmpArchX86_64,
            "arm64" => Arch::ScmpArchAarch64,
            "386" => Arch::ScmpArchX86,
            "arm" => Arch::ScmpArchArm,
            "ppc64le" => Arch::ScmpArchPpc64le,
            "s390x" => Arch::ScmpArchS390x,
            "riscv64" => Arch::ScmpArchRiscv64,
            _ => Arch::ScmpArchNative,
        }
    }
}

/// `6.18.5-generic` or `4.8` to its first two numbers.
fn parse_kernel(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: LinuxSeccompAction,
    #[serde(default)]
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<Arch>,
    #[serde(default)]
    arch_map: Vec<ArchEntry>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchEntry {
    architecture: Arch,
    #[serde(default)]
    sub_architectures: Vec<Arch>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    action: LinuxSeccompAction,
    #[serde(default)]
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<LinuxSeccompArg>>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    arches: Vec<String>,
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    min_kernel: Option<String>,
}

impl Rule {
    /// Docker's rule: left out if any exclusion holds or any inclusion doesn't.
    fn applies(&self, machine: &Machine, caps: &BTreeSet<String>) -> bool {
        let new_enough = |filter: &Filter| {
            filter
                .min_kernel
                .as_deref()
                .and_then(parse_kernel)
                .map(|least| machine.kernel >= least)
        };
        let here = |filter: &Filter| filter.arches.iter().any(|a| a == machine.arch);
        if let Some(out) = &self.excludes
            && (here(out)
                || out.caps.iter().any(|c| caps.contains(c))
                || new_enough(out) == Some(true))
        {
            return false;
        }
        self.includes.as_ref().is_none_or(|only| {
            (only.arches.is_empty() || here(only))
                && only.caps.iter().all(|c| caps.contains(c))
                && new_enough(only) != Some(false)
        })
    }

    fn into_syscall(self) -> LinuxSyscall {
        let mut names = self.names;
        names.extend(self.name);
        let mut syscall = LinuxSyscall::default();
        syscall
            .set_names(names)
            .set_action(self.action)
            .set_errno_ret(self.errno_ret)
            .set_args(self.args.filter(|args| !args.is_empty()));
        syscall
    }
}

/// Converts a profile's text for containers with the capabilities `caps` on `machine`.
///
/// # Errors
/// Text that is no such profile.
pub fn convert(
    text: &str,
    machine: &Machine,
    caps: &[Capability],
) -> Result<LinuxSeccomp, serde_json::Error> {
    let profile: Profile = serde_json::from_str(text)?;
    let caps = caps.iter().map(|cap| format!("CAP_{cap}")).collect();
    let native = machine.seccomp_arch();
    let mut architectures = profile.architectures;
    if let Some(entry) = profile
        .arch_map
        .into_iter()
        .find(|entry| entry.architecture == native)
    {
        architectures.push(entry.architecture);
        architectures.extend(entry.sub_architectures);
    }
    let syscalls = profile
        .syscalls
        .into_iter()
        .filter(|rule| rule.applies(machine, &caps))
        .map(Rule::into_syscall)
        .filter(|syscall| !syscall.names().is_empty())
        .collect();
    let mut seccomp = LinuxSeccomp::default();
    seccomp
        .set_default_action(profile.default_action)
        .set_default_errno_ret(profile.default_errno_ret)
        .set_architectures(Some(architectures).filter(|a| !a.is_empty()))
        .set_flags(None)
        .set_listener_path(None)
        .set_listener_metadata(None)
        .set_syscalls(Some(syscalls));
    Ok(seccomp)
}

/// Reads and converts the profile at `path`.
///
/// # Errors
/// A file that can't be read or is no such profile.
pub fn load(
    path: &Path,
    machine: &Machine,
    caps: &[Capability],
) -> Result<LinuxSeccomp, SeccompError> {
    let text = fs::read_to_string(path).map_err(|source| SeccompError::Read {
        path: path.to_owned(),
        source,
    })?;
    convert(&text, machine, caps).map_err(|source| SeccompError::Parse {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
