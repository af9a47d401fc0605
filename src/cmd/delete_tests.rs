//! Tests of the module above.

use super::*;
use crate::state::{ContainerId, Init, START_SOCKET, Stage, store::tests::Scratch};
use crate::sys::proc::Proc;
use std::{
    path::Path,
    process::{Child, Command},
};

fn id() -> ContainerId {
    "c".parse().unwrap()
}

fn args(force: bool) -> DeleteArgs {
    DeleteArgs { containers: crate::cli::Selection::One(id()), force }
}

/// A container whose first process is `sleep`.
fn container(store: &mut Store) -> (Entry, Record, Child) {
    let child = Command::new("sleep").arg("60").spawn().unwrap();
    let mut entry = store.create(&id()).unwrap();
    let mut record = Record::new(id(), Path::new("/"), Path::new("/"));
    record.init = Some(Init::identify(&Proc::open().unwrap(), child.id().cast_signed()).unwrap());
    record.stage = Stage::Created;
    entry.save(&record).unwrap();
    entry.unlock();
    (entry, record, child)
}

#[test]
fn a_running_container_is_kept_unless_forced() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    let (_, _, mut child) = container(&mut store);
    let error = delete(&store, &args(false), &Log::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot delete container c that is not stopped: running");
    assert!(child.try_wait().unwrap().is_none());
    delete(&store, &args(true), &Log::default()).unwrap();
    assert!(!child.wait().unwrap().success(), "killed");
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn a_stopped_one_and_one_never_started_are_removed() {
    for started in [true, false] {
        let scratch = Scratch::new();
        let mut store = scratch.store();
        let (entry, _, mut child) = container(&mut store);
        if started {
            child.kill().unwrap();
        } else {
            std::fs::write(entry.path().join(START_SOCKET), "").unwrap();
        }
        // Ended but not reaped: Buildah deletes while init is its zombie.
        let process = pidfd::open(child.id().cast_signed()).unwrap();
        assert_eq!(
            pidfd::poll(process.as_fd(), Some(Duration::from_secs(u64::from(started)))).unwrap(),
            started
        );
        delete(&store, &args(false), &Log::default()).unwrap();
        child.wait().unwrap();
        assert_eq!(store.list().unwrap(), []);
    }
}

#[test]
fn what_is_not_there_is_an_error_unless_forced() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let error = delete(&store, &args(false), &Log::default()).unwrap_err();
    assert_eq!(error.to_string(), "container \"c\" does not exist");
    delete(&store, &args(true), &Log::default()).unwrap();
}

#[test]
fn leftovers_of_every_crash_are_cleared_by_force() {
    let leftovers: [&dyn Fn(&Entry); 4] = [
        &|_| {},
        &|entry| std::fs::write(entry.path().join("state.json"), b"{\"schema").unwrap(),
        &|entry| std::fs::write(entry.path().join("state.json.12.0"), b"{").unwrap(),
        &|entry| entry.save(&Record::new(id(), Path::new("/b"), Path::new("/b"))).unwrap(),
    ];
    for leave in leftovers {
        let scratch = Scratch::new();
        let mut store = scratch.store();
        let mut entry = store.create(&id()).unwrap();
        leave(&entry);
        entry.unlock();
        delete(&store, &args(true), &Log::default()).unwrap();
        assert_eq!(store.list().unwrap(), []);
    }
}

#[test]
fn a_recycled_pid_survives_a_forced_delete() {
    // SEC-44
    let scratch = Scratch::new();
    let mut store = scratch.store();
    let (entry, mut record, mut bystander) = container(&mut store);
    let init = record.init.unwrap();
    record.init = Some(Init { start_time: init.start_time - 1, ..init });
    entry.save(&record).unwrap();
    delete(&store, &args(true), &Log::default()).unwrap();
    assert!(bystander.try_wait().unwrap().is_none(), "the bystander lives");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[test]
fn poststop_hooks_run_in_order_and_may_fail() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    let (entry, _, mut child) = container(&mut store);
    child.kill().unwrap();
    child.wait().unwrap();
    let out = scratch.0.join("out");
    let hook = |script: String| serde_json::json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]});
    let config = serde_json::json!({
        "ociVersion": "1.0.0",
        "root": {"path": "/"},
        "hooks": {"poststop": [
            hook("exit 3".to_owned()),
            hook(format!("cat > {}", out.display())),
        ]},
    });
    entry.save_config(config.to_string().as_bytes()).unwrap();
    delete(&store, &args(false), &Log::default()).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(state["status"], "stopped");
    assert_eq!(state["id"], "c");
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn hooks_that_cannot_be_read_just_now_are_left_for_the_next_delete() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    let (entry, _, mut child) = container(&mut store);
    child.kill().unwrap();
    child.wait().unwrap();
    let config = entry.path().join("config.json");
    std::fs::create_dir(&config).unwrap();
    let error = delete(&store, &args(true), &Log::default()).unwrap_err();
    assert!(
        error.errno() == Some(libc::EISDIR) && error.to_string().starts_with("delete container c: "),
        "{error}"
    );
    assert_eq!(store.list().unwrap(), [id()]);
    std::fs::remove_dir(&config).unwrap();
    // What makes no sense will make none the next time.
    std::fs::write(&config, "{").unwrap();
    delete(&store, &args(true), &Log::default()).unwrap();
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn many_deletes_at_once_all_succeed() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    let (_, _, mut child) = container(&mut store);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| delete(&scratch.store(), &args(true), &Log::default()).unwrap());
        }
    });
    child.wait().unwrap();
    assert_eq!(store.list().unwrap(), []);
}
