//! Whole plans of recorded hosts and real config.json files, compared as text. `UPDATE_GOLDEN=1` writes them anew.

#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc)] // an integration test is a test to its last line

mod hosts;
mod order;

use hosts::Host;
use std::path::{Path, PathBuf};
use urun::{
    cgroup, cred,
    error::Result,
    mount,
    ns::idmap::Outside,
    plan::{
        Descriptors, Plan,
        create::{Request, plan},
        exec, hardened,
    },
    spec::{self, Config, IdMap, NamespaceKind, Process, example},
};

/// Which config.json files are planned on which hosts; the others say nothing new.
const PLANS: &[(&str, &[Host])] = &[
    ("crio-b-userns-01", &[Host::Root]),
    ("crio-c-userns-unmasked-01", &[Host::Root]),
    ("crio-d-hostnet-userns-01", &[Host::Root]),
    ("crio-e-privileged-01", &[Host::Root]),
    ("crio-a-restricted-01", &[Host::Root, Host::Podman]),
    ("crio-q-seccomp-notify-01", &[Host::Root]),
    ("crio-r-image-volume-userns-fails-01", &[Host::Root]),
    ("containerd-ctr-userns-01", &[Host::Root, Host::Hybrid]),
    ("docker-volumes-01", &[Host::Root, Host::Hybrid, Host::Single]),
    ("docker-remap-limits-01", &[Host::Root, Host::Hybrid]),
    ("podman-userns-auto-size-idmap-volume-01", &[Host::Root]),
    ("podman-rl-userns-keep-id-01", &[Host::Podman]),
    ("podman-rl-hooks-01", &[Host::Podman]),
    ("podman-build-userns-01", &[Host::Root]),
    ("podman-rl-build-01", &[Host::Podman]),
    (EVERYTHING, &[Host::Root, Host::Selinux]),
    (SPEC, &[Host::Root, Host::Range, Host::Single]),
    (HARDENED, &[Host::Root]),
];

/// What `urun spec` writes.
const SPEC: &str = "spec";
/// Everything that a config.json can say, as far as it goes together.
const EVERYTHING: &str = "everything";

/// A pod's container with a user namespace and a filter, hardened by its annotation.
const HARDENED: &str = "hardened";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Every recorded config.json by name.
pub fn recorded() -> Vec<String> {
    let entries = std::fs::read_dir(folder().join("configs")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// A config.json by name, for a host.
pub fn config(name: &str, host: Host) -> Config {
    let bytes = match name {
        HARDENED => std::fs::read(folder().join("configs/crio-b-userns-01.json")).unwrap(),
        SPEC => example(host).into_bytes(),
        EVERYTHING => std::fs::read(folder().join("everything.json")).unwrap(),
        _ => std::fs::read(folder().join(format!("configs/{name}.json"))).unwrap(),
    };
    let mut config = spec::load(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    if name == HARDENED {
        config.annotations.insert(hardened::ANNOTATION.to_owned(), "true".to_owned());
    }
    // No kernel enforces the labels of both modules.
    if let Some(process) = config.process.as_mut().filter(|_| name == EVERYTHING) {
        if host == Host::Root {
            (process.selinux_label, config.linux.mount_label) = (None, None);
        } else {
            process.apparmor_profile = None;
        }
    }
    config
}

fn example(host: Host) -> String {
    let line = |container, host, size| IdMap { container, host, size };
    let mappings = match host {
        Host::Range => vec![line(0, 1000, 1), line(1, 100_000, 65_536)],
        Host::Single => vec![line(0, 1000, 1)],
        _ => vec![line(0, 524_288, 65_536)],
    };
    example::document(&example::ExampleOptions {
        users: example::Users::Mapped { uids: mappings.clone(), gids: mappings },
        rootless: matches!(host, Host::Range | Host::Single),
        unmasked: false,
    })
}

/// The plan of `create` as an engine calls it.
pub fn planned(config: &Config, host: Host) -> Result<Plan> {
    let mut config = config.clone();
    let hardened = hardened::choose(&mut config, None, None)?;
    let request = Request {
        id: "box".to_owned(),
        bundle: "/bundle".into(),
        root: mount::Root::Pivot,
        keyring: cred::Keyring::Containers,
        descriptors: Descriptors::default(),
        hardened,
        driver: cgroup::plan::Driver::Cgroupfs,
    };
    plan(&config, &request, &host.facts(&config))
}

/// Every recorded process.json by name, and the process that has everything.
pub fn processes() -> Vec<(String, Process)> {
    let entries = std::fs::read_dir(folder().join("processes")).unwrap();
    let mut all: Vec<(String, Process)> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let process = spec::load_process(&std::fs::read(&path).unwrap(), None).unwrap();
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), process)
        })
        .collect();
    all.extend(config(EVERYTHING, Host::Podman).process.map(|process| (EVERYTHING.to_owned(), process)));
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// The plan of `exec` in a container with a user namespace and a filter, as an engine calls it.
pub fn entered(process: &Process, host: Host) -> Result<exec::Plan> {
    let config = config("crio-b-userns-01", host);
    let facts = host.facts(&config);
    let maps = |lines: &[IdMap]| lines.to_vec();
    let facts = exec::Facts {
        caller: facts.caller,
        apart: vec![NamespaceKind::User, NamespaceKind::Mount, NamespaceKind::Pid],
        outside: Outside::Mapped {
            uids: maps(&config.linux.uid_mappings),
            gids: maps(&config.linux.gid_mappings),
        },
        setgroups: cred::Setgroups::Allowed,
        lsm: facts.lsm,
    };
    let request = exec::Request {
        id: "box".to_owned(),
        keyring: cred::Keyring::Containers,
        descriptors: Descriptors::default(),
        hardened: false,
        foreground: process.terminal,
    };
    exec::plan(&config, process, &request, &facts)
}

