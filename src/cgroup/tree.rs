//! What is below a group: the payload may nest groups without end.

use super::{dir::Dir, pause::Pause};
use crate::error::Result;
use std::collections::VecDeque;

/// At most this many groups are held open at once.
const OPEN_GROUPS: usize = 128;

/// Whether a directory is away; false while it is busy.
pub fn is_gone(result: Result<()>) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) => match error.errno() {
            Some(libc::ENOENT | libc::ENODEV) => Ok(true),
            Some(libc::EBUSY | libc::ENOTEMPTY) => Ok(false),
            _ => Err(error),
        },
    }
}

/// Removes what is below a group, deepest first, as far as it is not busy. Depth costs neither stack nor, beyond a bound,
/// descriptors: the far end is forgotten and found again by the next call.
pub fn remove_children(top: &Dir, pause: &Pause) -> Result<()> {
    let mut open = VecDeque::from([(top.open("")?, top.children()?)]);
    let mut busy = false;
    while let Some((dir, children)) = open.back_mut() {
        let Some(name) = children.pop() else {
            open.pop_back();
            continue;
        };
        if pause.is_over() {
            return Ok(());
        }
        if is_gone(dir.remove(&name))? {
            continue;
        }
        let Some(child) = found(dir.open(&name))? else { continue };
        let Some(below) = found(child.children())? else { continue };
        busy |= below.is_empty();
        if !busy {
            children.push(name);
            open.push_back((child, below));
        }
        if open.len() > OPEN_GROUPS {
            open.pop_front();
        }
    }
    Ok(())
}

/// Visits a group and those below it; those that vanish meanwhile are left out.
pub fn walk(top: &Dir, mut visit: impl FnMut(&Dir) -> Result<()>) -> Result<()> {
    let mut open = vec![(top.open("")?, top.children()?)];
    visit(top)?;
    while let Some((dir, children)) = open.last_mut() {
        let Some(name) = children.pop() else {
            open.pop();
            continue;
        };
        let Some(child) = found(dir.open(&name))? else { continue };
        visit(&child)?;
        let Some(below) = found(child.children())? else { continue };
        open.push((child, below));
    }
    Ok(())
}

/// The processes of a group and of those below it, sorted.
pub fn processes(top: &Dir) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    walk(top, |dir| read_processes(dir, &mut pids))?;
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

fn read_processes(dir: &Dir, pids: &mut Vec<i32>) -> Result<()> {
    match dir.read("cgroup.procs") {
        // 0 stands for a process that this pid namespace does not see; as a signal's target it would be ourselves.
        Ok(text) => {
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
        }
        // A threaded group: its processes are listed by the group above that it belongs to.
        Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => {}
        Err(error) => {
            found::<()>(Err(error))?;
        }
    }
    Ok(())
}

/// None for a group that has vanished meanwhile.
pub fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::ENODEV)) => Ok(None),
        Err(error) => Err(error),
    }
}
