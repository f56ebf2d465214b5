//! Addresses through reboots, on the real plugins: none is lost, however often the node goes down.
//!
//! A reboot is what it leaves of a sandbox: its directory with the record of another boot. Its
//! namespaces are gone, and with them one end of its link; the run directory is emptied (a tmpfs)
//! or was kept (S15's other half), which is the worse case, for every address is still taken then.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test; clippy knows only #[test] functions as such"
)]

mod support {
    pub mod proof;
}

use std::{collections::BTreeSet, fs, net::IpAddr, path::Path, process::Command, time::Duration};

use riklet::{
    model::{ids::Uid, spec::WorkloadSpec},
    network::{netns, own::Subnet, pins, plug::NetworkConfig},
    node::{Node as _, SandboxRequest},
    runtime::layout::netns_name,
    testing::{
        contract::workload,
        real_world::{RealWorld, fresh_entropy},
    },
};
use support::proof;

/// Sandboxes at once; a /29 has six addresses, one of them the gateway's.
const SANDBOXES: usize = 3;

/// Takes the node's bridge away, also when the test fails.
struct Bridge(String);

impl Drop for Bridge {
    fn drop(&mut self) {
        let gone = Command::new("ip")
            .args(["link", "delete", &self.0])
            .output();
        drop(gone);
    }
}

async fn sandbox(world: &RealWorld, uid: &Uid, workload: &WorkloadSpec) -> Vec<IpAddr> {
    let claim = world.node.claim_network(workload).await.unwrap();
    let request = SandboxRequest {
        uid,
        instance: "addresses",
        workload,
        claim: Some(claim.as_ref().expect("CNI's plugins are installed")),
        users: None,
    };
    world.node.ensure_sandbox(request).await.unwrap().addresses
}

/// What the node's going down leaves of a sandbox.
fn go_down(world: &RealWorld, uid: &Uid) {
    let layout = world.node.layout();
    netns::delete(&netns_name(uid)).unwrap();
    pins::remove_all(&layout.namespaces(uid)).unwrap();
    let file = layout.sandbox_file(uid);
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    record["boot"] = "the boot before".into();
    fs::write(file, record.to_string()).unwrap();
}

fn taken(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            found.extend(taken(&entry.path()));
        } else if name.parse::<IpAddr>().is_ok() {
            found.insert(name);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn s14_no_number_of_reboots_exhausts_the_addresses() {
    // In the short form so small a subnet that a lost address or two are one too many.
    let reboots = proof::rounds(12, 300);
    let subnet: Subnet = if reboots >= 300 {
        "10.94.17.0/24"
    } else {
        "10.94.17.8/29"
    }
    .parse()
    .unwrap();
    let mut world = RealWorld::open().unwrap();
    world.config.network = NetworkConfig {
        enabled: true,
        conf_dir: None,
        bin_dirs: vec!["/usr/lib/cni".into(), "/opt/cni/bin".into()],
        subnet: Some(subnet),
        deadline: Duration::from_secs(60),
    };
    world.node = world.restarted().unwrap();
    let _bridge = Bridge(format!("rk-{}", world.config.node_uid));
    let mut workload = workload();
    workload.host_network = false;
    let uids: Vec<Uid> = (0..SANDBOXES)
        .map(|_| Uid::from_entropy(fresh_entropy()))
        .collect();
    let mut proof = proof::Proof::of(
        "no number of reboots exhausts the addresses of a subnet",
        "real plugins; a reboot's remains made by hand, the run dir emptied every third time",
    );
    for reboot in 0..=reboots {
        let mut addresses = BTreeSet::new();
        for uid in &uids {
            addresses.extend(sandbox(&world, uid, &workload).await);
        }
        assert_eq!(addresses.len(), SANDBOXES, "reboot {reboot}: {addresses:?}");
        let kept = taken(&world.node.layout().addresses());
        let used: BTreeSet<String> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(
            kept, used,
            "after reboot {reboot} the taken ones are the used ones"
        );
        for uid in &uids {
            go_down(&world, uid);
        }
        if reboot % 3 == 2 {
            let emptied = world.node.layout().addresses();
            fs::remove_dir_all(emptied).unwrap();
        }
        // What a start does first.
        world.node = world.restarted().unwrap();
        world.node.sweep_sandboxes().await.unwrap();
        proof.one("reboots");
    }
    for uid in &uids {
        world.node.remove_sandbox(uid).await.unwrap();
    }
    assert_eq!(taken(&world.node.layout().addresses()), BTreeSet::new());
    let rules = Command::new("iptables-save").output().unwrap().stdout;
    let network = format!("riklet-{}", world.config.node_uid);
    assert!(!String::from_utf8_lossy(&rules).contains(&network));
    assert_eq!(proof.count("reboots"), reboots + 1);
    proof.conclude("addresses", &[]);
}
