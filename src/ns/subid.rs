//! Subordinate ids: who may map which ids of the host, and which ranges are free. All but [`maps_of`] is pure; the texts
//! come from /etc/subuid, /etc/subgid (subuid(5)) and /proc/PID/uid_map (user_namespaces(7)).

use super::plan::Maps;
use crate::{
    error::{Context, Result},
    host::passwd,
    spec::IdMap,
};
use std::{fs, io::ErrorKind};

/// Ids of the host, `count` of them from `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first id.
    pub start: u32,
    /// How many; at least one, and none above `u32::MAX`.
    pub count: u32,
}

impl Range {
    fn new(start: &str, count: &str) -> Option<Self> {
        let (start, count): (u32, u32) = (start.parse().ok()?, count.parse().ok()?);
        (count > 0 && start.checked_add(count - 1).is_some()).then_some(Self { start, count })
    }

    fn end(self) -> u64 {
        u64::from(self.start) + u64::from(self.count)
    }

    fn overlaps(self, other: Self) -> bool {
        u64::from(self.start) < other.end() && u64::from(other.start) < self.end()
    }
}

/// How many ids a container made by root gets, and what its range is aligned to; the size that Kubernetes gives to a
/// pod (KEP-127).
pub const RANGE: u32 = 65_536;

/// Where ranges for containers made by root begin: the first 64 Ki are the host's own, the next are left to
/// administrators who count from there.
const FIRST_FREE: u32 = 2 * RANGE;

/// The lines of /etc/subuid or /etc/subgid, owner first. What is no such line is skipped, as shadow does.
fn lines(text: &str) -> impl Iterator<Item = (&str, Range)> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (owner, start, count) = (fields.next()?, fields.next()?, fields.next()?);
        let is_whole = fields.next().is_none() && !owner.is_empty();
        Range::new(start, count).filter(|_| is_whole).map(|range| (owner, range))
    })
}

/// The ranges that a file of subordinate ids gives to a user, who may be named or numbered there (newuidmap(1)).
pub fn ranges_of(text: &str, user: &str, uid: u32) -> Vec<Range> {
    let number = uid.to_string();
    lines(text).filter(|(owner, _)| *owner == user || *owner == number).map(|(_, range)| range).collect()
}

/// Every range that a file of subordinate ids gives to anybody.
pub fn all_ranges(text: &str) -> Vec<Range> {
    lines(text).map(|(_, range)| range).collect()
}

/// The ids outside that a uid_map or gid_map uses. The map of the first user namespace, which is everything, takes
/// nothing away from anybody.
pub fn used_by_map(text: &str) -> Vec<Range> {
    map_lines(text).filter(|(_, range)| range.count != u32::MAX).map(|(_, range)| range).collect()
}

/// A map that hands on every id that the caller's own uid_map or gid_map gives it.
pub fn identity(own_map: &str) -> Vec<IdMap> {
    map_lines(own_map)
        .map(|(inside, range)| IdMap { container: inside, host: inside, size: range.count })
        .collect()
}

fn map_lines(text: &str) -> impl Iterator<Item = (u32, Range)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (inside, start, count) = (fields.next()?, fields.next()?, fields.next()?);
        Some((inside.parse().ok()?, Range::new(start, count)?))
    })
}

/// The map of an unprivileged caller: container root is the caller, so that the caller's files are root's; the
/// subordinate ids follow without a gap. Without any there is only root.
pub fn for_user(own: u32, ranges: &[Range]) -> Vec<IdMap> {
    let mut map = vec![IdMap { container: 0, host: own, size: 1 }];
    let mut next = 1u32;
    for range in ranges {
        // A range with the caller in it would map the caller twice; ids of another line may repeat as well.
        let mapped = |id: &IdMap| Range { start: id.host, count: id.size }.overlaps(*range);
        let Some(after) = next.checked_add(range.count).filter(|_| !map.iter().any(mapped)) else { continue };
        map.push(IdMap { container: next, host: range.start, size: range.count });
        next = after;
    }
    map
}

