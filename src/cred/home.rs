//! HOME of a process whose environment has none, from the container's /etc/passwd.
//!
//! The file belongs to the image, so it is hostile: it is read up to a bound, only as a regular file, and never to turn
//! a name into an id (CVE-2016-3697: a user *named* "1000" is nobody to us).

use crate::{error::Result, mount::root::Rootfs};
use std::{io::Read, path::Path};

/// No passwd file is longer.
const MOST: u64 = 1 << 20;

/// Where nothing better is known.
const FALLBACK: &str = "/";

/// The home directory of `uid` below the container's root directory, `/` where its passwd file has none. To be called
/// by init, in the container. An unreadable or oversized file counts as empty: HOME is a convenience.
pub fn of(root: &Rootfs, uid: u32) -> String {
    let passwd = read(root).unwrap_or_default();
    find(&passwd, uid).unwrap_or_else(|| FALLBACK.to_owned())
}

fn read(root: &Rootfs) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(file) = root.open_file(Path::new("/etc/passwd"))? else { return Ok(bytes) };
    file.take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        crate::bail!("/etc/passwd of the container is longer than {MOST} bytes");
    }
    Ok(bytes)
}

/// The home directory in the first passwd line of this uid, where it is absolute and clean text.
pub fn find(passwd: &[u8], uid: u32) -> Option<String> {
    let line = passwd.split(|byte| *byte == b'\n').find(|line| holds(line, uid))?;
    let home = std::str::from_utf8(line.split(|byte| *byte == b':').nth(5)?).ok()?;
    (home.starts_with('/') && !home.chars().any(char::is_control)).then(|| home.to_owned())
}

fn holds(line: &[u8], uid: u32) -> bool {
    let mut fields = line.split(|byte| *byte == b':');
    let named = fields.next().is_some_and(|name| !name.is_empty() && name[0] != b'#');
    let number = fields.nth(1).unwrap_or_default();
    // Digits alone: from_str would take a sign.
    let digits = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
    named && digits && std::str::from_utf8(number).ok().and_then(|text| text.parse().ok()) == Some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::root::Lookup;
    use std::fs::File;

    #[test]
    fn home_is_found_by_number_and_never_by_name() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\n1000:x:0:0::/evil:/bin/sh\nann:x:1000:1000:A,,:/home/ann:/bin/sh\n\
                       twice:x:1000:1::/second:\n#off:x:7:7::/off:\nrel:x:8:8::home:\nplus:x:+9:9::/plus:\n\
                       ctl:x:10:10::/a\rb:\nshort:x:11:11\nnohome:x:12:12:::\nbig:x:4294967296:1::/big:\n\
                       bad:x:13:13::/\xff:\n:x:14:14::/noname:\nlast:x:4294967295:1::/last";
        for (uid, home) in [
            (0, Some("/root")),
            (1000, Some("/home/ann")),
            (7, None),
            (8, None),
            (9, None),
            (10, None),
            (11, None),
            (12, None),
            (13, None),
            (14, None),
            (5000, None),
            (u32::MAX, Some("/last")),
        ] {
            assert_eq!(find(passwd, uid).as_deref(), home, "uid {uid}");
        }
    }

    #[test]
    fn a_hostile_passwd_file_gives_the_fallback() {
        let root = crate::sys::scratch::Dir::new("home");
        let etc = root.join("etc");
        let passwd = etc.join("passwd");
        std::fs::create_dir_all(&etc).unwrap();
        let dir = Rootfs::new(File::open(&*root).unwrap().into(), Lookup::Kernel);
        assert_eq!(of(&dir, 0), "/");
        nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(of(&dir, 0), "/");
        std::fs::remove_file(&passwd).unwrap();
        std::os::unix::fs::symlink("/etc/outside", &passwd).unwrap();
        std::fs::write(etc.join("outside"), "root:x:0:0::/inside:\n").unwrap();
        assert_eq!(of(&dir, 0), "/inside");
        let mut long = b"root:x:0:0::/root:\n".to_vec();
        long.resize(usize::try_from(MOST).unwrap() + 1, b'#');
        std::fs::write(etc.join("outside"), long).unwrap();
        assert_eq!(of(&dir, 0), "/");
    }
}
