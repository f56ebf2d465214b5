//! The sandbox: what the containers of an incarnation share.
//!
//! The order is the point. The directory first, for it is the mark by which everything else is
//! known to be ours; the record in it before the first step, so that whoever comes after a crash
//! knows by which claim the network has to be left; the record again, as whole, after the last.
//! What isn't whole, or is of another boot, is taken back and made anew: a step is never resumed.
//!
//! Each work runs to its end although its caller has given up (a task of its own), and two works
//! on one incarnation wait for each other: nothing appears after a removal.

mod namespaces;
mod record;

use std::{collections::BTreeSet, fs, io, net::IpAddr, path::Path};

pub(super) use self::record::SandboxRecord;
use super::{ImageSource, RealNode, failure};
use crate::{
    error_chain::one_line,
    model::{ids::Uid, line::NetworkClaim, spec::WorkloadSpec, users::IdRange},
    network::{cni, netns, pins},
    node::{Failure, FailureKind, Sandbox, SandboxRequest},
    runtime::{bundle::etc, facts::Facts, layout::netns_name, tree, volumes},
};

/// What of a request outlives its borrow.
struct Wanted {
    uid: Uid,
    instance: String,
    workload: WorkloadSpec,
    claim: Option<NetworkClaim>,
    users: Option<IdRange>,
}

impl<I: ImageSource> RealNode<I> {
    /// Does the incarnation's sandbox stand, made whole in this boot? By files only.
    pub(super) fn sandbox_stands(&self, uid: &Uid) -> bool {
        let record = SandboxRecord::read(self.layout(), uid);
        record.is_some_and(|record| self.stands(uid, &record))
    }

    /// Does the incarnation share the node's network?
    pub(super) fn shares_network(&self, uid: &Uid) -> bool {
        SandboxRecord::read(self.layout(), uid).is_some_and(|record| record.host_network)
    }

    fn stands(&self, uid: &Uid, record: &SandboxRecord) -> bool {
        let layout = self.layout();
        record.whole
            && record.boot == self.0.boot
            && (record.host_network || netns::exists(&netns_name(uid)))
            && (record.host_ipc || pins::exists(&layout.ipc_namespace(uid)))
            && pins::exists(&layout.uts_namespace(uid))
            && (record.users.is_none() || pins::exists(&layout.user_namespace(uid)))
    }

    /// Makes the sandbox, or finds it made.
    pub(super) async fn make_sandbox(
        &self,
        request: SandboxRequest<'_>,
    ) -> Result<Sandbox, Failure> {
        let wanted = Wanted {
            uid: request.uid.clone(),
            instance: request.instance.to_owned(),
            workload: request.workload.clone(),
            claim: request.claim.cloned(),
            users: request.users,
        };
        let this = self.clone();
        let tried = format!("make the sandbox of {}", request.uid);
        // Waited for here, not in the work: who gives up before its turn has asked for nothing,
        // and a removal that is asked for after that can't come first.
        let turn = self.0.sandbox_turns.take(&wanted.uid).await;
        let work = tokio::spawn(async move {
            let _turn = turn;
            this.make_in_turn(wanted).await
        });
        work.await.map_err(|e| failure::hung_task(&tried, e))?
    }

