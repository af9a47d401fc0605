//! Which control group hierarchies this host has and where the caller is in them.

use super::mountinfo::unescape;
use crate::{
    error::{Context, Result},
    sys::proc::Proc,
};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use std::path::{Path, PathBuf};

/// Where engines, systemd and the rest of the world expect the hierarchies.
const ROOT: &str = "/sys/fs/cgroup";

/// The cgroup layout of the host: pure version 2, version 1, or both (hybrid).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroups {
    /// The version 2 hierarchy, at /sys/fs/cgroup or (hybrid) /sys/fs/cgroup/unified.
    pub unified: Option<Hierarchy>,
    /// The version 1 hierarchies; none on a pure version 2 host.
    pub legacy: Vec<Hierarchy>,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted on the host.
    pub mount: PathBuf,
    /// Version 1: what it was mounted with (`["cpu", "cpuacct"]`, `["name=systemd"]`). Version 2: what the root offers.
    pub controllers: Vec<String>,
    /// The caller's own group in it, relative to `mount`, starting with `/`.
    pub own: String,
}

impl Hierarchy {
    /// Whether it has this controller.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

impl Cgroups {
    /// Whether version 2 is all there is.
    pub fn is_pure_v2(&self) -> bool {
        self.unified.is_some() && self.legacy.is_empty()
    }
}

/// Looks at the host. A pure version 2 host is recognised by one statfs(2) and its mount table is never read; a host
/// without any hierarchy gives an empty value.
pub fn probe(proc: &Proc) -> Result<Cgroups> {
    let own = proc.own()?;
    let membership = proc.read_text(&format!("{own}/cgroup"))?;
    let pure = statfs(ROOT).is_ok_and(|stat| stat.filesystem_type() == CGROUP2_SUPER_MAGIC);
    let mut found = if pure {
        let own = below("/", unified_membership(&membership).unwrap_or("/"));
        let unified = Hierarchy { mount: ROOT.into(), controllers: Vec::new(), own };
        Cgroups { unified: Some(unified), legacy: Vec::new() }
    } else {
        parse(&proc.read_text(&format!("{own}/mountinfo"))?, &membership)
    };
    if let Some(unified) = &mut found.unified {
        let file = unified.mount.join("cgroup.controllers");
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        unified.controllers = text.split_whitespace().map(str::to_owned).collect();
    }
    Ok(found)
}

/// The layout from the text of `/proc/PID/mountinfo` and `/proc/PID/cgroup` (proc_pid_mountinfo(5), cgroups(7)). What the
/// unified hierarchy offers is not in them. Where a hierarchy is mounted more than once, the place below /sys/fs/cgroup
/// counts.
pub fn parse(mountinfo: &str, membership: &str) -> Cgroups {
    let mounts: Vec<Mount> = mountinfo.lines().filter_map(Mount::parse).collect();
    let best = |wanted: &dyn Fn(&Mount) -> bool| {
        let mut candidates: Vec<&Mount> = mounts.iter().filter(|mount| wanted(mount)).collect();
        candidates.sort_by_key(|mount| !mount.point.starts_with(ROOT));
        candidates.first().copied()
    };
    let mut found = Cgroups::default();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(number), Some(names), Some(group)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let names: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).collect();
        if names.is_empty() && number == "0" {
            let mount = best(&|mount| mount.version2);
            found.unified = mount.map(|mount| mount.hierarchy(Vec::new(), group));
        } else {
            let mount = best(&|mount| {
                !mount.version2 && names.iter().all(|name| mount.options.iter().any(|o| o == name))
            });
            let controllers = names.iter().map(|&name| name.to_owned()).collect();
            found.legacy.extend(mount.map(|mount| mount.hierarchy(controllers, group)));
        }
    }
    found.legacy.sort_by(|a, b| a.mount.cmp(&b.mount));
    found
}

/// The `0::` line of `/proc/PID/cgroup`.
fn unified_membership(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// A line of mountinfo that is a cgroup file system.
#[derive(Debug)]
struct Mount {
    version2: bool,
    root: String,
    point: PathBuf,
    options: Vec<String>,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (mount, superblock) = line.split_once(" - ")?;
        let mut superblock = superblock.split(' ');
        let version2 = match superblock.next()? {
            "cgroup2" => true,
            "cgroup" => false,
            _ => return None,
        };
        let options = superblock.nth(1)?.split(',').map(str::to_owned).collect();
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
        Some(Self { version2, root, point: PathBuf::from(point), options })
    }

    fn hierarchy(&self, controllers: Vec<String>, group: &str) -> Hierarchy {
        Hierarchy { mount: self.point.clone(), controllers, own: below(&self.root, group) }
    }
}

/// A group of the hierarchy as seen from the part of it that is mounted; `/` where it is not below that part.
fn below(root: &str, group: &str) -> String {
    match Path::new(group).strip_prefix(root) {
        // `/..` is how the kernel shows a group outside the caller's cgroup namespace.
        Ok(rest) if !group.starts_with("/..") => format!("/{}", rest.display()),
        _ => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
50 31 0:38 / /mnt/a\\040b rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

    fn summary(found: &Cgroups) -> Vec<String> {
        let line = |h: &Hierarchy| format!("{} {} {}", h.mount.display(), h.controllers.join(","), h.own);
        found.unified.iter().chain(&found.legacy).map(line).collect()
    }

    #[test]
    fn a_hybrid_host_has_every_hierarchy_with_the_callers_place() {
        let own = "4:memory:/a/b\n3:cpu,cpuacct:/\n2:net_cls:/\n1:name=systemd:/user:1\n0::/x y\n";
        let expected = [
            "/sys/fs/cgroup/unified  /x y",
            "/sys/fs/cgroup/cpu,cpuacct cpu,cpuacct /",
            "/sys/fs/cgroup/memory memory /a/b",
            "/sys/fs/cgroup/systemd name=systemd /user:1",
        ];
        assert_eq!(summary(&parse(HYBRID, own)), expected);
    }

    #[test]
    fn a_bound_part_of_a_hierarchy_hides_what_is_above_it() {
        let mounts = "1 0 0:1 /docker/abc /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n";
        let inside = parse(mounts, "5:pids:/docker/abc/child\n");
        assert_eq!(summary(&inside), ["/sys/fs/cgroup/pids pids /child"]);
        assert_eq!(below("/", "/../../other"), "/", "outside the cgroup namespace");
        let elsewhere = parse(mounts, "5:pids:/docker/abcdef\n");
        assert_eq!(summary(&elsewhere), ["/sys/fs/cgroup/pids pids /"]);
    }

    #[test]
    fn version_one_alone_has_no_unified_hierarchy() {
        let found = parse("1 0 0:1 / /cg rw - cgroup none rw,pids\n", "5:pids:/\n0::/\n");
        assert_eq!(summary(&found), ["/cg pids /"]);
        assert!(!found.is_pure_v2());
    }

    #[test]
    fn garbage_is_no_hierarchy() {
        assert_eq!(parse("x\n1 2 3 - cgroup\n", "a:b\n\n::\n"), Cgroups::default());
    }

    #[test]
    fn escapes_of_mount_points_are_undone() {
        assert_eq!(unescape("/a\\040b\\134040"), "/a b\\040");
    }

    #[test]
    fn this_host_is_recognised() {
        let found = probe(&Proc::open().unwrap()).unwrap();
        for hierarchy in found.unified.iter().chain(&found.legacy) {
            assert!(hierarchy.mount.join("cgroup.procs").exists(), "{hierarchy:?}");
            assert!(hierarchy.own.starts_with('/'), "{hierarchy:?}");
        }
    }
}
