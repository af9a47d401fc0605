//! `urun events`

use super::{group, print, view::unfinished};
use crate::{
    cgroup::{self, Cgroup},
    cli::{EventsArgs, EventsForm},
    error::{Context, Error, Result},
    state::{ContainerId, Init, Store, not_running},
    sys::fd,
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
};
use serde_json::{Value, json};
use std::{os::fd::AsFd, time::Instant};

/// Prints what a container uses, a JSON object a line: once, or at every interval and with a line for each time that the
/// kernel killed for want of memory, until the container ends.
pub fn events(store: &Store, args: &EventsArgs) -> Result<()> {
    let id = &args.id;
    let step = || format!("watch container {id}");
    let entry = store.find(id)?;
    let record = entry.record()?.ok_or_else(|| unfinished(&entry))?;
    let process = record.init.ok_or_else(not_running).and_then(Init::open).with_context(step)?;
    let groups = group::open(&record).with_context(step)?;
    if groups.is_empty() {
        return Err(Error::new("it has no cgroup, which is what counts")).with_context(step);
    }
    let sizes = page_sizes();
    let interval = match args.form {
        EventsForm::Once => return print_stats(id, &groups, &sizes),
        EventsForm::Every(interval) => interval,
    };
    let mut oom = groups.watch_oom().with_context(step)?;
    let mut next = Instant::now() + interval;
    loop {
        let mut waiting = vec![PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        if let Some((fd, flags)) = oom.as_ref().map(cgroup::OomWatch::interest) {
            waiting.push(PollFd::new(fd, flags));
        }
        match poll(&mut waiting, fd::until(Some(next))) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("poll").with_context(step),
        }
        let ended = waiting[0].any().unwrap_or(false);
        let happened = match oom.as_mut().map(cgroup::OomWatch::happened) {
            None => false,
            Some(Err(error)) if error.errno() == Some(libc::ENODEV) => {
                oom = None;
                false
            }
            Some(happened) => happened.with_context(step)?,
        };
        if happened {
            print_event(&json!({"type": "oom", "id": id.as_str()}))?;
        }
        if ended {
            return Ok(());
        }
        if Instant::now() >= next {
            print_stats(id, &groups, &sizes)?;
            next += interval;
        }
    }
}

fn print_stats(id: &ContainerId, groups: &Cgroup, sizes: &[String]) -> Result<()> {
    let data = cgroup::stats(groups, sizes).with_context(|| format!("watch container {id}"))?;
    print_event(&json!({"type": "stats", "id": id.as_str(), "data": data}))
}

fn print_event(event: &Value) -> Result<()> {
    print(&format!("{event}\n"))
}

/// The sizes of huge pages in the form of cgroup file names. A kernel without them has none.
fn page_sizes() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    entries.filter_map(|entry| page_size(&entry.file_name().to_string_lossy())).collect()
}

/// `hugepages-2048kB` is `2MB`.
fn page_size(directory: &str) -> Option<String> {
    let size: u64 = directory.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    let (number, unit) = match size {
        size if size >= 1 << 20 => (size >> 20, "GB"),
        size if size >= 1 << 10 => (size >> 10, "MB"),
        size => (size, "KB"),
    };
    Some(format!("{number}{unit}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_of_pages_are_named_as_the_files_are() {
        for (directory, name) in
            [("hugepages-64kB", "64KB"), ("hugepages-2048kB", "2MB"), ("hugepages-1048576kB", "1GB")]
        {
            assert_eq!(super::page_size(directory).as_deref(), Some(name));
        }
        assert_eq!(super::page_size("x"), None);
    }
}