    async fn make_in_turn(&self, wanted: Wanted) -> Result<Sandbox, Failure> {
        let uid = &wanted.uid;
        if let Some(found) = self.found_sandbox(&wanted).await? {
            return Ok(found.sandbox());
        }
        self.take_back(uid).await?;
        let mut record = SandboxRecord {
            boot: self.0.boot.clone(),
            host_network: wanted.workload.host_network,
            host_ipc: wanted.workload.host_ipc,
            users: wanted.users,
            claim: wanted.claim.clone(),
            ..SandboxRecord::default()
        };
        let tried = format!("make the sandbox of {uid}");
        let hostname = etc::hostname(uid, &wanted.instance, &wanted.workload);
        self.make_namespaces(uid, &record, hostname).await?;
        if let Some(claim) = &wanted.claim {
            let netns = netns::path(&netns_name(uid));
            match self.0.network.join(uid, claim, &netns).await {
                Ok(joined) => {
                    record.addresses = cni::addresses(&joined);
                    record.joined = Some(joined);
                }
                Err(e) => {
                    // At once, so that nothing holds an address while the next try waits.
                    if let Err(worse) = self.take_back(uid).await {
                        tracing::warn!(%uid, error = %one_line(&worse), "take back a sandbox");
                    }
                    return Err(failure::of_network(tried, e));
                }
            }
        }
        self.make_volumes(&wanted, &record.addresses).await?;
        record.whole = true;
        let (of, last) = (uid.clone(), record.clone());
        let end = move |node: &Self| {
            let written = last.write(node.layout(), &of);
            written.map_err(|e| failure::of_io(format!("record the sandbox of {of}"), e))
        };
        self.off_thread(&tried, end).await?;
        Ok(record.sandbox())
    }

    /// Makes the workload's volumes, after its network: their files may tell its addresses.
    async fn make_volumes(&self, wanted: &Wanted, addresses: &[IpAddr]) -> Result<(), Failure> {
        if wanted.workload.volumes.is_empty() {
            return Ok(());
        }
        let (uid, instance) = (wanted.uid.clone(), wanted.instance.clone());
        let (workload, addresses) = (wanted.workload.clone(), addresses.to_vec());
        let tried = format!("make the volumes of {uid}");
        self.off_thread(&tried, move |node| {
            let facts = Facts {
                node: &node.0.facts,
                instance: &instance,
                uid: &uid,
                workload: &workload,
                addresses: &addresses,
            };
            volumes::make(node.layout(), &facts).map_err(|e| failure::of_volume(&uid, e))
        })
        .await
    }

    /// The sandbox, if it stands and is what is wanted.
    async fn found_sandbox(&self, wanted: &Wanted) -> Result<Option<SandboxRecord>, Failure> {
        let uid = wanted.uid.clone();
        let tried = format!("look for the sandbox of {uid}");
        let look = move |node: &Self| {
            let record = SandboxRecord::read(node.layout(), &uid);
            Ok(record.filter(|record| node.stands(&uid, record)))
        };
        let found = self.off_thread(&tried, look).await?;
        let same = |found: &SandboxRecord| {
            found.claim == wanted.claim
                && found.host_network == wanted.workload.host_network
                && found.host_ipc == wanted.workload.host_ipc
                && found.users == wanted.users
        };
        let Some(found) = found.filter(same) else {
            return Ok(None);
        };
        if let (Some(claim), Some(joined)) = (&found.claim, &found.joined) {
            let netns = netns::path(&netns_name(&wanted.uid));
            let network = &self.0.network;
            if let Err(error) = network.check(&wanted.uid, claim, &netns, joined).await {
                let error = one_line(&error);
                tracing::warn!(uid = %wanted.uid, error, "a sandbox is made anew");
                return Ok(None);
            }
        }
        Ok(Some(found))
    }

