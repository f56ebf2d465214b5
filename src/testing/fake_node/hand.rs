//! What is done behind the simulated node's back.

use super::FakeNode;
use crate::{
    model::{
        ids::{ContainerId, Uid},
        line::Exit,
        observed::Status,
    },
    node::Change,
    testing::contract::ContractNode,
};

impl FakeNode {
    /// The node loses power: every process is gone, what lies on disk stays, tmpfs is empty.
    pub fn power_cut(&self) {
        let mut world = self.world();
        for c in world.containers.values_mut() {
            c.status = Status::Absent;
            c.monitor = false;
            c.broken = false;
            c.untold = None;
        }
        world.sandboxes.clear();
        world.on_host_network.clear();
        world.marked.clear();
        // Leases lie on tmpfs, and the kernel forgets its tables.
        world.joined.clear();
    }

    /// Somebody removes an incarnation's namespaces; what runs in them goes on.
    pub fn lose_sandbox(&self, uid: &Uid) {
        let mut world = self.world();
        world.sandboxes.remove(uid);
        world.on_host_network.remove(uid);
        drop(world);
        self.tell(Change::Instance(uid.clone()));
    }
}

impl ContractNode for FakeNode {
    fn exit(&self, id: &ContainerId, code: i32) {
        Self::exit(self, id, code);
    }

    fn kill_container(&self, id: &ContainerId) {
        self.end(id, Exit::from_code(137, false));
    }

    fn kill_monitor(&self, id: &ContainerId) {
        Self::kill_monitor(self, id);
    }

    fn break_state(&self, id: &ContainerId) {
        if let Some(c) = self.world().containers.get_mut(id) {
            c.broken = true;
        }
    }

    fn mark_sandbox(&self, uid: &Uid) {
        let mut world = self.world();
        if world.stands(uid) {
            world.marked.insert(uid.clone());
        }
    }

    fn is_marked(&self, uid: &Uid) -> bool {
        self.world().marked.contains(uid)
    }
}
