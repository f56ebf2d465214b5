//! A sandbox's namespaces: the node's ids, or its own.

use std::io;

use crate::{
    model::{
        ids::{ContainerId, Uid},
        users::{IdRange, IdSpan},
    },
    network::{netns, pins},
    node::{Failure, FailureKind},
    runtime::{
        bundle::{make_private_directory, overlay},
        layout::netns_name,
        real_node::{ImageSource, RealNode, failure, observe},
        tree, users,
    },
};

use super::SandboxRecord;

impl<I: ImageSource> RealNode<I> {
    /// Directory, record, namespaces, shared memory.
    pub(super) async fn make_namespaces(
        &self,
        uid: &Uid,
        record: &SandboxRecord,
        hostname: String,
    ) -> Result<(), Failure> {
        let tried = format!("make the sandbox of {uid}");
        let (of, first) = (uid.clone(), record.clone());
        let lay_ground = move |node: &Self| node.lay_ground(&of, &first);
        self.off_thread(&tried, lay_ground).await?;
        if let Some(ids) = record.users {
            let layout = self.layout();
            let wish = users::Wish {
                ids,
                user: layout.user_namespace(uid),
                ipc: layout.ipc_namespace(uid),
                uts: layout.uts_namespace(uid),
                netns: netns_name(uid),
                hostname,
            };
            let made = users::make(&self.0.spawner, wish).await;
            return made.map_err(|e| failure::of_users(tried, e));
        }
        let (of, first) = (uid.clone(), record.clone());
        let make = move |node: &Self| node.make_shared(&of, &first, &hostname);
        self.off_thread(&tried, make).await
    }

    /// Everything but the namespaces; blocks.
    fn lay_ground(&self, uid: &Uid, record: &SandboxRecord) -> Result<(), Failure> {
        let layout = self.layout();
        let made = || -> io::Result<()> {
            make_private_directory(&layout.pod(uid))?;
            record.write(layout, uid)?;
            make_private_directory(&layout.namespaces(uid))?;
            let owner = record.users.map_or(0, IdRange::first);
            match record.host_ipc {
                true => Ok(()),
                false => pins::create_shm(&layout.shm(uid), owner),
            }
        };
        made().map_err(|e| failure::of_io(format!("make the sandbox of {uid}"), e))
    }

    /// Namespaces that belong to the node's own users; blocks.
    fn make_shared(
        &self,
        uid: &Uid,
        record: &SandboxRecord,
        hostname: &str,
    ) -> Result<(), Failure> {
        let layout = self.layout();
        let tried = || format!("make the sandbox of {uid}");
        let ipc = layout.ipc_namespace(uid);
        let ipc = (!record.host_ipc).then_some(ipc.as_path());
        pins::create(&layout.uts_namespace(uid), hostname, ipc)
            .map_err(|e| failure::of_io(tried(), e))?;
        if record.host_network {
            return Ok(());
        }
        netns::create(&netns_name(uid))
            .map_err(|e| Failure::new(FailureKind::Transient, tried(), e))
    }

    /// Ids that others have: the node's users, and every other sandbox that there is; blocks.
    pub(in crate::runtime::real_node) fn look_for_ids(
        &self,
        uid: &Uid,
    ) -> Result<Vec<IdSpan>, Failure> {
        let failed = |e| failure::of_io("see which ids of the node are taken".to_owned(), e);
        let mut taken = users::given_away().map_err(failed)?;
        for name in observe::names(&self.layout().pods()).map_err(failed)? {
            let other = name.parse().ok().filter(|other: &Uid| other != uid);
            let record = other.and_then(|other| SandboxRecord::read(self.layout(), &other));
            taken.extend(record.and_then(|record| record.users).map(IdRange::span));
        }
        Ok(taken)
    }

    /// Takes away the roots whose bundles are gone: nothing else would.
    pub(super) fn sweep_roots(&self) -> Result<(), Failure> {
        let layout = self.layout();
        let failed = |e| failure::of_io("remove what former containers have left".to_owned(), e);
        for name in observe::names(&layout.roots()).map_err(failed)? {
            let Ok(id) = name.parse::<ContainerId>() else {
                continue;
            };
            if layout.bundle(&id).symlink_metadata().is_ok() {
                continue;
            }
            let root = layout.root(&id);
            overlay::unmount_root(&root)
                .map_err(io::Error::other)
                .and_then(|()| tree::remove(&root))
                .map_err(failed)?;
        }
        Ok(())
    }
}