    /// Takes back what a former try, or a former boot, made of a sandbox: everything but its
    /// directory. In the sandbox's turn.
    async fn take_back(&self, uid: &Uid) -> Result<(), Failure> {
        let of = uid.clone();
        let tried = format!("take back the sandbox of {uid}");
        let read = move |node: &Self| {
            let record = SandboxRecord::read(node.layout(), &of);
            Ok((record, netns::exists(&netns_name(&of))))
        };
        let (record, netns) = self.off_thread(&tried, read).await?;
        match record {
            Some(record) => self.leave_network(uid, &record, netns).await?,
            // Damage: by what claim it was joined is lost.
            None if netns => {
                let left = self.0.network.forget(uid).await;
                left.map_err(|e| failure::of_network(tried.clone(), e))?;
            }
            None => {}
        }
        let of = uid.clone();
        self.off_thread(&tried.clone(), move |node| {
            let layout = node.layout();
            netns::delete(&netns_name(&of))
                .map_err(|e| Failure::new(FailureKind::Transient, tried.clone(), e))?;
            let removed = pins::remove_all(&layout.namespaces(&of)).and_then(|()| {
                match fs::remove_file(layout.sandbox_file(&of)) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                    _ => Ok(()),
                }
            });
            removed.map_err(|e| failure::of_io(tried, e))
        })
        .await
    }

    /// Leaves the network by the claim that it was joined by, if it was or may have been.
    async fn leave_network(
        &self,
        uid: &Uid,
        record: &SandboxRecord,
        netns: bool,
    ) -> Result<(), Failure> {
        let Some(claim) = &record.claim else {
            return Ok(());
        };
        let (network, joined) = (&self.0.network, record.joined.as_ref());
        let path = netns::path(&netns_name(uid));
        let left = if record.boot == self.0.boot {
            let netns = netns.then_some(path.as_path());
            network.leave(uid, claim, netns, joined).await
        } else {
            network.leave_former_boot(uid, claim, joined).await
        };
        left.map_err(|e| failure::of_network(format!("take back the sandbox of {uid}"), e))
    }

    /// Removes what sandboxes that are gone have left in the node's network, and in the run
    /// directory: first thing after the lock, while nothing is made or removed.
    ///
    /// # Errors
    /// Something of it can't be removed.
    pub async fn sweep_sandboxes(&self) -> Result<(), Failure> {
        let tried = "remove what former sandboxes have left";
        let known = self
            .off_thread(tried, move |node| node.sweep_namespaces())
            .await?;
        let is_known = |uid: &Uid| known.contains(uid);
        let swept = self.0.network.sweep(is_known).await;
        swept.map_err(|e| failure::of_network(tried.to_owned(), e))
    }

    /// Returns the incarnations whose sandboxes hold something in this boot.
    fn sweep_namespaces(&self) -> Result<BTreeSet<Uid>, Failure> {
        let layout = self.layout();
        let uids = |dir: &Path| -> Result<Vec<Uid>, Failure> {
            let found = super::observe::names(dir);
            let found =
                found.map_err(|e| failure::of_io(format!("look into {}", dir.display()), e))?;
            Ok(found.iter().filter_map(|name| name.parse().ok()).collect())
        };
        let mut known = BTreeSet::new();
        for uid in uids(&layout.pods())? {
            let record = SandboxRecord::read(layout, &uid);
            // One that can't be read may hold anything: what is left goes with its directory.
            if record.is_none_or(|record| record.boot == self.0.boot) {
                known.insert(uid);
            }
        }
        for uid in uids(&layout.all_namespaces())? {
            if layout.pod(&uid).symlink_metadata().is_ok() {
                continue;
            }
            let tried = format!("remove the namespaces of {uid}");
            netns::delete(&netns_name(&uid))
                .map_err(|e| Failure::new(FailureKind::Transient, tried.clone(), e))?;
            pins::remove_all(&layout.namespaces(&uid)).map_err(|e| failure::of_io(tried, e))?;
        }
        self.sweep_roots()?;
        Ok(known)
    }

    /// Takes the sandbox away, its directory last: that is the mark by which the rest is known to
    /// be ours. Nothing runs in it any more.
    pub(super) async fn unmake_sandbox(&self, uid: &Uid) -> Result<(), Failure> {
        let (this, of) = (self.clone(), uid.clone());
        let tried = format!("remove the sandbox of {uid}");
        let turn = self.0.sandbox_turns.take(&of).await;
        let work = tokio::spawn(async move {
            this.take_back(&of).await?;
            let (tried, uid) = (format!("remove the directory of {of}"), of.clone());
            let what = tried.clone();
            let removed = this.off_thread(&what, move |node| {
                let layout = node.layout();
                volumes::remove(layout, &uid).map_err(|e| failure::of_volume(&uid, e))?;
                tree::remove(&layout.pod(&uid)).map_err(|e| failure::of_io(tried, e))
            });
            removed.await?;
            drop(turn);
            this.0.sandbox_turns.end(&of);
            Ok(())
        });
        work.await.map_err(|e| failure::hung_task(&tried, e))?
    }
}
