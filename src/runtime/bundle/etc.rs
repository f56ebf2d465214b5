//! What containers are told of names: hosts, hostname, resolv.conf.
//!
//! Why: they belong to the sandbox, not to the image. Owns: the texts of these three files. In:
//! the sandbox's addresses, the definition, the node's own files. Out: files in a bundle. Must
//! never happen here: a line of the definition that is more than one line of a file.

use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use super::{BundleError, config_json, write as write_file};
use crate::model::{
    ids::Uid,
    spec::{Dns, WorkloadSpec},
};

/// Where systemd-resolved keeps the servers that it asks itself.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// What the files are made of.
#[derive(Debug)]
pub struct Names<'a> {
    /// The hostname inside.
    pub hostname: &'a str,
    /// The sandbox's addresses; none on the node's network, or where there is none.
    pub addresses: &'a [IpAddr],
    /// The definition's model.
    pub workload: &'a WorkloadSpec,
}

/// The hostname of an incarnation's containers: on the node's network the node's own, else the
/// definition's, else made of the id.
#[must_use]
pub fn hostname(uid: &Uid, instance: &str, workload: &WorkloadSpec) -> String {
    let node = || nix::unistd::gethostname().ok()?.into_string().ok();
    let own = match (workload.host_network, &workload.hostname) {
        (true, None) => node(),
        _ => None,
    };
    own.unwrap_or_else(|| config_json::hostname(uid, instance, workload))
}

/// Writes the files into the bundle; returns each with where it is seen inside.
///
/// # Errors
/// One can't be written.
pub fn write(
    bundle: &Path,
    names: &Names<'_>,
) -> Result<Vec<(PathBuf, &'static str)>, BundleError> {
    let mut files = Vec::with_capacity(3);
    for (name, target, text) in [
        ("hosts", "/etc/hosts", hosts(names, &read("/etc/hosts"))),
        (
            "hostname",
            "/etc/hostname",
            format!("{}\n", word(names.hostname)),
        ),
        ("resolv.conf", "/etc/resolv.conf", resolv_conf(names)),
    ] {
        let path = bundle.join(name);
        // Other users inside read them too; on the node the directories above are closed.
        write_file(&path, 0o644, text.as_bytes())?;
        files.push((path, target));
    }
    Ok(files)
}

fn read(path: &str) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One word of a line: what could end it is left out.
fn word(text: &str) -> String {
    let plain = |c: &char| !c.is_whitespace() && !c.is_control() && *c != '#';
    text.chars().filter(plain).collect()
}

/// On the node's network its own hosts; else the loopback names and those of the sandbox's
/// addresses. In both cases the definition's aliases follow.
fn hosts(names: &Names<'_>, of_node: &str) -> String {
    let mut text = String::new();
    if names.workload.host_network && !of_node.is_empty() {
        text.push_str(of_node.trim_end());
        text.push('\n');
    } else {
        text.push_str(
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\t\
             ip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\t\
             ip6-allrouters\n",
        );
        let hostname = word(names.hostname);
        let nowhere = [IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1))];
        let addresses = match names.addresses {
            [] => &nowhere,
            some => some,
        };
        for address in addresses {
            let _ = writeln!(text, "{address}\t{hostname}");
        }
    }
    for alias in &names.workload.host_aliases {
        let words: Vec<_> = alias.names.iter().map(|name| word(name)).collect();
        let _ = writeln!(text, "{}\t{}", alias.ip, words.join(" "));
    }
    text
}

/// The node's servers with the definition's after them.
fn resolv_conf(names: &Names<'_>) -> String {
    let (node, resolved) = (read("/etc/resolv.conf"), read(RESOLVED));
    compose(
        &node,
        &resolved,
        names.workload.host_network,
        &names.workload.dns,
    )
}

/// What a resolv.conf(5) says, as far as it is handed on.
#[derive(Debug, Default)]
struct Resolver {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

impl Resolver {
    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let key = words.next();
            let rest = words
                .take_while(|w| !w.starts_with(['#', ';']))
                .map(str::to_owned);
            match key {
                Some("nameserver") => found.servers.extend(rest.take(1)),
                // The last of them holds.
                Some("search" | "domain") => found.searches = rest.collect(),
                Some("options") => found.options.extend(rest),
                _ => {}
            }
        }
        found
    }
}

/// Is the server on the node itself? From a network of one's own it can't be asked.
fn is_loopback(server: &str) -> bool {
    let address = server.split('%').next().unwrap_or(server);
    let parsed: Result<IpAddr, _> = address.parse();
    parsed.is_ok_and(|address| address.is_loopback() || address.is_unspecified())
}

/// The text of a sandbox's resolv.conf. A server that the node asks on its own loopback
/// (`127.0.0.53`, dnsmasq) can't be reached from a network namespace: the servers that
/// systemd-resolved asks itself take its place where they are known, as with kubelet and docker;
/// else it is left out, and the file says so.
fn compose(node: &str, resolved: &str, host_network: bool, dns: &Dns) -> String {
    let mut all = match dns.own_only {
        true => Resolver::default(),
        false => Resolver::parse(node),
    };
    let mut text = String::new();
    if !host_network && all.servers.iter().any(|s| is_loopback(s)) {
        let (off, mut kept): (Vec<_>, Vec<_>) = all.servers.drain(..).partition(|s| is_loopback(s));
        if kept.is_empty() {
            let behind = Resolver::parse(resolved).servers;
            kept.extend(behind.into_iter().filter(|s| !is_loopback(s)));
        }
        if kept.is_empty() {
            let _ = writeln!(
                text,
                "# riklet: {} is on the node's loopback and can't be asked from here; give \
                 dnsConfig.nameservers",
                off.join(", ")
            );
        }
        all.servers = kept;
    }
    all.servers
        .extend(dns.servers.iter().map(IpAddr::to_string));
    all.searches.extend(dns.searches.iter().map(|s| word(s)));
    for (name, value) in &dns.options {
        // The definition's value takes the place of the node's.
        let key = word(name);
        all.options.retain(|o| o.split(':').next() != Some(&key));
        all.options.push(match value {
            Some(value) => format!("{key}:{}", word(value)),
            None => key,
        });
    }
    let mut seen = Vec::new();
    for server in all.servers {
        if !seen.contains(&server) {
            let _ = writeln!(text, "nameserver {server}");
            seen.push(server);
        }
    }
    for (key, words) in [("search", all.searches), ("options", all.options)] {
        if !words.is_empty() {
            let _ = writeln!(text, "{key} {}", words.join(" "));
        }
    }
    text
}

#[cfg(test)]
mod tests;
