//! The beginning of the process, in place of the one that Rust's standard library has: that one reads /proc/self/maps and
//! takes over SIGSEGV to tell an overflow of the stack, nineteen system calls of which this program needs two.

use super::check;
use crate::error::{Context, Result};
use nix::{errno::Errno, fcntl::OFlag, sys::stat::Mode};
use std::os::fd::IntoRawFd;

/// Makes a function `fn() -> u8`, which returns the exit status, the program. The crate needs `#![no_main]`.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        /// What the C library calls.
        #[unsafe(no_mangle)]
        extern "C" fn main(
            _count: ::std::ffi::c_int,
            _words: *const *const ::std::ffi::c_char,
        ) -> ::std::ffi::c_int {
            $crate::sys::start::run($main)
        }
    };
}

/// Does what everything else relies on, and calls `main`.
pub fn run(main: fn() -> u8) -> i32 {
    match prepare() {
        Ok(()) => main().into(),
        // Without a standard error there is nobody to tell.
        Err(_) => 255,
    }
}

/// A caller may have closed descriptors 0 to 2: a file that got one of these numbers would be taken for what it is not. And a
/// reader that is gone is to be an error, not the end.
fn prepare() -> Result<()> {
    super::signal::ignore(libc::SIGPIPE)?;
    let mut standard = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    loop {
        // SAFETY: the array has three elements, which the call fills in; numbers that are not open are allowed.
        let ret = unsafe { libc::poll(standard.as_mut_ptr(), 3, 0) };
        if ret != -1 || Errno::last() != Errno::EINTR {
            check(ret.into(), || "poll(0, 1, 2)".into())?;
            break;
        }
    }
    for _closed in standard.iter().filter(|it| it.revents & libc::POLLNVAL != 0) {
        // The lowest free number is the first of these.
        let null = nix::fcntl::open("/dev/null", OFlag::O_RDWR, Mode::empty()).context("open /dev/null")?;
        // It is to stay open, as the one that it stands for would.
        let _ = null.into_raw_fd();
    }
    Ok(())
}
