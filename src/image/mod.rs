//! Images: references, pulls, unpacked snapshots.

pub mod reference;
