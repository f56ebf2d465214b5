use serde_json::json;

use super::*;
use crate::{
    model::{
        definition::{Strictness, parse},
        fold::Fold,
        ids::{InstanceId, Source, Uid},
        line::{Event, Exit, Intent, Line, ProcessId},
        spec::{EnvVar, RestartPolicy},
    },
    testing::builders::{container_id, moment, uid, workload},
};

/// A journal in memory: each event becomes the line that a real one would have.
#[derive(Default)]
pub(super) struct Journal {
    pub(super) fold: Fold,
    pub(super) lines: Vec<Line>,
}

impl Journal {
    pub(super) fn add(&mut self, event: Event) -> &mut Self {
        let seq = self.fold.seq + 1;
        let moment = moment(seq * 1000);
        let line = Line {
            seq,
            state: self.fold.effect(&event, &moment),
            moment,
            event,
            durable: None,
        };
        self.fold.apply(&line);
        self.lines.push(line);
        self
    }

    pub(super) fn accept(&mut self, uid: &Uid, id: &str, source: Source) -> &mut Self {
        let mut spec = workload(1, RestartPolicy::Always);
        spec.containers[0].env.push(EnvVar {
            name: "PASSWORD".into(),
            value: "hunter2".into(),
            ..EnvVar::default()
        });
        self.add(Event::Accepted {
            uid: uid.clone(),
            instance: id.parse::<InstanceId>().unwrap(),
            source,
            definition: "{\"password\":\"hunter2\"}".into(),
            spec: Box::new(spec),
            warnings: Vec::new(),
        })
    }

    pub(super) fn run(&mut self, uid: &Uid, attempt: u32) -> &mut Self {
        let container = container_id(uid, 0, attempt);
        let process = ProcessId {
            pid: 4242,
            start_time: 7,
        };
        self.add(Event::ImageReady {
            uid: uid.clone(),
            image: "image".into(),
            digest: "sha256:0123456789abcdef".into(),
            snapshot: "sha256-0123".into(),
        })
        .add(Event::AttemptIntended {
            uid: uid.clone(),
            intent: Intent {
                container: container.clone(),
                snapshot: "sha256-0123".into(),
                netns: None,
            },
        })
        .add(Event::Created {
            container: container.clone(),
            process,
            monitor: Some(1),
        })
        .add(Event::Started {
            container,
            process,
            adopted: false,
        })
    }

    pub(super) fn exit(&mut self, uid: &Uid, attempt: u32, code: i32) -> &mut Self {
        let up = (self.fold.seq + 1) * 1000;
        self.add(Event::Exited {
            container: container_id(uid, 0, attempt),
            exit: Exit::from_code(code, false),
            next_up: Some(up + 20_000),
            backoff: 2,
        })
    }
}

fn live(journal: &Journal) -> Live {
    Live {
        now: Some(moment(journal.fold.seq * 1000)),
        node_name: "node".into(),
        durable_seq: journal.fold.seq,
        ..Live::default()
    }
}

#[test]
fn ps_has_the_shape_that_scripts_rely_on() {
    let (mut journal, a) = (Journal::default(), uid(1));
    journal.accept(&a, "web", Source::Scheduler).run(&a, 1);
    let rows = serde_json::to_value(ps(&journal.fold, &live(&journal))).unwrap();
    assert_eq!(
        rows,
        json!([{
            "instance": "web", "uid": a.as_str(), "name": "workload", "source": "scheduler",
            "state": "Running", "reason": null, "generation": 1, "restarts": 0, "ip": null,
            "created_at": "1970-01-01T00:00:01Z",
            "containers": [{
                "name": "c0", "id": format!("{a}-0-1"), "state": "running", "pid": 4242, "restarts": 0, "exit_code": null, "reason": null,
                "image": "image",
                "image_digest": "sha256:0123456789abcdef", "started_at": "1970-01-01T00:00:05Z"
            }]
        }])
    );
}

