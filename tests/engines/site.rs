//! A machine of its own for an engine; see `site.sh`.

use crate::common::{Mode, Output, Proc, Scratch, host_mounts, run_limited, subject};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// Who calls the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// root.
    Root,
    /// The ordinary user of [`Mode::RootlessRange`].
    Rootless,
}

impl Who {
    /// The word in the table of results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Rootless => "rootless",
        }
    }

    /// First of the subordinate uids, for an ordinary user.
    pub fn subordinate(self) -> Option<u32> {
        (self == Self::Rootless).then(|| Mode::RootlessRange.account().unwrap().sub.unwrap().0)
    }

    /// uid and gid.
    pub fn ids(self) -> (u32, u32) {
        match self {
            Self::Root => (0, 0),
            Self::Rootless => {
                Mode::RootlessRange.account().map(|account| (account.uid, account.gid)).unwrap()
            }
        }
    }
}

/// Which cgroup driver the engines are told to use: `ENGINES_CGROUP_DRIVER`, `cgroupfs` where it is not set.
pub fn cgroup_driver() -> String {
    std::env::var("ENGINES_CGROUP_DRIVER").unwrap_or_else(|_| "cgroupfs".to_owned())
}

/// Do the engines run on this machine itself, which belongs to the tests: `ENGINES_SITE=machine`? Else in namespaces.
///
/// The systemd driver needs it: a manager takes process ids of its own namespace alone.
pub fn on_the_machine() -> bool {
    std::env::var("ENGINES_SITE").is_ok_and(|site| site == "machine")
}

/// The file name of the runtime under test, which is how engines know it.
pub fn runtime_name() -> String {
    subject().1.file_name().unwrap().to_str().unwrap().to_owned()
}

/// The place where one engine runs. All its processes, mounts and cgroups end with the value.
#[derive(Debug)]
pub struct Site {
    scratch: Scratch,
    inner: Option<Inner>,
}

/// The namespaces, and the process that holds them.
#[derive(Debug)]
struct Inner {
    unshare: Child,
    init: u32,
    cgroup: String,
}

impl Site {
    /// A fresh machine, or this one.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let scratch = Scratch::new();
        scratch.dir("io", (0, 0), 0o755);
        let user = Who::Rootless.ids();
        scratch.dir("home", user, 0o700);
        if on_the_machine() {
            static INSTALL: Once = Once::new();
            // Its name is taken in one step: containers may run on the one before, and other engines' tests may call it.
            INSTALL.call_once(|| {
                let place = Path::new("/usr/local/bin").join(runtime_name());
                let fresh = place.with_extension(std::process::id().to_string());
                let mut install = Command::new("install");
                assert!(install.arg(subject().1).arg(&fresh).status().unwrap().success());
                std::fs::rename(fresh, place).unwrap();
                // A dockerd that has to turn this on has everything dropped that is not its own, the packets of other engines' pods too.
                std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            });
            return Self { scratch, inner: None };
        }
        let cgroup = format!("urun-engines-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new(script());
        command.arg("join").arg(scratch.path()).arg(&cgroup).arg(subject().1).arg("urun-test");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut unshare = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(unshare.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut inner = Inner { unshare, init: 0, cgroup };
        let children = Proc(inner.unshare.id()).read(&format!("task/{}/children", inner.unshare.id()));
        assert_eq!(line, "ready\n", "the site did not come up");
        inner.init = children.trim().parse().unwrap();
        Self { scratch, inner: Some(inner) }
    }

    /// The site's directory, the same path inside and outside.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// A command inside, as `who`.
    pub fn command(&self, who: Who, args: &[&str]) -> Command {
        let mut words: Vec<String> = Vec::new();
        if let Some(inner) = &self.inner {
            let init = inner.init.to_string();
            let namespaces = ["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--wdns=/"];
            words.extend(["nsenter", "--target", &init].map(str::to_owned));
            words.extend(namespaces.map(str::to_owned));
            words.extend([script().display().to_string(), "enter".to_owned()]);
        }
        let (uid, gid) = who.ids();
        if who == Who::Rootless {
            words.push("setpriv".to_owned());
            words.extend([format!("--reuid={uid}"), format!("--regid={gid}"), "--init-groups".to_owned()]);
        }
        words.extend(args.iter().map(ToString::to_string));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        match who {
            Who::Root => command.env("HOME", "/root"),
            Who::Rootless => command
                .env("HOME", self.scratch.join("home"))
                .env("USER", "urun-test")
                .env("XDG_RUNTIME_DIR", format!("/run/user/{uid}")),
        };
        command
    }

    /// Runs a command to its end, as `who`.
    #[track_caller]
    pub fn run(&self, who: Who, args: &[&str]) -> Output {
        self.finish(self.command(who, args))
    }

    /// Runs a command of [`Self::command`] to its end.
    #[track_caller]
    pub fn finish(&self, command: Command) -> Output {
        run_limited(command, &self.scratch.join("io"))
    }

    /// Writes a file inside, as root.
    pub fn write(&self, path: &str, text: &str) {
        let source = self.scratch.join("io/text");
        std::fs::write(&source, text).unwrap();
        self.run(Who::Root, &["install", "-D", "-m", "644", source.to_str().unwrap(), path]).ok();
    }

    /// The process that has the number `pid` inside.
    #[track_caller]
    pub fn process(&self, pid: u32) -> Proc {
        let Some(inner) = &self.inner else { return Proc(pid) };
        let processes = std::fs::read_dir("/proc").unwrap();
        let numbers = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        let found = numbers.map(Proc).find(|process| {
            // The second number is the one in the site's namespace, where there is one.
            status(*process, "NSpid").split_whitespace().nth(1) == Some(&pid.to_string())
                && descends(*process, inner.init)
        });
        found.unwrap_or_else(|| panic!("no process {pid} in the site"))
    }
}

/// A field of the status of a process that may end at any moment.
fn status(process: Proc, field: &str) -> String {
    let text = std::fs::read_to_string(process.path("status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

/// Is `ancestor` the process, its parent, or further up?
fn descends(process: Proc, ancestor: u32) -> bool {
    let parent = || status(process, "PPid").parse().is_ok_and(|parent| descends(Proc(parent), ancestor));
    process.0 == ancestor || (process.0 > 1 && parent())
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engines/site.sh")
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The end of its input ends the site's first process, and the kernel ends the others.
        drop(self.unshare.stdin.take());
        let _ = self.unshare.wait();
        for mount in host_mounts().iter().filter(|mount| mount.kind.starts_with("cgroup")) {
            remove_tree(&Path::new(&mount.point).join(&self.cgroup));
        }
    }
}

/// Removes a tree of cgroups.
fn remove_tree(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    // A process that was killed a moment ago holds its cgroup until it is reaped.
    for _ in 0..100 {
        match std::fs::remove_dir(dir) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            _ => break,
        }
    }
}
