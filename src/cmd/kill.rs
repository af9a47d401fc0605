//! `urun kill`

use super::{group, processes, select};
use crate::{
    cgroup::Cgroup,
    cli::KillArgs,
    error::{Context, Result},
    state::{ContainerId, PidNamespace, Record, Store, not_running},
    sys::signal,
};

/// Sends a signal to a container: to its first process, or with `--all` to every process of its cgroup.
pub fn kill(store: &Store, args: &KillArgs) -> Result<()> {
    let number = signal::parse(&args.signal)?;
    select::each(store, &args.containers, |id| kill_one(store, id, number, args.all))
}

fn kill_one(store: &Store, id: &ContainerId, number: i32, all: bool) -> Result<()> {
    let entry = store.find(id)?;
    let step = || format!("kill container {id}");
    // Without a record there is no process yet, or none any more.
    let record = entry.record()?.ok_or_else(not_running).with_context(step)?;
    send(&record, number, all).with_context(step)
}

fn send(record: &Record, number: i32, all: bool) -> Result<()> {
    let is_kill = number == libc::SIGKILL;
    let groups = if all || is_kill { group::open(record)? } else { Cgroup::default() };
    if all {
        return processes::signal(record, &groups, number);
    }
    record.init.ok_or_else(not_running)?.signal(number)?;
    match record.pid_namespace {
        _ if !is_kill => Ok(()),
        // The kernel ends a pid namespace with its init; in a shared one the others would live on.
        PidNamespace::Shared => groups.kill(number),
        PidNamespace::Own => groups.thaw(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Selection;
    use crate::state::{Init, Stage, store::tests::Scratch};
    use crate::sys::proc::Proc;
    use std::{
        os::unix::process::ExitStatusExt,
        path::Path,
        process::{Child, Command},
    };

    fn args(signal: &str, all: bool) -> KillArgs {
        KillArgs { containers: Selection::One("c".parse().unwrap()), signal: signal.to_owned(), all }
    }

    fn container(store: &mut Store) -> Child {
        let id: ContainerId = "c".parse().unwrap();
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let entry = store.create(&id).unwrap();
        let mut record = Record::new(id, Path::new("/b"), Path::new("/b/rootfs"));
        record.init = Some(Init::identify(&Proc::open().unwrap(), child.id().cast_signed()).unwrap());
        record.stage = Stage::Created;
        entry.save(&record).unwrap();
        child
    }

    #[test]
    fn the_first_process_gets_the_signal() {
        let scratch = Scratch::new();
        let mut store = scratch.store();
        let mut child = container(&mut store);
        kill(&store, &args("0", false)).unwrap();
        kill(&store, &args("usr1", false)).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGUSR1));
    }

    #[test]
    fn a_stopped_container_is_not_running_but_all_succeeds() {
        let scratch = Scratch::new();
        let mut store = scratch.store();
        let mut child = container(&mut store);
        kill(&store, &args("KILL", false)).unwrap();
        child.wait().unwrap();
        let error = kill(&store, &args("KILL", false)).unwrap_err();
        assert_eq!(error.to_string(), "kill container c: container not running");
        kill(&store, &args("KILL", true)).unwrap();
    }

    #[test]
    fn an_unknown_container_or_signal_is_named() {
        let scratch = Scratch::new();
        let store = scratch.store();
        let error = kill(&store, &args("TERM", false)).unwrap_err().to_string();
        assert_eq!(error, "container \"c\" does not exist");
        let error = kill(&store, &args("FOO", false)).unwrap_err().to_string();
        assert_eq!(error, "unknown signal \"FOO\"");
    }
}
