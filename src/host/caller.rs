//! Who calls, and what the caller may do.

use crate::{
    error::{Error, Result},
    sys::proc::{self, Proc},
};

/// The process that called urun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Effective uid.
    pub euid: u32,
    /// Effective gid.
    pub egid: u32,
    /// Effective capabilities, bit n = capability n, in the caller's user namespace.
    pub capabilities: u64,
    /// Permitted capabilities.
    pub permitted: u64,
    /// Bounding set.
    pub bounding: u64,
    /// Ignored signals, bit n − 1 = signal n: conmon ignores SIGPIPE, and ignoring survives execve(2).
    pub ignored: u64,
    /// Whether the caller's user namespace is the initial one.
    pub initial: bool,
}

/// `CAP_SYS_ADMIN`, capabilities(7).
const SYS_ADMIN: u64 = 1 << 21;
/// `CAP_SYS_PTRACE`
const SYS_PTRACE: u64 = 1 << 19;
/// `CAP_MKNOD`
const MKNOD: u64 = 1 << 27;
/// Inode of the initial user namespace, `PROC_USER_INIT_INO` of the kernel; the layout of uid_map proves nothing, since
/// systemd makes identity maps.
pub const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// Refuses to serve somebody with more rights than their own: installed setuid or setgid, this program would give the
/// host away.
pub fn require_own_ids() -> Result<()> {
    let (users, groups) = (nix::unistd::getresuid()?, nix::unistd::getresgid()?);
    let own = users.real == users.effective
        && users.real == users.saved
        && groups.real == groups.effective
        && groups.real == groups.saved;
    match own {
        true => Ok(()),
        false => Err(Error::new(format_args!(
            "uid {} runs this program as uid {} (gid {} as gid {})",
            users.real, users.effective, groups.real, groups.effective
        ))
        .hint("take the setuid and setgid bits off the program: chmod ug-s; it needs no privileges to be installed")),
    }
}

impl Caller {
    /// Asks the kernel.
    pub fn probe(procfs: &Proc) -> Result<Self> {
        let own = procfs.own()?;
        let status = procfs.own_status(&own)?;
        Ok(Self {
            euid: nix::unistd::geteuid().as_raw(),
            egid: nix::unistd::getegid().as_raw(),
            capabilities: mask(&status, "CapEff:")?,
            permitted: mask(&status, "CapPrm:")?,
            bounding: mask(&status, "CapBnd:")?,
            ignored: mask(&status, "SigIgn:")?,
            initial: procfs.namespace_inode(&own, "user")? == INITIAL_USER_NAMESPACE,
        })
    }

    /// Whether containers can be assembled without a user namespace in between.
    pub fn is_privileged(&self) -> bool {
        self.capabilities & SYS_ADMIN != 0
    }

    /// Root of the host: what is asked for is done or is an error.
    pub fn is_host_root(&self) -> bool {
        self.initial && self.is_privileged()
    }

    /// Whether processes that are not dumpable can be looked into.
    pub fn can_ptrace(&self) -> bool {
        self.capabilities & SYS_PTRACE != 0
    }

    /// Whether device nodes can be made.
    pub fn can_mknod(&self) -> bool {
        self.initial && self.capabilities & MKNOD != 0
    }
}

/// A mask of /proc/PID/status.
fn mask(status: &str, name: &str) -> Result<u64> {
    proc::field(status, name)
        .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
        .ok_or_else(|| Error::new(format_args!("/proc/self/status has no readable {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_masks_are_hexadecimal() {
        assert_eq!(mask("CapEff:\t000001ffffffffff\n", "CapEff:").unwrap(), 0x1ff_ffff_ffff);
        assert!(mask("CapEff:\tx\n", "CapEff:").is_err());
    }

    #[test]
    fn held_capabilities_are_read_from_status() {
        let status = "CapInh:\t0000000000000000\nCapPrm:\t00000000000000ff\nCapBnd:\t0f\n";
        assert_eq!(mask(status, "CapPrm:").unwrap(), 0xff);
        assert_eq!(mask(status, "CapBnd:").unwrap(), 0xf);
        assert!(mask("CapPrm:\tzz\n", "CapPrm:").is_err());
    }
}
