//! Which network a sandbox joins, and how it joins and leaves.
//!
//! Owns: the choice between the operator's network and riklet's own, and that what is left is left
//! by the very list that was joined by, also where namespace, boot or plugins are gone meanwhile.
//! In: workloads, claims. Out: claims, addresses. Must never happen here: leaving by what the
//! configuration says now.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;

use super::{
    cni::{self, Attachment, Cni, CniError, ConfigList, ListError},
    firewall,
    lack::{self, Lack},
    links,
    own::{self, Subnet},
};
use crate::{
    config,
    model::{
        ids::{NodeUid, Uid},
        line::NetworkClaim,
        spec::WorkloadSpec,
    },
    runtime::{
        layout::Layout,
        process::{CallError, Spawner},
    },
};

/// What the operator says of the network.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// False: instances have `lo` only, and that is as it should be.
    pub enabled: bool,
    /// Where the operator's configuration list is; none: riklet makes up its own.
    pub conf_dir: Option<PathBuf>,
    /// Where plugins are.
    pub bin_dirs: Vec<PathBuf>,
    /// The own network's addresses; none: a free /24.
    pub subnet: Option<Subnet>,
    /// How long a plugin may take.
    pub deadline: Duration,
}

impl NetworkConfig {
    /// As the settings have it.
    #[must_use]
    pub fn of(settings: &config::Network, deadline: Duration) -> Self {
        Self {
            enabled: settings.enabled,
            conf_dir: settings.conf_dir.clone(),
            bin_dirs: settings.bin_dirs.clone(),
            // Its form was checked where it was read.
            subnet: settings.subnet.as_ref().and_then(|text| text.parse().ok()),
            deadline,
        }
    }

    /// No network at all.
    #[must_use]
    pub fn off() -> Self {
        Self {
            enabled: false,
            conf_dir: None,
            bin_dirs: Vec::new(),
            subnet: None,
            deadline: Duration::from_secs(30),
        }
    }
}

