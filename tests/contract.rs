//! One contract, two nodes: what `node::Node` promises holds for runc and for the simulation.

#![allow(clippy::unwrap_used, reason = "tests")]

mod real {
    use riklet::testing::real_world::{BusyboxImage, RealWorld};

    type Node = riklet::runtime::real_node::RealNode<BusyboxImage>;

    async fn with_node(promise: impl AsyncFnOnce(&Node)) {
        let world = RealWorld::open().unwrap();
        promise(&world.node).await;
    }

    riklet::node_contract!(with_node);
}
