//! `riklet leaks`: what is on the node and shouldn't be, with the daemon alive or dead.
//!
//! Everything on the node is written down before it is made, and is gone before its end is
//! written down. So what the journal doesn't imply is a leak: by the fold before the look, which
//! knows what was removed meanwhile, and by the one after it, which knows what was made.

mod look;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use serde::Serialize;

use self::look::{Ground, Life, Of, Thing};
use super::{
    CliError,
    node::NodeFlags,
    output::{OutputFlags, counted, table},
    records,
};
use crate::{
    ledger::lock,
    model::{
        fold::Fold,
        ids::{ContainerId, NodeUid, Uid},
        line::{Event, NetworkClaim},
        phase::Phase,
    },
    network::cni::ConfigList,
    view,
};

/// What is just being ended is given so long before the second look: the kernel takes a network
/// namespace and what is in it apart on a thread of its own.
const GOING: Duration = Duration::from_millis(300);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Looks at files, images, cgroups, mounts, namespaces, bridge, firewall and processes, and changes
nothing. Exits with 0 if there is no leak, with 1 if there is one. What another node or program
made is never named.

Examples:
  riklet leaks
  riklet leaks -o json | jq -r '.leaks[].what'"
)]
pub(super) struct Args {
    /// The node's run directory [env: RIKLET_RUN_DIR]
    #[arg(long, value_name = "DIR", help_heading = "Node")]
    run_dir: Option<PathBuf>,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    node: NodeFlags,
}

/// What was found.
#[derive(Debug, Serialize)]
struct View {
    leaks: Vec<Leak>,
}

/// One thing that shouldn't be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Leak {
    /// `runtime`, `monitor`, `exit`, `sandbox`, `namespaces`, `bundle`, `log`, `cgroup`, `mount`,
    /// `netns`, `address`, `link`, `chain`, `rule`, `pull`, `snapshot`, `process`.
    kind: &'static str,
    /// Its path or name.
    what: String,
    /// Why it shouldn't be there.
    why: String,
    /// What ends it.
    mend: String,
}

pub(super) fn execute(args: &Args) -> Result<(), CliError> {
    let config = args.node.config();
    let before = records::load(&config.state_dir)?;
    let Some(identity) = before.identity else {
        return Err(CliError::says("the journal doesn't say whose it is"));
    };
    let ground = ground(args, &config, identity.node, &before.fold)?;
    let seen = look::all(&ground).map_err(|e| CliError::failed(&e))?;
    let after = records::load(&config.state_dir)?.fold;
    let folds = [Implied::of(&before.fold), Implied::of(&after)];
    let mut found: Vec<(Thing, String)> = seen
        .into_iter()
        .filter_map(|thing| {
            let whys: Option<Vec<String>> = folds.iter().map(|fold| fold.why_not(&thing)).collect();
            Some((thing, whys?.pop()?))
        })
        .collect();
    if !found.is_empty() {
        // What is just being made or ended isn't there, or isn't so, any more at a second look.
        thread::sleep(GOING);
        let again = look::all(&ground).map_err(|e| CliError::failed(&e))?;
        found.retain(|(thing, _)| again.contains(thing));
    }
    let leaks = found.into_iter().map(|(thing, why)| Leak {
        mend: mend(&thing),
        kind: thing.kind,
        what: thing.what,
        why,
    });
    let view = View {
        leaks: leaks.collect(),
    };
    args.output.print(&view, |view, _| text(view))?;
    if view.leaks.is_empty() {
        Ok(())
    } else {
        Err(CliError::told())
    }
}

/// Every incarnation that a fold names: its lines may be gone by then.
fn heard_of(fold: &Fold) -> impl Iterator<Item = &Uid> {
    let live = fold.instances.iter();
    let live = live.flat_map(|(uid, record)| record.former.iter().chain([uid]));
    let gone = fold.tombstones.values();
    live.chain(gone.flat_map(|tombstone| tombstone.former.iter().chain([&tombstone.uid])))
}

fn absolute(dir: &Path) -> Result<PathBuf, CliError> {
    // As the daemon has it in mounts and command lines.
    std::path::absolute(dir)
        .map_err(|e| CliError::says(format!("cannot make {} absolute: {e}", dir.display())))
}

/// The flag's, else the settings'; if that is another node's, the one that the socket lies in.
fn run_dir(args: &Args, config: &crate::config::Config, node: &NodeUid) -> PathBuf {
    if let Some(dir) = &args.run_dir {
        return dir.clone();
    }
    let beside = config.socket.parent().map(PathBuf::from);
    let ours = |dir: &PathBuf| lock::owner(dir).as_ref() == Some(node);
    let beside = beside.filter(|dir| !ours(&config.run_dir) && ours(dir));
    beside.unwrap_or_else(|| config.run_dir.clone())
}

