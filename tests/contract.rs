//! One contract, two nodes: what `node::Node` promises holds for runc and for the simulation.

#![allow(clippy::unwrap_used, reason = "tests")]

mod real {
    use riklet::testing::real_world::{BusyboxImage, RealWorld};

    type Node = riklet::runtime::real_node::RealNode<BusyboxImage>;

    async fn with_node(promise: impl AsyncFnOnce(&Node)) {
        let world = RealWorld::networked().unwrap();
        promise(&world.node).await;
    }

    riklet::node_contract!(with_node);
}

mod fake {
    use riklet::testing::fake_node::FakeNode;

    async fn with_node(promise: impl AsyncFnOnce(&FakeNode)) {
        promise(&FakeNode::default()).await;
    }

    riklet::node_contract!(with_node);
}

/// The simulation whose monitors take their time, as real ones do.
mod slow_fake {
    use riklet::testing::fake_node::FakeNode;

    async fn with_node(promise: impl AsyncFnOnce(&FakeNode)) {
        let node = FakeNode::default();
        node.world().slow_monitors = true;
        promise(&node).await;
    }

    riklet::node_contract!(with_node);
}
