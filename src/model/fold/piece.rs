//! The fold in pieces, as the store and the snapshots keep it.

use std::{fmt, str::FromStr};

use super::Fold;
use crate::model::ids::{IdError, InstanceId, Seq, Uid};

/// A part of the fold that is kept, changed and lost on its own: a damaged one takes no other
/// with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Piece {
    /// The node's record.
    Node,
    /// One incarnation's record.
    Instance(Uid),
    /// One id's tombstone.
    Tombstone(InstanceId),
    /// One incarnation's outbox.
    Outbox(Uid),
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("node"),
            Self::Instance(uid) => write!(f, "instance/{uid}"),
            Self::Tombstone(id) => write!(f, "tombstone/{id}"),
            Self::Outbox(uid) => write!(f, "outbox/{uid}"),
        }
    }
}

/// Why a piece can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum PieceError {
    /// Its name is none.
    #[error("{0:?} is not the name of a piece of the state")]
    Name(String),
    /// The id in its name is none.
    #[error("the piece {name:?} has a bad id in its name")]
    Id {
        /// The name.
        name: String,
        /// What is bad.
        source: IdError,
    },
    /// Its text doesn't say what such a piece says.
    #[error("the piece {piece} can't be read")]
    Text {
        /// Which piece.
        piece: Piece,
        /// Why not.
        source: serde_json::Error,
    },
}

impl FromStr for Piece {
    type Err = PieceError;
    fn from_str(text: &str) -> Result<Self, PieceError> {
        let id = |source| PieceError::Id {
            name: text.to_owned(),
            source,
        };
        match text.split_once('/') {
            None if text == "node" => Ok(Self::Node),
            Some(("instance", uid)) => uid.parse().map(Self::Instance).map_err(id),
            Some(("tombstone", name)) => name.parse().map(Self::Tombstone).map_err(id),
            Some(("outbox", uid)) => uid.parse().map(Self::Outbox).map_err(id),
            _ => Err(PieceError::Name(text.to_owned())),
        }
    }
}

impl Fold {
    /// The JSON text of a piece; none if there is no such piece (any more).
    #[must_use]
    pub fn piece(&self, piece: &Piece) -> Option<String> {
        // Serialising these types can't fail: string keys, no foreign Serialize in them.
        match piece {
            Piece::Node => serde_json::to_string(&self.node).ok(),
            Piece::Instance(uid) => serde_json::to_string(self.instances.get(uid)?).ok(),
            Piece::Tombstone(id) => serde_json::to_string(self.tombstones.get(id)?).ok(),
            Piece::Outbox(uid) => serde_json::to_string(self.outboxes.get(uid)?).ok(),
        }
    }

    /// Every piece there is, with its JSON text.
    #[must_use]
    pub fn pieces(&self) -> Vec<(Piece, String)> {
        let names = std::iter::once(Piece::Node)
            .chain(self.instances.keys().cloned().map(Piece::Instance))
            .chain(self.tombstones.keys().cloned().map(Piece::Tombstone))
            .chain(self.outboxes.keys().cloned().map(Piece::Outbox));
        names
            .filter_map(|p| self.piece(&p).map(|text| (p, text)))
            .collect()
    }

    /// Puts a fold together. A piece that can't be read is left out and told of.
    #[must_use]
    pub fn from_pieces(
        seq: Seq,
        pieces: impl IntoIterator<Item = (Piece, String)>,
    ) -> (Self, Vec<PieceError>) {
        let mut fold = Self {
            seq,
            ..Self::default()
        };
        let mut errors = Vec::new();
        for (piece, text) in pieces {
            if let Err(source) = fold.put(&piece, &text) {
                errors.push(PieceError::Text { piece, source });
            }
        }
        (fold, errors)
    }

    fn put(&mut self, piece: &Piece, text: &str) -> Result<(), serde_json::Error> {
        match piece {
            Piece::Node => self.node = serde_json::from_str(text)?,
            Piece::Instance(uid) => {
                self.instances
                    .insert(uid.clone(), serde_json::from_str(text)?);
            }
            Piece::Tombstone(id) => {
                self.tombstones
                    .insert(id.clone(), serde_json::from_str(text)?);
            }
            Piece::Outbox(uid) => {
                self.outboxes
                    .insert(uid.clone(), serde_json::from_str(text)?);
            }
        }
        Ok(())
    }
}
