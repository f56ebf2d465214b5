//! Whose process a container's is: `user[:group]` looked up in the image's own files.
//!
//! Owns: reading a rootfs' `etc/passwd` and `etc/group`, and docker's rules for `User`. In: a
//! rootfs and a text of an image or definition. Out: ids and a home. Must never happen here:
//! following a link of the image out of its rootfs, reading a device or fifo of it, or running
//! anything of it.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::Mode,
};

/// The most of a passwd or group file that is read.
const MAX_FILE: u64 = 1 << 20;

/// Whom a container's process runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User id inside.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Home directory: passwd's, else `/`.
    pub home: String,
}

/// Why a user can't be told.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The image has no such user.
    #[error("the image's /etc/passwd has no user {0:?}; name one that it has, or a number")]
    NoUser(String),
    /// The image has no such group.
    #[error("the image's /etc/group has no group {0:?}; name one that it has, or a number")]
    NoGroup(String),
    /// The image's files can't be read.
    #[error("can't read {file} in the image")]
    Read {
        /// Which file.
        file: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Opens `path` as a process inside `rootfs` would see it: links lead nowhere but within, and
/// the kernel's magic links nowhere at all. Never blocks on a fifo.
///
/// # Errors
/// What openat2(2) says.
pub fn open_inside(rootfs: &Path, path: &str) -> io::Result<OwnedFd> {
    let root = open(
        rootfs,
        OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    // EAGAIN: something was renamed along the way; openat2(2) says to try again.
    for _ in 0..16 {
        match openat2(&root, path, how) {
            Err(Errno::EAGAIN) => {}
            done => return Ok(done?),
        }
    }
    Err(Errno::EAGAIN.into())
}

/// The text of a regular file inside; absent and irregular ones are empty.
fn text_inside(rootfs: &Path, path: &'static str) -> Result<String, UserError> {
    let failed = |source| UserError::Read { file: path, source };
    let file = match open_inside(rootfs, path) {
        Ok(fd) => File::from(fd),
        Err(e)
            if matches!(
                e.raw_os_error(),
                Some(nix::libc::ENOENT | nix::libc::ENOTDIR | nix::libc::ELOOP | nix::libc::ENXIO)
            ) =>
        {
            return Ok(String::new());
        }
        Err(source) => return Err(failed(source)),
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or("");
        Some(Account {
            name,
            uid,
            gid,
            home,
        })
    })
}

/// Name, id and members of each group.
fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or("")))
    })
}

/// Tells whom a container runs as: the definition's numbers where it has any, else the image's
/// `user`. A number is only ever a number, whatever names an image has; a user by number has the
/// group and the groups that the image gives it.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_as(
    rootfs: &Path,
    user: &str,
    run_as_user: Option<u32>,
    run_as_group: Option<u32>,
) -> Result<ResolvedUser, UserError> {
    let mut resolved = match run_as_user {
        None => resolve(rootfs, user)?,
        Some(uid) => by_number(rootfs, uid)?,
    };
    if let Some(gid) = run_as_group {
        resolved.gid = gid;
    }
    Ok(resolved)
}

fn by_number(rootfs: &Path, uid: u32) -> Result<ResolvedUser, UserError> {
    let passwd = text_inside(rootfs, "etc/passwd")?;
    let Some(account) = accounts(&passwd).find(|a| a.uid == uid) else {
        return Ok(ResolvedUser {
            uid,
            home: "/".to_owned(),
            ..ResolvedUser::default()
        });
    };
    let listed = text_inside(rootfs, "etc/group")?;
    Ok(ResolvedUser {
        uid,
        gid: account.gid,
        groups: memberships(&listed, &account),
        home: home_of(Some(&account)),
    })
}

/// The groups that an account is a member of besides its own.
fn memberships(group: &str, account: &Account<'_>) -> Vec<u32> {
    let is_in = |members: &str| members.split(',').any(|m| m == account.name);
    groups(group)
        .filter(|(.., members)| is_in(members))
        .map(|(_, gid, _)| gid)
        .filter(|gid| *gid != account.gid)
        .collect()
}

fn home_of(account: Option<&Account<'_>>) -> String {
    let home = account.map(|a| a.home).filter(|home| home.starts_with('/'));
    home.unwrap_or("/").to_owned()
}

/// Tells whom `user` (`""`, `user`, `user:group`, each a name or a number) is in `rootfs`.
/// A name goes before a number; a number needs no entry.
///
/// # Errors
/// A name that the image doesn't have, or files that can't be read.
pub fn resolve(rootfs: &Path, user: &str) -> Result<ResolvedUser, UserError> {
    let passwd = text_inside(rootfs, "etc/passwd")?;
    let (user, group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (user, None),
    };
    let number = if user.is_empty() {
        Some(0)
    } else {
        user.parse::<u32>().ok()
    };
    let account = accounts(&passwd)
        .find(|a| !user.is_empty() && a.name == user)
        .or_else(|| accounts(&passwd).find(|a| Some(a.uid) == number));
    let uid = account
        .as_ref()
        .map(|a| a.uid)
        .or(number)
        .ok_or_else(|| UserError::NoUser(user.to_owned()))?;
    let mut resolved = ResolvedUser {
        uid,
        gid: account.as_ref().map_or(0, |a| a.gid),
        groups: Vec::new(),
        home: home_of(account.as_ref()),
    };
    let listed = text_inside(rootfs, "etc/group")?;
    match (group, &account) {
        (Some(wanted), _) => {
            resolved.gid = groups(&listed)
                .find(|(name, ..)| *name == wanted)
                .map(|(_, gid, _)| gid)
                .or_else(|| wanted.parse().ok())
                .ok_or_else(|| UserError::NoGroup(wanted.to_owned()))?;
        }
        (None, Some(account)) => {
            resolved.groups = memberships(&listed, account);
        }
        (None, None) => {}
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests;
