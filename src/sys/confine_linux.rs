//! Linux: no program that is run from here gains rights by its file.

use std::io;

use crate::sys::Places;
use crate::sys::call::check;

pub(in crate::sys) fn confine(_: &Places<'_>) -> io::Result<()> {
    let (on, unused): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: with this option prctl takes and gives integers only.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, on, unused, unused, unused) }).map(drop)
}
