//! What a sandbox joins and leaves: namespaces, addresses, ports of a bridge, rules.
//!
//! Much of it lies where everybody's things lie. riklet's own network bears the node's uid, so all
//! of that is the node's; of an operator's network only what bears the uid of an incarnation that
//! the journal has ever named.

use std::{fs, path::Path};

use super::{Ground, LookError, Of, Thing, names, of_uid};
use crate::{
    model::ids::Uid,
    network::{firewall, links, netns, own},
    runtime::layout::Layout,
};

pub(super) fn all(
    ground: &Ground,
    layout: &Layout,
    found: &mut Vec<Thing>,
) -> Result<(), LookError> {
    namespaces(ground, found)?;
    for network in names(&layout.addresses())? {
        addresses(&layout.addresses().join(network), &|_| true, found)?;
    }
    let own = own::name(&ground.node);
    let others = ground.networks.iter().filter(|(name, _)| **name != own);
    for dir in others.filter_map(|(_, dir)| dir.as_ref()) {
        let known = |uid: &str| uid.parse().is_ok_and(|uid| ground.uids.contains(&uid));
        addresses(dir, &known, found)?;
    }
    ports(ground, found)?;
    // Asking the firewall may load it: not where nobody has ever joined a network.
    if layout.own_network().exists() || !ground.networks.is_empty() {
        rules(ground, found)?;
    }
    Ok(())
}

fn namespaces(ground: &Ground, found: &mut Vec<Thing>) -> Result<(), LookError> {
    for name in netns::list("rk-").map_err(LookError::Namespaces)? {
        let uid = name.strip_prefix("rk-").and_then(|uid| uid.parse().ok());
        // Others may be another node's.
        if let Some(uid) = uid.filter(|uid| ground.uids.contains(uid)) {
            found.push(Thing {
                kind: "netns",
                what: netns::path(&name).display().to_string(),
                of: Of::Incarnation(uid),
            });
        }
    }
    Ok(())
}

/// host-local's files: named by the address, with the container's id in their first line.
fn addresses(
    dir: &Path,
    is_ours: &dyn Fn(&str) -> bool,
    found: &mut Vec<Thing>,
) -> Result<(), LookError> {
    if !dir.is_dir() {
        return Ok(());
    }
    for name in names(dir)? {
        if name.parse::<std::net::IpAddr>().is_err() {
            continue;
        }
        let path = dir.join(name);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let owner = text.lines().next().unwrap_or_default().trim();
        let owner = owner.strip_prefix("rk-").unwrap_or(owner);
        let uid = owner.split('-').next().unwrap_or_default();
        if is_ours(uid) {
            found.push(Thing {
                kind: "address",
                what: path.display().to_string(),
                of: of_uid(uid),
            });
        }
    }
    Ok(())
}

/// Each port of the node's bridge is one end of a veth; its other end lies in a sandbox's network
/// namespace, or in one that somebody else has named.
fn ports(ground: &Ground, found: &mut Vec<Thing>) -> Result<(), LookError> {
    let bridge = own::bridge(&ground.node);
    let ports = match links::ports(&bridge) {
        Ok(ports) => ports,
        Err(source) => return Err(LookError::Ports { bridge, source }),
    };
    if ports.is_empty() {
        return Ok(());
    }
    let named = netns::list("").map_err(LookError::Namespaces)?;
    let numbers: Vec<_> = named
        .iter()
        .map(|name| (links::number_of(&netns::path(name)), name))
        .collect();
    for port in ports {
        // Both ends in the node's own: somebody else's work.
        let Some(behind) = port.behind else { continue };
        let mut of = numbers.iter().filter(|(number, _)| *number == Some(behind));
        let of = match of.next() {
            None => Of::Nobody("no named network namespace is behind this port of the bridge"),
            Some((_, name)) => match name.strip_prefix("rk-").and_then(|uid| uid.parse().ok()) {
                Some(uid) => Of::Incarnation(uid),
                None => continue,
            },
        };
        found.push(Thing {
            kind: "link",
            what: port.name,
            of,
        });
    }
    Ok(())
}

fn rules(ground: &Ground, found: &mut Vec<Thing>) -> Result<(), LookError> {
    let Some(table) = firewall::table().map_err(LookError::Firewall)? else {
        return Ok(());
    };
    let own = own::name(&ground.node);
    let networks = || ground.networks.keys().chain([&own]);
    let known = ground
        .uids
        .iter()
        .flat_map(|uid| networks().map(move |network| (network.as_str(), uid.as_str())));
    let is_ours = |network: &str, id: &str| {
        let heard_of = |uid: Uid| ground.uids.contains(&uid);
        network == own || id.parse().is_ok_and(heard_of)
    };
    for trace in firewall::traces(&table, known, is_ours) {
        found.push(Thing {
            kind: if trace.is_chain { "chain" } else { "rule" },
            what: format!("nat {}", trace.words),
            of: of_uid(&trace.id),
        });
    }
    Ok(())
}
