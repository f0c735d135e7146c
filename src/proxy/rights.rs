//! What the process may do, and gives up before it serves anybody.

use std::io;
use std::path::Path;

use crate::base::address::Address;
use crate::conf::{Conf, ConfError};
use crate::sys::privileges::{Identity, confine, find_group};
use crate::sys::{Places, SocketAccess};

/// Who may connect to the Unix sockets among what is listened at.
///
/// # Errors
///
/// There is no such group.
pub(super) fn socket_access(conf: &Conf) -> Result<SocketAccess, ConfError> {
    let group = conf.unix_socket_group.as_deref().map(|name| {
        find_group(name)
            .map_err(|error| ConfError::new(None, format!("UnixSocketGroup {name}: {error}")))
    });
    Ok(SocketAccess { mode: conf.unix_socket_perm, group: group.transpose()? })
}

/// Becomes the `User`, once everything is listened at and before the log is opened, and gives up
/// what a proxy never does. The inner error says why that could not be given up.
///
/// # Errors
///
/// There is no such user, or the process may not become it.
pub(super) fn give_up(conf: &Conf, access: SocketAccess) -> Result<io::Result<()>, ConfError> {
    let sockets = || {
        conf.binds.iter().filter_map(|bind| match &bind.address {
            Address::Unix(path) => Some(path.as_path()),
            _ => None,
        })
    };
    if let Some(user) = &conf.user {
        let failed = |error| ConfError::new(None, format!("User {user}: {error}"));
        let identity = Identity::find(user).map_err(failed)?;
        for path in sockets() {
            // Whoever cannot give it away is not root, and made it as that user.
            let _ = identity.own(path, access.group);
        }
        identity.assume().map_err(failed)?;
    }
    // Sockets that were left behind are removed, and logs made anew.
    let files = sockets().chain(conf.log.path.as_deref());
    let folders: Vec<&Path> = files.filter_map(Path::parent).collect();
    Ok(confine(&Places { written: &folders }))
}