/// The first aligned range of [`RANGE`] ids from 131072 on that touches none of `taken`.
pub fn free_range(taken: &[Range]) -> Option<IdMap> {
    (FIRST_FREE / RANGE..u32::MAX / RANGE)
        .map(|number| Range { start: number * RANGE, count: RANGE })
        .find(|range| !taken.iter().any(|other| other.overlaps(*range)))
        .map(|range| IdMap { container: 0, host: range.start, size: range.count })
}

/// The maps of an unprivileged caller ([`for_user`]); none where /etc/subuid or /etc/subgid gives it nothing. Both files
/// are keyed by user: newgidmap(1) looks for the caller's name, not for its group's.
pub fn maps_of(uid: u32, gid: u32) -> Result<Option<Maps>> {
    let user = passwd::name_of(uid);
    let uids = ranges_of(&read("/etc/subuid")?, &user, uid);
    let gids = ranges_of(&read("/etc/subgid")?, &user, uid);
    let has_both = !uids.is_empty() && !gids.is_empty();
    Ok(has_both.then(|| Maps { uids: for_user(uid, &uids), gids: for_user(gid, &gids) }))
}

/// The text of a file of subordinate ids; a missing file gives nothing to anybody.
pub fn read(path: &str) -> Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        other => other.with_context(|| format!("read {path}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBUID: &str = "# a comment\nann:100000:65536\n\nbob:165536:65536\n1000:300000:10\nann:400000:5\n\
                          broken:x:1\nhuge:4294967295:2\nempty:5:0\n:1:1\nlong:1:2:3\n";

    fn range(start: u32, count: u32) -> Range {
        Range { start, count }
    }

    fn map(container: u32, host: u32, size: u32) -> IdMap {
        IdMap { container, host, size }
    }

    #[test]
    fn a_user_owns_lines_by_name_and_by_number() {
        assert_eq!(
            ranges_of(SUBUID, "ann", 1000),
            [range(100_000, 65_536), range(300_000, 10), range(400_000, 5)]
        );
        assert_eq!(ranges_of(SUBUID, "bob", 1), [range(165_536, 65_536)]);
        assert_eq!(ranges_of(SUBUID, "an", 100), []);
        assert_eq!(ranges_of("root:0:4294967295", "root", 0), [range(0, u32::MAX)]);
        assert_eq!(all_ranges(SUBUID).len(), 4, "broken lines are skipped");
    }

    #[test]
    fn the_caller_is_root_and_its_ranges_follow() {
        let ranges = [range(100_000, 65_536), range(400_000, 5)];
        assert_eq!(
            for_user(1000, &ranges),
            [map(0, 1000, 1), map(1, 100_000, 65_536), map(65_537, 400_000, 5)]
        );
        assert_eq!(for_user(1000, &[]), [map(0, 1000, 1)]);
        // podman#4047: the caller's own id lies within its range.
        assert_eq!(for_user(100_005, &ranges), [map(0, 100_005, 1), map(1, 400_000, 5)]);
        assert_eq!(for_user(7, &[range(10, 5), range(12, 5)]), [map(0, 7, 1), map(1, 10, 5)]);
    }

    #[test]
    fn root_gets_the_first_range_that_nobody_has() {
        assert_eq!(free_range(&[]), Some(map(0, 131_072, RANGE)));
        assert_eq!(free_range(&all_ranges(SUBUID)), Some(map(0, 327_680, RANGE)));
        assert_eq!(free_range(&[range(131_072, 1)]), Some(map(0, 196_608, RANGE)));
        assert_eq!(free_range(&[range(131_071, 1), range(196_608, 1)]), Some(map(0, 131_072, RANGE)));
        assert_eq!(free_range(&[range(0, u32::MAX)]), None);
    }

    #[test]
    fn maps_of_the_kernel_are_read() {
        let text = "         0     131072      65536\n     65536       1000          1\n";
        assert_eq!(used_by_map(text), [range(131_072, 65_536), range(1000, 1)]);
        assert_eq!(identity(text), [map(0, 0, 65_536), map(65_536, 65_536, 1)]);
        assert_eq!(used_by_map("0 0 4294967295\n"), []);
    }
}
