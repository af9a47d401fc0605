//! execve(2).

use std::{
    ffi::{CStr, CString},
    os::fd::{AsRawFd, BorrowedFd},
};

/// Becomes `path`; returns only on failure, with the errno.
pub fn execve(path: &CStr, args: &[CString], env: &[CString]) -> i32 {
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: `path` is NUL-terminated; both lists end in a null pointer and point at strings that outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    nix::errno::Errno::last_raw()
}

/// Becomes the open file, execveat(2) with AT_EMPTY_PATH; returns only on failure, with the errno.
pub fn fexecve(file: BorrowedFd<'_>, args: &[CString], env: &[CString]) -> i32 {
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: the path is empty and NUL-terminated; the lists are as in `execve`.
    unsafe {
        libc::execveat(
            file.as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr().cast(),
            env.as_ptr().cast(),
            libc::AT_EMPTY_PATH,
        )
    };
    nix::errno::Errno::last_raw()
}

fn pointers(list: &[CString]) -> Vec<*const libc::c_char> {
    list.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}
