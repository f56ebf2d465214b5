//! The simulated node's sandboxes, and the errands at what is in them.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use super::world::{Joined, MadeOf, Script, SimContainer, World};
use crate::{
    model::{
        ids::{ContainerId, Uid},
        observed::Status,
        spec::Errand,
        users::{IdRange, IdSpan},
    },
    node::{ErrandEnd, Failure, FailureKind, Sandbox, SandboxRequest},
};

impl World {
    /// The first address that nobody has.
    fn free_address(&self) -> IpAddr {
        let taken: BTreeSet<IpAddr> = self.joined.values().map(|j| j.address).collect();
        let mut all = (2..=u8::MAX).map(|n| IpAddr::from([10, 9, 0, n]));
        all.find(|a| !taken.contains(a))
            .unwrap_or(IpAddr::from([10, 9, 0, 1]))
    }

    /// The ids of other incarnations' sandboxes.
    pub(super) fn ids_of_others(&self, uid: &Uid) -> Vec<IdSpan> {
        let others = self.made_of.iter().filter(|(other, _)| *other != uid);
        let ids = others.filter_map(|(_, made)| made.users);
        ids.map(IdRange::span).collect()
    }

    /// Does the incarnation's sandbox stand?
    pub(super) fn stands(&self, uid: &Uid) -> bool {
        self.sandboxes.contains(uid) || self.on_host_network.contains(uid)
    }

    /// Makes the sandbox, or finds it made of the same.
    pub(super) fn make_sandbox(&mut self, request: &SandboxRequest<'_>) -> Sandbox {
        let uid = request.uid;
        self.directories.insert(uid.clone());
        let wanted = MadeOf {
            claim: request.claim.cloned(),
            host_network: request.workload.host_network,
            host_ipc: request.workload.host_ipc,
            users: request.users,
        };
        if !self.stands(uid) || self.made_of.get(uid) != Some(&wanted) {
            self.make_anew(uid, wanted);
        }
        let address = self.joined.get(uid).map(|joined| joined.address);
        Sandbox {
            addresses: address.into_iter().collect(),
        }
    }

    fn make_anew(&mut self, uid: &Uid, wanted: MadeOf) {
        // What a former try joined is left first.
        self.take_back(uid);
        if wanted.host_network {
            self.on_host_network.insert(uid.clone());
        } else {
            self.sandboxes.insert(uid.clone());
        }
        *self.made.entry(uid.clone()).or_default() += 1;
        if let Some(claim) = wanted.claim.clone() {
            let address = self.free_address();
            self.joined.insert(uid.clone(), Joined { claim, address });
        }
        self.made_of.insert(uid.clone(), wanted);
    }

    /// Takes back everything of a sandbox but its directories.
    pub(super) fn take_back(&mut self, uid: &Uid) {
        self.on_host_network.remove(uid);
        self.sandboxes.remove(uid);
        self.joined.remove(uid);
        self.made_of.remove(uid);
        self.marked.remove(uid);
    }

    /// Nothing is left of the incarnation.
    pub(super) fn remove_all(&mut self, uid: &Uid) {
        self.containers.retain(|id, _| id.uid != *uid);
        self.take_back(uid);
        self.directories.remove(uid);
    }

    /// Does an errand at what runs.
    pub(super) fn do_errand(
        &self,
        id: &ContainerId,
        errand: &Errand,
        limit: Duration,
    ) -> Result<ErrandEnd, Failure> {
        let word = match errand {
            Errand::Exec { command } => command.first().cloned().unwrap_or_default(),
            _ => String::new(),
        };
        let runs = |c: &SimContainer| c.status == Status::Running && !c.broken;
        if !self.containers.get(id).is_some_and(runs) {
            let tried = format!("{word} at {id}: it doesn't run");
            return Err(Failure::plain(FailureKind::Transient, tried));
        }
        let late = |what: &str| (false, format!("{what} took longer than {limit:?}"));
        let (ok, message) = match (errand, self.scripts.get(&word)) {
            (Errand::Sleep { seconds }, _) if Duration::from_secs((*seconds).into()) > limit => {
                late("a sleep")
            }
            (_, None) => (true, String::new()),
            (_, Some(Script::Fails)) => (false, format!("{word} said no")),
            (_, Some(Script::Hangs)) => late(&word),
            (_, Some(Script::CantBeTried)) => {
                let tried = format!("{word} at {id} can't be tried");
                return Err(Failure::plain(FailureKind::Transient, tried));
            }
        };
        Ok(ErrandEnd { ok, message })
    }
}
