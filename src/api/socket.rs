//! The socket: made so that nobody else can use it at any moment, and that a stale one is no
//! obstacle.

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use tokio::net::UnixListener;

/// The longest path of a unix socket, without its NUL (unix(7)).
const MAX_PATH: usize = 107;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another daemon answers there.
    #[error("another riklet answers at {}: stop it, or give this one its own --socket", .0.display())]
    InUse(PathBuf),
    /// Something else is there.
    #[error("{} is there and is not a socket: remove it, or give another --socket", .0.display())]
    NotASocket(PathBuf),
    /// The kernel takes no such path.
    #[error(
        "the socket's path {} has {} bytes, at most {MAX_PATH} are possible: give a shorter --socket",
        .0.display(), .0.as_os_str().len()
    )]
    TooLong(PathBuf),
    /// It could not be made.
    #[error("cannot {tried} {}", path.display())]
    Io {
        /// What was tried.
        tried: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// The listening socket; its file goes when this does, unless another has taken its place.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: Option<UnixListener>,
    path: PathBuf,
    inode: (u64, u64),
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Left behind by a crash it is harmless: the next daemon finds that nobody answers.
        if fs::symlink_metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at `path`, with mode 0600; a missing directory is made with 0700. Must be called
/// within a tokio runtime.
///
/// # Errors
/// Another daemon answers there, something else is there, or the socket can't be made.
pub fn bind(path: &Path) -> Result<Socket, SocketError> {
    let failed = |tried, path: &Path| {
        let path = path.to_owned();
        move |source| SocketError::Io {
            tried,
            path,
            source,
        }
    };
    // The name it is made under is a little longer than the one it gets.
    let own = own_name(path);
    if own.as_os_str().len() > MAX_PATH {
        return Err(SocketError::TooLong(path.to_owned()));
    }
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed("create the directory", dir))?;
    }
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(SocketError::InUse(path.to_owned()));
        }
        _ => {}
    }
    // Bound under a name of its own, closed to others, then moved over a stale one: there is no
    // moment at which the socket is there and open to all.
    let _ = fs::remove_file(&own);
    let listener = UnixListener::bind(&own).map_err(failed("listen at", &own))?;
    fs::set_permissions(&own, fs::Permissions::from_mode(0o600))
        .map_err(failed("close to others", &own))?;
    let meta = fs::symlink_metadata(&own).map_err(failed("look at", &own))?;
    fs::rename(&own, path).map_err(failed("put in its place", path))?;
    Ok(Socket {
        listener: Some(listener),
        path: path.to_owned(),
        inode: (meta.dev(), meta.ino()),
    })
}

fn own_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}
