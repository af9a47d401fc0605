//! The words of `mounts[].options`.
//!
//! One table serves the parser and the `features` command. What the words mean where specifications leave room:
//!
//! - `ro` and `rw` are attributes of the mount (`MOUNT_ATTR_RDONLY`), never of the superblock: a file system that is
//!   itself read-only could not be given the mount points that later entries need, and the same superblock may be
//!   mounted twice. A device that demands a read-only superblock is for the code that mounts it to discover.
//! - `norelatime`, `nostrictatime` and `atime` take back another access time mode. What is left is the kernel's
//!   default, which is `relatime` since 2.6.30 (mount(8)).
//! - `iversion` has no counterpart in fsconfig(2), and `silent` and `loud` concern the kernel's log alone: accepted,
//!   without effect.

use super::mount::PropagationKind::{self, Private, Shared, Slave, Unbindable};
use libc::{
    MOUNT_ATTR__ATIME as ATIME, MOUNT_ATTR_NOATIME as NOATIME, MOUNT_ATTR_NODEV as NODEV,
    MOUNT_ATTR_NODIRATIME as NODIRATIME, MOUNT_ATTR_NOEXEC as NOEXEC, MOUNT_ATTR_NOSUID as NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW as NOSYMFOLLOW, MOUNT_ATTR_RDONLY as RDONLY, MOUNT_ATTR_RELATIME as RELATIME,
    MOUNT_ATTR_STRICTATIME as STRICTATIME,
};

/// What a mount option asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Bits of mount_setattr(2) to set and to clear.
    Attr {
        /// Bits to set.
        set: u64,
        /// Bits to clear.
        clear: u64,
        /// The `r` form: everything below the mount too.
        recursive: bool,
    },
    /// A change of propagation.
    Propagation {
        /// To what.
        kind: PropagationKind,
        /// The `r` form.
        recursive: bool,
    },
    /// `bind` and `rbind`.
    Bind {
        /// `rbind`
        recursive: bool,
    },
    /// A superblock flag that fsconfig(2) knows by this very word.
    Superblock,
    /// `idmap` and `ridmap`.
    Idmap {
        /// `ridmap`
        recursive: bool,
    },
    /// `remount`
    Remount,
    /// `tmpcopyup`
    CopyUp,
    /// `copy-symlink`
    CopySymlink,
    /// `dest-nofollow`
    DestNofollow,
    /// `src-nofollow`
    SourceNofollow,
    /// Accepted, without effect.
    Nothing,
}

const fn set(bit: u64) -> Effect {
    Effect::Attr { set: bit, clear: 0, recursive: false }
}

const fn clear(bit: u64) -> Effect {
    Effect::Attr { set: 0, clear: bit, recursive: false }
}

const fn atime(mode: u64) -> Effect {
    Effect::Attr { set: mode, clear: ATIME, recursive: false }
}

const fn deep(effect: Effect) -> Effect {
    match effect {
        Effect::Attr { set, clear, .. } => Effect::Attr { set, clear, recursive: true },
        other => other,
    }
}

const fn propagation(kind: PropagationKind, recursive: bool) -> Effect {
    Effect::Propagation { kind, recursive }
}

