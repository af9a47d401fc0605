//! The names of the Linux capabilities.

/// Every capability of Linux 5.9 and later by number (linux/capability.h, capabilities(7)).
pub const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The number of a capability: 21 for `CAP_SYS_ADMIN`. None where the name is unknown.
pub fn number(name: &str) -> Option<u8> {
    NAMES.iter().zip(0..).find(|(known, _)| **known == name).map(|(_, number)| number)
}

/// The mask with the one bit of a capability; none where the name is unknown.
pub fn bit(name: &str) -> Option<u64> {
    number(name).map(|number| 1 << number)
}

/// The full name of a capability that somebody typed: `CAP_SYS_ADMIN` for `sys_admin`.
pub fn full_name(typed: &str) -> String {
    let upper = typed.to_ascii_uppercase();
    if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") }
}

/// The names in a mask, lowest number first. Bits without a name are left out.
pub fn names(mask: u64) -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().enumerate().filter(move |(number, _)| mask >> number & 1 == 1).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_those_of_the_kernel() {
        for (name, expected) in [
            ("CAP_CHOWN", Some(0)),
            ("CAP_SETPCAP", Some(8)),
            ("CAP_SYS_ADMIN", Some(21)),
            ("CAP_SETFCAP", Some(31)),
            ("CAP_CHECKPOINT_RESTORE", Some(40)),
            ("cap_chown", None),
            ("CHOWN", None),
        ] {
            assert_eq!(number(name), expected, "{name}");
        }
    }

    #[test]
    fn a_mask_and_its_names_are_the_same_thing() {
        let mask = bit("CAP_KILL").unwrap() | bit("CAP_BPF").unwrap();
        assert_eq!(names(mask | 1 << 63).collect::<Vec<_>>(), ["CAP_KILL", "CAP_BPF"]);
    }
}
