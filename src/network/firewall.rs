//! What CNI's bridge and portmap may leave in the firewall, and its removal.
//!
//! Why: bridge's DEL forgets its masquerading rule if the namespace is gone before it, or if it
//! was killed once (it reads the addresses in there and takes them away first), and a rule for an address that somebody else gets later is somebody
//! else's trouble. Owns: finding by name: both call their chains by a hash of network and
//! container id, and comment their rules with both. In: names. Must never happen here: a change of
//! a rule or chain that isn't named so; the chains `CNI-HOSTPORT-*` are everybody's.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use sha2::{Digest as _, Sha512};

use crate::runtime::process::{AskError, Call, CallError, Spawner, ask};

/// Both programs answer within milliseconds, unless another holds their lock.
const DEADLINE: Duration = Duration::from_secs(10);

/// Of a node with a hundred thousand rules.
const KEEP: usize = 16 << 20;

/// The chains of a sandbox: bridge's for masquerading, portmap's for its ports; and one of
/// portmap before 1.0.
fn chains(network: &str, id: &str) -> [String; 3] {
    let hash = Sha512::digest(format!("{network}{id}").as_bytes());
    let hash = data_encoding::HEXLOWER.encode(&hash);
    // A chain's name has at most 28 characters.
    ["CNI-", "CNI-DN-", "CNI-SN-"].map(|p| format!("{p}{}", &hash[..28 - p.len()]))
}

/// The words that remove everything of one sandbox from what iptables-save says; none if there is
/// nothing.
fn removal(rules: &str, network: &str, id: &str) -> Option<String> {
    let chains = chains(network, id);
    let is_ours = |word: &str| chains.iter().any(|chain| chain == word);
    let mut jumps = String::new();
    let mut own = BTreeSet::new();
    for line in rules.lines() {
        let mut words = line.split(' ');
        match words.next() {
            Some("-A") => {
                let chain = words.next().unwrap_or("");
                let rest: Vec<_> = words.collect();
                let to = rest.windows(2).find(|w| matches!(w[0], "-j" | "-g"));
                if !is_ours(chain) && to.is_some_and(|w| is_ours(w[1])) {
                    jumps.push_str(&format!("-D {}\n", &line["-A ".len()..]));
                }
            }
            Some(first) if first.starts_with(':') && is_ours(&first[1..]) => {
                own.insert(&first[1..]);
            }
            _ => {}
        }
    }
    let flush: String = own.iter().map(|c| format!("-F {c}\n")).collect();
    let delete: String = own.iter().map(|c| format!("-X {c}\n")).collect();
    let all = format!("{jumps}{flush}{delete}");
    (!all.is_empty()).then(|| format!("*nat\n{all}COMMIT\n"))
}

/// Network and id that a rule is commented with, in iptables-save's quoting.
fn mark(line: &str) -> Option<(&str, &str)> {
    let (_, after) = line.split_once("name: \\\"")?;
    let (network, rest) = after.split_once("\\\" id: \\\"")?;
    Some((network, rest.split_once("\\\"")?.0))
}

/// The ids of a network's sandboxes that rules are commented with.
fn ids(rules: &str, network: &str) -> BTreeSet<String> {
    let marks = rules.lines().filter_map(mark);
    let ids = marks.filter(|(of, _)| *of == network);
    ids.map(|(_, id)| id.to_owned()).collect()
}

/// The nat table as iptables-save says it; none where there is no iptables. Blocks; for clients.
///
/// # Errors
/// iptables-save failed.
pub fn table() -> Result<Option<String>, AskError> {
    match ask(Path::new("iptables-save"), &["-t", "nat"], DEADLINE) {
        Err(e) if e.is_missing() => Ok(None),
        said => Ok(Some(String::from_utf8_lossy(&said?).into_owned())),
    }
}

/// A chain of a sandbox, or a rule in somebody else's chain that bears its mark or leads to its.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The sandbox.
    pub id: String,
    /// Is it a chain, or a rule?
    pub is_chain: bool,
    /// The chain's name; or the rule as iptables takes it after `-A` or `-D`.
    pub words: String,
}

/// Every trace in a nat table of the sandboxes that are ours by network and id, and of the `known`
/// ones, whose chains are found by name alone.
#[must_use]
pub fn traces<'a>(
    table: &'a str,
    known: impl Iterator<Item = (&'a str, &'a str)>,
    is_ours: impl Fn(&str, &str) -> bool,
) -> Vec<Trace> {
    let marks = table.lines().filter_map(mark);
    let ours: BTreeSet<_> = marks.filter(|(of, id)| is_ours(of, id)).collect();
    let mut owners = BTreeMap::new();
    for (network, id) in known.chain(ours.iter().copied()) {
        owners.extend(chains(network, id).map(|chain| (chain, id)));
    }
    let owner = |chain: &str| owners.get(chain).copied();
    let trace = |line: &'a str| {
        if let Some(rule) = line.strip_prefix("-A ") {
            let words: Vec<_> = rule.split(' ').collect();
            // What is in a chain of ours goes with it.
            if owner(words[0]).is_some() {
                return None;
            }
            let to = words.windows(2).find(|w| matches!(w[0], "-j" | "-g"));
            let marked = mark(line).filter(|mark| ours.contains(mark));
            let id = marked.map(|(_, id)| id);
            return Some((id.or_else(|| owner(to?[1]))?, false, rule));
        }
        let chain = line.strip_prefix(':')?.split(' ').next()?;
        Some((owner(chain)?, true, chain))
    };
    let found = table.lines().filter_map(trace);
    found
        .map(|(id, is_chain, words)| Trace {
            id: id.to_owned(),
            is_chain,
            words: words.to_owned(),
        })
        .collect()
}

/// Removes what is left of those sandboxes of a network for which `is_left` holds, and of `also`
/// by name. Where there is no iptables there is nothing. Returns whether there was anything.
///
/// # Errors
/// iptables-save or iptables-restore failed.
pub async fn clear(
    spawner: &Spawner,
    network: &str,
    is_left: impl Fn(&str) -> bool,
    also: Option<&str>,
) -> Result<bool, CallError> {
    let save = Call::new("iptables-save", DEADLINE)
        .args(["-t", "nat"])
        .keep(KEEP);
    let rules = match spawner.call(save).await {
        Err(CallError::Missing { .. }) => return Ok(false),
        saved => saved?.stdout,
    };
    let rules = String::from_utf8_lossy(&rules);
    let mut ids = ids(&rules, network);
    ids.retain(|id| is_left(id));
    ids.extend(also.map(str::to_owned));
    let mut any = false;
    for id in ids {
        if let Some(words) = removal(&rules, network, &id) {
            let restore = Call::new("iptables-restore", DEADLINE)
                .args(["--noflush", "-w", "5"])
                .verb("--noflush")
                .stdin(words);
            spawner.call(restore).await?;
            any = true;
        }
    }
    Ok(any)
}

#[cfg(test)]
mod tests;
