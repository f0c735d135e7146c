//! Who this process is: it may begin as root, to listen where only root may, and go on as somebody
//! who can do less.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::chown;
use std::path::Path;

use super::call::check;
use super::platform;
pub use super::shapes::Places;

/// Somebody to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    uid: libc::uid_t,
    gid: libc::gid_t,
    /// The name, by which more groups are found.
    name: Option<CString>,
}

impl Identity {
    /// Looks up `user` or `user:group`; each is a name or a number.
    ///
    /// # Errors
    ///
    /// There is no such user, or no such group.
    pub fn find(text: &str) -> io::Result<Identity> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let mut identity = match user.parse() {
            // Nobody has to know a number by name.
            Ok(uid) => by_uid(uid)?.unwrap_or(Identity { uid, gid: uid, name: None }),
            Err(_) => by_name(user)?.ok_or_else(|| unknown("user", user))?,
        };
        if let Some(group) = group {
            identity.gid = find_group(group)?;
        }
        Ok(identity)
    }

    /// Becomes this user, for good. Who is this user already stays so.
    ///
    /// # Errors
    ///
    /// Only root may become somebody else.
    pub fn assume(&self) -> io::Result<()> {
        let now = current_uid();
        if now == self.uid && now != 0 {
            return Ok(());
        }
        if now != 0 {
            let what =
                format!("only root can become another user, and this process has the uid {now}");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        self.assume_groups()?;
        // SAFETY: takes and gives integers only.
        check(unsafe { libc::setgid(self.gid) })?;
        // SAFETY: takes and gives integers only.
        check(unsafe { libc::setuid(self.uid) })?;
        // SAFETY: takes and gives integers only.
        if self.uid != 0 && check(unsafe { libc::setuid(0) }).is_ok() {
            return Err(io::Error::other("the process could become root again"));
        }
        Ok(())
    }

    fn assume_groups(&self) -> io::Result<()> {
        if let Some(name) = &self.name {
            // SAFETY: the name is a C string that outlives the call.
            return check(unsafe { libc::initgroups(name.as_ptr(), self.gid as _) }).map(drop);
        }
        let only = &raw const self.gid;
        // SAFETY: `only` points at one group, as the count says, and outlives the call.
        check(unsafe { libc::setgroups(1, only) }).map(drop)
    }

    /// Makes a file this user's, and that of `group` instead of the user's own.
    ///
    /// # Errors
    ///
    /// Only root can give files away.
    pub fn own(&self, path: &Path, group: Option<u32>) -> io::Result<()> {
        chown(path, Some(self.uid), Some(group.unwrap_or(self.gid)))
    }
}

/// The number of a group, which is given by name or number.
///
/// # Errors
///
/// There is no such group.
pub fn find_group(text: &str) -> io::Result<u32> {
    match text.parse() {
        Ok(gid) => Ok(gid),
        Err(_) => group_by_name(text)?.ok_or_else(|| unknown("group", text)),
    }
}

/// Gives up, for good, what a proxy never does: on Linux to gain rights by running another
/// program; on OpenBSD all system calls and all places but some. Elsewhere it does nothing.
///
/// # Errors
///
/// What the system says. The process goes on as it was.
pub fn confine(places: &Places<'_>) -> io::Result<()> {
    platform::confine::confine(places)
}

fn current_uid() -> libc::uid_t {
    // SAFETY: takes nothing, gives an integer, and cannot fail.
    unsafe { libc::geteuid() }
}

fn unknown(what: &str, name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no {what} {name}"))
}

/// More than any entry of a user takes; a group may have many members, and then needs more.
const ENTRY_BYTES: usize = 16 * 1024;
const ENTRY_BYTES_MAX: usize = 16 << 20;

/// Calls one of the functions that fill in an entry, with the room for its texts that it needs,
/// and takes from the entry what is wanted of it.
fn entry<E, T>(
    mut call: impl FnMut(*mut E, *mut libc::c_char, usize, *mut *mut E) -> libc::c_int,
    take: impl FnOnce(&E) -> T,
) -> io::Result<Option<T>> {
    let mut room = vec![0; ENTRY_BYTES];
    loop {
        let (mut entry, mut found) = (MaybeUninit::<E>::uninit(), std::ptr::null_mut());
        let code = call(entry.as_mut_ptr(), room.as_mut_ptr(), room.len(), &raw mut found);
        match code {
            // SAFETY: null, or the address of `entry`, which has then been filled in.
            0 => return Ok(unsafe { found.as_ref() }.map(take)),
            libc::ERANGE if room.len() < ENTRY_BYTES_MAX => room.resize(room.len() * 4, 0),
            // What some systems say of a name that they do not have.
            libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM => return Ok(None),
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    }
}

fn by_name(name: &str) -> io::Result<Option<Identity>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    let call = |entry, room, size, found| {
        // SAFETY: the name is a C string, and the rest are the places that `entry` has made.
        unsafe { libc::getpwnam_r(name.as_ptr(), entry, room, size as _, found) }
    };
    entry(call, identity)
}

fn by_uid(uid: libc::uid_t) -> io::Result<Option<Identity>> {
    let call = |entry, room, size, found| {
        // SAFETY: these are the places that `entry` has made.
        unsafe { libc::getpwuid_r(uid, entry, room, size as _, found) }
    };
    entry(call, identity)
}

fn identity(entry: &libc::passwd) -> Identity {
    // SAFETY: the system has filled it in with a C string, whose room is still there.
    let name = unsafe { CStr::from_ptr(entry.pw_name) };
    Identity { uid: entry.pw_uid, gid: entry.pw_gid, name: Some(name.to_owned()) }
}

fn group_by_name(name: &str) -> io::Result<Option<libc::gid_t>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    let call = |entry, room, size, found| {
        // SAFETY: the name is a C string, and the rest are the places that `entry` has made.
        unsafe { libc::getgrnam_r(name.as_ptr(), entry, room, size as _, found) }
    };
    entry(call, |entry: &libc::group| entry.gr_gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_have_names_or_numbers() {
        let root = Identity::find("root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(Identity::find("0").unwrap(), root);
        let nobody = Identity::find("4000000001").unwrap();
        assert_eq!((nobody.uid, nobody.gid, nobody.name), (4_000_000_001, 4_000_000_001, None));
        let mixed = Identity::find("root:4000000002").unwrap();
        assert_eq!((mixed.uid, mixed.gid), (0, 4_000_000_002));
        for (text, want) in [
            ("no-such-user", "there is no user no-such-user"),
            ("", "there is no user "),
            ("root:no-such-group", "there is no group no-such-group"),
            ("-1", "there is no user -1"),
            ("a\0b", "there is no user a\0b"),
        ] {
            assert_eq!(Identity::find(text).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn who_is_not_root_stays_who_it_is() {
        let other = Identity { uid: current_uid() + 1, gid: 1, name: None };
        if current_uid() == 0 {
            return;
        }
        let error = other.assume().unwrap_err();
        assert!(error.to_string().starts_with("only root can become another user"), "{error}");
        Identity { uid: current_uid(), gid: 1, name: None }.assume().unwrap();
    }
}
