//! The names everything else is keyed by, parsed once and correct ever after.
//!
//! Owns: which texts are legal names, and how a container's name is built. In: text from the
//! wire, files and the command line. Out: newtypes. Must never happen here: a text from outside
//! becoming part of a path, cgroup, network namespace or container id; only [`Uid`]s,
//! [`NodeUid`]s and numbers do, all drawn by riklet itself.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize};

/// Sequence number of a journal line; the first line of a journal has 1, and 0 means "none".
pub type Seq = u64;

/// Position of a container in its definition, from 0.
pub type Position = u16;

/// One start of a container, counted from 1 within a [`Uid`] and never reused.
pub type Attempt = u32;

/// How often an incarnation's definition was accepted: 1 for the first.
pub type Generation = u32;

/// The longest instance id taken from the wire, in bytes.
pub const MAX_WIRE_ID: usize = 128;

/// Why a text is not a legal name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing was given.
    #[error("an instance id must not be empty")]
    Empty,
    /// Longer than [`MAX_WIRE_ID`].
    #[error("an instance id has at most {MAX_WIRE_ID} characters, this one has {0}")]
    TooLong(usize),
    /// A character outside `[A-Za-z0-9._-]`.
    #[error("an instance id has only letters, digits, '.', '_' and '-', this one has {0:?}")]
    Character(char),
    /// A leading `.` or `-`.
    #[error("an instance id must not start with {0:?}")]
    Start(char),
    /// Not of the form of a name that riklet draws.
    #[error("{0:?} is not a name that riklet draws")]
    Drawn(String),
}

fn check_plain(text: &str) -> Result<(), IdError> {
    let first = text.chars().next().ok_or(IdError::Empty)?;
    if text.len() > MAX_WIRE_ID {
        return Err(IdError::TooLong(text.chars().count()));
    }
    if let Some(bad) = text
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
    {
        return Err(IdError::Character(bad));
    }
    if matches!(first, '.' | '-') {
        return Err(IdError::Start(first));
    }
    Ok(())
}

/// Who an instance belongs to. Sources never touch each other's instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The cluster's scheduler, over gRPC.
    Scheduler,
    /// A file in the manifests directory.
    Manifest,
    /// `riklet apply` and `riklet delete`.
    Cli,
    /// `riklet delete --force`, which may name any instance.
    Operator,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheduler => "scheduler",
            Self::Manifest => "manifest",
            Self::Cli => "cli",
            Self::Operator => "operator",
        })
    }
}

/// The id of an instance: what the scheduler calls it, or `<name>@manifest`, `<name>@cli`.
///
/// `@` is not allowed on the wire, so ids of different sources never collide.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct InstanceId(String);

impl InstanceId {
    /// Takes an id as it came over the wire: 1 to 128 of `[A-Za-z0-9._-]`, not starting with
    /// `.` or `-`.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn from_wire(text: &str) -> Result<Self, IdError> {
        check_plain(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The id of the instance `name` that belongs to a local source.
    ///
    /// # Errors
    /// The first rule that `name` breaks.
    pub fn local(name: &str, source: Source) -> Result<Self, IdError> {
        check_plain(name)?;
        Ok(match source {
            Source::Manifest => Self(format!("{name}@manifest")),
            Source::Cli => Self(format!("{name}@cli")),
            Source::Scheduler | Source::Operator => Self(name.to_owned()),
        })
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whose instances have ids of this form.
    #[must_use]
    pub fn source(&self) -> Source {
        match self.0.split_once('@') {
            Some((_, "manifest")) => Source::Manifest,
            Some(_) => Source::Cli,
            None => Source::Scheduler,
        }
    }

    /// The id without its source's suffix: what a person types.
    #[must_use]
    pub fn bare(&self) -> &str {
        self.0.split('@').next().unwrap_or(&self.0)
    }

    /// A hostname made of the id: cut to 63 characters, everything else than letters, digits
    /// and `-` replaced by `-` (RFC 1123 labels).
    #[must_use]
    pub fn hostname(&self) -> String {
        let name: String = self
            .bare()
            .chars()
            .take(63)
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        name.trim_matches('-').to_owned()
    }
}

impl FromStr for InstanceId {
    type Err = IdError;

    /// Takes an id in any of its forms, as the journal and the command line have them.
    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.split_once('@') {
            None => Self::from_wire(text),
            Some((name, "manifest")) => Self::local(name, Source::Manifest),
            Some((name, "cli")) => Self::local(name, Source::Cli),
            Some(_) => Err(IdError::Character('@')),
        }
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for InstanceId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Lower-case base32 without look-alikes (Crockford's alphabet).
const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Digits of a drawn name; 50 bits.
const DRAWN_DIGITS: usize = 10;

fn draw(entropy: u64) -> String {
    (0..DRAWN_DIGITS)
        .map(|i| char::from(BASE32[((entropy >> (5 * i)) & 31) as usize]))
        .collect()
}

fn check_drawn(text: &str) -> Result<(), IdError> {
    if text.len() == DRAWN_DIGITS && text.bytes().all(|b| BASE32.contains(&b)) {
        Ok(())
    } else {
        Err(IdError::Drawn(text.to_owned()))
    }
}

macro_rules! drawn_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Makes the name of 50 bits of the caller's randomness (pure: the caller draws).
            #[must_use]
            pub fn from_entropy(entropy: u64) -> Self {
                Self(draw(entropy))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                check_drawn(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

drawn_name! {
    /// One incarnation of an instance id: 10 base32 digits, drawn when the create was accepted.
    Uid
}

drawn_name! {
    /// The journal's owner: drawn when the journal is created, carried by every ownership mark.
    NodeUid
}

/// The name of one attempt of one container: `<uid>-<n>-<attempt>`.
///
/// This is runc's container id, conmon's id, the bundle's and the cgroup's name. Two instances
/// whose id and container name concatenate alike still differ, for neither text is in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId {
    /// The incarnation.
    pub uid: Uid,
    /// The container's position in the definition.
    pub n: Position,
    /// The attempt.
    pub attempt: Attempt,
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.uid, self.n, self.attempt)
    }
}

impl FromStr for ContainerId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = || IdError::Drawn(text.to_owned());
        let mut parts = text.split('-');
        let (uid, n, attempt) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(uid), Some(n), Some(attempt), None) => (uid, n, attempt),
            _ => return Err(bad()),
        };
        let id = Self {
            uid: uid.parse()?,
            n: n.parse().map_err(|_| bad())?,
            attempt: attempt.parse().map_err(|_| bad())?,
        };
        // One text per id: no "+1", no leading zeros.
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(bad())
        }
    }
}

impl Serialize for ContainerId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContainerId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
