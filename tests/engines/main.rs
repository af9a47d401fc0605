//! Real engines that run their whole life on urun. One topic is run with `cargo test --test engines -- podman::rootless`.
//!
//! The tests have a `main` of their own because many scenarios share one engine, and because scenarios that cannot run on a machine
//! have to be listed as such. Parameters: `RUNTIME_UNDER_TEST` (tests/common/subject.rs), `ENGINES_CGROUP_DRIVER`, `ENGINES_SITE` (site.rs), `ENGINES_TABLE` (report.rs).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::exit)]
#![allow(clippy::needless_pass_by_value)]
#![allow(unsafe_code)] // of tests/common

#[path = "../common/mod.rs"]
mod common;

mod containerd;
mod cri;
mod crio;
mod crio_live;
mod daemon;
mod docker;
mod image;
mod mistakes;
mod monitor;
mod podman;
mod pods;
mod report;
mod shipped;
mod site;
mod stream;

use monitor::Monitor;
use report::Report;
use site::Who;

fn main() {
    let report = Report::new();
    // Containers that their runtime leaves come to the stand-in for conmon.
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let podman: [&(dyn Fn() + Sync); 2] =
        [&|| podman::suite(&report, Who::Root), &|| podman::suite(&report, Who::Rootless)];
    let others: [&(dyn Fn() + Sync); 5] = [
        &|| shipped::suite(&report),
        &|| containerd::suite(&report),
        &|| docker::suite(&report),
        &|| crio::suite(&report, "crio-stand-in", Monitor::StandIn),
        &|| {
            crio::suite(&report, "crio-conmon", Monitor::Conmon);
            crio::live(&report);
        },
    ];
    // On one machine there is one of each daemon; and dockerd takes a containerd that it finds for its own.
    let daemons: [&(dyn Fn() + Sync); 1] = [&|| {
        docker::suite(&report);
        containerd::suite(&report);
    }];
    let others = if site::on_the_machine() { &daemons[..] } else { &others };
    std::thread::scope(|scope| {
        for suite in podman.iter().chain(others) {
            scope.spawn(suite);
        }
    });
    if !report.finish() {
        std::process::exit(1);
    }
}
