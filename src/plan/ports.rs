//! Who holds a host port: a sandbox does, from the line that it is intended by until it is gone.

use std::net::IpAddr;

use crate::model::{
    fold::{Desired, Fold, InstanceRecord},
    ids::Uid,
    spec::Port,
};

/// Somebody else who holds a port of the node that an incarnation asks for.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'a> {
    /// Who.
    pub record: &'a InstanceRecord,
    /// Which.
    pub port: &'a Port,
    /// Is it on its way out, so that the port is about to be free?
    pub leaving: bool,
}

/// Do they need the same port of the node?
#[must_use]
pub fn clash(a: &Port, b: &Port) -> bool {
    let everywhere = |ip: &Option<IpAddr>| ip.is_none_or(|ip| ip.is_unspecified());
    let same_address = everywhere(&a.host_ip) || everywhere(&b.host_ip) || a.host_ip == b.host_ip;
    a.host != 0 && a.host == b.host && a.protocol == b.protocol && same_address
}

/// Others whose sandboxes hold a host port that this incarnation's is to have.
pub fn holders<'a>(fold: &'a Fold, uid: &Uid) -> impl Iterator<Item = Holder<'a>> {
    let spec = fold.instances.get(uid).and_then(|r| r.spec.as_ref());
    let wanted: Vec<&Port> = spec.map_or(Vec::new(), |s| s.host_ports().map(|(_, p)| p).collect());
    // Most ask for none, and then nobody is looked at.
    let others = fold.instances.values().filter({
        let (uid, any) = (uid.clone(), !wanted.is_empty());
        move |r| any && r.uid != uid
    });
    others.filter_map(move |record| {
        let claim = record.sandbox.as_ref()?.claim.as_ref()?;
        let clashes = |p: &&Port| wanted.iter().any(|mine| clash(mine, p));
        let port = claim.ports.iter().find(clashes)?;
        let still_wanted = record.spec.as_ref().is_some_and(|s| {
            let mut ports = s.host_ports();
            ports.any(|(_, p)| clash(p, port))
        });
        let leaving = record.desired == Desired::Gone || record.is_spent() || !still_wanted;
        Some(Holder {
            record,
            port,
            leaving,
        })
    })
}

/// Those that wait for a port that this incarnation holds.
#[must_use]
pub fn waiting_for(fold: &Fold, uid: &Uid) -> Vec<Uid> {
    let claim = fold.instances.get(uid).and_then(|r| r.sandbox.as_ref());
    let Some(claim) = claim.and_then(|s| s.claim.as_ref()) else {
        return Vec::new();
    };
    let clashes = |r: &&InstanceRecord| {
        let spec = r.spec.as_ref();
        r.uid != *uid
            && spec.is_some_and(|s| {
                let mut ports = s.host_ports();
                ports.any(|(_, p)| claim.ports.iter().any(|held| clash(p, held)))
            })
    };
    let waiting = fold.instances.values().filter(clashes);
    waiting.map(|r| r.uid.clone()).collect()
}