/// Where to look, by what the journal still tells of.
fn ground(
    args: &Args,
    config: &crate::config::Config,
    node: NodeUid,
    fold: &Fold,
) -> Result<Ground, CliError> {
    let mut uids = BTreeSet::new();
    let mut networks = BTreeMap::new();
    let mut daemon = None;
    let mut joins = |claim: &NetworkClaim| {
        let dir = || ConfigList::parse(&claim.config).ok()?.addresses_dir();
        networks.entry(claim.network.clone()).or_insert_with(dir);
    };
    for line in records::lines(&config.state_dir, 1)? {
        let event = line?.event;
        uids.extend(event.uid().cloned());
        match event {
            Event::SandboxIntended {
                claim: Some(claim), ..
            } => joins(&claim),
            Event::DaemonStarted { pid, .. } => daemon = Some(pid),
            _ => {}
        }
    }
    uids.extend(heard_of(fold).cloned());
    for record in fold.instances.values() {
        let sandbox = record.sandbox.as_ref();
        sandbox.and_then(|s| s.claim.as_ref()).map(&mut joins);
    }
    let life = match lock::held_by(&config.state_dir) {
        None => Life::Over,
        Some(pid) if daemon == Some(pid) => Life::Lasts(pid),
        Some(_) => Life::Begins,
    };
    Ok(Ground {
        state: absolute(&config.state_dir)?,
        run: absolute(&run_dir(args, config, &node))?,
        node,
        uids,
        networks,
        life,
    })
}

/// What a fold says is there.
struct Implied {
    uids: BTreeSet<Uid>,
    attempts: BTreeSet<ContainerId>,
    /// Of which logs are kept.
    logged: BTreeSet<Uid>,
    /// What containers run from, or are to.
    snapshots: BTreeSet<String>,
}

impl Implied {
    fn of(fold: &Fold) -> Self {
        let uids: BTreeSet<Uid> = fold.instances.keys().cloned().collect();
        let attempted = fold.instances.values().flat_map(|record| {
            let there = |phase| !matches!(phase, Phase::Waiting | Phase::Done);
            let there = record.attempted().filter(move |(_, c)| there(c.phase));
            there.filter_map(|(n, _)| record.current(n))
        });
        let gone = fold
            .tombstones
            .values()
            .map(|tombstone| tombstone.uid.clone());
        Self {
            attempts: attempted.collect(),
            logged: uids.iter().cloned().chain(gone).collect(),
            snapshots: view::image_users(fold, |_| None).into_keys().collect(),
            uids,
        }
    }

    /// Why a thing shouldn't be there; none if it should.
    fn why_not(&self, thing: &Thing) -> Option<String> {
        let unknown =
            |uid: &Uid| format!("the journal has no instance with the uid {uid} any more");
        match &thing.of {
            Of::Incarnation(uid) => (!self.uids.contains(uid)).then(|| unknown(uid)),
            Of::Logs(uid) => (!self.logged.contains(uid)).then(|| unknown(uid)),
            Of::Attempt(id) if !self.uids.contains(&id.uid) => Some(unknown(&id.uid)),
            Of::Attempt(id) => (!self.attempts.contains(id))
                .then(|| format!("by the journal nothing is left of the attempt {id}")),
            Of::Snapshot(snapshot, why) => {
                (!self.snapshots.contains(snapshot)).then(|| why.clone())
            }
            Of::Nobody(why) => Some((*why).to_owned()),
        }
    }
}

fn mend(thing: &Thing) -> String {
    let what = thing.what.as_str();
    match (thing.kind, &thing.of) {
        ("rule", _) => format!("iptables -t nat -D {}", what.trim_start_matches("nat ")),
        ("chain", _) => {
            let chain = what.trim_start_matches("nat ");
            format!(
                "after the rules that lead to it: iptables -t nat -F {chain} && iptables -t nat -X {chain}"
            )
        }
        ("link", _) => format!("ip link delete {what}"),
        ("netns", Of::Incarnation(uid)) => format!("ip netns delete rk-{uid}"),
        ("address", _) => "remove the file: no container has the address".to_owned(),
        ("pull", _) => "start or restart riklet: a start removes it".to_owned(),
        ("snapshot", Of::Snapshot(snapshot, _)) if !what.ends_with(snapshot.as_str()) => {
            "riklet images prune".to_owned()
        }
        ("snapshot", Of::Snapshot(..)) => "remove the directory".to_owned(),
        ("snapshot", Of::Nobody(why)) if *why != look::STRANGE => {
            "start riklet: a start removes it".to_owned()
        }
        ("cgroup", Of::Nobody(why)) if *why != look::STRANGE => {
            "start riklet: a start ends what is in it and removes it".to_owned()
        }
        (_, Of::Incarnation(uid)) => {
            format!("restart riklet, then `riklet delete {uid}` if it shows as unclaimed")
        }
        (_, Of::Attempt(id)) => format!(
            "restart riklet: a start removes it, or shows {} as unclaimed",
            id.uid
        ),
        (_, Of::Logs(_)) => "none needed: it goes within minutes while riklet runs".to_owned(),
        (_, Of::Snapshot(..) | Of::Nobody(_)) => "see what it is, and remove it by hand".to_owned(),
    }
}

fn text(view: &View) -> String {
    if view.leaks.is_empty() {
        return "no leaks".to_owned();
    }
    let rows = view.leaks.iter().map(|leak| {
        [
            leak.kind.to_owned(),
            leak.what.clone(),
            leak.why.clone(),
            leak.mend.clone(),
        ]
    });
    let count = counted(view.leaks.len(), "leak");
    format!("{count}:\n{}", table(["KIND", "WHAT", "WHY", "MEND"], rows))
}

#[cfg(test)]
mod tests;
