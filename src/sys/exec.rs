//! execve(2).

use std::ffi::{CStr, CString};

/// Becomes `path`; returns only on failure, with the errno.
pub fn execve(path: &CStr, args: &[CString], env: &[CString]) -> i32 {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: `path` is NUL-terminated; both lists end in a null pointer and point at strings that outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    nix::errno::Errno::last_raw()
}
