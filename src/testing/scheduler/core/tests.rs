use super::*;
use crate::testing::scheduler::reserialised;
use crate::wire::generated::common::{
    InstanceMetric, ResourceStatus, WorkerMetric, WorkerStatus, worker_status::Status,
};

fn who(name: &str) -> WorkerRegistration {
    WorkerRegistration {
        hostname: name.into(),
        ..Default::default()
    }
}

fn sample(status: ResourceStatus) -> WorkerStatus {
    WorkerStatus {
        status: Some(Status::Worker(WorkerMetric {
            status: status.into(),
            metrics: "{}".into(),
        })),
        identifier: "n".into(),
        host_address: None,
    }
}

fn state(id: &str, status: ResourceStatus, seq: u64) -> WorkerStatus {
    let metric = InstanceMetric {
        instance_id: id.into(),
        status: status.into(),
        seq,
        ..Default::default()
    };
    WorkerStatus {
        status: Some(Status::Instance(metric)),
        ..sample(status)
    }
}

/// One stream of one message.
fn say(core: &mut Core, message: WorkerStatus) -> Result<Vec<Parcel>, ReaderEnds> {
    let mut stream = core.stream();
    let parcels = core.status(&mut stream, message);
    core.stream_ended(stream, parcels.is_ok());
    parcels
}

/// A scheduler with a ready node `n`.
fn ready(manners: Manners) -> (Core, u64) {
    let mut core = Core::new(manners);
    let (number, _) = core.register(&who("n")).unwrap();
    say(&mut core, sample(ResourceStatus::Running)).unwrap();
    (core, number)
}

fn actions(parcels: &[Parcel]) -> Vec<(&str, i32)> {
    parcels
        .iter()
        .map(|(_, what)| (what.instance_id.as_str(), what.action))
        .collect()
}

#[test]
fn a_node_is_ready_only_by_its_own_sample() {
    let mut core = Core::new(Manners::LikeRik);
    assert_eq!(core.create("a", "{}"), Ok(vec![]));
    core.register(&who("n")).unwrap();
    assert_eq!(core.instances["a"].place, Place::Nowhere);
    let parcels = say(&mut core, sample(ResourceStatus::Running)).unwrap();
    assert_eq!(actions(&parcels), [("a", 0)]);
    say(&mut core, sample(ResourceStatus::Failed)).unwrap();
    assert_eq!(core.create("b", "{}"), Ok(vec![]));
    assert!(core.instances["a"].wanted, "nothing is removed");
}

#[test]
fn a_name_is_taken_while_its_link_is_open() {
    let (mut core, number) = ready(Manners::LikeRik);
    assert_eq!(core.register(&who("n")), None);
    core.left("n", number);
    assert!(core.register(&who("n")).is_some());
}

#[test]
fn like_rik_a_lost_link_means_forgotten_instances() {
    let (mut core, number) = ready(Manners::LikeRik);
    core.create("a", "{}").unwrap();
    core.left("n", number);
    assert_eq!(core.instances["a"].place, Place::Forgotten("n".into()));
    assert_eq!(core.register(&who("n")).unwrap().1, vec![]);
    say(&mut core, sample(ResourceStatus::Running)).unwrap();
    assert!(core.destroy("a").is_err());
    // The controller still knows it.
    say(&mut core, state("a", ResourceStatus::Terminated, 1)).unwrap();
    assert!(core.instances.is_empty() && core.violations.is_empty());
}

#[test]
fn a_kind_one_replays_its_desired_set() {
    let (mut core, number) = ready(Manners::Kind);
    core.create("a", "{}").unwrap();
    core.create("b", "{}").unwrap();
    core.left("n", number);
    assert_eq!(actions(&core.destroy("b").unwrap()), [("b", 1)]);
    let (_, replay) = core.register(&who("n")).unwrap();
    assert_eq!(actions(&replay), [("a", 0), ("b", 1)]);
}

#[test]
fn like_rik_a_status_without_register_forgets_the_node() {
    let (mut core, number) = ready(Manners::LikeRik);
    core.left("n", number);
    say(&mut core, sample(ResourceStatus::Running)).unwrap();
    assert!(core.nodes.is_empty());
    assert_eq!(core.violations.len(), 1);
}

#[test]
fn a_stream_that_outlives_its_registration_is_not_the_nodes_fault() {
    let (mut core, number) = ready(Manners::LikeRik);
    let mut stream = core.stream();
    core.status(&mut stream, sample(ResourceStatus::Running))
        .unwrap();
    core.left("n", number);
    let late = core.status(&mut stream, sample(ResourceStatus::Running));
    assert_eq!(late, Err(ReaderEnds::Stale));
    assert!(core.violations.is_empty() && core.nodes.contains_key("n"));
}

