//! Engines call at the same time, for many containers and for one.

use crate::common::*;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn containers_of_one_root_are_born_and_die_side_by_side() {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..3 {
                    let container = Bundle::new(Mode::RootUserns).start();
                    assert_eq!(container.status(), "running");
                    container.kill("KILL").ok();
                    container.wait_stopped();
                    container.delete(&[]).ok();
                    Traces::none_of(container.bundle());
                }
            });
        }
    });
}

#[test]
fn a_reader_never_sees_half_a_state() {
    let bundle = Bundle::new(Mode::RootUserns);
    bundle.write();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let output = bundle.call(&["state", bundle.id()]);
                    if output.code == 0 {
                        let state: Value = serde_json::from_str(&output.stdout).unwrap();
                        let status = state["status"].as_str().unwrap();
                        assert!(["creating", "created", "running", "stopped"].contains(&status), "{status}");
                    } else if subject().0 == Subject::Urun {
                        assert!(output.stderr.contains("does not exist"), "{}", output.stderr);
                    }
                    let list = bundle.call(&["list", "-f", "json"]);
                    if subject().0 == Subject::Urun {
                        serde_json::from_str::<Value>(&list.ok().stdout).unwrap();
                    }
                }
            });
        }
        for _ in 0..5 {
            let lives = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                bundle.call(&["create", bundle.id()]).ok();
                bundle.call(&["start", bundle.id()]).ok();
                bundle.call(&["delete", "--force", bundle.id()]).ok();
            }));
            if lives.is_err() {
                done.store(true, Ordering::Relaxed);
                panic!("a life failed");
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn of_many_creates_of_one_id_exactly_one_succeeds() {
    if subject().0 == Subject::Runc {
        return; // runc 1.1 lets two begin
    }
    let bundle = Bundle::new(Mode::RootUserns);
    bundle.write();
    let outputs: Vec<Output> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..6).map(|_| scope.spawn(|| bundle.call(&["create", bundle.id()]))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(outputs.iter().filter(|output| output.code == 0).count(), 1, "{outputs:?}");
    if subject().0 == Subject::Urun {
        for output in outputs.iter().filter(|output| output.code != 0) {
            assert!(output.stderr.contains("container with given ID already exists"), "{}", output.stderr);
        }
    }
    bundle.call(&["start", bundle.id()]).ok();
}

#[test]
fn of_many_starts_exactly_one_succeeds() {
    if only_ours("the others' start is not exclusive") {
        return;
    }
    let container = Bundle::new(Mode::RootUserns).create();
    let codes: Vec<i32> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..6).map(|_| scope.spawn(|| container.call("start", &[]).code)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(container.status(), "running");
}

#[test]
fn kills_and_deletes_of_one_container_agree() {
    let container = Bundle::new(Mode::RootUserns).start();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| container.kill("KILL"));
            scope.spawn(|| container.delete(&["--force"]));
        }
    });
    Traces::none_of(container.bundle());
}
