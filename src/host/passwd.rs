//! User names, from /etc/passwd alone: a static program has no name services.

use crate::error::{Context, Result};
use std::{fs, io::ErrorKind};

/// The name of a uid, or the number as text where it has none. A file that is there and cannot be read is an error: by the
/// number alone a user has no subordinate ids.
pub fn name_of(uid: u32) -> Result<String> {
    let text = match fs::read_to_string("/etc/passwd") {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        other => other.context("read /etc/passwd")?,
    };
    Ok(find(&text, uid).map_or_else(|| uid.to_string(), str::to_owned))
}

fn find(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_number() {
        let passwd = "# x\nroot:x:0:0:root:/root:/bin/sh\nbroken\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(find(passwd, 0), Some("root"));
        assert_eq!(find(passwd, 1000), Some("ann"));
        assert_eq!(find(passwd, 1), None);
        assert_eq!(name_of(u32::MAX - 7).unwrap(), (u32::MAX - 7).to_string());
    }
}
