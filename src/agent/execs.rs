//! Which container a person means who wants to run a command in one.

use crate::{
    api::{DeskError, ExecAsk},
    book::Book,
    ledger::Ledger,
    model::{
        fold::InstanceRecord,
        ids::{ContainerId, Position},
        spec::{ContainerSpec, Role},
    },
    runtime::exec::{ExecError, Execs, Session},
    view::{self, Found},
};

/// Begins what was asked for.
pub(super) async fn begin(
    book: &Ledger,
    execs: &Execs,
    ask: &ExecAsk,
) -> Result<Session, DeskError> {
    let id = book.read(|fold| match view::find(fold, &ask.instance)? {
        Found::Live(record) => meant(record, ask.container.as_deref()),
        Found::Gone(id, _) => Err(DeskError::Find(view::FindError::NotFound(id.to_string()))),
    })?;
    let begun = execs.start(&id, ask.terminal.as_ref(), &ask.command).await;
    begun.map_err(|error| match error {
        ExecError::TooMany | ExecError::NotRunning => {
            DeskError::Unfit(format!("no command is run in {}: {error}", ask.instance))
        }
        source => DeskError::Failed {
            tried: format!("no command could be run in {}", ask.instance),
            source: Box::new(source),
        },
    })
}

/// The container's attempt that runs; of several containers, only the one main one goes unnamed.
fn meant(record: &InstanceRecord, name: Option<&str>) -> Result<ContainerId, DeskError> {
    let of = |n: Position| Some((n, record.container_spec(n)?));
    let known: Vec<(Position, &ContainerSpec)> = record.positions().filter_map(of).collect();
    let names = || {
        let names: Vec<&str> = known.iter().map(|(_, spec)| spec.name.as_str()).collect();
        names.join(", ")
    };
    let instance = &record.instance;
    let wanted = |spec: &ContainerSpec| match name {
        Some(name) => spec.name == name,
        None => spec.role == Role::Main,
    };
    let found: Vec<Position> = known
        .iter()
        .filter(|(_, spec)| wanted(spec))
        .map(|(n, _)| *n)
        .collect();
    let n = match (found.as_slice(), name) {
        ([n], _) => *n,
        ([], Some(name)) => {
            let message = format!("{instance} has no container {name:?}: it has {}", names());
            return Err(DeskError::NoContainer(message));
        }
        _ => {
            let message = format!(
                "{instance} has several containers: say with -c which of {}",
                names()
            );
            return Err(DeskError::Unfit(message));
        }
    };
    let lives = record.container(n).is_some_and(|c| c.phase.may_live());
    let id = record.current(n).filter(|_| lives);
    id.ok_or_else(|| {
        let message = format!("no command is run in {instance}: the container isn't running");
        DeskError::Unfit(message)
    })
}