#[test]
fn like_rik_destroying_is_answered_by_a_destroy() {
    let (mut core, _) = ready(Manners::LikeRik);
    core.create("a", "{}").unwrap();
    core.destroy("a").unwrap();
    let parcels = say(&mut core, state("a", ResourceStatus::Destroying, 1)).unwrap();
    assert_eq!(
        (actions(&parcels), core.destroyed_back),
        (vec![("a", 1)], 1)
    );
    assert!(core.violations.is_empty());
}

#[test]
fn like_rik_pending_places_again() {
    let (mut core, _) = ready(Manners::LikeRik);
    core.create("a", "{}").unwrap();
    let parcels = say(&mut core, state("a", ResourceStatus::Pending, 1)).unwrap();
    assert_eq!((actions(&parcels), core.placed_again), (vec![("a", 0)], 1));
    assert_eq!(core.violations.len(), 1);
}

#[test]
fn like_rik_a_late_terminated_deletes_whatever_begins_with_its_id() {
    let (mut core, _) = ready(Manners::LikeRik);
    core.create("web-1", "{}").unwrap();
    say(&mut core, state("web", ResourceStatus::Terminated, 1)).unwrap();
    assert!(core.instances.is_empty());
    assert_eq!(core.violations.len(), 1);
}

#[test]
fn like_rik_an_unknown_id_or_an_empty_oneof_ends_the_reader() {
    let (mut core, _) = ready(Manners::LikeRik);
    let unknown = say(&mut core, state("a", ResourceStatus::Running, 1));
    assert!(matches!(unknown, Err(ReaderEnds::Panic(_))), "{unknown:?}");
    let empty = WorkerStatus {
        status: None,
        ..sample(ResourceStatus::Running)
    };
    assert!(matches!(say(&mut core, empty), Err(ReaderEnds::Panic(_))));
    assert_eq!(core.violations.len(), 2);
}

#[test]
fn a_repeated_terminated_is_fine_and_anything_after_it_is_not() {
    let (mut core, _) = ready(Manners::LikeRik);
    core.create("a", "{}").unwrap();
    say(&mut core, state("a", ResourceStatus::Terminated, 5)).unwrap();
    say(&mut core, state("a", ResourceStatus::Terminated, 5)).unwrap();
    assert!(core.violations.is_empty());
    say(&mut core, state("a", ResourceStatus::Failed, 6)).unwrap_err();
    assert_eq!(core.violations.len(), 1);
}

#[test]
fn order_and_company_are_watched() {
    let (mut core, _) = ready(Manners::Kind);
    core.create("a", "{}").unwrap();
    core.create("b", "{}").unwrap();
    say(&mut core, state("a", ResourceStatus::Running, 5)).unwrap();
    say(&mut core, state("a", ResourceStatus::Creating, 4)).unwrap();
    assert_eq!(core.violations.len(), 1);
    let mut stream = core.stream();
    core.status(&mut stream, state("a", ResourceStatus::Running, 6))
        .unwrap();
    core.status(&mut stream, state("b", ResourceStatus::Terminated, 7))
        .unwrap();
    core.stream_ended(stream, true);
    assert_eq!(core.violations.len(), 2);
}

#[test]
fn a_state_before_the_nodes_sample_breaks_a_rule() {
    let (mut core, number) = ready(Manners::Kind);
    core.create("a", "{}").unwrap();
    core.left("n", number);
    core.register(&who("n")).unwrap();
    say(&mut core, state("a", ResourceStatus::Running, 5)).unwrap();
    assert_eq!(core.violations.len(), 1);
}

#[test]
fn like_rik_definitions_come_back_with_nulls_and_without_strangers() {
    let text = reserialised(
        r#"{"name":"w","spec":{"containers":[{"image":"i","tty":true,"ports":{"port":1}}]}}"#,
    );
    assert_eq!(
        text.unwrap(),
        r#"{"apiVersion":null,"kind":null,"name":"w","replicas":null,"spec":{"containers":[{"name":null,"image":"i","env":null,"ports":{"port":1,"target_port":null,"protocol":null,"type":null}}]}}"#
    );
    assert!(reserialised("[]").is_err() && reserialised("{").is_err());
}

#[test]
fn an_older_state_breaks_a_rule_unless_a_new_registration_repeats_it() {
    let (mut core, number) = ready(Manners::Kind);
    core.create("a", "{}").unwrap();
    say(&mut core, state("a", ResourceStatus::Creating, 1)).unwrap();
    say(&mut core, state("a", ResourceStatus::Running, 2)).unwrap();
    // The node died before it wrote down that both were acknowledged.
    core.left("n", number);
    core.register(&who("n")).unwrap();
    say(&mut core, sample(ResourceStatus::Running)).unwrap();
    say(&mut core, state("a", ResourceStatus::Creating, 1)).unwrap();
    assert_eq!(core.violations, Vec::<String>::new());
    say(&mut core, state("a", ResourceStatus::Running, 2)).unwrap();
    say(&mut core, state("a", ResourceStatus::Creating, 1)).unwrap();
    assert_eq!(core.violations.len(), 1, "{:?}", core.violations);
}
