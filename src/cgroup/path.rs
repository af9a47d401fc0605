//! Where a group is in its hierarchy.

use crate::{bail, error::Result};

/// `NAME_MAX`
const NAME_MAX: usize = 255;

/// The place that `cgroupsPath` names: from the root of the hierarchy, whether or not it starts with `/`, as in crun
/// (config-linux.md leaves relative paths to the runtime). A systemd-style `SLICE:PREFIX:NAME` is a directory name like any
/// other. Always starts with `/`, never ends with one.
pub fn from_config(path: &str) -> Result<String> {
    let mut out = String::new();
    for name in path.split('/').filter(|name| !name.is_empty() && *name != ".") {
        check_name(name).map_err(|error| error.context(format_args!("cgroup path {path:?}")))?;
        out.push('/');
        out.push_str(name);
    }
    if out.is_empty() {
        bail!("cgroup path {path:?} names the root of the hierarchy, where no container can be");
    }
    Ok(out)
}

/// The place of a container whose configuration names none: `/ID` for a caller with privileges over the whole hierarchy, as
/// in crun.
pub fn at_root(id: &str) -> Result<String> {
    check_name(id)?;
    Ok(format!("/{id}"))
}

/// The place beside the caller's own group: what a systemd user manager delegates to a rootless caller.
pub fn beside(own: &str, id: &str) -> Result<String> {
    check_name(id)?;
    let parent = own.rsplit_once('/').map_or("", |(parent, _)| parent);
    Ok(format!("{parent}/{id}"))
}

/// The nearest group that is above both (or is one of them): whoever moves a process from one to the other has to be allowed
/// to write to its `cgroup.procs` (cgroups(7), "Cgroups delegation: delegating a hierarchy to a less privileged user").
pub fn common(a: &str, b: &str) -> String {
    let names = |path| str::split(path, '/').filter(|name: &&str| !name.is_empty());
    let shared = names(a).zip(names(b)).take_while(|(a, b)| a == b);
    shared.fold(String::new(), |path, (name, _)| path + "/" + name)
}

/// Refuses a file or directory name that would lead elsewhere or that cgroupfs cannot hold.
pub fn check_name(name: &str) -> Result<()> {
    match name {
        "" | "." | ".." => bail!("cgroup name {name:?} would lead elsewhere"),
        _ if name.contains('/') => bail!("cgroup name {name:?} contains a slash"),
        _ if name.contains('\0') => bail!("cgroup name {name:?} contains a NUL byte"),
        _ if name.contains('\n') => bail!("cgroup name {name:?} contains a newline"),
        _ if name.len() > NAME_MAX => {
            bail!("cgroup name of {} bytes: at most {NAME_MAX} are possible", name.len())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_cgroups_path_is_a_place_below_the_root() {
        let cases = [
            ("/kubepods/pod1/crio-1", "/kubepods/pod1/crio-1"),
            ("kubepods/pod1", "/kubepods/pod1"),
            ("//a///b/./c/", "/a/b/c"),
            ("system.slice:crio:0123", "/system.slice:crio:0123"),
            ("/a/...", "/a/..."),
        ];
        for (path, place) in cases {
            assert_eq!(from_config(path).unwrap(), place, "{path}");
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        let long = "x".repeat(4096);
        for path in ["..", "/..", "a/../../b", "/a/..", "/a\0b", "/a\nb", "/", "", "./.", &long] {
            from_config(path).unwrap_err();
        }
    }

    #[test]
    fn a_group_without_a_path_is_beside_its_caller() {
        assert_eq!(beside("/user.slice/app.slice/term.scope", "c1").unwrap(), "/user.slice/app.slice/c1");
        assert_eq!(beside("/", "c1").unwrap(), "/c1");
        assert_eq!(at_root("c1").unwrap(), "/c1");
        beside("/a", "../b").unwrap_err();
    }

    #[test]
    fn two_groups_meet_above() {
        let table = [
            ("/a/b/c", "/a/b/d", "/a/b"),
            ("/a", "/b", ""),
            ("/", "/x", ""),
            ("/a/bc", "/a/b", "/a"),
            ("/a", "/a/b", "/a"),
        ];
        for (a, b, above) in table {
            assert_eq!(common(a, b), above, "{a} {b}");
        }
    }
}
