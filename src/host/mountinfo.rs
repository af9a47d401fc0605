//! Lines of /proc/PID/mountinfo, proc_pid_mountinfo(5).

use crate::{error::Result, sys::proc::Proc};
use std::path::PathBuf;

/// A mount as its namespace's table shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The id that statx(2) calls `stx_mnt_id`.
    pub id: u64,
    /// The id of the mount that it is on.
    pub parent: u64,
    /// What of the file system it shows: `/` is all of it.
    pub root: PathBuf,
    /// Where it is, seen from the root of the process whose table this is.
    pub point: PathBuf,
    /// Options of the mount, not of the file system.
    pub options: Vec<String>,
    /// Type of the file system, with its subtype: `fuse.sshfs`.
    pub fstype: String,
    /// Options of the file system, as it writes them.
    pub parameters: String,
}

impl Mount {
    /// The table of the caller's mount namespace, seen from the caller's root.
    pub fn own_table(proc: &Proc) -> Result<Vec<Self>> {
        Ok(Self::table(&proc.read_text(&format!("{}/mountinfo", proc.own()?))?))
    }

    /// Reads one line; none where it is not one.
    pub fn parse(line: &str) -> Option<Self> {
        let (mount, superblock) = line.split_once(" - ")?;
        let (mut mount, mut superblock) = (mount.split(' '), superblock.split(' '));
        Some(Self {
            id: mount.next()?.parse().ok()?,
            parent: mount.next()?.parse().ok()?,
            root: unescape(mount.nth(1)?).into(),
            point: unescape(mount.next()?).into(),
            options: mount.next()?.split(',').map(str::to_owned).collect(),
            fstype: unescape(superblock.next()?),
            parameters: unescape(superblock.nth(1)?),
        })
    }

    /// Every line of a table, in its order: what is mounted over something comes after it.
    pub fn table(text: &str) -> Vec<Self> {
        text.lines().filter_map(Self::parse).collect()
    }

    /// Whether the mount maps ids.
    pub fn is_idmapped(&self) -> bool {
        self.options.iter().any(|option| option == "idmapped")
    }
}

/// Undoes the octal escapes of mountinfo: space, tab, newline, backslash, and the comma within a value.
pub fn unescape(text: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\054", ","), ("\\134", "\\")];
    match text.contains('\\') {
        true => escapes.iter().fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain)),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_optional_fields_and_escapes_is_read() {
        let table = "36 35 98:0 /m /mnt/a\\040b rw,noatime,idmapped shared:1 master:2 - fuse.sshfs /dev/x rw,lowerdir=/a\\134:b\nnonsense\n";
        let expected = Mount {
            id: 36,
            parent: 35,
            root: "/m".into(),
            point: "/mnt/a b".into(),
            options: ["rw", "noatime", "idmapped"].map(str::to_owned).into(),
            fstype: "fuse.sshfs".into(),
            parameters: "rw,lowerdir=/a\\:b".into(),
        };
        assert!(expected.is_idmapped());
        assert_eq!(Mount::table(table), [expected]);
    }
}
