//! OpenBSD: unveil(2) leaves no place to make files but those of logs and sockets and nothing to
//! run but this program, pledge(2) only what a proxy calls.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::sys::Places;
use crate::sys::call::check;

/// `error`: what was forgotten here is to fail, not to end the process.
const PROMISES: &CStr =
    c"stdio rpath wpath cpath fattr inet unix dns sendfd recvfd proc exec error";

pub(in crate::sys) fn confine(places: &Places<'_>) -> io::Result<()> {
    // The configuration, what it includes, and the sockets of servers may be anywhere when it is
    // read again; to connect to a socket is to write to it.
    unveil(Path::new("/"), c"rw")?;
    for folder in places.written {
        unveil(folder, c"rwc")?;
    }
    if let Ok(program) = std::env::current_exe() {
        unveil(&program, c"rx")?;
    }
    // SAFETY: the promises are a C string that outlives the call; without others for programs that
    // are run from here those are not confined.
    check(unsafe { libc::pledge(PROMISES.as_ptr(), std::ptr::null()) }).map(drop)
}

fn unveil(path: &Path, permissions: &CStr) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: both are C strings that outlive the call.
    match check(unsafe { libc::unveil(path.as_ptr(), permissions.as_ptr()) }) {
        // A folder that has yet to be made; opening the log will say so.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map(drop),
    }
}
