//! Id mappings, of the user namespace and of mounts.

use crate::spec::{linux::IdMap, node::Node};

/// The kernel's limit of lines in a map since Linux 4.15 (user_namespaces(7)).
const LINES: usize = 340;

/// `uidMappings` and `gidMappings` of an object: both or neither.
pub(super) fn id_maps(node: &Node<'_>) -> (Vec<IdMap>, Vec<IdMap>) {
    let (uids, gids) = (node.get("uidMappings"), node.get("gidMappings"));
    match (uids.count(), gids.count()) {
        (0, 1..) => uids.error("is required where gidMappings are given"),
        (1.., 0) => gids.error("is required where uidMappings are given"),
        _ => {}
    }
    (id_map(uids), id_map(gids))
}

fn id_map(node: Node<'_>) -> Vec<IdMap> {
    let count = node.count();
    if count > LINES {
        too_many(&node, count);
        return Vec::new();
    }
    let lines: Vec<IdMap> = node.list().filter_map(|item| line(item.required())).collect();
    check_lines(&node, &lines);
    lines
}

fn too_many(node: &Node<'_>, count: usize) {
    node.error(format_args!("{count} lines are more than the {LINES} that Linux allows"));
}

fn line(node: Node<'_>) -> Option<IdMap> {
    let node = node.object()?;
    let container = node.get("containerID").required().number(0..=u32::MAX);
    let host = node.get("hostID").required().number(0..=u32::MAX);
    let size = node.get("size").required().number(1..=u32::MAX);
    let line = IdMap { container: container?, host: host?, size: size? };
    check_range(line, |problem| node.error(problem)).then_some(line)
}

/// Whether both ends of a line stay below 4294967295, the id that is none.
pub(super) fn check_range(line: IdMap, error: impl Fn(std::fmt::Arguments<'_>)) -> bool {
    let (name, first) = match (line.container.checked_add(line.size), line.host.checked_add(line.size)) {
        (None, _) => ("container", line.container),
        (_, None) => ("host", line.host),
        _ => return true,
    };
    error(format_args!("{} ids from {name} id {first} on go beyond the last id 4294967294", line.size));
    false
}

/// Reports what the kernel refuses of a map as a whole: too many lines, an id on either side that two of them share.
pub(super) fn check_lines(node: &Node<'_>, lines: &[IdMap]) {
    if lines.len() > LINES {
        return too_many(node, lines.len());
    }
    let of = |first: fn(&IdMap) -> u32| lines.iter().map(|line| (first(line), line.size)).collect::<Vec<_>>();
    for (side, mut ranges) in [("container", of(|line| line.container)), ("host", of(|line| line.host))] {
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            if pair[1].0 - pair[0].0 < pair[0].1 {
                node.error(format_args!("{side} id {} is mapped twice", pair[1].0));
            }
        }
    }
}
