//! Images: from a reference in a definition to a read-only tree that a container runs from.
//!
//! Why: what runs must be exactly the image that was asked for, whole, or nothing; pulls are slow,
//! hang, and are killed halfway. Owns: references ([`mod@reference`]), the programs that fetch and
//! unpack (skopeo, umoci; each behind typed verbs), the directory `snapshots/` ([`snapshots`]),
//! single pulls ([`pull`]) and their collection ([`gc`]). In: image texts and recorded digests.
//! Out: [`ReadyImage`](crate::node::ReadyImage)s and image configs. Must never happen here: a
//! partial directory taken for an image, a pull that outlives its limits or its last waiter, or a
//! container's config (that is the bundle's).
//!
//! ```text
//! ensure ─▶ known? ──yes──▶ ready (no fork, no network)
//!            │ no digest: resolve (skopeo inspect), one per reference
//!            ▼
//!          fetch, one per digest, 3 at once:
//!            skopeo copy ─▶ hashes, platform ─▶ umoci ─▶ syncfs, rename, fsync ─▶ ready
//! ```

mod attempt;
mod collect;
mod digest;
mod error;
mod fetch;
mod flights;
pub mod gc;
pub mod inventory;
mod layout;
mod progress;
pub mod pull;
mod records;
pub mod reference;
mod skopeo;
pub mod snapshots;
mod staging;
mod stall;
mod umoci;

pub use error::{Cause, ImageError};
pub use inventory::{Fullness, Inventory, Leftover, Stored, inventory, leftovers};
pub use progress::{Progress, Step};
pub use pull::{Images, ImagesConfig};
pub use records::{Named, Record, SnapshotView};
pub use skopeo::SkopeoConfig;
