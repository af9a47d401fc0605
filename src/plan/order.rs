//! Why the steps of a launch come in the order they do, as a table that tests check whole plans against.

use crate::error::{Error, Result};

/// Every step called `earlier` comes before every one called `later`, because of `reason`.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The step that comes first.
    pub earlier: &'static str,
    /// The step that comes after it.
    pub later: &'static str,
    /// What breaks otherwise.
    pub reason: &'static str,
}

/// Checks the names of steps against rules; the error names the first broken one with its reason.
pub fn check(steps: &[&str], rules: &[Rule]) -> Result<()> {
    for Rule { earlier, later, reason } in rules {
        let last = steps.iter().rposition(|step| step == earlier);
        let first = steps.iter().position(|step| step == later);
        if let (Some(last), Some(first)) = (last, first)
            && last > first
        {
            return Err(Error::new(format_args!("step {earlier:?} must come before {later:?}: {reason}")));
        }
    }
    Ok(())
}

const fn rule(earlier: &'static str, later: &'static str, reason: &'static str) -> Rule {
    Rule { earlier, later, reason }
}

/// The reasons, in the order of the steps that come first.
pub const RULES: &[Rule] = &[
    // Processes and namespaces.
    rule(
        "control group",
        "birth",
        "the limits hold from the first instruction, and version 2 gives birth there",
    ),
    rule("base", "source", "a tree is cloned with the privileges of the namespace that will mount it"),
    rule("base", "birth", "the container's user namespace is nested in the base"),
    rule(
        "source",
        "mount namespace",
        "a clone keeps its propagation peers only in the namespace it comes from",
    ),
    rule("mount namespace", "private", "it would be the caller's"),
    rule("private", "root", "what is mounted from there on reaches no other mount namespace"),
    rule("private", "birth", "init's copy of the namespace has no peers either"),
    rule("source", "enter", "a path of the host has to mean what the host means by it"),
    rule("idmap", "source", "a source is id-mapped as soon as it is open"),
    rule("source", "birth", "an id map that the kernel refuses is told before there is a container"),
    rule(
        "inherited",
        "join",
        "a rootless runtime may write its own OOM score outside alone, and processors come before the group (runtime-spec)",
    ),
    rule("join", "user namespace", "from inside, a namespace that the one outside owns cannot be joined"),
    rule("join", "birth", "a pid namespace is entered by birth alone"),
    rule("user namespace", "time namespace", "it has to belong to the container's user namespace"),
    rule("user namespace", "birth", "the container's user namespace has to own its other namespaces"),
    rule("time namespace", "birth", "its offsets are frozen by the first process"),
    rule("birth", "record", "there is nothing to record before"),
    rule("birth", "loopback", "it would be the host's"),
    rule("record", "version 1 group", "after a crash, what the record does not name stays for ever"),
    rule("record", "resctrl", "after a crash, what the record does not name stays for ever"),
    rule("version 1 group", "cgroup namespace", "its root is the group in which it is made"),
    rule("cgroup namespace", "enter", "the assembler joins it with the others"),
    rule("id maps", "lock", "init becomes the root of its namespace first"),
    // The container's view.
    rule("enter", "host name", "it would be the host's"),
    rule("enter", "domain name", "it would be the host's"),
    rule("enter", "sysctl outside", "it would be the host's"),
    rule("enter", "network device", "the device is looked for and set up where it arrives"),
    rule("enter", "mount", "a new file system shows the namespaces of the process that makes it"),
    rule("creator", "mount", "missing mount points belong to the container's root"),
    rule("creator", "device", "nodes belong to the container's root"),
    rule("root", "mount", "everything lies below it"),
    rule("mount", "device", "/dev has to be there"),
    rule("mount", "console", "the terminal comes from the container's own devpts"),
    rule("mount", "read-only path", "a later mount would lie over it"),
    rule("mount", "mask", "a later mount would lie over it"),
    rule("remount", "mask", "a mask would be remounted in place of what it hides"),
    rule("read-only path", "mask", "the path is cloned, and a clone made later would show what is hidden"),
    rule("mount", "read-only file systems", "mount points and nodes are made in them"),
    rule("device", "read-only file systems", "nodes are made in them"),
    rule("symlink", "read-only file systems", "links are made in them"),
    rule("console", "read-only file systems", "its mount point is made in /dev"),
    rule("mount", "read-only root", "missing mount points are made in it"),
    rule("device", "read-only root", "where nothing is mounted on /dev, nodes are made in it"),
    rule("mount", "working directory", "it may lie in what is mounted"),
    rule("working directory", "read-only root", "it is made in it where it is missing"),
    rule("mask", "read-only root", "the root comes last, so that no other step meets a read-only one"),
    // Hooks of create.
    rule("mask", "createRuntime hook", "hooks find the file system as it will be"),
    rule("mount", "createRuntime hook", "hooks find everything mounted (runtime-spec, config.md)"),
    rule("createRuntime hook", "createContainer hook", "runtime-spec, runtime.md, life cycle"),
    rule("createRuntime hook", "pivot", "runtime-spec, config.md: before the pivot"),
    rule(
        "createContainer hook",
        "pivot",
        "runtime-spec, config.md: before the pivot, where the host's paths still lead",
    ),
    rule("createContainer hook", "chroot", "hooks know the paths of the caller's root"),
    rule("chroot", "pivot", "whoever joins the mount namespace later begins at its root"),
    // What is done to init by pid.
    rule("mount", "limit", "a limit may be too low for the assembly"),
    rule("createContainer hook", "limit", "a limit may be too low for what hooks wait for"),
    rule("pivot", "limit", "a limit may be too low for the assembly"),
    rule("pivot", "lock", "what is copied before stays as it was"),
    rule("limit", "execute", "the program must not run a moment without it"),
    // init.
    rule("lock", "sysctl inside", "/proc/sys is that of the container"),
    rule("lock", "capabilities", "unshare(2) needs CAP_SYS_ADMIN in the container's user namespace"),
    rule("sysctl inside", "uid", "the files belong to the namespace's root"),
    rule("sysctl inside", "capabilities", "writing takes capabilities that the program may not have"),
    rule("key label", "session keyring", "the label is given to the next key that is made"),
    rule("session keyring", "uid", "the keyring belongs to the container's root, as which exec looks for it"),
    rule("exec label", "no new privileges", "AppArmor refuses to prepare most transitions afterwards"),
    rule("exec label", "uid", "once undumpable, /proc/self/attr belongs to root"),
    rule("working directory as root", "groups", "root may enter what the user with fewer groups may not"),
    rule("working directory as root", "uid", "root may enter what the user may not"),
    rule("groups", "gid", "CAP_SETGID goes with the capabilities"),
    rule("groups", "capabilities", "setgroups(2) needs CAP_SETGID"),
    rule("bounding set", "uid", "dropping needs an effective CAP_SETPCAP, which leaves with uid 0"),
    rule("bounding set", "capabilities", "dropping needs CAP_SETPCAP"),
    rule("keep capabilities", "uid", "leaving uid 0 empties the permitted set otherwise"),
    rule("gid", "uid", "setresgid(2) needs CAP_SETGID, which leaves the effective set with uid 0"),
    rule("uid", "undumpable", "a change of uid resets it to fs.suid_dumpable (CVE-2016-9962)"),
    rule(
        "uid",
        "working directory as user",
        "the user may enter what root may not: FUSE, NFS with root squash",
    ),
    rule("working directory as user", "capabilities", "the kept capabilities are still there for the proof"),
    rule("uid", "end with the caller", "a change of ids undoes it, prctl(2)"),
    rule("terminal", "uid", "its owner is changed by the container's root"),
    rule("uid", "forget capabilities", "it is in force for the change of uid alone"),
    rule("uid", "capabilities", "the change of uid empties the effective set"),
    rule("capabilities", "ambient set", "ambient capabilities have to be permitted and inheritable"),
    rule("capabilities", "look-up", "the program is found with the rights that execute it"),
    rule("look-up", "created", "a program that is not there is an error of create"),
    rule("late values", "created", "whoever hears of the container finds its limits in force"),
    // start.
    rule("created", "startContainer hook", "runtime-spec, runtime.md: it belongs to start"),
    rule("startContainer hook", "filter", "the profile is the program's; a hook may need other calls"),
    rule("no new privileges", "guard", "without CAP_SYS_ADMIN the kernel takes no filter"),
    rule("guard", "filter", "the profile may refuse to load another one"),
    rule("guard", "execute", "the program must not run a moment without it"),
    rule("no new privileges", "filter", "without CAP_SYS_ADMIN the kernel takes no filter"),
    rule("ambient set", "filter", "nothing but execve(2) runs under the filter"),
    rule("filter", "listener", "the filter makes it"),
    rule("filter", "execute", "the program must not run a moment without it"),
    rule("listener", "execute", "execve(2) may itself have to wait for the agent's answer"),
    rule("execute", "poststart hook", "runtime-spec, runtime.md, life cycle"),
    rule("poststart hook", "poststop hook", "runtime-spec, runtime.md, life cycle"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_rule_is_named_with_its_reason() {
        let rules = [rule("a", "b", "b eats a")];
        assert!(check(&["a", "a", "b"], &rules).is_ok());
        assert!(check(&["b"], &rules).is_ok());
        let error = check(&["a", "b", "a"], &rules).unwrap_err();
        assert_eq!(error.to_string(), "step \"a\" must come before \"b\": b eats a");
    }

    #[test]
    fn the_rules_do_not_contradict_each_other() {
        // What has nothing before it is taken away until nothing is left; a circle would stay.
        let mut left: Vec<&Rule> = RULES.iter().collect();
        while !left.is_empty() {
            let free: Vec<&str> = left.iter().map(|rule| rule.earlier).collect();
            let before = left.len();
            let later: Vec<&str> = left.iter().map(|rule| rule.later).collect();
            left.retain(|rule| later.contains(&rule.earlier));
            assert!(left.len() < before, "a circle among {free:?}");
        }
    }
}
