//! systemd-nsresourced, which gives ids to who has none.

use super::{Bundle, Mode};
use std::{
    path::Path,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

const SOCKET: &str = "/run/systemd/io.systemd.NamespaceResource";
/// Its memory: a file for each user namespace with ids of its, and links to them by what can be asked for.
const REGISTRY: &str = "/run/systemd/nsresource/registry";

/// One test at a time asks: the service answers each call that waits with a worker of its own, which takes its time to start.
static ALONE: Mutex<()> = Mutex::new(());

/// The names in its memory, but for that of its lock.
pub fn registry() -> Vec<String> {
    let names = std::fs::read_dir(REGISTRY).unwrap().flatten();
    names.map(|entry| entry.file_name().into_string().unwrap()).filter(|name| name != "lock").collect()
}

/// The service as it describes itself, by a worker that stays for the next call; none where there is none.
pub fn service() -> Option<(MutexGuard<'static, ()>, String)> {
    let unit = Path::new("/usr/lib/systemd/system/systemd-nsresourced.socket");
    if !Path::new("/run/systemd/system").exists() || !unit.exists() {
        return None;
    }
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let bundle = Bundle::new(Mode::RootlessOne);
    // Distributions leave its socket off.
    let mut start = Command::new("systemctl");
    start.args(["start", "systemd-nsresourced.socket", "systemd-nsresourced.service"]);
    bundle.call_command(start).ok();
    // It gives up after 45 s.
    let mut calls = (0..10).map(|_| {
        let mut describe = Command::new("varlinkctl");
        describe.args(["introspect", SOCKET, "io.systemd.NamespaceResource"]);
        bundle.call_command(describe)
    });
    let described = calls.find(|output| output.code == 0).expect("it answers");
    Some((alone, described.stdout))
}

/// What it has to know to give ordinary users ranges.
pub const DELEGATES: &str = "delegateContainerRanges";

/// The turn to ask a service that gives ordinary users ranges; where there is none, that is said.
pub fn ranges_for_users() -> Option<MutexGuard<'static, ()>> {
    let turn = service().filter(|(_, told)| told.contains(DELEGATES)).map(|(alone, _)| alone);
    if turn.is_none() {
        eprintln!(
            "not run: no systemd-nsresourced that gives ordinary users ranges (the newest test machine has one)"
        );
    }
    turn
}
