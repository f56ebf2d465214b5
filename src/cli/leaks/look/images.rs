//! What lies among the images and is none.

use super::{Ground, Life, LookError, Of, STRANGE, Thing};
use crate::image::{Leftover, gc, leftovers};

const NO_PULL: &str = "no daemon lives that would be at work on this pull";
const NO_REMOVAL: &str = "no daemon lives that would be removing it";

pub(super) fn all(
    ground: &Ground,
    mountinfo: &str,
    found: &mut Vec<Thing>,
) -> Result<(), LookError> {
    let dir = ground.state.join("snapshots");
    let left = leftovers(&dir).map_err(|source| LookError::Directory { path: dir, source })?;
    let mounted = gc::mounted(mountinfo);
    let unless_mounted = |snapshot: String, why: String| {
        (!mounted.contains(&snapshot)).then_some(Of::Snapshot(snapshot, why))
    };
    for (path, left) in left {
        let of = match (left, ground.life) {
            // At its start a daemon removes these before all else.
            (Leftover::Staging { .. } | Leftover::Going, Life::Begins) => None,
            (Leftover::Staging { pid }, Life::Lasts(daemon)) if pid == Some(daemon) => None,
            (Leftover::Staging { .. }, _) => Some(Of::Nobody(NO_PULL)),
            // Whether it still is being removed can't be told.
            (Leftover::Going, Life::Lasts(_)) => None,
            (Leftover::Going, Life::Over) => Some(Of::Nobody(NO_REMOVAL)),
            (Leftover::Damaged { snapshot }, _) => {
                let why = "it was no image, was put aside, and nothing runs from it";
                unless_mounted(snapshot, why.to_owned())
            }
            (Leftover::NoImage { snapshot, why }, _) => {
                let why = format!("it is no image ({why}), and nothing runs from it");
                unless_mounted(snapshot, why)
            }
            (Leftover::Strange, _) => Some(Of::Nobody(STRANGE)),
        };
        if let Some(of) = of {
            let staging = matches!(of, Of::Nobody(NO_PULL));
            found.push(Thing {
                kind: if staging { "pull" } else { "snapshot" },
                what: path.display().to_string(),
                of,
            });
        }
    }
    Ok(())
}