#[test]
fn plans_of_exec_are_what_they_were() {
    let mut all = String::new();
    for (name, process) in processes() {
        for host in [Host::Root, Host::Range] {
            let plan = match entered(&process, host) {
                Ok(plan) => plan.to_string(),
                Err(error) => format!("error: {error}\n"),
            };
            all.push_str(&format!("== {name} on {host:?}\n{plan}"));
        }
    }
    let path = folder().join("exec.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &all).unwrap();
    }
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(before == all, "UPDATE_GOLDEN=1 accepts the new plans\n{}", difference(&before, &all));
}

fn text(name: &str, host: Host) -> String {
    match planned(&config(name, host), host) {
        Ok(plan) => plan.to_string(),
        Err(error) => {
            let remedy = error.remedy().map_or(String::new(), |remedy| format!("hint: {remedy}\n"));
            format!("refused: {error}\n{remedy}")
        }
    }
}

/// The first line that differs, with what was there and what is.
fn difference(before: &str, now: &str) -> String {
    let (mut before, mut now) = (before.lines(), now.lines());
    for number in 1.. {
        match (before.next(), now.next()) {
            (None, None) => break,
            (left, right) if left == right => {}
            (left, right) => {
                let side = |line: Option<&str>| line.unwrap_or("the end").to_owned();
                return format!("line {number}\n  was: {}\n  is:  {}", side(left), side(right));
            }
        }
    }
    "the ends of lines".to_owned()
}

#[test]
fn plans_are_what_they_were() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let plans = folder().join("plans");
    let mut differing = Vec::new();
    let mut known = Vec::new();
    for (name, hosts) in PLANS {
        for host in *hosts {
            let file = format!("{name}.{}.txt", format!("{host:?}").to_lowercase());
            let (path, now) = (plans.join(&file), text(name, *host));
            if update {
                std::fs::write(&path, &now).unwrap();
            }
            let before = std::fs::read_to_string(&path).unwrap_or_default();
            if before != now {
                differing.push(format!("{file}: {}", difference(&before, &now)));
            }
            known.push(file);
        }
    }
    assert!(differing.is_empty(), "UPDATE_GOLDEN=1 accepts the new plans\n{}", differing.join("\n"));
    for entry in std::fs::read_dir(plans).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name), "{name} belongs to no plan");
    }
}

#[test]
fn every_recorded_config_has_a_plan_where_it_was_recorded() {
    for name in recorded() {
        let host = if name.starts_with("podman-rl") { Host::Podman } else { Host::Root };
        let plan = planned(&config(&name, host), host);
        plan.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn a_user_that_is_not_mapped_is_named_by_its_field_though_the_group_would_be_the_users() {
    let mut config = config("docker-remap-limits-01", Host::Root);
    config.process.as_mut().unwrap().user.uid = 70_000;
    let error = planned(&config, Host::Root).unwrap_err();
    assert!(error.to_string().contains("process.user.uid 70000 has no mapping"), "{error}");
    assert!(error.remedy().is_some());
}

#[test]
fn planning_twice_gives_the_same() {
    for name in recorded().iter().step_by(7) {
        assert_eq!(text(name, Host::Root), text(name, Host::Root), "{name}");
    }
}
