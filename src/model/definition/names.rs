//! Names on the network: hostname, DNS, /etc/hosts.

use std::net::IpAddr;

use super::{
    reader::{Fields, Findings},
    tables::{DNS_CONFIG, DNS_OPTION, HOST_ALIAS},
    words,
};
use crate::model::spec::{Dns, HostAlias};

/// The resolver's own limit.
const MAX_SERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_TEXT: usize = 2048;

pub(super) fn hostname(pod: &Fields<'_>, findings: &mut Findings) -> Option<String> {
    let name = pod.string("hostname", findings).filter(|n| !n.is_empty())?;
    if !words::label_like(name, &[]) {
        findings.fault(
            "spec.hostname",
            "must have 1 to 63 letters, digits and '-', with a letter or digit at either end",
        );
    }
    Some(name.to_owned())
}

pub(super) fn dns(pod: &Fields<'_>, findings: &mut Findings) -> Dns {
    let policies = [
        ("ClusterFirst", false),
        ("ClusterFirstWithHostNet", false),
        ("Default", false),
        ("None", true),
        ("", false),
    ];
    let own_only = pod.one_of("dnsPolicy", &policies, findings) == Some(true);
    let mut dns = Dns {
        own_only,
        ..Dns::default()
    };
    if let Some(config) = pod.object("dnsConfig", &DNS_CONFIG, findings) {
        dns.servers = servers(&config, findings);
        dns.searches = searches(&config, findings);
        dns.options = options(&config, findings);
        if !config.list("nameservers", findings).is_empty() {
            return dns;
        }
    }
    if own_only {
        findings.fault(
            "spec.dnsConfig.nameservers",
            "must have one with the dnsPolicy None",
        );
    }
    dns
}

fn servers(config: &Fields<'_>, findings: &mut Findings) -> Vec<IpAddr> {
    let at = config.at("nameservers");
    let texts = config.texts("nameservers", findings);
    if texts.len() > MAX_SERVERS {
        findings.fault(&at, format!("has more than {MAX_SERVERS} addresses"));
    }
    let mut servers = Vec::new();
    for (path, text) in texts {
        match text.parse() {
            Ok(address) => servers.push(address),
            Err(_) => findings.fault(&path, "must be an address"),
        }
    }
    servers
}

fn searches(config: &Fields<'_>, findings: &mut Findings) -> Vec<String> {
    let texts = config.texts("searches", findings);
    let letters: usize = texts.iter().map(|(_, text)| text.len() + 1).sum();
    if texts.len() > MAX_SEARCHES || letters > MAX_SEARCH_TEXT {
        findings.fault(
            &config.at("searches"),
            format!("has more than {MAX_SEARCHES} domains or {MAX_SEARCH_TEXT} characters"),
        );
    }
    for (path, text) in &texts {
        if *text != "." && !words::domain(text) {
            findings.fault(path, "must be a domain");
        }
    }
    texts.into_iter().map(|(_, text)| text.to_owned()).collect()
}

fn options(config: &Fields<'_>, findings: &mut Findings) -> Vec<(String, Option<String>)> {
    let plain = |text: &str| {
        let bad = |c: char| c.is_whitespace() || c.is_control() || c == ':';
        text.len() <= 64 && !text.contains(bad)
    };
    let mut options = Vec::new();
    for entry in config.objects("options", &DNS_OPTION, findings) {
        let name = entry.required("name", findings).unwrap_or("x");
        let value = entry.string("value", findings);
        if name.is_empty() || !plain(name) {
            findings.fault(&entry.at("name"), "must be a word of at most 64 characters");
        }
        if !value.is_none_or(plain) {
            findings.fault(
                &entry.at("value"),
                "must be a word of at most 64 characters",
            );
        }
        options.push((name.to_owned(), value.map(str::to_owned)));
    }
    options
}

pub(super) fn host_aliases(pod: &Fields<'_>, findings: &mut Findings) -> Vec<HostAlias> {
    let mut aliases = Vec::new();
    for entry in pod.objects("hostAliases", &HOST_ALIAS, findings) {
        let names = entry.texts("hostnames", findings);
        for (path, name) in &names {
            if !words::domain(name) {
                findings.fault(path, "must be a name of letters, digits, '-' and '.'");
            }
        }
        match entry.required("ip", findings).map(str::parse) {
            Some(Ok(ip)) => aliases.push(HostAlias {
                ip,
                names: names.into_iter().map(|(_, name)| name.to_owned()).collect(),
            }),
            Some(Err(_)) => findings.fault(&entry.at("ip"), "must be an address"),
            None => {}
        }
    }
    aliases
}