#[test]
fn a_crashing_container_shows_its_code_reason_and_restarts() {
    let (mut journal, a) = (Journal::default(), uid(1));
    journal.accept(&a, "web", Source::Cli.min(Source::Scheduler));
    journal.run(&a, 1).exit(&a, 1, 3).run(&a, 2).exit(&a, 2, 3);
    let row = &ps(&journal.fold, &live(&journal))[0];
    assert_eq!((row.state.as_str(), row.restarts), ("Failed", 1));
    assert_eq!(row.reason.as_deref(), Some("CrashLoopBackOff"));
    let container = &row.containers[0];
    assert_eq!(
        (container.state.as_str(), container.exit_code, container.pid),
        ("exited", Some(3), None)
    );
    assert_eq!(container.reason.as_deref(), Some("CrashLoopBackOff"));
}

#[test]
fn what_is_unclaimed_is_listed() {
    let mut live = live(&Journal::default());
    live.unclaimed.push(Unclaimed {
        uid: "0123456789".into(),
        instance: None,
        containers: vec!["0123456789-0-1".into()],
    });
    let rows = ps(&Fold::default(), &live);
    assert_eq!((rows[0].state.as_str(), rows.len()), ("Unclaimed", 1));
    assert_eq!(status(&Fold::default(), &live).instances.unclaimed, 1);
}

#[test]
fn a_destroy_by_an_operator_shows_though_the_scheduler_is_not_told() {
    let (mut journal, a) = (Journal::default(), uid(1));
    journal
        .accept(&a, "web", Source::Scheduler)
        .run(&a, 1)
        .add(Event::DestroyAccepted {
            uid: a.clone(),
            source: Source::Operator,
        });
    assert_eq!(ps(&journal.fold, &live(&journal))[0].state, "Destroying");
}

#[test]
fn environment_values_are_hidden_unless_asked_for() {
    let (mut journal, a) = (Journal::default(), uid(1));
    journal.accept(&a, "web@cli", Source::Cli).run(&a, 1);
    let live = live(&journal);
    let record = &journal.fold.instances[&a];
    let text =
        |secrets| serde_json::to_string(&describe(&journal.fold, record, &live, secrets)).unwrap();
    assert!(!text(Secrets::Hidden).contains("hunter2"));
    assert!(text(Secrets::Hidden).contains("***"));
    assert!(text(Secrets::Shown).contains("hunter2"));
    for line in &journal.lines {
        assert!(!narrate(&line.event, &|_| None).contains("hunter2"));
    }
}

#[test]
fn an_exact_id_goes_before_a_bare_name_and_an_ambiguous_name_is_refused() {
    let mut journal = Journal::default();
    journal.accept(&uid(1), "web", Source::Scheduler);
    journal.accept(&uid(2), "web@cli", Source::Cli);
    journal.accept(&uid(3), "api@cli", Source::Cli);
    journal.accept(&uid(4), "api@manifest", Source::Manifest);
    journal.accept(&uid(5), "db@manifest", Source::Manifest);
    let fold = &journal.fold;
    let id = |text: &str| find(fold, text).map(|f| f.instance().to_string());
    assert_eq!(id("web").unwrap(), "web");
    assert_eq!(id("web@cli").unwrap(), "web@cli");
    assert_eq!(id("db").unwrap(), "db@manifest");
    assert_eq!(id(uid(3).as_str()).unwrap(), "api@cli");
    assert!(matches!(id("api"), Err(FindError::Ambiguous { ids, .. }) if ids.len() == 2));
    assert!(matches!(id("nope"), Err(FindError::NotFound(_))));
}

#[test]
fn a_plan_without_actions_is_an_empty_list() {
    let mut view = PlanView::default();
    let id = "web".parse::<InstanceId>().unwrap();
    view.push(&id, &crate::plan::InstancePlan::default());
    assert_eq!(
        serde_json::to_value(&view).unwrap(),
        json!({"instances": []})
    );
    let planned = crate::plan::Planned {
        action: crate::plan::Action::CreateSandbox,
        why: "there is none".into(),
    };
    let plan = crate::plan::InstancePlan {
        actions: vec![planned],
        wake_up: None,
    };
    view.push(&id, &plan);
    assert_eq!(
        serde_json::to_value(&view).unwrap(),
        json!({"instances": [{"instance": "web", "actions": [
            {"action": "create-sandbox", "container": null, "why": "there is none"}
        ]}]})
    );
}

