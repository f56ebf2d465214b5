use std::{collections::BTreeSet, sync::Barrier, thread};

use super::*;
use crate::{
    model::spec::RestartPolicy,
    runtime::{cgroup::Cgroups, reaper::Reaper},
    testing::builders,
};

#[test]
fn the_first_claims_of_a_node_are_made_at_once_and_are_the_same() {
    const AT_ONCE: usize = 8;
    let dir = tempfile::tempdir().unwrap();
    let cgroups = Cgroups::detect(&format!("/riklet-test-{}", std::process::id())).unwrap();
    let spawner = Spawner::new(Reaper::start().unwrap(), cgroups);
    let bin_dirs = vec![dir.path().join("bin")];
    fs::create_dir(&bin_dirs[0]).unwrap();
    for program in own::PLUGINS {
        std::os::unix::fs::symlink("/bin/true", bin_dirs[0].join(program)).unwrap();
    }
    let workload = builders::workload(1, RestartPolicy::Always);
    for round in 0..50 {
        let config = NetworkConfig {
            enabled: true,
            bin_dirs: bin_dirs.clone(),
            ..NetworkConfig::off()
        };
        let top = dir.path().join(round.to_string());
        let layout = Layout::new(top.join("state"), top.join("run"));
        let node = "abcdefghjk".parse().unwrap();
        let network = Network::new(config, spawner.clone(), node, &layout);
        let start = Barrier::new(AT_ONCE);
        let claims: Vec<_> = thread::scope(|scope| {
            let claim = || {
                let network = network.clone();
                start.wait();
                network.claim(&workload).unwrap().unwrap()
            };
            let all: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(claim)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let configs: BTreeSet<_> = claims.into_iter().map(|claim| claim.config).collect();
        assert_eq!(configs.len(), 1);
    }
}