/// Why a network couldn't be claimed, joined or left.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// There is no usable configuration.
    #[error("find the network's configuration")]
    List(#[from] ListError),
    /// The own network's file can't be written.
    #[error("write the node's own network to {}", path.display())]
    Own {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A plugin says no, or can't be asked.
    #[error("{verb} the network {network}")]
    Plugin {
        /// `join`, `check` or `leave`.
        verb: &'static str,
        /// Its name.
        network: String,
        /// Why.
        source: Box<CniError>,
    },
    /// The firewall can't be read or changed.
    #[error("remove what is left in the firewall")]
    Firewall(#[from] CallError),
    /// A bridge that was half made couldn't be taken away.
    #[error("remove the half-made bridge {bridge}")]
    Bridge {
        /// Its name.
        bridge: String,
        /// Why.
        source: io::Error,
    },
    /// An address couldn't be given back.
    #[error("give back an address in {}", path.display())]
    Address {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The node's network.
#[derive(Clone)]
pub struct Network {
    cni: Cni,
    config: NetworkConfig,
    node: NodeUid,
    /// Where the own network's list is kept, and where its addresses.
    keep: PathBuf,
    addresses: PathBuf,
    /// Who reads and writes that list, or takes the bridge away: the first sandboxes of a node are
    /// asked for at once, and the subnet is chosen once.
    turn: Arc<Mutex<()>>,
}

impl Network {
    /// The network of a node with these directories.
    #[must_use]
    pub fn new(config: NetworkConfig, spawner: Spawner, node: NodeUid, layout: &Layout) -> Self {
        Self {
            cni: Cni::new(spawner, config.bin_dirs.clone(), config.deadline),
            config,
            node,
            keep: layout.own_network(),
            addresses: layout.addresses(),
            turn: Arc::default(),
        }
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In turn: what somebody else has made anew meanwhile isn't taken for what he has removed.
    fn clear_half_made_bridge(&self) -> Result<(), NetworkError> {
        let _turn = self.turn();
        let bridge = own::bridge(&self.node);
        if links::is_half_made(&bridge) {
            links::delete(&bridge).map_err(|source| NetworkError::Bridge { bridge, source })?;
        }
        Ok(())
    }

    /// Text and list of the network that is joined now; blocks on files.
    fn current(&self) -> Result<(String, ConfigList), NetworkError> {
        if let Some(dir) = &self.config.conf_dir {
            return Ok(ConfigList::load(dir)?);
        }
        let _turn = self.turn();
        let text = own::text(&self.node, self.config.subnet, &self.keep, &self.addresses);
        let text = text.map_err(|source| NetworkError::Own {
            path: self.keep.clone(),
            source,
        })?;
        let list = ConfigList::parse(&text)?;
        Ok((text, list))
    }

    /// As [`lack::missing`], of this node.
    #[must_use]
    pub fn missing(&self) -> Option<Lack> {
        lack::missing(&self.config)
    }

    /// What a workload's sandbox would join now: nothing on the node's network, or where there
    /// is none to join. Blocks on files.
    ///
    /// # Errors
    /// The configuration can't be read or used.
    pub fn claim(&self, workload: &WorkloadSpec) -> Result<Option<NetworkClaim>, NetworkError> {
        if workload.host_network || !self.config.enabled {
            return Ok(None);
        }
        let (text, list) = self.current()?;
        if cni::missing(list.programs(), &self.config.bin_dirs).is_some() {
            return Ok(None);
        }
        let ports: Vec<_> = workload.host_ports().map(|(_, p)| p.clone()).collect();
        let network = list.name().to_owned();
        let config = match ports.is_empty() && self.is_own(&network) {
            true => own::without_ports(&text),
            false => text,
        };
        Ok(Some(NetworkClaim {
            network,
            config,
            ports,
        }))
    }

    /// Joins; returns CNI's result, which leaving needs.
    ///
    /// # Errors
    /// The claim's list is none, or a plugin refused; what was made is for [`Network::leave`].
    pub async fn join(
        &self,
        uid: &Uid,
        claim: &NetworkClaim,
        netns: &Path,
    ) -> Result<Value, NetworkError> {
        let list = ConfigList::parse(&claim.config)?;
        if self.is_own(&claim.network) {
            self.clear_half_made_bridge()?;
        }
        let added = self.cni.add(&list, at(uid, claim, Some(netns))).await;
        added.map_err(failed("join", claim))
    }

    /// Does what was joined still stand?
    ///
    /// # Errors
    /// A plugin says no.
    pub async fn check(
        &self,
        uid: &Uid,
        claim: &NetworkClaim,
        netns: &Path,
        joined: &Value,
    ) -> Result<(), NetworkError> {
        let list = match self.is_own(&claim.network) {
            // portmap 1.1 looks for rules of IPv6 also where no address is one, and never finds
            // them.
            true => ConfigList::parse(&own::without_ports(&claim.config))?,
            false => ConfigList::parse(&claim.config)?,
        };
        let at = at(uid, claim, Some(netns));
        let checked = self.cni.check(&list, at, joined).await;
        checked.map_err(failed("check", claim))
    }

    /// Leaves by the claim that was joined by. Not joined, or half, is fine; so is a namespace
    /// that is gone, and, for the own network, plugins that are.
    ///
    /// # Errors
    /// A plugin refused, or something of it is left.
    pub async fn leave(
        &self,
        uid: &Uid,
        claim: &NetworkClaim,
        netns: Option<&Path>,
        joined: Option<&Value>,
    ) -> Result<(), NetworkError> {
        let list = ConfigList::parse(&claim.config)?;
        let own = self.is_own(&claim.network);
        let left = self.cni.del(&list, at(uid, claim, netns), joined).await;
        match left {
            Ok(()) => {}
            Err(CniError::Missing { .. }) if own => {}
            // bridge 1.1 fails to leave what it hasn't joined to its end (its chain isn't there).
            // Told that the namespace is gone, which it will be, it gives back the address.
            Err(CniError::Refused { .. }) if netns.is_some() => {
                let again = self.cni.del(&list, at(uid, claim, None), joined).await;
                again.map_err(failed("leave", claim))?;
            }
            Err(e) => return Err(failed("leave", claim)(e)),
        }
        // Always: bridge's DEL removes its rule last, by the addresses that it has just taken off
        // the interface, so one that was killed in between can't be done again.
        let spawner = self.cni.spawner();
        firewall::clear(spawner, &claim.network, |_| false, Some(uid.as_str())).await?;
        if own {
            self.give_back(|id| id == uid.as_str())?;
        }
        Ok(())
    }

    /// Leaves what was joined in a former boot: namespaces and rules are gone with that, and of
    /// the own network only the addresses may be left, where the run directory was kept.
    ///
    /// # Errors
    /// As [`Network::leave`].
    pub async fn leave_former_boot(
        &self,
        uid: &Uid,
        claim: &NetworkClaim,
        joined: Option<&Value>,
    ) -> Result<(), NetworkError> {
        match self.is_own(&claim.network) {
            true => self.give_back(|id| id == uid.as_str()),
            false => self.leave(uid, claim, None, joined).await,
        }
    }

    /// Removes whatever the own network holds for an incarnation of which nothing is known.
    ///
    /// # Errors
    /// Something of it can't be removed.
    pub async fn forget(&self, uid: &Uid) -> Result<(), NetworkError> {
        if !self.keep.exists() {
            return Ok(());
        }
        self.give_back(|id| id == uid.as_str())?;
        let network = own::name(&self.node);
        let spawner = self.cni.spawner();
        firewall::clear(spawner, &network, |_| false, Some(uid.as_str())).await?;
        Ok(())
    }

    /// Removes what the own network still holds for incarnations that aren't `known`: addresses,
    /// rules. First thing after a start, while nothing is joined or left.
    ///
    /// # Errors
    /// Something of it can't be removed.
    pub async fn sweep(&self, known: impl Fn(&Uid) -> bool) -> Result<(), NetworkError> {
        if !self.keep.exists() {
            return Ok(()); // Nobody has ever joined it.
        }
        // What isn't a uid was never given away here; but a plugin that was killed while it made
        // an address's file leaves it empty, and nobody would ever give that back.
        let is_left = |id: &str| id.is_empty() || id.parse::<Uid>().is_ok_and(|uid| !known(&uid));
        self.give_back(is_left)?;
        let network = own::name(&self.node);
        firewall::clear(self.cni.spawner(), &network, is_left, None).await?;
        Ok(())
    }

    fn is_own(&self, network: &str) -> bool {
        network == own::name(&self.node)
    }

    /// Gives back addresses of the own network: host-local has a file for each, named by the
    /// address, with the container's id in its first line.
    fn give_back(&self, whose: impl Fn(&str) -> bool) -> Result<(), NetworkError> {
        let dir = self.addresses.join(own::name(&self.node));
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| NetworkError::Address { path, source }
        };
        let entries = match fs::read_dir(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed(&dir))?,
        };
        for entry in entries {
            let path = entry.map_err(failed(&dir))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.parse::<std::net::IpAddr>().is_err() {
                continue; // Its lock, and where it goes on.
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            if whose(text.lines().next().unwrap_or("").trim()) {
                match fs::remove_file(&path) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(&path)(e)),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn at<'a>(uid: &'a Uid, claim: &'a NetworkClaim, netns: Option<&'a Path>) -> Attachment<'a> {
    Attachment {
        uid,
        netns,
        ports: &claim.ports,
    }
}

fn failed(verb: &'static str, claim: &NetworkClaim) -> impl Fn(CniError) -> NetworkError {
    let network = claim.network.clone();
    move |source| NetworkError::Plugin {
        verb,
        network: network.clone(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests;