#[test]
fn status_counts_states_and_what_is_unacknowledged() {
    let (mut journal, a, b) = (Journal::default(), uid(1), uid(2));
    journal.accept(&a, "web", Source::Scheduler).run(&a, 1);
    journal.accept(&b, "api@cli", Source::Cli);
    journal.add(Event::DegradedEntered {
        mode: crate::model::line::DegradedMode::DiskFull,
        detail: "no space".into(),
    });
    let view = status(&journal.fold, &live(&journal));
    assert_eq!(
        (
            view.instances.total,
            view.instances.running,
            view.instances.creating
        ),
        (2, 1, 1)
    );
    // Creating and Running of the scheduler's; none of the command line's.
    assert_eq!(view.unacknowledged, 2);
    assert_eq!(view.degraded[0].mode, "DiskFull");
    assert_eq!(view.seq.written, journal.fold.seq);
}

#[test]
fn a_journal_that_can_not_be_written_is_shown_though_it_has_no_line_of_it() {
    let journal = Journal::default();
    let mut live = live(&journal);
    let mode = crate::model::line::DegradedMode::JournalReadOnly;
    live.modes.insert(mode, "no segment takes lines".into());
    let view = status(&journal.fold, &live);
    assert_eq!(view.degraded.len(), 1);
    assert_eq!(view.degraded[0].mode, "JournalReadOnly");
    assert!(view.degraded[0].mend.contains("no restart is needed"));
}

#[test]
fn a_document_made_elsewhere_hides_values_also_in_definitions_kept_as_text() {
    let (mut journal, a) = (Journal::default(), uid(1));
    journal.accept(&a, "web", Source::Scheduler);
    let env = json!([{"name": "P", "value": "hunter2"}, "hunter2"]);
    let text = json!({"spec": {"containers": [{"env": env}]}}).to_string();
    for definition in [text.as_str(), "env: hunter2", "[\"hunter2\"]", "\"hunter2"] {
        let mut document = json!([
            journal.lines[0].event, {"nested": {"definition": definition, "env": env}}
        ]);
        document[0]["definition"] = json!(definition);
        hide_secrets(&mut document);
        assert!(!document.to_string().contains("hunter2"), "{document}");
        assert!(document.to_string().contains("PASSWORD"));
    }
}

#[test]
fn what_files_config_maps_and_secrets_hold_is_hidden_wherever_it_stands() {
    let definition = json!({"kind": "List", "items": [
        {"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"login": "hunter2"}},
        {"kind": "Secret", "metadata": {"name": "t"}, "data": {"login": "aHVudGVyMg=="}},
        {"kind": "ConfigMap", "metadata": {"name": "c"}, "binaryData": {"k": "aHVudGVyMg=="}},
        {"kind": "Pod", "name": "web", "spec": {
            "containers": [{"name": "a", "image": "b:1"}],
            "volumes": [
                {"name": "v", "secret": {"secretName": "s"}},
                {"name": "w", "configMap": {"name": "c"}},
            ],
        }},
    ]})
    .to_string();
    let parsed = parse(&definition, Strictness::Strict).unwrap();
    assert!(format!("{parsed:?}").contains("hunter2"));
    let mut document = json!([{"spec": parsed.spec}, {"definition": definition}]);
    hide_secrets(&mut document);
    let shown = [
        document.to_string(),
        shown_spec(&parsed.spec, Secrets::Hidden).to_string(),
    ];
    for shown in shown {
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!shown.contains("aHVudGVyMg"), "{shown}");
        assert!(shown.contains("login"), "{shown}");
    }
}
