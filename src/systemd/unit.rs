//! Names of units: where a container is in systemd's tree.

use crate::{
    bail,
    error::{Error, Result},
};

/// The longest name of a unit, `UNIT_NAME_MAX` of systemd, which is also `NAME_MAX` of its directory.
const LONGEST: usize = 255;
const SCOPE: &str = ".scope";
const SLICE: &str = ".slice";
/// The slice that every other one is in.
const ROOT: &str = "-.slice";

/// A unit for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its name: `libpod-0123.scope`, `kubepods-pod1.slice`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// What a unit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A group of processes that somebody else has made; it ends with the last of them.
    Scope {
        /// The slice that it is in.
        slice: String,
    },
    /// A group of groups; its name tells where it is.
    Slice,
}

impl Unit {
    /// The unit that `linux.cgroupsPath` names, in the form `SLICE:PREFIX:NAME` or as a NAME alone. An empty SLICE is
    /// `default_slice` and `-` the root slice; an empty PREFIX is none. A NAME that ends with `.slice` is one itself.
    ///
    /// # Errors
    /// Another form; a name that systemd would not take.
    pub fn from_config(path: &str, default_slice: &str) -> Result<Self> {
        let parts: Vec<&str> = path.split(':').collect();
        let (slice, prefix, name) = match parts.as_slice() {
            [slice, prefix, name] => (*slice, *prefix, *name),
            [name] if !name.contains('/') => ("", "", *name),
            _ => {
                return Err(Error::new(format_args!(
                    "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {path:?} instead"
                ))
                .hint("a path such as /a/b is for the cgroupfs driver: leave out --systemd-cgroup, or tell the engine to use systemd"));
            }
        };
        if name.ends_with(SLICE) {
            expand(name)?;
            return Ok(Self { name: name.to_owned(), kind: Kind::Slice });
        }
        let slice = match slice {
            "" => default_slice,
            "-" => ROOT,
            slice => slice,
        };
        expand(slice)?;
        let separator = if prefix.is_empty() { "" } else { "-" };
        Self::scope(format!("{prefix}{separator}{name}{SCOPE}"), slice)
    }

    /// The unit of a container whose config.json names none.
    pub fn of_container(id: &str, default_slice: &str) -> Result<Self> {
        Self::scope(format!("urun-{}{SCOPE}", escape(id)), default_slice)
    }

    fn scope(name: String, slice: &str) -> Result<Self> {
        check(&name)?;
        Ok(Self { name, kind: Kind::Scope { slice: slice.to_owned() } })
    }

    /// Its control group, below that of the manager; starts with `/`.
    pub fn path(&self) -> Result<String> {
        match &self.kind {
            Kind::Scope { slice } => Ok(format!("{}/{}", expand(slice)?, self.name)),
            Kind::Slice => expand(&self.name),
        }
    }
}

/// The place of a slice, systemd.slice(5): `a-b.slice` is `/a.slice/a-b.slice`, and `-.slice` is the top.
fn expand(slice: &str) -> Result<String> {
    if slice == ROOT {
        return Ok(String::new());
    }
    let wrong =
        || Error::new(format_args!("{slice:?} is no name of a slice")).hint("a slice is called a-b.slice");
    let stem = slice.strip_suffix(SLICE).ok_or_else(wrong)?;
    if stem.split('-').any(str::is_empty) {
        return Err(wrong());
    }
    check(slice)?;
    let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
    Ok(ends.fold(String::new(), |path, end| path + "/" + &stem[..end] + SLICE))
}

/// Refuses what systemd would not take for a name (systemd.unit(5)): other characters, too many of them, nothing.
fn check(name: &str) -> Result<()> {
    if let Some(wrong) = name.chars().find(|&c| !is_plain(c) && c != '@') {
        bail!("unit name {name:?}: systemd allows no {wrong:?} in it");
    }
    if name.starts_with('.') || name.len() > LONGEST {
        bail!("unit name {name:?}: it has to have 1 to {} characters before its type", LONGEST - SCOPE.len());
    }
    Ok(())
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || ":-_.\\".contains(c)
}

/// A text as a part of a name, as systemd-escape(1) writes what is not allowed there.
fn escape(text: &str) -> String {
    let escaped = |byte: u8| match char::from(byte) {
        plain if is_plain(plain) && plain != '\\' => plain.to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    text.bytes().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> String {
        let unit = Unit::from_config(path, "system.slice");
        unit.and_then(|unit| unit.path()).unwrap_or_else(|error| format!("error: {error}"))
    }

    #[test]
    fn a_path_names_a_scope_in_a_slice() {
        let table = [
            ("machine.slice:libpod:0123", "/machine.slice/libpod-0123.scope"),
            ("a-b-c.slice:crio:1", "/a.slice/a-b.slice/a-b-c.slice/crio-1.scope"),
            (":crio:1", "/system.slice/crio-1.scope"),
            ("a.slice::1", "/a.slice/1.scope"),
            ("::1", "/system.slice/1.scope"),
            ("-:crio:1", "/crio-1.scope"),
            ("-.slice:crio:1", "/crio-1.scope"),
            ("name", "/system.slice/name.scope"),
            ("a.slice:ignored:b-c.slice", "/b.slice/b-c.slice"),
            ("a\\x2db.slice:p:1", "/a\\x2db.slice/p-1.scope"),
        ];
        for (path, expected) in table {
            assert_eq!(place(path), expected, "{path}");
        }
    }

    #[test]
    fn another_form_is_refused() {
        let table = [
            ("/a/b", "slice:prefix:name"),
            ("a:b", "slice:prefix:name"),
            ("a:b:c:d", "slice:prefix:name"),
            ("a:b:c", "\"a\" is no name of a slice"),
            ("a--b.slice:b:c", "is no name of a slice"),
            ("-a.slice:b:c", "is no name of a slice"),
            ("a-.slice:b:c", "is no name of a slice"),
            (".slice:b:c", "is no name of a slice"),
            ("../a.slice:b:c", "'/'"),
            ("a.slice:b:../../c", "'/'"),
            ("a.slice:b:c d", "' '"),
            ("a.slice:b:c+d", "'+'"),
            ("a.slice:b:c\n", "'\\n'"),
            ("a.slice:b:é", "'é'"),
            ("::", "1 to 249 characters"),
        ];
        for (path, word) in table {
            let found = place(path);
            assert!(found.starts_with("error: ") && found.contains(word), "{path}: {found}");
        }
        let long = place(&format!("a.slice:b:{}", "x".repeat(255)));
        assert!(long.contains("1 to 249 characters"), "{long}");
    }

    #[test]
    fn any_id_of_a_container_makes_a_name() {
        assert_eq!(
            Unit::of_container("c1", "user.slice").unwrap().path().unwrap(),
            "/user.slice/urun-c1.scope"
        );
        assert_eq!(Unit::of_container("a+b_c.d-e", "-.slice").unwrap().name, "urun-a\\x2bb_c.d-e.scope");
    }
}
