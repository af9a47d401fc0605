//! Device rules: the list of the configuration with the engines' defaults, reduced to what decides.

use super::write::{Op, Write};
use crate::{
    bail,
    error::Result,
    spec::linux::{DeviceRule, DeviceRuleKind},
};

/// What every container may use, as in runc and crun: making any node, and rwm of null, zero, full, random, urandom, tty,
/// console, ptmx, the pseudo-terminals and tun.
const DEFAULTS: [DeviceRule; 12] = [
    DeviceRule { read: false, write: false, ..char_device(None, None) },
    DeviceRule { read: false, write: false, kind: DeviceRuleKind::Block, ..char_device(None, None) },
    char_device(Some(1), Some(3)),
    char_device(Some(1), Some(5)),
    char_device(Some(1), Some(7)),
    char_device(Some(1), Some(8)),
    char_device(Some(1), Some(9)),
    char_device(Some(5), Some(0)),
    char_device(Some(5), Some(1)),
    char_device(Some(5), Some(2)),
    char_device(Some(136), None),
    char_device(Some(10), Some(200)),
];

const fn char_device(major: Option<u32>, minor: Option<u32>) -> DeviceRule {
    DeviceRule { allow: true, kind: DeviceRuleKind::Char, major, minor, read: true, write: true, mknod: true }
}

/// A rule list in which every rule can matter: each letter of an access is decided by the last rule that matches it, and by
/// `otherwise` where none does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether what no rule matches is allowed.
    pub otherwise: bool,
    /// In order; only [`DeviceRuleKind::Char`] and [`DeviceRuleKind::Block`].
    pub list: Vec<DeviceRule>,
}

impl Rules {
    /// The rules of a configuration; none where it has none or where they allow everything. The engines' defaults come
    /// behind the last rule about all devices and so before the configuration's word on single ones.
    pub fn new(config: &[DeviceRule]) -> Option<Self> {
        if config.is_empty() {
            return None;
        }
        let general = config.iter().rposition(is_about_everything);
        let otherwise = general.is_some_and(|index| config[index].allow);
        let specific = &config[general.map_or(0, |index| index + 1)..];
        let all: Vec<DeviceRule> = DEFAULTS.iter().chain(specific).flat_map(by_kind).collect();
        let mut list: Vec<DeviceRule> = Vec::new();
        for (index, rule) in all.iter().enumerate() {
            let hidden = all[index + 1..].iter().any(|later| covers(later, rule));
            let idle = rule.allow == otherwise
                && list.iter().all(|earlier| earlier.allow == otherwise || apart(earlier, rule));
            if !hidden && !idle {
                list.push(*rule);
            }
        }
        if otherwise && list.is_empty() {
            return None;
        }
        Some(Self { otherwise, list })
    }

    /// The writes for the version 1 controller, which keeps one list of exceptions: a rule that takes back a part of an earlier
    /// one cannot be said there. Where the earlier one is that every node may be made, the rule does without its `m`, as in
    /// runc and crun: Docker denies `c 10:229 rwm` in every container, and a node alone gives no access.
    pub fn to_v1(&self) -> Result<Vec<Op>> {
        let file = |allow: bool| if allow { "devices.allow" } else { "devices.deny" };
        let mut ops = vec![Write::new(file(self.otherwise), "a").into()];
        for (index, rule) in self.list.iter().enumerate() {
            let any_node = |earlier: &DeviceRule| makes_any_node(earlier) && earlier.kind == rule.kind;
            let makes_nodes = self.list[..index].iter().any(any_node);
            let rule = &DeviceRule { mknod: rule.mknod && (rule.allow || !makes_nodes), ..*rule };
            if !(rule.read || rule.write || rule.mknod) {
                continue;
            }
            let line = text(rule);
            if let Some(earlier) =
                self.list[..index].iter().find(|earlier| earlier.allow != rule.allow && partly(earlier, rule))
            {
                let word = if rule.allow { "allows" } else { "denies" };
                bail!(
                    "device rule {line:?} {word} a part of {:?}, which cgroup version 1 cannot express",
                    text(earlier)
                );
            }
            ops.push(Write::new(file(rule.allow), line).into());
        }
        Ok(ops)
    }
}

/// Whether a rule is about every access to every device.
fn is_about_everything(rule: &DeviceRule) -> bool {
    rule.kind == DeviceRuleKind::All
        && rule.major.is_none()
        && rule.minor.is_none()
        && (rule.read && rule.write && rule.mknod)
}

/// Whether a rule is that every node of a kind may be made, and nothing else.
fn makes_any_node(rule: &DeviceRule) -> bool {
    rule.allow && rule.mknod && !rule.read && !rule.write && rule.major.is_none() && rule.minor.is_none()
}

/// A rule about both kinds of device as one about each.
fn by_kind(rule: &DeviceRule) -> impl Iterator<Item = DeviceRule> + use<> {
    let kinds: &[DeviceRuleKind] = match rule.kind {
        DeviceRuleKind::All => &[DeviceRuleKind::Char, DeviceRuleKind::Block],
        DeviceRuleKind::Char => &[DeviceRuleKind::Char],
        DeviceRuleKind::Block => &[DeviceRuleKind::Block],
    };
    let rule = *rule;
    kinds.iter().map(move |kind| DeviceRule { kind: *kind, ..rule })
}

