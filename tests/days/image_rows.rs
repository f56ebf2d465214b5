//! The image can't be had.

use std::time::Duration;

use super::{
    table::{Row, Seen},
    world::World,
};
use crate::support::{
    image::Image,
    registry::{StallingRegistry, Trickle, dead_address},
};

pub const ROWS: &[Row] = &[
    Row {
        input: "missing image",
        wire: "CREATING > FAILED ImagePullBackOff",
        code: 0,
        line: "imageless is Failed (ImagePullBackOff): image 127.0.0.1:*/busybox:none: there is no image 127.0.0.1:*/busybox:none: check its name and tag: skopeo inspect: exit code 1: Error parsing image name *manifest unknown",
        modes: "",
        case: |w| {
            let image = w.registry.image("busybox:none");
            without_image(w, &image)
        },
    },
    Row {
        input: "image of another architecture",
        wire: "CREATING > FAILED ImagePullBackOff",
        code: 0,
        line: "imageless is Failed (ImagePullBackOff): image 127.0.0.1:*/other:1: * is built for linux/s390x, other than this node's linux/*: use another image",
        modes: "",
        case: |w| {
            let image = w.registry.image("other:1");
            without_image(w, &image)
        },
    },
    Row {
        input: "registry down",
        wire: "CREATING > FAILED ImagePullBackOff",
        code: 0,
        line: "imageless is Failed (ImagePullBackOff): image 127.0.0.1:*: can't reach the registry of *: skopeo inspect: exit code 1: *connection refused",
        modes: "",
        case: |w| {
            let image = format!("{}/busybox:1", dead_address());
            without_image(w, &image)
        },
    },
    Row {
        input: "registry that stalls",
        wire: "CREATING > FAILED ImagePullBackOff",
        code: 0,
        line: "imageless is Failed (ImagePullBackOff): image 127.0.0.1:*: the pull of * was killed: no progress for 2s*",
        modes: "",
        case: |w| {
            let registry = stalling(w, 3);
            without_image(w, &registry.image("busybox:1"))
        },
    },
    Row {
        input: "destroy during a pull",
        wire: "CREATING > DESTROYING > TERMINATED",
        code: 0,
        line: "pulling is Terminated; nothing of it is left on the node",
        modes: "",
        case: destroy_during_pull,
    },
];

fn without_image(w: &mut World, image: &str) -> Seen {
    w.create("imageless", &w.of_image("imageless", image));
    w.until_wire("imageless", "*FAILED *");
    w.seen("imageless", &["explain", "imageless"])
}

fn stalling(w: &World, bytes: usize) -> StallingRegistry {
    let layout = w.node.dir().join(format!("stalling-{bytes}"));
    // One that is not on the node yet.
    Image::marked(&format!("stalls after {bytes}")).write(&layout);
    StallingRegistry::start(&layout, Trickle::Layers, bytes, Duration::from_millis(50))
}

fn destroy_during_pull(w: &mut World) -> Seen {
    let registry = stalling(w, 10_000);
    w.create("pulling", &w.of_image("pulling", &registry.image("slow:1")));
    w.node.wait("the pull to be under way", |_| {
        (registry.trickled() > 2).then_some(())
    });
    w.scheduler.destroy("pulling").unwrap();
    w.until_wire("pulling", "*TERMINATED");
    assert_eq!(w.work(), Vec::<String>::new());
    w.seen("pulling", &["explain", "pulling"])
}
