//! `ociVersion`.

use crate::spec::node::{Node, quoted};

/// The newest minor release of the specification that this runtime was written for.
const MINOR: u64 = 3;

/// A semantic version with the major number 1. A newer minor release is read as far as it is known, with a warning.
pub(super) fn version(node: Node<'_>) -> String {
    let Some(text) = node.text() else { return String::new() };
    match major_minor(text) {
        None => node.error(format_args!("expected a semantic version such as 1.2.0, found {}", quoted(text))),
        Some((1, minor)) if minor > MINOR => node.warn(format_args!("{text} is newer than 1.{MINOR}")),
        Some((1, _)) => {}
        Some(_) => node.error(format_args!("unsupported version {}, expected 1.x.y", quoted(text))),
    }
    text.to_owned()
}

/// Whether a version that [`version`] has let pass is older than this minor release.
pub(super) fn is_older(text: &str, minor: u64) -> bool {
    major_minor(text).is_some_and(|(_, own)| own < minor)
}

/// Major and minor number of a semantic version (semver.org 2.0.0).
fn major_minor(text: &str) -> Option<(u64, u64)> {
    let is_label = |label: &str| {
        label.split('.').all(|part| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    };
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (text, release) = text.split_once('-').map_or((text, None), |(text, release)| (text, Some(release)));
    if !build.into_iter().chain(release).all(is_label) {
        return None;
    }
    let mut parts = text.split('.').map(|part| {
        let is_number =
            part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
        part.parse::<u64>().ok().filter(|_| is_number)
    });
    let version = (parts.next()??, parts.next()??);
    parts.next()??;
    parts.next().is_none().then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_releases_are_compared() {
        assert!(is_older("1.0.2-dev", 3) && is_older("1.2.9", 3));
        assert!(!is_older("1.3.0", 3) && !is_older("1.10.0", 3));
    }

    #[test]
    fn semantic_versions_are_told_from_others() {
        for text in ["1.0.0", "1.0.2-dev", "1.1.0-rc.1", "1.2.0+dev", "1.0.0-rc5+build.7", "1.10.0"] {
            assert_eq!(major_minor(text).map(|(major, _)| major), Some(1), "{text}");
        }
        for text in [
            "",
            "1",
            "1.0",
            "1.0.0.0",
            "v1.0.0",
            "1.0.x",
            "01.0.0",
            "1.0.0-",
            "1.0.0-a..b",
            "1.0.0+é",
            "+1.0.0",
            "1.+1.0",
        ] {
            assert_eq!(major_minor(text), None, "{text}");
        }
    }
}
