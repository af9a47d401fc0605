//! Container ids.

use crate::{
    bail,
    error::{Error, Result},
};
use std::{fmt, path::Path, str::FromStr};

/// The name of a container: one path component of `[A-Za-z0-9_+.-]`, neither `.` nor `..`, as in runc
/// (`libcontainer/factory_linux.go`). It names a directory, so it has no more bytes than `NAME_MAX`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

/// `NAME_MAX` of linux/limits.h.
const LONGEST: usize = 255;

impl ContainerId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An id that looks like the base name of `path`: what an id may not hold becomes `-`.
    pub fn like(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text: String = name.chars().map(|c| if is_allowed(c) { c } else { '-' }).take(200).collect();
        Self(if matches!(text.as_str(), "" | "." | "..") { "container".to_owned() } else { text })
    }

    /// The same id with a number behind it, for the search of a free one.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Self {
        let suffix = format!("-{number}");
        let kept = self.0.len().min(LONGEST - suffix.len());
        Self(format!("{}{suffix}", &self.0[..kept]))
    }
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '.' | '-')
}

impl FromStr for ContainerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() || matches!(text, "." | "..") || !text.chars().all(is_allowed) {
            bail!("invalid container ID format: {text:?} (letters, digits and _ + . - are allowed)");
        }
        if text.len() > LONGEST {
            bail!("invalid container ID format: {} bytes are more than {LONGEST}", text.len());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_that_engines_send_are_accepted() {
        for id in ["buildah-buildah871219927", "c1", "a_b+c.d-e", ".x", "-", "f00d", &"0".repeat(255)] {
            assert_eq!(id.parse::<ContainerId>().unwrap().as_str(), id);
        }
    }

    #[test]
    fn an_id_that_is_no_plain_name_is_refused() {
        for id in ["", ".", "..", "a/b", "../x", "a b", "é", "a\0", "a\n", &"0".repeat(256)] {
            let error = id.parse::<ContainerId>().unwrap_err().to_string();
            assert!(error.starts_with("invalid container ID format"), "{error}");
        }
    }

    #[test]
    fn any_directory_name_gives_an_id() {
        for (path, id) in [
            ("/tmp/my bundle", "my-bundle"),
            ("/", "container"),
            ("./b", "b"),
            ("é", "-"),
            ("/x/..", "container"),
        ] {
            assert_eq!(ContainerId::like(Path::new(path)).as_str(), id);
        }
        let long = ContainerId::like(Path::new(&"x".repeat(400)));
        assert!(long.numbered(12).as_str().parse::<ContainerId>().is_ok());
        assert_eq!(ContainerId("a".repeat(255)).numbered(7).as_str().len(), 255);
    }
}
