//! Documents recorded from engines load, and an independent reader of the specification sees the same in them.

use oci_spec::runtime as oci;
use std::path::{Path, PathBuf};
use urun::spec::{self, Config, Process, capability, config::Capabilities, syscall::Syscall};

pub fn documents(folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut documents: Vec<_> = paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    documents.sort();
    documents
}

fn mask(set: Option<&oci::Capabilities>) -> u64 {
    let names = set.into_iter().flatten();
    names
        .map(|name| capability::bit(&format!("CAP_{}", name.to_string().trim_start_matches("CAP_"))).unwrap())
        .sum()
}

fn compare_process(process: &Process, other: &oci::Process) {
    assert_eq!(&process.args, other.args().as_ref().unwrap());
    assert_eq!(&process.env, other.env().as_ref().unwrap_or(&Vec::new()));
    assert_eq!(&process.cwd, other.cwd());
    assert_eq!(process.user.uid, other.user().uid());
    assert_eq!(process.user.gid, other.user().gid());
    assert_eq!(process.user.umask, other.user().umask());
    assert_eq!(&process.user.additional_gids, other.user().additional_gids().as_ref().unwrap_or(&Vec::new()));
    assert_eq!(process.terminal, other.terminal().unwrap_or(false));
    assert_eq!(process.no_new_privileges, other.no_new_privileges().unwrap_or(false));
    assert_eq!(process.oom_score_adj, other.oom_score_adj());
    assert_eq!(process.rlimits.len(), other.rlimits().as_ref().map_or(0, Vec::len));
    let sets = other.capabilities().clone().unwrap_or_else(empty_capabilities);
    let expected = Capabilities {
        bounding: mask(sets.bounding().as_ref()),
        effective: mask(sets.effective().as_ref()),
        permitted: mask(sets.permitted().as_ref()),
        inheritable: mask(sets.inheritable().as_ref()),
        ambient: mask(sets.ambient().as_ref()),
    };
    assert_eq!(process.capabilities, expected);
}

fn empty_capabilities() -> oci::LinuxCapabilities {
    serde_json::from_str("{}").unwrap()
}

fn compare(config: &Config, other: &oci::Spec) {
    compare_process(config.process.as_ref().unwrap(), other.process().as_ref().unwrap());
    assert_eq!(&config.oci_version, other.version());
    assert_eq!(config.hostname, other.hostname().clone().filter(|name| !name.is_empty()));
    assert_eq!(&config.root.path, other.root().as_ref().unwrap().path());
    assert_eq!(
        config.annotations.len(),
        other.annotations().as_ref().map_or(0, std::collections::HashMap::len)
    );
    let mounts = other.mounts().as_ref().unwrap();
    assert_eq!(config.mounts.len(), mounts.len());
    for (mount, other) in config.mounts.iter().zip(mounts) {
        assert_eq!(&mount.destination, other.destination());
        let asks = other.uid_mappings().is_some()
            || other.options().iter().flatten().any(|word| word == "idmap" || word == "ridmap");
        assert_eq!(mount.idmap.is_some(), asks);
    }
    let (linux, other) = (&config.linux, other.linux().as_ref().unwrap());
    assert_eq!(linux.namespaces.len(), other.namespaces().as_ref().map_or(0, Vec::len));
    assert_eq!(linux.uid_mappings.len(), other.uid_mappings().as_ref().map_or(0, Vec::len));
    assert_eq!(linux.gid_mappings.len(), other.gid_mappings().as_ref().map_or(0, Vec::len));
    assert_eq!(linux.devices.len(), other.devices().as_ref().map_or(0, Vec::len));
    assert_eq!(linux.masked_paths.len(), other.masked_paths().as_ref().map_or(0, Vec::len));
    assert_eq!(linux.readonly_paths.len(), other.readonly_paths().as_ref().map_or(0, Vec::len));
    assert_eq!(linux.sysctl.len(), other.sysctl().as_ref().map_or(0, std::collections::HashMap::len));
    assert_eq!(&linux.cgroups_path.as_ref().map(PathBuf::from), other.cgroups_path());
    let rules =
        other.resources().as_ref().and_then(|resources| resources.devices().as_ref()).map_or(0, Vec::len);
    assert_eq!(linux.resources.devices.len(), rules);
    let Some(seccomp) = &linux.seccomp else { return assert!(other.seccomp().is_none()) };
    let rules = other.seccomp().as_ref().unwrap().syscalls().clone().unwrap_or_default();
    assert_eq!(seccomp.syscalls.len(), rules.len());
    for (rule, other) in seccomp.syscalls.iter().zip(&rules) {
        let known: Vec<_> = other.names().iter().filter_map(|name| Syscall::find(name)).collect();
        assert_eq!(rule.names, known);
        assert_eq!(rule.args.len(), other.args().as_ref().map_or(0, Vec::len));
    }
}

#[test]
fn every_config_of_an_engine_loads_and_an_independent_reader_agrees() {
    let documents = documents("configs");
    assert!(documents.len() >= 60);
    for (path, bytes) in documents {
        let config = spec::load(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // Buildah asks for ambient capabilities that are not inheritable.
        let is_known = |warning: &String| warning.starts_with("process.capabilities.ambient: no effect");
        assert!(config.warnings.iter().all(is_known), "{}: {:?}", path.display(), config.warnings);
        compare(&config, &serde_json::from_slice(&bytes).unwrap());
    }
}

#[test]
fn every_process_of_an_engine_loads_and_an_independent_reader_agrees() {
    for (path, bytes) in documents("processes") {
        let process =
            spec::load_process(&bytes, None).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        compare_process(&process, &serde_json::from_slice(&bytes).unwrap());
    }
}

#[test]
fn every_resource_document_of_an_engine_loads() {
    for (path, bytes) in documents("resources") {
        let resources =
            spec::load_resources(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let other: oci::LinuxResources = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(resources.memory.limit, other.memory().as_ref().and_then(oci::LinuxMemory::limit));
        assert_eq!(resources.cpu.quota, other.cpu().as_ref().and_then(oci::LinuxCpu::quota));
        assert_eq!(resources.pids_limit, other.pids().as_ref().map(oci::LinuxPids::limit));
        assert!(resources.has_limits(), "{}", path.display());
    }
}
