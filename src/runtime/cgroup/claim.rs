//! Whose the tree is.

use std::fs::{File, TryLockError};

use super::{CgroupError, Cgroups, io_error};

impl Cgroups {
    /// Makes the tree this daemon's for as long as what is returned lives. Two daemons with one
    /// node uid (a copied state directory) would take each other's containers for their own, and
    /// end them.
    ///
    /// # Errors
    /// [`CgroupError::InUse`], or the tree can't be made.
    pub fn claim(&self) -> Result<File, CgroupError> {
        self.create("")?;
        let top = self.tracking_dir("");
        let dir = File::open(&top).map_err(|e| io_error("open", &top, e))?;
        match dir.try_lock() {
            Ok(()) => Ok(dir),
            Err(TryLockError::WouldBlock) => Err(CgroupError::InUse(self.0.parent.clone())),
            Err(TryLockError::Error(e)) => Err(io_error("lock", &top, e)),
        }
    }
}
