//! Why the steps come in the order they do, as a table that tests check plans against.

use crate::error::{Error, Result};
use std::fmt;

/// `earlier` comes before `later` wherever both occur, because of `reason`.
#[derive(Clone, Copy, Debug)]
pub struct Rule<Name> {
    /// the step that comes first
    pub earlier: Name,
    /// the step that comes after it
    pub later: Name,
    /// what breaks otherwise
    pub reason: &'static str,
}

/// Checks a list of step names against the rules; the error names the first broken one with its reason.
pub fn check<Name: PartialEq + fmt::Display>(steps: &[Name], rules: &[Rule<Name>]) -> Result<()> {
    for rule in rules {
        let last = steps.iter().rposition(|step| *step == rule.earlier);
        let first = steps.iter().position(|step| *step == rule.later);
        if let (Some(last), Some(first)) = (last, first)
            && last > first
        {
            return Err(Error::new(format_args!(
                "step {:?} must come before {:?}: {}",
                rule.earlier.to_string(),
                rule.later.to_string(),
                rule.reason
            )));
        }
    }
    Ok(())
}

const fn rule(earlier: &'static str, later: &'static str, reason: &'static str) -> Rule<&'static str> {
    Rule { earlier, later, reason }
}

/// The reasons behind the list of [`InsideOp`](super::InsideOp)s.
pub const INSIDE: &[Rule<&str>] = &[
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
    rule("uid", "forget capabilities", "it is in force for the change of uid alone"),
    rule("uid", "capabilities", "the change of uid empties the effective set"),
    rule("capabilities", "ambient set", "ambient capabilities have to be permitted and inheritable"),
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
}
