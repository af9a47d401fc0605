//! Subordinate ids: who may map which ids of the host, and which ranges are free. All but [`maps_of`] is pure; the texts
//! come from /etc/subuid, /etc/subgid (subuid(5)) and /proc/PID/uid_map (user_namespaces(7)).

pub use crate::host::ids::Range;

use super::plan::Maps;
use crate::{
    error::{Context, Result},
    host::passwd,
    spec::IdMap,
};
use std::{fs, io::ErrorKind};

/// How many ids a container made by root gets, and what its range is aligned to; the size that Kubernetes gives to a
/// pod (KEP-127).
pub const RANGE: u32 = 65_536;

/// The lines of /etc/subuid or /etc/subgid, owner first. What is no such line is skipped, as shadow does.
fn lines(text: &str) -> impl Iterator<Item = (&str, Range)> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (owner, start, count) = (fields.next()?, fields.next()?, fields.next()?);
        let is_whole = fields.next().is_none() && !owner.is_empty();
        Range::parse(start, count).filter(|_| is_whole).map(|range| (owner, range))
    })
}

/// The ranges that a file of subordinate ids gives to a user, who may be named or numbered there (newuidmap(1)).
pub fn ranges_of(text: &str, user: &str, uid: Option<u32>) -> Vec<Range> {
    let number = uid.map(|uid| uid.to_string());
    let is_owner = |owner: &str| owner == user || Some(owner) == number.as_deref();
    lines(text).filter(|(owner, _)| is_owner(owner)).map(|(_, range)| range).collect()
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
        Some((inside.parse().ok()?, Range::parse(start, count)?))
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

/// The first place among `pool` where `size` ids are free: whole blocks of [`RANGE`] ids from the start of a range of the
/// pool on, as the kubelet counts them, or a block of the next power of two for less.
pub fn fit(pool: &[Range], taken: &[Range], size: u32) -> Option<Range> {
    let count = match size {
        ..RANGE => size.checked_next_power_of_two()?,
        _ => size.checked_next_multiple_of(RANGE)?,
    };
    let block = u64::from(count.min(RANGE));
    let mut taken: Vec<Range> = taken.to_vec();
    taken.sort_unstable_by_key(|range| range.start);
    pool.iter().find_map(|range| {
        let mut start = u64::from(range.start);
        for other in &taken {
            if start < other.end() && u64::from(other.start) < start + u64::from(count) {
                let past = other.end() - u64::from(range.start);
                start = u64::from(range.start) + past.next_multiple_of(block);
            }
        }
        let fits = start + u64::from(count) <= range.end();
        u32::try_from(start).ok().filter(|_| fits).map(|start| Range { start, count })
    })
}

/// The ids that are in both, without those of the host's first block.
pub fn common(left: &[Range], right: &[Range]) -> Vec<Range> {
    let both = left.iter().flat_map(|one| right.iter().map(move |other| (*one, *other)));
    both.filter_map(|(one, other)| {
        let start = one.start.max(other.start).max(RANGE);
        let end = one.end().min(other.end());
        let count = u32::try_from(end.checked_sub(u64::from(start))?).ok()?;
        (count > 0).then_some(Range { start, count })
    })
    .collect()
}

/// Where ranges begin that /etc/subuid and /etc/subgid give to nobody: the first 64 Ki are the host's own, the next are left
/// to administrators who count from there.
pub const UNCLAIMED: Range = Range { start: 2 * RANGE, count: u32::MAX - 2 * RANGE };

/// The ids inside a uid_map or gid_map.
pub fn inside_map(text: &str) -> Vec<Range> {
    map_lines(text).map(|(start, range)| Range { start, ..range }).collect()
}

/// The maps of an unprivileged caller ([`for_user`]); none where /etc/subuid or /etc/subgid gives it nothing. Both files
/// are keyed by user: newgidmap(1) looks for the caller's name, not for its group's.
pub fn maps_of(uid: u32, gid: u32) -> Result<Option<Maps>> {
    let user = passwd::name_of(uid)?;
    let uids = ranges_of(&read("/etc/subuid")?, &user, Some(uid));
    let gids = ranges_of(&read("/etc/subgid")?, &user, Some(uid));
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
            ranges_of(SUBUID, "ann", Some(1000)),
            [range(100_000, 65_536), range(300_000, 10), range(400_000, 5)]
        );
        assert_eq!(ranges_of(SUBUID, "bob", None), [range(165_536, 65_536)]);
        assert_eq!(ranges_of(SUBUID, "an", Some(100)), []);
        assert_eq!(ranges_of("root:0:4294967295", "root", Some(0)), [range(0, u32::MAX)]);
        assert_eq!(ranges_of("root:4294967295:1", "root", Some(0)), []);
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
    fn a_range_is_the_first_free_place() {
        let free =
            |taken: &[Range], size| fit(&[UNCLAIMED], taken, size).map(|range| (range.start, range.count));
        assert_eq!(free(&[], RANGE), Some((131_072, RANGE)));
        assert_eq!(free(&all_ranges(SUBUID), RANGE), Some((327_680, RANGE)));
        assert_eq!(free(&[range(131_072, 1)], RANGE), Some((196_608, RANGE)));
        assert_eq!(free(&[range(131_071, 1), range(196_608, 1)], RANGE), Some((131_072, RANGE)));
        assert_eq!(free(&[range(0, u32::MAX)], RANGE), None);
        assert_eq!(free(&[range(196_608, 1), range(131_072, 1)], RANGE + 1), Some((262_144, 2 * RANGE)));
        assert_eq!(free(&[range(131_072, 100)], 100), Some((131_200, 128)));
        assert_eq!(free(&[], u32::MAX), None);
    }

    #[test]
    fn blocks_count_from_the_start_of_their_pool() {
        let pool = [range(100_000, RANGE), range(300_000, 2 * RANGE)];
        assert_eq!(fit(&pool, &[], RANGE), Some(range(100_000, RANGE)));
        assert_eq!(fit(&pool, &[range(100_000, RANGE)], RANGE), Some(range(300_000, RANGE)));
        assert_eq!(
            fit(&pool, &[range(100_000, RANGE), range(300_000, 1)], RANGE),
            Some(range(365_536, RANGE))
        );
        assert_eq!(fit(&pool, &[], 2 * RANGE), Some(range(300_000, 2 * RANGE)));
        assert_eq!(fit(&pool, &[], 3 * RANGE), None);
        assert_eq!(fit(&[], &[], 1), None);
    }

    #[test]
    fn a_pool_is_what_both_files_give() {
        assert_eq!(common(&[range(100_000, 10)], &[range(100_005, 10)]), [range(100_005, 5)]);
        assert_eq!(common(&[range(0, u32::MAX)], &[range(0, 70_000)]), [range(RANGE, 70_000 - RANGE)]);
        assert_eq!(common(&[range(100_000, 10)], &[range(100_010, 10)]), []);
        assert_eq!(common(&[range(5, 10)], &[range(5, 10)]), []);
    }

    #[test]
    fn maps_of_the_kernel_are_read() {
        let text = "         0     131072      65536\n     65536       1000          1\n";
        assert_eq!(used_by_map(text), [range(131_072, 65_536), range(1000, 1)]);
        assert_eq!(identity(text), [map(0, 0, 65_536), map(65_536, 65_536, 1)]);
        assert_eq!(used_by_map("0 0 4294967295\n"), []);
    }
}
