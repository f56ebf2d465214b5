//! The network that riklet makes up itself where the operator gives none: a bridge of its own,
//! addresses by host-local, ports by portmap.
//!
//! Owns: its form, the choice of its subnet, and the file that keeps that choice. In: the node's
//! uid, the routes. Out: a configuration list's text. Must never happen here: a name or a subnet
//! that another riklet on the machine has.

use std::{fs, io, net::Ipv4Addr, path::Path};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{model::ids::NodeUid, runtime::bundle::make_private_directory};

/// Of which a /24 is taken: 10.88.0.0/13, apart from what docker (172.17/16), Kubernetes
/// (10.96/12, 10.244/16) and clouds use by default.
const POOL: (Ipv4Addr, u32) = (Ipv4Addr::new(10, 88, 0, 0), 2048);

/// An IPv4 subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    first: u32,
    prefix: u8,
}

impl std::str::FromStr for Subnet {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "an IPv4 subnet like \"10.88.7.0/24\", at most /29";
        let (address, prefix) = text.split_once('/').ok_or(FORM)?;
        let address: Ipv4Addr = address.parse().map_err(|_| FORM)?;
        let prefix: u8 = prefix.parse().map_err(|_| FORM)?;
        let subnet = Self {
            first: address.into(),
            prefix,
        };
        let fits = (8..=29).contains(&prefix) && subnet.first & !subnet.mask() == 0;
        fits.then_some(subnet).ok_or(FORM)
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.first), self.prefix)
    }
}

impl Subnet {
    fn mask(self) -> u32 {
        u32::MAX
            .checked_shl(32 - u32::from(self.prefix))
            .unwrap_or(0)
    }

    fn overlaps(self, other: Self) -> bool {
        let mask = self.mask() & other.mask();
        self.first & mask == other.first & mask
    }
}

/// What it takes, besides iptables.
pub const PLUGINS: [&str; 3] = ["bridge", "host-local", "portmap"];

/// The network's name, which every rule and every address of it bears.
#[must_use]
pub fn name(node: &NodeUid) -> String {
    format!("riklet-{node}")
}

/// Its bridge: 13 of the 15 characters that an interface's name may have.
#[must_use]
pub fn bridge(node: &NodeUid) -> String {
    format!("rk-{node}")
}

/// The text of the list, and the file `keep` made to say the same. The subnet is `wished`, or the
/// one that the file has, or a free one that is chosen now.
///
/// # Errors
/// The file can't be written.
pub fn text(
    node: &NodeUid,
    wished: Option<Subnet>,
    keep: &Path,
    addresses: &Path,
) -> io::Result<String> {
    let former = fs::read_to_string(keep).unwrap_or_default();
    let subnet = wished.or_else(|| subnet_of(&former));
    let subnet = subnet.unwrap_or_else(|| {
        let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
        let resolv = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        choose(node, &taken(&routes, &resolv))
    });
    let list = json!({
        "cniVersion": "1.0.0",
        "name": name(node),
        "plugins": [
            {
                "type": "bridge",
                "bridge": bridge(node),
                "isGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": addresses,
                    "ranges": [[{ "subnet": subnet.to_string() }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true }, "snat": true },
        ],
    });
    let text = format!("{list:#}\n");
    if text != former {
        if let Some(dir) = keep.parent() {
            make_private_directory(dir)?;
        }
        let new = keep.with_extension("new");
        fs::write(&new, &text)?;
        fs::rename(new, keep)?;
    }
    Ok(text)
}

/// The list without the plugin for ports: a sandbox that maps none doesn't pay for it.
#[must_use]
pub fn without_ports(text: &str) -> String {
    let Ok(mut list) = serde_json::from_str::<Value>(text) else {
        return text.to_owned();
    };
    if let Some(plugins) = list.get_mut("plugins").and_then(Value::as_array_mut) {
        plugins.retain(|plugin| plugin["type"] != "portmap");
    }
    list.to_string()
}

fn subnet_of(text: &str) -> Option<Subnet> {
    let list: Value = serde_json::from_str(text).ok()?;
    let subnet = list.pointer("/plugins/0/ipam/ranges/0/0/subnet")?;
    subnet.as_str()?.parse().ok()
}

/// What routes and name servers of the node already use.
fn taken(routes: &str, resolv: &str) -> Vec<Subnet> {
    let hex = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::swap_bytes);
    let mut taken = Vec::new();
    for line in routes.lines().skip(1) {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (Some(first), Some(mask)) = (
            fields.get(1).and_then(|f| hex(f)),
            fields.get(7).and_then(|f| hex(f)),
        ) else {
            continue;
        };
        let prefix = u8::try_from(mask.count_ones()).unwrap_or(32);
        // The default route takes nothing, but its gateway does.
        if prefix > 0 {
            taken.push(Subnet { first, prefix });
        }
        if let Some(first) = fields.get(2).and_then(|f| hex(f)).filter(|g| *g != 0) {
            taken.push(Subnet { first, prefix: 32 });
        }
    }
    let servers = resolv.lines().filter_map(|l| l.strip_prefix("nameserver "));
    let servers = servers.filter_map(|s| s.trim().parse::<Ipv4Addr>().ok());
    taken.extend(servers.map(|server| Subnet {
        first: server.into(),
        prefix: 32,
    }));
    taken
}

/// A /24 of the pool that nothing uses, another one for each node.
fn choose(node: &NodeUid, taken: &[Subnet]) -> Subnet {
    let hash = Sha256::digest(node.as_str().as_bytes());
    let start = u32::from_be_bytes([0, 0, hash[0], hash[1]]);
    let nth = |n: u32| Subnet {
        first: u32::from(POOL.0) + ((start + n) % POOL.1) * 256,
        prefix: 24,
    };
    let free = |subnet: &Subnet| !taken.iter().any(|other| other.overlaps(*subnet));
    (0..POOL.1).map(nth).find(free).unwrap_or_else(|| nth(0))
}

#[cfg(test)]
mod tests;
