//! In which mount namespace a container is assembled (ADR 14): since Linux 7.0 in one that begins with the root file system alone,
//! else in a copy of the caller's, which pivot_root(2) leaves. Both make the same container.

use crate::common::{Bundle, Mode, Traces, linux};
use crate::tracer::{self, Call, Fault, Trace};
use crate::{facts, verb};
use serde_json::json;

fn sleeper(mode: Mode) -> Bundle {
    Bundle::new(mode).args(["sleep", "100"])
}

fn traced(bundle: &Bundle, fault: Option<(Call, Fault)>) -> Trace {
    bundle.write();
    tracer::trace(bundle.command(&["run", "--detach", bundle.id()]), &bundle.scratch().join("io"), fault)
}

/// How a container was made and started, and what guards it.
#[track_caller]
fn started(bundle: &Bundle, fault: Option<(Call, Fault)>) -> (Trace, String) {
    let trace = traced(bundle, fault);
    trace.output.clone().ok();
    let init = verb::init(bundle);
    let facts = facts::relative(&facts::of(bundle, init), init);
    bundle.call(&["delete", "--force", bundle.id()]).ok();
    (trace, facts)
}

fn pivots(trace: &Trace) -> usize {
    trace.calls.iter().filter(|call| call.number == libc::SYS_pivot_root).count()
}

/// The calls that make the namespace and enter it: the assembler's second open_tree, after that of the root, and its first unshare or
/// setns.
fn entry(trace: &Trace) -> [Call; 2] {
    let first = |numbers: &[i64], skipped: usize| {
        let of = |call: &&Call| call.process == 1 && numbers.contains(&call.number);
        *trace.calls.iter().filter(of).nth(skipped).unwrap()
    };
    [first(&[libc::SYS_open_tree], 1), first(&[libc::SYS_unshare, libc::SYS_setns], 0)]
}

#[test]
fn the_assembly_begins_with_the_root_alone_where_nobody_needs_the_hosts_mounts() {
    let alone = linux() >= (7, 0);
    let hooked = |kind: &str| {
        let hook = json!([{"path": "/bin/true"}]);
        sleeper(Mode::RootUserns).put(&format!("/hooks/{kind}"), hook)
    };
    for (bundle, alone) in [
        (sleeper(Mode::Root), alone),
        (sleeper(Mode::RootUserns), alone),
        (hooked("startContainer"), alone),
        (hooked("prestart"), false),
        (hooked("createRuntime"), false),
        (hooked("createContainer"), false),
        (
            sleeper(Mode::RootUserns).mount("overlay", "overlay", "/mnt", &["lowerdir=/usr/bin:/usr/lib"]),
            false,
        ),
        (sleeper(Mode::RootUserns).mount("tmpfs", "/dev/any/name", "/mnt", &[]), alone),
        (sleeper(Mode::RootUserns).mount("bind", "/usr/bin", "/mnt", &["bind"]), alone),
        (sleeper(Mode::RootUserns).put("/annotations/io.urun.mounts", json!("unlocked")), false),
        (sleeper(Mode::RootInUserns), false),
        (sleeper(Mode::RootlessOne), false),
    ] {
        let (trace, _) = started(&bundle, None);
        assert_eq!(pivots(&trace), usize::from(!alone), "{:?}", bundle.mode());
    }
}

#[test]
fn where_such_a_namespace_cannot_be_had_the_container_is_the_same() {
    for mode in [Mode::Root, Mode::RootUserns] {
        let bundle = sleeper(mode);
        let (trace, usual) = started(&bundle, None);
        let [made, entered] = entry(&trace);
        for (call, errno) in [(made, libc::EINVAL), (made, libc::EPERM), (entered, libc::EPERM)] {
            // Before Linux 7.0 this is the one way that there is.
            if call.number == libc::SYS_unshare {
                continue;
            }
            let (trace, facts) = started(&bundle, Some((call, Fault::Fail(errno))));
            assert!(trace.struck, "{call:?}");
            assert_eq!(facts, usual, "{call:?} {errno}");
        }
    }
}

#[test]
fn another_error_is_told() {
    let bundle = sleeper(Mode::RootUserns);
    let (trace, _) = started(&bundle, None);
    let [made, _] = entry(&trace);
    let trace = traced(&bundle, Some((made, Fault::Fail(libc::ENOMEM))));
    trace.output.refused_naming(&["make a mount namespace of the root file system: open_tree(", "ENOMEM"]);
    Traces::none_of(&bundle);
}
