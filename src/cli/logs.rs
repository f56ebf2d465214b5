//! `riklet logs ID [CONTAINER]`

mod cri;
mod files;

use std::{io, path::Path};

use jiff::{SignedDuration, Timestamp};

use super::{
    CliError,
    node::NodeFlags,
    output::now,
    records::{self, Changes, Names},
};
use crate::{
    ledger::offline,
    model::ids::{Position, Uid},
    view::{FindError, Found, find},
};
use cri::{Joiner, Sink};
use files::{Attempts, Reader, Until};

/// `-f` looks whether the container is over in every so-manieth second in which nothing comes, the
/// first of them too: the whole journal is read for that.
const LOOK_EVERY: u32 = 5;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Read from the log files: works with the daemon alive or dead. -f goes on \
with the next attempt when
the container restarts, and ends when it is over for good.

Examples:
  riklet logs web
  riklet logs -f --tail 20 web sidecar
  riklet logs -p web                     what the attempt before wrote"
)]
pub(super) struct Args {
    /// Its id, its uid, or its name while only one instance has it
    #[arg(value_name = "ID")]
    instance: String,
    /// Which container; needed where there are several
    #[arg(value_name = "CONTAINER")]
    container: Option<String>,
    /// Wait for more
    #[arg(short, long)]
    follow: bool,
    /// Of the attempt before the last one
    #[arg(short, long, conflicts_with = "follow")]
    previous: bool,
    /// Only the last N lines
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
    /// Only lines since then: 10m, 2h, or 2026-11-22T15:39:04Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Begin each line with when it was written
    #[arg(long)]
    timestamps: bool,
    #[command(flatten)]
    node: NodeFlags,
}

pub(super) fn execute(args: &Args) -> Result<(), CliError> {
    let state_dir = args.node.config().state_dir;
    let since = args.since.as_deref().map(since).transpose()?;
    let place = resolve(args, &state_dir)?;
    let dir = state_dir.join("logs").join(place.uid.as_str());
    let attempts = Attempts::new(dir, place.n);
    let Some(attempt) = attempts.newest(usize::from(args.previous)) else {
        if args.follow {
            return follow(args, (&state_dir, &place), &attempts, 0, since);
        }
        let what = if args.previous {
            "no former log"
        } else {
            "no log yet"
        };
        let of = match &place.container {
            Some(name) => format!("container {name} of {}", args.instance),
            None => args.instance.clone(),
        };
        return Err(CliError::says(format!(
            "{of} has {what} (see `riklet explain {}`)",
            args.instance
        )));
    };
    if args.follow {
        return follow(args, (&state_dir, &place), &attempts, attempt, since);
    }
    let mut sink = Sink::new(io::stdout().lock(), args.tail, since, args.timestamps);
    let mut joiner = Joiner::default();
    let mut reader = Reader::new(&attempts, attempt, Until::End);
    loop {
        let bytes = reader.more().map_err(|e| unreadable(attempts.dir(), &e))?;
        if bytes.is_empty() {
            break;
        }
        joiner.feed(&bytes, |entry| sink.take(entry)).map_err(out)?;
    }
    joiner.finish(|entry| sink.take(entry)).map_err(out)?;
    sink.finish().map_err(out)
}

fn out(error: io::Error) -> CliError {
    CliError::output(&error)
}

fn unreadable(path: &Path, error: &io::Error) -> CliError {
    CliError::says(format!("cannot read {}: {error}", path.display()))
}

