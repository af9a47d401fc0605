//! Which owner of a file outside is which one inside: a mount's map, then the container's. Pure.

use super::plan::Maps;
use crate::spec::IdMap;

/// A map in which every id is itself: no user namespace in between.
pub const EVERY_ID: IdMap = IdMap { container: 0, host: 0, size: u32::MAX };

/// What the owners of files are inside: `host` is the id that a file has on its file system, `container` the id that it
/// appears as inside. Ids that are in no line look like nobody. `mount` is the map of an id-mapped mount, whose lines say which
/// id of the file system appears as which one outside.
pub fn inside(mount: Option<&Maps>, container: &Maps) -> Maps {
    let Some(mount) = mount else { return sorted(container.clone()) };
    sorted(Maps { uids: through(&mount.uids, &container.uids), gids: through(&mount.gids, &container.gids) })
}

/// Both maps one after the other.
fn through(mount: &[IdMap], container: &[IdMap]) -> Vec<IdMap> {
    let overlap = |first: &IdMap, second: &IdMap| {
        let start = first.host.max(second.host);
        let end = |line: &IdMap| u64::from(line.host) + u64::from(line.size);
        let size = end(first).min(end(second)).checked_sub(start.into())?;
        let line = IdMap {
            host: first.container + (start - first.host),
            container: second.container + (start - second.host),
            size: u32::try_from(size).ok()?,
        };
        (line.size > 0).then_some(line)
    };
    mount.iter().flat_map(|first| container.iter().filter_map(move |second| overlap(first, second))).collect()
}

/// In the order of the ids outside, neighbours joined; what the caller's user namespace does not have is left out.
fn sorted(maps: Maps) -> Maps {
    let sorted = |mut lines: Vec<IdMap>| {
        lines.retain(|line| line.host != u32::MAX);
        lines.sort_by_key(|line| line.host);
        let mut joined: Vec<IdMap> = Vec::new();
        for line in lines {
            let follows = |last: &&mut IdMap| {
                (last.host.checked_add(last.size), last.container.checked_add(last.size))
                    == (Some(line.host), Some(line.container))
            };
            match joined.last_mut().filter(follows) {
                Some(last) => last.size = last.size.saturating_add(line.size),
                None => joined.push(line),
            }
        }
        joined
    };
    Maps { uids: sorted(maps.uids), gids: sorted(maps.gids) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[[u32; 3]]) -> Maps {
        let lines: Vec<IdMap> =
            lines.iter().map(|&[container, host, size]| IdMap { container, host, size }).collect();
        Maps { uids: lines.clone(), gids: lines }
    }

    #[test]
    fn owners_go_through_the_mounts_map_and_then_through_the_containers() {
        let container = map(&[[0, 131_072, 1000], [1000, 500, 1], [1001, 132_073, 64_000]]);
        assert_eq!(
            inside(None, &container),
            map(&[[1000, 500, 1], [0, 131_072, 1000], [1001, 132_073, 64_000]]),
            "without a map of the mount"
        );
        for (mount, seen, what) in [
            (map(&[[0, 131_072, 65_536]]), map(&[[0, 0, 1000], [1001, 1001, 64_000]]), "a hole"),
            (map(&[[5000, 131_079, 1]]), map(&[[7, 5000, 1]]), "one id"),
            (map(&[[0, 500, 1], [1, 131_072, 5]]), map(&[[1000, 0, 1], [0, 1, 5]]), "two lines"),
            (map(&[[0, 9_000_000, 10]]), Maps::default(), "ids that the container does not have"),
        ] {
            assert_eq!(inside(Some(&mount), &container), seen, "{what}");
        }
    }

    #[test]
    fn without_a_user_namespace_a_mounts_map_is_all_there_is() {
        let host = Maps { uids: vec![EVERY_ID], gids: vec![EVERY_ID] };
        let mount = map(&[[0, 100_000, 10], [10, 100_010, 10], [30, 5, 2]]);
        assert_eq!(inside(Some(&mount), &host), map(&[[100_000, 0, 20], [5, 30, 2]]), "neighbours are one");
        assert_eq!(inside(None, &host), host);
    }

    #[test]
    fn lines_that_the_caller_cannot_see_are_left_out() {
        assert_eq!(inside(None, &map(&[[0, u32::MAX, 10], [10, 5, 1]])), map(&[[10, 5, 1]]));
    }
}
