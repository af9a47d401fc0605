//! What tests against the kernel need: groups and processes that go away with the test.

use super::{Caller, Cgroup, Driver, Input, Plan, create, device::tests::rule, plan::plan};
use crate::{
    host::cgroups::{Cgroups, Hierarchy, probe},
    ns::idmap::Outside,
    spec::linux::{DeviceRule, Linux, Resources},
    sys::proc::Proc,
};
use nix::mount::{MsFlags, mount};
use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Controllers of the root group are shared by all tests.
static ROOT_CONTROLLERS: Mutex<()> = Mutex::new(());

/// Processes and directories that are gone when a test ends, however it ends.
#[derive(Default)]
pub struct Scratch {
    pub children: Vec<Child>,
    pub directories: Vec<PathBuf>,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for top in &self.directories {
            let _ = std::fs::write(top.join("freezer.state"), "THAWED");
        }
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.directories.iter().rev().for_each(|top| remove(top));
    }
}

fn remove(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(dir);
}

impl Scratch {
    /// A shell that waits for a line before it does what it is told.
    pub fn shell(&mut self, script: &str) -> &mut Child {
        let child = Command::new("/bin/sh")
            .args(["-c", &format!("read go; {script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        self.children.push(child);
        self.children.last_mut().unwrap()
    }

    /// Waits for the end of every process, not for ever, and sees that SIGKILL was its cause.
    pub fn all_killed(&mut self) {
        for child in &mut self.children {
            let end = Instant::now() + Duration::from_secs(5);
            let status = loop {
                match child.try_wait().unwrap() {
                    Some(status) => break status,
                    None if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
                    None => panic!("process {} lives", child.id()),
                }
            };
            assert_eq!(status.signal(), Some(libc::SIGKILL));
        }
    }

    pub fn create(&mut self, plan: &Plan) -> crate::error::Result<Cgroup> {
        if let Plan::Groups { groups, .. } = plan {
            for group in groups {
                let top = group.path[1..].split('/').next().unwrap();
                self.directories.push(group.mount.join(top));
            }
        }
        create(plan)
    }
}

pub fn pid(child: &Child) -> i32 {
    child.id().cast_signed()
}

pub fn name(test: &str) -> String {
    format!("urun-test-{}-{test}", std::process::id())
}

pub fn decide(
    host: &Cgroups,
    path: &str,
    resources: Resources,
    caller: Caller,
) -> crate::error::Result<Plan> {
    let linux = Linux { cgroups_path: Some(path.to_owned()), resources, ..Linux::default() };
    plan(&Input {
        linux: &linux,
        mounts: &[],
        user: None,
        outside: &Outside::Same,
        id: "c1",
        host,
        driver: Driver::Cgroupfs,
        systemd: None,
        annotations: &BTreeMap::new(),
        caller,
    })
}

/// This machine's layout, for those who may change it.
pub fn host() -> Option<Cgroups> {
    let root = nix::unistd::geteuid().is_root();
    root.then(|| probe(&Proc::open().unwrap()).unwrap()).filter(|host| *host != Cgroups::default())
}

/// The version 2 hierarchy as if it were all there is, its controllers left alone.
pub fn unified() -> Option<Cgroups> {
    let unified = host()?.unified?;
    let unified = Hierarchy { controllers: Vec::new(), ..unified };
    Some(Cgroups { unified: Some(unified), legacy: Vec::new() })
}

pub fn read(dir: &Path, file: &str) -> String {
    std::fs::read_to_string(dir.join(file)).unwrap().trim().to_owned()
}

pub fn deny_all() -> Vec<DeviceRule> {
    vec![rule("-a *:* rwm")]
}

/// Runs a test where version 2 is all there is, in a mount namespace of its own.
pub fn in_pure_v2(flags: MsFlags, body: impl FnOnce(&Cgroups) + Send) {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let _alone = ROOT_CONTROLLERS.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        let run = || {
            let none = None::<&str>;
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            mount(Some("cgroup2"), "/sys/fs/cgroup", Some("cgroup2"), MsFlags::empty(), none).unwrap();
            let remount = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
            mount(none, "/sys/fs/cgroup", none, remount, none).unwrap();
            let enabled = std::fs::read_to_string("/sys/fs/cgroup/cgroup.subtree_control").unwrap();
            let host = probe(&Proc::open().unwrap()).unwrap();
            assert!(host.is_pure_v2());
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&host)));
            for controller in &host.unified.as_ref().unwrap().controllers {
                if !enabled.split_whitespace().any(|name| name == controller) {
                    let _ = std::fs::write("/sys/fs/cgroup/cgroup.subtree_control", format!("-{controller}"));
                }
            }
            result
        };
        if let Err(panic) = scope.spawn(run).join().unwrap() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs something with the file system rights of an ordinary user, in a thread of its own.
pub fn as_nobody<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let run = || {
            // The wrapper of the C library would change every thread; nobody's capabilities go with the id.
            nix::unistd::setfsgid(nix::unistd::Gid::from_raw(65_534));
            nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
            body()
        };
        scope.spawn(run).join().unwrap()
    })
}
