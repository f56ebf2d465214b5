//! Creates that this node can't take, and those that it must not refuse.

use super::*;
use crate::model::definition;

fn listening(port: u16, image: &str) -> String {
    format!(
        r#"{{"apiVersion":"v0","kind":"Pod","name":"web","spec":{{"containers":[
            {{"name":"c","image":"{image}","ports":{{"port":{port},"target_port":80}}}}]}}}}"#
    )
}

fn why(verdict: Verdict) -> (Option<Uid>, Reason, String) {
    match verdict {
        Verdict::Refused {
            uid,
            reason,
            message,
        } => (uid, reason, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn s33_of_two_instances_that_want_one_host_port_the_second_is_why() {
    let door = Door::new();
    let (first, second) = (listening(8_080, "nginx:1"), listening(8_080, "nginx:2"));
    door.create("a", Source::Scheduler, first.as_str());
    let (uid, reason, message) = why(door.create("b", Source::Scheduler, second.as_str()));
    assert_eq!(reason, Reason::PortConflict);
    assert!(
        message.contains("spec.containers[0].ports[0]: "),
        "{message}"
    );
    assert!(message.contains("8080/TCP is taken by a"), "{message}");
    let uid = uid.expect("the scheduler is told that it failed");
    let state = door.fold(|fold| fold.instances[&uid].reported.clone().unwrap());
    assert_eq!((state.state, state.reason), (State::Failed, Some(reason)));
    // Its own next generation may have the port, another port is nobody's.
    let next = door.create("a", Source::Scheduler, second.as_str());
    assert!(matches!(next, Verdict::Accepted { .. }), "{next:?}");
    let other = door.create("c", Source::Scheduler, listening(8_081, "nginx:1"));
    assert!(matches!(other, Verdict::Accepted { .. }), "{other:?}");
    // What is on its way out has none any more, and what was refused can be had then.
    door.destroy("a", Source::Scheduler);
    let again = door.create("b", Source::Scheduler, second.as_str());
    assert!(matches!(again, Verdict::Accepted { .. }), "{again:?}");
    // And one that waits for its id holds what it waits for.
    let back = why(door.create("a", Source::Scheduler, first.as_str()));
    assert_eq!(back.1, Reason::PortConflict);
}

#[test]
fn a_drained_node_takes_nothing_new_and_forgets_nothing_old() {
    let door = Door::new();
    door.create("a", Source::Scheduler, web());
    block(door.intake.cordon(true)).unwrap();
    let (_, reason, message) = why(door.create("b", Source::Scheduler, web()));
    assert_eq!(reason, Reason::NodeDraining);
    assert!(message.contains("uncordon"), "{message}");
    let same = door.create("a", Source::Scheduler, web());
    assert!(matches!(same, Verdict::Unchanged { .. }), "{same:?}");
    let next = door.create("a", Source::Scheduler, other());
    assert!(matches!(next, Verdict::Accepted { .. }), "{next:?}");
    // A manifest is for this node and no other: it waits.
    let manifest = door.create("m", Source::Manifest, web());
    assert!(matches!(manifest, Verdict::Accepted { .. }), "{manifest:?}");
    block(door.intake.cordon(false)).unwrap();
    let now = door.create("b", Source::Scheduler, web());
    assert!(matches!(now, Verdict::Accepted { .. }), "{now:?}");
}

#[test]
fn the_very_words_that_it_runs_by_change_nothing_however_they_are_read_now() {
    let door = Door::new();
    let instance: InstanceId = "a".parse().unwrap();
    // As a riklet before this one read them.
    let spec = definition::parse(&other(), definition::Strictness::Lenient)
        .unwrap()
        .spec;
    door.record(Event::Accepted {
        uid: uid(77),
        instance,
        source: Source::Scheduler,
        definition: web(),
        spec: Box::new(spec),
        warnings: Vec::new(),
    });
    let same = door.create("a", Source::Scheduler, web());
    assert!(matches!(same, Verdict::Unchanged { .. }), "{same:?}");
    // In other words it is judged as any other.
    let spaced = door.create("a", Source::Scheduler, format!("{} ", web()));
    assert!(matches!(spaced, Verdict::Accepted { .. }), "{spaced:?}");
}

#[test]
fn what_was_refused_is_judged_anew_by_the_same_words() {
    let door = Door::new();
    door.create("a", Source::Scheduler, listening(80, "nginx:1"));
    let words = listening(80, "nginx:2");
    why(door.create("b", Source::Scheduler, words.as_str()));
    let again = why(door.create("b", Source::Scheduler, words.as_str()));
    assert_eq!(again.1, Reason::PortConflict);
    door.destroy("a", Source::Scheduler);
    let now = door.create("b", Source::Scheduler, words.as_str());
    assert!(matches!(now, Verdict::Accepted { .. }), "{now:?}");
}

#[test]
fn one_refusal_names_everything_that_is_wrong() {
    let door = Door::new();
    door.create("a", Source::Scheduler, listening(80, "nginx:1"));
    let (_, reason, message) = why(door.create("b", Source::Scheduler, listening(80, "oci:/etc")));
    assert_eq!(reason, Reason::Forbidden);
    for part in ["spec.containers[0].image: ", "80/TCP is taken by a"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    // What the reader finds comes first, and is not all.
    let unknown = listening(80, "nginx:1").replace(r#""name":"c","#, r#""name":"c","nonsense":1,"#);
    let (_, reason, message) = why(door.create("web", Source::Cli, unknown));
    assert_ne!(reason, Reason::PortConflict);
    for part in ["spec.containers[0].nonsense", "80/TCP is taken by a"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}