/// Whether every access that `rule` matches is one that `later` matches.
fn covers(later: &DeviceRule, rule: &DeviceRule) -> bool {
    later.kind == rule.kind
        && (later.major.is_none() || later.major == rule.major)
        && (later.minor.is_none() || later.minor == rule.minor)
        && (later.read || !rule.read)
        && (later.write || !rule.write)
        && (later.mknod || !rule.mknod)
}

/// Whether no access is matched by both.
fn apart(a: &DeviceRule, b: &DeviceRule) -> bool {
    let differ = |a: Option<u32>, b: Option<u32>| a.is_some() && b.is_some() && a != b;
    let shared = a.read && b.read || a.write && b.write || a.mknod && b.mknod;
    a.kind != b.kind || differ(a.major, b.major) || differ(a.minor, b.minor) || !shared
}

/// Whether two rules overlap without being about the same numbers.
fn partly(a: &DeviceRule, b: &DeviceRule) -> bool {
    !apart(a, b) && (a.major, a.minor) != (b.major, b.minor)
}

/// A rule in the words of the version 1 controller: `c 1:3 rwm`.
fn text(rule: &DeviceRule) -> String {
    let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
    let kind = if rule.kind == DeviceRuleKind::Block { 'b' } else { 'c' };
    let letters = [(rule.read, 'r'), (rule.write, 'w'), (rule.mknod, 'm')];
    let access: String = letters.iter().filter(|(set, _)| *set).map(|(_, letter)| *letter).collect();
    format!("{kind} {}:{} {access}", number(rule.major), number(rule.minor))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A rule from `+c 1:3 rwm` or `-a *:* rwm`.
    pub fn rule(text: &str) -> DeviceRule {
        let words: Vec<&str> = text[1..].split(' ').collect();
        let (major, minor) = words[1].split_once(':').unwrap();
        let kind = match words[0] {
            "a" => DeviceRuleKind::All,
            "b" => DeviceRuleKind::Block,
            _ => DeviceRuleKind::Char,
        };
        DeviceRule {
            allow: text.starts_with('+'),
            kind,
            major: major.parse().ok(),
            minor: minor.parse().ok(),
            read: words[2].contains('r'),
            write: words[2].contains('w'),
            mknod: words[2].contains('m'),
        }
    }

    pub fn rules(texts: &[&str]) -> Option<Rules> {
        Rules::new(&texts.iter().map(|text| rule(text)).collect::<Vec<_>>())
    }

    fn v1(texts: &[&str]) -> Vec<String> {
        let ops = rules(texts).unwrap().to_v1().unwrap();
        ops.iter().flat_map(Op::writes).map(|write| format!("{} {}", &write.file[8..], write.value)).collect()
    }

    #[test]
    fn nothing_asked_or_everything_allowed_is_no_rule_at_all() {
        assert_eq!(rules(&[]), None);
        assert_eq!(rules(&["+a *:* rwm"]), None);
        assert_eq!(rules(&["-a *:* rwm", "+c 10:229 rw", "+a *:* rwm", "+b 8:0 r"]), None);
    }

    #[test]
    fn defaults_stand_before_the_word_on_single_devices() {
        let lines = v1(&["-a *:* rwm", "+c 1:3 rwm", "+c 10:229 rw", "-c 10:200 rw"]);
        let expected = "deny a, allow c *:* m, allow b *:* m, allow c 1:5 rwm, allow c 1:7 rwm, allow c 1:8 rwm, \
                        allow c 1:9 rwm, allow c 5:0 rwm, allow c 5:1 rwm, allow c 5:2 rwm, allow c 136:* rwm, \
                        allow c 10:200 rwm, allow c 1:3 rwm, allow c 10:229 rw, deny c 10:200 rw";
        assert_eq!(lines.join(", "), expected);
    }

    #[test]
    fn version_one_cannot_take_back_a_part() {
        let error = rules(&["-a *:* rwm", "-c 136:7 rwm"]).unwrap().to_v1().unwrap_err();
        assert!(
            error.to_string().contains("c 136:7 rw") && error.to_string().contains("c 136:* rwm"),
            "{error}"
        );
    }

    #[test]
    fn version_one_denies_a_node_that_may_be_made_its_use() {
        // As Docker does for FUSE.
        let lines = v1(&["-a *:* rwm", "-c 10:229 rwm", "-c 10:200 m", "-b 8:0 rm"]);
        let expected = ["allow c 10:200 rwm", "deny c 10:229 rw", "deny b 8:0 r"];
        assert_eq!(lines[lines.len() - 3..], expected);
    }

    #[test]
    fn a_list_that_denies_some_allows_the_rest() {
        assert_eq!(v1(&["+a *:* rwm", "-b 8:* w"]), ["allow a", "deny b 8:* w"]);
        assert_eq!(v1(&["+a *:* rwm", "-a 8:0 rwm"]), ["allow a", "deny c 8:0 rwm", "deny b 8:0 rwm"]);
    }

    #[test]
    fn only_rules_that_can_matter_stay() {
        let all = rules(&["-a *:* rwm"]).unwrap();
        assert_eq!((all.otherwise, all.list.len()), (false, DEFAULTS.len()));
        let wide = rules(&["-a *:* rwm", "+c *:* rwm", "+b *:* rwm"]).unwrap();
        assert_eq!(wide.list.len(), 2);
        let repeated = rules(&["-a *:* rwm", "+c 1:3 rwm", "+c 1:3 r", "+c 1:3 rw", "-b 7:7 rw"]).unwrap();
        assert_eq!(repeated.list.len(), DEFAULTS.len() + 1);
    }
}