/// What is there by `tail`, then what comes, until nothing comes any more.
fn follow(
    args: &Args,
    (state_dir, place): (&Path, &Place),
    attempts: &Attempts,
    attempt: u32,
    since: Option<Timestamp>,
) -> Result<(), CliError> {
    let changes = Changes::of(attempts.dir());
    let (mut ends, mut silent) = (false, 0_u32);
    let mut reader = Reader::new(attempts, attempt, Until::Forever);
    let mut sink = Sink::new(io::stdout().lock(), args.tail, since, args.timestamps);
    let mut joiner = Joiner::default();
    let mut of = attempt;
    loop {
        loop {
            let bytes = reader.more().map_err(|e| unreadable(attempts.dir(), &e))?;
            if bytes.is_empty() {
                break;
            }
            if std::mem::replace(&mut of, reader.attempt()) != reader.attempt() {
                // Its last line may never have been ended; it isn't the next one's first.
                joiner.finish(|entry| sink.take(entry)).map_err(out)?;
            }
            joiner.feed(&bytes, |entry| sink.take(entry)).map_err(out)?;
        }
        // From here on everything is new.
        sink.finish().map_err(out)?;
        if ends {
            return joiner.finish(|entry| sink.take(entry)).map_err(out);
        }
        silent = if changes.wait() { 0 } else { silent + 1 };
        // Looked at only where nothing comes; what came until then is read once more.
        ends = silent % LOOK_EVERY == 1 && is_over(state_dir, place);
    }
}

/// Does the container write nothing any more, ever? Not while it can't be known.
fn is_over(state_dir: &Path, place: &Place) -> bool {
    let Ok(known) = offline::load(state_dir) else {
        return false;
    };
    let record = known.fold.instances.get(&place.uid);
    record.is_none_or(|record| {
        // A sidecar writes on while it is ended.
        let lives = record
            .container(place.n)
            .is_some_and(|c| c.phase.may_live());
        record.is_over(place.n) || (record.is_spent() && !lives)
    })
}

struct Place {
    uid: Uid,
    n: Position,
    /// Its name, where that is known: of what was refused nothing is.
    container: Option<String>,
}

fn resolve(args: &Args, state_dir: &Path) -> Result<Place, CliError> {
    let fold = records::load(state_dir)?.fold;
    let mut names = Names::of(&fold);
    let uid = match find(&fold, &args.instance) {
        Ok(Found::Live(record)) => record.uid.clone(),
        Ok(Found::Gone(_, tombstone)) => tombstone.uid.clone(),
        Err(error @ FindError::Ambiguous { .. }) => return Err(error.into()),
        Err(error) => {
            // Its tombstone may be gone, and its logs not.
            let of_uid = args.instance.parse::<Uid>().ok();
            of_uid
                .filter(|uid| state_dir.join("logs").join(uid.as_str()).is_dir())
                .ok_or_else(|| CliError::from(error))?
        }
    };
    if names.containers(&uid).is_empty() {
        for line in records::lines(state_dir, 1)? {
            names.hear(&line?.event);
        }
    }
    let known = names.containers(&uid);
    let at = |n: usize| Position::try_from(n).unwrap_or(Position::MAX);
    let n = match &args.container {
        Some(name) => match known.iter().position(|known| known == name) {
            Some(n) => at(n),
            // Where names are forgotten, the position says it.
            None if known.is_empty() && name.parse::<Position>().is_ok() => {
                name.parse().unwrap_or_default()
            }
            None => {
                return Err(CliError::not_found(format!(
                    "{} has no container {name:?}: it has {}",
                    args.instance,
                    known.join(", ")
                )));
            }
        },
        None if known.len() > 1 => {
            return Err(CliError::usage(format!(
                "{} has several containers: say which of {}",
                args.instance,
                known.join(", ")
            )));
        }
        None => 0,
    };
    let container = known.get(usize::from(n)).cloned();
    Ok(Place { uid, n, container })
}

/// A moment, or how long ago.
fn since(text: &str) -> Result<Timestamp, CliError> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let ago = text.parse::<SignedDuration>().ok().map(SignedDuration::abs);
    ago.zip(now())
        .and_then(|(ago, now)| now.at.checked_sub(ago).ok())
        .ok_or_else(|| {
            CliError::usage(format!(
                "--since {text:?} is neither a time like 2026-11-22T15:39:04Z nor a duration like 10m"
            ))
        })
}

#[cfg(test)]
mod tests;
