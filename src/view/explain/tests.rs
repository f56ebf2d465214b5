use super::*;
use crate::{
    model::{ids::Source, state::Reason},
    testing::builders::{container_id, moment, uid},
    view::tests::Journal,
};

fn story(view: &ExplainView) -> Vec<&str> {
    view.story.iter().map(|s| s.what.as_str()).collect()
}

#[test]
fn the_story_of_a_crash_loop_says_what_why_and_when_next() {
    let (mut journal, a) = (Journal::default(), uid(1));
    journal.accept(&a, "web@cli", Source::Cli);
    journal.accept(&uid(9), "other", Source::Scheduler);
    journal.run(&a, 1).exit(&a, 1, 3);
    let now = moment(journal.fold.seq * 1000 + 5000);
    let view = explain(&journal.fold, &journal.lines, "web", Some(&now)).unwrap();
    assert_eq!(view.instance, "web@cli");
    assert_eq!(view.reason.as_deref(), Some("CrashLoopBackOff"));
    assert!(view.why.contains("exited with 3"), "{}", view.why);
    assert_eq!(
        view.next,
        ["container c0 is started in 15 s, at 00:00:27Z"],
        "{now:?}"
    );
    assert_eq!(
        story(&view),
        [
            "accepted from the command line: 1 container of image image",
            "image image is ready, sha256:0123456789ab",
            "container c0 (attempt 1) is about to be created",
            "container c0 (attempt 1) was created",
            "container c0 (attempt 1) started, pid 4242",
            "container c0 (attempt 1) exited with 3; it is started again after a backoff",
        ]
    );
    assert_eq!(view.story[4].state.as_deref(), Some("Running"));
}

#[test]
fn a_lost_monitor_is_told_of_what_runs() {
    let (mut journal, a) = (Journal::default(), uid(1));
    journal.accept(&a, "web", Source::Scheduler).run(&a, 1);
    journal.add(Event::MonitorLost {
        container: container_id(&a, 0, 1),
    });
    let view = explain(&journal.fold, &journal.lines, "web", None).unwrap();
    assert_eq!(
        view.why,
        "web is Running: every container runs; the monitor of container c0 is gone, so its exit \
         code may stay unknown"
    );
}

#[test]
fn lines_of_the_node_are_part_of_the_story_while_the_instance_lives() {
    let (mut journal, a) = (Journal::default(), uid(1));
    journal.add(Event::Boot {});
    journal.accept(&a, "web", Source::Scheduler).run(&a, 1);
    journal.add(Event::Drained {});
    let view = explain(&journal.fold, &journal.lines, "web", None).unwrap();
    assert!(story(&view).contains(&"the node was drained: instances are stopped"));
    assert!(!story(&view).contains(&"the node has booted"));
    assert_eq!(view.next, ["it runs again after `riklet uncordon`"]);
}

#[test]
fn what_is_gone_is_explained_from_its_tombstone_and_lines() {
    let (mut journal, a) = (Journal::default(), uid(1));
    journal.accept(&a, "web", Source::Scheduler).run(&a, 1);
    journal.add(Event::DestroyAccepted {
        uid: a.clone(),
        source: Source::Scheduler,
    });
    journal.add(Event::Removed { uid: a });
    let view = explain(&journal.fold, &journal.lines, "web", None).unwrap();
    assert_eq!(view.state.as_deref(), Some("Terminated"));
    assert_eq!(
        story(&view).last(),
        Some(&"nothing of it is left on the node")
    );
    // Long after, when the tombstone is gone, the lines still tell.
    let view = explain(&Fold::default(), &journal.lines, "web", None).unwrap();
    assert_eq!(view.state.as_deref(), Some("Terminated"));
    assert!(view.why.ends_with("it is long gone"));
}

#[test]
fn a_refused_instruction_is_explained_though_it_never_became_an_instance() {
    let mut journal = Journal::default();
    journal.add(Event::Refused {
        uid: None,
        instance: "../x".into(),
        source: Source::Scheduler,
        reason: Reason::InvalidDefinition,
        message: "the id has '/'".into(),
    });
    let view = explain(&journal.fold, &journal.lines, "../x", None).unwrap();
    assert_eq!(view.state, None);
    assert!(view.why.contains("refused"));
    assert!(matches!(
        explain(&journal.fold, &journal.lines, "nope", None),
        Err(FindError::NotFound(_))
    ));
}
