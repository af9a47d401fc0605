//! Keys of the caller, which its session keyring would hand on to everything that it starts (SEC-70).

use crate::common::*;
use crate::root_inside::{Attempts, trying};
use nix::libc;

/// KEYCTL_JOIN_SESSION_KEYRING, keyctl(2).
const JOIN_SESSION: libc::c_long = 1;
/// KEY_SPEC_SESSION_KEYRING
const SESSION: libc::c_long = -3;

/// Gives this thread, and what it starts from here on, a session keyring with a key of its own, and puts the key's number where the
/// attacker in the bundle's image finds it.
pub fn hold_secret(bundle: &Bundle) {
    let text = [c"user", c"urun-secret", c"secret"].map(std::ffi::CStr::as_ptr);
    // SAFETY: the strings end with a NUL and outlive the calls.
    let key = unsafe {
        libc::syscall(libc::SYS_keyctl, JOIN_SESSION, 0);
        libc::syscall(libc::SYS_add_key, text[0], text[1], text[2], 6, SESSION)
    };
    assert!(key > 0, "add_key: {}", std::io::Error::last_os_error());
    std::fs::write(bundle.rootfs_dir().join("key"), key.to_string()).unwrap();
}

in_modes! {
    /// Neither the first process nor a later one possesses a key of whoever called the runtime, nor reads it by its number.
    /// Fails on crun 1.8.1 and 1.28: what `exec` starts there has them all.
    fn sec_70_the_callers_keys_stay_outside(mode) {
        let bundle = trying("keys", Bundle::new(mode));
        hold_secret(&bundle);
        let container = bundle.start();
        container.wait_for("tried");
        let later = container.call("exec", &["root_attacker", "keys"]).ok().stdout;
        for (who, text) in [("init", container.output()), ("exec", later)] {
            let attempts = Attempts::of(&text);
            assert_eq!(attempts.number_of(""), 4, "{text}");
            attempts.have_failed(who, mode);
        }
    }
}
