//! What the contract suite does behind the simulated node's back.

use super::FakeNode;
use crate::{
    model::{
        ids::{ContainerId, Uid},
        line::Exit,
    },
    testing::contract::ContractNode,
};

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