/// Every known option, sorted by name.
pub const OPTIONS: &[(&str, Effect)] = &[
    ("async", Effect::Superblock),
    ("atime", atime(RELATIME)),
    ("bind", Effect::Bind { recursive: false }),
    ("copy-symlink", Effect::CopySymlink),
    ("defaults", Effect::Nothing),
    ("dest-nofollow", Effect::DestNofollow),
    ("dev", clear(NODEV)),
    ("diratime", clear(NODIRATIME)),
    ("dirsync", Effect::Superblock),
    ("exec", clear(NOEXEC)),
    ("idmap", Effect::Idmap { recursive: false }),
    ("iversion", Effect::Nothing),
    ("lazytime", Effect::Superblock),
    ("loud", Effect::Nothing),
    ("mand", Effect::Superblock),
    ("noatime", atime(NOATIME)),
    ("nodev", set(NODEV)),
    ("nodiratime", set(NODIRATIME)),
    ("noexec", set(NOEXEC)),
    ("noiversion", Effect::Nothing),
    ("nolazytime", Effect::Superblock),
    ("nomand", Effect::Superblock),
    ("norelatime", atime(RELATIME)),
    ("nostrictatime", atime(RELATIME)),
    ("nosuid", set(NOSUID)),
    ("nosymfollow", set(NOSYMFOLLOW)),
    ("private", propagation(Private, false)),
    ("ratime", deep(atime(RELATIME))),
    ("rbind", Effect::Bind { recursive: true }),
    ("rdev", deep(clear(NODEV))),
    ("rdiratime", deep(clear(NODIRATIME))),
    ("relatime", atime(RELATIME)),
    ("remount", Effect::Remount),
    ("rexec", deep(clear(NOEXEC))),
    ("ridmap", Effect::Idmap { recursive: true }),
    ("rnoatime", deep(atime(NOATIME))),
    ("rnodev", deep(set(NODEV))),
    ("rnodiratime", deep(set(NODIRATIME))),
    ("rnoexec", deep(set(NOEXEC))),
    ("rnorelatime", deep(atime(RELATIME))),
    ("rnostrictatime", deep(atime(RELATIME))),
    ("rnosuid", deep(set(NOSUID))),
    ("rnosymfollow", deep(set(NOSYMFOLLOW))),
    ("ro", set(RDONLY)),
    ("rprivate", propagation(Private, true)),
    ("rrelatime", deep(atime(RELATIME))),
    ("rro", deep(set(RDONLY))),
    ("rrw", deep(clear(RDONLY))),
    ("rshared", propagation(Shared, true)),
    ("rslave", propagation(Slave, true)),
    ("rstrictatime", deep(atime(STRICTATIME))),
    ("rsuid", deep(clear(NOSUID))),
    ("rsymfollow", deep(clear(NOSYMFOLLOW))),
    ("runbindable", propagation(Unbindable, true)),
    ("rw", clear(RDONLY)),
    ("shared", propagation(Shared, false)),
    ("silent", Effect::Nothing),
    ("slave", propagation(Slave, false)),
    ("src-nofollow", Effect::SourceNofollow),
    ("strictatime", atime(STRICTATIME)),
    ("suid", clear(NOSUID)),
    ("symfollow", clear(NOSYMFOLLOW)),
    ("sync", Effect::Superblock),
    ("tmpcopyup", Effect::CopyUp),
    ("unbindable", propagation(Unbindable, false)),
];

/// What a word means; none where it is for the file system itself.
pub fn effect(word: &str) -> Option<Effect> {
    OPTIONS.binary_search_by_key(&word, |(name, _)| name).ok().map(|index| OPTIONS[index].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_every_word_is_found() {
        assert!(OPTIONS.is_sorted_by(|a, b| a.0 < b.0));
        for (name, expected) in OPTIONS {
            assert_eq!(effect(name), Some(*expected), "{name}");
        }
        assert_eq!(effect("size=1"), None);
    }

    #[test]
    fn every_attribute_has_its_recursive_form() {
        for (name, expected) in OPTIONS {
            if let Effect::Attr { recursive: false, .. } = expected {
                assert_eq!(effect(&format!("r{name}")), Some(deep(*expected)), "{name}");
            }
        }
    }

    #[test]
    fn every_option_that_the_specification_demands_is_known() {
        let words = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud noatime nodev nodiratime \
            noexec noiversion nolazytime norelatime nostrictatime nosuid private rbind relatime remount ro rprivate rshared \
            rslave runbindable rw shared silent slave strictatime suid sync unbindable nosymfollow symfollow idmap ridmap \
            mand nomand tmpcopyup";
        for word in words.split_whitespace() {
            assert!(effect(word).is_some(), "{word}");
        }
    }
}
